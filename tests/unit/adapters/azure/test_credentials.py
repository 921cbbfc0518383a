"""Which credential is made of what, and what is said where something is missing."""

from pathlib import Path
from typing import Any

import pytest
from azure.identity import (
    AzureCliCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from kaito.adapters.azure.credentials import chosen, make_credential
from kaito.adapters.azure.settings import CredentialKind
from kaito.domain.errors import InvalidInput
from tests.unit.adapters.azure.arm_stub import CLIENT, TENANT, settings

IDENTITY = {"tenant_id": TENANT, "client_id": CLIENT}
KINDS = CredentialKind


def made(environment: dict[str, str], **changes: Any) -> Any:
    return make_credential(settings(**changes), environment)


def told(environment: dict[str, str], **changes: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        made(environment, **changes)
    assert "canary" not in str(caught.value)
    assert all(problem.remedy for problem in caught.value.problems)
    return [(problem.field, problem.message) for problem in caught.value.problems]


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    file = tmp_path / "token"
    file.write_text("canary-token", encoding="utf-8")
    return str(file)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"AZURE_FEDERATED_TOKEN_FILE": "/x", "AZURE_CLIENT_SECRET": "y"}, KINDS.WORKLOAD_IDENTITY),
        ({"AZURE_CLIENT_SECRET": "y", "KUBERNETES_SERVICE_HOST": "z"}, KINDS.SERVICE_PRINCIPAL),
        ({"AZURE_CLIENT_CERTIFICATE_PATH": "/y"}, KINDS.SERVICE_PRINCIPAL),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, KINDS.MANAGED_IDENTITY),
        ({}, KINDS.CLI),
    ],
)
def test_what_auto_stands_for(environment: dict[str, str], expected: CredentialKind) -> None:
    assert chosen(KINDS.AUTO, environment) is expected
    for kind in set(KINDS) - {KINDS.AUTO}:
        assert chosen(kind, environment) is kind


def test_workload_identity(token_file: str) -> None:
    environment = {"AZURE_FEDERATED_TOKEN_FILE": token_file}
    assert isinstance(made(environment, **IDENTITY), WorkloadIdentityCredential)


def test_what_workload_identity_needs() -> None:
    kind = {"credential": KINDS.WORKLOAD_IDENTITY}
    why = "is needed for --azure-credential workload-identity"
    assert told({}, **kind) == [
        ("--azure-tenant-id", why),
        ("--azure-client-id", why),
        ("AZURE_FEDERATED_TOKEN_FILE", "is not set"),
    ]
    gone = {"AZURE_FEDERATED_TOKEN_FILE": "/nowhere/token"}
    expected = [("AZURE_FEDERATED_TOKEN_FILE", "/nowhere/token is not a file")]
    assert told(gone, **kind, **IDENTITY) == expected


def test_a_service_principal() -> None:
    secret = {"AZURE_CLIENT_SECRET": "canary"}
    assert isinstance(made(secret, **IDENTITY), ClientSecretCredential)
    assert [field for field, _ in told(secret)] == ["--azure-tenant-id", "--azure-client-id"]
    kind = {"credential": KINDS.SERVICE_PRINCIPAL, **IDENTITY}
    assert told({}, **kind) == [("AZURE_CLIENT_SECRET", "is not set")]
    certificate = {"AZURE_CLIENT_CERTIFICATE_PATH": "/nowhere/cert.pem"}
    assert told(certificate, **kind) == [
        ("AZURE_CLIENT_CERTIFICATE_PATH", "/nowhere/cert.pem is not a file")
    ]


def test_a_certificate_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("canary", encoding="utf-8")
    environment = {"AZURE_CLIENT_CERTIFICATE_PATH": str(file)}
    ((field, message),) = told(environment, **IDENTITY)
    assert field == "AZURE_CLIENT_CERTIFICATE_PATH"
    assert "holds no certificate with its key" in message


def test_a_managed_identity_needs_nothing() -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert isinstance(made(environment), ManagedIdentityCredential)
    assert isinstance(made(environment, client_id=CLIENT), ManagedIdentityCredential)


def test_the_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ((field, message),) = told({})
    assert field == "--azure-credential"
    assert "no `az` in PATH" in message
    (tmp_path / "az").touch(mode=0o755)
    assert isinstance(made({}), AzureCliCredential)


@pytest.mark.parametrize(
    ("environment", "endpoint", "authority", "discovery"),
    [
        ({}, "https://management.azure.com", "https://login.microsoftonline.com", True),
        ({}, "https://management.usgovcloudapi.net", "https://login.microsoftonline.us", True),
        (
            {"AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/"},
            "https://management.azure.com",
            "https://login.microsoftonline.com",
            True,
        ),
        (
            {"AZURE_AUTHORITY_HOST": "https://127.0.0.1:8443/"},
            "https://127.0.0.1:8444",
            "https://127.0.0.1:8443",
            False,
        ),
        ({"AZURE_AUTHORITY_HOST": "login.mine"}, "https://arm.mine", "https://login.mine", False),
    ],
)
def test_the_authority(
    environment: dict[str, str],
    endpoint: str,
    authority: str,
    discovery: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given: dict[str, Any] = {}

    def keep(*_: Any, **options: Any) -> None:
        given.update(options)

    monkeypatch.setattr("kaito.adapters.azure.credentials.ClientSecretCredential", keep)
    made({"AZURE_CLIENT_SECRET": "s", **environment}, arm_endpoint=endpoint, **IDENTITY)
    assert given["authority"] == authority
    assert given["disable_instance_discovery"] is not discovery
    assert (given["connection_timeout"], given["read_timeout"]) == (5.0, 20.0)
    assert given["retry_total"] == 0


def test_an_authority_that_is_not_https() -> None:
    environment = {"AZURE_CLIENT_SECRET": "s", "AZURE_AUTHORITY_HOST": "http://login.mine"}
    ((field, message),) = told(environment, **IDENTITY)
    assert (field, message) == ("AZURE_AUTHORITY_HOST", "'http://login.mine' is not https")
