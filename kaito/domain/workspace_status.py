"""From the observed state to a Workspace's conditions and state."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from kaito.domain import status as st
from kaito.domain.cluster_view import (
    ClusterView,
    PodView,
    WorkloadState,
    WorkloadView,
    WorkspaceView,
)
from kaito.domain.conditions import Condition, Truth, find, merge
from kaito.domain.decision import Wanted
from kaito.domain.machine import LAUNCHED, Machine
from kaito.domain.machine import READY as MACHINE_READY
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workload import WorkloadKind

MESSAGE_LIMIT_CHARS: Final = 1024  # an event's; KAITO's 256 would cut off most remedies

# Machine reasons that no retry of ours can cure.
_MACHINE_BLOCKS: Final = {"QuotaExceeded": "QuotaExceeded", "LaunchRejected": "MachineRejected"}


def status_of(
    view: WorkspaceView,
    kept: Sequence[Machine],
    wanted: Wanted,
    conditions: Sequence[Condition],
    now_s: float,
) -> WorkspaceStatus:
    """The status to write: `conditions` laid over the observed ones, nodes, count and state."""
    merged = merge_conditions(view, conditions, now_s)
    return replace(
        merged,
        worker_nodes=tuple(sorted(machine.node_name for machine in kept if machine.node_name)),
        target_node_count=wanted.sizing.nodes,
        state=_state(view, merged),
    )


def refused_status(
    view: WorkspaceView, conditions: Sequence[Condition], now_s: float
) -> WorkspaceStatus:
    """The status of a Workspace that cannot be planned: what runs is left as it is."""
    merged = merge_conditions(view, conditions, now_s)
    return replace(merged, state=_state(view, merged))


def _state(view: WorkspaceView, status: WorkspaceStatus) -> str:
    """KAITO v0.12's state: inference never goes back to Pending once it was Ready."""
    if view.workspace.tuning is not None:
        if status.is_ready:
            return "Succeeded"
        if status.blocked_reason:
            return "Failed"
        return "Running" if status.is_true(st.JOB_STARTED) else "Pending"
    if status.is_ready:
        return "Ready"
    return "NotReady" if view.status.state in {"Ready", "NotReady"} else "Pending"


def conditions_of(
    view: WorkspaceView,
    cluster: ClusterView,
    kept: Sequence[Machine],
    wanted: Wanted,
    live: WorkloadView,
) -> list[Condition]:
    """The Workspace's conditions, in the order in which they come true."""
    machines, nodes, resource = _resource_conditions(kept, cluster, wanted.sizing.nodes)
    if wanted.workload.kind is WorkloadKind.INFERENCE:
        work, done = _inference_conditions(cluster, wanted, live, resource)
    else:
        work, done = _tuning_conditions(cluster, live, resource, is_done=is_done(view, live))
    blocked = _blocked_by_machine(kept)
    if blocked is not None and not done.is_true:
        done = blocked
    ready = replace(done, type=st.READY)
    return [machines, nodes, resource, work, done, ready]


def conditions_while_refused(
    view: WorkspaceView, cluster: ClusterView, reason: str
) -> list[Condition]:
    """What runs is still looked at while nothing can be planned for it; what never ran is not."""
    if view.status.target_node_count == 0:
        return []
    kept = [machine for machine in cluster.machines if not machine.deleting]
    resources = _resource_conditions(kept, cluster, view.status.target_node_count)
    kind = st.JOB_STARTED if view.workspace.tuning is not None else st.INFERENCE_READY
    work = find(view.status.conditions, kind)
    runs = bool(cluster.pods) and all(
        pod.ready or pod.phase == "Running" for pod in cluster.pods if not pod.deleting
    )
    if work is None or (runs and _on_a_lost_node(cluster) is None):
        return [*resources]
    return [*resources, condition(kind, "False", reason, "its pods are not ready")]


