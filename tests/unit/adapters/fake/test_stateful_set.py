from typing import Any

from kaito.adapters.fake.container_phases import ContainerPlan, Failure, Phase
from kaito.adapters.kube_api import CONTROLLER_REVISION, POD, STATEFUL_SET, labels_of, name_of
from tests.unit.adapters.fake.cluster import Cluster, Script, container

PLAIN: dict[str, Any] = {"containers": [container("main", resources={})]}
NEW_IMAGE = [{**PLAIN["containers"][0], "image": "registry.test/main:2"}]


def set_template(cluster: Cluster, containers: list[dict[str, Any]]) -> None:
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    cluster.api.patch(STATEFUL_SET, "phi", "default", patch)


def images(cluster: Cluster) -> list[str]:
    return [
        pod["spec"]["containers"][0]["image"].rpartition(":")[2]
        for pod in cluster.api.list(POD).items
    ]


def test_a_cold_start_until_ready(cluster: Cluster, script: Script) -> None:
    script.pull_s = 90
    script.plans["main"] = ContainerPlan(
        phases=(Phase("weights load", 12.5), Phase("CUDA graphs", 4))
    )
    probe = {"httpGet": {"path": "/health", "port": 5000}, "periodSeconds": 10}
    main = container(
        "main",
        startupProbe={**probe, "failureThreshold": 180},
        readinessProbe={**probe, "initialDelaySeconds": 30},
    )
    cluster.add_stateful_set("phi", pod={"containers": [main]})
    cluster.run(60)
    assert cluster.stateful_set("phi")["status"]["replicas"] == 1
    cluster.add_node("n0")
    cluster.run(300)
    assert [(one.name, one.start_s, one.end_s) for one in cluster.recorder.phases] == [
        ("image pull", 60, 150),
        ("weights load", 150, 162.5),
        ("CUDA graphs", 162.5, 166.5),
        # Startup is seen at 170; readiness is looked at from 30 s after the start, every 10 s.
        ("readiness probe", 166.5, 180),
    ]
    status = cluster.stateful_set("phi")["status"]
    assert status["readyReplicas"] == status["availableReplicas"] == status["updatedReplicas"] == 1
    assert status["observedGeneration"] == 1
    assert status["currentRevision"] == status["updateRevision"]


