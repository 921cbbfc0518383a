"""How kaito proves who it is, through azure-identity; what that needs is looked for first."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from azure.identity import (
    AzureAuthorityHosts,
    AzureCliCredential,
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)

from kaito.adapters.azure.settings import AzureSettings, CredentialKind
from kaito.domain.errors import InvalidInput, Problem

Credential: TypeAlias = (
    AzureCliCredential
    | CertificateCredential
    | ClientSecretCredential
    | ManagedIdentityCredential
    | WorkloadIdentityCredential
)

TOKEN_FILE: Final = "AZURE_FEDERATED_TOKEN_FILE"
SECRET: Final = "AZURE_CLIENT_SECRET"
CERTIFICATE: Final = "AZURE_CLIENT_CERTIFICATE_PATH"
AUTHORITY: Final = "AZURE_AUTHORITY_HOST"

# The authorities that azure-identity can look up in Microsoft's directory of them.
_PUBLIC_AUTHORITIES: Final = frozenset(
    {
        AzureAuthorityHosts.AZURE_PUBLIC_CLOUD,
        AzureAuthorityHosts.AZURE_GOVERNMENT,
        AzureAuthorityHosts.AZURE_CHINA,
    }
)
_AUTHORITY_OF: Final = {
    "management.usgovcloudapi.net": AzureAuthorityHosts.AZURE_GOVERNMENT,
    "management.chinacloudapi.cn": AzureAuthorityHosts.AZURE_CHINA,
}
_CLI_LIMIT_S: Final = 10


def make_credential(settings: AzureSettings, environment: Mapping[str, str]) -> Credential:
    """The credential that the settings choose; no token is asked for yet.

    Raises: InvalidInput (what it needs is missing; every reason at once).
    """
    kind = chosen(settings.credential, environment)
    if kind is CredentialKind.CLI:
        _need_cli()
        return AzureCliCredential(tenant_id=settings.tenant_id, process_timeout=_CLI_LIMIT_S)
    options = _options(settings)
    if kind is CredentialKind.MANAGED_IDENTITY:
        return ManagedIdentityCredential(client_id=settings.client_id or None, **options)
    options |= _authority(settings, environment)
    tenant, client = settings.tenant_id, settings.client_id
    if kind is CredentialKind.WORKLOAD_IDENTITY:
        token_file = environment.get(TOKEN_FILE, "")
        _need(settings, kind, _file_problems(TOKEN_FILE, token_file, "federated token"))
        return WorkloadIdentityCredential(
            tenant_id=tenant, client_id=client, token_file_path=token_file, **options
        )
    secret, certificate = environment.get(SECRET, ""), environment.get(CERTIFICATE, "")
    if certificate and not secret:
        _need(settings, kind, _file_problems(CERTIFICATE, certificate, "certificate"))
        try:
            return CertificateCredential(tenant, client, certificate, **options)
        except ValueError:  # its text may be of the file's content
            message = f"{certificate} holds no certificate with its key, in PEM or PKCS12"
            remedy = "Give a file with both, without a passphrase"
            raise InvalidInput(
                [Problem(field=CERTIFICATE, message=message, remedy=remedy)]
            ) from None
    remedy = f"Set it, or {CERTIFICATE}, or choose another --azure-credential"
    missing = [Problem(field=SECRET, message="is not set", remedy=remedy)] if not secret else []
    _need(settings, kind, missing)
    return ClientSecretCredential(tenant, client, secret, **options)


def chosen(kind: CredentialKind, environment: Mapping[str, str]) -> CredentialKind:
    """What `AUTO` stands for: workload identity where its webhook has set a token file, a service
    principal where there is a secret or a certificate, a managed identity within a cluster, and
    the Azure CLI's user elsewhere."""
    if kind is not CredentialKind.AUTO:
        return kind
    if environment.get(TOKEN_FILE):
        return CredentialKind.WORKLOAD_IDENTITY
    if environment.get(SECRET) or environment.get(CERTIFICATE):
        return CredentialKind.SERVICE_PRINCIPAL
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return CredentialKind.MANAGED_IDENTITY
    return CredentialKind.CLI


def _options(settings: AzureSettings) -> dict[str, Any]:
    """No call waits for longer than the others do, and none is repeated: a round is."""
    options: dict[str, Any] = {
        "connection_timeout": settings.connect_s,
        "read_timeout": settings.read_s,
        "retry_total": 0,
    }
    if settings.ca_file is not None:
        options["connection_verify"] = str(settings.ca_file)
    return options


def _authority(settings: AzureSettings, environment: Mapping[str, str]) -> dict[str, Any]:
    host = urlsplit(settings.arm_endpoint).netloc
    fallback = _AUTHORITY_OF.get(host, AzureAuthorityHosts.AZURE_PUBLIC_CLOUD)
    given = environment.get(AUTHORITY, "").rstrip("/") or fallback
    address = given if "://" in given else f"https://{given}"
    if not address.startswith("https://"):
        remedy = "Give the https address of Microsoft Entra in your cloud"
        problem = Problem(field=AUTHORITY, message=f"{given!r} is not https", remedy=remedy)
        raise InvalidInput([problem])
    is_public = urlsplit(address).netloc in _PUBLIC_AUTHORITIES
    return {"authority": address, "disable_instance_discovery": not is_public}


def _need(settings: AzureSettings, kind: CredentialKind, missing: list[Problem]) -> None:
    """Raises: InvalidInput."""
    why = f"is needed for --azure-credential {kind}"
    named = (
        ("--azure-tenant-id", settings.tenant_id, "AZURE_TENANT_ID"),
        ("--azure-client-id", settings.client_id, "AZURE_CLIENT_ID"),
    )
    problems = [
        Problem(field=flag, message=why, remedy=f"Give it, or set {variable}")
        for flag, value, variable in named
        if not value
    ]
    problems += missing
    if problems:
        raise InvalidInput(problems)


def _file_problems(variable: str, path: str, what: str) -> list[Problem]:
    if not path:
        remedy = (
            'Label the pod azure.workload.identity/use: "true", so that AKS\'s webhook sets it'
            if variable == TOKEN_FILE
            else "Set it to the file"
        )
        return [Problem(field=variable, message="is not set", remedy=remedy)]
    if not Path(path).is_file():
        message = f"{path} is not a file"
        return [Problem(field=variable, message=message, remedy=f"Mount the {what} there")]
    return []


def _need_cli() -> None:
    """Raises: InvalidInput (there is no `az`)."""
    if shutil.which("az") is None:
        problem = Problem(
            field="--azure-credential",
            message="cli needs the Azure CLI, and there is no `az` in PATH",
            remedy="Install it and run `az login`, or choose another credential",
        )
        raise InvalidInput([problem])
