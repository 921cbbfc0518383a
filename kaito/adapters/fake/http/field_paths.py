"""Paths of fields, and sets of them as `managedFields` writes them (FieldsV1).

A part of a path is `f:<field>`, `k:<keys of a list's item>` or `v:<value in a set>`.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from kaito.adapters.fake.http.built_in_schemas import OBJECT_META, expanded
from kaito.adapters.kube_api import Json

Path: TypeAlias = tuple[str, ...]
Schema: TypeAlias = Mapping[str, Any]

# Nobody owns these: they name the object, or the server alone writes them.
_STRIPPED: Final = frozenset(
    {
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "managedFields",
        "name",
        "namespace",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
_MISSING: Final = object()


def with_metadata(schema: Schema | None) -> Schema:
    """A kind's schema with what is known of metadata."""
    properties = (schema or {}).get("properties") or {}
    return {**(schema or {}), "properties": {**properties, "metadata": expanded(OBJECT_META)}}


def owned_part(obj: Mapping[str, Any]) -> dict[str, Any]:
    """What of an object can be owned."""
    found = {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}
    meta = {
        key: value
        for key, value in (obj.get("metadata") or {}).items()
        if key not in _STRIPPED and value
    }
    found.pop("metadata", None)
    return {**found, "metadata": meta} if meta else found


def paths_of(value: Json, schema: Schema, prefix: Path = ()) -> Iterator[Path]:
    """The paths of everything that has a value of its own."""
    if isinstance(value, Mapping) and value and not _is_atomic(schema):
        for key, item in value.items():
            yield from paths_of(item, below(schema, key), (*prefix, f"f:{key}"))
        return
    keys = list_keys(schema)
    if not isinstance(value, list) or keys is None or not value:
        if prefix:
            yield prefix
        return
    for item in value:
        part = item_part(item, keys)
        yield (*prefix, part)
        if keys and not _is_atomic(schema.get("items") or {}):
            yield from paths_of(item, schema.get("items") or {}, (*prefix, part))


def below(schema: Schema, key: str) -> Schema:
    """The schema of a field."""
    properties = schema.get("properties") or {}
    if key in properties:
        found: Schema = properties[key]
        return found
    others = schema.get("additionalProperties")
    return others if isinstance(others, Mapping) else {}


def list_keys(schema: Schema) -> tuple[str, ...] | None:
    """By what a list's items are told apart: keys, () for a set's values, None for no way."""
    kind = schema.get("x-kubernetes-list-type")
    if kind == "set":
        return ()
    return tuple(schema["x-kubernetes-list-map-keys"]) if kind == "map" else None


def item_part(item: Json, keys: tuple[str, ...]) -> str:
    """The part of a path that leads to a list's item."""
    if not keys:
        return f"v:{_compact(item)}"
    return f"k:{_compact({key: item.get(key) for key in keys})}"


def with_key_defaults(value: Json, schema: Schema) -> Json:
    """A configuration whose lists' items have the keys that they leave to the server's default, so
    that they can be told apart."""
    if isinstance(value, Mapping):
        return {key: with_key_defaults(item, below(schema, key)) for key, item in value.items()}
    if not isinstance(value, list):
        return value
    items = schema.get("items") or {}
    found = [with_key_defaults(item, items) for item in value]
    for key in list_keys(schema) or ():
        default = below(items, key).get("default")
        if default is not None:
            found = [{key: default, **one} if isinstance(one, dict) else one for one in found]
    return found


def value_at(value: Json, path: Path) -> Json:
    """What stands at a path; a marker that equals nothing else where there is nothing."""
    for part in path:
        kind, _, text = part.partition(":")
        if kind == "f":
            value = value.get(text, _MISSING) if isinstance(value, Mapping) else _MISSING
        elif not isinstance(value, list):
            return _MISSING
        else:
            index = index_of(value, part)
            value = _MISSING if index is None else value[index]
    return value


def is_there(value: Json, path: Path) -> bool:
    return value_at(value, path) is not _MISSING


def index_of(items: list[Any], part: str) -> int | None:
    """Where in a list the item is that a part of a path names."""
    kind, _, text = part.partition(":")
    wanted = json.loads(text)
    for index, item in enumerate(items):
        if kind == "v" and item == wanted:
            return index
        if kind == "k" and isinstance(item, Mapping) and _has(item, wanted):
            return index
    return None


def to_fields_v1(paths: frozenset[Path]) -> dict[str, Any]:
    """A set of paths as nested objects."""
    root: dict[str, Any] = {}
    for path in sorted(paths):
        node = root
        for part in path:
            node = node.setdefault(part, {})
        node["."] = {}
    return _without_lone_dots(root)


def from_fields_v1(node: Mapping[str, Any], prefix: Path = ()) -> Iterator[Path]:
    """The set that nested objects stand for."""
    if prefix and (not node or "." in node):
        yield prefix
    for part, child in node.items():
        if part != ".":
            yield from from_fields_v1(child, (*prefix, part))


def shown(path: Path) -> str:
    """A path as messages have it: `.spec.containers[name="a"].image`."""
    text = ""
    for part in path:
        kind, _, rest = part.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "v":
            text += f"[={rest}]"
        else:
            keys = json.loads(rest)
            text += f"[{','.join(f'{key}={_compact(value)}' for key, value in keys.items())}]"
    return text


def _has(item: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(item.get(key) == value for key, value in wanted.items())


def _is_atomic(schema: Schema) -> bool:
    return schema.get("x-kubernetes-map-type") == "atomic"


def _compact(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _without_lone_dots(node: dict[str, Any]) -> dict[str, Any]:
    """A dot says that the node itself is meant too; a node without children needs none."""
    if set(node) == {"."}:
        return {}
    return {
        part: child if part == "." else _without_lone_dots(child) for part, child in node.items()
    }
