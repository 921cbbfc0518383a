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
INSTANCE_TERMINATING = "InstanceTerminating"

NO_SLOT: Final = -1  # of a machine that KAITO v0.12 ordered and nobody has adopted yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """The Workspace that a machine belongs to; `uid` decides, the rest is for people."""

    uid: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpec:
    """A machine to have: slot `slot` of `owner`. `disk_bytes` is the OS disk."""

    owner: Owner
    slot: int
    instance_type: str
    gpus: int
    disk_bytes: int
    labels: Mapping[str, str]
    image_family: str = ""

    @property
    def name(self) -> str:
        """The NodeClaim's name, and the cloud's name for the first attempt."""
        return names.machine_name(self.owner.uid, self.slot, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One order for the machine: written to the NodeClaim before the cloud is called.

    `started_at_s` is None until the order may have been sent; `not_before_s` delays it. `zone` is
    where the cloud put the machine, empty until it says so.
    """

    number: int = 0
    instance_type: str = ""
    started_at_s: float | None = None
    not_before_s: float = 0.0
    zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A NodeClaim as read."""

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


class CloudState(StrEnum):
    CREATING = "Creating"
    RUNNING = "Running"
    DELETING = "Deleting"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOrder:
    """What the cloud is asked for. `name` is the key: ordering it again orders nothing."""

    name: str
    claim_name: str
    owner: Owner
    instance_type: str
    disk_bytes: int
    labels: Mapping[str, str]
    image_family: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudMachine:
    """A machine as the cloud lists it. `error` says why it failed."""

    name: str
    claim_name: str
    owner_uid: str
    instance_type: str
    zone: str
    state: CloudState
    provider_id: str
    created_at_s: float
    error: str = ""
