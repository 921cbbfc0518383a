"""What KAITO v0.12 left is taken over by the plan: machines, then the workload."""

from dataclasses import replace
from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkloadState, WorkloadView
from kaito.domain.decision import Refusal
from kaito.domain.errors import Problem, Rejected
from kaito.domain.machine import NO_SLOT, Attempt, Machine
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.machine_plan import plan_machine
from kaito.domain.machine_record import MachineView
from kaito.domain.names import machine_name
from kaito.domain.plan import (
    AdoptMachine,
    AdoptWorkload,
    ApplyWorkload,
    CreateMachine,
    DeleteMachine,
    DeleteWorkload,
    Launch,
    Note,
    RemoveFinalizer,
    Terminate,
    WorkspacePlan,
    WriteStatus,
)
from kaito.domain.workspace import Workspace
from kaito.domain.workspace_plan import machine_labels, plan_workspace, write_rejected
from tests.unit.domain.builders import (
    A100,
    NOW_S,
    SERVING,
    TUNING,
    UID,
    cloud_machine,
    cluster,
    machine_spec,
    node,
    pod,
    ready_machine,
    seen,
    wanted,
    workspace,
)

KAITOS = replace(SERVING, inherited=True, to_adopt=True, replicas=1)
KEPT = replace(KAITOS, to_adopt=False)
THREE_REPLICAS: dict[str, Any] = {
    "resource": {"count": 3},
    "annotations": {labels.RUNTIME: "transformers"},
}
REFUSAL = Refusal(reason="InvalidSpec", problems=(Problem(field="a", message="b"),))


def kaitos(name: str = "ws123456789", **more: Any) -> Machine:
    """A ready machine that KAITO ordered, as observed."""
    own = {labels.WORKSPACE: "phi", labels.WORKSPACE_NAMESPACE: "default", "apps": "phi"}
    spec = machine_spec(labels=own, **more.pop("spec", {}))
    values = {"claim_name": name, "uid": f"uid-of-{name}", "node_name": f"node-of-{name}"}
    found = ready_machine(spec, **(values | {"attempt": Attempt(zone="1")} | more))
    return replace(found, spec=replace(spec, slot=NO_SLOT))


def around(*adoptable: Machine, **more: Any) -> ClusterView:
    nodes = tuple(replace(node(one), name=one.node_name) for one in adoptable)
    return ClusterView(adoptable=adoptable, **({"nodes": nodes, "pods": ()} | more))


def plan(found: Workspace, view: ClusterView, live: WorkloadView | None = KAITOS) -> WorkspacePlan:
    return plan_workspace(seen(found), view, wanted(found), live, now_s=NOW_S)


def slots(planned: WorkspacePlan) -> dict[str, int]:
    """Which machine is adopted into which slot."""
    steps = [step for step in planned.steps if isinstance(step, AdoptMachine)]
    return {step.machine.claim_name: step.machine.spec.slot for step in steps}


def released(planned: WorkspacePlan) -> list[tuple[str, str]]:
    steps = [step for step in planned.steps if isinstance(step, DeleteMachine)]
    return [(step.claim_name, step.reason) for step in steps]


# --- machines ---


