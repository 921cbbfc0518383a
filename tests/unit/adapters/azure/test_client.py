"""The SDK's client sends one request a call, and neither repeats, redirects nor logs it."""

import logging
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.core.pipeline.policies import RetryPolicy

from kaito.adapters.azure.client import make_client
from tests.unit.adapters.azure.arm_stub import Answer, ArmStub, Token, client_of, settings


class Scopes(Token):
    def __init__(self) -> None:
        self.asked: list[str] = []

    def get_token(self, *scopes: str, **options: Any) -> Any:
        self.asked += scopes
        return super().get_token(*scopes, **options)


@pytest.mark.parametrize("status", [302, 408, 429, 500, 503])
def test_nothing_is_repeated(status: int) -> None:
    arm = ArmStub()
    arm.answers = [Answer(status, {}, {"Location": "https://elsewhere/", "Retry-After": "1"})]
    with pytest.raises(HttpResponseError):
        list(client_of(arm, settings()).agent_pools.list("group", "cluster"))
    assert len(arm.requests) == 1


def test_a_provider_is_not_registered() -> None:
    """The SDK would do it, and wait for it for minutes."""
    arm = ArmStub()
    body = {"error": {"code": "MissingSubscriptionRegistration", "message": "Microsoft.X"}}
    arm.answers = [Answer(409, body)]
    with pytest.raises(HttpResponseError):
        list(client_of(arm, settings()).agent_pools.list("group", "cluster"))
    assert len(arm.requests) == 1


def test_a_ca_of_one_s_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(variable, raising=False)
    file = tmp_path / "ca.pem"
    file.touch()
    for ca_file, expected in ((None, True), (file, str(file))):
        arm = ArmStub()
        list(client_of(arm, settings(ca_file=ca_file)).agent_pools.list("group", "cluster"))
        assert arm.verified == [expected]


@pytest.mark.parametrize(
    ("endpoint", "scope"),
    [
        ("https://management.azure.com", "https://management.azure.com/.default"),
        (
            "https://management.usgovcloudapi.net",
            "https://management.core.usgovcloudapi.net/.default",
        ),
        ("https://127.0.0.1:8443", "https://127.0.0.1:8443/.default"),
    ],
)
def test_whom_the_token_is_for(endpoint: str, scope: str) -> None:
    arm, credential = ArmStub(), Scopes()
    wanted = settings(arm_endpoint=endpoint)
    transport: Any = client_of(arm, wanted)._client._pipeline._transport
    arm.answers = [Answer(200, {"value": []})]
    list(make_client(wanted, credential, transport).agent_pools.list("group", "cluster"))
    assert credential.asked == [scope]
    assert str(arm.requests[0].url).startswith(f"{endpoint}/subscriptions/")


def test_libraries_keep_quiet() -> None:
    client_of(ArmStub(), settings())
    for name in (
        "azure.identity",
        "azure.core.pipeline.policies",
        "msal",
        "urllib3.connectionpool",
    ):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)


def test_the_pipeline_has_no_policy_that_repeats() -> None:
    policies = client_of(ArmStub(), settings())._client._pipeline._impl_policies
    assert not [policy for policy in policies if isinstance(policy, RetryPolicy)]
