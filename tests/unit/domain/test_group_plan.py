"""A model that is spread over machines: when its pods start, stop, and are spoken of as ready."""

from dataclasses import replace
from typing import Any

import pytest

from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.decision import Wanted
from kaito.domain.machine import Machine
from kaito.domain.plan import (
    ApplyWorkload,
    CreateMachine,
    DeleteMachine,
    Note,
    WorkspacePlan,
    WriteStatus,
)
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import Workspace
from kaito.domain.workspace_plan import machine_specs, plan_workspace
from tests.unit.domain.builders import (
    GATED,
    H100,
    MISSING,
    NOW_S,
    SERVING,
    cluster,
    config,
    machine,
    machines_of,
    node,
    pod,
    ready_machine,
    seen,
    wanted,
    workspace,
)

PARTS: dict[str, Any] = {
    "instance_type": H100,
    "inference": {"preset": GATED, "config": "settings"},
}
BOTH = replace(SERVING, replicas=2, ready_replicas=2)
OTHER = WorkloadView(
    state=WorkloadState.DIFFERENT,
    differences=("StatefulSet/phi spec.template",),
    must_replace=True,
    restarts_group=True,
    settled=True,
    replicas=2,
    ready_replicas=2,
)


def asking(context: int) -> tuple[Workspace, Wanted]:
    """A Workspace whose settings ask for that many tokens: two machines hold 8192, three 131072."""
    found = workspace(**PARTS)
    return found, wanted(found, config({"vllm": {"max-model-len": context}}))


TWO, THREE = asking(8192)[1], asking(131072)[1]


def machines(count: int) -> tuple[Machine, ...]:
    """So many ready machines of the Workspace."""
    sizing = replace(TWO.sizing, nodes=count)
    return tuple(ready_machine(spec) for spec in machine_specs(seen(workspace(**PARTS)), sizing))


def plan(
    around: ClusterView,
    live: WorkloadView,
    decided: Wanted = TWO,
    view: WorkspaceView | None = None,
) -> WorkspacePlan:
    view = view or seen(workspace(**PARTS))
    return plan_workspace(view, around, decided, live, now_s=NOW_S)


def status_in(planned: WorkspacePlan) -> WorkspaceStatus:
    (found,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    return found


def done(planned: WorkspacePlan) -> list[str]:
    """What it does beside saying things."""
    return [
        type(step).__name__ for step in planned.steps if not isinstance(step, Note | WriteStatus)
    ]


def why(planned: WorkspacePlan) -> str:
    return next(
        one.message for one in status_in(planned).conditions if one.type == st.INFERENCE_READY
    )


def test_machines_are_ordered_together_one_for_each_part() -> None:
    planned = plan(cluster(), MISSING)
    created = [step.spec for step in planned.steps if isinstance(step, CreateMachine)]
    assert [spec.slot for spec in created] == [0, 1]
    assert {spec.instance_type for spec in created} == {H100}
    assert status_in(planned).target_node_count == 2


@pytest.mark.parametrize("ready", [0, 1])
def test_no_pod_starts_before_every_machine_is_ready(ready: int) -> None:
    specs = [one.spec for one in machines(2)]
    found = [ready_machine(one) for one in specs[:ready]] + [machine(one) for one in specs[ready:]]
    assert done(plan(cluster(found), MISSING)) == []
    assert done(plan(cluster(machines(2)), MISSING)) == ["ApplyWorkload"]


def test_half_a_model_is_not_ready() -> None:
    pods = (pod("phi-0"), pod("phi-1", node_name="node-1", ready=False))
    planned = plan(cluster(machines(2), pods=pods), replace(BOTH, ready_replicas=1))
    assert not status_in(planned).is_true(st.INFERENCE_READY)
    assert not status_in(planned).is_ready
    whole = (pod("phi-0"), pod("phi-1", node_name="node-1"))
    assert status_in(plan(cluster(machines(2), pods=whole), BOTH)).is_ready


def test_a_lost_machine_is_made_again_in_its_slot_and_the_pods_are_left_to_their_owner() -> None:
    left = machines(2)[1]
    pods = (pod("phi-0"), pod("phi-1", node_name="node-1"))
    planned = plan(cluster([left], pods=pods, nodes=(node(left),)), BOTH)
    assert done(planned) == ["CreateMachine"]
    (created,) = [step.spec for step in planned.steps if isinstance(step, CreateMachine)]
    assert created.slot == 0
    assert not status_in(planned).is_ready
    assert why(planned) == "phi-0 ran on Node node-0, which is gone"


def test_a_larger_group_starts_when_its_machines_are_there_and_not_before() -> None:
    planned = plan(cluster(machines(2)), replace(OTHER, ready_replicas=1), THREE)
    assert done(planned) == ["CreateMachine"]
    assert why(planned) == "waiting for the machines, to roll out a change then"
    serving = (pod("phi-0"), pod("phi-1", node_name="node-1"))
    planned = plan(cluster(machines(2), pods=serving), OTHER, THREE)
    assert why(planned) == "2 pods ready; the new version waits for the machines"
    assert status_in(planned).is_true(st.INFERENCE_READY)
    assert not status_in(planned).is_ready
    assert status_in(planned).target_node_count == 3
    planned = plan(cluster(machines(3)), OTHER, THREE)
    assert done(planned) == ["ApplyWorkload"]
    (step,) = [step for step in planned.steps if isinstance(step, ApplyWorkload)]
    assert (step.replace, step.workload.replicas) == (True, 3)
    (note,) = [
        one for one in planned.steps if isinstance(one, Note) and one.reason == "WorkloadUpdated"
    ]
    assert note.message == (
        "nothing is served until all pods have loaded the model again: "
        "changing StatefulSet/phi spec.template"
    )


def test_a_smaller_group_starts_when_nothing_can_land_on_the_machine_that_goes() -> None:
    three = machines(3)
    planned = plan(cluster(three), replace(OTHER, replicas=3))
    assert done(planned) == ["DeleteMachine", "ApplyWorkload"]
    (step,) = [step for step in planned.steps if isinstance(step, DeleteMachine)]
    assert step.claim_name == three[2].claim_name
    leaving = [*three[:2], replace(three[2], deleting=True)]
    planned = plan(cluster(leaving), MISSING)
    assert done(planned) == []
    assert why(planned) == "waiting for machines that are released"
    planned = plan(cluster(three[:2]), MISSING)
    assert done(planned) == ["ApplyWorkload"]
    assert why(planned) == "the workload starts next"


def test_another_setting_restarts_the_group_at_once() -> None:
    planned = plan(cluster(machines(2)), OTHER)
    assert done(planned) == ["ApplyWorkload"]
    assert why(planned) == "rolling out a change"


def test_what_kaito_spread_over_fewer_machines_goes_on_with_them() -> None:
    """KAITO v0.12's estimate is another one (pkg/workspace/estimator)."""
    pods = (pod("phi-0"), pod("phi-1", node_name="node-1"))
    around = cluster(machines(2), pods=pods)
    planned = plan(around, replace(BOTH, inherited=True), THREE)
    assert done(planned) == []
    status = status_in(planned)
    assert (status.target_node_count, status.is_ready) == (2, True)
    stopped = plan(around, replace(BOTH, inherited=True, replicas=0, ready_replicas=0), THREE)
    assert done(stopped) == ["CreateMachine"], "nobody serves: the fit's own number counts"


def test_the_machines_of_a_group_are_those_of_the_fit() -> None:
    found, decided = asking(131072)
    assert [one.spec.slot for one in machines_of(seen(found), decided)] == [0, 1, 2]
