"""A Node is drained before its machine is given back, and not for ever."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain import machine as states
from kaito.domain.conditions import find
from kaito.domain.machine import CloudState, Machine, NodePod, NodeView
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.machine_plan import plan_machine
from kaito.domain.machine_record import MachineView
from kaito.domain.machine_release import DISRUPTED, DRAIN_RECHECK_S, may_drain
from kaito.domain.plan import EvictPod, MachinePlan, Note, TaintNode, Terminate, WriteMachine
from tests.unit.domain.builders import NOW_S, cloud_machine, condition, node, ready_machine

LIMITS = MachineLimits(drain_s=120.0)
TAINTED = {"taints": (DISRUPTED,)}


def pod(name: str = "web-0", **more: Any) -> NodePod:
    return NodePod(**({"namespace": "shop", "name": name, "uid": f"uid-{name}"} | more))


def own(**more: Any) -> NodePod:
    """A pod of the machine's own Workspace."""
    return pod("phi-0", namespace="default", workspace="phi", **more)


def planned(
    *pods: NodePod,
    found: Machine | None = None,
    on: NodeView | None = None,
    after_s: float = 0.0,
    **more: Any,
) -> MachinePlan:
    found = found or ready_machine(deleting=True)
    view = MachineView(
        machine=found,
        cloud=(cloud_machine(found),),
        node=on or node(found),
        owner_exists=True,
        pods=pods,
        **more,
    )
    return plan_machine(view, limits=LIMITS, now_s=NOW_S + after_s)


def after(plan: MachinePlan) -> Machine:
    """The machine after the plan's first record was written."""
    record = next(step for step in plan.steps if isinstance(step, WriteMachine))
    return ready_machine(
        deleting=True,
        conditions=record.conditions,
        provider_id=record.provider_id,
        node_name=record.node_name,
    )


def drained(plan: MachinePlan) -> tuple[str, str]:
    records = [step for step in plan.steps if isinstance(step, WriteMachine)]
    told = find(records[-1].conditions, states.DRAINED)
    assert told is not None
    return told.status, told.reason


def gives_back(plan: MachinePlan) -> bool:
    return any(isinstance(step, Terminate) for step in plan.steps)


def test_pods_are_moved_behind_the_fence_before_the_machine_is_given_back() -> None:
    plan = planned(pod())
    note, record, taint, evict = plan.steps
    assert isinstance(note, Note)
    assert (note.reason, note.message) == (
        "Draining",
        "Node node-0: shop/web-0 is moved before it is given back",
    )
    assert isinstance(record, WriteMachine)
    assert drained(plan) == ("Unknown", "Draining")
    assert taint == TaintNode(node_name="node-0", taint=DISRUPTED)
    assert evict == EvictPod(pod=pod())
    assert plan.requeue_after_s == DRAIN_RECHECK_S


def test_a_pod_on_its_way_is_only_waited_for() -> None:
    begun = after(planned(pod()))
    tainted = node(begun, **TAINTED)
    leaving = planned(pod(deleting=True), found=begun, on=tainted, after_s=60)
    assert leaving == MachinePlan(requeue_after_s=DRAIN_RECHECK_S)
    refused = planned(pod(), found=begun, on=tainted, after_s=60)
    assert [type(step) for step in refused.steps] == [WriteMachine, EvictPod], "asked again"
    assert after(refused).conditions == begun.conditions, "the deadline counts from the beginning"


def test_once_they_have_left_it_is_given_back() -> None:
    plan = planned(found=after(planned(pod())), after_s=30)
    assert gives_back(plan)
    assert drained(plan) == ("True", "Drained")


def test_after_the_deadline_it_is_given_back_with_what_is_left() -> None:
    begun = after(planned(pod()))
    left = [pod(f"web-{number}") for number in range(5)]
    assert not gives_back(planned(*left, found=begun, after_s=LIMITS.drain_s))
    plan = planned(*left, found=begun, after_s=LIMITS.drain_s + 1)
    assert gives_back(plan)
    assert drained(plan) == ("False", "DrainTimeout")
    note = plan.steps[0]
    assert isinstance(note, Note)
    assert note.message == (
        "given back: after 120 s shop/web-0, shop/web-1, shop/web-2 and 2 more are still there"
    )


