"""Plans: decisions as data. `reconcile.act()` carries them out in the order of `steps`."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from kaito.domain.conditions import Condition
from kaito.domain.machine import Attempt, Machine, MachineOrder, MachineSpec, NodePod, Taint
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workload import Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """An event for the user, on the object that the plan is for."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddFinalizer:
    """Mark the Workspace so that it cannot disappear while it has machines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveFinalizer:
    """Nothing is left to release: let the object go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteStatus:
    """Write the status at the version that was read.

    It is also the fence before anything is bought: it fails if the plan was made from a stale
    object, even when the status itself is unchanged.
    """

    status: WorkspaceStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRevision:
    """Keep the Workspace's spec in its history, under this number."""

    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteRevision:
    """Drop a revision that is too old to be kept, or whose spec has a newer one."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateMachine:
    """Record that a machine is wanted; ordering it is the machine's own plan."""

    spec: MachineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptMachine:
    """Make a machine that KAITO v0.12 ordered the Workspace's own, at the version that was read.

    `machine` is as it will be: with its owner, its slot and its labels.
    """

    machine: Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteMachine:
    """Release a machine. `uid` guards against one made later under the same name."""

    claim_name: str
    uid: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryMachine:
    """Let a machine that waits for its next attempt try at once: `wish` is what the Workspace's
    annotation kaito.sh/retry says."""

    claim_name: str
    uid: str
    wish: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyWorkload:
    """Make the workload's objects what they should be. `replace`: by deleting the old one first,
    because what differs cannot be changed in place."""

    workload: Workload
    replace: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptWorkload:
    """Mark what KAITO v0.12 runs as standing for `workload`, without touching its pods."""

    workload: Workload


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteWorkload:
    """Stop the workload."""


WorkspaceStep: TypeAlias = (
    Note
    | AddFinalizer
    | RemoveFinalizer
    | WriteStatus
    | CreateRevision
    | DeleteRevision
    | CreateMachine
    | AdoptMachine
    | DeleteMachine
    | RetryMachine
    | ApplyWorkload
    | AdoptWorkload
    | DeleteWorkload
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspacePlan:
    """What to do next for a Workspace; empty once converged."""

    steps: tuple[WorkspaceStep, ...] = ()
    requeue_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteMachine:
    """Write the machine's record at the version that was read; the fence before an order."""

    attempt: Attempt
    conditions: tuple[Condition, ...]
    provider_id: str = ""
    node_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Order the machine from the cloud."""

    order: MachineOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminate:
    """Give a machine back to the cloud. `in_case`: it is probably gone, and if the cloud refuses
    what follows is done all the same."""

    cloud_name: str
    reason: str
    in_case: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelNode:
    """Put the machine's labels on its Node."""

    node_name: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaintNode:
    """Keep new pods off a Node."""

    node_name: str
    taint: Taint


@dataclass(frozen=True, slots=True, kw_only=True)
class EvictPod:
    """Ask a pod to leave its Node, as far as PodDisruptionBudgets let it."""

    pod: NodePod


MachineStep: TypeAlias = (
    Note
    | WriteMachine
    | Launch
    | Terminate
    | LabelNode
    | TaintNode
    | EvictPod
    | DeleteMachine
    | RemoveFinalizer
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePlan:
    """What to do next for a machine; empty once it is ready, or gone."""

    steps: tuple[MachineStep, ...] = ()
    requeue_after_s: float | None = None
