"""HTTP answers of a Kubernetes API server as `KubeApi` errors, in one table."""

import json
from collections.abc import Mapping
from typing import Any, Final

from kaito.adapters.kube_api import (
    AlreadyExists,
    Forbidden,
    Gone,
    InvalidObject,
    KubeApiError,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
)

# (code, reason of the Status) -> error; an empty reason stands for every other one.
ERRORS: Final[Mapping[tuple[int, str], type[KubeApiError]]] = {
    (400, ""): InvalidObject,
    (401, ""): ServerUnavailable,  # the next call comes with the credentials of then
    (403, ""): Forbidden,
    (404, ""): ObjectNotFound,
    (405, ""): InvalidObject,
    (406, ""): InvalidObject,
    (408, ""): ServerUnavailable,
    (409, ""): ObjectConflict,
    (409, "AlreadyExists"): AlreadyExists,
    (410, ""): Gone,
    (413, ""): InvalidObject,
    (415, ""): InvalidObject,
    (422, ""): InvalidObject,
    (429, ""): ServerUnavailable,
}

_NOTHING_WAS_DONE: Final = 429
_MAY_PASS: Final = frozenset({429, 500, 502, 503, 504})
_TEXT_LIMIT: Final = 300


class NotAnswered(Exception):
    """No answer came. `sent` says whether the server may have got the request all the same."""

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


def error_of(code: int, headers: Mapping[str, str], body: bytes) -> KubeApiError:
    """The error that an answer other than 2xx stands for."""
    return error_of_status(
        code, status_of(body), text=body, retry_after=headers.get("Retry-After", "")
    )


def error_of_status(
    code: int, status: Mapping[str, Any], *, text: bytes = b"", retry_after: str = ""
) -> KubeApiError:
    """The error that a Status object, with the code it came with, stands for."""
    details: Mapping[str, Any] = status.get("details") or {}
    message = status.get("message") or _plain(text) or f"HTTP status {code}"
    kind = ERRORS.get((code, status.get("reason") or "")) or ERRORS.get((code, ""))
    if kind is ServerUnavailable or (kind is None and code >= 500):
        seconds = retry_after if retry_after.isdigit() else details.get("retryAfterSeconds")
        return ServerUnavailable(
            message, retry_after_s=float(seconds) if seconds else None, code=code
        )
    causes = [cause["field"] for cause in details.get("causes") or () if cause.get("field")]
    return (kind or KubeApiError)(message, causes=causes, code=code)


def status_of(body: bytes) -> Mapping[str, Any]:
    """The Status object in a body; empty when there is none, as from a proxy."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) and parsed.get("kind") == "Status" else {}


def may_repeat(failure: KubeApiError | NotAnswered, *, repeatable: bool) -> bool:
    """Whether a failed call may be sent again.

    `repeatable` calls do no harm when they are carried out twice. Any other is only repeated when
    the server cannot have carried it out: it was not reached, or it turned the call away.
    """
    if isinstance(failure, NotAnswered):
        return repeatable or not failure.sent
    if not isinstance(failure, ServerUnavailable) or failure.code not in _MAY_PASS:
        return False
    return repeatable or failure.code == _NOTHING_WAS_DONE


def _plain(text: bytes) -> str:
    return " ".join(text[:_TEXT_LIMIT].decode("utf-8", "replace").split())
