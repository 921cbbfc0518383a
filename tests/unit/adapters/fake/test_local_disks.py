"""Claims of ephemeral volumes, from the pod that has them to the volume on its Node."""

from typing import Any

import pytest

from kaito.adapters.fake.latencies import load_latencies
from kaito.adapters.fake.local_disks import DRIVER, LocalDisks
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import default_directory
from kaito.adapters.kube_api import (
    EVENT,
    NODE,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    STORAGE_CLASS,
    KubeObject,
    condition_of,
    is_true,
    name_of,
)
from tests.unit.adapters.fake.cluster import Cluster, container

CLASS = "local"
PROVISIONED_S = 4.0
BOUND_S = PROVISIONED_S + 1
CLAIM = "p-weights"


@pytest.fixture
def disks(cluster: Cluster) -> LocalDisks:
    """A driver on every Node whose name begins with `n`."""
    latencies = load_latencies(default_directory() / "latencies.yaml")
    made = LocalDisks(
        cluster.api,
        cluster.loop.waker(),
        latencies=latencies.adjusted(scale=1.0, fixed_s={"volume_provision": PROVISIONED_S}),
        streams=Streams(0),
        has_disks=lambda name: name.startswith("n"),
    )
    cluster.loop.add(made.step)
    return made


def add_class(cluster: Cluster, mode: str = "WaitForFirstConsumer", **more: Any) -> None:
    body = {"metadata": {"name": CLASS}, "provisioner": DRIVER, "volumeBindingMode": mode, **more}
    cluster.api.create(STORAGE_CLASS, body)


def add_pod(cluster: Cluster, name: str = "p", **spec: Any) -> None:
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": CLASS,
        "resources": {"requests": {"storage": "1024Mi"}},
    }
    template = {"metadata": {"labels": {"a": "b"}}, "spec": claim}
    volume = {"name": "weights", "ephemeral": {"volumeClaimTemplate": template}}
    gpu = {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    containers = [{**container("main"), **gpu}]
    cluster.add_pod(name, **{"containers": containers, "volumes": [volume], **spec})


def why_not(cluster: Cluster, name: str = "p") -> str:
    found = condition_of(cluster.pod(name), "PodScheduled")
    assert found is not None
    assert found["status"] == "False"
    return str(found["message"])


def claims(cluster: Cluster) -> dict[str, KubeObject]:
    return {name_of(one): one for one in cluster.api.list(PERSISTENT_VOLUME_CLAIM).items}


def volumes(cluster: Cluster) -> list[KubeObject]:
    return list(cluster.api.list(PERSISTENT_VOLUME).items)


@pytest.mark.usefixtures("disks")
def test_a_pod_waits_for_its_volume(cluster: Cluster) -> None:
    add_class(cluster)
    cluster.add_node("n0")
    add_pod(cluster)
    cluster.run(PROVISIONED_S - 1)
    assert claims(cluster)[CLAIM]["status"]["phase"] == "Pending"
    assert "nodeName" not in cluster.pod("p")["spec"]
    cluster.run(2)
    assert cluster.pod("p")["spec"]["nodeName"] == "n0"
    assert is_true(cluster.pod("p"), "PodScheduled")
    claim, (volume,) = claims(cluster)[CLAIM], volumes(cluster)
    assert claim["metadata"]["labels"] == {"a": "b"}
    assert claim["status"]["phase"] == volume["status"]["phase"] == "Bound"
    assert claim["status"]["capacity"] == volume["spec"]["capacity"] == {"storage": "1Gi"}
    assert claim["spec"]["volumeName"] == name_of(volume)
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]


@pytest.mark.usefixtures("disks")
def test_claim_and_volume_go_with_the_pod(cluster: Cluster) -> None:
    add_class(cluster)
    cluster.add_node("n0")
    add_pod(cluster)
    cluster.run(BOUND_S)
    assert len(volumes(cluster)) == 1
    cluster.api.delete(POD, "p", "default")
    cluster.run(60)
    assert (claims(cluster), volumes(cluster)) == ({}, [])


@pytest.mark.usefixtures("disks")
def test_the_next_pod_of_a_name_gets_a_claim_of_its_own(cluster: Cluster) -> None:
    add_class(cluster)
    cluster.add_node("n0")
    add_pod(cluster)
    cluster.run(BOUND_S)
    first = claims(cluster)[CLAIM]["metadata"]["uid"]
    cluster.api.delete(POD, "p", "default", grace_period_s=0)
    add_pod(cluster)
    cluster.run(30)
    claim = claims(cluster)[CLAIM]
    assert claim["metadata"]["uid"] != first
    assert cluster.pod("p")["spec"]["nodeName"] == "n0"
    (volume,) = volumes(cluster)
    assert volume["spec"]["claimRef"]["uid"] == claim["metadata"]["uid"]


