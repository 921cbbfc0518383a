"""What a kind's schema says of an object: unknown fields, and values of wrong types."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from starlette.datastructures import QueryParams

from kaito.adapters.fake.api_errors import Problem
from kaito.adapters.fake.http.built_in_schemas import NAME
from kaito.adapters.fake.http.kinds import Kind
from kaito.adapters.fake.http.statuses import invalid_option, refusal
from kaito.adapters.fake.http.typed_decoding import decoded, decoded_metadata
from kaito.adapters.kube_api import Json

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (Mapping,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


class FieldValidation(StrEnum):
    """What becomes of fields that the schema does not know."""

    IGNORE = "Ignore"
    WARN = "Warn"
    STRICT = "Strict"

    @classmethod
    def of(cls, query: QueryParams) -> "FieldValidation":
        """What the request asks for. Raises: Refusal (422)."""
        text = query.get("fieldValidation") or cls.WARN
        try:
            return cls(text)
        except ValueError as error:
            known = ", ".join(f'"{one}"' for one in ("", *cls))
            detail = f'Unsupported value: "{text}": supported values: {known}'
            raise invalid_option("CreateOptions", "fieldValidation", detail) from error


@dataclass(frozen=True, slots=True)
class Checked:
    """An object without unknown fields, what to warn of, and what is wrong with it."""

    body: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def checked(
    kind: Kind,
    body: Mapping[str, Any],
    mode: FieldValidation,
    *,
    status: bool = False,
    values: bool = True,
) -> Checked:
    """An object held against its kind's schema; kinds without one take anything. `status` says
    whether the status is what is being written: then nothing else of a custom resource counts.

    Raises: Refusal (400: a value of a wrong type; unknown fields, in strict mode).
    """
    if kind.is_typed and kind.schema is not None:
        found = decoded(body, str(kind.schema[NAME]), whole=values)
        return Checked(found.body, _told(kind, found.unknown, mode))
    found = decoded_metadata(kind.resource, body)
    body, unknown = found.body, [*found.unknown]
    if kind.schema is None:
        return Checked(body, _told(kind, unknown, mode))
    if kind.resource.status_subresource:  # the store leaves the rest as it was
        body = _written(body, status=status)
    above: dict[str, Any] = {
        key: body[key] for key in ("apiVersion", "kind", "metadata") if key in body
    }
    rest = {key: value for key, value in body.items() if key not in above}
    body = {**above, **_pruned(rest, kind.schema, "", unknown)}
    told = _told(kind, unknown, mode)
    schema = {**kind.schema, "required": ()} if status else kind.schema
    return Checked(body, told, tuple(_problems(body, schema, "")) if values else ())


def _written(body: Mapping[str, Any], *, status: bool) -> dict[str, Any]:
    """The part of an object that such a write changes."""
    kept = {"apiVersion", "kind", "metadata", "status"}
    return {
        key: value for key, value in body.items() if (key in kept if status else key != "status")
    }


def _told(kind: Kind, unknown: Iterable[str], mode: FieldValidation) -> tuple[str, ...]:
    """What to warn of. Raises: Refusal (400: in strict mode there is something)."""
    texts = tuple(f'unknown field "{path}"' for path in unknown)
    if texts and mode is FieldValidation.STRICT:
        resource = kind.resource
        raise refusal(
            400,
            f'{resource.kind} in version "{resource.version}" cannot be handled as a'
            f" {resource.kind}: strict decoding error: {', '.join(texts)}",
        )
    return texts if mode is FieldValidation.WARN else ()


def _pruned(value: Json, schema: Mapping[str, Any], path: str, unknown: list[str]) -> Json:
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [_pruned(one, items, f"{path}[{index}]", unknown) for index, one in enumerate(value)]
    if not isinstance(value, Mapping):
        return value
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    kept: dict[str, Any] = {}
    for key, item in value.items():
        below = f"{path}.{key}" if path else key
        if key in properties:
            kept[key] = _pruned(item, properties[key], below, unknown)
        elif isinstance(others, Mapping):
            kept[key] = _pruned(item, others, below, unknown)
        elif schema.get(PRESERVE) or others is True:
            kept[key] = item
        else:
            unknown.append(below)
    return kept


def _problems(value: Json, schema: Mapping[str, Any], path: str) -> Iterator[Problem]:
    kind = str(schema.get("type", ""))
    if kind in _TYPES and not _is_of(value, kind):
        given = _type_name(value)
        detail = f'Invalid value: "{given}": {path} in body must be of type {kind}: "{given}"'
        yield Problem(path, detail)
        return
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(f'"{one}"' for one in schema["enum"])
        yield Problem(path, f'Unsupported value: "{value}": supported values: {known}')
    if "minimum" in schema and isinstance(value, int | float) and value < schema["minimum"]:
        least = schema["minimum"]
        words = f"{path} in body should be greater than or equal to {least}"
        yield Problem(path, f"Invalid value: {value}: {words}")
    if isinstance(value, list):
        for index, one in enumerate(value):
            yield from _problems(one, schema.get("items") or {}, f"{path}[{index}]")
    if isinstance(value, Mapping):
        yield from _problems_in(value, schema, path)


def _problems_in(
    value: Mapping[str, Any], schema: Mapping[str, Any], path: str
) -> Iterator[Problem]:
    joint = f"{path}." if path else ""
    for key in schema.get("required") or ():
        if value.get(key) is None:
            yield Problem(f"{joint}{key}", "Required value")
    properties = schema.get("properties") or {}
    others = schema.get("additionalProperties")
    for key, item in value.items():
        if item is None or (not path and key == "metadata"):
            continue
        if key in properties:
            yield from _problems(item, properties[key], f"{joint}{key}")
        elif isinstance(others, Mapping):
            yield from _problems(item, others, f"{joint}{key}")


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
