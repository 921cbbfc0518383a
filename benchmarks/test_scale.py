"""A thousand Workspaces in the twin: how long, how it grows, what they take in memory.

Times are of the processor, of one core. Seconds differ from machine to machine, so the rate of the
twin is also given in units of what SimPy alone does in the same run; gates are on ratios only.
"""

import gc
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any, Final

import pytest
import simpy
from pytest_benchmark.fixture import BenchmarkFixture

from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import RESOURCES
from sim.loading import load
from sim.result import RunResult
from sim.run import simulate
from sim.scenario import Scenario
from sim.workload_generator import Load, as_yaml, generate
from sim.world import World

WORKSPACES: Final = 1_000
TARGET_S: Final = 10.0  # for so many Workspaces, on one core; told, not enforced
GROWTH_LIMIT: Final = 2.3  # twice the Workspaces take less than so many times as long
MEASURED_IN_MEMORY: Final = (100, 200)
MEMORY_GROWTH_LIMIT: Final = 1.2  # of the bytes that each Workspace takes
BEYOND_LIMIT_KB: Final = 30.0  # for each Workspace, besides its stored objects
BARE_EVENTS: Final = 200_000


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Scenario]:
    folder, catalogue = tmp_path_factory.mktemp("scale"), load_catalogue()

    def make(workspaces: int) -> Scenario:
        file: Path = folder / f"{workspaces}.yaml"
        file.write_text(as_yaml(generate(Load(workspaces=workspaces, seed=1), catalogue)))
        return load([str(file)])

    return make


def bare_events_per_s() -> float:
    """Events of a process that does nothing, per second of the processor."""
    env = simpy.Environment()

    def ticks() -> simpy.events.ProcessGenerator:
        for _ in range(BARE_EVENTS):
            yield env.timeout(1.0)

    env.process(ticks())
    began_s = process_time()
    env.run()
    return BARE_EVENTS / (process_time() - began_s)


class Run:
    """One run, with what it took and how many events SimPy handled for it."""

    def __init__(self, scenario: Scenario) -> None:
        self._steps = 0
        gc.collect()
        began_s = process_time()
        self.result: RunResult = simulate(scenario, observer=self._observe)
        self.took_s = process_time() - began_s
        assert self.result.ok, "every Workspace that stays becomes READY"
        self.events_per_s = self._steps / self.took_s

    def _observe(self, _world: World) -> Callable[[], None]:
        def count() -> None:
            self._steps += 1

        return count


@pytest.mark.benchmark(timer=process_time)
def test_a_thousand_workspaces(
    benchmark: BenchmarkFixture, scenario: Callable[[int], Scenario]
) -> None:
    one, two = scenario(WORKSPACES), scenario(2 * WORKSPACES)
    bare = bare_events_per_s()
    run: Run = benchmark.pedantic(Run, args=(one,), rounds=1)
    double = Run(two)
    bare = (bare + bare_events_per_s()) / 2
    growth = double.took_s / run.took_s
    benchmark.extra_info |= {
        "workspaces": WORKSPACES,
        "seconds": round(run.took_s, 2),
        "times the target": round(run.took_s / TARGET_S, 2),
        "bare SimPy events that take as long": round(run.took_s * bare),
        "twin's event rate / SimPy's bare rate": round(run.events_per_s / bare, 3),
        "time of twice as many / time": round(growth, 2),
    }
    _tell(benchmark.extra_info)
    assert growth < GROWTH_LIMIT


def test_memory_grows_with_the_workspaces(
    benchmark: BenchmarkFixture, scenario: Callable[[int], Scenario]
) -> None:
    """Bytes that Python allocated (tracemalloc) and holds for good; and what is kept besides of the
    rounds of the last minutes, however many Workspaces there are."""
    scenarios = [scenario(workspaces) for workspaces in MEASURED_IN_MEMORY]
    _held_bytes(scenarios[0])  # what is kept once and for all, such as what the catalogue means
    held = benchmark.pedantic(lambda: [_held_bytes(one) for one in scenarios], rounds=1)
    few, many = MEASURED_IN_MEMORY
    busy, total, own = (
        (after - before) / (many - few) / 1000 for before, after in zip(*held, strict=True)
    )
    benchmark.extra_info |= {
        "KB for each Workspace": round(total, 1),
        "of which its own objects": round(own, 1),
        "beyond its objects": round(total - own, 1),
        "of recent rounds, let go unless used": round(busy - total, 1),
    }
    _tell(benchmark.extra_info)
    assert held[1][1] / held[0][1] < MEMORY_GROWTH_LIMIT * many / few
    assert total - own < BEYOND_LIMIT_KB


def _held_bytes(scenario: Scenario) -> tuple[int, int, int]:
    """What a run holds at its end, what of it for good, and what of that the objects take."""
    kept: list[World] = []

    def observe(world: World) -> Callable[[], None]:
        kept.append(world)
        return lambda: None

    gc.collect()
    tracemalloc.start()
    try:
        simulate(scenario, observer=observe)
        gc.collect()
        busy, _peak = tracemalloc.get_traced_memory()
        _forget(kept[0])
        gc.collect()
        total, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    seen: set[int] = set()
    stored = [kept[0].objects(resource) for resource in RESOURCES]
    return busy, total, sum(_size(obj, seen) for objects in stored for obj in objects)


def _forget(world: World) -> None:
    """What otherwise happens every few minutes: a thing is kept while it was used since the last
    time (`RecentlyUsed`), and the store keeps what changed since then."""
    for _ in range(2):
        world.ports.forget_unused()
    world.store.compact(world.store.resource_version)


def _size(value: Any, seen: set[int]) -> int:
    """Bytes of a JSON value; what is shared counts once."""
    if id(value) in seen:
        return 0
    seen.add(id(value))
    below: list[Any] = []
    if isinstance(value, dict):
        below = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        below = value
    return sys.getsizeof(value) + sum(_size(one, seen) for one in below)


def _tell(figures: dict[str, Any]) -> None:
    print()  # noqa: T201  # what the benchmark is for
    for name, value in figures.items():
        print(f"  {name}: {value}")  # noqa: T201
