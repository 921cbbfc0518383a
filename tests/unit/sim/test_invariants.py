"""Each invariant is broken on purpose, and says so."""

from dataclasses import replace
from typing import Any

import pytest

import sim.checked
import sim.run
from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import CONFIG_MAP, NODE, NODE_CLAIM, POD, WORKSPACE
from kaito.domain import labels
from kaito.domain.machine import MachineOrder, Owner
from sim.checked import simulate_checked
from sim.event_log import EventLog
from sim.fault_kinds import ImagePullFailure
from sim.invariants import (
    COST_AFTER_LIMIT_S,
    INVARIANTS,
    UNRECORDED_LIMIT_S,
    UNTRUE_STATUS_LIMIT_S,
    Invariants,
)
from sim.loading import load
from sim.scenario import Apply, Inject
from sim.scenario import World as WorldSettings
from sim.world import World
from tests.simulation.checked_run import SCENARIOS

CATALOGUE = load_catalogue()
HOUR_S = 3600.0
A100 = "Standard_NC24ads_A100_v4"


class Play:
    """A world without an operator, in which everything is done by hand."""

    def __init__(self) -> None:
        self.world = World(
            seed=0, catalogue=CATALOGUE, settings=WorldSettings(), log=EventLog(None), webhook=False
        )
        self.invariants = Invariants(self.world)
        body = {
            "apiVersion": "kaito.sh/v1beta1",
            "kind": "Workspace",
            "metadata": {"name": "ws", "namespace": "default"},
            "resource": {"instanceType": A100, "labelSelector": {"matchLabels": {"a": "b"}}},
            "inference": {"preset": {"name": "phi-4-mini-instruct"}},
        }
        self.workspace = self.world.store.create(WORKSPACE, body)
        self.uid = self.workspace["metadata"]["uid"]

    def wants(self, count: int, **condition: Any) -> None:
        """The status that the operator would have written."""
        said = [{"type": "WorkspaceSucceeded", "lastTransitionTime": "2026-01-01T00:00:00Z"}]
        status = {"targetNodeCount": count} | (
            {"conditions": [said[0] | {"message": "", "reason": "x"} | condition]}
            if condition
            else {}
        )
        patch = {"status": status, "metadata": {"resourceVersion": self._version()}}
        self.world.store.patch(WORKSPACE, "ws", "default", patch, subresource="status")

    def record(self, claim: str) -> None:
        """A NodeClaim of the Workspace's."""
        metadata = {"name": claim, "labels": {labels.WORKSPACE_UID: self.uid}}
        spec = {"nodeClassRef": {"group": "g", "kind": "k", "name": "n"}, "requirements": []}
        body = {
            "apiVersion": NODE_CLAIM.api_version,
            "kind": NODE_CLAIM.kind,
            "metadata": metadata,
            "spec": spec,
        }
        self.world.store.create(NODE_CLAIM, body)

    def order(self, name: str, *, claim: str, slot: int = 0) -> None:
        """A machine for the Workspace."""
        order = MachineOrder(
            name=name,
            claim_name=claim,
            owner=Owner(uid=self.uid, namespace="default", name="ws"),
            instance_type=A100,
            disk_bytes=1 << 37,
            labels={labels.WORKSPACE_UID: self.uid, labels.SLOT: str(slot)},
        )
        self.world.cloud.launch(order)

    def run(self, seconds: float) -> list[str]:
        """What is violated after so many seconds, checked at every second."""
        found = []
        for _ in range(int(seconds)):
            self.world.env.run(until=self.world.env.now + 1.0)
            found += self.invariants.check()
        return found

    def _version(self) -> str:
        found = self.world.store.get(WORKSPACE, "ws", "default")
        return str(found["metadata"]["resourceVersion"])


@pytest.fixture
def play() -> Play:
    return Play()


def test_a_machine_that_is_wanted_and_recorded_is_as_it_should_be(play: Play) -> None:
    play.wants(1)
    play.record("m")
    play.order("m", claim="m")
    assert play.run(900) == []


def test_a_slot_with_two_machines(play: Play) -> None:
    play.wants(2)
    play.record("m")
    play.order("m", claim="m")
    play.order("again", claim="m")
    assert play.run(1) == ["INV-1: slot 0 of Workspace default/ws has 2"]
    assert play.run(60) == [], "it is told once"


def test_more_machines_than_the_status_said(play: Play) -> None:
    play.wants(1)
    for slot in (0, 1):
        play.record(f"m{slot}")
        play.order(f"m{slot}", claim=f"m{slot}", slot=slot)
    assert play.run(1) == ["INV-2: Workspace default/ws has 2 and wants 1"]


