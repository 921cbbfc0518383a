"""Workspaces on Nodes that users bring: no machine is bought, and nothing moves without need."""

from collections.abc import Mapping
from typing import Any

import pytest

from kaito.adapters.fake.faults import FailAfter, Fault, StaleBy, Verb
from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import (
    EVENT,
    NODE,
    NODE_CLAIM,
    POD,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    condition_of,
    labels_of,
    name_of,
)
from kaito.domain import labels
from kaito.domain.provisioner import Provisioner
from sim.checked import BACKOFF_S
from sim.event_log import EventLog
from sim.invariants import Invariants
from sim.operator import ProcessDied
from sim.recorder import is_ready
from sim.scenario import World as WorldSettings
from sim.world import World
from tests.simulation.interleaving import LATENCIES_S

CATALOGUE = load_catalogue()
NAMESPACE, NAME = "default", "phi"
SOON_S = 120.0  # image, weights and engine take 20 s
A10 = {labels.GPU_PRODUCT: "NVIDIA-A10", labels.GPU_COUNT: "1", labels.GPU_MEMORY: "23028"}
FOUR_T4 = {labels.GPU_PRODUCT: "Tesla-T4", labels.GPU_COUNT: "4", labels.GPU_MEMORY: "15360"}
MINE = {"apps": "phi"}
READS = {"get", "list", "watch"}


