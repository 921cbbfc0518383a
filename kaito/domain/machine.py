"""A machine: what its NodeClaim records, what the cloud and the cluster say of it.

Life: ordered -> launched (the cloud has the order) -> registered (its Node is there) ->
initialised (the Node is ready and its GPUs are allocatable) -> ready. The conditions and their
names are Karpenter's (pkg/apis/v1/nodeclaim_status.go).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from kaito.domain import names
from kaito.domain.conditions import Condition, is_true
from kaito.domain.labels import GPU_RESOURCE

LAUNCHED = "Launched"
REGISTERED = "Registered"
INITIALIZED = "Initialized"
READY = "Ready"
DRAINED = "Drained"
INSTANCE_TERMINATING = "InstanceTerminating"

NO_SLOT: Final = -1  # of a machine that KAITO v0.12 ordered and nobody has adopted yet


class CapacityType(StrEnum):
    """How a machine is bought, in Karpenter's words (karpenter.sh/capacity-type). A spot machine
    costs less, and the cloud may take it away at any time."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One thing to ask the cloud for: a machine of this type, with so many GPUs, bought so."""

    instance_type: str
    gpus: int
    capacity_type: CapacityType = CapacityType.ON_DEMAND

    def __str__(self) -> str:
        spot = " (spot)" if self.capacity_type is CapacityType.SPOT else ""
        return f"{self.instance_type}{spot}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The Workspace that a machine belongs to; `uid` decides, the rest is for people."""

    uid: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """A machine to have: slot `slot` of `owner`. `disk_bytes` is the OS disk. `fallbacks` are other
    instance types that do as well, each with its GPUs, and `capacity_types` the ways to buy, each
    best first. `retry` is what the Workspace's annotation kaito.sh/retry says. With a
    `weights_class`, a StorageClass, weights live on local disks and not on the OS disk."""

    owner: Owner
    slot: int
    instance_type: str
    gpus: int
    disk_bytes: int
    labels: Mapping[str, str]
    image_family: str = ""
    retry: str = ""
    weights_class: str = ""
    fallbacks: tuple[tuple[str, int], ...] = ()
    capacity_types: tuple[CapacityType, ...] = (CapacityType.ON_DEMAND,)

    @property
    def offers(self) -> tuple[Offer, ...]:
        """What to ask the cloud for, best first: every instance type in one way to buy, then in the
        next."""
        types = ((self.instance_type, self.gpus), *self.fallbacks)
        return tuple(
            Offer(instance_type=name, gpus=gpus, capacity_type=capacity_type)
            for capacity_type in self.capacity_types
            for name, gpus in types
        )

    @property
    def name(self) -> str:
        """The NodeClaim's name, and the cloud's name for the first attempt."""
        return names.machine_name(self.owner.uid, self.slot, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One order for the machine: written to the NodeClaim before the cloud is called.

    `started_at_s` is None until the order may have been sent; `not_before_s` delays it. `zone` is
    where the cloud put the machine, empty until it says so; `asked_zone` where it is asked to,
    empty where it may choose, and `refused_zones` had none. `hops` counts the attempts that do not
    make the pause before the next one longer; `retry` is the wish to try at once that was granted.
    """

    number: int = 0
    instance_type: str = ""
    started_at_s: float | None = None
    not_before_s: float = 0.0
    zone: str = ""
    capacity_type: CapacityType = CapacityType.ON_DEMAND
    asked_zone: str = ""
    refused_zones: tuple[str, ...] = ()
    hops: int = 0
    retry: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A NodeClaim as read. `bought_type` is the instance type that the cloud gave, empty until it
    says so."""

    spec: MachineSpec
    claim_name: str
    uid: str
    version: str
    generation: int
    created_at_s: float
    deleting: bool
    has_finalizer: bool
    attempt: Attempt
    conditions: tuple[Condition, ...] = ()
    provider_id: str = ""
    node_name: str = ""
    bought_type: str = ""

    @property
    def offer(self) -> Offer:
        """What the current attempt asks for, or asked for."""
        chosen, capacity_type = self.attempt.instance_type, self.attempt.capacity_type
        if not chosen:
            return self.spec.offers[0]
        for offer in self.spec.offers:
            if (offer.instance_type, offer.capacity_type) == (chosen, capacity_type):
                return offer
        return Offer(instance_type=chosen, gpus=self.spec.gpus, capacity_type=capacity_type)

    @property
    def cloud_name(self) -> str:
        """The name under which the cloud knows the current attempt."""
        return self.cloud_name_of(self.attempt.number)

    def cloud_name_of(self, attempt: int) -> str:
        """The name under which the cloud knows that attempt. The first has the NodeClaim's name,
        which is KAITO's choice where the machine was adopted."""
        if attempt == 0:
            return self.claim_name
        return names.machine_name(self.spec.owner.uid, self.spec.slot, attempt)

    @property
    def is_ready(self) -> bool:
        return not self.deleting and is_true(self.conditions, READY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taint:
    """What keeps pods that do not tolerate it off a Node."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        value = f"={self.value}" if self.value else ""
        return f"{self.key}{value}:{self.effect}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A Node as read. `gpus` and, by resource, `slices` of GPUs are what the kubelet says can be
    allocated; `cordoned` and `taints` are about new pods."""

    name: str
    provider_id: str
    ready: bool
    gpus: int
    labels: Mapping[str, str] = field(default_factory=dict)
    deleting: bool = False
    cordoned: bool = False
    taints: tuple[Taint, ...] = ()
    slices: tuple[tuple[str, int], ...] = ()

    def allocatable(self, resource: str) -> int:
        """How many whole GPUs, or MIG slices of a resource, pods may have."""
        return dict(self.slices).get(resource, 0) if resource != GPU_RESOURCE else self.gpus


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePod:
    """A pod on a machine's Node. `workspace` is the name of the one that it serves, in its own
    namespace; `daemon`: a DaemonSet's; `mirror`: the kubelet's own; `finished`: none of its
    containers will run again. `tolerations` are as in its spec."""

    namespace: str
    name: str
    uid: str
    workspace: str = ""
    daemon: bool = False
    mirror: bool = False
    finished: bool = False
    deleting: bool = False
    tolerations: tuple[Mapping[str, str], ...] = ()


class CloudState(StrEnum):
    """`STOPPED`: there, without a Node that works, until somebody starts it again."""

    CREATING = "Creating"
    RUNNING = "Running"
    STOPPED = "Stopped"
    DELETING = "Deleting"
    FAILED = "Failed"


class Shortage(StrEnum):
    """What the cloud had too little of to make a machine that it had promised."""

    CAPACITY = "capacity"
    QUOTA = "quota"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOrder:
    """What the cloud is asked for. `name` is the key: ordering it again orders nothing. Without a
    `zone` the cloud chooses one."""

    name: str
    claim_name: str
    owner: Owner
    instance_type: str
    disk_bytes: int
    labels: Mapping[str, str]
    image_family: str = ""
    zone: str = ""
    capacity_type: CapacityType = CapacityType.ON_DEMAND


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudMachine:
    """A machine as the cloud lists it. `zone` and `provider_id` are empty while the cloud does not
    know them. `error` says why it failed, or why the cloud takes it away; `shortage`, of one that
    failed, that another type or zone may do, and `other_zones` which zones; `evicted`: a spot
    machine that somebody else pays more for."""

    name: str
    claim_name: str
    owner_uid: str
    instance_type: str
    zone: str
    state: CloudState
    provider_id: str
    created_at_s: float
    error: str = ""
    shortage: Shortage | None = None
    other_zones: tuple[str, ...] = ()
    evicted: bool = False
