"""Several Workspaces want more than their namespace may have."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from kaito.domain import status as st
from sim.cloud_file import GuardsPart
from sim.manifests import Key
from sim.result import RunResult
from sim.scenario import Apply, Delete, Inject, Scenario, Step, World
from sim.scenario_file import OperatorCrash
from sim.world import World as RunningWorld
from tests.simulation.checked_run import run_checked

SEEDS = range(5)
NAMES = ("a", "b", "c", "d")


def workspace(name: str, namespace: str = "default") -> Mapping[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace},
        "resource": {
            "instanceType": "Standard_NV36ads_A10_v5",
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
    }


def key(name: str) -> Key:
    return Key("Workspace", "default", name)


def guarded(*more: Step, **guards: Any) -> Scenario:
    """Four Workspaces, made in one second each, the first two at the same moment."""
    made: list[Step] = [
        Apply(at_s=float(max(index - 1, 0)), manifest=workspace(name), source="test", key=key(name))
        for index, name in enumerate(NAMES)
    ]
    steps = sorted([*made, *more], key=lambda step: step.at_s)
    world = World(guards=GuardsPart.model_validate(guards))
    return Scenario(files=("test",), steps=tuple(steps), world=world)


def deleted(name: str, at_s: float) -> Delete:
    return Delete(at_s=at_s, key=key(name), source="test")


def crash(at_s: float) -> Inject:
    fault = OperatorCrash.model_validate({"kind": "operator-crash"})
    return Inject(at_s=at_s, fault=fault, source="test")


def most_at_once(result: RunResult) -> int:
    """Machines that were there at one time."""
    ends = [
        result.simulated_s if one.released_at_s is None else one.released_at_s
        for one in result.machines
    ]
    return max(
        sum(one.ordered_at_s <= at_s < end for one, end in zip(result.machines, ends, strict=True))
        for at_s in [machine.ordered_at_s for machine in result.machines]
    )


def served(result: RunResult) -> dict[str, bool]:
    return {one.name: one.ready for one in result.workspaces if one.deleted_at_s is None}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("guards", [{"max_machines": 2}, {"max_cost_per_hour": 7.0}])
def test_never_more_than_the_guard_allows(guards: Mapping[str, Any], seed: int) -> None:
    result, _ = run_checked(guarded(**guards), seed=seed)
    assert most_at_once(result) == 2
    assert sum(served(result).values()) == 2
    (name,) = guards
    for one in result.workspaces:
        if not one.ready:
            assert one.reason == st.OVER_BUDGET
            assert one.message.startswith(f"--{name.replace('_', '-')}")


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_freed_goes_to_the_oldest(seed: int) -> None:
    played = guarded(crash(1500.0), deleted("a", 3000.0), deleted("b", 6000.0), max_machines=2)
    result, _ = run_checked(played, seed=seed)
    assert most_at_once(result) == 2
    assert served(result) == {"c": True, "d": True}
    first = {
        one.workspace.removeprefix("default/"): one.ordered_at_s
        for one in reversed(result.machines)
    }
    assert max(first["a"], first["b"]) < 3000.0 < first["c"] < 6000.0 < first["d"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_freed_machine_is_bought_soon(seed: int) -> None:
    """Nobody waits for the next look at everything."""
    result, _ = run_checked(guarded(deleted("a", 3000.0), max_machines=3), seed=seed)
    (gone,) = [one for one in result.machines if one.workspace == "default/a"]
    (late,) = [one for one in result.machines if one.ordered_at_s > 3000.0]
    assert gone.released_at_s is not None
    assert late.workspace == "default/d"
    assert late.ordered_at_s - gone.released_at_s <= 20.0


def test_a_guard_of_nothing_buys_nothing() -> None:
    result, _ = run_checked(guarded(max_machines=0), seed=1)
    assert result.machines == ()


def test_no_guard_no_limit() -> None:
    looked: list[RunningWorld] = []
    keep: Callable[[RunningWorld], None] = looked.append
    result, _ = run_checked(guarded(), seed=1, prepare=keep)
    assert all(served(result).values())
    assert len(looked[0].running_machines()) == len(NAMES)
