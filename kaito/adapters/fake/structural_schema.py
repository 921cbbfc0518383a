"""Structural schemas (OpenAPI v3, as CustomResourceDefinitions hold them) on plain JSON.

What an API server does with one: drop the fields that it does not know, fill in its defaults, and
say which values are of the wrong kind.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from kaito.adapters.fake.api_errors import Problem
from kaito.adapters.kube_api import Json, thaw

Schema = Mapping[str, Any]

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (Mapping,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}
# Types of which a value of that very type is one, without a further question.
_PLAIN: Final[Mapping[str, type]] = {"string": str, "boolean": bool, "integer": int}
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_RULES: Final = ("enum", "minimum", "format")
_DATE_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII
)


def pruned(value: Json, schema: Schema, path: str = "", unknown: list[str] | None = None) -> Json:
    """`value` without the fields that the schema does not know, whose paths go to `unknown`."""
    if type(value) in _SCALARS:
        return value
    unknown = [] if unknown is None else unknown
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [pruned(one, items, f"{path}[{index}]", unknown) for index, one in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    kept: dict[str, Any] = {}
    for key, item in value.items():
        below = f"{path}.{key}" if path else key
        if key in properties:
            kept[key] = pruned(item, properties[key], below, unknown)
        elif isinstance(others, Mapping):
            kept[key] = pruned(item, others, below, unknown)
        elif schema.get(PRESERVE) or others is True:
            kept[key] = item
        else:
            unknown.append(below)
    return kept


def defaulted(value: Json, schema: Schema) -> Json:
    """`value` with the schema's defaults, and without nulls where it allows none."""
    if type(value) in _SCALARS:
        return value
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [defaulted(one, items) for one in value]
    if not isinstance(value, Mapping):
        return value
    properties: Mapping[str, Schema] = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    filled: dict[str, Any] = {}
    for key, item in value.items():
        below = properties.get(key, others if isinstance(others, Mapping) else None)
        if below is None:
            filled[key] = item
        elif item is not None or below.get("nullable"):
            filled[key] = defaulted(item, below)
    for key, below in properties.items():
        if "default" in below and key not in filled:
            filled[key] = defaulted(thaw(below["default"]), below)
    return filled


def problems(value: Json, schema: Schema, path: str = "") -> Iterator[Problem]:
    """What is wrong with a value; of one that is of the wrong type, only that."""
    kind = str(schema.get("type", ""))
    if kind in _TYPES and not _is_of(value, kind):
        given = _type_name(value)
        detail = f'Invalid value: "{given}": {path} in body must be of type {kind}: "{given}"'
        yield Problem(path, detail)
        return
    yield from _scalar_problems(value, schema, path)
    if type(value) in _SCALARS:
        return
    if isinstance(value, list):
        items = schema.get("items") or {}
        for index, one in enumerate(value):
            yield from problems(one, items, f"{path}[{index}]")
        if schema.get("x-kubernetes-list-type") == "map":
            yield from _repeated(value, schema["x-kubernetes-list-map-keys"], path)
    if isinstance(value, Mapping):
        yield from _field_problems(value, schema, path)


def _scalar_problems(value: Json, schema: Schema, path: str) -> Iterator[Problem]:
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(f'"{one}"' for one in schema["enum"])
        yield Problem(path, f'Unsupported value: "{value}": supported values: {known}')
    if "minimum" in schema and isinstance(value, int | float) and value < schema["minimum"]:
        least = schema["minimum"]
        words = f"{path} in body should be greater than or equal to {least}"
        yield Problem(path, f"Invalid value: {value}: {words}")
    form = str(schema.get("format", ""))
    if isinstance(value, str) and form in FORMATS and not FORMATS[form](value):
        words = f'{path} in body must be of type {form}: "{value}"'
        yield Problem(path, f'Invalid value: "{value}": {words}')


def _field_problems(value: Mapping[str, Any], schema: Schema, path: str) -> Iterator[Problem]:
    joint = f"{path}." if path else ""
    for key in schema.get("required") or ():
        if value.get(key) is None:
            yield Problem(f"{joint}{key}", "Required value")
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    for key, item in value.items():
        if item is None or (not path and key == "metadata"):
            continue
        below = properties.get(key, others if isinstance(others, Mapping) else None)
        if below is not None and not _is_plain(item, below):
            yield from problems(item, below, f"{joint}{key}")


def _is_plain(value: Json, schema: Schema) -> bool:
    """Whether there can be nothing wrong with it: most values are of the right type, and no more is
    asked of them."""
    if type(value) is not _PLAIN.get(schema.get("type", "")):
        return False
    return not any(rule in schema for rule in _RULES)


def _repeated(items: list[Json], keys: list[str], path: str) -> Iterator[Problem]:
    """The items of a list that is a map by these keys, where one of the same key came before."""
    seen = []
    for index, item in enumerate(items):
        if not isinstance(item, Mapping):
            continue
        key = {name: item[name] for name in keys if name in item}
        if key in seen:
            yield Problem(f"{path}[{index}]", f"Duplicate value: {key}")
        seen.append(key)


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_of(value: Json, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _TYPES[kind])


def _type_name(value: Json) -> str:
    if value is None:
        return "null"
    return next((name for name in _TYPES if _is_of(value, name)), type(value).__name__)


FORMATS: Final[Mapping[str, Callable[[str], bool]]] = {
    "byte": _is_base64,
    "date-time": lambda text: _DATE_TIME.fullmatch(text) is not None,
}
