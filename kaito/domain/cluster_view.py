"""What the planners see of the cluster: plain values, read once per plan."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from kaito.domain.errors import Problem
from kaito.domain.machine import Machine, NodeView
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceView:
    """A Workspace as read: parsed, with its status and the version it was read at.

    With `problems` the stored object could not be parsed, and only the metadata of `workspace` is
    what was stored.
    """

    workspace: Workspace
    status: WorkspaceStatus
    version: str
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnd:
    """How a pod came to its end, or is coming to it, when that was no success (epoch seconds).

    `container` is the first that failed, with its exit code, reason (`Error`, `OOMKilled`) and
    termination message; empty where none says so. `disruption`: why it was ended from outside,
    empty where it ended by itself.
    """

    finished_at_s: float
    container: str = ""
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    disruption: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """A pod of the workload. `reason` and `message` explain why it is not ready, `end` how it
    ended."""

    name: str
    node_name: str
    phase: str
    ready: bool
    deleting: bool
    reason: str = ""
    message: str = ""
    restarts: int = 0
    end: PodEnd | None = None


class WorkloadState(StrEnum):
    """How the live workload compares with the wanted one."""

    MISSING = "missing"
    DIFFERENT = "different"
    SAME = "same"
    DELETING = "deleting"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadView:
    """The StatefulSet or Job as read, compared with the wanted one.

    `differences` are the paths that differ; `content_differs` when one of them is more than how
    many replicas there are and how far a rollout may go, `rolls` when pods are replaced for it.
    `restarts_group`: it ends pods that serve one model together, all at once. `taken` names an
    object that is somebody else's and stands where one of ours should.

    `observed` means that the controller has seen the latest spec, `settled` that besides every
    replica runs it. `replicas` is how many it asks for, `pods` how many there are,
    `updated_replicas` how many of them run the latest template; a rollout stops at the pod number
    `partition`. `older_spec` and `older_config` say what it was made for; one that differs without
    either merely is not what this version of kaito would write.

    Of a Job: `failed_pods` are those that count, of which it may have `retries` and go on; `retry`
    is the wish to run it again that it was made for, or told of.

    `inherited`: KAITO v0.12 made it for what is asked for still, so that it is kept as it is, and
    what is compared is only whether its Services are there. `to_adopt`: nothing on it says so yet.
    """

    state: WorkloadState
    differences: tuple[str, ...] = ()
    content_differs: bool = False
    rolls: bool = False
    must_replace: bool = False
    restarts_group: bool = False
    taken: str = ""
    older_spec: bool = False
    older_config: bool = False
    inherited: bool = False
    to_adopt: bool = False
    observed: bool = False
    settled: bool = False
    replicas: int = 0
    partition: int = 0
    pods: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    active: bool = False
    succeeded: bool = False
    failed: bool = False
    failed_pods: int = 0
    retries: int = 0
    retry: str = ""
    message: str = ""

    @property
    def outdated(self) -> bool:
        """Whether the user asked for something else since it was made."""
        return self.older_spec or self.older_config


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigView:
    """The ConfigMap that a Workspace names, parsed. `problem` says why it cannot be used."""

    name: str
    content_hash: str = ""
    values: Mapping[str, Any] | None = None
    missing: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionView:
    """A spec in the history of a Workspace. `content` says which, see `revisions.content_of`."""

    name: str
    uid: str
    number: int
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """Everything that belongs to one Workspace, except the workload (see `WorkloadView`).

    `adoptable` are machines that KAITO v0.12 ordered for it; they have no slot yet. `nodes` are
    its machines'; where users bring their own, those that its selector may find and those that its
    pods run on. `made_for` is the shape of Nodes that the live workload was sized for. `sharing`
    are some other Workspaces of its namespace that have the same matchLabels, in order.
    `storage_class` is the one for weights on local disks; empty where the cluster has none.
    `revisions` are its history.
    """

    machines: tuple[Machine, ...] = ()
    adoptable: tuple[Machine, ...] = ()
    nodes: tuple[NodeView, ...] = ()
    pods: tuple[PodView, ...] = ()
    config: ConfigView | None = None
    has_workload: bool = False
    made_for: str = ""
    sharing: tuple[str, ...] = ()
    storage_class: str = ""
    revisions: tuple[RevisionView, ...] = ()
