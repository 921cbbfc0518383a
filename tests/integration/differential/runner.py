"""Runs a program on both servers, step by step, until they differ; and finds a shorter one that
makes them differ too.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.integration.conftest import eventually
from tests.integration.differential.comparison import Difference, compared
from tests.integration.differential.known_differences import KNOWN
from tests.integration.differential.side import Answer, Side
from tests.integration.differential.steps import Program, Step

_COLLECTS_WITHIN_S: Final = 15.0
_SHORTENED_IN_S: Final = 60.0

CATEGORIES: Final = ("conflict", "finalizer", "garbage collection", "410", "paging", "status")
Sides = tuple[Side, Side]  # the real server's and the twin's


@dataclass(slots=True)
class Tally:
    """What the programs came across: categories of behaviour, and known differences."""

    steps: int = 0
    hits: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Failure:
    """The first step (or the watches, at the end) that the servers answer differently."""

    program: Program
    where: str
    differences: Sequence[Difference]

    def text(self) -> str:
        """What is different, as comments, and the program: a file that can be run again."""
        told = [f"{self.program.origin}, {self.where}:", *map(str, self.differences)]
        comments = "".join(f"# {' '.join(line.split())}\n" for line in told)
        return comments + self.program.text()


def run(
    program: Program, sides: Sides, tally: Tally, *, patience_s: float = _COLLECTS_WITHIN_S
) -> Failure | None:
    """The first difference, with the program up to it; None if there is none.

    `patience_s`: how long the real garbage collector may take.
    """
    try:
        return _run(program, sides, tally, patience_s)
    finally:
        for side in sides:
            side.close()


def _run(program: Program, sides: Sides, tally: Tally, patience_s: float) -> Failure | None:
    real, twin = sides
    collected = _Collected()
    for number, step in enumerate(program.steps, start=1):
        if step.verb == "settle":
            verdict = _settle(step, sides, collected, tally, patience_s)
        else:
            answers = real.carry_out(step), twin.carry_out(step)
            verdict = judged(step.kind, *answers, tally)
            _count(step, answers[0], tally)
        tally.steps += 1
        if verdict.differences:
            prefix = Program(program.origin, program.steps[:number])
            return Failure(prefix, f"step {number}: {step.line()}", verdict.differences)
        if verdict.is_end:
            return None
    return _compare_events(program, sides, tally)


@dataclass(slots=True)
class Verdict:
    """The differences that nothing explains, and whether the states went apart all the same."""

    differences: list[Difference] = field(default_factory=list)
    is_end: bool = False

    def add(self, other: "Verdict") -> None:
        self.differences += other.differences
        self.is_end = self.is_end or other.is_end


def judged(kind: str, real: Any, twin: Any, tally: Tally) -> Verdict:
    """What is different between two answers about a kind; what is known of it is counted."""
    verdict = Verdict()
    is_all = False
    for difference in compared(real, twin):
        kind_name = kind.partition("/")[0]
        entry = next((each for each in KNOWN if each.covers(kind_name, difference)), None)
        if entry is None:
            verdict.differences.append(difference)
        else:
            tally.known[entry.name] += 1
            verdict.is_end = verdict.is_end or entry.ends
            is_all = is_all or entry.is_all
    if is_all:
        verdict.differences = []
    return verdict


def _compare_events(program: Program, sides: Sides, tally: Tally) -> Failure | None:
    real, twin = sides
    for its, other in zip(real.events(), twin.events(), strict=True):
        verdict = judged(its["kind"], its, other, tally)
        if verdict.differences:
            return Failure(program, f"events of {its['kind']}", verdict.differences)
    return None


def shortened(
    failure: Failure, again: Callable[[Program], Failure | None], limit_s: float = _SHORTENED_IN_S
) -> Failure:
    """A failure of a program that lacks what it does not need, as far as time allows.

    Pauses are kept: without one, what the garbage collector is at would differ.
    """
    until_s = time.monotonic() + limit_s
    size = max(1, len(failure.program.steps) // 2)
    while size:
        start = 0
        while start < len(failure.program.steps) and time.monotonic() < until_s:
            steps = failure.program.steps
            kept = [step for step in steps[start : start + size] if step.verb == "settle"]
            shorter = (*steps[:start], *kept, *steps[start + size :])
            found = None
            if shorter and len(shorter) < len(steps):
                found = again(Program(failure.program.origin, shorter))
            if found is None:
                start += size
            else:
                failure = found
        size //= 2
    return failure


@dataclass(slots=True)
class _Collected:
    """The objects as they were when the garbage collector had last come to rest."""

    before: Mapping[str, Any] = field(default_factory=dict)


def _settle(
    step: Step, sides: Sides, collected: _Collected, tally: Tally, patience_s: float
) -> Verdict:
    real, twin = sides
    twin.carry_out(step)
    idle = Tally()

    def agree() -> bool:
        pair = (_by_name(side, seen=False) for side in sides)
        return not _unlike(*pair, idle).differences

    eventually(agree, patience_s)
    real.carry_out(step)  # nothing more comes of it
    now = _by_name(real, seen=True)
    verdict = _unlike(now, _by_name(twin, seen=True), tally)
    changed = [key for key, obj in collected.before.items() if now.get(key) != obj]
    tally.hits["garbage collection"] += len(changed)
    collected.before = now
    return verdict


def _by_name(side: Side, *, seen: bool) -> dict[str, Any]:
    return {
        f"{obj['kind']}/{obj['metadata']['name']}": side.shown(obj, seen=seen)
        for obj in side.objects()
    }


def _unlike(real: Mapping[str, Any], twin: Mapping[str, Any], tally: Tally) -> Verdict:
    verdict = Verdict()
    for key in sorted({*real, *twin}):
        its, other = ({key: side[key]} if key in side else {} for side in (real, twin))
        verdict.add(judged(key.partition("/")[0], its, other, tally))
    return verdict


def _count(step: Step, answer: Answer, tally: Tally) -> None:
    for category in _categories(step, answer):
        tally.hits[category] += 1


def _categories(step: Step, answer: Answer) -> Iterator[str]:
    error = answer.get("error", {})
    after = answer.get("after", {})
    if error.get("class") == "ObjectConflict":
        yield "conflict"
    if error.get("code") == 410 or (answer.get("result") or {}).get("gone"):
        yield "410"
    if step.verb == "continue" and answer.get("result"):
        yield "paging"
    if step.options.get("subresource") == "status" and not error:
        yield "status"
    meta = after.get("metadata", {})
    held = step.verb == "delete" and not error and "deletionTimestamp" in meta
    changes = "finalizers" in str(step.options) and step.verb == "patch"
    if held or (changes and ("metadata.finalizers" in error.get("causes", ()) or not error)):
        yield "finalizer"
