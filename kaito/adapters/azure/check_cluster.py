"""Whether the AKS cluster is as kaito needs it."""

from collections.abc import Iterator, Sequence
from typing import Final

from azure.mgmt.containerservice.models import AgentPool, ManagedCluster

from kaito.adapters.azure.agent_pools import shared_subnet
from kaito.adapters.azure.arm_reads import Unread
from kaito.adapters.azure.error_table import Reaction
from kaito.adapters.azure.findings import Area, Finding, ForShell, Status, aks, command
from kaito.adapters.azure.permissions import (
    OF_CLUSTER,
    READ_CLUSTER,
    READ_POOLS,
    Need,
    Permission,
    allows,
)
from kaito.adapters.azure.settings import AzureSettings, CredentialKind

# The custom roles of docs/azure.md: at the cluster, and at the subscription.
ROLE: Final = "kaito machines"
CHECK_ROLE: Final = "kaito market"


def cluster_findings(
    cluster: ManagedCluster, settings: AzureSettings, credential: CredentialKind
) -> Iterator[Finding]:
    """What the cluster says of itself."""
    name = settings.cluster_name
    yield Finding(area=Area.CLUSTER, subject=name, status=Status.OK, message="is there")
    yield _location(cluster, settings)
    yield _state(cluster, settings)
    version = cluster.current_kubernetes_version or cluster.kubernetes_version or "unknown"
    yield Finding(
        area=Area.CLUSTER, subject="Kubernetes", status=Status.OK, message=f"version {version}"
    )
    yield from _identity(cluster, settings, credential)
    yield from _others(cluster, settings)


def not_found(error: Unread, settings: AzureSettings) -> Finding:
    """Why the cluster could not be read."""
    if error.denied:
        return Finding(
            area=Area.CLUSTER,
            subject=settings.cluster_name,
            status=Status.NOT_CHECKED,
            message=f"may not be read, without {READ_CLUSTER}",
            remedy=grant(settings),
        )
    answered = error.refusal.reaction in {Reaction.GONE, Reaction.REJECTED}
    return Finding(
        area=Area.CLUSTER,
        subject=settings.cluster_name,
        status=Status.MISSING,  # kaito could not work like this
        message=str(error),
        remedy=command("az", "aks", "list", "--output", "table")
        if answered
        else "Look at the network, at --azure-arm-endpoint and at --azure-ca-file, and try again",
    )


def pool_findings(
    pools: Sequence[AgentPool], limit: int, machines: int, settings: AzureSettings
) -> Iterator[Finding]:
    """Whether `machines` more pools may be made, where a cluster has `limit` at most."""
    left = max(limit - len(pools), 0)
    text = f"{left} of {limit} are left"
    enough = left >= max(machines, 1)
    place = ("--resource-group", settings.resource_group, "--cluster-name", settings.cluster_name)
    yield Finding(
        area=Area.AGENT_POOLS,
        subject=settings.cluster_name,
        status=Status.OK if enough else Status.MISSING,
        message=text if enough else f"{text}, and {max(machines, 1)} are needed",
        remedy=""
        if enough
        else command("az", "aks", "nodepool", "list", *place, "--output", "table"),
    )
    if not (settings.subnet_id or shared_subnet(pools)) and any(
        pool.vnet_subnet_id for pool in pools
    ):
        yield Finding(
            area=Area.AGENT_POOLS,
            subject="subnet",
            status=Status.WARNING,
            message="pools of this cluster are in several subnets; kaito's name none, so that "
            "Azure chooses it",
            remedy="Name one with --azure-subnet-id (KAITO_AZURE_SUBNET_ID)",
        )


def permission_findings(
    granted: Sequence[Permission] | Unread, pools: Unread | None, settings: AzureSettings
) -> Iterator[Finding]:
    """What the identity may do at the cluster. `pools` is why agent pools could not be listed."""
    for need in OF_CLUSTER:
        if isinstance(granted, Unread):
            yield _unknown(need, granted, pools, settings)
        elif allows(granted, need.action):
            yield Finding(
                area=Area.PERMISSION,
                subject=need.action,
                status=Status.OK,
                message=f"granted: {need.purpose}",
            )
        else:
            yield lacking(need, settings)


def lacking(need: Need, settings: AzureSettings, *, of_subscription: bool = False) -> Finding:
    """An action that is not granted, at the cluster or at its subscription."""
    return Finding(
        area=Area.PERMISSION,
        subject=need.action,
        status=Status.MISSING if need.vital else Status.WARNING,
        message=f"is not granted, and is needed to {need.purpose}",
        remedy=grant(settings, of_subscription=of_subscription),
    )


