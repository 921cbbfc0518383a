"""What to do next for a Workspace: machines, unless its user brings Nodes, then the workload, then
say how it stands.

Pure and level-triggered: the plan is made from the whole observed state, the same state gives the
same plan, and a converged state gives the empty plan.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.conditions import Condition, condition, cut_message, find
from kaito.domain.decision import Refusal, Wanted, name_taken
from kaito.domain.errors import Problem, Rejected
from kaito.domain.machine import Machine
from kaito.domain.machine_budget import without_new_machines
from kaito.domain.own_nodes import NODE_REASONS, OwnNodes
from kaito.domain.pause import hold, is_paused, pause_notes, resumed, wants_finalizer
from kaito.domain.plan import (
    AddFinalizer,
    AdoptMachine,
    AdoptWorkload,
    ApplyWorkload,
    CreateMachine,
    DeleteWorkload,
    Note,
    RemoveFinalizer,
    WorkspacePlan,
    WorkspaceStep,
    WriteStatus,
)
from kaito.domain.rollout import RolloutPolicy, Surge, next_surge, rollout_policy
from kaito.domain.shared_selector import selector_condition, selector_notes
from kaito.domain.status import WorkspaceStatus
from kaito.domain.template_sizing import AnySizing, takes_a_machine_each
from kaito.domain.tuning_attempts import wants_new_job
from kaito.domain.update_notes import update_notes
from kaito.domain.workload import WorkloadKind
from kaito.domain.workspace_machines import (
    adopted_machines,
    delete_machine,
    is_of_type,
    machine_labels,
    machine_specs,
    owner_of,
    steps_for_machines,
)
from kaito.domain.workspace_resources import Resources, machine_resources, own_resources
from kaito.domain.workspace_status import (
    conditions_of,
    conditions_while_refused,
    is_done,
    merge_conditions,
    refused_status,
    status_of,
    tuning_notes,
)

__all__ = ["machine_labels", "machine_specs", "owner_of", "plan_workspace", "write_rejected"]

RECHECK_S: Final = 300.0  # a safety net: watches wake the plan long before
DELETE_RECHECK_S: Final = 15.0


def plan_workspace(
    view: WorkspaceView,
    cluster: ClusterView,
    wanted: Wanted | Refusal,
    live: WorkloadView | None,
    *,
    now_s: float,
    own: OwnNodes | None = None,
    denied: str = "",
) -> WorkspacePlan:
    """Steps that move the cluster towards what the Workspace asks for.

    `live` compares the running workload with `wanted.workload`; None with a refusal. `own` are the
    Nodes that its user brings; then no machine is ordered, and there is nothing to release in the
    end. None: machines are ordered. `denied` says why it may have no more machines now.
    """
    adopted = adopted_machines(view, cluster)
    cluster = _with_adopted(cluster, adopted)
    if view.workspace.is_deleting:
        return _plan_delete(view, cluster, adopted, now_s)
    adoptions = _adopt(adopted)
    if isinstance(wanted, Refusal):
        if is_done(view):
            return WorkspacePlan(steps=_with_status(view, resumed(view), [], None))
        return _plan_refusal(view, cluster, wanted, now_s, adoptions, own)
    if own is None and wants_finalizer(view.workspace):
        return WorkspacePlan(steps=(AddFinalizer(),), requeue_after_s=0.0)
    assert live is not None, "a workload that is wanted was compared"
    if live.taken:
        return _plan_refusal(view, cluster, name_taken(live.taken), now_s, adoptions, own)
    wanted = _as_it_runs(wanted, live)
    surge = _surge(view, cluster, wanted, live, own)
    count = surge.machines if surge is not None else wanted.sizing.nodes
    machine_steps, resources = _resources(view, cluster, wanted, count, own)
    if denied:
        machine_steps, resources = without_new_machines(machine_steps, resources, denied)
    if surge is not None and any(isinstance(step, CreateMachine) for step in machine_steps):
        machine_steps.insert(0, Note(type="Normal", reason="SurgeStarted", message=surge.message))
    if is_done(view, live):  # nothing is bought for a job that has succeeded
        machine_steps = [step for step in machine_steps if not isinstance(step, CreateMachine)]
    todo = [*adoptions, *machine_steps, *_workload_steps(view, resources, wanted, live, surge)]
    conditions = conditions_of(view, cluster, resources, wanted, live, surge)
    conditions += selector_condition(view, cluster)
    if _still_rejected(view, todo):
        conditions = [found for found in conditions if found.type not in {st.SUCCEEDED, st.READY}]
    conditions, todo = hold(view.workspace, conditions, todo)
    status = replace(status_of(view, resources, wanted, conditions, now_s), target_node_count=count)
    told = tuning_notes(view, cluster, live, status)
    steps = _with_status(view, status, todo, wanted.sizing, told)
    return WorkspacePlan(
        steps=steps, requeue_after_s=None if status.is_ready and not steps else RECHECK_S
    )


def write_rejected(view: WorkspaceView, error: Rejected, *, now_s: float) -> WorkspacePlan:
    """What to say after the API server refused a machine's record or a workload's object."""
    again = "kaito tries again from time to time"
    problem = Problem(field="", message=str(error), remedy=again, rule="write-accepted")
    refusal = Refusal(reason="WriteRejected", problems=(problem,))
    status = refused_status(view, _refused(refusal), now_s)
    return WorkspacePlan(steps=_with_status(view, status, [], None))


def _still_rejected(view: WorkspaceView, steps: Sequence[WorkspaceStep]) -> bool:
    """Whether `steps` repeat what was refused: the reason stands until they have succeeded."""
    done = find(view.status.conditions, st.SUCCEEDED)
    return bool(steps) and done is not None and done.reason == "WriteRejected"


def _plan_delete(
    view: WorkspaceView, cluster: ClusterView, adopted: Sequence[Machine], now_s: float
) -> WorkspacePlan:
    if labels.WORKSPACE_FINALIZER not in view.workspace.metadata.finalizers:
        return WorkspacePlan()
    if not cluster.machines:
        return WorkspacePlan(steps=(RemoveFinalizer(),))
    left = ", ".join(machine.claim_name for machine in cluster.machines)
    deleting = condition(st.DELETING, "True", "workspaceDeleted", f"releasing {left}")
    status = merge_conditions(view, [deleting], now_s)
    steps: list[WorkspaceStep] = []
    if cluster.has_workload:
        steps.append(DeleteWorkload())
    steps += [AdoptMachine(machine=machine) for machine in adopted]
    steps += [
        delete_machine(machine, "its Workspace is being deleted")
        for machine in cluster.machines
        if not machine.deleting
    ]
    return WorkspacePlan(
        steps=_with_status(view, status, steps, None), requeue_after_s=DELETE_RECHECK_S
    )


def _refused(refusal: Refusal) -> list[Condition]:
    message = cut_message(refusal.message)
    kinds = (st.SUCCEEDED, st.READY)
    return [condition(kind, "False", refusal.reason, message) for kind in kinds]


def _plan_refusal(
    view: WorkspaceView,
    cluster: ClusterView,
    refusal: Refusal,
    now_s: float,
    steps: Sequence[WorkspaceStep],
    own: OwnNodes | None,
) -> WorkspacePlan:
    count = view.status.target_node_count
    if own is None:
        kept = [machine for machine in cluster.machines if not machine.deleting]
        resources = machine_resources(kept, cluster, count)
    else:
        resources = own_resources(own, cluster, count)
    conditions = _refused(refusal)
    if own is None or not view.problems:  # which Nodes are asked for cannot be read either
        told = conditions_while_refused(view, cluster, resources, refusal.reason)
        conditions = [*told, *conditions]
    conditions, steps = hold(view.workspace, conditions, steps)
    status = refused_status(view, conditions, now_s, resources.retired)
    return WorkspacePlan(steps=_with_status(view, status, steps, None), requeue_after_s=RECHECK_S)


def _with_adopted(cluster: ClusterView, adopted: Sequence[Machine]) -> ClusterView:
    if not adopted:
        return cluster
    return replace(cluster, machines=(*cluster.machines, *adopted), adoptable=())


def _adopt(adopted: Sequence[Machine]) -> list[WorkspaceStep]:
    steps: list[WorkspaceStep] = []
    for machine in adopted:
        text = f"NodeClaim {machine.claim_name}, which KAITO v0.12 made, is taken over"
        steps += [
            Note(type="Normal", reason="MachineAdopted", message=text),
            AdoptMachine(machine=machine),
        ]
    return steps


def _as_it_runs(wanted: Wanted, live: WorkloadView) -> Wanted:
    """What KAITO made may have more pods than kaito's own fit has; each keeps its machine. A model
    that KAITO spread over fewer machines than the fit does goes on with these."""
    least = 1 if wanted.workload.group is not None else wanted.workload.replicas
    if not live.inherited or live.replicas < least:
        return wanted
    return replace(
        wanted,
        sizing=replace(wanted.sizing, nodes=live.replicas),
        workload=replace(wanted.workload, replicas=live.replicas),
    )


def _surge(
    view: WorkspaceView,
    cluster: ClusterView,
    wanted: Wanted,
    live: WorkloadView,
    own: OwnNodes | None,
) -> Surge | None:
    """The stage of a rollout with one more machine, if one is asked for and possible: each replica
    has one machine for itself, and all machines are of the type that is wanted."""
    sizing, workload = wanted.sizing, wanted.workload
    if workload.kind is WorkloadKind.TUNING or not takes_a_machine_each(sizing, view.workspace):
        return None
    if is_paused(view.workspace) or rollout_policy(view.workspace) is not RolloutPolicy.SURGE:
        return None
    if wanted.provisional:  # its machine was lost: there is nothing to serve on meanwhile
        return None
    if own is not None:
        ready = len(own.usable)
    else:
        staying = [machine for machine in cluster.machines if not machine.deleting]
        if not all(is_of_type(machine, sizing.instance_type.name) for machine in staying):
            return None
        ready = sum(machine.is_ready for machine in staying)
    return next_surge(live, workload.replicas, machines_ready=ready)


def _resources(
    view: WorkspaceView, cluster: ClusterView, wanted: Wanted, count: int, own: OwnNodes | None
) -> tuple[list[WorkspaceStep], Resources]:
    """What to create and release to have `count` machines, and what there is to run on. A machine
    more than the fit wants is no reason to call the others incomplete."""
    needed = wanted.sizing.nodes
    if own is not None:
        return [], own_resources(own, cluster, needed)
    sizing = wanted.sizing if count == needed else replace(wanted.sizing, nodes=count)
    steps, kept = steps_for_machines(view, cluster, sizing, wanted.policy)
    resources = machine_resources(kept[:needed], cluster, needed)
    if count == needed:
        return steps, resources
    every = machine_resources(kept, cluster, count)
    return steps, replace(resources, nodes=every.nodes, blocked=every.blocked)


def _workload_steps(
    view: WorkspaceView,
    resources: Resources,
    wanted: Wanted,
    live: WorkloadView,
    surge: Surge | None,
) -> list[WorkspaceStep]:
    if live.to_adopt:
        text = "what KAITO v0.12 runs is kept until something else is asked for"
        return [
            Note(type="Normal", reason="WorkloadAdopted", message=text),
            AdoptWorkload(workload=wanted.workload),
        ]
    if surge is not None:
        return _surge_steps(surge, wanted, live)
    return _change_steps(view, resources, wanted, live)


def _change_steps(
    view: WorkspaceView, resources: Resources, wanted: Wanted, live: WorkloadView
) -> list[WorkspaceStep]:
    """From the workload that there is, or none, to the one that is wanted."""
    if is_done(view, live) or live.state is WorkloadState.DELETING:
        return []
    if wants_new_job(view, live) and not wanted.provisional:
        text = f"the job that failed is run again, as {labels.RETRY} asks for"
        return [
            Note(type="Normal", reason="TuningRetried", message=text),
            ApplyWorkload(workload=wanted.workload, replace=True),
        ]
    if live.state is WorkloadState.SAME:
        return []
    if live.state is WorkloadState.MISSING:
        if not resources.complete or resources.leaving:
            return []
        return [*_fallback_note(wanted), ApplyWorkload(workload=wanted.workload)]
    if wanted.provisional:
        return []  # written once it is known for which machine
    if view.workspace.tuning is not None and live.must_replace and not live.outdated:
        return []  # it runs what was asked for; only kaito would write it otherwise now
    if live.restarts_group and not resources.complete:
        return []  # what serves goes on until there are the machines for what is wanted
    step = ApplyWorkload(workload=wanted.workload, replace=live.must_replace)
    return [*update_notes(wanted.workload, live), step]


def _surge_steps(surge: Surge, wanted: Wanted, live: WorkloadView) -> list[WorkspaceStep]:
    if surge.keeps(live):
        return []
    assert surge.replicas is not None, "kept as it is otherwise"
    assert surge.partition is not None, "it goes with the replicas"
    workload = replace(wanted.workload, replicas=surge.replicas, partition=surge.partition)
    note = Note(type="Normal", reason="WorkloadUpdated", message=surge.message)
    return [note, ApplyWorkload(workload=workload)]


def _fallback_note(wanted: Wanted) -> list[WorkspaceStep]:
    """The model is sized for another instance type than the one named first."""
    bought = wanted.sizing.instance_type
    if wanted.policy is None or bought is wanted.policy.instance_type:
        return []
    first = wanted.policy.instance_type.name
    text = cut_message(f"{first} was not to be had: {wanted.sizing.summary}")
    return [Note(type="Normal", reason="FallbackUsed", message=text)]


def _with_status(
    view: WorkspaceView,
    status: WorkspaceStatus,
    steps: Sequence[WorkspaceStep],
    sizing: AnySizing | None,
    told: Sequence[Note] = (),
) -> tuple[WorkspaceStep, ...]:
    """Notes, `told` first, then the status if it changed or must stand as a fence before `steps`,
    then those."""
    changed = status != view.status
    notes = [*told, *_notes(view, status, sizing, told)] if changed else []
    written = [WriteStatus(status=status)] if changed or steps else []
    return (*notes, *written, *steps)


def _notes(
    view: WorkspaceView,
    after: WorkspaceStatus,
    sizing: AnySizing | None,
    told: Sequence[Note],
) -> list[WorkspaceStep]:
    """Events for what a user would ask about: the decision, each step reached, lost or blocked.
    What is `told` of the end of a tuning attempt stands for the loss of JobStarted."""
    before = view.status
    notes = [*_notes_of_nodes(view, after), *pause_notes(before, after)]
    if sizing is not None and before.target_node_count == 0:
        notes.append(Note(type="Normal", reason="FitDecided", message=cut_message(sizing.summary)))
        notes += [
            Note(type="Warning", reason=warning.reason, message=warning.message)
            for warning in sizing.warnings
        ]
    for kind in (st.RESOURCE_READY, st.INFERENCE_READY, st.JOB_STARTED, st.SUCCEEDED):
        old, new = find(before.conditions, kind), find(after.conditions, kind)
        if new is None or (old is not None and old.status == new.status):
            continue
        if new.is_true:
            notes.append(Note(type="Normal", reason=kind, message=new.message or new.reason))
        elif kind == st.SUCCEEDED or (kind == st.JOB_STARTED and told):
            continue  # one of the others says it
        elif old is not None and old.is_true:
            notes.append(Note(type="Warning", reason=f"{kind}Lost", message=new.message))
    notes += selector_notes(before, after)
    if after.blocked_reason not in {"", st.PAUSED, before.blocked_reason}:
        blocked = find(after.conditions, st.SUCCEEDED)
        assert blocked is not None
        notes.append(Note(type="Warning", reason=blocked.reason, message=blocked.message))
    return notes


def _notes_of_nodes(view: WorkspaceView, after: WorkspaceStatus) -> list[WorkspaceStep]:
    """Events for Nodes that users bring: why a Workspace waits for them, each reason once; and that
    nobody looks after the machines which were ordered before."""
    notes: list[WorkspaceStep] = []
    kinds = {found.type for found in after.conditions}
    if find(view.status.conditions, st.NODE_CLAIM_READY) and st.NODE_CLAIM_READY not in kinds:
        text = (
            "kaito orders no machines any more. Those of this Workspace stay, and cost, until "
            "somebody deletes their NodeClaims: kubectl delete nodeclaims "
            f"-l {labels.WORKSPACE_UID}={view.workspace.uid}"
        )
        notes.append(Note(type="Warning", reason="MachinesLeft", message=text))
    old, new = (find(one.conditions, st.RESOURCE_READY) for one in (view.status, after))
    if new is None or new.reason not in NODE_REASONS or after.blocked_reason not in {"", st.PAUSED}:
        return notes
    if old is None or (not old.is_true and old.reason != new.reason):  # a loss is told as such
        notes.append(Note(type="Warning", reason=new.reason, message=new.message))
    return notes
