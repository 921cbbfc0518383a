"""Pods that serve one model together: who waits for whom, and what one death does to the rest."""

from typing import Any

import pytest

from kaito.adapters.fake.container_phases import ContainerPlan, Failure, Member, Phase
from kaito.adapters.fake.engine import Engine
from kaito.adapters.fake.probes import grace_s, outcome_from_now
from kaito.adapters.kube_api import NODE as NODES
from kaito.adapters.kube_api import POD, STATEFUL_SET, KubeObject, is_true
from tests.unit.adapters.fake.cluster import Cluster, Script, container
from tests.unit.adapters.fake.test_engine import NODE, VLLM, engine

HOST = "g-0.g-headless.default.svc"
PROBE = {"exec": {"command": ["check"]}, "periodSeconds": 10}
PROBES = {
    "startupProbe": {**PROBE, "failureThreshold": 60},
    "livenessProbe": {**PROBE, "failureThreshold": 3, "terminationGracePeriodSeconds": 1},
    "readinessProbe": {**PROBE, "failureThreshold": 1},
}
RAY_S, LOAD_S = 5.0, 60.0
BEGIN_S = 20.0  # the image is there after 10 s, and Ray on all machines by then
SERVES_S = 10.0 + RAY_S + LOAD_S


class GroupScript(Script):
    """Ray and a server in each pod of the StatefulSet `g`, three in all unless told otherwise."""

    size = 3

    def plan(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> ContainerPlan:
        rank = int(pod["metadata"]["name"].rpartition("-")[2])
        phases = (Phase("Ray start", RAY_S), Phase("Ray group", 0.0, waits_for_group=True))
        if rank == 0:
            phases = (*phases, Phase("weights load", LOAD_S))
        return ContainerPlan(phases=phases, member=Member(leader_host=HOST, rank=rank, size=3))


@pytest.fixture
def group() -> Cluster:
    """Three nodes and three pods, not run yet."""
    cluster = Cluster(GroupScript())
    for number in range(3):
        cluster.add_node(f"n{number}")
    pod = {"containers": [container("main", **PROBES)]}
    cluster.add_stateful_set("g", pod=pod, replicas=3)
    return cluster


def ready(cluster: Cluster) -> list[bool]:
    return [is_true(cluster.pod(f"g-{rank}"), "Ready") for rank in range(3)]


def restarts(cluster: Cluster, members: int = 3) -> list[int]:
    return [
        cluster.pod(f"g-{rank}")["status"]["containerStatuses"][0]["restartCount"]
        for rank in range(members)
    ]


def die(cluster: Cluster, rank: int) -> None:
    failure = Failure(exit_code=1, message="boom")
    cluster.kubelet.crash(("default", f"g-{rank}"), "main", failure, cluster.loop.now_s)


def test_all_become_ready_when_the_leader_serves(group: Cluster) -> None:
    group.run_until_s(SERVES_S - 1)
    assert ready(group) == [False] * 3
    group.run_until_s(SERVES_S + 10)
    assert ready(group) == [True] * 3
    load = next(one for one in group.recorder.phases if one.name == "weights load")
    assert (load.subject, load.start_s) == ("Pod/default/g-0", 10.0 + RAY_S)
    waits = [one for one in group.recorder.phases if one.name == "Ray group"]
    assert {one.subject: one.end_s for one in waits} == {
        "Pod/default/g-0": 10.0 + RAY_S,
        "Pod/default/g-1": SERVES_S,
        "Pod/default/g-2": SERVES_S,
    }


def test_the_leader_waits_for_a_member_that_has_no_node_yet() -> None:
    cluster = Cluster(GroupScript())
    for number in range(2):
        cluster.add_node(f"n{number}")
    cluster.add_stateful_set("g", pod={"containers": [container("main", **PROBES)]}, replicas=3)
    cluster.run(300)
    assert "weights load" not in cluster.recorder.names("g-0")
    assert restarts(cluster, members=2) == [0, 0]
    assert [one.name for one in cluster.kubelet.pending()] == ["Ray group", "Ray group"]
    cluster.add_node("n2")
    cluster.run(120)
    assert ready(cluster) == [True] * 3


def test_a_member_lost_while_loading_ends_the_leaders_server(group: Cluster) -> None:
    group.run_until_s(BEGIN_S)
    die(group, 2)
    group.run(1)
    assert restarts(group) == [1, 0, 1], "who only waited goes on waiting"
    ended = group.pod("g-0")["status"]["containerStatuses"][0]["lastState"]["terminated"]
    assert (ended["exitCode"], ended["message"]) == (
        1,
        "a Ray actor died while the model was being loaded",
    )
    group.run(LOAD_S + 30)
    assert ready(group) == [True] * 3


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_member_lost_while_serving_restarts_the_group(group: Cluster, rank: int) -> None:
    group.run_until_s(120)
    assert ready(group) == [True] * 3
    die(group, rank)
    group.run(45)
    assert ready(group) == [False] * 3
    assert min(restarts(group)) >= 1
    group.run(300)
    assert ready(group) == [True] * 3


@pytest.mark.parametrize("rank", [0, 1])
def test_a_pod_that_is_deleted_is_a_member_lost(group: Cluster, rank: int) -> None:
    group.run_until_s(120)
    group.api.delete(POD, f"g-{rank}", "default")
    group.run(45)
    assert ready(group) == [False] * 3
    group.run(300)
    assert ready(group) == [True] * 3


def test_a_node_that_is_gone_is_a_member_lost(group: Cluster) -> None:
    group.run_until_s(120)
    lost = group.pod("g-1")["spec"]["nodeName"]
    group.dead_nodes.add(lost)
    group.api.patch(NODES, lost, None, {"metadata": {"labels": {"seen": "dead"}}})
    group.run(60)
    assert not is_true(group.pod("g-0"), "Ready")
    assert not is_true(group.pod("g-2"), "Ready")


def test_a_group_that_ends_leaves_nothing_waiting(group: Cluster) -> None:
    group.run_until_s(120)
    group.api.delete(STATEFUL_SET, "g", "default", propagation="Foreground")
    group.run(60)
    assert group.pods() == []
    assert group.kubelet.pending() == []


def test_a_member_that_never_meets_the_others_is_started_again() -> None:
    """The startup probe gives up at its 60th look."""
    cluster = Cluster(GroupScript())
    cluster.add_node("n0")
    cluster.add_stateful_set("g", pod={"containers": [container("main", **PROBES)]}, replicas=3)
    cluster.run_until_s(10 + 590 - 1)
    assert restarts(cluster, members=1) == [0]
    cluster.run(20)
    assert restarts(cluster, members=1) == [1]


# --- what an engine makes of it ---


def member_container(script: str, *args: str, **more: Any) -> dict[str, Any]:
    return container("main", command=["/bin/sh", "-c", script], args=list(args), **more)


def member_pod(rank: int, main: dict[str, Any]) -> KubeObject:
    metadata = {"namespace": "default", "name": f"llama-{rank}"}
    return {"metadata": metadata, "spec": {"containers": [main]}}


LLAMA = "--model=meta-llama/Llama-3.3-70B-Instruct"
SPLIT = ["--tensor-parallel-size=2", "--pipeline-parallel-size=2"]
OURS = member_container(
    'exec "$@"',
    "ray-group",
    "--ray_cluster_size=2",
    f"--ray_address={HOST}",
    *VLLM,
    LLAMA,
    *SPLIT,
)
KAITOS = member_container(
    'if [ "${POD_INDEX}" = "0" ]; then /workspace/vllm/multi-node-serving.sh leader'
    f" --ray_cluster_size=2 --ray_port=6379; {' '.join([*VLLM, LLAMA, *SPLIT])};"
    f" else /workspace/vllm/multi-node-serving.sh worker --ray_address={HOST} --ray_port=6379; fi"
)


@pytest.mark.parametrize("main", [OURS, KAITOS], ids=["kaito's", "KAITO's"])
def test_the_leader_loads_for_all_and_the_others_wait(main: dict[str, Any]) -> None:
    def plan(subject: Engine, rank: int) -> ContainerPlan:
        return subject.plan(NODE, member_pod(rank, main), "main", "image")

    leader, other = plan(engine(), 0), plan(engine(), 1)
    assert leader.member == Member(leader_host=HOST, rank=0, size=2)
    assert other.member == Member(leader_host=HOST, rank=1, size=2)
    names = [phase.name for phase in leader.phases]
    assert names[:5] == [
        "Ray start",
        "Ray group",
        "engine init",
        "weights download",
        "weights load",
    ]
    assert leader.phases[1].waits_for_group
    assert leader.phases[4].detail == "32.8 GiB on each of 4 GPUs"
    assert [phase.name for phase in other.phases] == ["Ray start", "Ray group"]
    assert other.phases[1].waits_for_group


def test_the_slowest_machine_decides_when_the_weights_are_there() -> None:
    alone = member_container('exec "$@"', "x", *VLLM, LLAMA, *SPLIT)

    def download_s(main: dict[str, Any], seed: int) -> float:
        found = engine(seed).plan(NODE, member_pod(0, main), "main", "image")
        return next(one.duration_s for one in found.phases if one.name == "weights download")

    seeds = range(40)
    mean_of_one = sum(download_s(alone, seed) for seed in seeds) / 40
    mean_of_two = sum(download_s(OURS, seed) for seed in seeds) / 40
    assert mean_of_two > 1.1 * mean_of_one


def test_only_pods_of_a_stateful_set_have_a_place() -> None:
    bare = member_pod(0, OURS)
    named = {**bare, "metadata": {"namespace": "default", "name": "llama"}}
    assert engine().plan(NODE, named, "main", "image").member is None
    alone = member_container('exec "$@"', "x", *VLLM, LLAMA)
    assert engine().plan(NODE, member_pod(0, alone), "main", "image").member is None


# --- probes of what depends on others ---


def outcome(**looks: Any) -> tuple[float | None, float | None, float | None, str]:
    known: dict[str, Any] = {"started": True, "answers_s": None, "silent_s": None, "dead_s": None}
    found = outcome_from_now(PROBES, 0.0, **(known | looks))
    return found.ready_s, found.unready_s, found.killed_s, found.killed_by


def test_what_probes_find_when_others_change() -> None:
    assert outcome(answers_s=42.0) == (50.0, None, None, "")
    assert outcome(silent_s=42.0) == (None, 50.0, None, "")
    assert outcome(silent_s=42.0, dead_s=42.0) == (None, 50.0, 70.0, "liveness")
    assert outcome(answers_s=42.0, dead_s=55.0) == (50.0, None, 80.0, "liveness")


def test_liveness_is_asked_once_it_has_started() -> None:
    assert outcome(started=False, silent_s=0.0, dead_s=0.0) == (None, None, 590.0, "startup")
    found = outcome(started=False, answers_s=100.0, dead_s=20.0)
    assert found == (100.0, None, 120.0, "liveness")


def test_without_probes_it_is_ready_and_never_killed() -> None:
    found = outcome_from_now({}, 0.0, started=True, answers_s=None, silent_s=5.0, dead_s=5.0)
    assert (found.ready_s, found.unready_s, found.killed_s) == (None, None, None)
    found = outcome_from_now({}, 0.0, started=False, answers_s=7.0, silent_s=None, dead_s=None)
    assert (found.started_s, found.ready_s) == (0.0, 0.0)


def test_a_probe_may_have_a_grace_period_of_its_own() -> None:
    pod = {"spec": {"terminationGracePeriodSeconds": 30}}
    assert grace_s(pod, PROBES, "liveness") == 1.0
    assert grace_s(pod, PROBES, "startup") == 30.0
