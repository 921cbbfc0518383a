"""Runs a scenario with every invariant checked after every step."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from kaito.domain.gpu import InstanceType
from sim.invariants import Invariants
from sim.loading import load
from sim.manifests import Key
from sim.result import RunResult
from sim.run import simulate
from sim.scenario import DEFAULT_REGION, Apply, Delete, Scenario, Step
from sim.world import World

SCENARIOS = Path(__file__).parents[2] / "sim" / "scenarios"
SCENARIO_FILES = sorted(SCENARIOS.glob("*.yaml"))


QUICKSTARTS = ("quickstart_phi_3", "quickstart_phi_3_adapters", "quickstart_tuning_phi_3")


def quickstart(name: str = QUICKSTARTS[0]) -> Scenario:
    """A quick start, without its expectations."""
    loaded = load([str(SCENARIOS / f"{name}.yaml")])
    return Scenario(files=loaded.files, steps=loaded.steps, catalogue=loaded.catalogue)


def with_steps(scenario: Scenario, steps: Iterable[Step], **changes: Any) -> Scenario:
    """The scenario with more steps, in order of time."""
    together = sorted([*scenario.steps, *steps], key=lambda step: step.at_s)
    return Scenario(
        files=scenario.files, steps=tuple(together), catalogue=scenario.catalogue, **changes
    )


def workspace_key(scenario: Scenario) -> Key:
    """The scenario's Workspace."""
    (key,) = {
        step.key
        for step in scenario.steps
        if isinstance(step, Apply) and step.key.kind == "Workspace"
    }
    return key


def deletion(scenario: Scenario, at_s: float) -> Delete:
    """The user deletes the scenario's Workspace."""
    return Delete(at_s=at_s, key=workspace_key(scenario), source="test")


def run_checked(
    scenario: Scenario,
    *,
    seed: int,
    calm_from_s: float = 0.0,
    prepare: Callable[[World], None] = lambda _world: None,
) -> tuple[RunResult, World]:
    """The result, and the world as it is at the end. Raises: AssertionError with every violation
    of an invariant (or more: what is left of Workspaces that are gone)."""
    kept: list[tuple[World, Invariants]] = []
    violations: list[str] = []

    def observe(world: World) -> Callable[[], None]:
        prepare(world)
        invariants = Invariants(world, calm_from_s=calm_from_s)
        kept.append((world, invariants))
        return lambda: violations.extend(
            f"{world.now_s():.3f} s: {text}" for text in invariants.check()
        )

    result = simulate(scenario, seed=seed, observer=observe)
    ((world, invariants),) = kept
    if not any(workspace.pending for workspace in result.workspaces):
        violations += invariants.leftovers()
    assert violations == [], f"seed {seed}"
    return result, world


def price_usd_per_hour(instance_type: InstanceType, capacity_type: str = "on-demand") -> float:
    """What the machine costs in the default region."""
    price = instance_type.price(DEFAULT_REGION)
    assert price is not None
    if capacity_type == "spot":
        assert price.spot_usd_per_hour is not None
        return price.spot_usd_per_hour
    return price.on_demand_usd_per_hour
