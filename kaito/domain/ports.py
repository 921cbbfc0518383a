"""Ports: what the decisions need from the outside, with the semantics that every adapter keeps.

No port call waits: a write is accepted, and its effect shows up in a later read. One synchronous
port therefore serves a worker thread and simulated time alike. Reads may lag behind writes
(`observe` again); they never show a state that was never there. Every call may raise Unavailable
(the outcome is unknown: repeat it).
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from kaito.domain.cluster_view import ClusterView, WorkloadView, WorkspaceView
from kaito.domain.machine import (
    CloudMachine,
    Machine,
    MachineOrder,
    MachineSpec,
    NodePod,
    NodeView,
    Owner,
    Taint,
)
from kaito.domain.plan import Note, WriteMachine
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workload import Workload
from kaito.domain.workspace import Workspace


class WorkspaceStore(Protocol):
    """Workspaces and what belongs to them, as the cluster has them."""

    def forget_unused(self) -> None:
        """Let go of what was worked out and not asked for since the last call."""

    def read_workspace(self, namespace: str, name: str) -> WorkspaceView | None:
        """The Workspace, or None when it does not exist. One that does not parse has problems."""

    def observe(self, workspace: Workspace) -> ClusterView:
        """What belongs to the Workspace, each kind sorted by name. Machines are found by the
        Workspace's UID, never by the user's labels; those to adopt, which have no UID on them, by
        the Workspace's name and namespace as KAITO v0.12 writes them. Where users bring their
        Nodes there are no machines, and the Nodes are those that have the labels asked for or
        carry one of the pods. Revisions are those that the Workspace owns, KAITO v0.12's too."""

    def compare(self, workload: Workload) -> WorkloadView:
        """How the live workload compares with the wanted one: in the fields that kaito sets and
        in the hash of the pod template; what the API server fills in does not count. One that
        KAITO v0.12 made is the same until another one is wanted than when it was adopted."""

    def add_finalizer(self, view: WorkspaceView) -> WorkspaceView:
        """Add kaito's finalizer and return the Workspace as it is then.

        Raises: Conflict (it changed since `view`), NotFound.
        """

    def remove_finalizer(self, view: WorkspaceView) -> None:
        """Remove kaito's finalizer; without it, or without the object, a no-op.

        Raises: Conflict (it changed since `view`).
        """

    def write_status(self, view: WorkspaceView, status: WorkspaceStatus) -> WorkspaceView:
        """Write the status and return the Workspace as it is then. Fails on a stale `view` even
        if the status is the same.

        Raises: Conflict (it changed since `view`), NotFound.
        """

    def apply_workload(self, workload: Workload, *, replace: bool) -> None:
        """Create or update the workload's objects; repeating it writes nothing. With `replace`
        a live object that differs is deleted, and created again by a later call. Of one that is
        inherited (see `WorkloadView`) only Services that are missing are created.

        Raises: Conflict, Rejected.
        """

    def adopt_workload(self, workload: Workload) -> None:
        """Mark KAITO v0.12's StatefulSet or Job as standing for `workload`, in its metadata only;
        none, or one that is not KAITO's any more, is success.

        Raises: Conflict, Rejected.
        """

    def delete_workload(self, workspace: Workspace) -> None:
        """Delete the Workspace's StatefulSet or Job with its pods; none is success."""

    def create_revision(self, workspace: Workspace, number: int) -> None:
        """Keep the Workspace's spec as a revision with this number, which goes with the Workspace.
        Where its history has that already, it is success.

        Raises: Rejected.
        """

    def delete_revision(self, workspace: Workspace, name: str, uid: str) -> None:
        """Drop one of the Workspace's revisions; gone or another `uid` is success.

        Raises: Rejected.
        """

    def create_machine(self, spec: MachineSpec) -> None:
        """Record a machine under `spec.name`; one that is recorded already is success.

        Raises: Rejected.
        """

    def adopt_machine(self, machine: Machine) -> None:
        """Write the machine's labels onto its Node, then onto its record at `machine.version`;
        from then on it is observed among the Workspace's machines.

        Raises: Conflict (it changed since it was read), NotFound.
        """

    def delete_machine(self, claim_name: str, uid: str) -> None:
        """Ask for the machine's release; gone, released or another `uid` is success."""

    def retry_machine(self, claim_name: str, uid: str, wish: str) -> None:
        """Hand the wish to try at once on to the machine's record; gone or another `uid` is
        success.

        Raises: Conflict (it changed since it was read).
        """

    def note(self, view: WorkspaceView, note: Note) -> None:
        """Record an event on the Workspace; repeating one raises its count."""


