"""From pydantic's validation errors to problems that name field, value and remedy."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from kaito.domain.errors import Problem
from kaito.domain.names import did_you_mean

SINCE: Final = "x-kaito-since"  # JSON schema key: the first API version that has the field
_SHOWN_VALUE_CHARS: Final = 60
_WANTED: Final[Mapping[str, str]] = {
    "string_type": "a text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Every problem in `error`, with dotted wire names; unknown keys get the nearest known ones."""
    return [_problem(detail, model) for detail in error.errors(include_url=False)]


def newer_fields(
    body: Mapping[str, Any], model: type[BaseModel], path: tuple[int | str, ...] = ()
) -> list[Problem]:
    """A problem for each field that `body`, of the oldest API version, took from a later one."""
    found: list[Problem] = []
    for name, field in model.model_fields.items():
        key = field.alias or name
        if body.get(key) is None:
            continue
        extra = field.json_schema_extra
        since = extra.get(SINCE) if isinstance(extra, dict) else None
        if since is not None:
            found.append(
                Problem(
                    field=field_path((*path, key)),
                    message="does not exist in this apiVersion",
                    remedy=f"Use apiVersion kaito.sh/{since}",
                    rule="newer-field",
                )
            )
            continue
        nested, value = next(_models_in(field.annotation), None), body[key]
        if nested is not None and isinstance(value, Mapping):
            found += newer_fields(value, nested, (*path, key))
    return found


def field_path(location: tuple[int | str, ...]) -> str:
    """`("adapters", 0, "source")` -> `adapters[0].source`."""
    path = ""
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}" if path else str(step)
    return path


def shown(value: object) -> str:
    """The value as a short piece of text for an error message."""
    text = repr(value)
    return text if len(text) <= _SHOWN_VALUE_CHARS else text[: _SHOWN_VALUE_CHARS - 3] + "..."


def _problem(detail: ErrorDetails, model: type[BaseModel]) -> Problem:
    owner, location = _owner(model, detail["loc"])
    field, kind, value = field_path(location), detail["type"], detail["input"]
    if kind == "extra_forbidden":
        known = [key for key, _ in _fields(owner)]
        remedy = did_you_mean(str(location[-1]), known)
        return Problem(field=field, message="unknown key", remedy=remedy, rule="unknown-field")
    if kind == "missing":
        description = dict(_fields(owner)).get(str(location[-1])) or ""
        remedy = description.rstrip(".")
        return Problem(field=field, message="is required", remedy=remedy, rule="required-field")
    if kind in _WANTED:
        remedy = _quote_hint(value) if kind == "string_type" else ""
        message = f"must be {_WANTED[kind]}, got {shown(value)}"
        return Problem(field=field, message=message, remedy=remedy, rule="wrong-type")
    remedy = str(detail.get("ctx", {}).get("remedy", ""))
    message = f"{detail['msg']}, got {shown(value)}"
    return Problem(field=field, message=message, remedy=remedy, rule="invalid-value")


def _quote_hint(value: object) -> str:
    return f'Put it in quotes: "{value}"' if isinstance(value, bool | int | float) else ""


def _owner(
    model: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[type[BaseModel] | None, tuple[int | str, ...]]:
    """The model that the last key of `location` belongs to, and the location as the user sees it:
    without the names or tags that pydantic puts in where it chose one model of a union."""
    annotation: Any = model
    owner: type[BaseModel] | None = None
    visible: list[int | str] = []
    for step in location:
        if isinstance(step, int):
            visible.append(step)
            continue
        choices = list(_models_in(annotation))
        chosen = next((choice for choice in choices if _goes_by(choice, step)), None)
        if chosen is not None and len(choices) > 1:
            annotation = chosen
            continue
        owner = choices[0] if choices else None
        visible.append(step)
        by_key = (
            {info.alias or name: info for name, info in owner.model_fields.items()} if owner else {}
        )
        annotation = by_key[step].annotation if step in by_key else None
    return owner, tuple(visible)


def _goes_by(model: type[BaseModel], name: str) -> bool:
    """Whether a union's location names this model so: its own name, or its tag."""
    tags = (get_args(field.annotation) for field in model.model_fields.values())
    return model.__name__ == name or any(name in found for found in tags)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _models_in(part)


def _fields(owner: type[BaseModel] | None) -> list[tuple[str, str | None]]:
    """Wire name and description of each field."""
    fields = owner.model_fields if owner else {}
    return [(info.alias or name, info.description) for name, info in fields.items()]
