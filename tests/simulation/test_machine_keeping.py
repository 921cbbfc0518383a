"""What is kept although it looks lost, and what is given back although it looks wanted: clusters
that are stopped, lists and caches that lag, Nodes with pods on them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from kaito.adapters.fake.disruption import POD_DISRUPTION_BUDGET
from kaito.adapters.fake.faults import Fault, StaleBy, Verb
from kaito.adapters.fake.machine_life import MachineLife
from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import (
    EVENT,
    NODE,
    NODE_CLAIM,
    POD,
    WORKSPACE,
    KubeObject,
    condition_of,
    labels_of,
    name_of,
)
from kaito.domain import labels
from kaito.domain.machine import CloudMachine, CloudState
from kaito.domain.machine_limits import MachineLimits
from sim.event_log import EventLog
from sim.invariants import Invariants
from sim.recorder import is_ready
from sim.scenario import World as WorldSettings
from sim.world import World
from tests.simulation.interleaving import LATENCIES_S
from tests.unit.domain.builders import manifest

CATALOGUE = load_catalogue()
LIMITS = MachineLimits()
HOURS_8 = 8 * 3600.0


class Play:
    """A Workspace that serves, with every invariant looked at while time passes."""

    def __init__(self, seed: int, **resource: Any) -> None:
        self.world = World(
            seed=seed,
            catalogue=CATALOGUE,
            settings=WorldSettings(latencies_s=LATENCIES_S),
            log=EventLog(None),
            stale_reads=True,
        )
        self.stopped: set[str] = set()
        self.hidden_until_s = 0.0
        self._list = self.world.cloud.list_machines
        self.world.cloud.list_machines = self._listed  # type: ignore[method-assign]
        self.invariants = Invariants(self.world)
        document = manifest(metadata={"namespace": "default"}, resource=resource)
        self.world.store.create(WORKSPACE, document)
        self.world.operator.start()
        self.run(300.0)
        assert is_ready(self.workspace())

    def _listed(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
        if self.world.now_s() < self.hidden_until_s:
            return []
        return [
            replace(one, state=CloudState.STOPPED) if one.name in self.stopped else one
            for one in self._list(claim_name)
        ]

    def run(self, seconds: float) -> None:
        end_s = self.world.env.now + seconds
        while self.world.env.now < end_s:
            self.world.env.run(until=min(self.world.env.now + 5.0, end_s))
            assert self.invariants.check() == []

    def workspace(self) -> KubeObject:
        return self.world.store.get(WORKSPACE, "phi", "default")

    def lives(self) -> list[MachineLife]:
        return self.world.running_machines()

    def ordered(self) -> int:
        """How many machines there ever were."""
        return len(self.world.cloud.lives)

    def reasons(self) -> set[str]:
        return {event["reason"] for event in self.world.objects(EVENT)}

    def stop_all(self, *, start_after_s: float, nodes_after_s: float) -> None:
        """`az aks stop`, and later `az aks start`, after which the Nodes need some time."""
        for life in self.lives():
            self.stopped.add(life.order.name)
            self.world.node_faults.hang(life.node_name, for_s=start_after_s + nodes_after_s)
        self.run(start_after_s)
        self.stopped.clear()

    def pod_on(self, life: MachineLife, name: str) -> None:
        """A pod of somebody else."""
        spec = {
            "nodeName": life.node_name,
            "containers": [{"name": "web", "image": "registry.test/web:1"}],
        }
        body = {"metadata": {"name": name, "namespace": "default"}, "spec": spec}
        self.world.store.create(POD, body)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("nodes_after_s", [60.0, LIMITS.unhealthy_s - 30.0])
def test_a_cluster_that_is_stopped_and_started_keeps_its_machines(
    seed: int, nodes_after_s: float
) -> None:
    play = Play(seed)
    before = [life.order.name for life in play.lives()]
    play.stop_all(start_after_s=HOURS_8, nodes_after_s=nodes_after_s)
    (claim,) = play.world.objects(NODE_CLAIM)
    told = condition_of(claim, "Ready")
    assert told is not None
    assert (told["status"], told["reason"]) == ("Unknown", "InstanceStopped")
    assert "InstanceStopped" in play.reasons()
    play.run(nodes_after_s + 300.0)
    assert [life.order.name for life in play.lives()] == before
    assert play.ordered() == len(before)
    assert is_ready(play.workspace())


def test_a_node_that_does_not_come_back_after_the_start_is_replaced() -> None:
    play = Play(0)
    play.stop_all(start_after_s=HOURS_8, nodes_after_s=1e6)
    play.run(LIMITS.unhealthy_s - 60.0)
    assert play.ordered() == 1
    play.run(600.0)
    assert play.ordered() == 2
    assert is_ready(play.workspace())
    assert "NodeUnhealthy" in play.reasons()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("for_s", [20.0, 600.0, 3600.0])
def test_a_cloud_that_lists_nothing_for_a_while_costs_no_machine(seed: int, for_s: float) -> None:
    """A machine that serves is worth more than a list; one is touched all the same to be looked
    at."""
    play = Play(seed)
    play.hidden_until_s = play.world.now_s() + for_s
    (claim,) = play.world.objects(NODE_CLAIM)
    touched = {"metadata": {"labels": {"example.com/touched": "1"}}}
    play.world.store.patch(NODE_CLAIM, name_of(claim), None, touched)
    play.run(for_s + 300.0)
    assert play.ordered() == len(play.lives()) == 1
    assert is_ready(play.workspace())


@pytest.mark.parametrize("lag_s", [300.0, 3600.0])
def test_a_cache_from_before_the_machines_gives_none_of_them_back(lag_s: float) -> None:
    """It shows neither the records nor the Workspaces that they are for."""
    play = Play(0)
    until_s = play.world.now_s() + 600.0

    def stale(verb: Verb) -> Fault | None:
        is_read = verb in {"get", "list"}
        return StaleBy(lag_s) if is_read and play.world.now_s() < until_s else None

    play.world.kube_fault = stale
    play.run(900.0)
    assert play.ordered() == len(play.lives()) == 1
    assert is_ready(play.workspace())


def test_a_machine_whose_record_somebody_took_away_is_taken_up_again() -> None:
    play = Play(0)
    (claim,) = play.world.objects(NODE_CLAIM)
    play.world.store.patch(NODE_CLAIM, name_of(claim), None, {"metadata": {"finalizers": None}})
    play.world.store.delete(NODE_CLAIM, name_of(claim))
    play.run(1200.0)
    assert is_ready(play.workspace())
    assert play.ordered() == len(play.lives()) == 1
    assert play.invariants.leftovers() == []


def test_a_node_is_drained_before_its_machine_is_given_back() -> None:
    play = Play(0)
    (life,) = play.lives()
    play.pod_on(life, "web")
    play.run(30.0)
    (claim,) = play.world.objects(NODE_CLAIM)
    play.world.store.delete(NODE_CLAIM, name_of(claim))
    play.run(3.0)
    node = play.world.store.get(NODE, life.node_name)
    assert "karpenter.sh/disrupted" in {taint["key"] for taint in node["spec"]["taints"]}
    assert life.state is CloudState.RUNNING
    play.run(900.0)
    assert "Draining" in play.reasons()
    assert "DrainTimeout" not in play.reasons()
    assert life.released_at_s is not None
    assert is_ready(play.workspace())
    assert play.ordered() == 2


def test_a_budget_holds_the_machine_until_the_deadline() -> None:
    play = Play(0)
    (life,) = play.lives()
    (pod,) = play.world.objects(POD)
    covered = {labels.WORKSPACE: labels_of(pod)[labels.WORKSPACE]}
    budget = {
        "metadata": {"name": "phi", "namespace": "default"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": covered}},
    }
    play.world.store.create(POD_DISRUPTION_BUDGET, budget)
    (claim,) = play.world.objects(NODE_CLAIM)
    play.world.store.delete(NODE_CLAIM, name_of(claim))
    play.run(LIMITS.drain_s - 15.0)
    assert life.state is CloudState.RUNNING
    assert not any("deletionTimestamp" in pod["metadata"] for pod in play.world.objects(POD))
    play.run(30.0)
    assert life.state is CloudState.DELETING
    assert "DrainTimeout" in play.reasons()
    play.run(900.0)
    assert is_ready(play.workspace())
    assert play.ordered() == 2


def test_a_workspace_that_is_deleted_waits_for_no_drain() -> None:
    play = Play(0)
    (life,) = play.lives()
    play.world.store.delete(WORKSPACE, "phi", "default")
    play.run(3.0)
    assert life.state is CloudState.DELETING
    play.run(120.0)
    assert play.invariants.leftovers() == []
    assert "Draining" not in play.reasons()
