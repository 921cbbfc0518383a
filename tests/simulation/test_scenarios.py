"""Every scenario that we ship: what it expects comes true, and its report adds up."""

from itertools import pairwise
from pathlib import Path

import pytest

from kaito.adapters.files import load_catalogue
from sim.checked import calm_from_s
from sim.loading import load
from sim.result import Phase, RunResult, WorkspaceResult
from tests.simulation.checked_run import (
    SCENARIO_FILES,
    deletion,
    price_usd_per_hour,
    quickstart,
    run_checked,
    with_steps,
)

SEEDS = range(5)
CATALOGUE = load_catalogue()
# Each begins when the one before it has ended, give or take what the operator needs to notice.
MACHINE_PHASES = ("machine order", "node provision", "GPU driver")
POD_PHASES = ("image pull", "weights download", "weights load", "engine init")
NOTICE_S = 60.0
RELEASE_S = 180.0  # the longest; an order that the cloud does not list yet is not waited for


@pytest.fixture(params=SCENARIO_FILES, ids=lambda path: path.stem)
def scenario_file(request: pytest.FixtureRequest) -> Path:
    found = request.param
    assert isinstance(found, Path)
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_scenario_expects_comes_true(scenario_file: Path, seed: int) -> None:
    scenario = load([str(scenario_file)])
    result, _ = run_checked(scenario, seed=seed, calm_from_s=calm_from_s(scenario))
    assert result.expectations, "a scenario expects something"
    assert [one for one in result.expectations if not one.ok] == []
    assert_adds_up(result)


def assert_adds_up(result: RunResult) -> None:
    """Phases lie within the run and in order; money is price times hours."""
    for workspace in result.workspaces:
        for phase in workspace.phases:
            assert phase.end_s is not None, f"{phase.name} still runs"
            assert workspace.created_at_s <= phase.start_s <= phase.end_s <= result.simulated_s
        starts = [phase.start_s for phase in workspace.phases]
        assert starts == sorted(starts)
        mine = f"{workspace.namespace}/{workspace.name}"
        if sum(machine.workspace == mine for machine in result.machines) == 1:
            assert_one_after_another(workspace, MACHINE_PHASES)  # several start side by side
    total_usd = 0.0
    for machine in result.machines:
        end_s = result.simulated_s if machine.released_at_s is None else machine.released_at_s
        instance_type = CATALOGUE.instance_type(machine.instance_type)
        price = price_usd_per_hour(instance_type, machine.capacity_type)
        hours = (end_s - machine.ordered_at_s) / 3600.0
        assert machine.cost_usd == pytest.approx(price * hours)
        total_usd += machine.cost_usd
    assert result.cost_usd == pytest.approx(total_usd)


def phases_named(workspace: WorkspaceResult, names: tuple[str, ...]) -> list[Phase]:
    return [phase for phase in workspace.phases if phase.name in names]


def assert_one_after_another(workspace: WorkspaceResult, names: tuple[str, ...]) -> None:
    for before, after in pairwise(phases_named(workspace, names)):
        assert before.end_s is not None
        assert before.end_s <= after.start_s


@pytest.mark.parametrize("seed", SEEDS)
def test_the_timeline_of_the_quick_start_is_the_time_to_ready(seed: int) -> None:
    result, _ = run_checked(quickstart(), seed=seed)
    (workspace,) = result.workspaces
    (machine,) = result.machines
    assert workspace.ready
    assert workspace.ready_at_s is not None
    chain = phases_named(workspace, MACHINE_PHASES + POD_PHASES)
    assert [phase.name for phase in chain] == [*MACHINE_PHASES, *POD_PHASES]
    assert_one_after_another(workspace, MACHINE_PHASES + POD_PHASES)
    assert machine.ordered_at_s == chain[0].start_s
    assert machine.ready_at_s == chain[2].end_s
    spent_s = sum((phase.end_s or 0.0) - phase.start_s for phase in chain)
    waited_s = workspace.ready_at_s - workspace.created_at_s - spent_s
    assert 0.0 <= waited_s <= NOTICE_S, "the rest is noticing, probes and API calls"


@pytest.mark.parametrize("delete_at_s", [0.0, 0.1, 5.0, 200.0, 420.0, 1800.0])
def test_nothing_is_left_of_what_is_deleted(delete_at_s: float) -> None:
    for seed in SEEDS:
        scenario = with_steps(quickstart(), [deletion(quickstart(), delete_at_s)])
        result, world = run_checked(scenario, seed=seed)
        (workspace,) = result.workspaces
        assert workspace.deleted_at_s is not None
        assert world.running_machines() == []
        for machine in result.machines:
            assert machine.released_at_s is not None
            paid_s = machine.released_at_s - workspace.deleted_at_s
            assert paid_s <= RELEASE_S, "paid for after it was gone"
