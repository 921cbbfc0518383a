"""Nodes that are lost, and what becomes of their pods."""

from typing import Any

import pytest

from kaito.adapters.fake.node_faults import CLOUD_MONITOR_S, MONITOR_GRACE_S, NodeFaults
from kaito.adapters.fake.node_lifecycle import NodeLifecycleController
from kaito.adapters.fake.pod_gc import QUARANTINE_S
from kaito.adapters.kube_api import NODE, POD, condition_of, is_true
from tests.unit.adapters.fake.cluster import Cluster, Script, container

PATIENCE_S = 300.0  # how long a pod tolerates such a node unless it says otherwise
READY_S = 10.0  # an image pull


class Lossy(Cluster):
    """A cluster whose nodes can be lost."""

    def __init__(self) -> None:
        super().__init__(Script())
        self.lost: list[str] = []
        self.loop.add(NodeLifecycleController(self.api, self.loop.waker()).step)
        self.faults = NodeFaults(
            self.api,
            self.loop.waker(),
            now_s=lambda: self.loop.now_s,
            lost=self.lost.append,
            changed=self._changed,
        )
        self.loop.add(self.faults.step)

    def _changed(self, node_name: str) -> None:
        (self.dead_nodes.add if self.faults.is_down(node_name) else self.dead_nodes.discard)(
            node_name
        )
        self.kubelet.look_again(node_name)

    def serve(self, **pod: Any) -> None:
        """One replica on n0."""
        self.add_node("n0")
        self.add_stateful_set("s", pod={"containers": [container("main")], **pod})
        self.run(READY_S)
        assert is_true(self.pod("s-0"), "Ready")

    def node_says(self) -> tuple[str, str]:
        ready = condition_of(self.api.get(NODE, "n0"), "Ready")
        assert ready is not None
        return ready["status"], ready.get("reason", "")

    def is_terminating(self) -> bool:
        return "deletionTimestamp" in self.pod("s-0")["metadata"]


@pytest.fixture
def cluster() -> Lossy:
    return Lossy()


def test_a_machine_that_hangs_is_noticed_and_its_pods_are_unready(cluster: Lossy) -> None:
    cluster.serve()
    cluster.faults.hang("n0", for_s=None)
    cluster.run(MONITOR_GRACE_S - 1)
    assert cluster.node_says()[0] == "True"
    cluster.run(1)
    assert cluster.node_says() == ("Unknown", "NodeStatusUnknown")
    assert not is_true(cluster.pod("s-0"), "Ready")
    assert not cluster.is_terminating()


def test_its_pods_are_evicted_and_wait_for_a_kubelet(cluster: Lossy) -> None:
    cluster.serve()
    uid = cluster.pod("s-0")["metadata"]["uid"]
    cluster.faults.hang("n0", for_s=1000.0)
    cluster.run(MONITOR_GRACE_S + PATIENCE_S)
    assert cluster.is_terminating()
    cluster.run(600.0)
    assert cluster.pod("s-0")["metadata"]["uid"] == uid, "nobody says that it has stopped"
    cluster.run(100.0)
    assert cluster.node_says()[0] == "True"
    assert cluster.pod("s-0")["metadata"]["uid"] != uid
    assert is_true(cluster.pod("s-0"), "Ready")


def test_a_node_that_comes_back_in_time_keeps_its_pods(cluster: Lossy) -> None:
    cluster.serve()
    uid = cluster.pod("s-0")["metadata"]["uid"]
    cluster.faults.hang("n0", for_s=MONITOR_GRACE_S + PATIENCE_S - 1)
    cluster.run(1000.0)
    assert cluster.pod("s-0")["metadata"]["uid"] == uid
    assert is_true(cluster.pod("s-0"), "Ready")


def test_a_hiccup_is_not_noticed(cluster: Lossy) -> None:
    cluster.serve()
    cluster.faults.hang("n0", for_s=MONITOR_GRACE_S / 2)
    cluster.run(MONITOR_GRACE_S)
    assert cluster.node_says()[0] == "True"
    assert is_true(cluster.pod("s-0"), "Ready")


def test_the_node_of_a_machine_that_vanishes_goes(cluster: Lossy) -> None:
    cluster.serve()
    uid = cluster.pod("s-0")["metadata"]["uid"]
    cluster.faults.vanish("n0", "machine-0")
    assert cluster.lost == ["machine-0"]
    cluster.run(MONITOR_GRACE_S)
    assert cluster.node_says()[0] == "Unknown"
    cluster.run(CLOUD_MONITOR_S)
    assert cluster.api.list(NODE).items == ()
    cluster.run(QUARANTINE_S)
    assert cluster.pod("s-0")["metadata"]["uid"] != uid
    assert not cluster.faults.is_down("n0")


def test_a_node_that_somebody_deleted_is_left_alone(cluster: Lossy) -> None:
    cluster.serve()
    cluster.faults.hang("n0", for_s=100.0)
    cluster.faults.take_gpus("n0", for_s=100.0)
    cluster.api.delete(NODE, "n0")
    cluster.run(200.0)
    assert cluster.api.list(NODE).items == ()


def test_a_node_without_gpus_keeps_what_runs_and_takes_nothing_new(cluster: Lossy) -> None:
    cluster.serve()
    cluster.faults.take_gpus("n0", for_s=60.0)
    cluster.run(0)
    status = cluster.api.get(NODE, "n0")["status"]
    assert status["allocatable"]["nvidia.com/gpu"] == "0"
    assert status["capacity"]["nvidia.com/gpu"] == "1"
    assert is_true(cluster.pod("s-0"), "Ready")
    cluster.api.delete(POD, "s-0", "default", grace_period_s=0)
    cluster.run(30.0)
    assert not cluster.pod("s-0")["spec"].get("nodeName")
    cluster.run(60.0)
    assert cluster.api.get(NODE, "n0")["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    assert is_true(cluster.pod("s-0"), "Ready")


def _tolerating(**more: Any) -> dict[str, Any]:
    return {"tolerations": [{"operator": "Exists", **more}]}


@pytest.mark.parametrize(
    ("pod", "evicted_after_s"),
    [
        (_tolerating(), None),
        (_tolerating(key="node.kubernetes.io/unreachable"), None),
        (
            _tolerating(
                key="node.kubernetes.io/unreachable", effect="NoExecute", tolerationSeconds=60
            ),
            60.0,
        ),
        (_tolerating(key="node.kubernetes.io/unreachable", effect="NoSchedule"), PATIENCE_S),
        (_tolerating(key="sku", effect="NoSchedule"), PATIENCE_S),
    ],
)
def test_a_pod_says_how_long_it_tolerates_that(
    cluster: Lossy, pod: dict[str, Any], evicted_after_s: float | None
) -> None:
    cluster.serve(**pod)
    cluster.faults.hang("n0", for_s=None)
    cluster.run(MONITOR_GRACE_S)
    if evicted_after_s is None:
        cluster.run(3600.0)
        assert not cluster.is_terminating()
        return
    cluster.run(evicted_after_s - 1)
    assert not cluster.is_terminating()
    cluster.run(1)
    assert cluster.is_terminating()


def test_a_pod_that_is_evicted_says_so(cluster: Lossy) -> None:
    cluster.serve()
    cluster.faults.hang("n0", for_s=None)
    cluster.run(MONITOR_GRACE_S + PATIENCE_S)
    target = condition_of(cluster.pod("s-0"), "DisruptionTarget")
    assert target is not None
    assert (target["status"], target["reason"]) == ("True", "DeletionByTaintManager")
