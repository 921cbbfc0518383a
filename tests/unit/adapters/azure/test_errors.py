"""Exceptions of the SDK become the domain's errors."""

import logging
from dataclasses import dataclass, field
from typing import Any

import pytest
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
)
from azure.identity import CredentialUnavailableError

from kaito.adapters.azure.error_table import Reaction
from kaito.adapters.azure.errors import AzureErrors, Refusal, UnmappedCodes, port_error
from kaito.adapters.azure.redaction import Redactor
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from tests.unit.adapters.azure.arm_stub import NOW_S

ERRORS = AzureErrors(Redactor(["canary"]), now_s=lambda: NOW_S)


@dataclass
class Response:
    status_code: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = ""

    def text(self) -> str:
        return self.body


def answered(status: int, body: str = "", **headers: str) -> HttpResponseError:
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    response: Any = Response(status, body, sent)
    return HttpResponseError(response=response)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("7", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("Thu, 01 Jan 2026 00:00:20 GMT", 20.0),
        ("Wed, 31 Dec 2025 00:00:00 GMT", 0.0),
        ("1e99", 900.0),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(header: str, expected: float | None) -> None:
    refusal = ERRORS.read(answered(429, retry_After=header))
    assert refusal.reaction is Reaction.THROTTLED
    assert refusal.retry_after_s == expected


def test_429_is_throttling_whatever_it_says_besides() -> None:
    body = '{"code": "OperationNotAllowed", "message": "no"}'
    assert ERRORS.read(answered(429, body)).reaction is Reaction.THROTTLED


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (ServiceRequestError("canary cannot be reached"), Reaction.TRANSIENT),
        (AzureError("canary"), Reaction.TRANSIENT),
        (CredentialUnavailableError("no canary here"), Reaction.REJECTED),
        (ClientAuthenticationError("AADSTS700213: canary"), Reaction.REJECTED),
        (answered(502, "<html>canary"), Reaction.TRANSIENT),
    ],
)
def test_errors_that_are_no_answer_of_arm(error: AzureError, reaction: Reaction) -> None:
    refusal = ERRORS.read(error)
    assert refusal.reaction is reaction
    assert refusal.text
    assert "canary" not in refusal.text


def test_an_identity_that_is_refused_says_where_to_look() -> None:
    refusal = ERRORS.read(ClientAuthenticationError("AADSTS700213: no matching federated identity"))
    assert "AADSTS700213" in refusal.text
    assert "--azure-credential" in refusal.text


def test_entra_that_is_down_is_asked_again() -> None:
    response: Any = Response(503)
    error = ClientAuthenticationError("AADSTS90033: a transient error", response=response)
    assert ERRORS.read(error).reaction is Reaction.TRANSIENT


def test_a_token_that_arm_does_not_take_is_asked_for_again() -> None:
    response: Any = Response(401, '{"error": {"code": "ExpiredAuthenticationToken"}}')
    error = ClientAuthenticationError(response=response)
    assert ERRORS.read(error).reaction is Reaction.TRANSIENT


def test_the_cause_is_told_with_its_remedy() -> None:
    body = '{"code": "X", "details": [{"code": "QuotaExceeded", "message": "Limit of canary."}]}'
    refusal = ERRORS.read(answered(400, body))
    assert refusal.text.startswith("QuotaExceeded: Limit of [hidden]. Ask Azure for more quota")


def test_an_unmapped_code_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    errors = AzureErrors(Redactor(()), now_s=lambda: NOW_S)
    for _ in range(3):
        refusal = errors.read(answered(400, '{"code": "Brandnew", "message": "?"}'))
        assert refusal.reaction is Reaction.TRANSIENT
        assert refusal.retry_after_s == 60.0
    errors.read(answered(418))
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert "Brandnew" in caplog.text
    assert "HTTP 418" in caplog.text


def test_an_unmapped_code_within_a_class_of_errors_is_told() -> None:
    seen: list[str] = []
    errors = AzureErrors(
        Redactor(()), now_s=lambda: NOW_S, on_unmapped=lambda code, _: seen.append(code)
    )
    inner = '[{"code": "Brandnew", "message": "this is why"}]'
    refusal = errors.read(answered(400, f'{{"code": "BadRequest", "details": {inner}}}'))
    assert refusal.reaction is Reaction.REJECTED
    assert refusal.text == "Brandnew: this is why"
    assert seen == ["Brandnew"]


def test_the_unmapped_codes_are_kept() -> None:
    codes = UnmappedCodes()
    codes("A", "")
    codes("A", "")
    assert codes.seen == {"A"}


@pytest.mark.parametrize(
    ("reaction", "expected"),
    [
        (Reaction.CAPACITY, CapacityUnavailable),
        (Reaction.QUOTA, QuotaExceeded),
        (Reaction.MACHINE_LIMIT, MachineLimitReached),
        (Reaction.REJECTED, Rejected),
        (Reaction.GONE, Rejected),
        (Reaction.BUSY, Unavailable),
        (Reaction.EXISTS, Unavailable),
        (Reaction.THROTTLED, Unavailable),
        (Reaction.TRANSIENT, Unavailable),
    ],
)
def test_every_reaction_is_an_error_of_the_domain(
    reaction: Reaction, expected: type[Exception]
) -> None:
    told = port_error(Refusal(reaction=reaction, text="why"), "doing this")
    assert type(told) is expected
    assert str(told).startswith("doing this: why")


def test_only_a_zonal_shortage_names_zones() -> None:
    for zonal in (False, True):
        refusal = Refusal(reaction=Reaction.CAPACITY, text="why", zonal=zonal)
        told = port_error(refusal, "x", zone="eastus-1", other_zones=["eastus-2"])
        assert isinstance(told, CapacityUnavailable)
        assert bool(told.zone) is zonal
        assert bool(told.other_zones) is zonal
