"""The operator dies before each of its writes in turn, and comes back: the end is the same."""

import pytest

from kaito.adapters.fake.cloud_faults import CloudVerb
from kaito.adapters.fake.faults import FailAfter, Fault, Verb
from kaito.adapters.kube_api import NODE, NODE_CLAIM, POD, SERVICE, STATEFUL_SET, name_of
from sim.operator import ProcessDied
from sim.result import RunResult
from sim.world import World
from tests.simulation.checked_run import deletion, quickstart, run_checked, with_steps

SEED = 3
DELETE_AT_S = 1500.0
READS = {"get", "list", "watch", "list_machines"}
PARTS = 4  # the writes are shared out among so many tests, which may run side by side


class Deaths:
    """Ends the operator's process at one of its writes, to Kubernetes or to the cloud."""

    def __init__(self, at_write: int, fault: Fault | None = None) -> None:
        self.writes = 0
        self._at_write = at_write
        self._fault = fault

    def install(self, world: World) -> None:
        world.kube_fault = self._kube
        world.cloud_fault = self._cloud

    def _kube(self, verb: Verb) -> Fault | None:
        return self._count(verb)

    def _cloud(self, verb: CloudVerb) -> Fault | None:
        return self._count(verb)

    def _count(self, verb: str) -> Fault | None:
        if verb in READS:
            return None
        self.writes += 1
        if self.writes != self._at_write:
            return None
        if self._fault is None:
            raise ProcessDied
        return self._fault


def end_of(world: World) -> dict[str, list[str]]:
    """What there is at the end."""
    kinds = (NODE, NODE_CLAIM, POD, SERVICE, STATEFUL_SET)
    return {kind.kind: [name_of(obj) for obj in world.objects(kind)] for kind in kinds}


def play(deaths: Deaths, *, delete: bool) -> tuple[RunResult, World]:
    scenario = quickstart()
    if delete:
        scenario = with_steps(scenario, [deletion(scenario, DELETE_AT_S)])
    return run_checked(scenario, seed=SEED, prepare=deaths.install)


def writes_of(*, delete: bool) -> int:
    deaths = Deaths(at_write=0)
    play(deaths, delete=delete)
    return deaths.writes


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
@pytest.mark.parametrize("part", range(PARTS))
def test_until_ready(part: int, fault: Fault | None) -> None:
    usual, usual_world = play(Deaths(at_write=0), delete=False)
    for at_write in range(1 + part, writes_of(delete=False) + 1, PARTS):
        result, world = play(Deaths(at_write, fault), delete=False)
        assert [one.ready for one in result.workspaces] == [True], f"write {at_write}"
        assert end_of(world) == end_of(usual_world), f"write {at_write}"
        assert len(result.machines) == len(usual.machines) == 1, f"write {at_write}"


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
def test_through_delete(fault: Fault | None) -> None:
    first, last = writes_of(delete=False), writes_of(delete=True)
    assert last > first
    for at_write in range(first + 1, last + 1):
        result, world = play(Deaths(at_write, fault), delete=True)
        assert world.running_machines() == [], f"write {at_write}"
        assert all(left == [] for left in end_of(world).values()), f"write {at_write}"
        assert [one.deleted_at_s is not None for one in result.workspaces] == [True]
        assert len(result.machines) == 1, f"write {at_write}"
