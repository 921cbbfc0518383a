"""What to do next for a Workspace whose user brings the Nodes."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as strategies

from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.conditions import Condition, find
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.errors import Problem
from kaito.domain.machine import NodeView
from kaito.domain.own_nodes import find_nodes
from kaito.domain.plan import (
    ApplyWorkload,
    CreateMachine,
    DeleteMachine,
    DeleteWorkload,
    Note,
    RemoveFinalizer,
    WorkspacePlan,
    WriteStatus,
)
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import ResourceSpec, Workspace
from kaito.domain.workspace_plan import plan_workspace
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    FOUR_T4_LABELS,
    MISSING,
    NOW_S,
    SERVING,
    TUNING,
    byo,
    condition,
    config,
    own_node,
    pod,
    seen,
    workspace,
)

SHAPE = "nvidia.com/gpu.count=1,nvidia.com/gpu.product=NVIDIA-A10"
ON_GPU_0 = pod(node_name="gpu-0")
TWO_REPLICAS: dict[str, Any] = {
    "resource": {"count": 2},
    "annotations": {labels.RUNTIME: "transformers"},
}


def around(*nodes: NodeView, **more: Any) -> ClusterView:
    return ClusterView(nodes=nodes, **more)


def plan(
    view: WorkspaceView | Workspace, cluster: ClusterView, live: WorkloadView = MISSING
) -> WorkspacePlan:
    """As a round makes it."""
    view = view if isinstance(view, WorkspaceView) else seen(view)
    own = find_nodes(view.workspace, cluster, CATALOGUE)
    decided = decide(view.workspace, CATALOGUE, cluster.config, own)
    compared = live if isinstance(decided, Wanted) else None
    return plan_workspace(view, cluster, decided, compared, now_s=NOW_S, own=own)


def status_in(planned: WorkspacePlan) -> WorkspaceStatus:
    (found,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    return found


def told(planned: WorkspacePlan) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in status_in(planned).conditions}


def notes(planned: WorkspacePlan) -> list[tuple[str, str]]:
    return [(step.type, step.reason) for step in planned.steps if isinstance(step, Note)]


def after(view: WorkspaceView, planned: WorkspacePlan) -> WorkspaceView:
    return replace(view, status=status_in(planned))


def resource_ready(planned: WorkspacePlan) -> Condition:
    found = find(status_in(planned).conditions, st.RESOURCE_READY)
    assert found is not None
    return found


def served() -> WorkspaceView:
    """A Workspace that serves on gpu-0."""
    cluster = around(own_node(), pods=(ON_GPU_0,), made_for=SHAPE, has_workload=True)
    return after(seen(byo()), plan(byo(), cluster, SERVING))


# --- from nothing to serving ---


def test_with_a_node_there_the_workload_is_made_at_once() -> None:
    planned = plan(byo(), around(own_node("b"), own_node("a")))
    kinds = [type(step) for step in planned.steps if not isinstance(step, Note)]
    assert kinds == [WriteStatus, ApplyWorkload], "no finalizer, no machine"
    assert told(planned) == {
        "NodesReady": ("True", "NodesReady"),
        "ResourceReady": ("True", "workspaceResourceStatusSuccess"),
        "InferenceReady": ("False", "WorkspaceInferenceStatusPending"),
        "WorkspaceSucceeded": ("False", "workspacePending"),
        "WorkspaceReady": ("False", "workspacePending"),
    }
    status = status_in(planned)
    assert (status.target_node_count, status.worker_nodes, status.state) == (1, ("a",), "Pending")
    assert notes(planned) == [("Normal", "FitDecided"), ("Normal", "ResourceReady")]
    (applied,) = [step for step in planned.steps if isinstance(step, ApplyWorkload)]
    place = applied.workload.own_place
    assert place is not None
    assert place.shape.to_text() == SHAPE
    assert place.selector.match_labels == {"apps": "phi"}
    assert applied.workload.node_labels == {}
    assert applied.workload.gpus == 1


def test_the_nodes_of_the_status_are_those_that_pods_run_on() -> None:
    view = served()
    assert view.status.is_ready
    assert view.status.worker_nodes == ("gpu-0",)
    cluster = around(
        own_node("another"), own_node(), pods=(ON_GPU_0,), made_for=SHAPE, has_workload=True
    )
    told_nodes = find(view.status.conditions, st.NODES_READY)
    assert told_nodes is not None
    assert told_nodes.message == "gpu-0"
    assert plan(view, cluster, SERVING).steps == (), "one more to choose from is no news"


def test_too_few_nodes_are_waited_for() -> None:
    found = byo(**TWO_REPLICAS)
    planned = plan(found, around(own_node("a"), own_node("b", ready=False)))
    ready = resource_ready(planned)
    assert (ready.status, ready.reason) == ("False", "NodesNotReady")
    assert ready.message == (
        "1 of 2 Nodes with 1 x NVIDIA A10 can be used: b is not ready. See kubectl describe node b"
    )
    assert not any(isinstance(step, ApplyWorkload) for step in planned.steps)
    assert status_in(planned).worker_nodes == ("a",)
    assert find(status_in(planned).conditions, st.INFERENCE_READY) == condition(
        st.INFERENCE_READY,
        "False",
        "WorkspaceInferenceStatusPending",
        message="waiting for the Nodes",
        observed_generation=1,
        since_s=NOW_S,
    )
    enough = plan(found, around(own_node("a"), own_node("b")))
    assert any(isinstance(step, ApplyWorkload) for step in enough.steps)


@pytest.mark.parametrize(
    ("nodes", "reason", "blocked"),
    [
        ((), "NodesNotFound", ""),
        ((own_node(ready=False),), "NodesNotReady", ""),
        ((own_node(gpus={}),), "NodesWithoutGpus", ""),
        (
            (own_node(), own_node("gpu-1", FOUR_T4_LABELS)),
            "AmbiguousNodes",
            "AmbiguousNodes",
        ),
        (
            (own_node(gpus={labels.GPU_PRODUCT: "Unheard-Of", labels.GPU_COUNT: "1"}),),
            "UnknownGpu",
            "UnknownGpu",
        ),
    ],
)
@pytest.mark.parametrize("parts", [{}, {"tuning": TUNING}], ids=["inference", "tuning"])
def test_without_a_usable_node_it_says_why_once(
    nodes: tuple[NodeView, ...], reason: str, blocked: str, parts: dict[str, Any]
) -> None:
    view = seen(byo(**parts))
    first = plan(view, around(*nodes))
    assert [type(step) for step in first.steps] == [Note, WriteStatus]
    assert notes(first) == [("Warning", reason)]
    assert told(first) == dict.fromkeys(
        ("NodesReady", "ResourceReady", "WorkspaceSucceeded", "WorkspaceReady"), ("False", reason)
    )
    status = status_in(first)
    assert status.blocked_reason == blocked, "a wait is not blocked"
    assert status.state == ("Failed" if blocked and parts else "Pending")
    assert first.requeue_after_s is not None
    assert plan(after(view, first), around(*nodes)).steps == ()


def test_another_reason_to_wait_is_another_event() -> None:
    view = seen(byo())
    view = after(view, plan(view, around()))
    down = plan(view, around(own_node(ready=False)))
    assert notes(down) == [("Warning", "NodesNotReady")]
    other = plan(after(view, down), around(own_node("b", ready=False)))
    assert notes(other) == [], "the message changed, the reason did not"
    ready = plan(after(view, other), around(own_node()))
    assert ("Normal", "ResourceReady") in notes(ready)


# --- what is made stays ---


@pytest.mark.parametrize(
    "nodes",
    [(), (own_node(ready=False),), (own_node(gpus={}),), (own_node("b", FOUR_T4_LABELS),)],
)
def test_a_workload_is_left_as_it_is_when_its_nodes_are_lost(nodes: tuple[NodeView, ...]) -> None:
    view = served()
    cluster = around(*nodes, pods=(ON_GPU_0,), made_for=SHAPE, has_workload=True)
    planned = plan(view, cluster, replace(SERVING, ready_replicas=0))
    assert {type(step) for step in planned.steps} == {Note, WriteStatus}
    assert ("Warning", "ResourceReadyLost") in notes(planned)
    assert not [one for one in notes(planned) if one[1].startswith("Nodes")], "told once"
    status = status_in(planned)
    assert status.state == "NotReady"
    assert status.target_node_count == 1
    assert status.blocked_reason == ""
    back = around(own_node(), pods=(ON_GPU_0,), made_for=SHAPE, has_workload=True)
    again = plan(after(view, planned), back, SERVING)
    assert {type(step) for step in again.steps} == {Note, WriteStatus}
    assert status_in(again).is_ready


def test_what_does_not_say_what_it_was_made_for_is_left_as_it_is_too() -> None:
    view = served()
    planned = plan(view, around(pods=(ON_GPU_0,), has_workload=True))
    assert {type(step) for step in planned.steps} == {Note, WriteStatus}
    assert told(planned)["ResourceReady"] == ("False", "NodesNotFound")
    assert told(planned)["InferenceReady"] == ("False", "NodesNotFound")
    assert status_in(planned).worker_nodes == ("gpu-0",)


def test_a_refused_spec_is_told_and_not_the_nodes() -> None:
    wrong = byo({"partition": {"mode": "mig", "profile": "1g.11gb"}})
    planned = plan(wrong, around())
    assert set(told(planned)) == {"WorkspaceSucceeded", "WorkspaceReady"}
    assert notes(planned) == [("Warning", "InvalidSpec")]


def test_of_what_cannot_be_read_nothing_is_said_about_nodes() -> None:
    """Its selector is unknown, so that no Node seems to have it."""
    view = served()
    unread = replace(
        view,
        workspace=view.workspace.model_copy(
            update={"resource": ResourceSpec.model_validate({"labelSelector": {}})}
        ),
        problems=(Problem(field="resource.count", message="is a text"),),
    )
    cluster = around(own_node(), pods=(ON_GPU_0,), made_for=SHAPE, has_workload=True)
    own = find_nodes(unread.workspace, cluster, CATALOGUE)
    refusal = Refusal(reason="InvalidSpec", problems=unread.problems)
    planned = plan_workspace(unread, cluster, refusal, None, now_s=NOW_S, own=own)
    assert told(planned)["ResourceReady"] == ("True", "workspaceResourceStatusSuccess")
    assert told(planned)["WorkspaceSucceeded"] == ("False", "InvalidSpec")


def test_a_config_that_changes_rolls_out_whatever_the_nodes() -> None:
    view = served()
    cluster = around(made_for=SHAPE, has_workload=True, config=config())
    changed = WorkloadView(state=WorkloadState.DIFFERENT, differences=("spec.template",))
    assert any(isinstance(one, ApplyWorkload) for one in plan(view, cluster, changed).steps)


# --- release ---


def test_there_is_nothing_to_release() -> None:
    gone = seen(byo(deleting=True))
    cluster = around(own_node(), has_workload=True)
    assert plan(gone, cluster) == WorkspacePlan()
    kept = seen(workspace(instance_type="", deleting=True))
    assert plan(kept, cluster).steps == (RemoveFinalizer(),), "of the time with machines"


def test_machines_of_an_earlier_time_are_told_of() -> None:
    view = seen(
        workspace(instance_type=A10),
        WorkspaceStatus(conditions=(condition(st.NODE_CLAIM_READY), condition("Other"))),
    )
    node = own_node(gpus={labels.INSTANCE_TYPE: A10})
    planned = plan(view, around(node))
    kinds = [one.type for one in status_in(planned).conditions]
    assert st.NODE_CLAIM_READY not in kinds
    assert "Other" in kinds
    first = planned.steps[0]
    assert isinstance(first, Note)
    assert first.reason == "MachinesLeft"
    assert f"kubectl delete nodeclaims -l kaito.sh/workspace-uid={view.workspace.uid}" in (
        first.message
    )
    assert "MachinesLeft" not in str(notes(plan(after(view, planned), around(node))))
    waiting = plan(view, around())
    assert notes(waiting) == [("Warning", "MachinesLeft"), ("Warning", "NodesNotFound")]
    assert st.NODE_CLAIM_READY not in told(waiting)


# --- decisions ---


def test_it_is_sized_for_what_the_nodes_have() -> None:
    def sized(found: Workspace, node: NodeView) -> Wanted | Refusal:
        own = find_nodes(found, around(node), CATALOGUE)
        return decide(found, CATALOGUE, None, own)

    four = sized(byo(), own_node(gpus=FOUR_T4_LABELS))
    assert isinstance(four, Wanted)
    assert four.workload.gpus == 4
    assert four.sizing.summary.startswith(
        "phi-3-mini-4k-instruct runs on 1 x own node (4 x NVIDIA T4)"
    )
    large = byo(inference={"preset": {"name": "phi-4"}})
    two = sized(large, own_node())
    assert isinstance(two, Wanted)
    assert (two.sizing.nodes, two.workload.replicas) == (2, 2), "spread over Nodes of one shape"
    volta = own_node(gpus={labels.GPU_PRODUCT: "Tesla-V100-SXM2-16GB", labels.GPU_COUNT: "1"})
    small = sized(large, volta)
    assert isinstance(small, Refusal)
    assert small.reason == "ModelDoesNotFit"
    (problem,) = small.problems
    assert problem.field == "resource.labelSelector"
    assert problem.remedy.startswith("It fits Nodes with 1 x NVIDIA A100 80GB or ")
    by_type = sized(large, own_node(gpus={labels.INSTANCE_TYPE: "Standard_NC6s_v3"}))
    assert isinstance(by_type, Refusal)
    assert A100 in by_type.problems[0].remedy, "types of the cloud that the Node is from"
    asking = byo(annotations={labels.RUNTIME: "vllm"})
    old = own_node(gpus={labels.GPU_PRODUCT: "Tesla-V100-SXM2-16GB", labels.GPU_COUNT: "1"})
    no_engine = sized(asking, old)
    assert isinstance(no_engine, Refusal)
    assert no_engine.problems[0].field == f"metadata.annotations[{labels.RUNTIME}]"


# --- properties ---


@strategies.composite
def clusters(draw: strategies.DrawFn) -> ClusterView:
    kinds = ({}, FOUR_T4_LABELS, {labels.INSTANCE_TYPE: A10}, own_node().labels)
    names = draw(strategies.lists(strategies.sampled_from("abcd"), unique=True))
    nodes = [
        own_node(name, draw(strategies.sampled_from(kinds)), ready=draw(strategies.booleans()))
        for name in names
    ]
    pods = [pod(node_name=draw(strategies.sampled_from(["", "a", "z"])))]
    return around(
        *nodes,
        pods=tuple(pods[: draw(strategies.integers(0, 1))]),
        has_workload=draw(strategies.booleans()),
        made_for=draw(strategies.sampled_from(["", SHAPE])),
    )


@settings(deadline=None)
@given(
    clusters(),
    strategies.sampled_from([{}, TWO_REPLICAS, {"tuning": TUNING}, {"deleting": True}]),
    strategies.sampled_from(
        [
            MISSING,
            SERVING,
            WorkloadView(state=WorkloadState.DELETING),
            replace(SERVING, ready_replicas=0),
        ]
    ),
)
def test_in_every_state(cluster: ClusterView, parts: dict[str, Any], live: WorkloadView) -> None:
    view = seen(byo(**parts))
    planned = plan(view, cluster, live)
    assert planned == plan(view, cluster, live), "the same state gives the same plan"
    never = (CreateMachine, DeleteMachine, DeleteWorkload, RemoveFinalizer)
    assert not [step for step in planned.steps if isinstance(step, never)]
    applied = [step for step in planned.steps if isinstance(step, ApplyWorkload)]
    assert not applied or live is MISSING, "what is made is not touched"
    if planned.steps:
        after_it = plan(after(view, planned), cluster, live)
        assert after_it.steps == () or applied, "it is told once"


def test_a_surge_waits_for_one_more_node() -> None:
    found = byo(annotations={labels.ROLLOUT: "surge"})
    rolls = WorkloadView(
        state=WorkloadState.DIFFERENT,
        differences=("StatefulSet/phi spec.template",),
        content_differs=True,
        rolls=True,
        observed=True,
        settled=True,
        replicas=1,
        pods=1,
        ready_replicas=1,
    )
    one = around(own_node("gpu-0"), pods=(ON_GPU_0,), has_workload=True)
    waiting = plan(found, one, rolls)
    assert not any(isinstance(step, ApplyWorkload | CreateMachine) for step in waiting.steps)
    assert told(waiting)[st.RESOURCE_READY][0] == "True"
    two = around(own_node("gpu-0"), own_node("gpu-1"), pods=(ON_GPU_0,), has_workload=True)
    (applied,) = [step for step in plan(found, two, rolls).steps if isinstance(step, ApplyWorkload)]
    assert (applied.workload.replicas, applied.workload.partition) == (2, 1)
