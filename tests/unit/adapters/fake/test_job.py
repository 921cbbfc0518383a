from itertools import pairwise
from typing import Any

import pytest

from kaito.adapters.fake.container_phases import ContainerPlan, Failure, Phase
from kaito.adapters.kube_api import JOB, NODE, POD, condition_of, name_of
from tests.unit.adapters.fake.cluster import Cluster, Script, container

POD_SPEC: dict[str, Any] = {"containers": [container("main", resources={})]}
SUCCESS = ContainerPlan(phases=(Phase("training", 100),), exits=True)
FAILURE = ContainerPlan(phases=(Phase("training", 5, "", Failure(exit_code=1)),), exits=True)


def finished(cluster: Cluster, name: str) -> tuple[str, str]:
    for condition_type in ("Complete", "Failed"):
        condition = condition_of(cluster.job(name), condition_type)
        if condition is not None:
            return condition_type, condition["reason"]
    return "", ""


def test_a_job_runs_to_completion(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC)
    cluster.run(60)
    status = cluster.job("tune")["status"]
    assert (status["active"], status["ready"], status["startTime"]) == (
        1,
        1,
        "2026-01-01T00:00:00Z",
    )
    cluster.run(60)
    status = cluster.job("tune")["status"]
    assert finished(cluster, "tune") == ("Complete", "CompletionsReached")
    assert (status["succeeded"], status["completionTime"]) == (1, "2026-01-01T00:01:50Z")
    assert "active" not in status
    assert "failed" not in status
    (pod,) = cluster.api.list(POD).items
    assert pod["status"]["phase"] == "Succeeded"
    assert "finalizers" not in pod["metadata"]
    assert cluster.reasons("tune") == ["SuccessfulCreate", "Completed"]


def test_failed_pods_are_retried_ever_later_until_the_limit(
    cluster: Cluster, script: Script
) -> None:
    script.plans["main"] = FAILURE
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, backoffLimit=3)
    cluster.run(3600)
    starts = [one.start_s for one in cluster.recorder.phases if one.name == "training"]
    # 10 s of pull at first; then each runs 5 s, and waits 10, 20, 40 s.
    assert starts == [10, 25, 50, 95]
    assert finished(cluster, "tune") == ("Failed", "BackoffLimitExceeded")
    status = cluster.job("tune")["status"]
    assert status["failed"] == 4
    assert status["uncountedTerminatedPods"] == {}
    assert len(cluster.pods()) == 4
    assert "completionTime" not in status
    assert cluster.reasons("tune")[-1] == "BackoffLimitExceeded"


def test_the_back_off_ends_at_six_minutes(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = FAILURE
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, backoffLimit=8)
    cluster.run(7200)
    starts = [one.start_s for one in cluster.recorder.phases if one.name == "training"]
    waits = [later - earlier - 5 for earlier, later in pairwise(starts)]
    assert waits == [10, 20, 40, 80, 160, 320, 360, 360]


def test_a_success_after_failures(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = FAILURE
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC)
    cluster.run(20)
    script.plans["main"] = SUCCESS
    cluster.run(300)
    status = cluster.job("tune")["status"]
    assert (status["failed"], status["succeeded"]) == (1, 1)
    assert finished(cluster, "tune")[0] == "Complete"


def test_parallelism_and_completions(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, parallelism=2, completions=3)
    cluster.run(60)
    assert cluster.job("tune")["status"]["active"] == 2
    cluster.run(300)
    assert cluster.job("tune")["status"]["succeeded"] == 3
    assert len(cluster.pods()) == 3


def test_a_pod_that_is_lost_with_its_node_counts_as_failed(
    cluster: Cluster, script: Script
) -> None:
    script.plans["main"] = SUCCESS
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC)
    cluster.run(60)
    (first,) = cluster.pods()
    cluster.api.delete(NODE, "n0")
    cluster.run(39)
    assert cluster.pods() == [first]
    cluster.add_node("n1")
    cluster.run(200)
    status = cluster.job("tune")["status"]
    assert (status["failed"], status["succeeded"]) == (1, 1)
    assert first not in cluster.pods()
    lost = next(one for one in cluster.recorder.phases if one.name == "training")
    assert (lost.end_s, lost.detail) == (60, "node is gone")


def test_a_deadline_ends_it(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, activeDeadlineSeconds=50)
    cluster.run(60)
    assert finished(cluster, "tune") == ("Failed", "DeadlineExceeded")
    assert cluster.pods() == []


def test_a_finished_job_expires(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, ttlSecondsAfterFinished=600)
    cluster.run(709)
    assert len(cluster.pods()) == 1
    cluster.run(2)
    assert cluster.api.list(JOB).items == ()
    assert cluster.pods() == []


