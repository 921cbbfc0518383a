"""On AKS the operator dies at each of its requests to Azure in turn, before it is sent or after it
took effect, and comes back with nothing in memory: the end is the same, and no pool is left or made
twice. The real SDK sends them, over TLS to the twin's Azure.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from kaito.domain.machine import CloudState
from sim.loading import load
from sim.result import RunResult
from sim.scenario import Scenario
from sim.world import World
from tests.simulation.aks import AksOperator, Deaths, on_aks
from tests.simulation.checked_run import SCENARIOS, deletion, run_checked, with_steps
from tests.simulation.test_crash_everywhere import end_of

SEED: Final = 3
PARTS: Final = 4  # the requests are shared out among so many tests, which may run side by side
Record = Callable[[str, object], None]


class Case(NamedTuple):
    """A scenario with one Workspace, how many machines it takes, and when it is deleted."""

    scenario: str
    machines: int
    delete_at_s: float


CASES: Final = (Case("quickstart_phi_3", 1, 1000.0), Case("multi_node_70b", 2, 1500.0))


class Life(NamedTuple):
    """One run of a case: the requests of the operator, at which of them it died, and what Azure
    lists at the end."""

    result: RunResult
    world: World
    requests: tuple[str, ...]
    died_at: str
    pools: list[str]


@pytest.fixture
def access(tmp_path: Path) -> Path:
    """Where the credentials for the twin's Azure lie."""
    return tmp_path / "azure"


def play(case: Case, access: Path, deaths: Deaths, *, delete: bool) -> Life:
    loaded = load([str(SCENARIOS / f"{case.scenario}.yaml")])
    scenario = Scenario(files=loaded.files, steps=loaded.steps, catalogue=loaded.catalogue)
    if delete:
        scenario = with_steps(scenario, [deletion(scenario, case.delete_at_s)])
    return play_scenario(scenario, access, deaths)


def play_scenario(scenario: Scenario, access: Path, deaths: Deaths) -> Life:
    operators: list[AksOperator] = []
    with ExitStack() as served:

        def prepare(world: World) -> None:
            operator = served.enter_context(on_aks(world, scenario.catalogue, access, deaths))
            operators.append(operator)
            operator.start()

        result, world = run_checked(scenario, seed=SEED, prepare=prepare)
        (operator,) = operators
        assert operator.unmapped == []
        requests = tuple(deaths.requests)
        return Life(result, world, requests, deaths.died_at, operator.pools())


def row(number: int, life: Life, outcome: str) -> str:
    """A line of the table that the tests record."""
    return f"request {number:3}  {life.died_at:20}  -> {outcome}"


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.scenario)
def test_until_ready(
    case: Case, part: int, after: bool, access: Path, record_property: Record
) -> None:
    usual = play(case, access, Deaths(), delete=False)
    when = "after" if after else "before"
    table = [f"{case.scenario} on AKS, killed {when} a request, until READY"]
    assert len(usual.pools) == case.machines
    for number in range(1 + part, len(usual.requests) + 1, PARTS):
        life = play(case, access, Deaths(number, after=after), delete=False)
        (workspace,) = life.result.workspaces
        assert life.died_at, f"request {number}"
        assert workspace.ready, f"request {number}"
        assert end_of(life.world) == end_of(usual.world), f"request {number}"
        assert life.pools == usual.pools, f"request {number}"
        assert len(life.result.machines) == case.machines, f"request {number}: made twice"
        assert workspace.ready_at_s is not None
        table.append(row(number, life, f"READY at {workspace.ready_at_s:.0f} s"))
    record_property("measured", "\n".join(table))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.scenario)
def test_through_delete(case: Case, after: bool, access: Path, record_property: Record) -> None:
    first = len(play(case, access, Deaths(), delete=False).requests)
    requests = play(case, access, Deaths(), delete=True).requests
    assert sum(request.startswith("DELETE") for request in requests[first:]) == case.machines
    when = "after" if after else "before"
    table = [f"{case.scenario} on AKS, killed {when} a request, through delete"]
    for number in range(first + 1, len(requests) + 1):
        life = play(case, access, Deaths(number, after=after), delete=True)
        assert life.pools == [], f"request {number}"
        assert all(left == [] for left in end_of(life.world).values()), f"request {number}"
        assert all(one.state is CloudState.DELETING for one in life.world.cloud.lives)
        assert len(life.result.machines) == case.machines, f"request {number}: made twice"
        (workspace,) = life.result.workspaces
        assert workspace.deleted_at_s is not None, f"request {number}"
        table.append(row(number, life, f"gone at {workspace.deleted_at_s:.0f} s"))
    record_property("measured", "\n".join(table))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("name", ["stock_out_with_fallback", "spot_eviction"])
def test_from_one_attempt_to_the_next(
    name: str, after: bool, access: Path, record_property: Record
) -> None:
    """Around each request that changes something: one machine goes, and one other comes."""
    scenario = load([str(SCENARIOS / f"{name}.yaml")])
    usual = play_scenario(scenario, access, Deaths())
    assert len(usual.result.machines) == 2
    when = "after" if after else "before"
    table = [f"{name} on AKS, killed {when} a request"]
    for number in around_changes(usual.requests):
        life = play_scenario(scenario, access, Deaths(number, after=after))
        assert [one for one in life.result.expectations if not one.ok] == [], f"request {number}"
        assert life.pools == usual.pools, f"request {number}"
        assert types_of(life) == types_of(usual), f"request {number}"
        ready_at_s = life.result.workspaces[0].ready_at_s
        table.append(row(number, life, f"READY at {ready_at_s:.0f} s"))
    record_property("measured", "\n".join(table))


def around_changes(requests: Sequence[str]) -> list[int]:
    """The requests, counted from 1, that change a pool, with those before and after them."""
    changing = [
        number for number, one in enumerate(requests, 1) if one.startswith(("PUT", "DELETE"))
    ]
    near = {number + step for number in changing for step in (-1, 0, 1)}
    return sorted(near & set(range(1, len(requests) + 1)))


def types_of(life: Life) -> list[tuple[str, str]]:
    return [(one.instance_type, one.capacity_type) for one in life.result.machines]