class Play:
    """A world without a cloud; counts the operator's writes and holds it to the invariants."""

    def __init__(self, **resource: Any) -> None:
        self.world = World(
            seed=1,
            catalogue=CATALOGUE,
            settings=WorldSettings(latencies_s=LATENCIES_S, provisioner=Provisioner.BYO),
            log=EventLog(None),
            stale_reads=True,
        )
        self.store = self.world.store
        self.writes = 0
        self.invariants = Invariants(self.world)
        self.world.kube_fault = self._count
        self.resource = {"labelSelector": {"matchLabels": MINE}} | resource
        self.world.operator.start()

    def node(self, name: str, gpus: Mapping[str, str], *, allocatable: int = -1) -> None:
        """A Node joins. Without `allocatable`, all GPUs that its labels speak of are."""
        count = allocatable if allocatable >= 0 else int(gpus[labels.GPU_COUNT])
        own = {**MINE, **gpus, labels.HOSTNAME: name}
        status = {
            "allocatable": {"cpu": "16", "memory": "200Gi", "pods": "110"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.4"}],
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        self.store.create(NODE, {"metadata": {"name": name, "labels": own}, "status": status})
        self.allocate(name, count)

    def allocate(self, name: str, count: int) -> None:
        """The device plugin tells the kubelet of so many GPUs."""
        found = {"nvidia.com/gpu": str(count)} if count else {"nvidia.com/gpu": None}
        patch = {"status": {"allocatable": found, "capacity": found}}
        self.store.patch(NODE, name, None, patch, subresource="status")

    def ready(self, name: str, *, yes: bool) -> None:
        """The Node's kubelet is heard of, or not."""
        conditions = [{"type": "Ready", "status": str(yes)}]
        patch = {"status": {"conditions": conditions}}
        self.store.patch(NODE, name, None, patch, subresource="status")

    def apply(self) -> None:
        body = {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "resource": self.resource,
            "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
        }
        self.store.create(WORKSPACE, body)

    def run(self, seconds: float) -> None:
        end_s = self.world.env.now + seconds
        while self.world.env.now < end_s:
            self.world.env.run(until=min(self.world.env.now + 5.0, end_s))
            assert self.invariants.check() == []
        assert self.world.cloud.lives == []
        assert self.world.objects(NODE_CLAIM) == ()

    def workspace(self) -> KubeObject:
        return self.store.get(WORKSPACE, NAME, NAMESPACE)

    def serves_on(self) -> list[str]:
        """The Nodes of the pods, if the Workspace is READY."""
        pods = [pod["spec"].get("nodeName", "") for pod in self.world.objects(POD)]
        found = self.workspace()
        assert not is_ready(found) or found["status"]["workerNodes"] == sorted(pods)
        return pods if is_ready(found) else []

    def waits_for(self) -> tuple[str, str]:
        """Reason and message of ResourceReady, which is not True."""
        found = condition_of(self.workspace(), "ResourceReady")
        assert found is not None
        assert found["status"] == "False"
        return str(found["reason"]), str(found["message"])

    def uids(self) -> list[tuple[str, int]]:
        """The StatefulSet and its generation, and the pods."""
        found = [*self.world.objects(STATEFUL_SET), *self.world.objects(POD)]
        return [(one["metadata"]["uid"], one["metadata"].get("generation", 0)) for one in found]

    def events(self) -> list[str]:
        """Reasons of the Workspace's events, each once."""
        events = self.store.list(EVENT).items
        return [one["reason"] for one in events if one["involvedObject"]["kind"] == "Workspace"]

    def _count(self, verb: Verb) -> Fault | None:
        self.writes += verb not in READS
        return None


def serving(*nodes: str, **resource: Any) -> Play:
    play = Play(**resource)
    for name in nodes:
        play.node(name, A10)
    play.apply()
    play.run(SOON_S)
    assert play.serves_on() == [nodes[0]]
    return play


def test_ready_on_a_node_that_is_there_and_then_quiet() -> None:
    play = serving("gpu-0", "gpu-1")
    found = play.workspace()
    kinds = {one["type"] for one in found["status"]["conditions"]}
    assert "NodeClaimReady" not in kinds
    assert "finalizers" not in found["metadata"], "there is nothing to release"
    assert found["status"]["targetNodeCount"] == 1
    written = play.writes
    play.run(900.0)
    assert play.writes == written


def test_deleting_it_leaves_the_nodes_alone() -> None:
    play = serving("gpu-0")
    before = play.world.objects(NODE)
    play.store.delete(WORKSPACE, NAME, NAMESPACE)
    play.run(SOON_S)
    assert play.invariants.leftovers() == []
    assert play.world.objects(STATEFUL_SET) == play.world.objects(POD) == ()
    assert play.world.objects(NODE) == before


def test_nodes_that_come_later_are_used_at_once() -> None:
    play = Play()
    play.apply()
    play.run(30.0)
    assert play.waits_for() == (
        "NodesNotFound",
        "no Node has apps=phi. Label GPU Nodes: kubectl label node NAME apps=phi",
    )
    assert play.workspace()["status"]["state"] == "Pending"
    play.node("gpu-0", A10)
    play.run(1.0)
    assert play.world.objects(STATEFUL_SET), "a change of a Node wakes the Workspace"
    play.run(SOON_S)
    assert play.serves_on() == ["gpu-0"]
    assert play.events().count("NodesNotFound") == 1


def test_a_driver_that_is_late() -> None:
    play = Play()
    play.node("gpu-0", A10, allocatable=0)
    play.apply()
    play.run(60.0)
    reason, message = play.waits_for()
    assert reason == "NodesWithoutGpus"
    assert "gpu-0 has 1 x NVIDIA A10, of which 0 can be allocated. Install" in message
    assert play.world.objects(STATEFUL_SET) == ()
    play.allocate("gpu-0", 1)
    play.run(1.0)
    assert play.world.objects(STATEFUL_SET)
    play.run(SOON_S)
    assert play.serves_on() == ["gpu-0"]


def test_a_bad_node_does_not_hold_up_the_good_one() -> None:
    play = Play()
    play.node("bad-0", A10)
    play.ready("bad-0", yes=False)
    play.node("bad-1", A10, allocatable=0)
    play.node("bad-2", {labels.GPU_PRODUCT: "NVIDIA-Unheard-Of", labels.GPU_COUNT: "1"})
    play.node("good", A10)
    play.apply()
    play.run(SOON_S)
    assert play.serves_on() == ["good"]


def test_a_preferred_node_is_taken_and_another_one_when_it_is_bad() -> None:
    play = serving("gpu-1", "gpu-0", "gpu-2", preferredNodes=["gpu-1"])
    assert play.serves_on() == ["gpu-1"]
    other = Play(preferredNodes=["gpu-1"])
    other.node("gpu-0", A10)
    other.node("gpu-1", A10, allocatable=0)
    other.apply()
    other.run(SOON_S)
    assert other.serves_on() == ["gpu-0"]


def test_a_node_that_reboots_changes_nothing_of_the_workload() -> None:
    play = serving("gpu-0")
    before = play.uids()
    play.ready("gpu-0", yes=False)
    play.run(20.0)
    assert play.waits_for()[0] == "NodesNotReady"
    assert play.uids() == before
    play.ready("gpu-0", yes=True)
    play.run(30.0)
    assert play.serves_on() == ["gpu-0"]
    assert play.uids() == before


def test_a_node_that_is_lost_and_comes_back() -> None:
    play = serving("gpu-0")
    (before, *_) = play.uids()
    play.store.delete(NODE, "gpu-0")
    play.run(300.0)
    assert play.serves_on() == []
    assert play.waits_for()[0] == "NodesNotFound"
    assert play.uids()[0] == before, "the StatefulSet waits as it is"
    play.node("gpu-0", A10)
    play.run(SOON_S)
    assert play.serves_on() == ["gpu-0"]
    assert play.uids()[0] == before


def test_other_gpus_do_not_move_it_until_somebody_says_so() -> None:
    play = serving("gpu-0")
    (before, *_) = play.uids()
    play.node("other", FOUR_T4)
    play.run(60.0)
    assert play.serves_on() == ["gpu-0"]
    play.store.delete(NODE, "gpu-0")
    play.run(300.0)
    assert play.uids()[0] == before
    reason, message = play.waits_for()
    assert reason == "NodesNotFound"
    assert "0 of 1 Nodes with 1 x NVIDIA A10 can be used: other has 4 x NVIDIA T4" in message
    assert message.endswith("Delete the StatefulSet phi to have it sized for other Nodes")
    play.store.delete(STATEFUL_SET, NAME, NAMESPACE)
    play.run(SOON_S)
    assert play.serves_on() == ["other"]


def test_nodes_with_different_gpus_wait_for_a_word() -> None:
    play = Play()
    play.node("gpu-0", A10)
    play.node("gpu-1", FOUR_T4)
    play.apply()
    play.run(60.0)
    reason, message = play.waits_for()
    assert reason == "AmbiguousNodes"
    assert "1 x NVIDIA A10 (nvidia.com/gpu.product=NVIDIA-A10): gpu-0" in message
    assert play.world.objects(STATEFUL_SET) == ()
    assert play.events() == ["AmbiguousNodes"]
    preferred = {"resource": {"preferredNodes": ["gpu-1"]}}
    play.store.patch(WORKSPACE, NAME, NAMESPACE, preferred)
    play.run(SOON_S)
    assert play.serves_on() == ["gpu-1"]


def test_a_label_that_is_taken_off_does_not_take_the_pod_away() -> None:
    play = serving("gpu-0", "gpu-1")
    before = play.uids()
    play.store.patch(NODE, "gpu-0", None, {"metadata": {"labels": {"apps": None}}})
    play.run(60.0)
    assert play.serves_on() == ["gpu-0"]
    assert play.uids() == before
    assert "apps" not in labels_of(play.store.get(NODE, "gpu-0"))


def test_heartbeats_wake_nobody() -> None:
    play = serving("gpu-0")
    calls: list[Verb] = []

    def noted(verb: Verb) -> Fault | None:
        calls.append(verb)
        return None

    play.world.kube_fault = noted
    for beat in range(20):
        heartbeat = {"type": "Ready", "status": "True", "message": f"beat {beat}"}
        patch = {"status": {"conditions": [heartbeat]}}
        play.store.patch(NODE, "gpu-0", None, patch, subresource="status")
        play.run(1.0)
    assert calls == []
    play.store.patch(NODE, "gpu-0", None, {"spec": {"unschedulable": True}})
    play.run(1.0)
    assert "get" in calls


def test_the_operator_dies_at_every_write_and_reads_old_states() -> None:
    usual = serving("gpu-0")
    assert usual.writes > 2
    for at_write in range(1, usual.writes + 1):
        for fault in (None, FailAfter()):
            play = Play()
            play.world.kube_fault = dying(at_write, fault)
            play.node("gpu-0", A10)
            play.apply()
            play.run(2 * SOON_S)
            assert play.serves_on() == ["gpu-0"], f"write {at_write}, {fault}"
            assert len(play.world.objects(STATEFUL_SET)) == 1


def dying(at_write: int, fault: Fault | None) -> Any:
    """Ends the operator's process at one of its writes, or loses the answer to it."""
    writes = 0

    def choose(verb: Verb) -> Fault | None:
        nonlocal writes
        writes += verb not in READS
        if verb in READS or writes != at_write:
            return None
        if fault is None:
            writes += 1
            raise ProcessDied
        return fault

    return choose


@pytest.mark.parametrize("lag_s", [1.0, 20.0, 60.0])
def test_old_reads_do_no_harm(lag_s: float) -> None:
    play = Play()
    play.node("gpu-0", A10)
    until_s = play.world.now_s() + 300.0
    # What is said meanwhile may be old; how it ends is not.
    play.invariants = Invariants(play.world, calm_from_s=until_s + BACKOFF_S)

    def stale(verb: Verb) -> Fault | None:
        is_read = verb in {"get", "list"}
        return StaleBy(lag_s) if is_read and play.world.now_s() < until_s else None

    play.world.kube_fault = stale
    play.apply()
    play.run(150.0)
    play.store.delete(NODE, "gpu-0")
    play.run(60.0)
    play.node("gpu-0", A10)
    play.run(500.0)
    assert play.serves_on() == ["gpu-0"]
    assert [name_of(one) for one in play.world.objects(STATEFUL_SET)] == [NAME]
