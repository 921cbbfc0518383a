"""The world against what is published: the spread of every phase over many seeds."""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import median, quantiles
from typing import Final

from kaito.domain.decision import Wanted, decide
from kaito.domain.engine import EngineName
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.sizing import Sizing
from kaito.domain.workspace import Workspace
from kaito.system_clock import monotonic_s
from sim.replay import workspaces_in
from sim.result import Calibration, PhaseSpread
from sim.run import simulate
from sim.scenario import Apply, Scenario
from sim.world import published_range

TO_READY: Final = "apply -> READY"
_SEEDS_PER_TASK: Final = 25


def calibrate(scenario: Scenario, *, seeds: int) -> Calibration:
    """Run the scenario with seeds 0 to `seeds` - 1 and lay each phase beside its published range.

    The scenario must have one Workspace. Phases of one name in one run are added up. The range of
    `apply -> READY` is the sum of its phases' ranges.

    Raises: InvalidInput (not exactly one Workspace, or fewer than two seeds).
    """
    began_s = monotonic_s()
    workspace, sizing = _only_workspace(scenario)
    if seeds < 2:
        problem = Problem(field="--seeds", message=f"a spread needs at least 2 seeds, got {seeds}")
        raise InvalidInput([problem])
    batches = [
        range(first, min(first + _SEEDS_PER_TASK, seeds))
        for first in range(0, seeds, _SEEDS_PER_TASK)
    ]
    samples: dict[str, list[float]] = {}
    with ProcessPoolExecutor(max_workers=min(os.cpu_count() or 1, len(batches))) as pool:
        for found in pool.map(_durations, [scenario] * len(batches), batches):
            for name, values in found.items():
                samples.setdefault(name, []).extend(values)
    spreads = [
        _spread(name, values, sizing) for name, values in samples.items() if name != TO_READY
    ]
    spreads.append(_total(samples.get(TO_READY, []), spreads))
    return Calibration(
        scenario=workspace.name,
        seeds=seeds,
        wall_s=monotonic_s() - began_s,
        phases=tuple(spreads),
    )


def _only_workspace(scenario: Scenario) -> tuple[Workspace, Sizing]:
    applied = [step for step in scenario.steps if isinstance(step, Apply)]
    found = [workspace for _, workspace in workspaces_in(applied)]
    wanted = decide(found[0], scenario.catalogue, None) if len(found) == 1 else None
    sizing = wanted.sizing if isinstance(wanted, Wanted) else None
    if not isinstance(sizing, Sizing):
        names = ", ".join(workspace.name for workspace in found) or "none"
        problem = Problem(
            field=", ".join(scenario.files),
            message=f"calibration takes exactly one Workspace that fits, found {names}",
        )
        raise InvalidInput([problem])
    return found[0], sizing


def _durations(scenario: Scenario, seeds: Iterable[int]) -> dict[str, list[float]]:
    """Seconds of each phase, and from apply to READY, one value for each seed."""
    found: dict[str, list[float]] = {}
    for seed in seeds:
        (workspace,) = simulate(scenario, seed=seed).workspaces
        took: dict[str, float] = {}
        for phase in workspace.phases:
            if phase.end_s is not None:
                took[phase.name] = took.get(phase.name, 0.0) + phase.end_s - phase.start_s
        if workspace.ready and workspace.ready_at_s is not None:
            took[TO_READY] = workspace.ready_at_s - workspace.created_at_s
        for name, seconds in took.items():
            found.setdefault(name, []).append(seconds)
    return found


def _spread(name: str, values: Sequence[float], sizing: Sizing) -> PhaseSpread:
    fit = sizing.fit
    least_s, most_s, source = published_range(
        name,
        model=sizing.model,
        gpus=fit.tensor_parallel * fit.pipeline_parallel,
        is_vllm=fit.engine.name is EngineName.VLLM,
    )
    return PhaseSpread(
        name=name,
        median_s=median(values),
        p95_s=_p95(values),
        cited_min_s=least_s,
        cited_max_s=most_s,
        source=source,
    )


def _total(values: Sequence[float], phases: Sequence[PhaseSpread]) -> PhaseSpread:
    if not values:
        problem = Problem(field=TO_READY, message="the Workspace never became READY")
        raise InvalidInput([problem])
    return PhaseSpread(
        name=TO_READY,
        median_s=median(values),
        p95_s=_p95(values),
        cited_min_s=sum(phase.cited_min_s or 0.0 for phase in phases),
        cited_max_s=sum(phase.cited_max_s or phase.p95_s for phase in phases),
        source="sum of the ranges above, the p95 where none is published: a wide range",
    )


def _p95(values: Sequence[float]) -> float:
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