@pytest.mark.usefixtures("disks")
def test_a_claim_of_somebody_else_is_not_used(cluster: Cluster) -> None:
    add_class(cluster)
    cluster.add_node("n0")
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": CLASS}
    body = {"metadata": {"name": CLAIM, "namespace": "default"}, "spec": spec}
    cluster.api.create(PERSISTENT_VOLUME_CLAIM, body)
    add_pod(cluster)
    cluster.run(30)
    assert why_not(cluster) == (
        "0/1 nodes are available: PVC default/p-weights was not created for pod default/p"
        " (pod is not owner)."
    )


@pytest.mark.usefixtures("disks")
def test_without_its_class_a_pod_waits_for_it(cluster: Cluster) -> None:
    cluster.add_node("n0")
    add_pod(cluster)
    cluster.run(600)
    assert why_not(cluster) == (
        "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
    )
    add_class(cluster)
    cluster.run(BOUND_S)
    assert cluster.pod("p")["spec"]["nodeName"] == "n0"


@pytest.mark.usefixtures("disks")
def test_a_class_that_does_not_wait_for_pods_is_not_served(cluster: Cluster) -> None:
    add_class(cluster, mode="Immediate")
    cluster.add_node("n0")
    add_pod(cluster)
    cluster.run(60)
    assert "unbound immediate" in why_not(cluster)


@pytest.mark.parametrize(("provisioner", "node"), [("other.test", "n0"), (DRIVER, "diskless")])
@pytest.mark.usefixtures("disks")
def test_not_every_claim_gets_a_volume(cluster: Cluster, provisioner: str, node: str) -> None:
    add_class(cluster, provisioner=provisioner)
    cluster.add_node(node)
    add_pod(cluster)
    cluster.run(60)
    assert volumes(cluster) == []
    assert "nodeName" not in cluster.pod("p")["spec"]
    told = [event["reason"] for event in cluster.api.list(EVENT).items]
    assert ("ProvisioningFailed" in told) is (node == "diskless")


@pytest.mark.usefixtures("disks")
def test_nobody_takes_the_place_of_a_pod_that_waits_for_its_volume(cluster: Cluster) -> None:
    add_class(cluster)
    cluster.add_node("n0")
    add_pod(cluster)
    cluster.run(1)
    add_pod(cluster, "late", volumes=[])
    cluster.run(1)
    assert "Insufficient nvidia.com/gpu" in why_not(cluster, "late")
    cluster.run(BOUND_S)
    assert cluster.pod("p")["spec"]["nodeName"] == "n0"
    cluster.api.delete(POD, "p", "default")
    cluster.run(60)
    assert cluster.pod("late")["spec"]["nodeName"] == "n0"


@pytest.mark.usefixtures("disks")
def test_the_place_is_free_again_when_it_waits_no_more(cluster: Cluster) -> None:
    add_class(cluster)
    cluster.add_node("n0")
    add_pod(cluster)
    cluster.run(1)
    add_pod(cluster, "late", volumes=[])
    cluster.api.delete(POD, "p", "default", grace_period_s=0)
    cluster.run(2)
    assert cluster.pod("late")["spec"]["nodeName"] == "n0"


@pytest.mark.usefixtures("disks")
def test_a_node_that_goes_while_the_volume_is_made(cluster: Cluster) -> None:
    """Another Node is selected, and the volume is made there."""
    add_class(cluster)
    cluster.add_node("n0")
    add_pod(cluster)
    cluster.run(1)
    cluster.add_node("n1")
    cluster.api.delete(NODE, "n0")
    cluster.run(BOUND_S)
    assert cluster.pod("p")["spec"]["nodeName"] == "n1"


@pytest.mark.usefixtures("disks")
def test_a_better_node_does_not_move_a_volume_that_is_being_made(cluster: Cluster) -> None:
    add_class(cluster)
    cluster.add_node("n1")
    add_pod(cluster)
    cluster.run(1)
    cluster.add_node("n0")
    cluster.run(BOUND_S)
    assert cluster.pod("p")["spec"]["nodeName"] == "n1"
