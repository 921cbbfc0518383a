"""`kaito.sh/rollout: surge`: a change never stops what serves."""

from collections.abc import Callable

import pytest

from kaito.adapters.kube_api import POD, STATEFUL_SET, WORKSPACE, is_true, name_of
from kaito.domain import status as st
from sim.loading import load
from sim.operator import ProcessDied
from sim.result import RunResult
from sim.world import World
from tests.simulation.checked_run import SCENARIOS, run_checked

READS = {"get", "list", "watch", "list_machines"}
PARTS = 2  # the writes are shared out among so many tests, which may run side by side


def play(seed: int, prepare: Callable[[World], None]) -> tuple[RunResult, World]:
    scenario = load([str(SCENARIOS / "surge_rollout.yaml")])
    result, world = run_checked(scenario, seed=seed, prepare=prepare)
    assert [one for one in result.expectations if not one.ok] == []
    return result, world


class Gaps:
    """Looks at every write whether a pod serves, from the first one that does."""

    def __init__(self) -> None:
        self.served = False
        self.down: list[float] = []
        self._world: World | None = None

    def install(self, world: World) -> None:
        self._world = world
        world.kube_fault = self._look

    def _look(self, _verb: str) -> None:
        assert self._world is not None
        serves = any(is_true(pod, "Ready") for pod in self._world.objects(POD))
        self.served = self.served or serves
        if self.served and not serves:
            self.down.append(self._world.now_s())


@pytest.mark.parametrize("seed", range(10))
def test_something_serves_all_the_time(seed: int) -> None:
    gaps = Gaps()
    result, world = play(seed, gaps.install)
    assert gaps.served
    assert gaps.down == []
    assert len(result.machines) == 2
    (stateful_set,) = world.objects(STATEFUL_SET)
    assert stateful_set["spec"]["replicas"] == 1
    assert [name_of(pod) for pod in world.objects(POD)] == [f"{name_of(stateful_set)}-0"]
    assert [one.reason for one in result.warnings] == []


class Deaths(Gaps):
    """Ends the operator's process at one of its writes, too."""

    def __init__(self, at_write: int) -> None:
        super().__init__()
        self.writes = 0
        self._at_write = at_write

    def install(self, world: World) -> None:
        super().install(world)
        world.cloud_fault = self._count
        world.kube_fault = self._look_and_count

    def _look_and_count(self, verb: str) -> None:
        self._look(verb)
        self._count(verb)

    def _count(self, verb: str) -> None:
        if verb in READS:
            return
        self.writes += 1
        if self.writes == self._at_write:
            raise ProcessDied


@pytest.mark.parametrize("part", range(PARTS))
def test_the_operator_may_die_at_any_write_of_it(part: int) -> None:
    usual = Deaths(at_write=0)
    play(3, usual.install)
    for at_write in range(1 + part, usual.writes + 1, PARTS):
        deaths = Deaths(at_write)
        result, world = play(3, deaths.install)
        assert deaths.down == [], f"write {at_write}"
        assert len(result.machines) == 2, f"write {at_write}"
        (workspace,) = world.objects(WORKSPACE)
        assert workspace["status"]["targetNodeCount"] == 1, f"write {at_write}"
        assert is_true(workspace, st.SUCCEEDED), f"write {at_write}"