def _resource_conditions(
    kept: Sequence[Machine], cluster: ClusterView, count: int
) -> tuple[Condition, Condition, Condition]:
    machines = _machines_condition(kept, count)
    nodes = _nodes_condition(kept, cluster, count)
    resources = nodes if machines.is_true else machines
    resource = condition(
        st.RESOURCE_READY,
        "True" if resources.is_true else "False",
        "workspaceResourceStatusSuccess"
        if resources.is_true
        else "workspaceResourceStatusNotReady",
        resources.message,
    )
    return machines, nodes, resource


def _machines_condition(kept: Sequence[Machine], count: int) -> Condition:
    if len(kept) == count and all(machine.is_ready for machine in kept):
        return condition(st.NODE_CLAIM_READY, "True", "NodeClaimsReady", f"{count} of {count}")
    ready = sum(machine.is_ready for machine in kept)
    waiting = next((machine for machine in kept if not machine.is_ready), None)
    text = f"{ready} of {count} machines ready"
    if waiting is None:
        return condition(st.NODE_CLAIM_READY, "False", "NodeClaimNotReady", text)
    blocking = next(
        (
            found
            for found in waiting.conditions
            if found.type != MACHINE_READY and not found.is_true
        ),
        None,
    )
    if blocking is None:
        return condition(st.NODE_CLAIM_READY, "False", "NodeClaimNotReady", text)
    detail = f"{text}; {waiting.claim_name}: {blocking.message or blocking.reason}"
    return condition(st.NODE_CLAIM_READY, "False", blocking.reason, cut_message(detail))


def _nodes_condition(kept: Sequence[Machine], cluster: ClusterView, count: int) -> Condition:
    by_name = {node.name: node for node in cluster.nodes}
    unready = [
        machine.node_name or machine.claim_name
        for machine in kept
        if (node := by_name.get(machine.node_name)) is None or not node.ready
    ]
    missing = count - len(kept)
    if not unready and missing <= 0:
        return condition(st.NODES_READY, "True", "NodesReady", ", ".join(sorted(by_name)))
    text = f"waiting for {', '.join(unready)}" if unready else f"{missing} not created yet"
    return condition(st.NODES_READY, "False", "NodeNotReady", cut_message(text))


def _inference_conditions(
    cluster: ClusterView, wanted: Wanted, live: WorkloadView, resource: Condition
) -> tuple[Condition, Condition]:
    replicas = wanted.workload.replicas
    settled = live.state is WorkloadState.SAME and live.settled
    lost = _on_a_lost_node(cluster)
    if settled and lost is not None:
        text = f"{lost.name} ran on Node {lost.node_name}, which is gone"
        work = condition(st.INFERENCE_READY, "False", "WorkspaceInferenceStatusPending", text)
    elif settled and live.ready_replicas >= replicas:
        text = f"{live.ready_replicas} of {replicas} pods ready"
        work = condition(st.INFERENCE_READY, "True", "WorkspaceInferenceStatusSuccess", text)
    else:
        reason, text = _why_pending(cluster.pods, live, resource)
        work = condition(st.INFERENCE_READY, "False", reason, text)
    return work, _succeeded(work, resource, "serving")


def _on_a_lost_node(cluster: ClusterView) -> PodView | None:
    """A pod whose Node is gone: it still counts as ready until it is cleaned away."""
    nodes = {node.name for node in cluster.nodes}
    return next((pod for pod in cluster.pods if pod.ready and pod.node_name not in nodes), None)


def _tuning_conditions(
    cluster: ClusterView, live: WorkloadView, resource: Condition, *, is_done: bool
) -> tuple[Condition, Condition]:
    same = live.state is WorkloadState.SAME or (
        live.state is WorkloadState.DIFFERENT and not live.outdated
    )
    if is_done:
        work = condition(st.JOB_STARTED, "True", "WorkspaceTuningJobStatusStarted", "finished")
        return work, condition(st.SUCCEEDED, "True", "workspaceSucceeded", "tuning finished")
    if same and live.failed:
        text = cut_message(live.message or "the job failed")
        work = condition(st.JOB_STARTED, "False", "WorkspaceTuningJobStatusFailed", text)
        return work, condition(st.SUCCEEDED, "False", "WorkspaceTuningJobStatusFailed", text)
    if same and live.active and any(pod.phase == "Running" for pod in cluster.pods):
        work = condition(st.JOB_STARTED, "True", "WorkspaceTuningJobStatusStarted", "running")
        return work, condition(st.SUCCEEDED, "False", "workspacePending", "tuning is running")
    reason, text = _why_pending(cluster.pods, live, resource)
    if reason == "WorkspaceInferenceStatusPending":
        reason = "WorkspaceTuningJobStatusPending"
    work = condition(st.JOB_STARTED, "False", reason, text)
    return work, condition(st.SUCCEEDED, "False", "workspacePending", work.message)


