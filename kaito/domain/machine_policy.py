"""Which machines a Workspace takes, and which to ask for next after one was refused or lost.

Two annotations of a Workspace say what may be bought instead of what it names first:

kaito.sh/fallback-instance-types   other instance types, best first, separated by commas
kaito.sh/capacity-type             on-demand (the default), spot, or spot-then-on-demand
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from kaito.domain import labels
from kaito.domain import machine as states
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.conditions import is_true
from kaito.domain.engine import NoEngine
from kaito.domain.errors import CapacityUnavailable, InvalidInput, PortError, Problem, QuotaExceeded
from kaito.domain.fit import DoesNotFit
from kaito.domain.gpu import InstanceType
from kaito.domain.machine import Attempt, CapacityType, Machine
from kaito.domain.provisioner import Provisioner
from kaito.domain.template_rules import placing_keys
from kaito.domain.template_sizing import AnySizing, size_workspace
from kaito.domain.workspace import Workspace

FIRST_RETRY_S: Final = 30.0
LONGEST_RETRY_S: Final = 300.0

_FALLBACKS: Final = f"metadata.annotations[{labels.FALLBACK_INSTANCE_TYPES}]"
_CAPACITY: Final = f"metadata.annotations[{labels.CAPACITY_CHOICE}]"


class CapacityChoice(StrEnum):
    """What the annotation kaito.sh/capacity-type may say."""

    ON_DEMAND = "on-demand"
    SPOT = "spot"
    SPOT_THEN_ON_DEMAND = "spot-then-on-demand"


_CAPACITY_TYPES: Final[Mapping[CapacityChoice, tuple[CapacityType, ...]]] = {
    CapacityChoice.ON_DEMAND: (CapacityType.ON_DEMAND,),
    CapacityChoice.SPOT: (CapacityType.SPOT,),
    CapacityChoice.SPOT_THEN_ON_DEMAND: (CapacityType.SPOT, CapacityType.ON_DEMAND),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MachinePolicy:
    """What may be bought for each node, best first."""

    instance_type: InstanceType
    fallbacks: tuple[InstanceType, ...] = ()
    capacity_types: tuple[CapacityType, ...] = (CapacityType.ON_DEMAND,)

    @property
    def fallback_gpus(self) -> tuple[tuple[str, int], ...]:
        """Name and GPUs of each fallback."""
        return tuple((one.name, one.gpu_count) for one in self.fallbacks)


def capacity_types(workspace: Workspace) -> tuple[CapacityType, ...]:
    """The ways to buy, best first. Raises: InvalidInput."""
    text = workspace.annotation(labels.CAPACITY_CHOICE)
    try:
        return _CAPACITY_TYPES[CapacityChoice(text or CapacityChoice.ON_DEMAND)]
    except ValueError:
        message = f"must be one of {', '.join(CapacityChoice)}, got {text!r}"
        problem = Problem(field=_CAPACITY, message=message, rule="capacity-type-known")
        raise InvalidInput([problem]) from None


def policy_of(workspace: Workspace, catalogue: Catalogue) -> MachinePolicy:
    """What the Workspace takes. Raises: UnknownInstanceType, InvalidInput."""
    return MachinePolicy(
        instance_type=catalogue.instance_type(workspace.resource.instance_type),
        fallbacks=tuple(catalogue.instance_type(name) for name in fallback_names(workspace)),
        capacity_types=capacity_types(workspace),
    )


def policy_rules(
    workspace: Workspace, catalogue: Catalogue, provisioner: Provisioner
) -> Iterator[Problem]:
    """Every broken rule of the annotations, but whether the model fits the fallbacks."""
    given = [
        (labels.FALLBACK_INSTANCE_TYPES, _FALLBACKS),
        (labels.CAPACITY_CHOICE, _CAPACITY),
    ]
    if provisioner is Provisioner.BYO:
        for key, field in given:
            if workspace.annotation(key):
                message = "is about machines that kaito orders, and it orders none here"
                yield Problem(
                    field=field, message=message, remedy="Remove it", rule="machines-ordered"
                )
        return
    try:
        capacity_types(workspace)
    except InvalidInput as error:
        yield from error.problems
    yield from _fallback_rules(workspace, catalogue)


def fallback_problems(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None,
    sizing: AnySizing,
) -> Iterator[Problem]:
    """Why a fallback cannot stand in for the first instance type, on which the model runs as
    `sizing` says. To be asked once no rule is broken."""
    names = fallback_names(workspace)
    if names and sizing.nodes > 1:
        yield Problem(
            field=_FALLBACKS,
            message=f"{sizing.subject} needs {sizing.nodes} machines of one type, and fallbacks "
            "are possible for a single one only",
            remedy="Remove it, or name an instance type on which one machine is enough",
            rule="fallback-one-machine",
        )
        return
    for name in names:
        other = catalogue.instance_type(name)
        try:
            nodes = size_workspace(workspace, catalogue, config, other).nodes
        except (DoesNotFit, NoEngine, InvalidInput) as error:
            yield Problem(field=_FALLBACKS, message=f"{name}: {error}", rule="fallback-fits")
            continue
        if nodes != sizing.nodes:
            yield Problem(
                field=_FALLBACKS,
                message=f"{name}: {sizing.subject} needs {nodes} of it, and {sizing.nodes} of "
                f"{sizing.instance_type.name}",
                remedy="Name instance types on which as many machines are enough",
                rule="fallback-fits",
            )


def bought_type(machines: Sequence[Machine], wished: str) -> str:
    """The instance type that was bought for the first slot, where `wished` is named first; empty
    while it is not known."""
    return next(
        (
            one.bought_type
            for one in machines
            if one.spec.slot == 0
            and not one.deleting
            and one.spec.instance_type.casefold() == wished.casefold()
        ),
        "",
    )


def is_launched(machine: Machine) -> bool:
    """Whether the cloud is known to have the machine."""
    return bool(machine.provider_id) or is_true(machine.conditions, states.LAUNCHED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAttempt:
    """What to ask for next, after `pause_s` seconds. `hop` says what is asked for instead, if
    something is."""

    attempt: Attempt
    pause_s: float
    hop: str = ""


def next_attempt(machine: Machine, error: PortError | None, *, now_s: float) -> NextAttempt:
    """After the current attempt was refused with `error`, or failed for what that says, or failed
    for another reason or was lost (None).

    Another zone first, then the next offer, both at once; when all have been refused, or it was no
    refusal, the first offer again after a pause that grows with every round. It starts small again
    once a machine has worked.
    """
    last, offers = machine.attempt, machine.spec.offers
    number = last.number + 1
    worked = is_true(machine.conditions, states.INITIALIZED)
    hops = last.number if worked else last.hops
    if isinstance(error, CapacityUnavailable):
        known = (*last.refused_zones, last.asked_zone, error.zone)  # whatever the cloud speaks of
        refused = tuple(zone for zone in dict.fromkeys(known) if zone)
        untried = [zone for zone in error.other_zones if zone not in refused]
        if untried:
            attempt = Attempt(
                number=number,
                instance_type=machine.offer.instance_type,
                capacity_type=machine.offer.capacity_type,
                asked_zone=untried[0],
                refused_zones=refused,
                hops=hops + 1,
            )
            hop = f"{machine.offer} in zone {untried[0]}"
            return NextAttempt(attempt=attempt, pause_s=0.0, hop=hop)
    if isinstance(error, CapacityUnavailable | QuotaExceeded) and machine.offer in offers:
        left = offers[offers.index(machine.offer) + 1 :]
        if left:
            attempt = Attempt(
                number=number,
                instance_type=left[0].instance_type,
                capacity_type=left[0].capacity_type,
                hops=hops + 1,
            )
            return NextAttempt(attempt=attempt, pause_s=0.0, hop=str(left[0]))
    pause_s = retry_pause_s(max(number - hops, 1))  # somebody may have edited the record
    attempt = Attempt(number=number, not_before_s=float(int(now_s + pause_s)), hops=hops)
    return NextAttempt(attempt=attempt, pause_s=pause_s)


def retry_pause_s(attempt: int) -> float:
    """Seconds to wait before attempt `attempt`: doubling from 30 s, at most 5 min."""
    assert attempt >= 1, attempt
    return min(FIRST_RETRY_S * 2.0 ** min(attempt - 1, 10), LONGEST_RETRY_S)


def fallback_names(workspace: Workspace) -> tuple[str, ...]:
    """The instance types that may be bought instead, as they are written, best first."""
    text = workspace.annotation(labels.FALLBACK_INSTANCE_TYPES)
    return tuple(name.strip() for name in text.split(",")) if text.strip() else ()


def _fallback_rules(workspace: Workspace, catalogue: Catalogue) -> Iterator[Problem]:
    first = workspace.resource.instance_type
    seen = {first.casefold()}
    if fallback_names(workspace) and labels.INSTANCE_TYPE in _selected_keys(workspace):
        message = f"is of no use: {labels.INSTANCE_TYPE} is selected"
        yield _fallback(message, f"Remove it, or do not select by {labels.INSTANCE_TYPE}")
    for name in fallback_names(workspace):
        try:
            other = catalogue.instance_type(name)
        except UnknownInstanceType as error:
            yield _fallback(error.message, error.remedy)
            continue
        if name.casefold() in seen:
            message = f"{name} is there already"
            yield _fallback(message, "Name each type once")
        seen.add(name.casefold())
        try:
            cloud = catalogue.instance_type(first).cloud
        except UnknownInstanceType:
            continue  # told where it stands
        if other.cloud != cloud:
            message = f"{name} is sold by {other.cloud}, {first} by {cloud}"
            yield _fallback(message, "Name types of one cloud")


def _selected_keys(workspace: Workspace) -> set[str]:
    """Keys of labels by which the Workspace itself says on which Nodes its pods may run."""
    found = {one.key for one in workspace.resource.label_selector.match_expressions}
    template = workspace.inference.template if workspace.inference is not None else None
    return found | placing_keys(template) if template is not None else found


def _fallback(message: str, remedy: str) -> Problem:
    return Problem(field=_FALLBACKS, message=message, remedy=remedy, rule="fallback-known")
