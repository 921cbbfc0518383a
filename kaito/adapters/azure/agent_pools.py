"""A machine as an agent pool of AKS, both ways: what to order, and what was listed.

Of the pools of a cluster, kaito's have its tags. KAITO v0.12's gpu-provisioner writes labels only
(gp: pkg/providers/instance/instance.go); every other pool is somebody else's. AKS copies the tags
onto the scale set, so that a bill can be split by them.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from azure.mgmt.containerservice.models import AgentPool

from kaito.adapters.azure.error_table import Reaction
from kaito.adapters.azure.errors import AzureErrors
from kaito.adapters.azure.settings import AzureSettings
from kaito.domain import labels, names
from kaito.domain.errors import Rejected
from kaito.domain.machine import (
    CapacityType,
    CloudMachine,
    CloudState,
    MachineOrder,
    NodeView,
    Shortage,
)
from kaito.domain.quantity import GIB
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

# Tags. Azure takes no / in their names.
# https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources
OWNER_UID: Final = "kaito.sh_workspace-uid"
OWNER_NAMESPACE: Final = "kaito.sh_workspace-namespace"
OWNER_NAME: Final = "kaito.sh_workspace"
CLAIM: Final = "kaito.sh_nodeclaim"
CLUSTER: Final = "kaito.sh_cluster"
CREATED_AT: Final = "kaito.sh_created-at"

# The NodeClaim once more, for a pool that has lost its tags: a change of them replaces them all.
CLAIM_LABEL: Final = "kaito.sh/nodeclaim"

# Labels of KAITO v0.12's pools.
RAG_ENGINE: Final = "kaito.sh/ragengine"
CREATION_TIMESTAMP: Final = "kaito.sh/creation-timestamp"
_TIMESTAMP: Final = "%Y-%m-%dT%H-%M-%SZ"  # a label's value takes no colon

# https://learn.microsoft.com/rest/api/aks/agent-pools/create-or-update
_POOL_NAME: Final = re.compile(r"[a-z][a-z0-9]{0,11}")
_GPU_TAINT: Final = f"{labels.GPU_TAINT_KEY}={labels.GPU_TAINT_VALUE}:NoSchedule"
_OS_SKUS: Final = {"": "Ubuntu", "ubuntu": "Ubuntu", "azurelinux": "AzureLinux"}
# Labels with these prefixes are AKS's or the kubelet's to set; a round puts others onto the Node.
# https://learn.microsoft.com/azure/aks/use-labels#reserved-prefixes
_RESERVED: Final = re.compile(r"(?:[^/]+\.)?(?:kubernetes\.io|k8s\.io|kubernetes\.azure\.com)/")

_COMING: Final = frozenset({"", "accepted", "creating", "inprogress", "pending"})
_FAILED: Final = frozenset({"canceled", "failed"})
_REGULAR_PRICE: Final = -1.0  # pay up to the price on demand


def zone_for(order: MachineOrder, settings: AzureSettings) -> str:
    """The number of the zone to ask for: the order's, else one of the settings', the same for the
    same order; empty where Azure is to choose. Raises: Rejected (it is no zone of the location)."""
    if order.zone:
        number = order.zone.removeprefix(settings.zone_name(""))
        if number == order.zone or not number.isdigit():
            raise Rejected(f"zone {order.zone!r} is not in {settings.location}")
        return number
    if not settings.zones:
        return ""
    return settings.zones[int(names.digest(order.name)[:8], 16) % len(settings.zones)]


def shared_subnet(pools: Iterable[AgentPool]) -> str:
    """The subnet that all pools are in; empty where it is Azure's own, or not one."""
    found = {pool.vnet_subnet_id or "" for pool in pools}
    return found.pop() if len(found) == 1 else ""


