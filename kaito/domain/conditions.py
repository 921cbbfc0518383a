"""Kubernetes conditions as values, and the rule for their transition times."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Truth: TypeAlias = Literal["True", "False", "Unknown"]

MESSAGE_LIMIT_CHARS: Final = 1024  # an event's; KAITO's 256 would cut off most remedies


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One aspect of an object's state. `since_s` is when `status` last changed (epoch seconds)."""

    type: str
    status: Truth
    reason: str
    message: str = ""
    observed_generation: int = 0
    since_s: float = 0.0

    @property
    def is_true(self) -> bool:
        return self.status == "True"


def condition(kind: str, status: Truth, reason: str, message: str) -> Condition:
    """A condition before it is stamped with time and generation."""
    return Condition(type=kind, status=status, reason=reason, message=message)


def cut_message(text: str) -> str:
    """The text as it fits a condition."""
    if len(text) <= MESSAGE_LIMIT_CHARS:
        return text
    return text[: MESSAGE_LIMIT_CHARS - 1] + "…"


def find(conditions: Iterable[Condition], condition_type: str) -> Condition | None:
    """The condition of that type, if there is one."""
    for found in conditions:  # a loop: this is asked more often than anything else
        if found.type == condition_type:
            return found
    return None


def is_true(conditions: Iterable[Condition], condition_type: str) -> bool:
    found = find(conditions, condition_type)
    return found is not None and found.is_true


def merge(
    old: Sequence[Condition], new: Sequence[Condition], *, now_s: float
) -> tuple[Condition, ...]:
    """`new` laid over `old`, in old's order, what is new at the end.

    A condition whose status did not change keeps its transition time, so that writing the same
    state twice writes nothing. One that changed in the future was written by a clock that was
    ahead: it counts from now on, or what waits for it would wait until that clock was right.
    """
    seen_s = float(int(now_s))  # the API keeps whole seconds
    fresh = {condition.type: condition for condition in new}
    assert len(fresh) == len(new), "one condition of each type"
    merged = []
    for before in old:
        after = fresh.pop(before.type, before)
        if _says_the_same(after, before):
            after = before
        kept = min(before.since_s, seen_s) if after.status == before.status else seen_s
        merged.append(_since(after, kept))
    merged += [_since(condition, seen_s) for condition in fresh.values()]
    return tuple(merged)


def seen_at(generation: int, conditions: Iterable[Condition]) -> list[Condition]:
    """The conditions as of that generation of the object."""
    return [_stamped(found, generation, found.since_s) for found in conditions]


def _says_the_same(one: Condition, other: Condition) -> bool:
    """Whether nothing but the time differs."""
    return (
        one.status == other.status
        and one.reason == other.reason
        and one.message == other.message
        and one.observed_generation == other.observed_generation
    )


def _since(found: Condition, since_s: float) -> Condition:
    """The condition with another time; the very same where that is its time."""
    if found.since_s == since_s:
        return found
    return _stamped(found, found.observed_generation, since_s)


def _stamped(found: Condition, generation: int, since_s: float) -> Condition:
    return Condition(  # `replace` takes three times as long
        type=found.type,
        status=found.status,
        reason=found.reason,
        message=found.message,
        observed_generation=generation,
        since_s=since_s,
    )
