import math
from dataclasses import replace

import pytest

from kaito.domain import status as st
from kaito.domain.conditions import find
from kaito.domain.machine import Attempt, CapacityType
from kaito.domain.machine_budget import (
    Amount,
    MachineGuards,
    amount_of,
    amount_of_spec,
    why_over,
)
from kaito.domain.plan import CreateMachine, Note, WriteStatus
from kaito.domain.ports import NoBudget
from kaito.domain.workspace_plan import owner_of, plan_workspace
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    MISSING,
    NOW_S,
    cluster,
    machine,
    machine_spec,
    ready_machine,
    seen,
    wanted,
    workspace,
)

EAST = MachineGuards(max_usd_per_hour=10.0, region="eastus")
ONE = Amount(machines=1, usd_per_hour=3.0)


def test_without_limits_nothing_is_guarded() -> None:
    assert not MachineGuards(region="eastus").limits_something
    assert MachineGuards(max_machines=0).limits_something
    assert EAST.limits_something
    assert NoBudget().reserve(owner_of(seen()), "", [machine_spec()]) == ""
    assert NoBudget().freed() == ()


def test_what_is_not_bought_yet_counts_with_its_dearest_offer() -> None:
    assert amount_of_spec(machine_spec(), CATALOGUE, EAST) == Amount(machines=1, usd_per_hour=3.2)
    spec = machine_spec(fallbacks=((A100, 1),), capacity_types=tuple(CapacityType))
    both = amount_of_spec(spec, CATALOGUE, EAST)
    assert (
        both.usd_per_hour
        == amount_of_spec(replace(spec, instance_type=A100), CATALOGUE, EAST).usd_per_hour
    )
    assert amount_of(machine(spec), CATALOGUE, EAST) == both


def test_what_is_bought_counts_with_its_price() -> None:
    spot = ready_machine(bought_type=A10, attempt=Attempt(capacity_type=CapacityType.SPOT))
    assert amount_of(spot, CATALOGUE, EAST) == Amount(machines=1, usd_per_hour=0.8)
    assert amount_of(ready_machine(bought_type=A10), CATALOGUE, EAST).usd_per_hour == 3.2


def test_a_spot_price_that_is_unknown_counts_as_on_demand() -> None:
    price = CATALOGUE.instance_type(A10).price("eastus")
    assert price is not None
    assert replace(price, spot_usd_per_hour=None).of(True) == 3.2


def test_without_a_region_the_dearest_counts() -> None:
    dearest = max(
        price.on_demand_usd_per_hour for price in CATALOGUE.instance_type(A10).prices.values()
    )
    assert amount_of_spec(machine_spec(), CATALOGUE, MachineGuards()).usd_per_hour == dearest


@pytest.mark.parametrize(
    ("instance_type", "region"), [("Standard_NC0_none", "eastus"), (A10, "mars")]
)
def test_a_price_that_is_not_known(instance_type: str, region: str) -> None:
    guards = MachineGuards(max_usd_per_hour=10.0, region=region)
    amount = amount_of_spec(machine_spec(instance_type=instance_type), CATALOGUE, guards)
    assert math.isinf(amount.usd_per_hour)
    why = why_over(guards, "team", Amount(), amount, waits_behind="")
    assert why.startswith("--max-cost-per-hour: the price of the machine is not known")
    assert why_over(MachineGuards(max_machines=1), "team", Amount(), amount, waits_behind="") == ""


def test_a_limit_of_machines() -> None:
    guards = MachineGuards(max_machines=2)
    assert why_over(guards, "team", ONE, ONE, waits_behind="") == ""
    assert why_over(guards, "team", ONE + ONE, ONE, waits_behind="") == (
        "--max-machines: namespace team has 2 machines of 2, and 1 more are wanted. Delete a "
        "Workspace, or raise the limit"
    )


def test_a_limit_of_cost() -> None:
    guards = MachineGuards(max_usd_per_hour=6.0)
    assert why_over(guards, "team", ONE, ONE, waits_behind="") == ""
    assert why_over(guards, "team", ONE + ONE, ONE, waits_behind="") == (
        "--max-cost-per-hour: the machines of namespace team cost $6.00 of $6.00, and $3.00 more "
        "are wanted. Delete a Workspace, or raise the limit"
    )


def test_nobody_passes_an_older_one() -> None:
    why = why_over(MachineGuards(max_machines=9), "team", ONE, ONE, waits_behind="big")
    assert why.startswith("Workspace big waits for longer")


def test_a_workspace_over_a_guard_says_so_and_records_nothing() -> None:
    found = workspace()
    why = "--max-machines: namespace default has 2 machines of 2"
    plan = plan_workspace(seen(found), cluster(), wanted(found), MISSING, now_s=NOW_S, denied=why)
    assert not any(isinstance(step, CreateMachine) for step in plan.steps)
    (written,) = [step for step in plan.steps if isinstance(step, WriteStatus)]
    told = find(written.status.conditions, st.SUCCEEDED)
    assert told is not None
    assert (told.reason, told.message) == ("MachineBudgetExceeded", why)
    assert Note(type="Warning", reason="MachineBudgetExceeded", message=why) in plan.steps
    again = plan_workspace(
        seen(found, written.status),
        cluster(),
        wanted(found),
        MISSING,
        now_s=NOW_S + 60,
        denied=why,
    )
    assert again.steps == (), "converged"