def test_a_serving_workspace_is_taken_over_and_told_so() -> None:
    found, there = workspace(), kaitos()
    planned = plan(found, around(there, pods=(pod(node_name=there.node_name),)))
    kinds = [type(step) for step in planned.steps if not isinstance(step, Note)]
    assert kinds == [WriteStatus, AdoptMachine, AdoptWorkload], "the status is the fence"
    (adopt,) = [step for step in planned.steps if isinstance(step, AdoptMachine)]
    assert adopt.machine == replace(there, spec=adopt.machine.spec)
    assert adopt.machine.spec.labels == machine_labels(seen(found), 0)
    assert (adopt.machine.spec.owner.uid, adopt.machine.spec.slot) == (UID, 0)
    (status,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    assert status.is_ready, "it was ready and still is"
    assert status.worker_nodes == (there.node_name,)
    reasons = [step.reason for step in planned.steps if isinstance(step, Note)]
    assert {"MachineAdopted", "WorkloadAdopted"} <= set(reasons)


def test_what_somebody_put_on_the_claim_stays_there() -> None:
    there = kaitos()
    extra = replace(there.spec, labels={**there.spec.labels, "team": "a"})
    planned = plan(workspace(), around(replace(there, spec=extra)))
    (adopt,) = [step for step in planned.steps if isinstance(step, AdoptMachine)]
    assert adopt.machine.spec.labels["team"] == "a"


def test_the_one_that_serves_comes_first_then_the_ready_then_the_oldest() -> None:
    unready = kaitos("ws-a", conditions=())
    young = kaitos("ws-b", created_at_s=NOW_S + 1)
    old = kaitos("ws-c")
    serving = kaitos("ws-d", created_at_s=NOW_S + 2)
    view = around(unready, young, old, serving, pods=(pod(node_name=serving.node_name),))
    planned = plan(workspace(**THREE_REPLICAS), view, replace(KAITOS, replicas=3))
    assert slots(planned) == {"ws-d": 0, "ws-c": 1, "ws-b": 2, "ws-a": 3}
    assert released(planned) == [("ws-a", "no longer needed")]
    assert not any(isinstance(step, CreateMachine) for step in planned.steps)


def test_they_take_the_slots_that_are_free() -> None:
    found = workspace(**THREE_REPLICAS)
    mine = ready_machine(machine_spec(1))
    view = around(kaitos("ws-a"), kaitos("ws-b"), machines=(mine,))
    assert slots(plan(found, view)) == {"ws-a": 0, "ws-b": 2}


def test_what_is_missing_beside_them_is_made() -> None:
    planned = plan(workspace(**THREE_REPLICAS), around(kaitos()))
    created = [step.spec.slot for step in planned.steps if isinstance(step, CreateMachine)]
    assert (slots(planned), created) == ({"ws123456789": 0}, [1, 2])


def test_another_type_is_taken_over_and_replaced_like_any_other() -> None:
    other = kaitos(spec={"instance_type": A100})
    planned = plan(workspace(), around(other))
    assert slots(planned) == {other.claim_name: 0}
    assert released(planned) == [(other.claim_name, "another instance type is wanted")]
    assert not any(isinstance(step, CreateMachine) for step in planned.steps)
    right = kaitos("ws-right", conditions=())
    planned = plan(workspace(), around(other, right))
    assert slots(planned) == {"ws-right": 0, other.claim_name: 1}


def test_the_case_of_a_type_does_not_matter() -> None:
    """KAITO writes it as the user did; the fit has the catalogue's spelling."""
    there = kaitos()
    lower = replace(there.spec, instance_type=there.spec.instance_type.lower())
    planned = plan(workspace(), around(replace(there, spec=lower)))
    assert released(planned) == []


def test_one_that_is_being_released_is_waited_for() -> None:
    going = kaitos("ws-a", deleting=True)
    planned = plan(workspace(), around(going))
    assert slots(planned) == {"ws-a": 0}
    assert not any(isinstance(step, CreateMachine) for step in planned.steps)
    planned = plan(workspace(), around(going, kaitos("ws-b")))
    assert slots(planned) == {"ws-b": 0, "ws-a": 1}
    assert released(planned) == []


def test_a_refused_workspace_keeps_what_it_has() -> None:
    there = kaitos()
    planned = plan_workspace(seen(), around(there), REFUSAL, None, now_s=NOW_S)
    assert slots(planned) == {there.claim_name: 0}
    assert released(planned) == []
    assert not any(isinstance(step, AdoptWorkload) for step in planned.steps)


def test_a_deleted_workspace_releases_them_too() -> None:
    found = workspace(deleting=True)
    there, going = kaitos("ws-a"), kaitos("ws-b", deleting=True)
    view = around(there, going, has_workload=True)
    planned = plan_workspace(seen(found), view, REFUSAL, None, now_s=NOW_S)
    kinds = [type(step) for step in planned.steps]
    assert kinds == [WriteStatus, DeleteWorkload, AdoptMachine, AdoptMachine, DeleteMachine]
    assert [name for name, _ in released(planned)] == ["ws-a"]
    gone = plan_workspace(seen(found), ClusterView(), REFUSAL, None, now_s=NOW_S)
    assert gone.steps == (RemoveFinalizer(),)


# --- the workload ---


def test_what_was_adopted_is_left_alone() -> None:
    found = workspace()
    mine = ready_machine(machine_spec(labels=machine_labels(seen(found), 0)))
    view = cluster([mine], pods=(pod(),))
    first = plan(found, view, KEPT)
    (status,) = [step.status for step in first.steps if isinstance(step, WriteStatus)]
    assert plan_workspace(seen(found, status), view, wanted(found), KEPT, now_s=NOW_S).steps == ()


@pytest.mark.parametrize("live", [KAITOS, KEPT], ids=["found", "adopted"])
def test_every_pod_of_kaitos_keeps_its_machine(live: WorkloadView) -> None:
    """KAITO may have spread the model over more machines than the fit does."""
    both = kaitos("ws-a"), kaitos("ws-b")
    pods = tuple(pod(f"phi-{n}", node_name=one.node_name) for n, one in enumerate(both))
    view = around(*both, pods=pods)
    planned = plan(workspace(), view, replace(live, replicas=2, ready_replicas=2))
    assert released(planned) == []
    (status,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    assert (status.target_node_count, status.is_ready) == (2, True)
    planned = plan(workspace(), view, replace(live, replicas=2, ready_replicas=1))
    (status,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    assert not status.is_true(st.INFERENCE_READY)


def test_one_that_was_scaled_to_nothing_does_not_serve() -> None:
    planned = plan(workspace(), around(kaitos()), replace(KEPT, replicas=0, ready_replicas=0))
    (status,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    assert not status.is_ready
    assert released(planned) == []


def test_a_service_that_is_missing_is_applied_once_it_is_adopted() -> None:
    missing = replace(KAITOS, state=WorkloadState.DIFFERENT, differences=("Service/phi",))
    first = plan(workspace(), around(kaitos()), missing)
    assert not any(isinstance(step, ApplyWorkload) for step in first.steps)
    then = plan(workspace(), around(kaitos()), replace(missing, to_adopt=False))
    assert any(isinstance(step, ApplyWorkload) for step in then.steps)


def test_a_finished_job_is_adopted_and_not_run_again() -> None:
    found = workspace(tuning=TUNING)
    finished = WorkloadView(
        state=WorkloadState.SAME, succeeded=True, inherited=True, to_adopt=True, replicas=1
    )
    planned = plan(found, ClusterView(), finished)
    assert any(isinstance(step, AdoptWorkload) for step in planned.steps)
    assert not any(isinstance(step, CreateMachine | ApplyWorkload) for step in planned.steps)
    (status,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    assert status.state == "Succeeded"


def test_a_refused_adoption_is_told_until_it_succeeds() -> None:
    told = write_rejected(seen(), Rejected("no"), now_s=NOW_S)
    (status,) = [step.status for step in told.steps if isinstance(step, WriteStatus)]
    view = seen(workspace(), status)
    planned = plan_workspace(view, around(kaitos()), wanted(workspace()), KAITOS, now_s=NOW_S)
    (after,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    assert after.blocked_reason == "WriteRejected"


# --- the adopted machine's own plan ---


def adopted(**more: Any) -> Machine:
    return ready_machine(machine_spec(), claim_name="ws123456789", **more)


def machine_steps(found: Machine, *clouds: Any) -> tuple[Any, ...]:
    view = MachineView(machine=found, cloud=clouds, node=node(found), owner_exists=True)
    return plan_machine(view, limits=MachineLimits(), now_s=NOW_S).steps


def test_its_machine_in_the_cloud_is_no_stray() -> None:
    found = adopted(provider_id="azure://ws123456789")
    assert machine_steps(found, cloud_machine(found, name="ws123456789")) == ()


def test_its_next_attempt_has_a_name_of_kaitos_own_after_the_first_is_given_back() -> None:
    found = replace(adopted(), attempt=Attempt(number=1), provider_id="", conditions=())
    steps = machine_steps(found)
    assert [step.cloud_name for step in steps if isinstance(step, Terminate)] == ["ws123456789"]
    (launch,) = [step for step in steps if isinstance(step, Launch)]
    assert launch.order.name == machine_name(UID, 0, 1)
    assert launch.order.claim_name == "ws123456789"


def test_its_release_gives_back_the_machine_that_kaito_ordered() -> None:
    found = adopted(deleting=True)
    terminated = [step for step in machine_steps(found) if isinstance(step, Terminate)]
    assert [step.cloud_name for step in terminated] == ["ws123456789"]
