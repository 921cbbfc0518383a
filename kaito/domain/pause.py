"""A Workspace that its user has paused: nothing is changed for it, and its status says so.

KAITO v0.12 has no such annotation; Cluster API's `cluster.x-k8s.io/paused`, with its condition
Paused, is the example. Deleting a paused Workspace releases everything, as ever.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.cluster_view import WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.conditions import Condition, condition, cut_message, find
from kaito.domain.errors import Problem
from kaito.domain.plan import (
    AdoptMachine,
    AdoptWorkload,
    ApplyWorkload,
    CreateMachine,
    DeleteMachine,
    Launch,
    MachinePlan,
    Note,
    Terminate,
    WorkspaceStep,
)
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import Workspace

RECHECK_S: Final = 60.0  # of a machine: no watch wakes it when its Workspace goes on

_WAITS: Final = {
    AdoptMachine: "taking over machines",
    AdoptWorkload: "taking over the workload",
    CreateMachine: "ordering machines",
    DeleteMachine: "releasing machines",
    ApplyWorkload: "changing the workload",
}


def is_paused(workspace: Workspace) -> bool:
    """Whether its user has asked for nothing to be changed."""
    return workspace.annotation(labels.PAUSED) == "true"


def pause_problems(workspace: Workspace) -> Iterator[Problem]:
    """A value that is not understood would go on buying machines that nobody expects."""
    text = workspace.metadata.annotations.get(labels.PAUSED)
    if text not in {None, "true", "false"}:
        yield Problem(
            field=f"metadata.annotations[{labels.PAUSED}]",
            message=f'must be "true" or "false", got {text!r}',
            remedy="Remove it, for the Workspace to go on",
            rule="paused-known",
        )


def as_told(live: WorkloadView, *, paused: bool) -> WorkloadView:
    """The workload for the status to tell of: while its change waits, is what there is up?"""
    if not paused or live.state is not WorkloadState.DIFFERENT:
        return live
    return replace(live, state=WorkloadState.SAME, settled=True)


def wants_finalizer(workspace: Workspace) -> bool:
    """Whether kaito's finalizer is to be added before machines are ordered."""
    there = labels.WORKSPACE_FINALIZER in workspace.metadata.finalizers
    return not there and not is_paused(workspace)


def hold(
    workspace: Workspace, conditions: Sequence[Condition], steps: Sequence[WorkspaceStep]
) -> tuple[list[Condition], list[WorkspaceStep]]:
    """What to tell and what to do of this: as it is, or for a paused Workspace nothing, and that
    it waits."""
    if not is_paused(workspace):
        return list(conditions), list(steps)
    return _paused_conditions(conditions, steps), []


def _paused_conditions(
    conditions: Sequence[Condition], waiting: Sequence[WorkspaceStep]
) -> list[Condition]:
    """What would be only a matter of time, or what is done but for these steps, waits for the user;
    what he has to act on anyhow, stays said."""
    words = list(dict.fromkeys(_WAITS[type(step)] for step in waiting if type(step) in _WAITS))
    text = f'nothing is changed while the annotation {labels.PAUSED} is "true"'
    if words:
        text += f"; waiting: {', '.join(words)}"
    held = condition(st.PAUSED, "True", st.PAUSED, cut_message(text))
    shown: list[Condition] = []
    for found in conditions:
        final = found.type in {st.SUCCEEDED, st.READY}
        if final and (found.reason == "workspacePending" or (found.is_true and words)):
            shown.append(replace(held, type=found.type, status="False"))
        else:
            shown.append(found)
    return [*shown, held]


def resumed(view: WorkspaceView) -> WorkspaceStatus:
    """Its status, in which it is not paused any more, if so it is."""
    if is_paused(view.workspace):
        return view.status
    return without_pause(view.status)


def without_pause(status: WorkspaceStatus) -> WorkspaceStatus:
    """The status of a Workspace that is not paused, or not known to be."""
    if find(status.conditions, st.PAUSED) is None:
        return status
    kept = tuple(found for found in status.conditions if found.type != st.PAUSED)
    return replace(status, conditions=kept)


def pause_notes(before: WorkspaceStatus, after: WorkspaceStatus) -> list[Note]:
    """An event when a Workspace is paused, and one when it goes on."""
    old, new = (find(status.conditions, st.PAUSED) for status in (before, after))
    if new is not None and old is None:
        return [Note(type="Normal", reason="Paused", message=new.message)]
    if old is not None and new is None:
        return [Note(type="Normal", reason="Resumed", message="changes are made again")]
    return []


def touches_machines(plan: MachinePlan) -> bool:
    """Whether it orders or gives back: what waits while the machine's Workspace is paused."""
    return any(isinstance(step, Launch | Terminate | DeleteMachine) for step in plan.steps)


def paused_machine() -> MachinePlan:
    """In the place of a plan that touches machines."""
    return MachinePlan(requeue_after_s=RECHECK_S)
