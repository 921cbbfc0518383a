"""What a custom resource's schema says of an object: unknown fields, and values of wrong types."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from starlette.datastructures import QueryParams

from kaito.adapters.fake.api_errors import Problem
from kaito.adapters.fake.http.kinds import Kind
from kaito.adapters.fake.http.statuses import invalid_option, refusal
from kaito.adapters.kube_api import Json

PRESERVE: Final = "x-kubernetes-preserve-unknown-fields"
_METADATA: Final = frozenset(
    {
        "annotations",
        "clusterName",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "finalizers",
        "generateName",
        "generation",
        "labels",
        "managedFields",
        "name",
        "namespace",
        "ownerReferences",
        "resourceVersion",
        "selfLink",
        "uid",
    }
)
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
    whether the status is what is being written.

    Raises: Refusal (400: unknown fields, in strict mode).
    """
    if kind.schema is None:
        return Checked(body)
    if kind.resource.status_subresource and not status:  # the store leaves it as it was
        body = {key: value for key, value in body.items() if key != "status"}
    unknown: list[str] = []
    found = dict(_pruned_top(body, kind.schema, unknown))
    texts = tuple(f'unknown field "{path}"' for path in unknown)
    if texts and mode is FieldValidation.STRICT:
        resource = kind.resource
        raise refusal(
            400,
            f'{resource.kind} in version "{resource.version}" cannot be handled as a'
            f" {resource.kind}: strict decoding error: {', '.join(texts)}",
        )
    problems = tuple(_problems(found, kind.schema, "")) if values else ()
    return Checked(found, texts if mode is FieldValidation.WARN else (), problems)


def _pruned_top(
    body: Mapping[str, Any], schema: Mapping[str, Any], unknown: list[str]
) -> Mapping[str, Any]:
    typed = {key: value for key, value in body.items() if key in {"apiVersion", "kind"}}
    meta = body.get("metadata")
    if isinstance(meta, Mapping):
        unknown += [f"metadata.{key}" for key in meta if key not in _METADATA]
        meta = {key: value for key, value in meta.items() if key in _METADATA}
    rest = {key: value for key, value in body.items() if key not in {*typed, "metadata"}}
    return {**typed, "metadata": meta, **_pruned(rest, schema, "", unknown)}


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
