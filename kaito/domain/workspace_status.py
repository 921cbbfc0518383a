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
from kaito.domain.conditions import Condition, condition, cut_message, find, merge, seen_at
from kaito.domain.decision import Wanted
from kaito.domain.pause import as_told, is_paused, without_pause
from kaito.domain.plan import Note
from kaito.domain.rollout import Surge
from kaito.domain.status import WorkspaceStatus
from kaito.domain.tuning_attempts import attempt_notes, job_condition
from kaito.domain.workload import WorkloadKind
from kaito.domain.workspace_resources import Resources

_TRUE_REASONS: Final = {
    st.INFERENCE_READY: "WorkspaceInferenceStatusSuccess",
    st.JOB_STARTED: "WorkspaceTuningJobStatusStarted",
}


def status_of(
    view: WorkspaceView,
    resources: Resources,
    wanted: Wanted,
    conditions: Sequence[Condition],
    now_s: float,
) -> WorkspaceStatus:
    """The status to write: `conditions` laid over the observed ones, nodes, count and state."""
    merged = _without(resources.retired, merge_conditions(view, conditions, now_s))
    return replace(
        merged,
        worker_nodes=resources.nodes,
        target_node_count=wanted.sizing.nodes,
        state=_state(view, merged),
    )


def refused_status(
    view: WorkspaceView,
    conditions: Sequence[Condition],
    now_s: float,
    retired: Sequence[str] = (),
) -> WorkspaceStatus:
    """The status of a Workspace that cannot be planned: what runs is left as it is."""
    merged = _without(retired, merge_conditions(view, conditions, now_s))
    return replace(merged, state=_state(view, merged))


def _without(types: Sequence[str], status: WorkspaceStatus) -> WorkspaceStatus:
    if not types:
        return status
    kept = tuple(found for found in status.conditions if found.type not in types)
    return replace(status, conditions=kept)


def _state(view: WorkspaceView, status: WorkspaceStatus) -> str:
    """KAITO v0.12's state: inference never goes back to Pending once it was Ready."""
    if view.workspace.tuning is not None:
        if status.is_ready:
            return "Succeeded"
        if status.blocked_reason not in {"", st.PAUSED}:
            return "Failed"
        return "Running" if status.is_true(st.JOB_STARTED) else "Pending"
    if status.is_ready:
        return "Ready"
    return "NotReady" if view.status.state in {"Ready", "NotReady"} else "Pending"


def conditions_of(
    view: WorkspaceView,
    cluster: ClusterView,
    resources: Resources,
    wanted: Wanted,
    live: WorkloadView,
    surge: Surge | None = None,
) -> list[Condition]:
    """The Workspace's conditions, in the order in which they come true."""
    live = as_told(live, paused=is_paused(view.workspace))
    if surge is not None:
        work, done = _surge_conditions(cluster, wanted, live, surge)
    elif wanted.workload.kind is not WorkloadKind.TUNING:
        work, done = _inference_conditions(cluster, wanted, live, resources)
    else:
        work, done = _tuning_conditions(view, cluster, live, resources)
    if resources.blocked is not None and not done.is_true:
        done = resources.blocked
    ready = replace(done, type=st.READY)
    return [*resources.conditions, work, done, ready]


def conditions_while_refused(
    view: WorkspaceView, cluster: ClusterView, resources: Resources, reason: str
) -> list[Condition]:
    """What runs is still looked at while nothing can be planned for it; of what never ran, only
    the Nodes that it waits for."""
    if view.status.target_node_count == 0:
        return [*resources.conditions] if resources.ready.reason == reason else []
    kind = st.JOB_STARTED if view.workspace.tuning is not None else st.INFERENCE_READY
    work = find(view.status.conditions, kind)
    if work is None:
        return [*resources.conditions]
    staying = [pod for pod in cluster.pods if not pod.deleting]
    runs = bool(cluster.pods) and all(pod.ready or pod.phase == "Running" for pod in staying)
    if not runs or _on_a_lost_node(cluster) is not None:
        return [*resources.conditions, condition(kind, "False", reason, "its pods are not ready")]
    serving = sum(pod.ready for pod in staying)
    if work.is_true or serving < max(len(staying), view.status.target_node_count):
        return [*resources.conditions]
    back = condition(kind, "True", _TRUE_REASONS[kind], f"{serving} pods ready")
    return [*resources.conditions, back]


def _inference_conditions(
    cluster: ClusterView, wanted: Wanted, live: WorkloadView, resources: Resources
) -> tuple[Condition, Condition]:
    replicas = wanted.workload.replicas
    settled = live.state is WorkloadState.SAME and live.settled
    lost = _on_a_lost_node(cluster)
    if settled and lost is not None:
        text = f"{lost.name} ran on Node {lost.node_name}, which is gone"
        work = condition(st.INFERENCE_READY, "False", "WorkspaceInferenceStatusPending", text)
    elif settled and live.ready_replicas >= replicas:
        text = f"{live.ready_replicas} of {replicas} pods ready"
        work = condition(st.INFERENCE_READY, "True", _TRUE_REASONS[st.INFERENCE_READY], text)
    elif _serves_until_resized(live, resources) and lost is None:
        text = f"{live.ready_replicas} pods ready; the new version waits for the machines"
        work = condition(st.INFERENCE_READY, "True", _TRUE_REASONS[st.INFERENCE_READY], text)
    else:
        reason, text = _why_pending(cluster.pods, live, resources)
        work = condition(st.INFERENCE_READY, "False", reason, text)
    return work, _succeeded(work, resources.ready, "serving")


