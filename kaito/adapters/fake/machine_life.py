"""What became of a machine that the twin's cloud sold, and how its Node tells it."""

from dataclasses import dataclass
from typing import Final

from kaito.adapters.fake.aks_node import address_of, is_spot
from kaito.adapters.kube_api import KubeObject, annotations_of, labels_of, name_of
from kaito.domain import labels
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.gpu import InstanceType
from kaito.domain.machine import CapacityType, CloudState, MachineOrder, Owner
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

MACHINE_ORDER: Final = "machine order"  # the phase that a machine's life begins with

_NODE_PREFIX, _NODE_SUFFIX = "aks-", "-vmss000000"  # of the first VM of an AKS agent pool
# A Node says which machine it is, for a cloud that was restarted and remembers nothing.
_CLAIM: Final = "twin.kaito.sh/nodeclaim"
_ORDERED_AT: Final = "twin.kaito.sh/ordered-at"


@dataclass(slots=True, kw_only=True)
class MachineLife:
    """What became of one order. Times are epoch seconds; `ready_at_s` is when its GPUs came.
    `sold_in` is the zone whose stock it came from, None where it was there before the cloud was.
    """

    order: MachineOrder
    instance_type: InstanceType
    zone: str
    ordered_at_s: float
    sold_in: int | None = None
    address: str = ""  # the internal one of its Node
    state: CloudState = CloudState.CREATING
    visible: bool = False
    node_at_s: float | None = None
    ready_at_s: float | None = None
    registered: bool = False  # its Node was written
    released_at_s: float | None = None
    phase: str = MACHINE_ORDER
    phase_since_s: float = 0.0
    fails_with: str = ""  # of one that fails half-way
    error: str = ""
    evicted: bool = False

    @property
    def node_name(self) -> str:
        return f"{_NODE_PREFIX}{self.order.name}{_NODE_SUFFIX}"

    @property
    def provider_id(self) -> str:
        return (
            "azure:///subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/twin"
            "/providers/Microsoft.Compute/virtualMachineScaleSets"
            f"/aks-{self.order.name}-vmss/virtualMachines/0"
        )

    def cost_usd(self, region: str, now_s: float) -> float:
        """Its price from the order to the release; 0 where the price is unknown."""
        end_s = self.released_at_s if self.released_at_s is not None else now_s
        hours = (end_s - self.ordered_at_s) / 3600.0
        return (self.usd_per_hour(region) or 0.0) * hours

    def usd_per_hour(self, region: str) -> float | None:
        """The price of what it is, on demand or spot; None where it is unknown."""
        price = self.instance_type.price(region)
        return price.of(self.order.capacity_type is CapacityType.SPOT) if price else None


def pool_of(node_name: str) -> str:
    """The cloud's name of the machine that is behind a Node of this name."""
    return node_name.removeprefix(_NODE_PREFIX).removesuffix(_NODE_SUFFIX)


def annotations_for(life: MachineLife) -> dict[str, str]:
    """What the machine's Node says of it, for `life_of`."""
    return {_CLAIM: life.order.claim_name, _ORDERED_AT: to_rfc3339(life.ordered_at_s)}


def life_of(node: KubeObject, catalogue: Catalogue) -> MachineLife | None:
    """The machine behind a Node with `annotations_for`; None for any other Node."""
    found, noted = labels_of(node), annotations_of(node)
    name, owner_uid = found.get(labels.AZURE_AGENT_POOL), found.get(labels.WORKSPACE_UID)
    if not name or not owner_uid or _CLAIM not in noted or _ORDERED_AT not in noted:
        return None
    try:
        instance_type = catalogue.instance_type(found.get(labels.INSTANCE_TYPE, ""))
        ordered_at_s = from_rfc3339(noted[_ORDERED_AT])
    except (UnknownInstanceType, ValueError):
        return None
    owner = Owner(
        uid=owner_uid,
        namespace=found.get(labels.WORKSPACE_NAMESPACE, ""),
        name=found.get(labels.WORKSPACE, ""),
    )
    order = MachineOrder(
        name=name,
        claim_name=noted[_CLAIM],
        owner=owner,
        instance_type=instance_type.name,
        disk_bytes=0,  # no Node says it, and nothing asks a running machine
        labels=found,
        capacity_type=CapacityType.SPOT if is_spot(node) else CapacityType.ON_DEMAND,
    )
    life = MachineLife(
        order=order,
        instance_type=instance_type,
        zone=found.get(labels.ZONE, ""),
        address=address_of(node),
        ordered_at_s=ordered_at_s,
        node_at_s=from_rfc3339(node["metadata"]["creationTimestamp"]),
    )
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    if labels.GPU_RESOURCE in allocatable:
        life.ready_at_s = life.node_at_s
    return life if life.node_name == name_of(node) else None
