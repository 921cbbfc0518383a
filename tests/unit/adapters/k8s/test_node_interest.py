"""Which Workspaces a change of a Node concerns."""

from typing import Any

import pytest

from kaito.adapters.k8s.node_interest import NodeInterest, WorkspaceName
from kaito.adapters.kube_api import KubeObject

ON_A = {"matchLabels": {"pool": "a"}}


def workspace(name: str, selector: Any = ON_A) -> KubeObject:
    return {
        "metadata": {"name": name, "namespace": "default"},
        "resource": {"labelSelector": selector},
    }


def node(labels: dict[str, str], *, beat: int = 0, gpus: int = 1, **spec: Any) -> KubeObject:
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": str(beat)}
    return {
        "metadata": {"name": "n", "labels": labels, "resourceVersion": str(beat)},
        "spec": spec,
        "status": {"conditions": [ready], "allocatable": {"nvidia.com/gpu": str(gpus)}},
    }


@pytest.fixture
def interest() -> NodeInterest:
    """Two Workspaces on pool a, one on pool b, one on every pool but c."""
    found = NodeInterest()
    found.note_workspace(workspace("a-1"), gone=False)
    found.note_workspace(workspace("a-2", {"matchLabels": {"pool": "a", "x": "y"}}), gone=False)
    found.note_workspace(workspace("b", {"matchLabels": {"pool": "b"}}), gone=False)
    but_c = {"matchExpressions": [{"key": "pool", "operator": "NotIn", "values": ["c"]}]}
    found.note_workspace(workspace("but-c", but_c), gone=False)
    return found


def told(interest: NodeInterest, found: KubeObject, *, gone: bool = False) -> list[str]:
    return [one.name for one in interest.concerned(found, gone=gone)]


def test_those_whose_selector_finds_it(interest: NodeInterest) -> None:
    assert told(interest, node({"pool": "a"})) == ["a-1", "but-c"]
    assert told(interest, node({"pool": "a", "x": "y"})) == ["a-1", "a-2", "but-c"]
    assert interest.concerned(node({"pool": "c"}), gone=True) == [
        WorkspaceName("default", "a-1"),
        WorkspaceName("default", "a-2"),
        WorkspaceName("default", "but-c"),
    ]


def test_a_node_that_leaves_or_joins_concerns_those_of_before_and_after(
    interest: NodeInterest,
) -> None:
    assert told(interest, node({"pool": "a"})) == ["a-1", "but-c"]
    assert told(interest, node({"pool": "b"})) == ["a-1", "b", "but-c"]
    assert told(interest, node({"pool": "c"})) == ["b", "but-c"]
    assert told(interest, node({"pool": "b"})) == ["b", "but-c"]


def test_heartbeats_concern_nobody(interest: NodeInterest) -> None:
    told(interest, node({"pool": "a"}))
    assert told(interest, node({"pool": "a"}, beat=1)) == []


@pytest.mark.parametrize(
    "changed",
    [
        node({"pool": "a"}, gpus=0),
        node({"pool": "a"}, unschedulable=True),
        node({"pool": "a"}, taints=[{"key": "team", "effect": "NoSchedule"}]),
        node({"pool": "a", "nvidia.com/gpu.product": "NVIDIA-A10"}),
        {**node({"pool": "a"}), "status": {}},
    ],
)
def test_what_matters_does(interest: NodeInterest, changed: KubeObject) -> None:
    told(interest, node({"pool": "a"}))
    assert told(interest, changed) == ["a-1", "but-c"]
    assert told(interest, changed) == []


def test_a_node_that_is_gone_concerns_them_once_more(interest: NodeInterest) -> None:
    told(interest, node({"pool": "a"}))
    assert told(interest, node({"pool": "a"}), gone=True) == ["a-1", "but-c"]
    assert told(interest, node({"pool": "a"}), gone=True) == []
    assert told(interest, node({"pool": "a"})) == ["a-1", "but-c"], "it came back"


def test_workspaces_change_and_go(interest: NodeInterest) -> None:
    interest.note_workspace(workspace("a-1", {"matchLabels": {"pool": "c"}}), gone=False)
    interest.note_workspace(workspace("a-1", {"matchLabels": {"pool": "c"}}), gone=False)
    interest.note_workspace(workspace("but-c"), gone=True)
    interest.note_workspace(workspace("never-seen"), gone=True)
    assert told(interest, node({"pool": "a"})) == []
    assert told(interest, node({"pool": "c"})) == ["a-1"]


@pytest.mark.parametrize("selector", [None, {"matchLabels": "x"}, {}, {"unknown": 1}])
def test_a_selector_that_does_not_parse_or_asks_nothing_selects_nothing(selector: Any) -> None:
    interest = NodeInterest()
    interest.note_workspace(workspace("odd", selector), gone=False)
    interest.note_workspace({"metadata": {"name": "bare", "namespace": "default"}}, gone=False)
    assert told(interest, node({"pool": "a"})) == []


def test_after_missed_events_every_node_is_news(interest: NodeInterest) -> None:
    told(interest, node({"pool": "a"}))
    interest.forget_nodes()
    assert told(interest, node({"pool": "a"})) == ["a-1", "but-c"]


def test_a_label_that_all_share_does_not_make_everybody_a_candidate() -> None:
    """They are looked up by the label of theirs that the fewest others are looked up by."""
    interest = NodeInterest()
    for number in range(100):
        labels = {"kubernetes.io/os": "linux", "pool": str(number)}
        interest.note_workspace(workspace(f"w{number}", {"matchLabels": labels}), gone=False)
    crowd = [interest._crowd(("kubernetes.io/os", "linux"))[0]]
    assert crowd[0] <= 1
    found = node({"kubernetes.io/os": "linux", "pool": "7"})
    assert told(interest, found) == ["w7"]
