"""How fast the twin runs the operator, in units of this machine.

Seconds differ from machine to machine, so each benchmark also reports its ratio to what SimPy alone
does in the same run (`extra_info`), and the ratio is what must not grow.
"""

from time import perf_counter

import pytest
import simpy
from pytest_benchmark.fixture import BenchmarkFixture

from kaito.reconcile import Outcome, Steps, reconcile_machine, reconcile_workspace
from sim.loading import load
from sim.run import simulate
from sim.scenario import Scenario
from tests.simulation.checked_run import SCENARIOS, run_checked

BARE_EVENTS = 20_000
REPEATS = 5
# Generous: several times what they are today.
RUN_LIMIT_EVENTS = 200_000  # a whole run takes less than so many bare events of SimPy
ROUND_LIMIT_EVENTS = 2_000
CHECKS_LIMIT = 3.0


def bare_event_s() -> float:
    """Seconds that SimPy takes for one event of a process that does nothing, the best of a few."""
    best_s = float("inf")
    for _ in range(REPEATS):
        env = simpy.Environment()
        env.process(_ticks(env))
        began_s = perf_counter()
        env.run()
        best_s = min(best_s, perf_counter() - began_s)
    return best_s / BARE_EVENTS


def _ticks(env: simpy.Environment) -> simpy.events.ProcessGenerator:
    for _ in range(BARE_EVENTS):
        yield env.timeout(1.0)


def best_s(benchmark: BenchmarkFixture) -> float:
    """The best time of a benchmark, also where benchmarking is switched off."""
    return float(benchmark.stats.stats.min) if benchmark.stats else 0.0


@pytest.fixture(scope="module")
def quick_start() -> Scenario:
    return load([str(SCENARIOS / "quickstart_phi_3.yaml")])


def test_a_whole_run_of_the_quick_start(benchmark: BenchmarkFixture, quick_start: Scenario) -> None:
    """From `kubectl apply` to READY, every round of the operator included."""
    result = benchmark(simulate, quick_start, seed=1)
    assert result.ok
    bare_events = best_s(benchmark) / bare_event_s()
    benchmark.extra_info["bare SimPy events"] = round(bare_events)
    benchmark.extra_info["simulated seconds"] = result.simulated_s
    assert bare_events < RUN_LIMIT_EVENTS


def test_the_invariants_on_top(benchmark: BenchmarkFixture, quick_start: Scenario) -> None:
    """The same with every invariant checked after every step."""
    benchmark(run_checked, quick_start, seed=1)
    began_s = perf_counter()
    simulate(quick_start, seed=1)
    plain_s = perf_counter() - began_s
    times = best_s(benchmark) / plain_s
    benchmark.extra_info["times the plain run"] = round(times, 2)
    assert times < CHECKS_LIMIT


def test_rounds_that_find_nothing_to_do(benchmark: BenchmarkFixture, quick_start: Scenario) -> None:
    """What a converged Workspace and its machine cost whenever something wakes the operator."""
    _, world = run_checked(quick_start, seed=1)
    ((_, workspace, _),) = world.recorder.workspaces
    (machine,) = world.ports.machines.list_machines()

    def rounds() -> list[Outcome]:
        steps = [
            reconcile_workspace(world.ports, "default", workspace),
            reconcile_machine(world.ports, machine.claim_name),
        ]
        return [_drained(each) for each in steps]

    version = world.store.resource_version
    outcomes = benchmark(rounds)
    assert not any(outcome.failed for outcome in outcomes)
    assert world.store.resource_version == version, "nothing was written"
    bare_events = best_s(benchmark) / bare_event_s()
    benchmark.extra_info["bare SimPy events"] = round(bare_events)
    assert bare_events < ROUND_LIMIT_EVENTS


def _drained(steps: Steps) -> Outcome:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