def test_pods_carry_what_kubernetes_gives_them(cluster: Cluster) -> None:
    cluster.add_stateful_set("phi", pod=PLAIN, replicas=2)
    cluster.run(1)
    pod = cluster.pod("phi-1")
    revision = cluster.stateful_set("phi")["status"]["updateRevision"]
    assert labels_of(pod) == {
        "app": "phi",
        "statefulset.kubernetes.io/pod-name": "phi-1",
        "apps.kubernetes.io/pod-index": "1",
        "controller-revision-hash": revision,
    }
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("phi-1", "phi-headless")
    owner = pod["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("StatefulSet", "phi", True)


def test_parallel_starts_all_at_once_and_ordered_one_by_one(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_stateful_set("all", pod=PLAIN, replicas=3)
    cluster.add_stateful_set("one", pod=PLAIN, replicas=3, podManagementPolicy="OrderedReady")
    cluster.run(1)  # the image is still being pulled
    assert cluster.pods() == ["all-0", "all-1", "all-2", "one-0"]
    cluster.run(60)
    assert cluster.stateful_set("one")["status"]["readyReplicas"] == 3


def test_a_new_template_rolls_out_from_the_highest_ordinal(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_stateful_set("phi", pod=PLAIN, replicas=2)
    cluster.run(60)
    before = cluster.stateful_set("phi")["status"]["currentRevision"]
    set_template(cluster, NEW_IMAGE)
    cluster.run(5)  # phi-1 stopped within 2 s; its new image takes 10 s
    assert images(cluster) == ["1", "2"]
    status = cluster.stateful_set("phi")["status"]
    assert (status["currentRevision"], status["updatedReplicas"]) == (before, 1)
    cluster.run(60)
    assert images(cluster) == ["2", "2"]
    status = cluster.stateful_set("phi")["status"]
    assert status["currentRevision"] == status["updateRevision"] != before
    assert (status["observedGeneration"], status["readyReplicas"]) == (2, 2)
    assert len(cluster.api.list(CONTROLLER_REVISION).items) == 2


def test_going_back_to_an_old_template_uses_its_revision_again(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_stateful_set("phi", pod=PLAIN)
    cluster.run(60)
    first = cluster.stateful_set("phi")["status"]["updateRevision"]
    set_template(cluster, NEW_IMAGE)
    cluster.run(60)
    set_template(cluster, PLAIN["containers"])
    cluster.run(60)
    assert cluster.stateful_set("phi")["status"]["currentRevision"] == first
    assert images(cluster) == ["1"]
    newest = max(cluster.api.list(CONTROLLER_REVISION).items, key=lambda one: one["revision"])
    assert name_of(newest) == first


def test_a_broken_pod_does_not_block_its_replacement(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = ContainerPlan(phases=(Phase("weights load", 5, "", Failure()),))
    cluster.add_node("n0")
    cluster.add_stateful_set("phi", pod=PLAIN)
    cluster.run(120)
    assert "readyReplicas" not in cluster.stateful_set("phi")["status"]
    script.plans.clear()
    set_template(cluster, NEW_IMAGE)
    cluster.run(60)
    assert cluster.stateful_set("phi")["status"]["readyReplicas"] == 1


def test_a_partition_holds_lower_ordinals_at_the_old_revision(cluster: Cluster) -> None:
    cluster.add_node("n0")
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    cluster.add_stateful_set("phi", pod=PLAIN, replicas=2, updateStrategy=strategy)
    cluster.run(60)
    set_template(cluster, NEW_IMAGE)
    cluster.run(60)
    assert images(cluster) == ["1", "2"]
    cluster.api.delete(POD, "phi-0", "default")
    cluster.run(60)
    assert images(cluster) == ["1", "2"]


def test_scaling_down_removes_the_highest_and_up_adds(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_stateful_set("phi", pod=PLAIN, replicas=3)
    cluster.run(60)
    cluster.api.patch(STATEFUL_SET, "phi", "default", {"spec": {"replicas": 1}})
    cluster.run(60)
    assert cluster.pods() == ["phi-0"]
    assert cluster.stateful_set("phi")["status"]["replicas"] == 1
    cluster.api.patch(STATEFUL_SET, "phi", "default", {"spec": {"replicas": 2}})
    cluster.run(60)
    assert cluster.pods() == ["phi-0", "phi-1"]


def test_a_deleted_or_failed_pod_comes_back(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_stateful_set("phi", pod=PLAIN)
    cluster.run(60)
    first = cluster.pod("phi-0")["metadata"]["uid"]
    cluster.api.delete(POD, "phi-0", "default")
    cluster.run(60)
    second = cluster.pod("phi-0")["metadata"]["uid"]
    cluster.api.patch(
        POD, "phi-0", "default", {"status": {"phase": "Failed"}}, subresource="status"
    )
    cluster.run(60)
    third = cluster.pod("phi-0")["metadata"]["uid"]
    assert len({first, second, third}) == 3
    assert "RecreatingFailedPod" in cluster.reasons("phi")


def test_a_deleted_set_is_left_to_the_garbage_collector(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_stateful_set("phi", pod=PLAIN, replicas=2)
    cluster.run(60)
    cluster.api.delete(STATEFUL_SET, "phi", "default", propagation="Foreground")
    cluster.run(60)
    assert cluster.pods() == []
    assert cluster.api.list(STATEFUL_SET).items == ()
    assert cluster.api.list(CONTROLLER_REVISION).items == ()


def test_ready_for_long_enough_is_available(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_stateful_set("phi", pod=PLAIN, minReadySeconds=30)
    cluster.run(39)
    status = cluster.stateful_set("phi")["status"]
    assert (status["readyReplicas"], status["availableReplicas"]) == (1, 0)
    cluster.run(2)
    assert cluster.stateful_set("phi")["status"]["availableReplicas"] == 1


def test_a_converged_set_writes_nothing(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_stateful_set("phi", pod=PLAIN, replicas=2)
    cluster.run(60)
    version = cluster.api.resource_version
    cluster.run(3600)
    assert cluster.api.resource_version == version
