"""Structural schemas as quick checks: most of what is written is good, and that is soon seen.

A check that says yes is right. One that says no may be wrong: `structural_schema` decides then, and
finds the words for it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kaito.adapters.fake.structural_schema import FORMATS, PRESERVE, Schema
from kaito.adapters.kube_api import FrozenDict, FrozenList, Json

Check: TypeAlias = Callable[[Json], bool]

_DICTS: Final = (dict, FrozenDict)
_LISTS: Final = (list, FrozenList)
_PLAIN: Final[Mapping[str, type]] = {"string": str, "boolean": bool, "integer": int}
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def accepts(schema: Schema) -> Check:
    """A check whether `structural_schema.problems` finds nothing in a value."""
    kind = schema.get("type", "")
    if kind in _PLAIN:
        return _scalar(_PLAIN[kind], schema)
    if "enum" in schema or "minimum" in schema:
        return _never
    if kind == "array":
        return _list(schema)
    if kind == "object":
        return _object(schema)
    return _always if set(schema) <= {PRESERVE} else _never


def keeps(schema: Schema) -> Check:
    """A check whether `structural_schema.pruned` and `defaulted` leave a value as it is."""
    items = schema.get("items")
    below = keeps(items) if items else _is_scalar
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    known = {key: keeps(one) for key, one in properties.items()}
    nullable = frozenset(key for key, one in properties.items() if one.get("nullable"))
    filled = tuple(key for key, one in properties.items() if "default" in one)
    other: Check | None = None
    if isinstance(others, Mapping):
        other = keeps(others)
    elif schema.get(PRESERVE) or others is True:
        other = _always

    def check(value: Json) -> bool:
        kind = type(value)
        if kind in _SCALARS:
            return True
        if kind in _LISTS:
            return all(map(below, value))
        if kind not in _DICTS:
            return False
        for key, item in value.items():
            if item is None and key not in nullable:
                return False
            found = known.get(key, other)
            if found is None or not (type(item) in _SCALARS or found(item)):
                return False
        return all(key in value for key in filled)

    return check


def _scalar(expected: type, schema: Schema) -> Check:
    form = FORMATS.get(str(schema.get("format", "")))
    if "minimum" in schema:
        return _never
    if "enum" in schema:
        known = frozenset(schema["enum"])
        return lambda value: type(value) is expected and value in known
    if form is not None:
        return lambda value: type(value) is expected and form(str(value))
    return lambda value: type(value) is expected


def _list(schema: Schema) -> Check:
    items: Schema = schema.get("items") or {}
    item = accepts(items)
    if schema.get("x-kubernetes-list-type") != "map":
        return lambda value: type(value) in _LISTS and all(map(item, value))
    if items.get("type") != "object":
        return _never
    names: tuple[str, ...] = tuple(schema["x-kubernetes-list-map-keys"])

    def check(value: Json) -> bool:
        if type(value) not in _LISTS or not all(map(item, value)):
            return False
        return len({str([one.get(name) for name in names]) for one in value}) == len(value)

    return check


def _object(schema: Schema) -> Check:
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    known: dict[str, Check] = {key: accepts(one) for key, one in properties.items()}
    other = accepts(others) if isinstance(others, Mapping) else None
    required = tuple(schema.get("required") or ())

    def check(value: Json) -> bool:
        if type(value) not in _DICTS:
            return False
        for key in required:
            if value.get(key) is None:
                return False
        for key, item in value.items():
            found = known.get(key, other)
            if found is not None and item is not None and not found(item):
                return False
        return True

    return check


def _is_scalar(value: Json) -> bool:
    return type(value) in _SCALARS


def _always(_value: Any) -> bool:
    return True


def _never(_value: Any) -> bool:
    return False
