"""Where the AKS cluster is, who asks for machines there, and within which limits."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kaito.domain.errors import InvalidInput, Problem

PUBLIC_ARM: Final = "https://management.azure.com"

# https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules
_GUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_RESOURCE_GROUP: Final = re.compile(r"[-\w.()]{0,89}[-\w()]")
_CLUSTER: Final = re.compile(r"[a-zA-Z0-9](?:[-_a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
_LOCATION: Final = re.compile(r"[a-z][a-z0-9]{1,62}")
_ZONE: Final = re.compile(r"[1-9]")
_SUBNET: Final = re.compile(
    rf"/subscriptions/{_GUID.pattern}/resourceGroups/{_RESOURCE_GROUP.pattern}"
    r"/providers/Microsoft\.Network/virtualNetworks/[-\w.]{1,80}/subnets/[-\w.]{1,80}",
    re.IGNORECASE,
)


class CredentialKind(StrEnum):
    """How kaito proves to Microsoft Entra who it is. `AUTO`: by what is configured."""

    AUTO = "auto"
    WORKLOAD_IDENTITY = "workload-identity"
    MANAGED_IDENTITY = "managed-identity"
    SERVICE_PRINCIPAL = "service-principal"
    CLI = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A token bucket: `burst` calls at once, and `per_s` more with every second."""

    burst: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLimits:
    """What AKS and Azure Resource Manager take: PUTs of one agent pool, and all other calls of the
    subscription.

    Source: https://learn.microsoft.com/azure/aks/quotas-skus-regions (throttling limits on AKS
    resource provider APIs; node pools per cluster).
    """

    put: Rate = Rate(burst=20, per_s=1 / 60)
    other: Rate = Rate(burst=60, per_s=1.0)
    pools: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AzureSettings:
    """Read once from flags and environment.

    `zones` are those that machines are spread over, as numbers; without any, Azure chooses.
    `subnet_id` empty: the subnet that all other pools of the cluster are in, if it is one.
    `spot_max_price_usd` is per hour; None: up to the price on demand. A list of machines is at most
    `list_age_s` old. `connect_s` and `read_s` bound every call. `ignore_disruption_budgets`: a
    machine that is given back goes, whatever PodDisruptionBudgets its last pods have.

    Raises: InvalidInput (every value that is missing or cannot be).
    """

    subscription_id: str
    resource_group: str
    cluster_name: str
    location: str
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    arm_endpoint: str = PUBLIC_ARM
    credential: CredentialKind = CredentialKind.AUTO
    ca_file: Path | None = None
    zones: tuple[str, ...] = ()
    subnet_id: str = ""
    spot_max_price_usd: float | None = None
    list_age_s: float = 10.0
    limits: ArmLimits = field(default_factory=ArmLimits)
    connect_s: float = 5.0
    read_s: float = 20.0
    ignore_disruption_budgets: bool = True

    def __post_init__(self) -> None:
        normal = {
            "location": self.location.replace(" ", "").lower(),
            "arm_endpoint": self.arm_endpoint.rstrip("/"),
        }
        for name, value in normal.items():
            object.__setattr__(self, name, value)
        problems = [*_missing(self), *_malformed(self)]
        if problems:
            raise InvalidInput(problems)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be told to anybody who reads logs and events."""
        ids = (self.subscription_id, self.tenant_id, self.client_id)
        return tuple(filter(None, (*ids, self.client_secret)))

    def zone_name(self, number: str) -> str:
        """A zone as Kubernetes' Nodes name it: `1` -> `eastus-1`."""
        return f"{self.location}-{number}"


_REQUIRED: Final = (
    ("subscription_id", "--azure-subscription-id", "ARM_SUBSCRIPTION_ID"),
    ("resource_group", "--azure-resource-group", "ARM_RESOURCE_GROUP"),
    ("cluster_name", "--azure-cluster-name", "AZURE_CLUSTER_NAME"),
    ("location", "--azure-location", "LOCATION"),
)


def _missing(settings: AzureSettings) -> Iterator[Problem]:
    for name, flag, variable in _REQUIRED:
        if not getattr(settings, name):
            message = "is needed to order machines on AKS"
            yield Problem(field=flag, message=message, remedy=f"Give it, or set {variable}")


def _malformed(settings: AzureSettings) -> Iterator[Problem]:
    # An id is not repeated: errors end up in logs.
    for flag, value in (
        ("--azure-subscription-id", settings.subscription_id),
        ("--azure-tenant-id", settings.tenant_id),
        ("--azure-client-id", settings.client_id),
    ):
        if value and not _GUID.fullmatch(value):
            remedy = "Give it as in 00000000-0000-0000-0000-000000000000"
            yield Problem(field=flag, message="is not a GUID", remedy=remedy)
    named = (
        ("--azure-resource-group", settings.resource_group, _RESOURCE_GROUP, "my-group"),
        ("--azure-cluster-name", settings.cluster_name, _CLUSTER, "my-cluster"),
        ("--azure-location", settings.location, _LOCATION, "eastus"),
    )
    for flag, value, pattern, example in named:
        if value and not pattern.fullmatch(value):
            message = f"{value!r} cannot be a name in Azure"
            yield Problem(field=flag, message=message, remedy=f"Give its name, as in {example}")
    endpoint = urlsplit(settings.arm_endpoint)
    if endpoint.scheme != "https" or not endpoint.netloc or endpoint.path or endpoint.query:
        yield Problem(
            field="--azure-arm-endpoint",
            message=f"{settings.arm_endpoint!r} is not the https address of a host",
            remedy=f"Give it as in {PUBLIC_ARM}",
        )
    if settings.ca_file is not None and not settings.ca_file.is_file():
        yield Problem(
            field="--azure-ca-file",
            message=f"{settings.ca_file} is not a file",
            remedy="Give a PEM file of the certificates to trust",
        )
    if settings.subnet_id and not _SUBNET.fullmatch(settings.subnet_id):
        yield Problem(
            field="--azure-subnet-id",
            message="is not the id of a subnet",
            remedy="Give what `az network vnet subnet show --query id` prints",
        )
    yield from _malformed_choices(settings)


def _malformed_choices(settings: AzureSettings) -> Iterator[Problem]:
    wrong = [zone for zone in settings.zones if not _ZONE.fullmatch(zone)]
    if wrong or len(set(settings.zones)) < len(settings.zones):
        yield Problem(
            field="--azure-zones",
            message=f"{','.join(settings.zones)!r} are not zones, each named once",
            remedy="Name them by number, as in 1,2,3",
        )
    price = settings.spot_max_price_usd
    if price is not None and not 0 < price < 10_000:
        yield Problem(
            field="--azure-spot-max-price",
            message=f"{price:g} is no price of a machine in US dollars per hour",
            remedy="Give one, as in 1.5, or leave it out to pay up to the price on demand",
        )
    for name, value in (
        ("list_age_s", settings.list_age_s),
        ("connect_s", settings.connect_s),
        ("read_s", settings.read_s),
    ):
        if not 0 < value <= 300:
            message = f"must be more than 0 s and at most 300 s, got {value:g}"
            yield Problem(field=name, message=message)