def test_a_clock_that_was_ahead_puts_no_deadline_off() -> None:
    ahead = condition(states.DRAINED, "Unknown", "Draining", since_s=NOW_S + 7200)
    found = ready_machine(deleting=True)
    found = replace(found, conditions=(*found.conditions, ahead))
    begun = after(planned(pod(deleting=True), found=found, after_s=10))
    told = find(begun.conditions, states.DRAINED)
    assert told is not None
    assert told.since_s == NOW_S + 10


EXISTS = {"operator": "Exists"}
FOR_ALL = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    "stays",
    [
        pod(daemon=True),
        pod(mirror=True),
        pod(finished=True),
        pod(tolerations=({"key": "sku", "operator": "Exists"}, EXISTS)),
        pod(tolerations=(FOR_ALL | EXISTS,)),
        pod(tolerations=(FOR_ALL,)),
    ],
    ids=["daemon", "mirror", "finished", "tolerates all", "tolerates it", "tolerates no value"],
)
def test_who_stays_holds_nothing_up(stays: NodePod) -> None:
    plan = planned(stays)
    assert gives_back(plan)
    assert drained(plan) == ("True", "Drained")
    assert [step for step in planned(stays, pod()).steps if isinstance(step, EvictPod)] == [
        EvictPod(pod=pod())
    ]


@pytest.mark.parametrize(
    "toleration",
    [
        {"key": "karpenter.sh/disrupted", "value": "other"},
        {"key": "sku", "operator": "Exists"},
        {"operator": "Exists", "effect": "NoExecute"},
        {"value": ""},
    ],
)
def test_who_tolerates_something_else_is_moved(toleration: dict[str, str]) -> None:
    assert not gives_back(planned(pod(tolerations=(toleration,))))


def test_the_pods_of_a_workspace_that_is_deleted_go_with_it() -> None:
    assert gives_back(planned(own(), own(deleting=True), owner_leaves=True))
    assert not gives_back(planned(own()))
    assert not gives_back(planned(own(), pod(), owner_leaves=True))
    of_another = pod("phi-0", namespace="other", workspace="phi")
    assert not gives_back(planned(of_another, owner_leaves=True))


def test_where_nobody_would_stop_a_pod_nothing_is_drained() -> None:
    found = ready_machine(deleting=True)
    assert gives_back(planned(pod(), on=node(found, ready=False)))
    told = condition(states.INSTANCE_TERMINATING, "True", "Terminating", since_s=NOW_S)
    asked = replace(found, conditions=(*found.conditions, told))
    assert not may_drain(asked, node(found))
    assert not may_drain(replace(found, has_finalizer=False), node(found))
    assert not may_drain(replace(found, deleting=False), node(found))
    assert not may_drain(found, None)
    assert may_drain(found, node(found))


pods = st.builds(
    pod,
    st.sampled_from(["a", "b", "c"]),
    daemon=st.booleans(),
    deleting=st.booleans(),
    workspace=st.sampled_from(["", "phi"]),
    namespace=st.sampled_from(["default", "shop"]),
)


@settings(deadline=None)
@given(st.lists(st.lists(pods, max_size=3, unique_by=lambda one: one.name), max_size=40))
def test_whatever_pods_do_the_machine_is_given_back_in_time(seen: list[list[NodePod]]) -> None:
    """Pods come and go, and budgets refuse: the last ones stay for ever."""
    found, on, now_s = ready_machine(deleting=True), node(ready_machine()), 0.0
    for number in range(100):
        there = seen[min(number, len(seen) - 1)] if seen else [pod()]
        plan = planned(*there, found=found, on=on, after_s=now_s)
        records = [step for step in plan.steps if isinstance(step, WriteMachine)]
        assert gives_back(plan) or plan.requeue_after_s == DRAIN_RECHECK_S
        if gives_back(plan):
            assert now_s <= LIMITS.drain_s + DRAIN_RECHECK_S
            assert find(records[-1].conditions, states.INSTANCE_TERMINATING) is not None
            return
        found = replace(found, conditions=records[0].conditions) if records else found
        on = replace(on, taints=(DISRUPTED,))
        now_s += DRAIN_RECHECK_S
    raise AssertionError("never given back")


def test_of_a_failed_machine_nothing_is_drained() -> None:
    """It is replaced: nobody has asked for its release, and what ran on it is lost."""
    found = ready_machine()
    failed = cloud_machine(found, state=CloudState.FAILED)
    view = MachineView(machine=found, cloud=(failed,), node=node(found), owner_exists=True)
    assert gives_back(plan_machine(view, limits=LIMITS, now_s=NOW_S))
