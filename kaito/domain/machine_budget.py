"""How many machines, at what price, the Workspaces of a namespace may have together.

A guard is checked before a machine is recorded. Whoever waits is served in order of creation, so
that a Workspace that needs much is not passed by others for ever.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kaito.domain import status as st
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.conditions import condition, cut_message
from kaito.domain.machine import CapacityType, Machine, MachineSpec, Offer
from kaito.domain.plan import CreateMachine, WorkspaceStep
from kaito.domain.workspace_resources import Resources

_CENT_SHARE = 0.005  # sums of prices are not exact


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineGuards:
    """What a namespace may have; None: no limit. Money is US dollars per hour, in `region`; without
    one a machine counts with its price where it is dearest."""

    max_machines: int | None = None
    max_usd_per_hour: float | None = None
    region: str = ""

    @property
    def limits_something(self) -> bool:
        return self.max_machines is not None or self.max_usd_per_hour is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """So many machines, at a price in US dollars per hour; infinite where it is not known."""

    machines: int = 0
    usd_per_hour: float = 0.0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(
            machines=self.machines + other.machines,
            usd_per_hour=self.usd_per_hour + other.usd_per_hour,
        )


def amount_of_spec(spec: MachineSpec, catalogue: Catalogue, guards: MachineGuards) -> Amount:
    """What a machine may cost that is not bought yet: the dearest of its offers."""
    return Amount(
        machines=1, usd_per_hour=max(_price(offer, catalogue, guards) for offer in spec.offers)
    )


def amount_of(machine: Machine, catalogue: Catalogue, guards: MachineGuards) -> Amount:
    """What a recorded machine costs, or may cost."""
    if not machine.bought_type:
        return amount_of_spec(machine.spec, catalogue, guards)
    bought = Offer(
        instance_type=machine.bought_type,
        gpus=machine.spec.gpus,
        capacity_type=machine.attempt.capacity_type,
    )
    return Amount(machines=1, usd_per_hour=_price(bought, catalogue, guards))


def why_over(
    guards: MachineGuards, namespace: str, used: Amount, wanted: Amount, *, waits_behind: str
) -> str:
    """Why `wanted` may not be added to what is `used`, with what to do about it; empty if it may.
    `waits_behind` is an older Workspace that waits, empty for none."""
    limit, most = guards.max_machines, guards.max_usd_per_hour
    if limit is not None and used.machines + wanted.machines > limit:
        return (
            f"--max-machines: namespace {namespace} has {used.machines} machines of {limit}, and "
            f"{wanted.machines} more are wanted. Delete a Workspace, or raise the limit"
        )
    if most is not None and math.isinf(wanted.usd_per_hour):
        return (
            "--max-cost-per-hour: the price of the machine is not known. Name an instance type "
            "whose price is, or remove the limit"
        )
    if most is not None and used.usd_per_hour + wanted.usd_per_hour > most + _CENT_SHARE:
        return (
            f"--max-cost-per-hour: the machines of namespace {namespace} cost "
            f"${used.usd_per_hour:.2f} of ${most:.2f}, and ${wanted.usd_per_hour:.2f} more are "
            "wanted. Delete a Workspace, or raise the limit"
        )
    if waits_behind:
        return (
            f"Workspace {waits_behind} waits for longer for machines of namespace {namespace}. "
            "Delete a Workspace, or raise --max-machines or --max-cost-per-hour"
        )
    return ""


def without_new_machines(
    steps: Sequence[WorkspaceStep], resources: Resources, why: str
) -> tuple[list[WorkspaceStep], Resources]:
    """The plan of a Workspace that may not record more machines."""
    left: list[WorkspaceStep] = [step for step in steps if not isinstance(step, CreateMachine)]
    blocked = condition(st.SUCCEEDED, "False", st.OVER_BUDGET, cut_message(why))
    return left, replace(resources, blocked=blocked)


def _price(offer: Offer, catalogue: Catalogue, guards: MachineGuards) -> float:
    try:
        found = catalogue.instance_type(offer.instance_type)
    except UnknownInstanceType:
        return math.inf
    spot = offer.capacity_type is CapacityType.SPOT
    if guards.region:
        price = found.price(guards.region)
        return price.of(spot) if price is not None else math.inf
    return max((price.of(spot) for price in found.prices.values()), default=math.inf)
