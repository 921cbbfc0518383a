"""What is seen of one machine, and what is written of it: conditions in Karpenter's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kaito.domain import machine as states
from kaito.domain.conditions import Condition, condition, merge, seen_at
from kaito.domain.machine import Attempt, CloudMachine, Machine, NodePod, NodeView
from kaito.domain.plan import WriteMachine

RECHECK_S: Final = 15.0  # how often the cloud is asked while a machine is ordered or ends


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """All that is known of one machine. `cloud` holds every cloud machine of this record, of
    this attempt and earlier ones. `pods` are those on its Node, which are only looked at while it
    may have to be drained; `owner_leaves`: its Workspace is gone or being deleted. Before
    `watched_from_s` nobody here knows what was: a cluster that is stopped has no operator, and what
    its machines waited for is waited for anew once it is started."""

    machine: Machine
    cloud: tuple[CloudMachine, ...]
    node: NodeView | None
    owner_exists: bool
    owner_leaves: bool = False
    pods: tuple[NodePod, ...] = ()
    watched_from_s: float = 0.0


def record(
    machine: Machine,
    conditions: Sequence[Condition],
    now_s: float,
    *,
    attempt: Attempt | None = None,
    provider_id: str = "",
    node_name: str = "",
) -> WriteMachine:
    """The machine's record with these conditions laid over those that it has."""
    stamped = seen_at(machine.generation, conditions)
    return WriteMachine(
        attempt=attempt or machine.attempt,
        conditions=merge(machine.conditions, stamped, now_s=now_s),
        provider_id=provider_id,
        node_name=node_name,
    )


def same_record(machine: Machine, conditions: Sequence[Condition], now_s: float) -> WriteMachine:
    """The record of the same machine, on the same Node, with these conditions."""
    return record(
        machine,
        conditions,
        now_s,
        provider_id=machine.provider_id,
        node_name=machine.node_name,
    )


def fence(machine: Machine) -> WriteMachine:
    """The record as it is. To whom has a stale one, a later attempt looks like an earlier one, and
    the machine of a new record of the same name like his own."""
    return WriteMachine(
        attempt=machine.attempt,
        conditions=machine.conditions,
        provider_id=machine.provider_id,
        node_name=machine.node_name,
    )


def changes(machine: Machine, written: WriteMachine) -> bool:
    """Whether the record says something else than before."""
    return written != fence(machine)


_ORDER: Final = (states.LAUNCHED, states.REGISTERED, states.INITIALIZED)


def not_yet(after: str, reason: str = "") -> list[Condition]:
    """The conditions that come later than `after`: not reached; Ready names the one to wait for."""
    later = _ORDER[_ORDER.index(after) + 1 :]
    unreached = [condition(kind, "Unknown", "AwaitingReconciliation", "") for kind in later]
    return [*unreached, condition(states.READY, "False", reason or f"Not{after}", "")]
