"""The API server's errors in its own words."""

from collections.abc import Sequence
from dataclasses import dataclass

from kaito.adapters.kube_api import (
    AlreadyExists,
    Forbidden,
    Gone,
    InvalidObject,
    ObjectConflict,
    ObjectNotFound,
    Resource,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field."""

    field: str
    detail: str


def qualified(resource: Resource) -> str:
    """`configmaps`, `workspaces.kaito.sh`: how messages name a resource."""
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def not_found(resource: Resource, name: str) -> ObjectNotFound:
    return ObjectNotFound(f'{qualified(resource)} "{name}" not found')


def not_served() -> ObjectNotFound:
    return ObjectNotFound("the server could not find the requested resource")


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    return AlreadyExists(f'{qualified(resource)} "{name}" already exists')


def conflict(resource: Resource, name: str, detail: str) -> ObjectConflict:
    return ObjectConflict(
        f'Operation cannot be fulfilled on {qualified(resource)} "{name}": {detail}'
    )


def modified(resource: Resource, name: str) -> ObjectConflict:
    return conflict(
        resource,
        name,
        "the object has been modified; please apply your changes to the latest version and try"
        " again",
    )


def forbidden(resource: Resource, name: str, detail: str, *, field: str = "") -> Forbidden:
    return Forbidden(
        f'{qualified(resource)} "{name}" is forbidden: {detail}', causes=(field,) if field else ()
    )


def no_version(resource: Resource, name: str) -> InvalidObject:
    field = "metadata.resourceVersion"
    return InvalidObject(
        f'{qualified(resource)} "{name}" is invalid: {field}: Invalid value: 0x0: must be specified'
        " for an update",
        causes=(field,),
    )


def invalid(resource: Resource, name: str, problems: Sequence[Problem]) -> InvalidObject:
    assert problems, "an invalid object has at least one problem"
    kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
    texts = [f"{problem.field}: {problem.detail}" for problem in problems]
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return InvalidObject(
        f'{kind} "{name}" is invalid: {text}', causes=[problem.field for problem in problems]
    )


def bad_request(message: str) -> InvalidObject:
    return InvalidObject(message, code=400)


def bad_patch(detail: str) -> InvalidObject:
    return InvalidObject(
        f"the server rejected our request due to an error in our request: {detail}", code=422
    )


def bad_result(why: InvalidObject) -> InvalidObject:
    """A patch whose result is no object of its kind."""
    return InvalidObject(f' "" is invalid: patch: Invalid value: {why}', causes=("patch",))


def too_old(version: int, oldest: int) -> Gone:
    return Gone(f"too old resource version: {version} ({oldest})")
