"""The operator dies before each of its writes in turn, and comes back: the end is the same."""

from collections.abc import Callable

import pytest

from kaito.adapters.fake.cloud_faults import CloudVerb
from kaito.adapters.fake.faults import FailAfter, Fault, Verb
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    condition_of,
    labels_of,
    name_of,
)
from sim.operator import ProcessDied
from sim.result import RunResult
from sim.world import World
from tests.simulation.checked_run import (
    QUICKSTARTS,
    deletion,
    quickstart,
    run_checked,
    with_steps,
)

SEED = 3
DELETE_AT_S = 1500.0
READS = {"get", "list", "watch", "list_machines"}
Record = Callable[[str, object], None]
PARTS = 4  # the writes are shared out among so many tests, which may run side by side


class Deaths:
    """Ends the operator's process at one of its writes, to Kubernetes or to the cloud."""

    def __init__(self, at_write: int, fault: Fault | None = None) -> None:
        self.writes = 0
        self._at_write = at_write
        self._fault = fault
        self._world: World | None = None
        self.found = ""  # what there was when it happened

    def install(self, world: World) -> None:
        self._world = world
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
        assert self._world is not None, "installed"
        self.found = state_of(self._world, verb)
        if self._fault is None:
            raise ProcessDied
        return self._fault


def state_of(world: World, verb: str) -> str:
    """When the operator died at which write, how the Workspace stood, and its machines."""
    workspaces = world.objects(WORKSPACE)
    done = condition_of(workspaces[0], "WorkspaceSucceeded") if workspaces else None
    stood = done["reason"] if done else "no status" if workspaces else "gone"
    machines = len(world.running_machines())
    return f"{world.now_s():8.1f} s  {verb:14}  {stood:18}  {machines} machines"


def row(at_write: int, deaths: Deaths, outcome: str) -> str:
    """A line of the table that the tests record."""
    return f"write {at_write:3}  {deaths.found}  -> {outcome}"


def end_of(world: World) -> dict[str, list[str]]:
    """What there is at the end; of a Job's pods, whose names are drawn, whose they are."""
    kinds = (NODE, NODE_CLAIM, SERVICE, STATEFUL_SET, JOB, CONFIG_MAP, CONTROLLER_REVISION)
    found = {kind.kind: [name_of(obj) for obj in world.objects(kind)] for kind in kinds}
    found[POD.kind] = [labels_of(pod).get("job-name", name_of(pod)) for pod in world.objects(POD)]
    return found


def play(name: str, deaths: Deaths, *, delete: bool) -> tuple[RunResult, World]:
    scenario = quickstart(name)
    if delete:
        scenario = with_steps(scenario, [deletion(scenario, DELETE_AT_S)])
    return run_checked(scenario, seed=SEED, prepare=deaths.install)


def writes_of(name: str, *, delete: bool) -> int:
    deaths = Deaths(at_write=0)
    play(name, deaths, delete=delete)
    return deaths.writes


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("name", QUICKSTARTS)
def test_until_ready(name: str, part: int, fault: Fault | None, record_property: Record) -> None:
    usual, usual_world = play(name, Deaths(at_write=0), delete=False)
    table = [f"{name}, until READY"]
    for at_write in range(1 + part, writes_of(name, delete=False) + 1, PARTS):
        deaths = Deaths(at_write, fault)
        result, world = play(name, deaths, delete=False)
        assert [one.ready for one in result.workspaces] == [True], f"write {at_write}"
        assert end_of(world) == end_of(usual_world), f"write {at_write}"
        assert len(result.machines) == len(usual.machines) == 1, f"write {at_write}"
        table.append(row(at_write, deaths, f"READY at {result.workspaces[0].ready_at_s:.0f} s"))
    record_property("measured", "\n".join(table))


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
@pytest.mark.parametrize("name", QUICKSTARTS)
def test_through_delete(name: str, fault: Fault | None, record_property: Record) -> None:
    first, last = writes_of(name, delete=False), writes_of(name, delete=True)
    assert last > first
    table = [f"{name}, through delete"]
    for at_write in range(first + 1, last + 1):
        deaths = Deaths(at_write, fault)
        result, world = play(name, deaths, delete=True)
        assert world.running_machines() == [], f"write {at_write}"
        assert all(left == [] for left in end_of(world).values()), f"write {at_write}"
        assert [one.deleted_at_s is not None for one in result.workspaces] == [True]
        assert len(result.machines) == 1, f"write {at_write}"
        table.append(row(at_write, deaths, f"gone at {result.workspaces[0].deleted_at_s:.0f} s"))
    record_property("measured", "\n".join(table))