def _succeeded(work: Condition, resource: Condition, doing: str) -> Condition:
    if work.is_true and resource.is_true:
        return condition(st.SUCCEEDED, "True", "workspaceSucceeded", doing)
    waiting = work if resource.is_true else resource
    return condition(st.SUCCEEDED, "False", "workspacePending", waiting.message)


def _why_pending(
    pods: Sequence[PodView], live: WorkloadView, resource: Condition
) -> tuple[str, str]:
    pending = "WorkspaceInferenceStatusPending"
    if live.state is WorkloadState.MISSING:
        waits = "the workload starts next" if resource.is_true else "waiting for the machines"
        return pending, waits
    if live.state is WorkloadState.DELETING:
        return pending, "waiting for the old workload to go"
    stuck = next((pod for pod in pods if not pod.ready and pod.reason), None)
    if stuck is not None:
        return stuck.reason, cut_message(f"{stuck.name}: {stuck.message}")
    if live.state is WorkloadState.DIFFERENT or not live.settled:
        return pending, "rolling out a change"
    return pending, "waiting for the pods to become ready"


def _blocked_by_machine(kept: Sequence[Machine]) -> Condition | None:
    for machine in kept:
        launched = find(machine.conditions, LAUNCHED)
        if launched is not None and launched.reason in _MACHINE_BLOCKS:
            text = cut_message(f"{machine.claim_name}: {launched.message}")
            return condition(st.SUCCEEDED, "False", _MACHINE_BLOCKS[launched.reason], text)
    return None


def merge_conditions(
    view: WorkspaceView, conditions: Sequence[Condition], now_s: float
) -> WorkspaceStatus:
    """The observed status with `conditions` laid over it, stamped with the generation seen."""
    stamped = [_at(view, found) for found in conditions]
    return replace(view.status, conditions=merge(view.status.conditions, stamped, now_s=now_s))


def is_done(view: WorkspaceView, live: WorkloadView | None = None) -> bool:
    """Whether this is a tuning job that has succeeded for this spec: it is not run again, even if
    its Job is cleaned away or the ConfigMap it read has changed or gone since."""
    exists = live is not None and live.state in {WorkloadState.SAME, WorkloadState.DIFFERENT}
    if view.workspace.tuning is not None and exists and live is not None and live.succeeded:
        return not live.older_spec or _was_done(view)
    return _was_done(view)


def _was_done(view: WorkspaceView) -> bool:
    done = find(view.status.conditions, st.SUCCEEDED)
    return (
        view.workspace.tuning is not None
        and done is not None
        and done.is_true
        and done.observed_generation == view.workspace.metadata.generation
    )


def resources_ready(kept: Sequence[Machine], wanted: Wanted) -> bool:
    """Whether every machine of the fit is there and ready."""
    return len(kept) == wanted.sizing.nodes and all(machine.is_ready for machine in kept)


def condition(kind: str, status: Truth, reason: str, message: str) -> Condition:
    """A condition before it is stamped with time and generation."""
    return Condition(type=kind, status=status, reason=reason, message=message)


def _at(view: WorkspaceView, found: Condition) -> Condition:
    return replace(found, observed_generation=view.workspace.metadata.generation)


def cut_message(text: str) -> str:
    """The text as it fits a condition."""
    if len(text) <= MESSAGE_LIMIT_CHARS:
        return text
    return text[: MESSAGE_LIMIT_CHARS - 1] + "…"
