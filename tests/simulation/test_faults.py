"""A bad day: the operator dies, the API server and the cloud say no, reads are old.

Whatever happens, the invariants hold (`sim.invariants`, checked after every step), and once it is
over the Workspace becomes READY, or is gone with everything that it cost.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from sim.run import LONGEST_S
from sim.scenario import Inject
from sim.scenario_file import TimelineStep
from tests.simulation.checked_run import deletion, quickstart, run_checked, with_steps

SEEDS = range(25)
FAULTY_S = 1500.0
LONGEST_BACKOFF_S = 300.0  # a round that failed may wait so long before it is repeated
GONE_WITHIN_S = 600.0


def a_fault(rng: Random) -> tuple[Mapping[str, Any], float]:
    """A fault as a scenario file says it, and how long it lasts."""
    kind = rng.choice(["crash", "errors", "outage", "stale", "sold out"])
    effect = rng.choice(["before", "after"])
    lasts_s = rng.uniform(1.0, 120.0)
    match kind:
        case "crash":
            return {"kind": "operator-crash", "restart_after": lasts_s}, lasts_s
        case "errors":
            return {"kind": "api-error", "count": rng.randint(1, 5), "effect": effect}, 0.0
        case "outage":
            return {"kind": "api-error", "for": lasts_s, "effect": effect}, lasts_s
        case "stale":
            return {"kind": "stale-read", "for": lasts_s, "lag": rng.uniform(1.0, 60.0)}, lasts_s
        case _:
            return {"kind": "launch-failure", "count": rng.randint(1, 3)}, 0.0


def a_bad_day(rng: Random) -> tuple[list[Inject], float]:
    """Faults at random times, and when the last one is over."""
    faults, over_s = [], 0.0
    for _ in range(rng.randint(2, 8)):
        at_s = rng.uniform(0.0, FAULTY_S)
        described, lasts_s = a_fault(rng)
        fault = TimelineStep.model_validate({"fault": described}).fault
        assert fault is not None
        faults.append(Inject(at_s=at_s, fault=fault, source="test"))
        over_s = max(over_s, at_s + lasts_s)
    return faults, over_s


@pytest.mark.parametrize("seed", SEEDS)
def test_ready_in_the_end(seed: int) -> None:
    faults, over_s = a_bad_day(Random(seed))
    scenario = with_steps(quickstart(), faults)
    result, world = run_checked(scenario, seed=seed, calm_from_s=over_s + LONGEST_BACKOFF_S)
    assert [workspace.pending for workspace in result.workspaces] == [None]
    assert [workspace.ready for workspace in result.workspaces] == [True]
    assert len(world.running_machines()) == 1
    assert result.simulated_s < LONGEST_S


def test_what_old_reads_do_not_show_yet_is_looked_for_again() -> None:
    """The watch tells of the Workspace and its machine, and nothing else wakes their rounds."""
    described = {"kind": "stale-read", "for": "20m", "lag": "1m"}
    fault = TimelineStep.model_validate({"fault": described}).fault
    assert fault is not None
    scenario = with_steps(quickstart(), [Inject(at_s=0.0, fault=fault, source="test")])
    result, _ = run_checked(scenario, seed=0, calm_from_s=1200.0 + LONGEST_BACKOFF_S)
    assert [workspace.pending for workspace in result.workspaces] == [None]


def test_a_run_does_not_end_while_the_operator_cannot_see() -> None:
    """Its last word is READY, and the machine is gone."""
    described = [
        (2940.0, {"kind": "stale-read", "for": "20m", "lag": "10m"}),
        (3000.0, {"kind": "node-loss", "workspace": "workspace-phi-3-mini"}),
    ]
    steps = []
    for at_s, one in described:
        fault = TimelineStep.model_validate({"fault": one}).fault
        assert fault is not None
        steps.append(Inject(at_s=at_s, fault=fault, source="test"))
    scenario = with_steps(quickstart(), steps)
    result, _ = run_checked(scenario, seed=0, calm_from_s=4140.0 + LONGEST_BACKOFF_S)
    assert [workspace.ready for workspace in result.workspaces] == [True]
    assert [machine.released_at_s is None for machine in result.machines] == [False, True]


@pytest.mark.parametrize("seed", SEEDS)
def test_gone_in_the_end(seed: int) -> None:
    rng = Random(seed)
    faults, over_s = a_bad_day(rng)
    delete_at_s = rng.uniform(0.0, FAULTY_S)
    scenario = with_steps(quickstart(), [*faults, deletion(quickstart(), delete_at_s)])
    calm_from_s = over_s + LONGEST_BACKOFF_S
    result, world = run_checked(scenario, seed=seed, calm_from_s=calm_from_s)
    assert world.running_machines() == []
    gone_by_s = max(delete_at_s, calm_from_s) + GONE_WITHIN_S
    for workspace in result.workspaces:
        assert workspace.deleted_at_s is not None
        assert workspace.deleted_at_s <= gone_by_s
    for machine in result.machines:
        assert machine.released_at_s is not None
        assert machine.released_at_s <= gone_by_s
