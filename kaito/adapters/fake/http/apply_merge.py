"""What server-side apply makes of an object: one configuration merged in, old fields taken out."""

from collections.abc import Iterable, Mapping
from typing import Any

from kaito.adapters.fake.http.field_paths import (
    Path,
    Schema,
    below,
    index_of,
    item_part,
    list_keys,
)
from kaito.adapters.kube_api import Json, thaw


def merged(live: Mapping[str, Any], config: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """`live` with every field of `config`; items of keyed lists and sets are merged one by one."""
    result: dict[str, Any] = _merged(live, config, schema)
    return result


def without(obj: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """An object without these fields, nor the objects that are empty without them."""
    result: dict[str, Any] = thaw(obj)
    for path in sorted(paths, key=len, reverse=True):
        _remove(result, path)
    return result


def _merged(live: Json, config: Json, schema: Schema) -> Json:
    if isinstance(config, Mapping):
        if not isinstance(live, Mapping) or schema.get("x-kubernetes-map-type") == "atomic":
            return config
        result = dict(live)
        for key, value in config.items():
            result[key] = _merged(live.get(key), value, below(schema, key))
        return result
    keys = list_keys(schema)
    if not isinstance(config, list) or keys is None or not isinstance(live, list):
        return config
    found = list(live)
    for item in config:
        index = index_of(found, item_part(item, keys))
        if index is None:
            found.append(item)
        else:
            found[index] = _merged(found[index], item, schema.get("items") or {})
    return found


def _remove(value: Json, path: Path) -> None:
    part, rest = path[0], path[1:]
    key: Any
    if isinstance(value, list):
        key = index_of(value, part)
    else:
        key = part.partition(":")[2]
        key = key if isinstance(value, dict) and key in value else None
    if key is None:
        return
    if rest:
        _remove(value[key], rest)
        if value[key] not in ({}, []):
            return
    del value[key]
