"""Refusals as Kubernetes says them: `Status` objects with a reason, details and causes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.fake.disruption import BudgetSpent
from kaito.adapters.kube_api import (
    AlreadyExists,
    Forbidden,
    Gone,
    InvalidObject,
    KubeApiError,
    ObjectConflict,
    ObjectNotFound,
    Resource,
    ServerUnavailable,
)

_REASONS: Final[Mapping[int, str]] = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    410: "Expired",
    413: "RequestEntityTooLarge",
    415: "UnsupportedMediaType",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
_REASON_OF: Final[Mapping[type[KubeApiError], str]] = {
    AlreadyExists: "AlreadyExists",
    ObjectConflict: "Conflict",
    ObjectNotFound: "NotFound",
    Forbidden: "Forbidden",
    Gone: "Expired",
}
# How a problem's text begins, and what `details.causes` calls it.
_CAUSE_REASONS: Final = (
    ("Required value", "FieldValueRequired"),
    ("Unsupported value", "FieldValueNotSupported"),
    ("Duplicate value", "FieldValueDuplicate"),
    ("Forbidden", "FieldValueForbidden"),
    ("Not found", "FieldValueNotFound"),
    ("Too long", "FieldValueTooLong"),
    ("Too many", "FieldValueTooMany"),
)
RETRY_AFTER_S: Final = 1


class Refusal(Exception):
    """A request that the protocol itself refuses; `status` is the answer's body."""

    def __init__(self, status: dict[str, Any], headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status["message"])
        self.status = status
        self.headers = dict(headers or {})


def status(
    code: int,
    message: str,
    *,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """A `Status` that says no."""
    found: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": _REASONS.get(code, "Unknown") if reason is None else reason,
    }
    if details is not None:
        found["details"] = dict(details)
    return {**found, "code": code}


def refusal(code: int, message: str, **more: Any) -> Refusal:
    return Refusal(status(code, message, **more))


def no_such_path() -> Refusal:
    return refusal(404, "the server could not find the requested resource", details={})


def not_allowed() -> Refusal:
    return refusal(405, "the server does not allow this method on the requested resource")


def invalid_option(kind: str, field: str, detail: str) -> Refusal:
    """An option of a request that has no such value."""
    details = {
        "group": "meta.k8s.io",
        "kind": kind,
        "causes": [{"reason": _cause_reason(detail), "message": detail, "field": field}],
    }
    message = f'{kind}.meta.k8s.io "" is invalid: {field}: {detail}'
    return refusal(422, message, details=details)


def status_of(error: KubeApiError, resource: Resource, name: str) -> dict[str, Any]:
    """The answer to a request about `resource` that the store refused."""
    reason = _REASON_OF.get(type(error))
    if reason is None or error.code not in {403, 404, 409, 410}:
        reason = _REASONS.get(error.code, "InternalError")
    details: dict[str, Any] = {}
    if name:
        details["name"] = name
    if resource.group:
        details["group"] = resource.group
    # The server names objects that are wrong by kind, and requests for them by resource.
    by_kind = isinstance(error, InvalidObject) and error.code == 422
    details["kind"] = resource.kind if by_kind else resource.plural
    causes = _causes(str(error), error.causes)
    if causes:
        details["causes"] = causes
    shown: dict[str, Any] | None = details
    if isinstance(error, Gone) or (isinstance(error, InvalidObject) and error.code == 400):
        shown = None
    elif by_kind and not causes:  # the request itself is wrong, such as a patch: kubectl says why
        shown = {}
    elif isinstance(error, ServerUnavailable):
        shown = _retry_details(error)
    return status(error.code, str(error), reason=reason, details=shown)


def headers_of(error: KubeApiError) -> dict[str, str]:
    if isinstance(error, ServerUnavailable) and error.code in {429, 503, 504}:
        return {"Retry-After": str(int(error.retry_after_s or RETRY_AFTER_S))}
    return {}


def _retry_details(error: ServerUnavailable) -> dict[str, Any]:
    if isinstance(error, BudgetSpent):
        again = {"retryAfterSeconds": int(error.retry_after_s)} if error.retry_after_s else {}
        return {**again, "causes": [{"reason": "DisruptionBudget", "message": error.why}]}
    details: dict[str, Any] = {"retryAfterSeconds": int(error.retry_after_s or RETRY_AFTER_S)}
    if "Too large resource version" in str(error):
        cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
        details["causes"] = [cause]
    return details


def _causes(message: str, fields: Sequence[str]) -> list[dict[str, str]]:
    """One cause for each field; what is said of it stands in the message behind its name."""
    starts: list[tuple[int, str]] = []
    position = 0
    for field in fields:
        found = message.find(f"{field}: ", position) if field else -1
        if found >= 0:
            position = found + len(field) + 2
        starts.append((found, field))
    causes = []
    for index, (start, field) in enumerate(starts):
        later = [one for one, _field in starts[index + 1 :] if one > start]
        text = message
        if start >= 0:
            text = message[start + len(field) + 2 : later[0] if later else None]
            text = text.removesuffix(", ").removesuffix("; ")
            if "[" not in text and text.endswith("]"):
                text = text[:-1]
        causes.append({"reason": _cause_reason(text), "message": text, "field": field})
    return causes


def _cause_reason(text: str) -> str:
    for words, reason in _CAUSE_REASONS:
        if text.startswith(words):
            return reason
    return "FieldValueInvalid"
