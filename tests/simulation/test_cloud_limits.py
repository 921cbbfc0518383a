"""A cloud that says no, fails half-way and takes machines back: in the end every Workspace is
served, and the invariants hold after every step."""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from kaito.domain import labels
from sim.cloud_file import CloudChange, CloudPart
from sim.result import RunResult
from sim.scenario import Apply, ChangeCloud, Patch, Scenario, Step, World
from sim.scenario import World as WorldSettings
from tests.simulation.checked_run import deletion, quickstart, run_checked, workspace_key
from tests.simulation.test_crash_everywhere import Deaths

A100 = "Standard_NC24ads_A100_v4"
A10 = "Standard_NV36ads_A10_v5"
SEEDS = range(6)


def change(at_s: float, **given: Any) -> ChangeCloud:
    return ChangeCloud(at_s=at_s, change=CloudChange.model_validate(given), source="test")


def scenario(
    *more: Step,
    cloud: Mapping[str, Any] | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Scenario:
    """The quick start on an A100, with annotations, in such a cloud."""
    steps: list[Step] = []
    for step in quickstart().steps:
        if isinstance(step, Apply) and step.key == workspace_key(quickstart()):
            manifest = dict(step.manifest)
            manifest["metadata"] = {**manifest["metadata"], "annotations": dict(annotations or {})}
            manifest["resource"] = {**manifest["resource"], "instanceType": A100}
            steps.append(Apply(at_s=step.at_s, manifest=manifest, source=step.source, key=step.key))
        else:
            steps.append(step)
    together = sorted([*steps, *more], key=lambda step: step.at_s)
    world: WorldSettings = World(cloud=CloudPart.model_validate(cloud or {}))
    return Scenario(files=("test",), steps=tuple(together), world=world)


def is_ready(result: RunResult) -> bool:
    return [one.ready for one in result.workspaces] == [True]


def types_of(result: RunResult) -> list[str]:
    return [machine.instance_type for machine in result.machines]


def retry(at_s: float, value: str) -> Patch:
    merge = {"metadata": {"annotations": {labels.RETRY: value}}}
    return Patch(at_s=at_s, key=workspace_key(quickstart()), merge=merge, source="test")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_quota_that_is_raised(seed: int) -> None:
    raised_s = 1000.0
    played = scenario(
        change(raised_s, quota={"NCads_A100_v4": 24}), cloud={"quota": {"NCads_A100_v4": 0}}
    )
    result, _ = run_checked(played, seed=seed)
    assert is_ready(result)
    (machine,) = result.machines
    assert raised_s <= machine.ordered_at_s <= raised_s + 300.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wish_to_retry_does_not_wait(seed: int) -> None:
    raised_s = 1000.0
    played = scenario(
        change(raised_s, quota={"NCads_A100_v4": 24}),
        retry(raised_s + 1.0, "1"),
        cloud={"quota": {"NCads_A100_v4": 0}},
    )
    result, _ = run_checked(played, seed=seed)
    assert is_ready(result)
    (machine,) = result.machines
    assert machine.ordered_at_s <= raised_s + 5.0


@pytest.mark.parametrize("seed", SEEDS)
def test_a_stock_out_and_its_fallback(seed: int) -> None:
    played = scenario(
        cloud={"stock": [{"instance_type": A100, "machines": 0}]},
        annotations={labels.FALLBACK_INSTANCE_TYPES: A10},
    )
    result, world = run_checked(played, seed=seed)
    assert is_ready(result)
    assert types_of(result) == [A10]
    assert len(world.running_machines()) == 1


@pytest.mark.parametrize("seed", SEEDS)
def test_spot_first_then_on_demand(seed: int) -> None:
    played = scenario(
        cloud={"quota": {"spot": 0}},
        annotations={labels.CAPACITY_CHOICE: "spot-then-on-demand"},
    )
    result, _ = run_checked(played, seed=seed)
    assert is_ready(result)
    assert [machine.capacity_type for machine in result.machines] == ["on-demand"]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_evicted_machine_is_replaced(seed: int) -> None:
    played = scenario(change(3000.0, evict_spot=1), annotations={labels.CAPACITY_CHOICE: "spot"})
    result, _ = run_checked(played, seed=seed)
    assert is_ready(result)
    assert [machine.capacity_type for machine in result.machines] == ["spot", "spot"]
    gone, _ = result.machines
    assert gone.released_at_s is not None
    assert gone.released_at_s - 3000.0 <= 30.0, "it is gone when its notice is over"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_deleted_spot_workspace_leaves_nothing(seed: int) -> None:
    """Also when it is deleted while the machine is being taken back."""
    at_s = 3000.0 + Random(seed).uniform(-5.0, 60.0)
    played = scenario(
        change(3000.0, evict_spot=1),
        deletion(quickstart(), at_s),
        annotations={labels.CAPACITY_CHOICE: "spot"},
    )
    result, world = run_checked(played, seed=seed)
    assert [one.deleted_at_s is not None for one in result.workspaces] == [True]
    assert world.running_machines() == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_lost_zone(seed: int) -> None:
    """Whichever zone it was in: all machines of one are lost, and the next are not in it."""
    losses = [change(3000.0, lose_zone={"zone": zone, "for": "10h"}) for zone in (1, 2)]
    result, _ = run_checked(scenario(*losses), seed=seed)
    assert is_ready(result)
    assert result.machines[-1].zone == "eastus-3"
    assert len(result.machines) <= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_machines_that_fail_half_way(seed: int) -> None:
    result, _ = run_checked(
        scenario(change(2400.0, create_failure_rate=0), cloud={"create_failure_rate": 1.0}),
        seed=seed,
    )
    assert is_ready(result)
    assert len(result.machines) > 1
    assert all(one.released_at_s is not None for one in result.machines[:-1])


@pytest.mark.parametrize("seed", SEEDS)
def test_a_throttled_cloud(seed: int) -> None:
    result, _ = run_checked(
        scenario(cloud={"throttling": {"other": {"burst": 1, "per_minute": 6}}}), seed=seed
    )
    assert is_ready(result)
    assert len(result.machines) == 1


def test_the_same_spot_price_everywhere() -> None:
    """Spot machines cost what spot machines cost."""
    on_demand, _ = run_checked(scenario(), seed=1)
    spot, _ = run_checked(scenario(annotations={labels.CAPACITY_CHOICE: "spot"}), seed=1)
    assert spot.simulated_s == pytest.approx(on_demand.simulated_s, rel=0.01)
    assert spot.cost_usd < on_demand.cost_usd / 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rough_market(seed: int) -> None:
    """Evictions twice an hour; once they stop, it serves, and the rest was given back."""
    result, world = run_checked(
        scenario(
            change(6 * 3600.0, evictions_per_hour=0),
            cloud={"evictions_per_hour": 2},
            annotations={labels.CAPACITY_CHOICE: "spot"},
        ),
        seed=seed,
    )
    assert is_ready(result)
    assert len(result.machines) >= 2
    assert len(world.running_machines()) == 1


@pytest.mark.parametrize("part", range(4))
def test_dying_between_the_attempts(part: int) -> None:
    """The operator dies at each of its writes in turn while zones and types are tried."""
    played = scenario(
        cloud={
            "stock": [{"instance_type": A100, "machines": 0}],
            "quota": {"spot": 0},
        },
        annotations={
            labels.FALLBACK_INSTANCE_TYPES: A10,
            labels.CAPACITY_CHOICE: "spot-then-on-demand",
        },
    )
    usual = Deaths(at_write=0)
    run_checked(played, seed=3, prepare=usual.install)
    for at_write in range(1 + part, usual.writes + 1, 4):
        deaths = Deaths(at_write)
        result, world = run_checked(played, seed=3, prepare=deaths.install)
        assert is_ready(result), f"write {at_write}"
        assert types_of(result) == [A10], f"write {at_write}"
        assert len(world.running_machines()) == 1, f"write {at_write}"
