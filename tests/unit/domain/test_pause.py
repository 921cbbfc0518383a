"""A paused Workspace: nothing is changed for it, its status tells the truth, deleting it works."""

from dataclasses import replace
from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.conditions import find
from kaito.domain.decision import decide
from kaito.domain.machine import Attempt
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.machine_plan import plan_machine
from kaito.domain.machine_record import MachineView
from kaito.domain.pause import is_paused, paused_machine, touches_machines
from kaito.domain.plan import (
    AddFinalizer,
    ApplyWorkload,
    CreateMachine,
    DeleteMachine,
    MachinePlan,
    Note,
    WorkspacePlan,
    WriteStatus,
)
from kaito.domain.status import WorkspaceStatus
from kaito.domain.validation import validate
from kaito.domain.workspace import Workspace
from kaito.domain.workspace_plan import plan_workspace
from tests.unit.domain.builders import (
    A100,
    CATALOGUE,
    MISSING,
    NOW_S,
    SERVING,
    TUNING,
    cloud_machine,
    cluster,
    machine,
    machines_of,
    node,
    pod,
    ready_machine,
    seen,
    wanted,
    workspace,
)

PAUSE = {labels.PAUSED: "true"}
CHANGED = WorkloadView(
    state=WorkloadState.DIFFERENT,
    differences=("StatefulSet/phi spec.template",),
    settled=True,
    replicas=1,
    ready_replicas=1,
    active=True,
)


def paused(**parts: Any) -> Workspace:
    return workspace(annotations=PAUSE, **parts)


def plan(
    found: Workspace | WorkspaceView,
    around: ClusterView | None = None,
    live: WorkloadView = MISSING,
    *,
    after_s: float = 0.0,
) -> WorkspacePlan:
    view = found if isinstance(found, WorkspaceView) else seen(found)
    decided = decide(view.workspace, CATALOGUE, None)
    return plan_workspace(view, around or cluster(), decided, live, now_s=NOW_S + after_s)


