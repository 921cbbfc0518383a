"""A week of machines in virtual time: a thousand come and go, a hundred at once at most, while some
fail half-way, the cloud throttles and the operator is restarted. What is paid for is what was
wanted."""

from collections.abc import Callable, Iterable
from random import Random
from typing import Final

import pytest

from kaito.domain.machine_limits import MachineLimits
from sim.cloud_file import CloudPart
from sim.manifests import Key
from sim.result import MachineResult
from sim.scenario import Apply, Delete, Inject, Scenario, Step
from sim.scenario import World as WorldSettings
from sim.scenario_file import OperatorCrash
from tests.simulation.checked_run import run_checked
from tests.unit.domain.builders import A100, manifest

MACHINES: Final = 1000
RESTARTS: Final = 20
MOST_AT_ONCE: Final = 100
FAILURES: Final = 0.05
HOUR_S: Final = 3600.0
WEEK_S: Final = 7 * 24 * HOUR_S
_LIFE_S: Final = (0.5 * HOUR_S, 23 * HOUR_S)
LIMITS: Final = MachineLimits()
# What each machine may be paid for more, or less, than it was wanted: every phase up to its limit.
PHASES_S: Final = LIMITS.launch_s + LIMITS.register_s + LIMITS.initialize_s + LIMITS.drain_s


@pytest.mark.slow
def test_a_week(record_property: Callable[[str, str], None]) -> None:
    rng = Random(11)
    wanted = {f"ws-{number}": _wish(rng) for number in range(MACHINES)}
    crashes = [rng.uniform(0.0, WEEK_S) for _ in range(RESTARTS)]
    cloud = {
        "machine_limit": MOST_AT_ONCE,
        "create_failure_rate": FAILURES,
        "throttling": "aks",
    }
    steps: list[Step] = []
    for name, (from_s, to_s) in wanted.items():
        steps += [_apply(name, from_s), _delete(name, to_s)]
    for at_s in crashes:
        crash = OperatorCrash(kind="operator-crash")
        steps.append(Inject(at_s=at_s, fault=crash, source="test"))
    scenario = Scenario(
        files=("test",),
        steps=tuple(sorted(steps, key=lambda step: step.at_s)),
        world=WorldSettings(cloud=CloudPart.model_validate(cloud)),
        until_s=WEEK_S + HOUR_S,
    )
    result, world = run_checked(scenario, seed=11)

    machines = result.machines
    assert world.running_machines() == []
    assert all(one.deleted_at_s is not None for one in result.workspaces)
    at_once = most_at_once(machines)
    assert 0.8 * MOST_AT_ONCE <= at_once <= MOST_AT_ONCE
    paid_s = dict.fromkeys(wanted, 0.0)
    for one in machines:
        assert one.released_at_s is not None
        paid_s[one.workspace.partition("/")[2]] += one.released_at_s - one.ordered_at_s
    off_s = {name: paid_s[name] - (to_s - from_s) for name, (from_s, to_s) in wanted.items()}
    too_far = {name: round(by_s) for name, by_s in off_s.items() if abs(by_s) > PHASES_S}
    assert too_far == {}, too_far
    wanted_h = sum(to_s - from_s for from_s, to_s in wanted.values()) / HOUR_S
    paid_h = sum(paid_s.values()) / HOUR_S
    worst = max(off_s.values(), key=abs)
    for line in (
        f"machines wanted             {MACHINES:>10,}",
        f"orders, some failed         {len(machines):>10,}",
        f"most at once                {at_once:>10,}",
        f"restarts of the operator    {RESTARTS:>10,}",
        f"machine-hours wanted        {wanted_h:>10,.1f}",
        f"machine-hours paid for      {paid_h:>10,.1f}",
        f"largest difference of one   {worst / 60:>10,.1f} min",
        f"left over                   {len(world.running_machines()):>10,}",
    ):
        record_property("measured", f"a week of machines: {line}")
    assert len(machines) > MACHINES
    assert paid_h == pytest.approx(wanted_h, rel=0.005)


def most_at_once(machines: Iterable[MachineResult]) -> int:
    """How many there were at the busiest moment, from order to release."""
    changes = [
        change
        for one in machines
        for change in ((one.ordered_at_s, 1), (one.released_at_s or float("inf"), -1))
    ]
    most = now = 0
    for _, by in sorted(changes):
        now += by
        most = max(most, now)
    return most


def _wish(rng: Random) -> tuple[float, float]:
    """From when to when a Workspace is there, in seconds."""
    life_s = rng.uniform(*_LIFE_S)
    from_s = rng.uniform(0.0, WEEK_S - life_s)
    return from_s, from_s + life_s


def _key(name: str) -> Key:
    return Key(kind="Workspace", namespace="default", name=name)


def _apply(name: str, at_s: float) -> Apply:
    document = manifest(
        name=name,
        metadata={"namespace": "default"},
        instance_type=A100,
        resource={"labelSelector": {"matchLabels": {"apps": name}}},
    )
    return Apply(at_s=at_s, manifest=document, source="test", key=_key(name))


def _delete(name: str, at_s: float) -> Delete:
    return Delete(at_s=at_s, key=_key(name), source="test")
