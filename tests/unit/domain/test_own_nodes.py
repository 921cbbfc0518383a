"""Which of the Nodes that users bring a Workspace can use, and what it is told where it cannot."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain import labels
from kaito.domain.cluster_view import ClusterView
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.machine import NodeView, Taint
from kaito.domain.node_shape import NodeShape
from kaito.domain.own_nodes import NODE_REASONS, OwnNodes, find_nodes
from kaito.domain.workspace import Workspace
from tests.unit.domain.builders import (
    A10,
    A10_LABELS,
    A100,
    CATALOGUE,
    FOUR_T4_LABELS,
    TUNING,
    byo,
    own_node,
    pod,
    workspace,
)

A10_SHAPE = "nvidia.com/gpu.count=1,nvidia.com/gpu.product=NVIDIA-A10"


def find(*nodes: NodeView, found: Workspace | None = None, **more: Any) -> OwnNodes:
    return find_nodes(found or byo(), ClusterView(nodes=nodes, **more), CATALOGUE)


def shape_of(found: OwnNodes) -> NodeShape:
    assert found.shape is not None, found.missing
    return found.shape


def why(found: OwnNodes) -> tuple[str, str, str]:
    """Reason, message and remedy where there is nothing to size for."""
    assert found.shape is None
    assert found.usable == ()
    return told(found)


def told(found: OwnNodes) -> tuple[str, str, str]:
    return found.missing.reason, found.missing.problem.message, found.missing.problem.remedy


# --- what can be used ---


def test_the_nodes_that_are_selected_and_good() -> None:
    found = find(own_node("b"), own_node("a"), own_node("c", labels=dict(A10_LABELS)))
    assert shape_of(found).to_text() == A10_SHAPE
    assert found.usable == ("a", "b")


def test_preferred_nodes_come_first_in_their_order() -> None:
    preferring = byo({"preferredNodes": ["d", "b", "d", "not-there"]})
    nodes = [own_node(name) for name in "abcd"]
    assert find(*nodes, found=preferring).usable == ("d", "b", "a", "c")


def test_an_instance_type_is_one_more_thing_to_ask_for() -> None:
    asking = workspace(instance_type="g9.xlarge")
    right = own_node("right", {**A10_LABELS, labels.INSTANCE_TYPE: "G9.xlarge"})
    found = find(own_node("none"), right, found=asking)
    assert found.usable == ("right",)
    assert shape_of(found).alternatives == (
        (
            (labels.INSTANCE_TYPE, "G9.xlarge"),
            (labels.GPU_COUNT, "1"),
            (labels.GPU_PRODUCT, "NVIDIA-A10"),
        ),
    )


def test_expressions_select_too() -> None:
    expression = {"key": "pool", "operator": "NotIn", "values": ["test"]}
    selector = {"labelSelector": {"matchExpressions": [expression]}}
    in_test = own_node("b", {**A10_LABELS, "pool": "test"})
    found = find(own_node("a"), in_test, found=byo(selector))
    assert found.usable == ("a",)


@pytest.mark.parametrize(
    "taint",
    [
        Taint(key="sku", value="gpu", effect="NoSchedule"),
        Taint(key="nvidia.com/gpu", value="present", effect="NoExecute"),
        Taint(key="team", value="a", effect="PreferNoSchedule"),
    ],
)
def test_taints_that_do_not_matter(taint: Taint) -> None:
    assert find(own_node(taints=(taint,))).usable == ("gpu-0",)


# --- what cannot ---


def test_no_node_has_the_labels() -> None:
    assert why(find(own_node(labels={}))) == (
        "NodesNotFound",
        "no Node has apps=phi",
        "Label GPU Nodes: kubectl label node NAME apps=phi",
    )
    expression = {"key": "pool", "operator": "In", "values": ["a", "b"]}
    only = byo({"labelSelector": {"matchExpressions": [expression]}})
    assert why(find(found=only))[1:] == (
        "no Node has pool in (a,b)",
        "Label GPU Nodes: kubectl label node NAME KEY=VALUE",
    )


def test_no_node_is_of_the_type() -> None:
    asking = workspace(instance_type=A100)
    nodes = [own_node("a"), own_node("b", {labels.INSTANCE_TYPE: A10})]
    reason, message, remedy = why(find(*nodes, found=asking))
    assert reason == "NodesNotFound"
    assert message == (
        f"no Node with apps=phi has node.kubernetes.io/instance-type={A100}: a is of no type, "
        f"b is {A10}"
    )
    assert "without resource.instanceType" in remedy


TAINT = Taint(key="team", value="a", effect="NoSchedule")


@pytest.mark.parametrize(
    ("node", "text", "remedy"),
    [
        ({"ready": False}, "gpu-0 is not ready", "See kubectl describe node gpu-0"),
        ({"deleting": True}, "gpu-0 is not ready", "See kubectl describe node gpu-0"),
        ({"cordoned": True}, "gpu-0 is cordoned", "kubectl uncordon gpu-0"),
        (
            {"taints": (replace(TAINT, value=""),)},
            "gpu-0 has the taint team:NoSchedule, which the pods do not tolerate",
            "kubectl taint node gpu-0 team:NoSchedule-",
        ),
        (
            {"taints": (Taint(key="sku", value="gpu", effect="NoSchedule"), TAINT)},
            "gpu-0 has the taint team=a:NoSchedule, which the pods do not tolerate",
            "kubectl taint node gpu-0 team=a:NoSchedule-",
        ),
    ],
)
def test_nodes_that_take_no_pod(node: dict[str, Any], text: str, remedy: str) -> None:
    assert why(find(own_node(**node))) == ("NodesNotReady", text, remedy)


@pytest.mark.parametrize("node", [{"cordoned": True}, {"taints": (TAINT,)}])
def test_what_keeps_new_pods_off_does_not_concern_those_that_run_there(
    node: dict[str, Any],
) -> None:
    there = own_node(**node)
    assert find(there, pods=(pod(node_name="gpu-0"),)).usable == ("gpu-0",)
    assert find(there, pods=(pod(node_name="gpu-0", deleting=True),)).usable == ()


def test_nodes_without_gpus() -> None:
    reason, message, remedy = why(find(own_node(gpus=FOUR_T4_LABELS, name="a"), own_node("b")))
    assert reason == "AmbiguousNodes"
    late = own_node("late", FOUR_T4_LABELS)
    reason, message, remedy = why(find(replace(late, gpus=3), own_node("bare", {})))
    assert reason == "NodesWithoutGpus"
    assert message == (
        "bare has no label nvidia.com/gpu.product; late has 4 x NVIDIA T4, of which 3 can be "
        "allocated"
    )
    assert remedy.startswith("Install the NVIDIA GPU operator")


def test_an_unknown_gpu() -> None:
    odd = own_node(gpus={**A10_LABELS, labels.GPU_PRODUCT: "NVIDIA-A10X"})
    reason, message, remedy = why(find(odd))
    assert (reason, message) == (
        "UnknownGpu",
        "gpu-0 has a GPU that kaito does not know (nvidia.com/gpu.product=NVIDIA-A10X)",
    )
    assert "NVIDIA-A10" in remedy


def test_what_passes_by_itself_is_told_first() -> None:
    odd = own_node("a", {**A10_LABELS, labels.GPU_PRODUCT: "NVIDIA-A10X"})
    late, down = own_node("b", {}), own_node("c", {}, ready=False)
    assert why(find(odd, late, down))[0] == "NodesNotReady"
    assert why(find(odd, late))[0] == "NodesWithoutGpus"
    assert why(find(odd, replace(odd, name="z", ready=False)))[0] == "NodesNotReady"


def test_many_bad_nodes_are_counted() -> None:
    nodes = [own_node(f"n{number}", ready=False) for number in range(7)]
    assert why(find(*nodes))[1].endswith("n4 is not ready and 2 more")


@pytest.mark.parametrize("bad", [{"ready": False}, {"gpus": {}}, {"cordoned": True}])
def test_a_bad_node_does_not_hold_up_the_good_ones(bad: dict[str, Any]) -> None:
    assert find(own_node("bad", **bad), own_node("good")).usable == ("good",)


# --- different GPUs ---


def test_different_gpus_are_for_the_user_to_choose_from() -> None:
    nodes = [own_node("a"), own_node("b", FOUR_T4_LABELS), own_node("c")]
    reason, message, remedy = why(find(*nodes))
    assert reason == "AmbiguousNodes"
    assert message == (
        "the Nodes with apps=phi have different GPUs: 1 x NVIDIA A10 "
        "(nvidia.com/gpu.product=NVIDIA-A10): a, c; 4 x NVIDIA T4 "
        "(nvidia.com/gpu.product=Tesla-T4): b"
    )
    assert "resource.preferredNodes" in remedy
    assert "nvidia.com/gpu.product: NVIDIA-A10 among its matchLabels" in remedy
    types = [own_node("a", {labels.INSTANCE_TYPE: A10}), own_node("b", FOUR_T4_LABELS)]
    assert f"(node.kubernetes.io/instance-type={A10}): a" in why(find(*types))[1]


def test_the_same_gpus_by_different_labels_are_one_shape() -> None:
    found = find(own_node("a", {labels.INSTANCE_TYPE: A10}), own_node("b"))
    assert len(shape_of(found).alternatives) == 2
    assert found.usable == ("a", "b")


def test_preferred_nodes_choose() -> None:
    nodes = [own_node("a"), own_node("b", FOUR_T4_LABELS), own_node("c", FOUR_T4_LABELS)]
    preferring = byo({"preferredNodes": ["b"]})
    found = find(*nodes, found=preferring)
    assert str(shape_of(found)) == "4 x NVIDIA T4"
    assert found.usable == ("b", "c")
    assert told(found)[:2] == ("NodesNotFound", "a has 1 x NVIDIA A10")
    both = byo({"preferredNodes": ["b", "a"]})
    assert why(find(*nodes, found=both))[0] == "AmbiguousNodes"


def test_pods_that_run_choose_before_that() -> None:
    """What was made by another operator does not say what it was sized for."""
    nodes = [own_node("a"), own_node("b", FOUR_T4_LABELS)]
    preferring = byo({"preferredNodes": ["b"]})
    assert find(*nodes, found=preferring, pods=(pod(node_name="a"),)).usable == ("a",)


# --- what was made ---


def test_a_workload_keeps_its_shape() -> None:
    for nodes in ((), (own_node("b", FOUR_T4_LABELS),), (own_node("a", ready=False),)):
        found = find(*nodes, made_for=A10_SHAPE)
        assert shape_of(found).to_text() == A10_SHAPE
        assert found.usable == ()
    both = find(own_node("a"), own_node("b", FOUR_T4_LABELS), made_for=A10_SHAPE)
    assert both.usable == ("a",)


def test_it_is_told_how_to_have_it_sized_anew() -> None:
    other = own_node("b", FOUR_T4_LABELS)
    assert told(find(other, made_for=A10_SHAPE)) == (
        "NodesNotFound",
        "b has 4 x NVIDIA T4",
        "Delete the StatefulSet phi to have it sized for other Nodes",
    )
    tuning = byo(tuning=TUNING)
    assert "Delete the Job phi" in told(find(other, found=tuning, made_for=A10_SHAPE))[2]
    down = own_node("a", ready=False)
    assert told(find(other, down, made_for=A10_SHAPE)) == (
        "NodesNotReady",
        "a is not ready; b has 4 x NVIDIA T4",
        "See kubectl describe node a",
    )
    assert told(find(own_node("a")))[1] == "no other Node has apps=phi"


def test_another_instance_type_that_is_asked_for_ends_it() -> None:
    asking = workspace(instance_type=A100)
    node = own_node("a", {labels.INSTANCE_TYPE: A100})
    of_a10 = f"{labels.INSTANCE_TYPE}={A10}"
    assert shape_of(find(node, found=asking, made_for=of_a10)).has(node.labels)
    of_a100 = f"{labels.INSTANCE_TYPE}={A100}"
    assert shape_of(find(found=asking, made_for=of_a100)).to_text() == of_a100


def test_what_cannot_be_read_counts_as_not_there() -> None:
    assert shape_of(find(own_node(), made_for="nonsense")).to_text() == A10_SHAPE


# --- properties ---

KINDS = (
    A10_LABELS,
    FOUR_T4_LABELS,
    {labels.INSTANCE_TYPE: A10},
    {labels.GPU_PRODUCT: "NVIDIA-Unheard-Of", labels.GPU_COUNT: "1"},
    {},
)


@st.composite
def own_nodes(draw: st.DrawFn) -> list[NodeView]:
    names = draw(st.lists(st.sampled_from("abcdef"), unique=True, max_size=6))
    return [
        own_node(
            name,
            draw(st.sampled_from(KINDS)),
            ready=draw(st.booleans()),
            cordoned=draw(st.booleans()),
            deleting=draw(st.booleans()),
        )
        for name in names
    ]


@settings(deadline=None)
@given(own_nodes(), st.randoms(use_true_random=False), st.sampled_from(["", A10_SHAPE]))
def test_the_order_of_nodes_does_not_matter(nodes: list[NodeView], rng: Any, made_for: str) -> None:
    found = find(*nodes, made_for=made_for)
    shuffled = list(nodes)
    rng.shuffle(shuffled)
    assert find(*shuffled, made_for=made_for) == found
    assert found.missing.reason in NODE_REASONS
    assert found.shape is not None or not found.usable
    by_name = {node.name: node for node in nodes}
    for name in found.usable:
        assert by_name[name].ready
        assert shape_of(found).has(by_name[name].labels)


@settings(deadline=None, max_examples=50)
@given(st.lists(own_nodes(), min_size=1, max_size=4))
def test_nodes_that_come_and_go_never_change_a_workload(days: list[list[NodeView]]) -> None:
    """From the day on which it is made, whatever Nodes there are."""
    found, made = byo(), ""
    first: Wanted | None = None
    for nodes in days:
        own = find(*nodes, found=found, made_for=made)
        decided = decide(found, CATALOGUE, None, own)
        if first is None and isinstance(decided, Refusal):
            assert decided.reason == own.missing.reason
            continue
        assert isinstance(decided, Wanted), "what is made stays planned"
        first = first or decided
        assert decided == first
        assert decided.workload.own_place is not None
        made = decided.workload.own_place.shape.to_text()