def to_agent_pool(
    order: MachineOrder, settings: AzureSettings, *, now_s: float, subnet: str = ""
) -> AgentPool:
    """The pool with the machine that is ordered, in `subnet` unless the settings name one.

    Raises: Rejected (Azure has no such name, image family or zone).
    """
    if not _POOL_NAME.fullmatch(order.name):
        raise Rejected(f"{order.name!r} cannot be the name of an agent pool")
    os_sku = _OS_SKUS.get(order.image_family.lower())
    if os_sku is None:
        raise Rejected(f"image family {order.image_family!r} is neither Ubuntu nor AzureLinux")
    zone = zone_for(order, settings)
    wanted = {key: value for key, value in order.labels.items() if not _RESERVED.match(key)}
    pool: dict[str, Any] = {
        "count": 1,
        "type": "VirtualMachineScaleSets",
        "mode": "User",
        "vmSize": order.instance_type,
        "osType": "Linux",
        "osSKU": os_sku,
        "nodeLabels": {
            **wanted,
            CLAIM_LABEL: order.claim_name,
            labels.MACHINE_TYPE: labels.MACHINE_TYPE_GPU,
            CREATION_TIMESTAMP: datetime.fromtimestamp(now_s, UTC).strftime(_TIMESTAMP),
        },
        "nodeTaints": [_GPU_TAINT],
        "tags": {
            OWNER_UID: order.owner.uid,
            OWNER_NAMESPACE: order.owner.namespace,
            OWNER_NAME: order.owner.name,
            CLAIM: order.claim_name,
            CLUSTER: settings.cluster_name,
            CREATED_AT: to_rfc3339(now_s),
        },
    }
    if order.disk_bytes > 0:
        pool["osDiskSizeGB"] = -(-order.disk_bytes // GIB)
    if zone:
        pool["availabilityZones"] = [zone]
    if settings.subnet_id or subnet:
        pool["vnetSubnetID"] = settings.subnet_id or subnet
    if order.capacity_type is CapacityType.SPOT:
        price = settings.spot_max_price_usd
        pool["scaleSetPriority"] = "Spot"
        pool["scaleSetEvictionPolicy"] = "Delete"
        pool["spotMaxPrice"] = _REGULAR_PRICE if price is None else price
    return AgentPool({"properties": pool})


def to_machine(
    pool: AgentPool, *, settings: AzureSettings, errors: AzureErrors, now_s: float
) -> CloudMachine | None:
    """The machine that a pool is, as far as the pool says it; None for a pool of somebody else."""
    owner = _owner_of(pool)
    if owner is None or not pool.name:
        return None
    owner_uid, claim_name = owner
    state = _state(pool)
    failure = _failure(pool, settings, errors) if state is CloudState.FAILED else _Failure()
    zones = pool.availability_zones or []
    return CloudMachine(
        name=pool.name,
        claim_name=claim_name,
        owner_uid=owner_uid,
        instance_type=pool.vm_size or "",
        zone=settings.zone_name(zones[0]) if len(zones) == 1 else "",
        state=state,
        provider_id="",
        created_at_s=_created_at_s(pool, now_s),
        error=failure.error,
        shortage=failure.shortage,
        other_zones=failure.other_zones,
    )


def with_node(machine: CloudMachine, node: NodeView) -> CloudMachine:
    """The machine with what its Node says. Where there is a Node, the machine was made, and it was
    a change of its pool that failed: whether the Node gets ready in time says the rest."""
    found = replace(
        machine,
        provider_id=node.provider_id,
        zone=node.labels.get(labels.ZONE) or machine.zone,
    )
    if found.state is not CloudState.FAILED or node.deleting:
        return found
    return replace(found, state=CloudState.RUNNING, error="", shortage=None, other_zones=())


def is_of_kaito(pool: AgentPool) -> bool:
    """Whether it is kaito's, or KAITO v0.12's."""
    return _owner_of(pool) is not None


def is_deleting(pool: AgentPool) -> bool:
    """Whether Azure is deleting it."""
    return _word(pool.provisioning_state) == "deleting"


def is_settled_spot(pool: AgentPool) -> bool:
    """Whether it is a spot pool whose Node must be there: AKS reports success only once it is."""
    return (
        _word(pool.scale_set_priority) == "spot"
        and _word(pool.provisioning_state) == "succeeded"
        and not _is_stopped(pool)
    )


def deleting(pool: AgentPool) -> AgentPool:
    """The pool once Azure has agreed to delete it."""
    body = pool.as_dict()
    body["properties"] = {**body.get("properties", {}), "provisioningState": "Deleting"}
    return AgentPool(body)


def _owner_of(pool: AgentPool) -> tuple[str, str] | None:
    """UID of the owner, empty where it is not written, and the NodeClaim's name."""
    tags, found = pool.tags or {}, pool.node_labels or {}
    if tags.get(OWNER_UID) and tags.get(CLAIM):
        return tags[OWNER_UID], tags[CLAIM]
    uid, slot = found.get(labels.WORKSPACE_UID, ""), found.get(labels.SLOT, "")
    if found.get(labels.NODE_POOL) != labels.NODE_POOL_KAITO:
        return None
    if uid and slot.isascii() and slot.isdigit():  # somebody has taken the tags off
        return uid, found.get(CLAIM_LABEL) or names.machine_name(uid, int(slot), 0)
    if labels.WORKSPACE in found or RAG_ENGINE in found:
        return "", pool.name or ""
    return None


def _state(pool: AgentPool) -> CloudState:
    said = _word(pool.provisioning_state)
    if said == "deleting":
        return CloudState.DELETING
    if said in _COMING:
        return CloudState.CREATING
    if _is_stopped(pool):
        return CloudState.STOPPED
    if said in _FAILED:
        return CloudState.FAILED
    return CloudState.RUNNING  # it was there before it was updated, upgraded or started


def _is_stopped(pool: AgentPool) -> bool:
    power = pool.power_state
    return power is not None and _word(power.code) == "stopped"


def _word(value: str | None) -> str:
    """A value of the SDK, which is a text or an enumeration's member, in lower case."""
    return str(getattr(value, "value", value) or "").lower()


class _Failure(NamedTuple):
    """What to tell of a pool that failed, what Azure was short of, and the zones to try."""

    error: str = ""
    shortage: Shortage | None = None
    other_zones: tuple[str, ...] = ()


def _failure(pool: AgentPool, settings: AzureSettings, errors: AzureErrors) -> _Failure:
    detail = pool.status.provisioning_error if pool.status is not None else None
    if detail is None:
        return _Failure(f"provisioning ended as {pool.provisioning_state}")
    refusal = errors.of_pool(detail.as_dict())
    if refusal.reaction is Reaction.QUOTA:
        return _Failure(refusal.text, Shortage.QUOTA)
    if refusal.reaction is not Reaction.CAPACITY:
        return _Failure(refusal.text)
    asked = pool.availability_zones or []
    others = other_zones(settings, asked) if refusal.zonal and asked else ()
    return _Failure(refusal.text, Shortage.CAPACITY, others)


def other_zones(settings: AzureSettings, asked: Sequence[str]) -> tuple[str, ...]:
    """The zones of the settings that were not asked for, as Kubernetes names them."""
    return tuple(settings.zone_name(zone) for zone in settings.zones if zone not in asked)


def _created_at_s(pool: AgentPool, now_s: float) -> float:
    """When it was ordered, or now where nobody says: what may be new is not given back."""
    tags: Mapping[str, str] = pool.tags or {}
    found: Mapping[str, str] = pool.node_labels or {}
    try:
        return from_rfc3339(tags[CREATED_AT])
    except (KeyError, ValueError):
        pass
    try:
        text = found[CREATION_TIMESTAMP]
        return datetime.strptime(text, _TIMESTAMP).replace(tzinfo=UTC).timestamp()
    except (KeyError, ValueError):
        pass
    made = pool.system_data.created_at if pool.system_data is not None else None
    return made.timestamp() if made is not None else now_s
