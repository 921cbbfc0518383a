"""`kaito operator run --provisioner byo` on a real API server, with Nodes that the test brings."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kaito.adapters.kube_api import (
    EVENT,
    NODE,
    NODE_CLAIM,
    POD,
    STATEFUL_SET,
    WORKSPACE,
    KubeApi,
    KubeObject,
    Resource,
    annotations_of,
    condition_of,
    is_true,
    name_of,
)
from kaito.domain import labels
from tests.integration.conftest import RealCluster, eventually, exists
from tests.integration.test_operator_process import Operator

QUIET_S = 3.0
NAME = "phi-3"
A10 = {labels.GPU_PRODUCT: "NVIDIA-A10", labels.GPU_COUNT: "1", labels.GPU_MEMORY: "23028"}
FOUR_T4 = {labels.GPU_PRODUCT: "Tesla-T4", labels.GPU_COUNT: "4"}


class Cluster:
    """The user's Nodes, all of this test's namespace, and a Workspace for them."""

    def __init__(self, api: KubeApi, namespace: str) -> None:
        self.api, self.namespace = api, namespace
        self.pool = {"example.com/pool": namespace}
        self.nodes: list[str] = []

    def add_node(self, suffix: str, found: dict[str, str], *, gpus: int) -> str:
        name = f"{self.namespace}-{suffix}"
        body = {"metadata": {"name": name, "labels": {**self.pool, **found}}, "spec": {}}
        self.api.create(NODE, body)
        self.nodes.append(name)
        self.allocate(name, gpus)
        return name

    def allocate(self, name: str, gpus: int) -> None:
        """What kubelet and device plugin say."""
        status = {
            "allocatable": {labels.GPU_RESOURCE: str(gpus), "cpu": "8"},
            "conditions": [{"type": "Ready", "status": "True", "reason": "Test"}],
        }
        self.api.patch(NODE, name, None, {"status": status}, subresource="status")

    def beat(self, name: str, number: int) -> None:
        """A kubelet's heartbeat."""
        found = {"type": "Ready", "status": "True", "reason": "Test", "message": f"beat {number}"}
        status = {"status": {"conditions": [found]}}
        self.api.patch(NODE, name, None, status, subresource="status")

    def apply(self, **resource: Any) -> None:
        body = {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": NAME, "namespace": self.namespace},
            "resource": {"labelSelector": {"matchLabels": self.pool}, **resource},
            "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
        }
        self.api.create(WORKSPACE, body)

    def get(self, resource: Resource, name: str = NAME) -> KubeObject:
        return self.api.get(resource, name, self.namespace if resource.namespaced else None)

    def has(self, resource: Resource) -> bool:
        return exists(self.api, resource, NAME, self.namespace)

    def waits_for(self, reason: str) -> bool:
        found = condition_of(self.get(WORKSPACE), "ResourceReady")
        return found is not None and (found["status"], found["reason"]) == ("False", reason)

    def run_pod(self, node_name: str) -> None:
        """What scheduler, StatefulSet controller and kubelet do."""
        owner = self.get(STATEFUL_SET)
        template = owner["spec"]["template"]
        reference = {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "name": NAME,
            "uid": owner["metadata"]["uid"],
            "controller": True,
        }
        metadata = {
            "name": f"{NAME}-0",
            "namespace": self.namespace,
            "labels": template["metadata"]["labels"],
            "ownerReferences": [reference],
        }
        spec = {**template["spec"], "nodeName": node_name}
        self.api.create(POD, {"metadata": metadata, "spec": spec})
        ready = {"type": "Ready", "status": "True", "reason": "Test"}
        self._status(POD, f"{NAME}-0", {"phase": "Running", "conditions": [ready]})
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), 1)
        generation = owner["metadata"]["generation"]
        self._status(STATEFUL_SET, NAME, {"observedGeneration": generation, **counts})

    def versions(self) -> dict[str, str]:
        """What changes when anybody writes anything."""
        found = [self.get(WORKSPACE), self.get(STATEFUL_SET)]
        return {str(one["metadata"]["uid"]): one["metadata"]["resourceVersion"] for one in found}

    def close(self) -> None:
        for name in self.nodes:
            if exists(self.api, NODE, name):
                self.api.delete(NODE, name)

    def _status(self, resource: Resource, name: str, status: KubeObject) -> None:
        patch = {"status": status}
        self.api.patch(resource, name, self.namespace, patch, subresource="status")


