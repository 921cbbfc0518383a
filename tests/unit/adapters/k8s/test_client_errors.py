import json

import pytest

from kaito.adapters.k8s.client_errors import (
    ERRORS,
    NotAnswered,
    error_of,
    error_of_status,
    may_repeat,
)
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

# Every reason of k8s.io/apimachinery/pkg/apis/meta/v1/types.go with its code.
REASONS = [
    (400, "BadRequest", InvalidObject),
    (401, "Unauthorized", ServerUnavailable),
    (403, "Forbidden", Forbidden),
    (404, "NotFound", ObjectNotFound),
    (405, "MethodNotAllowed", InvalidObject),
    (406, "NotAcceptable", InvalidObject),
    (409, "AlreadyExists", AlreadyExists),
    (409, "Conflict", ObjectConflict),
    (410, "Expired", Gone),
    (410, "Gone", Gone),
    (413, "RequestEntityTooLarge", InvalidObject),
    (415, "UnsupportedMediaType", InvalidObject),
    (422, "Invalid", InvalidObject),
    (429, "TooManyRequests", ServerUnavailable),
    (500, "InternalError", ServerUnavailable),
    (500, "ServerTimeout", ServerUnavailable),
    (500, "StoreReadError", ServerUnavailable),
    (503, "ServiceUnavailable", ServerUnavailable),
    (504, "Timeout", ServerUnavailable),
]


@pytest.mark.parametrize(("code", "reason", "kind"), REASONS)
def test_every_reason_is_mapped(code: int, reason: str, kind: type[KubeApiError]) -> None:
    error = error_of_status(code, {"kind": "Status", "reason": reason, "message": "why"})
    assert type(error) is kind
    assert error.code == code
    assert str(error) == "why"


def test_the_table_holds_no_code_that_is_not_tested() -> None:
    assert {code for code, _reason in ERRORS} - {code for code, _, _ in REASONS} == {408}


def test_causes_are_the_fields_at_fault() -> None:
    causes = [{"field": "spec.a", "message": "x"}, {"message": "no field"}, {"field": "spec.b"}]
    body = json.dumps({"kind": "Status", "reason": "Invalid", "details": {"causes": causes}})
    assert error_of(422, {}, body.encode()).causes == ("spec.a", "spec.b")


@pytest.mark.parametrize(
    ("headers", "details", "wanted"),
    [
        ({"Retry-After": "3"}, {"retryAfterSeconds": 7}, 3.0),
        ({}, {"retryAfterSeconds": 7}, 7.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, None),
        ({}, {}, None),
    ],
)
def test_when_to_come_back(
    headers: dict[str, str], details: dict[str, int], wanted: float | None
) -> None:
    body = json.dumps({"kind": "Status", "details": details}).encode()
    error = error_of(429, headers, body)
    assert isinstance(error, ServerUnavailable)
    assert error.retry_after_s == wanted


def test_answers_of_something_in_between() -> None:
    error = error_of(502, {}, b"<html>\n  Bad gateway" + b"!" * 1000)
    assert isinstance(error, ServerUnavailable)
    assert str(error).startswith("<html> Bad gateway!!")
    assert len(str(error)) < 310
    assert str(error_of(503, {}, b"")) == "HTTP status 503"
    assert type(error_of(302, {}, b"[]")) is KubeApiError


@pytest.mark.parametrize(
    ("failure", "repeatable", "otherwise"),
    [
        (NotAnswered("refused", sent=False), True, True),
        (NotAnswered("lost", sent=True), True, False),
        (ServerUnavailable("busy", code=429), True, True),
        (ServerUnavailable("broken", code=500), True, False),
        (ServerUnavailable("away", code=503), True, False),
        (ServerUnavailable("who?", code=401), False, False),
        (ServerUnavailable("not implemented", code=501), False, False),
        (ObjectConflict("no"), False, False),
        (ObjectNotFound("no"), False, False),
    ],
)
def test_what_may_be_repeated(
    failure: KubeApiError | NotAnswered, repeatable: bool, otherwise: bool
) -> None:
    assert may_repeat(failure, repeatable=True) is repeatable
    assert may_repeat(failure, repeatable=False) is otherwise