def grant(settings: AzureSettings, *, of_subscription: bool = False) -> str:
    """The command that gives kaito's identity its role there."""
    cluster = aks("show", settings, "--query", "id", "--output", "tsv")
    scope = f"$({cluster})"
    if of_subscription:
        account = command("az", "account", "show", "--query", "id", "--output", "tsv")
        scope = f"/subscriptions/$({account})"
    return command(
        *("az", "role", "assignment", "create", "--assignee-object-id"),
        ForShell("$KAITO_PRINCIPAL_ID"),
        *("--assignee-principal-type", "ServicePrincipal"),
        *("--role", CHECK_ROLE if of_subscription else ROLE, "--scope", ForShell(scope)),
    )


def _unknown(need: Need, granted: Unread, pools: Unread | None, settings: AzureSettings) -> Finding:
    if need.action == READ_POOLS:  # seen by doing it
        if pools is None:
            return Finding(
                area=Area.PERMISSION,
                subject=need.action,
                status=Status.OK,
                message=f"granted: {need.purpose}",
            )
        if pools.denied:
            return lacking(need, settings)
    return Finding(
        area=Area.PERMISSION,
        subject=need.action,
        status=Status.NOT_CHECKED,
        message=f"needed to {need.purpose}: {granted}",
        remedy=grant(settings) if granted.denied else "",
    )


def _location(cluster: ManagedCluster, settings: AzureSettings) -> Finding:
    found = (cluster.location or "").replace(" ", "").lower()
    same = found == settings.location
    return Finding(
        area=Area.CLUSTER,
        subject="location",
        status=Status.OK if same else Status.MISSING,
        message=found if same else f"is {found}, and --azure-location says {settings.location}",
        remedy="" if same else f"Set --azure-location (LOCATION) to {found}",
    )


def _state(cluster: ManagedCluster, settings: AzureSettings) -> Finding:
    said = str(cluster.provisioning_state or "")
    power = cluster.power_state
    code = getattr(power.code, "value", power.code) if power is not None else "Running"
    if str(code).lower() == "stopped":
        status, text, remedy = Status.MISSING, "is stopped", aks("start", settings)
    elif said == "Succeeded":
        status, text, remedy = Status.OK, "Succeeded, running", ""
    elif said in {"Failed", "Canceled"}:
        status, text, remedy = (
            Status.WARNING,
            f"its last change {said.lower()}",
            aks("update", settings),
        )
    else:
        text = f"is {said or 'unknown'}: pools can be changed once that is over"
        status, remedy = Status.WARNING, aks("show", settings, "--query", "provisioningState")
    return Finding(area=Area.CLUSTER, subject="state", status=status, message=text, remedy=remedy)


def _identity(
    cluster: ManagedCluster, settings: AzureSettings, credential: CredentialKind
) -> Iterator[Finding]:
    issuer, security = cluster.oidc_issuer_profile, cluster.security_profile
    workload = security.workload_identity if security is not None else None
    uses_it = credential is CredentialKind.WORKLOAD_IDENTITY
    for subject, on, flag in (
        ("OIDC issuer", issuer is not None and issuer.enabled, "--enable-oidc-issuer"),
        (
            "workload identity",
            workload is not None and workload.enabled,
            "--enable-workload-identity",
        ),
    ):
        off = Status.MISSING if uses_it else Status.WARNING
        yield Finding(
            area=Area.CLUSTER,
            subject=subject,
            status=Status.OK if on else off,
            message="enabled"
            if on
            else "is off, and --azure-credential workload-identity needs it",
            remedy="" if on else aks("update", settings, flag),
        )


def _others(cluster: ManagedCluster, settings: AzureSettings) -> Iterator[Finding]:
    """Who else would act on NodeClaims."""
    provisioning = cluster.node_provisioning_profile
    mode = provisioning.mode if provisioning is not None else None
    if str(getattr(mode, "value", mode)).lower() == "auto":
        yield Finding(
            area=Area.CLUSTER,
            subject="node auto-provisioning",
            status=Status.MISSING,
            message="is on: its Karpenter acts on NodeClaims too, and only one may",
            remedy=aks("update", settings, "--node-provisioning-mode", "Manual"),
        )
    toolchain = cluster.ai_toolchain_operator_profile
    if toolchain is not None and toolchain.enabled:
        yield Finding(
            area=Area.CLUSTER,
            subject="AI toolchain operator",
            status=Status.MISSING,
            message="is on: its gpu-provisioner acts on NodeClaims too, and only one may",
            remedy=aks("update", settings, "--disable-ai-toolchain-operator"),
        )