def test_deleting_a_job_leaves_nothing(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    cluster.add_node("n0")
    for name, propagation in (("fore", "Foreground"), ("back", "Background")):
        cluster.add_job(name, pod=POD_SPEC)
        cluster.run(60)
        cluster.api.delete(JOB, name, "default", propagation=propagation)  # type: ignore[arg-type]
        cluster.run(60)
        assert cluster.pods() == []
        assert cluster.api.list(JOB).items == ()


def test_a_job_of_the_same_name_starts_afresh(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    script.stop = 20
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC)
    cluster.run(60)
    old = cluster.pods()
    cluster.api.delete(JOB, "tune", "default")
    cluster.run(1)
    cluster.add_job("tune", pod=POD_SPEC)
    cluster.run(300)
    assert finished(cluster, "tune")[0] == "Complete"
    (new,) = cluster.api.list(POD).items
    assert name_of(new) not in old


def test_a_finished_job_writes_nothing_more(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC)
    cluster.run(300)
    version = cluster.api.resource_version
    cluster.run(7200)
    assert cluster.api.resource_version == version


# --- pod failure policy ---

DISRUPTED = {"type": "DisruptionTarget", "status": "True"}
POLICY: dict[str, Any] = {
    "rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget"}]},
        {"action": "Count", "onExitCodes": {"operator": "In", "values": [75]}},
        {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [1]}},
    ]
}


def exits(code: int) -> ContainerPlan:
    return ContainerPlan(phases=(Phase("training", 5, "", Failure(exit_code=code)),), exits=True)


def test_an_exit_code_may_fail_the_job_at_once(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = exits(66)
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, podFailurePolicy=POLICY)
    cluster.run(600)
    assert finished(cluster, "tune") == ("Failed", "PodFailurePolicy")
    job = cluster.job("tune")
    assert job["spec"]["podReplacementPolicy"] == "Failed"
    target, failed = job["status"]["conditions"]
    assert (target["type"], failed["type"]) == ("FailureTarget", "Failed")
    (pod,) = cluster.api.list(POD).items
    assert failed["message"] == (
        f"Container main for pod default/{name_of(pod)} failed with exit code 66 matching FailJob "
        "rule at index 2"
    )
    assert job["status"]["failed"] == 1
    assert "finalizers" not in pod["metadata"]


@pytest.mark.parametrize("code", [1, 75])
def test_what_no_rule_fails_or_ignores_counts(code: int, cluster: Cluster, script: Script) -> None:
    script.plans["main"] = exits(code)
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, backoffLimit=1, podFailurePolicy=POLICY)
    cluster.run(600)
    assert finished(cluster, "tune") == ("Failed", "BackoffLimitExceeded")
    assert cluster.job("tune")["status"]["failed"] == 2


def test_an_init_container_may_fail_the_job(cluster: Cluster, script: Script) -> None:
    script.plans["loader"] = exits(77)
    cluster.add_node("n0")
    loader = container("loader", resources={})
    cluster.add_job("tune", pod={**POD_SPEC, "initContainers": [loader]}, podFailurePolicy=POLICY)
    cluster.run(600)
    assert finished(cluster, "tune") == ("Failed", "PodFailurePolicy")


def test_a_rule_may_be_about_one_container(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = exits(66)
    cluster.add_node("n0")
    codes = {"containerName": "other", "operator": "In", "values": [66]}
    policy = {"rules": [{"action": "FailJob", "onExitCodes": codes}]}
    cluster.add_job("tune", pod=POD_SPEC, backoffLimit=0, podFailurePolicy=policy)
    cluster.run(600)
    assert finished(cluster, "tune") == ("Failed", "BackoffLimitExceeded")


def test_a_pod_that_goes_with_its_node_is_ignored(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, backoffLimit=0, podFailurePolicy=POLICY)
    for number in range(2):
        cluster.run(60)
        cluster.api.delete(NODE, f"n{number}")
        cluster.add_node(f"n{number + 1}")
    cluster.run(600)
    status = cluster.job("tune")["status"]
    assert finished(cluster, "tune")[0] == "Complete"
    assert "failed" not in status
    starts = [one.start_s for one in cluster.recorder.phases if one.name == "training"]
    # A loss is noticed after 40 s; then pauses of 10 s and 20 s, and 10 s for the image each time.
    assert starts == [10, 60 + 40 + 10 + 10, 120 + 40 + 20 + 10]


def test_a_pod_that_is_going_is_followed_only_once_it_has_ended(
    cluster: Cluster, script: Script
) -> None:
    script.plans["main"] = SUCCESS
    script.stop = 25.0
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, backoffLimit=0, podFailurePolicy=POLICY)
    cluster.run(60)
    (first,) = cluster.pods()
    patch = {"status": {"conditions": [DISRUPTED]}}
    cluster.api.patch(POD, first, "default", patch, subresource="status")
    cluster.api.delete(POD, first, "default")
    cluster.run(20)
    assert cluster.pods() == [first]
    assert cluster.job("tune")["status"]["terminating"] == 1
    cluster.run(300)
    assert finished(cluster, "tune")[0] == "Complete"


def test_a_job_that_fails_waits_for_its_other_pods(cluster: Cluster, script: Script) -> None:
    script.plans["main"] = SUCCESS
    script.stop = 20.0
    cluster.add_node("n0")
    cluster.add_job("tune", pod=POD_SPEC, parallelism=2, completions=2, podFailurePolicy=POLICY)
    cluster.run(60)
    failing = ("default", cluster.pods()[0])
    cluster.kubelet.crash(failing, "main", Failure(exit_code=66), cluster.loop.now_s)
    cluster.run(10)
    job = cluster.job("tune")
    assert condition_of(job, "FailureTarget") is not None
    assert condition_of(job, "Failed") is None
    cluster.run(60)
    assert finished(cluster, "tune") == ("Failed", "PodFailurePolicy")