@pytest.fixture
def cluster(
    real_cluster: RealCluster, real_api: KubeApi, namespace: str, tmp_path: Path
) -> Iterator[Cluster]:
    if real_cluster.kubeconfig is None or not real_cluster.collects_garbage:
        pytest.skip("the operator is tried with a control plane of its own only")
    found = Cluster(real_api, namespace)
    log = tmp_path / "operator.log"
    operator = Operator(real_cluster.kubeconfig, log, "--provisioner", "byo")
    try:
        assert eventually(lambda: operator.get("/readyz") == "leading"), log.read_text()
        yield found
        assert "Traceback" not in log.read_text(), log.read_text()
    finally:
        assert operator.stop() == 0
        found.close()


def test_from_a_late_driver_to_ready_and_gone_again(cluster: Cluster) -> None:
    late = cluster.add_node("late", A10, gpus=0)
    cluster.apply(preferredNodes=[late])
    assert eventually(lambda: cluster.waits_for("NodesWithoutGpus"))
    cluster.allocate(late, 1)
    assert eventually(lambda: cluster.has(STATEFUL_SET))
    made = cluster.get(STATEFUL_SET)
    shape = f"{labels.GPU_COUNT}=1,{labels.GPU_PRODUCT}=NVIDIA-A10"
    assert annotations_of(made)[labels.NODE_SHAPE] == shape
    affinity = made["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (wish,) = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    assert wish["preference"]["matchFields"][0]["values"] == [late]

    cluster.run_pod(late)
    assert eventually(lambda: is_true(cluster.get(WORKSPACE), "WorkspaceSucceeded"))
    stored = cluster.get(WORKSPACE)
    assert list(stored["status"]["workerNodes"]) == [late]
    assert condition_of(stored, "NodeClaimReady") is None
    assert "finalizers" not in stored["metadata"]
    claims = cluster.api.list(NODE_CLAIM, labels={labels.WORKSPACE_UID: stored["metadata"]["uid"]})
    assert claims.items == ()

    # Nobody writes anything any more, whatever the kubelet says in between.
    before = cluster.versions()
    for number in range(10):
        cluster.beat(late, number)
        time.sleep(QUIET_S / 10)
    assert cluster.versions() == before

    node = cluster.get(NODE, late)
    cluster.api.delete(WORKSPACE, NAME, cluster.namespace)
    assert eventually(lambda: not cluster.has(WORKSPACE))
    assert eventually(lambda: not cluster.has(STATEFUL_SET))
    assert cluster.get(NODE, late)["metadata"]["labels"] == node["metadata"]["labels"]


def test_a_workload_outlives_its_node_and_other_gpus(cluster: Cluster) -> None:
    first = cluster.add_node("a", A10, gpus=1)
    cluster.apply()
    assert eventually(lambda: cluster.has(STATEFUL_SET))
    before = cluster.get(STATEFUL_SET)["metadata"]
    cluster.add_node("b", FOUR_T4, gpus=4)
    cluster.api.delete(NODE, first)
    assert eventually(lambda: cluster.waits_for("NodesNotFound"))
    waits = condition_of(cluster.get(WORKSPACE), "ResourceReady")
    assert waits is not None
    assert "b has 4 x NVIDIA T4" in waits["message"]
    assert cluster.get(STATEFUL_SET)["metadata"]["generation"] == before["generation"]
    cluster.add_node("a", A10, gpus=1)
    assert eventually(lambda: is_true(cluster.get(WORKSPACE), "ResourceReady"))
    after = cluster.get(STATEFUL_SET)["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])


def test_different_gpus_are_chosen_from_by_the_user(cluster: Cluster) -> None:
    cluster.add_node("a", A10, gpus=1)
    chosen = cluster.add_node("b", FOUR_T4, gpus=4)
    cluster.apply()
    assert eventually(lambda: cluster.waits_for("AmbiguousNodes"))
    events = cluster.api.list(EVENT, cluster.namespace).items
    assert [one["reason"] for one in events if name_of(one).startswith(NAME)] == ["AmbiguousNodes"]
    patch = {"resource": {"preferredNodes": [chosen]}}
    cluster.api.patch(WORKSPACE, NAME, cluster.namespace, patch)
    assert eventually(lambda: cluster.has(STATEFUL_SET))
    container = cluster.get(STATEFUL_SET)["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["limits"] == {labels.GPU_RESOURCE: "4"}
