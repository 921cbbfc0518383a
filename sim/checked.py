"""Runs a scenario with every invariant checked after every step."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final, TextIO

from sim.injection import over_after_s
from sim.invariants import Invariants
from sim.result import RunResult
from sim.run import LONGEST_S, OnProgress, simulate
from sim.scenario import Inject, Scenario
from sim.world import World

BACKOFF_S: Final = 300.0  # a round that a fault made fail may wait so long before it is repeated


def simulate_checked(
    scenario: Scenario,
    *,
    seed: int | None = None,
    until_s: float | None = None,
    on_progress: OnProgress | None = None,
    events: TextIO | None = None,
) -> RunResult:
    """The same run as `simulate` plays, with the violations of invariants in its result."""
    violations: list[str] = []
    watched: list[Invariants] = []

    def observe(world: World) -> Callable[[], None]:
        invariants = Invariants(world, calm_from_s=calm_from_s(scenario))
        watched.append(invariants)
        return lambda: violations.extend(
            f"{text}, at {world.now_s():.3f} s" for text in invariants.check()
        )

    result = simulate(
        scenario,
        seed=seed,
        until_s=until_s,
        on_progress=on_progress,
        observer=observe,
        events=events,
    )
    (invariants,) = watched
    ends_by_itself = until_s is None and scenario.until_s is None
    if ends_by_itself and result.simulated_s >= LONGEST_S:
        violations.append(f"INV-7: no rest after {LONGEST_S:.0f} s")
    elif ends_by_itself:
        violations += invariants.leftovers()
    return replace(result, violations=tuple(violations))


def calm_from_s(scenario: Scenario) -> float:
    """When the scenario's last fault is over, and every round that it made fail was repeated."""
    over_s = [
        step.at_s + over_after_s(step.fault) + BACKOFF_S
        for step in scenario.steps
        if isinstance(step, Inject)
    ]
    return max(over_s, default=0.0)
