"""Equal matchLabels of two Workspaces are told as a condition and an event, and change nothing."""

from dataclasses import replace

from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkspaceView
from kaito.domain.conditions import Condition, find
from kaito.domain.plan import Note, WorkspacePlan, WriteStatus
from kaito.domain.workspace_plan import plan_workspace
from tests.unit.domain.builders import (
    NOW_S,
    SERVING,
    cluster,
    machines_of,
    pod,
    seen,
    wanted,
    workspace,
)

FOUND = workspace()
AROUND = cluster(machines_of(seen(FOUND), wanted(FOUND)), pods=(pod(),), has_workload=True)


def plan(view: WorkspaceView, around: ClusterView) -> WorkspacePlan:
    return plan_workspace(view, around, wanted(FOUND), SERVING, now_s=NOW_S)


def after(planned: WorkspacePlan) -> WorkspaceView:
    (status,) = [step.status for step in planned.steps if isinstance(step, WriteStatus)]
    return seen(FOUND, status)


def told(view: WorkspaceView) -> Condition | None:
    return find(view.status.conditions, st.SELECTOR_SHARED)


def warnings(planned: WorkspacePlan) -> list[Note]:
    return [step for step in planned.steps if isinstance(step, Note) and step.type == "Warning"]


def test_what_shares_nothing_has_no_condition() -> None:
    assert told(after(plan(seen(FOUND), AROUND))) is None


def test_others_with_the_same_labels_are_named_once() -> None:
    shared = replace(AROUND, sharing=("other", "third"))
    planned = plan(seen(FOUND), shared)
    (note,) = warnings(planned)
    assert note.reason == st.SELECTOR_SHARED
    assert "those of other, third:" in note.message
    view = after(planned)
    found = told(view)
    assert found is not None
    assert (found.status, found.reason, found.message) == ("True", "SameMatchLabels", note.message)
    assert view.status.is_ready, "its machines are kept apart all the same"
    assert plan(view, shared) == WorkspacePlan()


def test_another_one_is_another_event() -> None:
    view = after(plan(seen(FOUND), replace(AROUND, sharing=("other",))))
    (note,) = warnings(plan(view, replace(AROUND, sharing=("other", "third"))))
    assert "those of other, third:" in note.message


def test_of_many_the_first_are_named() -> None:
    four = ("a", "b", "c", "d")
    (note,) = warnings(plan(seen(FOUND), replace(AROUND, sharing=four)))
    assert "those of a, b, c and others:" in note.message


def test_the_condition_ends_without_an_event() -> None:
    view = after(plan(seen(FOUND), replace(AROUND, sharing=("other",))))
    planned = plan(view, AROUND)
    assert warnings(planned) == []
    ended = after(planned)
    found = told(ended)
    assert found is not None
    assert (found.status, found.reason) == ("False", "OwnMatchLabels")
    assert plan(ended, AROUND) == WorkspacePlan()
