"""What to do next for a Workspace, stage by stage."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.conditions import find
from kaito.domain.decision import Refusal, Wanted
from kaito.domain.errors import Problem, Rejected
from kaito.domain.machine import Machine
from kaito.domain.plan import (
    AddFinalizer,
    ApplyWorkload,
    CreateMachine,
    DeleteMachine,
    DeleteWorkload,
    Note,
    RemoveFinalizer,
    WorkspacePlan,
    WorkspaceStep,
    WriteStatus,
)
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import Workspace
from kaito.domain.workspace_plan import machine_specs, owner_of, plan_workspace, write_rejected
from tests.unit.domain.builders import (
    A10,
    A100,
    MINI,
    MISSING,
    NOW_S,
    SERVING,
    TUNING,
    UID,
    V100,
    cluster,
    condition,
    machine,
    machines_of,
    pod,
    ready_machine,
    seen,
    wanted,
    workspace,
)

THREE_REPLICAS: dict[str, Any] = {
    "resource": {"count": 3},
    "annotations": {labels.RUNTIME: "transformers"},
}
RUNNING_JOB = WorkloadView(state=WorkloadState.SAME, active=True)
FINISHED_JOB = WorkloadView(state=WorkloadState.SAME, succeeded=True)


def plan(
    found: Workspace | WorkspaceView,
    around: ClusterView | None = None,
    live: WorkloadView | None = MISSING,
    *,
    decided: Wanted | Refusal | None = None,
    after_s: float = 0.0,
) -> WorkspacePlan:
    view = found if isinstance(found, WorkspaceView) else seen(found)
    if decided is None and not view.workspace.is_deleting:
        decided = wanted(view.workspace)
    assert decided is not None or view.workspace.is_deleting
    basis = decided or Refusal(reason="", problems=())
    return plan_workspace(view, around or cluster(), basis, live, now_s=NOW_S + after_s)


def status_in(planned: WorkspacePlan) -> WorkspaceStatus:
    (found,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    return found


def notes_in(planned: WorkspacePlan) -> list[tuple[str, str]]:
    return [(step.type, step.reason) for step in planned.steps if isinstance(step, Note)]


def without_notes(steps: Iterable[WorkspaceStep]) -> list[WorkspaceStep]:
    return [step for step in steps if not isinstance(step, Note)]


def settled(found: Workspace, around: ClusterView, live: WorkloadView) -> WorkspaceView:
    """The Workspace once its status says how things are around it."""
    planned = plan(found, around, live)
    return seen(found, status_in(planned))


def all_ready(found: Workspace, **more: Any) -> ClusterView:
    return cluster(machines_of(seen(found), wanted(found)), **more)


def served(found: Workspace | None = None) -> tuple[WorkspaceView, ClusterView]:
    """A Workspace that serves, and the cluster around it."""
    found = found or workspace()
    around = all_ready(found, pods=(pod(),), has_workload=True)
    return settled(found, around, SERVING), around


def reasons(status: WorkspaceStatus) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in status.conditions}


# --- from nothing to serving ---


def test_the_finalizer_comes_before_anything_that_costs_money() -> None:
    found = workspace(finalizers=("other.io/keep",))
    assert plan(found) == WorkspacePlan(steps=(AddFinalizer(),), requeue_after_s=0.0)


def test_machines_are_recorded_behind_the_status_that_announces_them() -> None:
    found = workspace()
    planned = plan(found)
    fit, status, create = planned.steps
    assert isinstance(fit, Note)
    assert (fit.type, fit.reason, fit.message) == (
        "Normal",
        "FitDecided",
        wanted(found).sizing.summary,
    )
    assert isinstance(status, WriteStatus)
    assert status.status.target_node_count == 1
    assert status.status.state == "Pending"
    assert reasons(status.status) == {
        "NodeClaimReady": ("False", "NodeClaimNotReady"),
        "NodesReady": ("False", "NodeNotReady"),
        "ResourceReady": ("False", "workspaceResourceStatusNotReady"),
        "InferenceReady": ("False", "WorkspaceInferenceStatusPending"),
        "WorkspaceSucceeded": ("False", "workspacePending"),
        "WorkspaceReady": ("False", "workspacePending"),
    }
    assert create == CreateMachine(spec=machine_specs(seen(found), wanted(found).sizing)[0])
    assert planned.requeue_after_s is not None


def test_the_status_stands_as_a_fence_even_where_it_is_the_same() -> None:
    found = workspace()
    view = settled(found, cluster(), MISSING)
    planned = plan(view)
    assert planned.steps == (
        WriteStatus(status=view.status),
        CreateMachine(spec=machine_specs(view, wanted(found).sizing)[0]),
    )


def test_the_machine_that_is_recorded() -> None:
    found = workspace(
        annotations={labels.NODE_IMAGE_FAMILY: "azurelinux"},
        resource={"labelSelector": {"matchLabels": {"apps": "phi", labels.SLOT: "9"}}},
    )
    (spec,) = machine_specs(seen(found), wanted(found).sizing)
    assert (spec.slot, spec.instance_type, spec.gpus) == (0, A10, 1)
    assert spec.owner == owner_of(seen(found))
    assert spec.image_family == "azurelinux"
    assert spec.disk_bytes == wanted(found).sizing.disk_bytes
    assert spec.labels == {
        "apps": "phi",
        "kaito.sh/workspace": "phi",
        "kaito.sh/workspacenamespace": "default",
        "kaito.sh/workspace-uid": UID,
        "kaito.sh/slot": "0",
        "karpenter.sh/nodepool": "kaito",
        "accelerator": "nvidia",
    }


def test_an_old_gpu_is_warned_about_once_with_the_decision() -> None:
    found = workspace(instance_type=V100)
    assert notes_in(plan(found)) == [("Normal", "FitDecided"), ("Warning", "OldGpu")]
    view = settled(found, cluster(), MISSING)
    assert notes_in(plan(view)) == []


def test_while_a_machine_starts_there_is_nothing_to_do() -> None:
    found = workspace()
    (spec,) = machine_specs(seen(found), wanted(found).sizing)
    starting = machine(
        spec, conditions=(condition("Launched", "Unknown", "Launching", message="ordering"),)
    )
    around = cluster([starting])
    view = settled(found, around, MISSING)
    claim = reasons(view.status)["NodeClaimReady"]
    assert claim == ("False", "Launching")
    planned = plan(view, around, after_s=500)
    assert planned.steps == ()
    assert planned.requeue_after_s is not None


def test_the_workload_starts_when_every_machine_is_ready() -> None:
    found = workspace(**THREE_REPLICAS)
    everything = machines_of(seen(found), wanted(found))
    assert len(everything) == 3
    some = cluster([*everything[:2], replace(everything[2], conditions=())])
    assert not any(isinstance(step, ApplyWorkload) for step in plan(found, some).steps)
    planned = plan(found, cluster(everything))
    assert without_notes(planned.steps)[1:] == [ApplyWorkload(workload=wanted(found).workload)]
    assert reasons(status_in(planned))["ResourceReady"] == (
        "True",
        "workspaceResourceStatusSuccess",
    )


def test_it_serves_and_then_nothing_is_left_to_do() -> None:
    found = workspace()
    around = all_ready(found, pods=(pod(),), has_workload=True)
    planned = plan(found, around, SERVING)
    status = status_in(planned)
    assert (status.state, status.is_ready, status.worker_nodes) == ("Ready", True, ("node-0",))
    assert [one.status for one in status.conditions] == ["True"] * 6
    assert all(one.observed_generation == 1 for one in status.conditions)
    assert [reason for _, reason in notes_in(planned)] == [
        "FitDecided",
        "ResourceReady",
        "InferenceReady",
        "WorkspaceSucceeded",
    ]
    assert planned.requeue_after_s is not None, "look once more"
    assert plan(seen(found, status), around, SERVING, after_s=1e6) == WorkspacePlan()


def test_a_new_generation_that_changes_nothing_is_acknowledged_without_an_event() -> None:
    view, around = served()
    changed = replace(view, workspace=workspace(generation=2))
    planned = plan(changed, around, SERVING)
    (write,) = planned.steps
    assert isinstance(write, WriteStatus)
    assert {one.observed_generation for one in write.status.conditions} == {2}
    assert {one.since_s for one in write.status.conditions} == {NOW_S}


# --- machines ---


def test_a_machine_that_is_lost_is_made_again() -> None:
    found = workspace(**THREE_REPLICAS)
    view, around = served(found)
    left = around.machines[:2]
    planned = plan(view, cluster(left), SERVING)
    created = [step.spec for step in planned.steps if isinstance(step, CreateMachine)]
    assert created == [machine_specs(view, wanted(found).sizing)[2]]


def test_a_machine_that_is_being_released_is_made_again_only_when_it_is_gone() -> None:
    found = workspace()
    (there,) = machines_of(seen(found), wanted(found))
    planned = plan(found, cluster([replace(there, deleting=True)]))
    assert not any(isinstance(step, CreateMachine | DeleteMachine) for step in planned.steps)
    assert any(isinstance(step, CreateMachine) for step in plan(found).steps)


def test_a_machine_too_many_is_released() -> None:
    found = workspace()
    view = seen(found)
    specs = machine_specs(view, replace(wanted(found).sizing, nodes=3))
    everything = [ready_machine(spec) for spec in specs]
    planned = plan(found, cluster(everything))
    released = [step for step in planned.steps if isinstance(step, DeleteMachine)]
    assert [step.claim_name for step in released] == [spec.name for spec in specs[1:]]
    assert [step.uid for step in released] == [one.uid for one in everything[1:]]
    assert {step.reason for step in released} == {"no longer needed"}
    assert status_in(planned).worker_nodes == ("node-0",)
    assert status_in(planned).is_true(st.RESOURCE_READY)


def test_a_second_machine_of_one_slot_is_released() -> None:
    found = workspace()
    (there,) = machines_of(seen(found), wanted(found))
    twin = replace(there, claim_name="ws-twin", uid="uid-of-twin")
    released = [
        step
        for step in plan(found, cluster([there, twin])).steps
        if isinstance(step, DeleteMachine)
    ]
    assert [step.claim_name for step in released] == ["ws-twin"]


def test_a_machine_of_another_type_than_wanted_is_replaced() -> None:
    (there,) = machines_of(seen(), wanted(workspace()))
    changed = workspace(instance_type=A100, generation=2)
    planned = plan(changed, cluster([there]))
    released = [step for step in planned.steps if isinstance(step, DeleteMachine)]
    assert [(step.claim_name, step.reason) for step in released] == [
        (there.claim_name, "another instance type is wanted")
    ]
    assert not any(isinstance(step, CreateMachine) for step in planned.steps)
    assert not status_in(planned).is_true(st.RESOURCE_READY)


# --- changes ---


def test_a_change_rolls_out_and_says_what_changed() -> None:
    view, around = served()
    changed = WorkloadView(
        state=WorkloadState.DIFFERENT,
        differences=("StatefulSet/phi spec.template",),
        settled=True,
        ready_replicas=1,
    )
    planned = plan(view, around, changed)
    note, step = planned.steps[-2:]
    assert note == Note(
        type="Normal",
        reason="WorkloadUpdated",
        message="changing StatefulSet/phi spec.template",
    )
    assert step == ApplyWorkload(workload=wanted(view.workspace).workload)
    status = status_in(planned)
    assert status.state == "NotReady"
    assert ("Warning", "InferenceReadyLost") in notes_in(planned)
    rolling = WorkloadView(state=WorkloadState.SAME, settled=False, ready_replicas=1)
    waiting = plan(seen(view.workspace, status), around, rolling)
    assert waiting.steps == ()
    assert waiting.requeue_after_s is not None
    done = plan(seen(view.workspace, status), around, SERVING)
    assert status_in(done).state == "Ready"


def test_what_cannot_be_changed_in_place_is_replaced() -> None:
    view, around = served()
    fixed = WorkloadView(
        state=WorkloadState.DIFFERENT, differences=("x",), must_replace=True, settled=True
    )
    assert plan(view, around, fixed).steps[-1] == ApplyWorkload(
        workload=wanted(view.workspace).workload, replace=True
    )
    going = plan(view, around, WorkloadView(state=WorkloadState.DELETING))
    assert not any(isinstance(step, ApplyWorkload) for step in going.steps)
    assert plan(view, around, MISSING).steps[-1] == ApplyWorkload(
        workload=wanted(view.workspace).workload
    )


def test_a_manual_edit_is_undone_even_while_machines_are_missing() -> None:
    view, _ = served()
    edited = WorkloadView(state=WorkloadState.DIFFERENT, differences=("spec.replicas",))
    steps = plan(view, cluster(), edited).steps
    assert any(isinstance(step, ApplyWorkload) for step in steps)


def test_a_long_list_of_differences_is_cut() -> None:
    view, around = served()
    many = WorkloadView(
        state=WorkloadState.DIFFERENT, differences=tuple(f"spec.path{n}" for n in range(1000))
    )
    (note,) = [step for step in plan(view, around, many).steps if _is_update(step)]
    assert isinstance(note, Note)
    assert len(note.message) == 1024
    assert note.message.endswith("…")


def _is_update(step: WorkspaceStep) -> bool:
    return isinstance(step, Note) and step.reason == "WorkloadUpdated"


def test_a_name_that_is_taken_is_left_alone_and_said_so() -> None:
    found = workspace()
    taken = replace(MISSING, taken="Service/phi")
    planned = plan(found, cluster(), taken)
    status = status_in(planned)
    assert status.blocked_reason == "NameTaken"
    assert notes_in(planned) == [("Warning", "NameTaken")]
    assert without_notes(planned.steps) == [WriteStatus(status=status)]
    (blocked,) = [one for one in status.conditions if one.type == st.SUCCEEDED]
    assert blocked.message == (
        "metadata.name: Service/phi exists and does not belong to this Workspace. "
        "Delete it, or give the Workspace another name"
    )


# --- refusals ---

CANNOT = Refusal(
    reason="ModelDoesNotFit", problems=(Problem(field="resource.instanceType", message="no"),)
)


def test_a_refusal_buys_nothing_and_is_said_once() -> None:
    planned = plan(workspace(finalizers=()), decided=CANNOT, live=None)
    note, status = planned.steps
    assert note == Note(
        type="Warning", reason="ModelDoesNotFit", message="resource.instanceType: no"
    )
    assert isinstance(status, WriteStatus)
    assert reasons(status.status) == {
        "WorkspaceSucceeded": ("False", "ModelDoesNotFit"),
        "WorkspaceReady": ("False", "ModelDoesNotFit"),
    }
    assert status.status.state == "Pending"
    again = plan(seen(workspace(), status.status), decided=CANNOT, live=None, after_s=100)
    assert again.steps == ()
    assert again.requeue_after_s is not None


def test_a_refusal_leaves_what_runs_and_does_not_call_it_ready() -> None:
    view, around = served()
    gone = Refusal(
        reason="ConfigMapNotFound", problems=(Problem(field="inference.config", message="gone"),)
    )
    planned = plan(view, around, None, decided=gone)
    status = status_in(planned)
    assert without_notes(planned.steps) == [WriteStatus(status=status)]
    assert status.state == "NotReady"
    assert status.is_true(st.INFERENCE_READY), "it still runs"
    assert status.worker_nodes == ("node-0",)
    recovered = plan(seen(view.workspace, status), around, SERVING)
    assert status_in(recovered).state == "Ready"


def test_another_reason_is_another_event() -> None:
    first = status_in(plan(workspace(), decided=CANNOT, live=None))
    other = replace(CANNOT, reason="InvalidSpec")
    assert notes_in(plan(seen(workspace(), first), decided=other, live=None)) == [
        ("Warning", "InvalidSpec")
    ]


def test_while_refused_what_runs_is_still_looked_at() -> None:
    view, around = served()
    gone = Refusal(reason="ConfigMapNotFound", problems=(Problem(field="x", message="gone"),))
    fine = status_in(plan(view, around, None, decided=gone))
    assert fine.is_true(st.RESOURCE_READY)
    assert fine.is_true(st.INFERENCE_READY)
    unready = replace(around, pods=(pod(phase="Pending", ready=False),))
    lost_node = replace(around, nodes=())
    for broken in (unready, lost_node, replace(around, pods=())):
        status = status_in(plan(view, broken, None, decided=gone))
        work = find(status.conditions, st.INFERENCE_READY)
        assert work is not None
        assert (work.status, work.reason) == ("False", "ConfigMapNotFound")
    machines = tuple(replace(one, conditions=()) for one in around.machines)
    status = status_in(plan(view, replace(around, machines=machines), None, decided=gone))
    assert not status.is_true(st.RESOURCE_READY)


def test_while_refused_what_is_back_is_told() -> None:
    view, around = served()
    gone = Refusal(reason="ConfigMapNotFound", problems=(Problem(field="x", message="gone"),))
    lost = status_in(plan(view, replace(around, pods=()), None, decided=gone))
    assert not lost.is_true(st.INFERENCE_READY)
    starting = plan(
        seen(view.workspace, lost), replace(around, pods=(pod(ready=False),)), None, decided=gone
    )
    assert without_notes(starting.steps) == [], "as it was"
    back = status_in(plan(seen(view.workspace, lost), around, None, decided=gone))
    work = find(back.conditions, st.INFERENCE_READY)
    assert work is not None
    assert (work.status, work.reason) == ("True", "WorkspaceInferenceStatusSuccess")
    assert not back.is_true(st.SUCCEEDED)


def test_while_refused_a_job_that_never_started_is_not_spoken_of() -> None:
    tuned = workspace(tuning=TUNING)
    planned = plan(seen(tuned, WorkspaceStatus(target_node_count=1)), decided=CANNOT, live=None)
    assert find(status_in(planned).conditions, st.JOB_STARTED) is None


def test_a_refused_write_is_told_and_stands_until_it_succeeds() -> None:
    found = workspace()
    around = all_ready(found)
    view = settled(found, around, MISSING)
    told = write_rejected(view, Rejected("spec.replicas: Forbidden"), now_s=NOW_S)
    note, write = told.steps
    assert isinstance(note, Note)
    assert (note.type, note.reason) == ("Warning", "WriteRejected")
    assert isinstance(write, WriteStatus)
    assert write.status.blocked_reason == "WriteRejected"
    assert "spec.replicas: Forbidden" in note.message
    refused = seen(found, write.status)
    again = plan(refused, around, MISSING)
    assert without_notes(again.steps)[-1] == ApplyWorkload(workload=wanted(found).workload)
    assert status_in(again).blocked_reason == "WriteRejected", "the reason does not come and go"
    assert notes_in(again) == []
    done = status_in(plan(refused, around, SERVING))
    assert (done.is_ready, done.blocked_reason) == (True, "")


# --- tuning ---


def test_tuning_from_start_to_end() -> None:
    found = workspace(tuning=TUNING)
    around = all_ready(found)
    states: list[str] = []
    status = WorkspaceStatus()
    for pods, live in (
        ((), MISSING),
        ((pod(phase="Pending", ready=False),), RUNNING_JOB),
        ((pod(),), RUNNING_JOB),
        ((pod(phase="Succeeded", ready=False),), FINISHED_JOB),
    ):
        planned = plan(seen(found, status), replace(around, pods=pods), live)
        if live is MISSING:
            assert planned.steps[-1] == ApplyWorkload(workload=wanted(found).workload)
        status = status_in(planned) if without_notes(planned.steps) else status
        states.append(status.state)
    assert states == ["Pending", "Pending", "Running", "Succeeded"]
    assert status.is_ready
    assert reasons(status)["JobStarted"] == ("True", "WorkspaceTuningJobStatusStarted")
    assert plan(seen(found, status), around, FINISHED_JOB) == WorkspacePlan()


def test_a_job_that_has_succeeded_is_not_run_again() -> None:
    found = workspace(tuning=TUNING)
    around = all_ready(found)
    view = settled(found, around, FINISHED_JOB)
    different = WorkloadView(state=WorkloadState.DIFFERENT, differences=("x",), must_replace=True)
    for live in (MISSING, different, WorkloadView(state=WorkloadState.DELETING)):
        assert plan(view, around, live) == WorkspacePlan(), live
    gone = Refusal(reason="ConfigMapNotFound", problems=(Problem(field="x", message="gone"),))
    assert plan(view, around, None, decided=gone) == WorkspacePlan()


def test_nothing_is_bought_for_a_job_that_has_succeeded() -> None:
    found = workspace(tuning=TUNING)
    view = settled(found, all_ready(found), FINISHED_JOB)
    planned = plan(view, cluster(), FINISHED_JOB)
    assert not any(isinstance(step, CreateMachine) for step in planned.steps)
    assert not any(isinstance(step, CreateMachine) for step in plan(view, cluster()).steps)


def test_a_job_that_only_a_newer_kaito_would_write_otherwise_goes_on() -> None:
    found = workspace(tuning=TUNING)
    around = all_ready(found, pods=(pod(),))
    running = WorkloadView(
        state=WorkloadState.DIFFERENT, differences=("x",), must_replace=True, active=True
    )
    planned = plan(found, around, running)
    assert not any(isinstance(step, ApplyWorkload) for step in planned.steps)
    assert status_in(planned).state == "Running"
    for change in ({"older_spec": True}, {"older_config": True}):
        asked = plan(found, around, replace(running, **change))
        assert asked.steps[-1] == ApplyWorkload(workload=wanted(found).workload, replace=True)


def test_a_changed_spec_runs_the_job_anew() -> None:
    done = settled(workspace(tuning=TUNING), all_ready(workspace(tuning=TUNING)), FINISHED_JOB)
    changed = workspace(tuning={**TUNING, "method": "lora"}, generation=2)
    around = all_ready(changed)
    old_job = WorkloadView(
        state=WorkloadState.DIFFERENT,
        differences=("x",),
        must_replace=True,
        older_spec=True,
        succeeded=True,
    )
    replaced = plan(seen(changed, done.status), around, old_job)
    assert replaced.steps[-1] == ApplyWorkload(workload=wanted(changed).workload, replace=True)
    assert not status_in(replaced).is_ready
    # The old Job was cleaned away before: the status must not call the new spec done either.
    cleaned = plan(seen(changed, done.status), around, MISSING)
    assert cleaned.steps[-1] == ApplyWorkload(workload=wanted(changed).workload)
    assert not status_in(cleaned).is_ready


def test_a_job_that_failed_waits_for_a_human() -> None:
    found = workspace(tuning=TUNING)
    around = all_ready(found)
    failed = WorkloadView(state=WorkloadState.SAME, failed=True, message="BackoffLimitExceeded")
    planned = plan(found, around, failed)
    status = status_in(planned)
    assert (status.state, status.blocked_reason) == ("Failed", "WorkspaceTuningJobStatusFailed")
    assert reasons(status)["JobStarted"] == ("False", "WorkspaceTuningJobStatusFailed")
    assert ("Warning", "WorkspaceTuningJobStatusFailed") in notes_in(planned)
    assert plan(seen(found, status), around, failed).steps == ()


# --- deletion ---


def test_a_deleted_workspace_releases_everything_and_only_then_goes() -> None:
    found = workspace(deleting=True)
    everything = machines_of(seen(workspace()), wanted(workspace()))
    around = cluster(everything, has_workload=True)
    planned = plan(found, around, None)
    status, workload, released = planned.steps
    assert isinstance(status, WriteStatus)
    assert status.status.is_true(st.DELETING)
    assert workload == DeleteWorkload()
    assert isinstance(released, DeleteMachine)
    assert (released.claim_name, released.uid) == (everything[0].claim_name, everything[0].uid)
    assert planned.requeue_after_s is not None
    going: Sequence[Machine] = [replace(one, deleting=True) for one in everything]
    waiting = plan(seen(found, status.status), cluster(going), None)
    assert waiting.steps == ()
    assert waiting.requeue_after_s is not None
    assert plan(found, cluster(), None) == WorkspacePlan(steps=(RemoveFinalizer(),))
    assert plan(workspace(deleting=True, finalizers=()), around, None) == WorkspacePlan()


def test_a_workspace_that_never_fitted_can_be_deleted() -> None:
    found = workspace(deleting=True, inference={"preset": {"name": MINI}}, instance_type="Nothing")
    assert plan(found, cluster(), None, decided=CANNOT) == WorkspacePlan(steps=(RemoveFinalizer(),))


SURGE: dict[str, Any] = {"annotations": {labels.ROLLOUT: "surge"}}
ROLLS = WorkloadView(
    state=WorkloadState.DIFFERENT,
    differences=("StatefulSet/phi spec.template",),
    content_differs=True,
    rolls=True,
    observed=True,
    settled=True,
    replicas=1,
    pods=1,
    updated_replicas=1,
    ready_replicas=1,
)


def test_a_change_in_place_says_how_long_nothing_may_answer() -> None:
    view, around = served()
    notes = [step for step in plan(view, around, ROLLS).steps if isinstance(step, Note)]
    (told,) = [note for note in notes if note.reason == "RolloutInPlace"]
    assert "may take up to 30 min" in told.message
    assert "kaito.sh/rollout: surge" in told.message


def test_a_surge_orders_a_machine_and_changes_nothing_before_it_is_ready() -> None:
    view, around = served(workspace(**SURGE))
    planned = plan(view, around, ROLLS)
    assert not any(isinstance(step, ApplyWorkload) for step in planned.steps)
    (created,) = [step for step in planned.steps if isinstance(step, CreateMachine)]
    assert created.spec.slot == 1
    assert ("Normal", "SurgeStarted") in notes_in(planned)
    status = status_in(planned)
    assert status.target_node_count == 2  # written before the machine is bought
    told = {one.type: one.status for one in status.conditions}
    assert told[st.INFERENCE_READY] == told[st.RESOURCE_READY] == "True"
    assert told[st.SUCCEEDED] == "False"


def test_a_surge_rolls_on_the_machine_that_was_bought_for_it() -> None:
    view, _ = served(workspace(**SURGE))
    sizing = replace(wanted(view.workspace).sizing, nodes=2)
    both = cluster([ready_machine(spec) for spec in machine_specs(view, sizing)])
    planned = plan(view, both, ROLLS)
    (applied,) = [step for step in planned.steps if isinstance(step, ApplyWorkload)]
    assert (applied.workload.replicas, applied.workload.partition) == (2, 1)
    assert status_in(planned).worker_nodes == ("node-0", "node-1")
    starting = replace(
        ROLLS,
        state=WorkloadState.DIFFERENT,
        content_differs=False,
        rolls=False,
        replicas=2,
        partition=1,
        pods=2,
        settled=False,
    )
    assert not any(isinstance(step, ApplyWorkload) for step in plan(view, both, starting).steps)


def test_a_surge_tells_when_what_should_serve_meanwhile_does_not() -> None:
    view, around = served(workspace(**SURGE))
    lost = replace(around, pods=(pod(node_name="another"),))
    told = {one.type: one.status for one in status_in(plan(view, lost, ROLLS)).conditions}
    assert told[st.INFERENCE_READY] == "False"


def test_another_instance_type_is_rolled_out_in_place() -> None:
    view, _ = served(workspace(**SURGE))
    others = [
        ready_machine(replace(spec, instance_type=V100))
        for spec in machine_specs(view, wanted(view.workspace).sizing)
    ]
    planned = plan(view, cluster(others), ROLLS)
    assert any(isinstance(step, DeleteMachine) for step in planned.steps)
    assert ("Normal", "SurgeStarted") not in notes_in(planned)