def _serves_until_resized(live: WorkloadView, resources: Resources) -> bool:
    """Whether a change of a group waits for machines, and what it will replace serves."""
    return (
        live.restarts_group and not resources.complete and 0 < live.replicas <= live.ready_replicas
    )


def _surge_conditions(
    cluster: ClusterView, wanted: Wanted, live: WorkloadView, surge: Surge
) -> tuple[Condition, Condition]:
    """While one version takes over from the other the model is served, by what is not yet what was
    asked for."""
    replicas = wanted.workload.replicas
    text = f"{live.ready_replicas} pods ready: {surge.message}"
    if live.ready_replicas >= replicas and _on_a_lost_node(cluster) is None:
        work = condition(st.INFERENCE_READY, "True", _TRUE_REASONS[st.INFERENCE_READY], text)
    else:
        work = condition(st.INFERENCE_READY, "False", "WorkspaceInferenceStatusPending", text)
    return work, condition(st.SUCCEEDED, "False", "workspacePending", surge.message)


def _on_a_lost_node(cluster: ClusterView) -> PodView | None:
    """A pod whose Node is gone: it still counts as ready until it is cleaned away."""
    nodes = {node.name for node in cluster.nodes}
    return next((pod for pod in cluster.pods if pod.ready and pod.node_name not in nodes), None)


def _tuning_conditions(
    view: WorkspaceView, cluster: ClusterView, live: WorkloadView, resources: Resources
) -> tuple[Condition, Condition]:
    if is_done(view, live):
        work = condition(st.JOB_STARTED, "True", _TRUE_REASONS[st.JOB_STARTED], "finished")
        return work, condition(st.SUCCEEDED, "True", "workspaceSucceeded", "tuning finished")
    if not _is_asked_for(live):
        reason, text = _why_pending(cluster.pods, live, resources)
        if reason == "WorkspaceInferenceStatusPending":
            reason = "WorkspaceTuningJobStatusPending"
        work = condition(st.JOB_STARTED, "False", reason, text)
        return work, condition(st.SUCCEEDED, "False", "workspacePending", text)
    stuck = _stuck([pod for pod in cluster.pods if pod.end is None])
    work = job_condition(view, cluster.pods, live, stuck)
    if live.failed:
        return work, replace(work, type=st.SUCCEEDED)
    text = "tuning is running" if work.is_true else work.message
    return work, condition(st.SUCCEEDED, "False", "workspacePending", text)


def tuning_notes(
    view: WorkspaceView, cluster: ClusterView, live: WorkloadView, after: WorkspaceStatus
) -> list[Note]:
    """The event of a tuning attempt that ended and is followed by another."""
    now = find(after.conditions, st.JOB_STARTED)
    if view.workspace.tuning is None or now is None or not _is_asked_for(live):
        return []
    told = find(view.status.conditions, st.JOB_STARTED)
    return attempt_notes(told, now, cluster.pods, live)


def _is_asked_for(live: WorkloadView) -> bool:
    """Whether a Job is there that runs what is asked for, if only kaito would write it otherwise
    now."""
    same = live.state is WorkloadState.SAME
    return same or (live.state is WorkloadState.DIFFERENT and not live.outdated)


def _succeeded(work: Condition, resource: Condition, doing: str) -> Condition:
    if work.is_true and resource.is_true:
        return condition(st.SUCCEEDED, "True", "workspaceSucceeded", doing)
    waiting = work if resource.is_true else resource
    return condition(st.SUCCEEDED, "False", "workspacePending", waiting.message)


def _why_pending(
    pods: Sequence[PodView], live: WorkloadView, resources: Resources
) -> tuple[str, str]:
    pending = "WorkspaceInferenceStatusPending"
    if live.state is WorkloadState.MISSING:
        if not resources.ready.is_true:
            return pending, f"waiting for {resources.waits_for}"
        if resources.leaving:
            return pending, "waiting for machines that are released"
        return pending, "the workload starts next"
    if live.state is WorkloadState.DELETING:
        return pending, "waiting for the old workload to go"
    stuck = _stuck(pods)
    if stuck is not None:
        return stuck
    if live.restarts_group and not resources.complete:
        return pending, f"waiting for {resources.waits_for}, to roll out a change then"
    if live.state is WorkloadState.DIFFERENT or not live.settled:
        return pending, "rolling out a change"
    return pending, "waiting for the pods to become ready"


def _stuck(pods: Sequence[PodView]) -> tuple[str, str] | None:
    """Reason and message of a pod that cannot start, if there is one."""
    stuck = next((pod for pod in pods if not pod.ready and pod.reason), None)
    if stuck is None:
        return None
    return stuck.reason, cut_message(f"{stuck.name}: {stuck.message}")


def merge_conditions(
    view: WorkspaceView, conditions: Sequence[Condition], now_s: float
) -> WorkspaceStatus:
    """The observed status with `conditions` laid over it, stamped with the generation seen. That
    it was paused is not kept: if it still is, one of `conditions` says so."""
    stamped = seen_at(view.workspace.metadata.generation, conditions)
    merged = replace(view.status, conditions=merge(view.status.conditions, stamped, now_s=now_s))
    return merged if any(found.type == st.PAUSED for found in stamped) else without_pause(merged)


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
