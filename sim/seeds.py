"""Runs scenarios under many seeds, in several processes, with every invariant checked."""

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from kaito.adapters import documents
from kaito.domain.errors import InvalidInput, Problem
from kaito.system_clock import monotonic_s
from sim.checked import simulate_checked
from sim.loading import load
from sim.result import RunResult
from sim.scenario import Scenario

_SEEDS_PER_TASK: Final = 10
_DECIMALS: Final = 6

OnSeeds = Callable[[int, int, int], None]  # runs done, runs in all, failed so far


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedRun:
    """What came of one seed. `why` are the failed expectations and violations; empty: it passed.

    `simulated_s` is virtual time, `cost_usd` all machines' together.
    """

    seed: int
    why: tuple[str, ...]
    simulated_s: float = 0.0
    cost_usd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioSeeds:
    """What came of one scenario's runs, by seed."""

    file: str
    runs: tuple[SeedRun, ...]

    @property
    def failed(self) -> tuple[SeedRun, ...]:
        """The runs in which something was not as expected."""
        return tuple(run for run in self.runs if run.why)

    @property
    def median_simulated_s(self) -> float:
        return median(run.simulated_s for run in self.runs)

    @property
    def median_cost_usd(self) -> float:
        return median(run.cost_usd for run in self.runs)

    @property
    def most_cost_usd(self) -> float:
        return max(run.cost_usd for run in self.runs)

    def replay(self, run: SeedRun) -> str:
        """The command that runs the same again."""
        return shlex.join(["python", "-m", "sim", "run", self.file, "--seed", str(run.seed)])

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "scenario": self.file,
            "seeds": len(self.runs),
            "median_simulated_s": round(self.median_simulated_s, _DECIMALS),
            "median_cost_usd": round(self.median_cost_usd, _DECIMALS),
            "most_cost_usd": round(self.most_cost_usd, _DECIMALS),
            "failed": [
                {**asdict(run), "why": list(run.why), "replay": self.replay(run)}
                for run in self.failed
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedsResult:
    """All scenarios under all seeds. `wall_s` is real time."""

    scenarios: tuple[ScenarioSeeds, ...]
    first_seed: int
    wall_s: float

    @property
    def ok(self) -> bool:
        """Whether no run failed."""
        return not any(scenario.failed for scenario in self.scenarios)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "ok": self.ok,
            "first_seed": self.first_seed,
            "wall_s": round(self.wall_s, _DECIMALS),
            "scenarios": [scenario.to_json() for scenario in self.scenarios],
        }


def load_each(paths: Sequence[str], models: Path | None = None) -> dict[str, Scenario]:
    """Every file, and every file of a directory, as a scenario of its own.

    Raises: InvalidInput with every problem of every file.
    """
    problems: dict[Problem, None] = {}
    found: dict[str, Scenario] = {}
    for path in paths:
        try:
            for file in documents.files_of(path):
                found[file] = load([file], models)
        except InvalidInput as error:
            problems.update(dict.fromkeys(error.problems))
    if problems:
        raise InvalidInput(problems)
    return found


def run_seeds(
    scenarios: dict[str, Scenario],
    *,
    seeds: int,
    first_seed: int = 0,
    until_s: float | None = None,
    jobs: int | None = None,
    on_progress: OnSeeds = lambda _done, _total, _failed: None,
) -> SeedsResult:
    """Run each scenario with `seeds` seeds from `first_seed` on, in `jobs` processes (None: as many
    as there are processors). The result does not depend on how many there are."""
    assert seeds >= 1, seeds
    began_s = monotonic_s()
    runs: dict[str, dict[int, SeedRun]] = {file: {} for file in scenarios}
    total, done, failed = len(scenarios) * seeds, 0, 0
    with ProcessPoolExecutor(max_workers=jobs or os.cpu_count() or 1) as pool:
        tasks: dict[Future[list[SeedRun]], str] = {
            pool.submit(_run_batch, scenarios[file], batch, until_s): file
            for file in scenarios
            for batch in _batches(first_seed, seeds)
        }
        for task in as_completed(tasks):
            batch_runs = task.result()
            runs[tasks[task]].update((run.seed, run) for run in batch_runs)
            done += len(batch_runs)
            failed += sum(bool(run.why) for run in batch_runs)
            on_progress(done, total, failed)
    return SeedsResult(
        scenarios=tuple(
            ScenarioSeeds(file=file, runs=tuple(by_seed[seed] for seed in sorted(by_seed)))
            for file, by_seed in runs.items()
        ),
        first_seed=first_seed,
        wall_s=monotonic_s() - began_s,
    )


def _batches(first: int, count: int) -> Iterator[range]:
    end = first + count
    for start in range(first, end, _SEEDS_PER_TASK):
        yield range(start, min(start + _SEEDS_PER_TASK, end))


def _run_batch(scenario: Scenario, seeds: range, until_s: float | None) -> list[SeedRun]:
    return [_run_one(scenario, seed, until_s) for seed in seeds]


def _run_one(scenario: Scenario, seed: int, until_s: float | None) -> SeedRun:
    """A bug that ends a run must not end the others, and its seed must be told."""
    try:
        result = simulate_checked(scenario, seed=seed, until_s=until_s)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this seed's result
        return SeedRun(seed=seed, why=(f"it crashed: {type(error).__name__}: {error}",))
    return SeedRun(
        seed=seed,
        why=tuple(_failures(result)),
        simulated_s=result.simulated_s,
        cost_usd=result.cost_usd,
    )


def _failures(result: RunResult) -> Iterator[str]:
    for one in result.expectations:
        if not one.ok:
            yield f"{one.text}: {one.detail}" if one.detail else one.text
    yield from result.violations