class MachineStore(Protocol):
    """The records of machines (NodeClaims) and the Nodes that came of them."""

    def forget_unused(self) -> None:
        """Let go of what was worked out and not asked for since the last call."""

    def read_machine(self, claim_name: str) -> Machine | None:
        """The machine's record, or None when it does not exist or is not kaito's."""

    def list_machines(self) -> Sequence[Machine]:
        """Every record of kaito's, sorted by name."""

    def claim_names(self) -> Collection[str]:
        """The names of all records, kaito's and others'. May lag."""

    def record_exists(self, claim_name: str) -> bool:
        """Whether there is a record of that name, whoever's, read past any cache."""

    def workspace_uids(self) -> Collection[str]:
        """The UIDs of all Workspaces, deleted or not. May lag."""

    def workspace_exists(self, namespace: str, name: str, uid: str) -> bool:
        """Whether the Workspace with this UID exists, deleted or not, read past any cache."""

    def node_of(self, machine: Machine, provider_id: str) -> NodeView | None:
        """The machine's Node: the one with its labels and this provider id."""

    def write_machine(self, machine: Machine, record: WriteMachine) -> Machine:
        """Write attempt, conditions and names, and return the machine as it is then. Fails on a
        stale `machine` even if nothing changes.

        Raises: Conflict (it changed since it was read), NotFound.
        """

    def label_node(self, node_name: str, added: Sequence[tuple[str, str]]) -> None:
        """Add labels to a Node. Raises: NotFound."""

    def pods_on(self, node_name: str) -> Sequence[NodePod]:
        """Every pod on the Node, sorted by namespace and name, read past any cache."""

    def taint_node(self, node_name: str, taint: Taint) -> None:
        """Add a taint to a Node; one that is there already is success.

        Raises: Conflict (it changed since it was read), NotFound.
        """

    def evict_pod(self, pod: NodePod) -> None:
        """Ask for the pod's eviction, with its own grace period; gone or another UID is success.

        Raises: Unavailable (also while a budget of disruptions does not allow it), Rejected.
        """

    def remove_machine_finalizer(self, machine: Machine) -> None:
        """Let the record go; without finalizer or record a no-op. Raises: Conflict."""

    def delete_record(self, claim_name: str, uid: str) -> None:
        """Ask for the machine's release; gone or another `uid` is success."""

    def note_machine(self, machine: Machine, note: Note) -> None:
        """Record an event on the machine; repeating one raises its count."""


class MachineBudget(Protocol):
    """Keeps what the Workspaces of a namespace may have together."""

    def reserve(self, owner: Owner, created_at: str, specs: Sequence[MachineSpec]) -> str:
        """Promise the owner that it may record these machines, instead of what was promised to it
        before; what is recorded already counts by itself. Otherwise: why not, and it waits in its
        turn, by `created_at` (RFC 3339). Asking and promising is one step.
        """

    def freed(self) -> Sequence[tuple[str, str]]:
        """Namespace and name of the Workspaces whose turn may have come since the last call."""


class NoBudget:
    """A `MachineBudget` without limits."""

    def reserve(self, owner: Owner, created_at: str, specs: Sequence[MachineSpec]) -> str:
        return ""

    def freed(self) -> Sequence[tuple[str, str]]:
        return ()


class MachineCloud(Protocol):
    """Sells GPU machines."""

    def launch(self, order: MachineOrder) -> None:
        """Order one machine. While `order.name` is known to the cloud a repeat is a no-op.

        Raises: CapacityUnavailable, QuotaExceeded, MachineLimitReached, Rejected, Unavailable.
        """

    def terminate(self, cloud_name: str) -> None:
        """Give the machine back; an unknown or already released name is success.

        Raises: Rejected (it may not be deleted, or is not kaito's), Unavailable.
        """

    def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
        """Every machine that kaito ordered and the cloud still has, sorted by name; those of one
        record only, where it is named. May lag behind `launch` and `terminate`."""


class Clock(Protocol):
    """Time for the shell; decisions get it as `now_s`."""

    def now_s(self) -> float:
        """Seconds since the epoch."""