def status_in(planned: WorkspacePlan) -> WorkspaceStatus:
    (found,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    return found


def events(planned: WorkspacePlan) -> list[str]:
    return [step.reason for step in planned.steps if isinstance(step, Note)]


def told(status: WorkspaceStatus, kind: str) -> tuple[str, str, str]:
    found = find(status.conditions, kind)
    assert found is not None
    return found.status, found.reason, found.message


def serving(found: Workspace) -> ClusterView:
    return cluster(machines_of(seen(found), wanted(found)), pods=(pod(),), has_workload=True)


def test_a_workspace_that_starts_paused_orders_nothing_and_says_so() -> None:
    planned = plan(paused(finalizers=()))
    assert {type(step) for step in planned.steps} == {Note, WriteStatus}
    assert events(planned) == ["Paused", "FitDecided"]
    status = status_in(planned)
    text = 'nothing is changed while the annotation kaito.sh/paused is "true"; waiting: '
    for kind, truth in ((st.PAUSED, "True"), (st.SUCCEEDED, "False"), (st.READY, "False")):
        assert told(status, kind) == (truth, "Paused", f"{text}ordering machines")
    assert status.blocked_reason == "Paused"
    assert status.state == "Pending"
    again = plan(seen(paused(finalizers=()), status), after_s=3600.0)
    assert again.steps == (), "said once"
    assert again.requeue_after_s is not None


def test_it_goes_on_where_it_was() -> None:
    status = status_in(plan(paused(finalizers=())))
    assert plan(seen(workspace(finalizers=()), status)).steps == (AddFinalizer(),)
    planned = plan(seen(workspace(), status))
    assert "Resumed" in events(planned)
    assert any(isinstance(step, CreateMachine) for step in planned.steps)
    after = status_in(planned)
    assert find(after.conditions, st.PAUSED) is None
    assert told(after, st.SUCCEEDED)[1] == "workspacePending"


def test_what_serves_goes_on_serving() -> None:
    found = paused()
    around = serving(found)
    status = status_in(plan(found, around, SERVING))
    assert status.state == "Ready"
    assert told(status, st.PAUSED)[2].endswith('is "true"')
    assert plan(seen(found, status), around, SERVING, after_s=60.0).steps == ()


@pytest.mark.parametrize(
    ("change", "waits"),
    [
        ({"instance_type": A100}, "releasing machines"),
        ({}, "changing the workload"),
    ],
)
def test_a_change_waits_and_what_serves_counts_as_what_it_is(
    change: dict[str, Any], waits: str
) -> None:
    before = workspace()
    around = serving(before)
    view = seen(before, status_in(plan(before, around, SERVING)))
    assert view.status.state == "Ready"
    asked = seen(paused(generation=2, **change), view.status)
    free = plan(seen(workspace(generation=2, **change), view.status), around, CHANGED)
    assert any(isinstance(step, DeleteMachine | ApplyWorkload) for step in free.steps)
    planned = plan(asked, around, CHANGED)
    assert {type(step) for step in planned.steps} == {Note, WriteStatus}
    status = status_in(planned)
    assert told(status, st.INFERENCE_READY)[0] == "True"
    truth, reason, message = told(status, st.SUCCEEDED)
    assert (truth, reason) == ("False", "Paused")
    assert waits in message
    assert plan(seen(asked.workspace, status), around, CHANGED, after_s=60.0).steps == ()


def test_what_breaks_meanwhile_is_told() -> None:
    found = paused()
    around = serving(found)
    status = status_in(plan(found, around, SERVING))
    down = WorkloadView(state=WorkloadState.SAME, settled=True)
    after = status_in(plan(seen(found, status), around, down))
    assert told(after, st.INFERENCE_READY)[0] == "False"
    assert after.state == "NotReady"


def test_what_a_human_must_do_anyhow_stays_said() -> None:
    refused = status_in(plan(paused(instance_type="Standard_NC6s_v3", tuning=None, **_BIG)))
    assert told(refused, st.SUCCEEDED)[1] == "ModelDoesNotFit"
    assert told(refused, st.PAUSED)[1] == "Paused"
    free = plan(seen(workspace(instance_type="Standard_NC6s_v3", **_BIG), refused))
    assert find(status_in(free).conditions, st.PAUSED) is None


_BIG: dict[str, Any] = {"inference": {"preset": {"name": "phi-4"}}}


def test_a_paused_job_is_pending_and_a_finished_one_forgets_its_pause() -> None:
    job = paused(tuning=TUNING, instance_type=A100)
    status = status_in(plan(job))
    assert (status.state, status.blocked_reason) == ("Pending", "Paused")
    around = serving(job)
    finished = WorkloadView(state=WorkloadState.SAME, succeeded=True)
    done = status_in(plan(seen(job, status), around, finished))
    assert done.state == "Succeeded"
    gone = decide(
        workspace(tuning=TUNING, instance_type=A100, resource={"count": 2}), CATALOGUE, None
    )
    for again, left in ((job, True), (workspace(tuning=TUNING, instance_type=A100), False)):
        planned = plan_workspace(seen(again, done), around, gone, None, now_s=NOW_S)
        kept = status_in(planned) if planned.steps else done
        assert (find(kept.conditions, st.PAUSED) is not None) is left
        assert kept.is_ready


def test_deleting_releases_everything() -> None:
    found = paused(deleting=True)
    around = cluster([ready_machine()], has_workload=True)
    planned = plan_workspace(seen(found), around, decide(found, CATALOGUE, None), None, now_s=NOW_S)
    assert any(isinstance(step, DeleteMachine) for step in planned.steps)


@pytest.mark.parametrize(
    ("value", "held", "refused"),
    [("true", True, False), ("false", False, False), ("yes", False, True), ("", False, True)],
)
def test_the_annotation(value: str, held: bool, refused: bool) -> None:
    found = workspace(annotations={labels.PAUSED: value})
    assert is_paused(found) is held
    fields = [problem.field for problem in validate(found, CATALOGUE)]
    assert fields == (["metadata.annotations[kaito.sh/paused]"] if refused else [])


def test_orders_and_releases_of_machines_wait_and_looking_does_not() -> None:
    limits = MachineLimits()

    def planned(view: MachineView) -> MachinePlan:
        return plan_machine(view, limits=limits, now_s=NOW_S)

    new = machine()
    assert touches_machines(
        planned(MachineView(machine=new, cloud=(), node=None, owner_exists=True))
    )
    gone = MachineView(machine=new, cloud=(), node=None, owner_exists=False)
    assert touches_machines(planned(gone)), "whose Workspace is gone is not paused"
    up = ready_machine(attempt=Attempt(started_at_s=NOW_S))
    view = MachineView(machine=up, cloud=(cloud_machine(up),), node=node(up), owner_exists=True)
    assert not touches_machines(planned(view))
    assert not touches_machines(paused_machine())
    assert paused_machine().requeue_after_s == 60.0


@pytest.mark.parametrize("held", [True, False])
def test_a_surge_waits_too(held: bool) -> None:
    annotations = {labels.ROLLOUT: "surge", **(PAUSE if held else {})}
    before = workspace(annotations=annotations)
    around = serving(before)
    rolling = replace(CHANGED, rolls=True)
    planned = plan(before, around, rolling)
    bought = [step for step in planned.steps if isinstance(step, CreateMachine)]
    assert len(bought) == (0 if held else 1)
    assert status_in(planned).target_node_count == (1 if held else 2)
