"""PodDisruptionBudgets on the twin's object store, with its disruption controller."""

import itertools
from collections.abc import Callable

import pytest

from kaito.adapters.fake.disruption import (
    DISRUPTED_S,
    POD_DISRUPTION_BUDGET,
    BudgetSpent,
    DisruptionController,
)
from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.kube_api import NAMESPACE, POD, ObjectConflict
from tests.contract.disruption_contract import DisruptionContract, DisruptionWorld
from tests.contract.kube_api_world import World

START_S = 1_800_000_000.0


class Clock:
    seconds = START_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def world(clock: Clock) -> DisruptionWorld:
    numbers = itertools.count(1)
    store = ObjectStore(
        now_s=lambda: clock.seconds,
        new_uid=lambda: f"00000000-0000-4000-8000-{next(numbers):012x}",
        resources=(*SERVED, POD_DISRUPTION_BUDGET),
    )
    controller = DisruptionController(store, wake=lambda: None)

    def settle(until: Callable[[], bool] | None = None) -> None:
        controller.step(clock.seconds)
        controller.step(clock.seconds)

    store.create(NAMESPACE, {"metadata": {"name": "test"}})
    kube = World(
        api=store, namespace="test", settle=settle, pause=lambda: None, forget_history=None
    )
    return DisruptionWorld(kube=kube, budgets=POD_DISRUPTION_BUDGET)


class TestDisruption(DisruptionContract):
    """All of it, and what a real controller is too fast or too slow for."""

    def test_a_budget_that_nobody_has_looked_at(self, world: DisruptionWorld) -> None:
        world.pod("one")
        world.budget(minAvailable=0)
        with pytest.raises(BudgetSpent) as told:
            world.evict("one")
        assert told.value.why == (
            "The disruption budget budget is still being processed by the server."
        )
        assert told.value.retry_after_s == 10.0

    def test_why_a_pod_may_not_be_moved(self, world: DisruptionWorld) -> None:
        world.pod("one")
        world.budget(minAvailable=1)
        world.kube.settle()
        with pytest.raises(BudgetSpent) as told:
            world.evict("one")
        assert (
            told.value.why
            == "The disruption budget budget needs 1 healthy pods and has 1 currently"
        )

    def test_an_eviction_that_came_to_nothing_is_forgotten(
        self, world: DisruptionWorld, clock: Clock
    ) -> None:
        world.pod("one")
        world.budget(minAvailable=0)
        world.kube.settle()
        pod = world.kube.get(POD, "one")
        with pytest.raises(ObjectConflict):
            world.kube.api.evict("one", "test", uid="another")
        assert world.counted(disruptionsAllowed=0) == {"disruptionsAllowed": 0}
        assert list(world.status()["disruptedPods"]) == ["one"]
        clock.seconds += DISRUPTED_S
        assert world.counted(disruptionsAllowed=1) == {"disruptionsAllowed": 1}
        assert "disruptedPods" not in world.status()
        assert world.kube.get(POD, "one") == pod

    @pytest.mark.parametrize(("policy", "leaves"), [("AlwaysAllow", True), (None, False)])
    def test_pods_that_are_not_ready(
        self, world: DisruptionWorld, policy: str | None, leaves: bool
    ) -> None:
        world.pod("one", ready=False)
        world.budget(minAvailable=1, unhealthyPodEvictionPolicy=policy)
        world.kube.settle()
        if leaves:
            world.evict("one")
        else:
            with pytest.raises(BudgetSpent):
                world.evict("one")
        assert world.is_leaving("one") == leaves

    def test_one_that_is_not_ready_and_not_needed(self, world: DisruptionWorld) -> None:
        world.pod("one")
        world.pod("two", ready=False)
        world.budget(minAvailable=1)
        world.kube.settle()
        world.evict("two")
        assert world.is_leaving("two")

    def test_without_a_selector_no_pod_is_covered(self, world: DisruptionWorld) -> None:
        world.pod("one")
        world.budget(minAvailable=1, selector=None)
        world.kube.settle()
        assert world.status()["expectedPods"] == 0
        world.evict("one")
        assert world.is_leaving("one")
