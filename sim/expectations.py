"""Holds what a scenario expects against what came of the run."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias, assert_never

from kaito.domain.durations import duration_text
from sim.result import EventResult, Expectation, WorkspaceResult
from sim.scenario_file import ExpectEvent, ExpectMachines, ExpectPods, ExpectWorkspace

AnyExpect: TypeAlias = ExpectWorkspace | ExpectMachines | ExpectPods | ExpectEvent


def judge(
    expected: Iterable[AnyExpect],
    *,
    workspaces: Sequence[WorkspaceResult],
    machines: int,
    pods: int,
    events: Sequence[EventResult],
) -> tuple[Expectation, ...]:
    """One verdict for each expectation. `machines` and `pods` are those left at the end; `events`
    are all that were recorded, warnings or not."""
    verdicts: list[Expectation] = []
    for one in expected:
        match one:
            case ExpectWorkspace():
                verdicts.append(_workspace(one, workspaces))
            case ExpectMachines():
                verdicts.append(_count("machine", one.machines, machines))
            case ExpectPods():
                verdicts.append(_count("pod", one.pods, pods))
            case ExpectEvent():
                verdicts.append(_event(one, events))
            case _:
                assert_never(one)
    return tuple(verdicts)


def text_of(expected: ExpectWorkspace) -> str:
    """The expectation as a sentence."""
    claims = []
    if expected.absent is not None:
        claims.append("is gone" if expected.absent else "exists")
    if expected.ready is False:
        claims.append("is not READY")
    elif expected.within_s is not None:
        claims.append(f"is READY within {duration_text(expected.within_s)} of its creation")
    elif expected.ready:
        claims.append("is READY")
    if expected.reason is not None:
        claims.append(f"has the reason {expected.reason}")
    if expected.phase is not None:
        claims.append(f"is in phase {expected.phase}")
    return f"Workspace {expected.namespace}/{expected.workspace} {' and '.join(claims)}"


def _workspace(expected: ExpectWorkspace, workspaces: Sequence[WorkspaceResult]) -> Expectation:
    text = text_of(expected)
    key = f"{expected.namespace}/{expected.workspace}"
    found = next((one for one in workspaces if one.key == key and one.deleted_at_s is None), None)
    if found is None:
        gone = next((one for one in workspaces if one.key == key), None)
        since = f" since {duration_text(gone.deleted_at_s or 0.0)}" if gone else ""
        absent_is_all = expected.absent is True and expected.ready is not True
        ok = absent_is_all and expected.reason is None and expected.phase is None
        return Expectation(
            text=text, ok=ok, detail=f"it is gone{since}" if gone else "there is none"
        )
    wrong = [*_wrong_state(expected, found), *_wrong_words(expected, found)]
    return Expectation(text=text, ok=not wrong, detail="; ".join(wrong) or _state(found))


def _wrong_state(expected: ExpectWorkspace, found: WorkspaceResult) -> Iterable[str]:
    if expected.absent:
        yield "it still exists"
    wants_ready = expected.ready is True or expected.within_s is not None
    if wants_ready and expected.ready is not False and not found.ready:
        yield _state(found)
    if expected.ready is False and found.ready:
        yield _state(found)
    if expected.within_s is not None and found.ready_at_s is not None:
        took_s = found.ready_at_s - found.created_at_s
        if took_s > expected.within_s:
            yield f"it took {duration_text(took_s)}"


def _wrong_words(expected: ExpectWorkspace, found: WorkspaceResult) -> Iterable[str]:
    if expected.reason is not None and found.reason != expected.reason:
        yield f"its reason is {found.reason or 'empty'}"
    running = [phase.name for phase in found.phases if phase.end_s is None]
    if expected.phase is not None and expected.phase not in running:
        yield f"it is in phase {' and '.join(running)}" if running else "no phase is running"


def _state(found: WorkspaceResult) -> str:
    if found.ready and found.ready_at_s is not None:
        return f"READY {duration_text(found.ready_at_s - found.created_at_s)} after its creation"
    why = f" ({found.reason})" if found.reason else ""
    return f"it is {'READY' if found.ready else 'not READY'}{why}"


def _count(what: str, expected: int, found: int) -> Expectation:
    noun = what if expected == 1 else f"{what}s"
    text = f"{expected or 'no'} {noun} at the end"
    return Expectation(text=text, ok=found == expected, detail=f"there are {found}")


def _event(expected: ExpectEvent, events: Sequence[EventResult]) -> Expectation:
    about = f" about Workspace {expected.namespace}/{expected.workspace}"
    often = "at least once" if expected.at_least == 1 else f"at least {expected.at_least} times"
    text = f"event {expected.event}{about if expected.workspace else ''} {often}"
    seen = sum(
        event.count
        for event in events
        if event.reason == expected.event
        and (
            expected.workspace is None
            or (event.kind, event.namespace, event.name)
            == ("Workspace", expected.namespace, expected.workspace)
        )
    )
    return Expectation(text=text, ok=seen >= expected.at_least, detail=f"it happened {seen} times")
