"""Machines on AKS: the Azure SDK behind the cloud port."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kaito.adapters.azure.settings import ArmLimits, AzureSettings, CredentialKind, Rate
from kaito.adapters.k8s.node_lookup import PoolNodes
from kaito.adapters.kube_api import KubeApi
from kaito.domain.errors import InvalidInput, Problem
from kaito.system_clock import SystemClock, monotonic_s

if TYPE_CHECKING:
    from kaito.adapters.azure.cloud import AksMachineCloud


def azure_settings(
    *,
    subscription_id: str,
    resource_group: str,
    cluster_name: str,
    location: str,
    tenant_id: str,
    client_id: str,
    credential: str,
    zones: str,
    subnet_id: str,
    spot_max_price_usd: float | None,
    arm_endpoint: str,
    ca_file: Path | None,
    put_rate: str = "20,1",
    other_rate: str = "60,60",
) -> AzureSettings:
    """The settings as they stand in flags: `zones` separated by commas, rates as burst and calls a
    minute.

    Raises: InvalidInput (a value is missing or cannot be).
    """
    if credential not in tuple(CredentialKind):
        problem = Problem(
            field="--azure-credential",
            message=f"must be one of {', '.join(CredentialKind)}, got {credential!r}",
        )
        raise InvalidInput([problem])
    return AzureSettings(
        subscription_id=subscription_id,
        resource_group=resource_group,
        cluster_name=cluster_name,
        location=location,
        tenant_id=tenant_id,
        client_id=client_id,
        client_secret=os.environ.get("AZURE_CLIENT_SECRET", ""),
        credential=CredentialKind(credential),
        zones=tuple(zone.strip() for zone in zones.split(",")) if zones.strip() else (),
        subnet_id=subnet_id,
        spot_max_price_usd=spot_max_price_usd,
        arm_endpoint=arm_endpoint,
        ca_file=ca_file,
        limits=ArmLimits(
            put=_rate("--azure-put-rate", put_rate),
            other=_rate("--azure-other-rate", other_rate),
        ),
    )


def _rate(flag: str, text: str) -> Rate:
    """Raises: InvalidInput."""
    burst, _, per_minute = text.partition(",")
    try:
        rate = Rate(burst=int(burst), per_s=float(per_minute) / 60.0)
    except ValueError:
        rate = Rate(burst=0, per_s=0.0)
    if rate.burst < 1 or not 0.0 < rate.per_s <= 1e6:
        message = f"must be a burst and a number a minute, both above zero, got {text!r}"
        remedy = "Give it as in 60,60: 60 requests at once, and 60 more a minute"
        raise InvalidInput([Problem(field=flag, message=message, remedy=remedy)])
    return rate


@contextmanager
def needs_azure_sdk(what: str) -> Iterator[None]:
    """For imports that `what` needs. Raises: InvalidInput (the Azure SDK is not installed)."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "azure":
            raise
        problem = Problem(
            field=what,
            message=f"needs the Azure SDK, and there is no {error.name}",
            remedy="Install it: pip install 'kaito[operator,azure]'",
        )
        raise InvalidInput([problem]) from error


def aks_cloud(settings: AzureSettings, api: KubeApi) -> "AksMachineCloud":
    """The cloud of the cluster behind `api`, whose Nodes say which pools they are of.

    Raises: InvalidInput (the Azure SDK is not installed, or what the credential needs is missing).
    """
    with needs_azure_sdk("--provisioner aks"):
        from kaito.adapters.azure.client import make_client
        from kaito.adapters.azure.cloud import AksMachineCloud
        from kaito.adapters.azure.credentials import make_credential
    client = make_client(settings, make_credential(settings, os.environ))
    return AksMachineCloud(
        client,
        settings,
        clock=SystemClock(),
        steady_s=monotonic_s,
        node_of=PoolNodes(api).node_of,
    )
