from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from kaito.adapters.fake.container_phases import ContainerPlan, Failure, Phase
from kaito.adapters.fake.probes import probe_outcome
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NODE,
    POD,
    SECRET,
    condition_of,
    is_true,
)
from tests.unit.adapters.fake.cluster import Cluster, Script, container

CPU: dict[str, Any] = {"resources": {}}
EXITS = ContainerPlan(exits=True)


def status_of(cluster: Cluster, pod: str, name: str = "main") -> Mapping[str, Any]:
    status = cluster.pod(pod)["status"]
    every = (*status.get("initContainerStatuses", ()), *status["containerStatuses"])
    found: Mapping[str, Any] = next(one for one in every if one["name"] == name)
    return found


def waiting(cluster: Cluster, pod: str, name: str = "main") -> str:
    return str(status_of(cluster, pod, name)["state"]["waiting"]["reason"])


def life(cluster: Cluster) -> list[tuple[str, float, float]]:
    return [(one.name, one.start_s, one.end_s) for one in cluster.recorder.phases]


def test_a_pod_without_phases_or_probes_is_ready_once_it_has_its_image(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_pod("p")
    cluster.run(5)
    status = cluster.pod("p")["status"]
    assert (status["phase"], waiting(cluster, "p")) == ("Pending", "ContainerCreating")
    assert (status["hostIP"], status["podIP"]) == ("10.224.0.4", "10.64.0.2")
    cluster.run(5)
    assert is_true(cluster.pod("p"), "Ready")
    assert status_of(cluster, "p")["state"] == {"running": {"startedAt": "2026-01-01T00:00:10Z"}}
    assert cluster.reasons("p") == ["Scheduled", "Pulling", "Pulled", "Created", "Started"]


def test_an_image_is_pulled_once_for_each_node(cluster: Cluster, script: Script) -> None:
    cluster.add_node("n0")
    cluster.add_node("n1")
    image = {"image": "registry.test/base:1", **CPU}
    for name, node in (("a", "n0"), ("b", "n0"), ("c", "n1")):
        cluster.add_pod(name, containers=[container("main", **image)], nodeName=node)
    cluster.run(10)
    cluster.add_pod("d", containers=[container("main", **image)], nodeName="n0")
    cluster.run(0)
    assert script.asked == ["registry.test/base:1"] * 2
    assert all(is_true(cluster.pod(name), "Ready") for name in "abcd")
    message = 'Container image "registry.test/base:1" already present on machine'
    assert ("Pulled", message, 1) in cluster.events("d")


def test_a_node_pulls_one_image_at_a_time(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_pod("p", containers=[container("a", **CPU), container("b", **CPU)])
    cluster.run(60)
    assert life(cluster) == [("image pull", 0, 10), ("image pull", 0, 20)]
    assert is_true(cluster.pod("p"), "Ready")


def test_a_failed_pull_backs_off(cluster: Cluster, script: Script) -> None:
    broken = Phase("image pull", 3, "", Failure(message="manifest unknown"))
    script.pulls["registry.test/main:1"] = [broken, broken]
    cluster.add_node("n0")
    cluster.add_pod("p")
    cluster.run(3)
    assert waiting(cluster, "p") == "ErrImagePull"
    cluster.run(2)
    assert waiting(cluster, "p") == "ImagePullBackOff"
    cluster.run(60)
    assert life(cluster) == [
        ("image pull", 0, 3),
        ("image pull", 13, 16),
        ("image pull", 36, 46),
    ]
    assert is_true(cluster.pod("p"), "Ready")
    assert cluster.recorder.phases[0].detail == "registry.test/main:1: manifest unknown"


def test_a_missing_secret_holds_the_pod_up_until_it_is_there(cluster: Cluster) -> None:
    cluster.add_node("n0")
    volumes = [
        {"name": "push-secret", "secret": {"secretName": "push"}},
        {"name": "maybe", "configMap": {"name": "nowhere", "optional": True}},
    ]
    cluster.add_pod("p", volumes=volumes)
    cluster.run(60)
    assert waiting(cluster, "p") == "ContainerCreating"
    message = 'MountVolume.SetUp failed for volume "push-secret" : secret "push" not found'
    assert [one.why for one in cluster.kubelet.pending()] == [message]
    (event,) = [one for one in cluster.events("p") if one[0] == "FailedMount"]
    assert event == ("FailedMount", message, 7)  # after 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s
    secret = {"metadata": {"namespace": "default", "name": "push"}}
    cluster.api.create(SECRET, secret)
    cluster.run(60)
    assert is_true(cluster.pod("p"), "Ready")
    assert cluster.kubelet.pending() == []


def test_a_missing_variable_holds_one_container_up(cluster: Cluster) -> None:
    cluster.add_node("n0")
    reference = {"name": "settings", "key": "a"}
    env = [{"name": "A", "valueFrom": {"configMapKeyRef": reference}}]
    cluster.add_pod("p", containers=[container("main", env=env)])
    cluster.run(15)
    assert waiting(cluster, "p") == "CreateContainerConfigError"
    settings = {"metadata": {"namespace": "default", "name": "settings"}, "data": {"b": "1"}}
    cluster.api.create(CONFIG_MAP, settings)
    cluster.run(15)
    state = status_of(cluster, "p", "main")["state"]["waiting"]
    assert state["message"] == "couldn't find key a in ConfigMap default/settings"
    cluster.api.patch(CONFIG_MAP, "settings", "default", {"data": {"a": "1"}})
    cluster.run(10)
    assert is_true(cluster.pod("p"), "Ready")


def test_init_containers_run_in_order_before_the_others(cluster: Cluster, script: Script) -> None:
    for name in ("first", "second"):
        script.plans[name] = ContainerPlan(phases=(Phase(f"{name} phase", 5),), exits=True)
    cluster.add_node("n0")
    cluster.add_pod("p", initContainers=[container("first"), container("second")])
    cluster.run(12)
    assert waiting(cluster, "p") == waiting(cluster, "p", "second") == "PodInitializing"
    condition = condition_of(cluster.pod("p"), "Initialized")
    assert condition is not None
    assert condition["message"] == "containers with incomplete status: [first second]"
    cluster.run(60)
    assert life(cluster) == [
        ("image pull", 0, 10),
        ("first phase", 10, 15),
        ("image pull", 15, 25),
        ("second phase", 25, 30),
        ("image pull", 30, 40),
    ]
    assert status_of(cluster, "p", "first")["state"]["terminated"]["reason"] == "Completed"
    assert is_true(cluster.pod("p"), "Ready")


def test_a_failing_init_container_is_tried_again(cluster: Cluster, script: Script) -> None:
    failure = Failure(exit_code=22, message="404")
    script.plans["get"] = ContainerPlan(phases=(Phase("download", 1, "", failure),), exits=True)
    cluster.add_node("n0")
    cluster.add_pod("p", initContainers=[container("get")])
    cluster.run(14)
    assert waiting(cluster, "p", "get") == "CrashLoopBackOff"
    ended = status_of(cluster, "p", "get")["lastState"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (22, "404")
    assert cluster.pod("p")["status"]["phase"] == "Pending"
    script.plans["get"] = EXITS
    cluster.run(60)
    assert is_true(cluster.pod("p"), "Ready")


def test_a_failing_init_container_fails_a_pod_that_never_restarts(
    cluster: Cluster, script: Script
) -> None:
    script.plans["get"] = ContainerPlan(phases=(Phase("download", 1, "", Failure()),), exits=True)
    cluster.add_node("n0")
    cluster.add_pod("p", initContainers=[container("get")], restartPolicy="Never")
    cluster.run(60)
    assert cluster.pod("p")["status"]["phase"] == "Failed"
    assert waiting(cluster, "p") == "PodInitializing"


def test_a_crash_loop_backs_off_up_to_five_minutes(cluster: Cluster, script: Script) -> None:
    failure = Failure(exit_code=137, reason="OOMKilled", message="CUDA out of memory")
    script.plans["main"] = ContainerPlan(phases=(Phase("weights load", 2, "", failure),))
    cluster.add_node("n0")
    cluster.add_pod("p")
    cluster.run(15)
    assert waiting(cluster, "p") == "CrashLoopBackOff"
    status = status_of(cluster, "p")
    ended = status["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")
    assert (status["restartCount"], cluster.pod("p")["status"]["phase"]) == (1, "Running")
    cluster.run(2000)
    starts = [start for name, start, _end in life(cluster) if name == "weights load"]
    waits = [later - earlier - 2 for earlier, later in pairwise(starts)]
    assert waits[:8] == [0, 10, 20, 40, 80, 160, 300, 300]


def test_a_long_life_starts_the_back_off_afresh(cluster: Cluster, script: Script) -> None:
    cluster.add_node("n0")
    cluster.add_pod("p")
    cluster.run(20)
    for _ in range(3):
        cluster.kubelet.crash(("default", "p"), "main", Failure(), cluster.loop.now_s)
        cluster.run(601)
        assert is_true(cluster.pod("p"), "Ready")
    cluster.kubelet.crash(("default", "p"), "main", Failure(), cluster.loop.now_s)
    cluster.run(0)
    assert is_true(cluster.pod("p"), "Ready")  # restarted at once
    assert status_of(cluster, "p")["restartCount"] == 4


def test_a_startup_that_takes_too_long_is_killed(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = ContainerPlan(phases=(Phase("weights load", 100),))
    probe = {"httpGet": {"path": "/health", "port": 1}, "periodSeconds": 10, "failureThreshold": 3}
    cluster.add_node("n0")
    cluster.add_pod("p", containers=[container("main", startupProbe=probe)])
    cluster.run(33)
    ended = status_of(cluster, "p")["lastState"]["terminated"]
    assert (ended["exitCode"], ended["finishedAt"]) == (137, "2026-01-01T00:00:32Z")
    loads = [one for one in cluster.recorder.phases if one.name == "weights load"]
    assert [(one.end_s, one.detail) for one in loads] == [(30, "startup probe failed")]
    assert "Unhealthy" in cluster.reasons("p")
    cluster.run(60)
    assert status_of(cluster, "p")["restartCount"] == 2


@pytest.mark.parametrize(
    ("probes", "healthy_s", "started_s", "ready_s", "killed_s"),
    [
        ({}, 7, 0, 0, None),
        ({"readinessProbe": {"periodSeconds": 10}}, 7, 0, 10, None),
        ({"readinessProbe": {"periodSeconds": 10, "initialDelaySeconds": 30}}, 7, 0, 30, None),
        ({"readinessProbe": {"periodSeconds": 10, "successThreshold": 2}}, 7, 0, 20, None),
        ({"readinessProbe": {"periodSeconds": 10}}, None, 0, None, None),
        ({"startupProbe": {"periodSeconds": 10, "failureThreshold": 9}}, 41, 50, 50, None),
        ({"startupProbe": {"periodSeconds": 10, "failureThreshold": 9}}, 50, 50, 50, None),
        ({"startupProbe": {"periodSeconds": 10, "failureThreshold": 3}}, 41, None, None, 20),
        ({"startupProbe": {"periodSeconds": 10, "failureThreshold": 3}}, None, None, None, 20),
        ({"livenessProbe": {"periodSeconds": 10, "initialDelaySeconds": 5}}, 60, 0, 0, 25),
        (
            {
                "startupProbe": {"periodSeconds": 10, "failureThreshold": 9},
                "livenessProbe": {"periodSeconds": 10, "failureThreshold": 1},
                "readinessProbe": {"periodSeconds": 10, "initialDelaySeconds": 30},
            },
            41,
            50,
            50,
            None,
        ),
    ],
)
def test_probes(
    probes: dict[str, Any],
    healthy_s: float | None,
    started_s: float | None,
    ready_s: float | None,
    killed_s: float | None,
) -> None:
    outcome = probe_outcome(probes, 0.0, healthy_s)
    assert (outcome.started_s, outcome.killed_s) == (started_s, killed_s)
    assert outcome.ready_s == ready_s


def test_a_tuning_pod_pushes_after_the_trainer_and_then_ends(
    cluster: Cluster, script: Script
) -> None:
    script.plans = {
        "main": ContainerPlan(phases=(Phase("training", 100),), exits=True),
        "pusher": ContainerPlan(phases=(Phase("results push", 5),), exits=True, after="main"),
        "pause": ContainerPlan(exits=True, after="main"),
    }
    cluster.add_node("n0")
    names = ("main", "pusher", "pause")
    containers = [container(name, image="registry.test/one:1", **CPU) for name in names]
    cluster.add_pod("p", containers=containers, restartPolicy="Never")
    cluster.run(112)
    assert cluster.pod("p")["status"]["phase"] == "Running"
    assert status_of(cluster, "p")["state"]["terminated"]["exitCode"] == 0
    cluster.run(60)
    assert [one for one in life(cluster) if one[0] != "image pull"] == [
        ("training", 10, 110),
        ("results push", 110, 115),
    ]
    assert cluster.pod("p")["status"]["phase"] == "Succeeded"
    condition = condition_of(cluster.pod("p"), "Ready")
    assert condition is not None
    assert condition["reason"] == "PodCompleted"


def test_nothing_is_pushed_when_the_trainer_fails(cluster: Cluster, script: Script) -> None:
    script.plans = {
        "main": ContainerPlan(phases=(Phase("training", 100, "", Failure()),), exits=True),
        "pusher": ContainerPlan(phases=(Phase("results push", 5),), exits=True, after="main"),
    }
    cluster.add_node("n0")
    containers = [container("main", **CPU), container("pusher", **CPU)]
    cluster.add_pod("p", containers=containers, restartPolicy="Never")
    cluster.run(300)
    assert "results push" not in cluster.recorder.names("p")
    assert cluster.pod("p")["status"]["phase"] == "Failed"


def test_a_deleted_pod_stops_gracefully_and_is_gone(cluster: Cluster, script: Script) -> None:
    script.stop = 7
    cluster.add_node("n0")
    cluster.add_pod("p")
    cluster.run(60)
    cluster.api.delete(POD, "p", "default")
    cluster.run(6)
    assert "deletionTimestamp" in cluster.pod("p")["metadata"]
    cluster.run(1)
    assert cluster.pods() == []
    assert "Killing" in cluster.reasons("p")


def test_the_grace_period_is_the_longest_that_stopping_takes(
    cluster: Cluster, script: Script
) -> None:
    script.stop = 100
    cluster.add_node("n0")
    cluster.add_pod("p", terminationGracePeriodSeconds=20)
    cluster.run(60)
    cluster.api.delete(POD, "p", "default")
    cluster.run(19)
    assert cluster.pods() == ["p"]
    cluster.run(1)
    assert cluster.pods() == []


def test_deleting_during_a_phase_cuts_it_off(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = ContainerPlan(phases=(Phase("weights load", 100, "7.1 GiB"),))
    cluster.add_node("n0")
    cluster.add_pod("p")
    cluster.run(60)
    (pending,) = cluster.kubelet.pending()
    assert (pending.subject, pending.name, pending.why) == (
        "Pod/default/p",
        "weights load",
        "7.1 GiB",
    )
    cluster.api.delete(POD, "p", "default")
    cluster.run(60)
    last = cluster.recorder.phases[-1]
    assert (last.name, last.end_s, last.detail) == ("weights load", 60, "7.1 GiB: stopped")
    assert cluster.pods() == []
    assert len(cluster.recorder.begun) == len(cluster.recorder.phases)


def test_pods_of_a_node_that_is_gone_are_removed_after_a_quarantine(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_pod("p")
    cluster.run(60)
    cluster.api.delete(NODE, "n0")
    cluster.run(39)
    assert cluster.pods() == ["p"]
    cluster.run(1)
    assert cluster.pods() == []


def test_nothing_happens_on_a_dead_node_and_pods_start_afresh_later(
    cluster: Cluster, script: Script
) -> None:
    script.plans["main"] = ContainerPlan(phases=(Phase("weights load", 50),))
    cluster.add_node("n0")
    cluster.add_pod("p", containers=[container("main", readinessProbe={"periodSeconds": 10})])
    cluster.run(30)
    cluster.dead_nodes.add("n0")
    cluster.api.patch(NODE, "n0", None, {"metadata": {"annotations": {"seen": "dead"}}})
    cluster.run(300)
    assert not is_true(cluster.pod("p"), "Ready")
    assert cluster.kubelet.pending() == []
    cluster.dead_nodes.clear()
    cluster.api.patch(NODE, "n0", None, {"metadata": {"annotations": {"seen": "alive"}}})
    cluster.run(300)
    assert is_true(cluster.pod("p"), "Ready")
    assert [name for name, _start, _end in life(cluster)].count("weights load") == 2


def test_an_address_is_used_again_when_its_pod_is_gone(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_pod("a", containers=[container("main", **CPU)])
    cluster.run(60)
    first = cluster.pod("a")["status"]["podIP"]
    cluster.api.delete(POD, "a", "default")
    cluster.run(60)
    cluster.add_pod("b", containers=[container("main", **CPU)])
    cluster.run(60)
    assert cluster.pod("b")["status"]["podIP"] == first


def test_a_running_pod_writes_nothing(cluster: Cluster) -> None:
    cluster.add_node("n0")
    cluster.add_pod("p")
    cluster.run(60)
    version = cluster.api.resource_version
    cluster.run(86_400)
    assert cluster.api.resource_version == version
