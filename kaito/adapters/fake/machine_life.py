"""What became of a machine that the twin's cloud sold, and how its Node tells it."""

import re
from dataclasses import dataclass
from typing import Final

from kaito.adapters.fake.aks_node import GPU_TAINT, address_of, is_spot
from kaito.adapters.kube_api import KubeObject, annotations_of, labels_of, name_of
from kaito.domain import labels
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.gpu import InstanceType
from kaito.domain.machine import CapacityType, CloudState, MachineOrder, Owner, Shortage, Taint
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

MACHINE_ORDER: Final = "machine order"  # the phase that a machine's life begins with

# A Node says which machine it is, for a cloud that was restarted and remembers nothing.
_CLAIM: Final = "twin.kaito.sh/nodeclaim"
_ORDERED_AT: Final = "twin.kaito.sh/ordered-at"
_PROVIDER_ID: Final = re.compile(
    r"azure:///subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers"
    r"/Microsoft\.Compute/virtualMachineScaleSets/aks-[a-z0-9]+(?:-(?P<number>\d+))?-vmss"
    r"/virtualMachines/0"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeNames:
    """How a cluster names the first VM of an agent pool. AKS puts a number of eight digits, the
    cluster's own, into the names of its scale sets."""

    subscription: str = "00000000-0000-0000-0000-000000000000"
    group: str = "twin"
    number: str = ""

    def node(self, pool: str) -> str:
        """The Node's name."""
        return f"{self._scale_set(pool)}000000"

    def provider_id(self, pool: str) -> str:
        return (
            f"azure:///subscriptions/{self.subscription}/resourceGroups/{self.group}"
            "/providers/Microsoft.Compute/virtualMachineScaleSets"
            f"/{self._scale_set(pool)}/virtualMachines/0"
        )

    def _scale_set(self, pool: str) -> str:
        return f"aks-{pool}-{self.number}-vmss" if self.number else f"aks-{pool}-vmss"


@dataclass(slots=True, kw_only=True)
class MachineLife:
    """What became of one order. Times are epoch seconds; `ready_at_s` is when its GPUs came.
    `sold_in` is the zone whose stock it came from, None where it was there before the cloud was, or
    is not allocated yet. `relabel` is what of its Node's labels is still to change.
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
    shortage: Shortage | None = None
    other_zones: tuple[str, ...] = ()
    names: NodeNames = NodeNames()
    taints: tuple[Taint, ...] = (GPU_TAINT,)
    relabel: dict[str, str | None] | None = None
    stopped_at_s: float | None = None  # while it is deallocated
    stopped_s: float = 0.0  # how long it was before

    @property
    def node_name(self) -> str:
        return self.names.node(self.order.name)

    @property
    def provider_id(self) -> str:
        return self.names.provider_id(self.order.name)

    @property
    def listed_state(self) -> CloudState:
        """What a list says of it: one that is deallocated is not what it was, nor lost."""
        stopped = self.stopped_at_s is not None and self.state is not CloudState.DELETING
        return CloudState.STOPPED if stopped else self.state

    def cost_usd(self, region: str, now_s: float) -> float:
        """Its price from the order to the release; 0 where the price is unknown. A machine that was
        never allocated costs nothing, nor does one that is deallocated."""
        if self.shortage is not None:
            return 0.0
        end_s = self.released_at_s if self.released_at_s is not None else now_s
        stopped_s = self.stopped_s
        if self.stopped_at_s is not None:
            stopped_s += end_s - self.stopped_at_s
        hours = (end_s - self.ordered_at_s - stopped_s) / 3600.0
        return (self.usd_per_hour(region) or 0.0) * hours

    def usd_per_hour(self, region: str) -> float | None:
        """The price of what it is, on demand or spot; None where it is unknown."""
        price = self.instance_type.price(region)
        return price.of(self.order.capacity_type is CapacityType.SPOT) if price else None


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
        names=_names_in(str(node["spec"].get("providerID", ""))),
    )
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    if labels.GPU_RESOURCE in allocatable:
        life.ready_at_s = life.node_at_s
    return life if life.node_name == name_of(node) else None


def _names_in(provider_id: str) -> NodeNames:
    """How the machine with this provider id was named."""
    found = _PROVIDER_ID.fullmatch(provider_id)
    return NodeNames(**found.groupdict(default="")) if found else NodeNames()