def test_a_machine_that_is_given_back_does_not_count(play: Play) -> None:
    play.wants(1)
    play.record("m")
    play.order("m", claim="m")
    play.run(60)
    play.world.cloud.terminate("m")
    play.order("next", claim="m")
    assert play.run(1) == []


def test_a_machine_without_a_record(play: Play) -> None:
    play.wants(1)
    play.order("m", claim="m")
    assert play.run(UNRECORDED_LIMIT_S) == []
    assert play.run(2) == [
        f"INV-3: machine m has no record for more than {UNRECORDED_LIMIT_S:.0f} s"
    ]


def test_a_record_that_comes_late_is_in_time(play: Play) -> None:
    play.wants(1)
    play.order("m", claim="m")
    play.run(UNRECORDED_LIMIT_S - 10)
    play.record("m")
    assert play.run(900) == []


def test_time_counts_from_the_last_fault_on(play: Play) -> None:
    play.wants(1)
    play.order("m", claim="m")
    play.invariants.calm_from_s = 500.0
    assert play.run(500 + UNRECORDED_LIMIT_S) == []
    assert len(play.run(2)) == 1


def test_a_status_that_lies(play: Play) -> None:
    play.wants(1, status="True", observedGeneration=1)
    assert play.run(UNTRUE_STATUS_LIMIT_S) == []
    (said,) = play.run(2)
    assert said.startswith("INV-4: Workspace default/ws is Ready, with 0 of 1 pods ready")


def test_a_status_of_another_generation(play: Play) -> None:
    play.wants(0, status="True", observedGeneration=7)
    (said,) = play.run(UNTRUE_STATUS_LIMIT_S + 2)
    assert "as of generation 7 of 1" in said


def test_a_status_whose_node_is_gone(play: Play) -> None:
    store = play.world.store
    store.create(NODE, {"metadata": {"name": "n"}})
    metadata = {"name": "p", "namespace": "default", "labels": {labels.WORKSPACE: "ws"}}
    store.create(
        POD,
        {
            "metadata": metadata,
            "spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n"},
        },
    )
    ready = [{"type": "Ready", "status": "True"}]
    store.patch(POD, "p", "default", {"status": {"conditions": ready}}, subresource="status")
    play.wants(1, status="True", observedGeneration=1)
    invariants = Invariants(play.world)
    assert invariants.check() == []
    store.delete(NODE, "n")
    invariants.check()
    play.invariants = invariants
    found = [text for text in play.run(UNTRUE_STATUS_LIMIT_S + 2) if "INV-4" in text]
    assert len(found) == 1


def test_a_workspace_that_is_gone_and_costs(play: Play) -> None:
    play.wants(1)
    play.record("m")
    play.order("m", claim="m")
    play.run(1)
    play.world.store.delete(WORKSPACE, "ws", "default")
    assert play.run(COST_AFTER_LIMIT_S) == []
    (said,) = play.run(2)
    assert said.startswith("INV-5: machine m costs, Workspace default/ws is gone")


def test_what_is_left_of_a_workspace(play: Play) -> None:
    play.record("m")
    play.order("m", claim="m")
    owner = {"apiVersion": "kaito.sh/v1beta1", "kind": "Workspace", "name": "ws", "uid": play.uid}
    metadata = {"name": "c", "namespace": "default", "ownerReferences": [owner]}
    play.world.store.create(CONFIG_MAP, {"metadata": metadata})
    assert play.invariants.leftovers() == []
    play.world.store.delete(WORKSPACE, "ws", "default")
    assert play.invariants.leftovers() == [
        "INV-6: machine m of Workspace default/ws is left",
        "INV-6: NodeClaim m is left",
        "INV-6: ConfigMap default/c is left",
    ]


def test_a_run_that_never_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image is never there. An hour says it as well as the day that a run may last."""
    for module in (sim.run, sim.checked):
        monkeypatch.setattr(module, "LONGEST_S", HOUR_S)
    loaded = load([str(SCENARIOS / "image_registry_down.yaml")])
    fault = ImagePullFailure.model_validate({"kind": "image-pull-failure", "for": "10d"})
    inject = Inject(at_s=60.0, fault=fault, source="test")
    steps = (*(step for step in loaded.steps if isinstance(step, Apply)), inject)
    result = simulate_checked(replace(loaded, steps=steps, expectations=()))
    assert result.violations == ("INV-7: no rest after 3600 s",)
    assert not result.ok


def test_every_invariant_has_a_number_and_a_sentence() -> None:
    assert list(INVARIANTS) == [f"INV-{number}" for number in range(1, len(INVARIANTS) + 1)]
    assert all(sentence.endswith(".") for sentence in INVARIANTS.values())
