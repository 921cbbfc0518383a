"""The history of a Workspace: which revision is made, numbered again or dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.domain import labels
from kaito.domain.cluster_view import RevisionView
from kaito.domain.plan import (
    AddFinalizer,
    CreateRevision,
    DeleteRevision,
    DeleteWorkload,
    Note,
    WorkspacePlan,
    WorkspaceStep,
    WriteStatus,
)
from kaito.domain.revisions import (
    HISTORY_LIMIT,
    content_of,
    content_of_data,
    revision_name,
    revision_steps,
    spec_of,
    with_history,
)
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import Workspace
from tests.unit.domain.builders import LONG, MINI, TUNING, seen, workspace

CREATED = CreateRevision(number=1)


def dropped(*gone: RevisionView) -> list[DeleteRevision]:
    return [DeleteRevision(name=one.name, uid=one.uid) for one in gone]


FENCE = WriteStatus(status=WorkspaceStatus(state="Pending"))


def serving(config: str = "", **inference: Any) -> Workspace:
    """A Workspace whose spec differs with `config`."""
    preset = {"preset": {"name": MINI}}
    return workspace(inference={**preset, **({"config": config} if config else {}), **inference})


def revision(of: Workspace, number: int, **more: Any) -> RevisionView:
    name = more.pop("name", revision_name(of, number))
    content = more.pop("content", content_of(of))
    return RevisionView(name=name, uid=f"uid-{name}", number=number, content=content)


def history(count: int) -> list[RevisionView]:
    """So many specs of the past, numbered from 1."""
    return [revision(serving(f"old-{at}"), at) for at in range(1, count + 1)]


class TestContent:
    @pytest.mark.parametrize(
        "same",
        [
            {"adapters": []},
            {"config": ""},
            {"preset": {"name": MINI, "accessMode": "public"}},
            {"preset": {"name": MINI, "presetOptions": {}}},
            {"template": None},
        ],
    )
    def test_a_default_that_is_written_out_makes_no_difference(
        self, same: Mapping[str, Any]
    ) -> None:
        assert content_of(serving(**same)) == content_of(serving())

    @pytest.mark.parametrize(
        "other",
        [
            serving("settings"),
            serving(preset={"name": LONG}),
            serving(adapters=[{"source": {"name": "a", "image": "registry.test/a:1"}}]),
            workspace(resource={"count": 2}),
            workspace(resource={"preferredNodes": ["a"]}),
            workspace(tuning=TUNING),
        ],
    )
    def test_what_decides_the_workload_does(self, other: Workspace) -> None:
        assert content_of(other) != content_of(serving())

    def test_the_order_of_keys_makes_no_difference(self) -> None:
        pod = {"a": 1, "b": 2}
        assert content_of(serving(template=pod)) == content_of(
            serving(template=dict(reversed(pod.items())))
        )

    def test_metadata_makes_no_difference(self) -> None:
        other = workspace(uid="other", generation=9, annotations={labels.ROLLOUT: "surge"})
        assert content_of(other) == content_of(workspace())

    @pytest.mark.parametrize("kept", [serving("settings"), workspace(tuning=TUNING)])
    def test_what_is_kept_is_recognised(self, kept: Workspace) -> None:
        assert content_of_data(spec_of(kept)) == content_of(kept)
        as_go_writes = {"inference": None, "tuning": None, **spec_of(kept)}
        assert content_of_data(as_go_writes) == content_of(kept)

    @pytest.mark.parametrize("data", [{}, {"spec": {"template": {}}}, {"resource": 1}])
    def test_what_cannot_be_read_is_like_no_spec(self, data: Mapping[str, Any]) -> None:
        assert content_of_data(data) == ""

    def test_what_is_kept_is_what_was_written(self) -> None:
        pod = {"metadata": {"creationTimestamp": None}, "spec": {"containers": [{"name": "a"}]}}
        kept = spec_of(workspace(inference={"template": pod}, tuning=None))
        assert sorted(kept) == ["inference", "resource"]
        assert kept["inference"] == {"template": pod}
        assert sorted(kept["resource"]) == ["instanceType", "labelSelector"]


class TestName:
    def test_it_is_of_the_workspace_and_its_spec(self) -> None:
        names = {
            revision_name(found, number, taken)
            for found in (serving(), serving("settings"), workspace(uid="another"))
            for number in (1, 2)
            for taken in (0, 1)
        }
        assert len(names) == 12
        assert all(name.startswith("phi-") for name in names)
        assert revision_name(serving(), 1) == revision_name(serving(adapters=[]), 1)


class TestSteps:
    def test_the_first(self) -> None:
        assert revision_steps(serving(), []) == [CREATED]

    def test_the_newest_stays(self) -> None:
        assert revision_steps(serving(), [*history(3), revision(serving(), 4)]) == []

    def test_another_spec_is_the_next(self) -> None:
        assert revision_steps(serving(), history(3)) == [CreateRevision(number=4)]

    def test_a_spec_that_comes_back_is_the_newest_instead(self) -> None:
        past = history(3)
        steps = revision_steps(serving("old-1"), past)
        assert steps == [CreateRevision(number=4), *dropped(past[0])]

    def test_of_two_with_one_number_the_one_of_now_gets_the_next(self) -> None:
        """What was read when the other was made may have been old."""
        past, now = history(2), revision(serving(), 2)
        steps = revision_steps(serving(), [*past, now])
        assert steps == [CreateRevision(number=3), *dropped(now)]

    def test_one_spec_is_there_once(self) -> None:
        """A round died before it was done, or KAITO v0.12 kept it in two notations."""
        twice = [revision(serving(), 1, name="phi-01234"), revision(serving(), 2)]
        assert revision_steps(serving(), twice) == dropped(twice[0])

    def test_what_cannot_be_read_counts(self) -> None:
        past = [revision(serving(), 5, name="phi-odd", content="")]
        assert revision_steps(serving(), past) == [CreateRevision(number=6)]

    @pytest.mark.parametrize("count", [HISTORY_LIMIT - 1, HISTORY_LIMIT, HISTORY_LIMIT + 2])
    def test_the_oldest_go(self, count: int) -> None:
        past = history(count)
        create, *gone = revision_steps(serving(), list(reversed(past)))
        assert create == CreateRevision(number=count + 1)
        assert gone == dropped(*past[: count + 1 - HISTORY_LIMIT])

    def test_the_oldest_stays_while_it_is_asked_for(self) -> None:
        past = history(HISTORY_LIMIT + 1)
        steps = revision_steps(serving("old-1"), past)
        assert steps == [CreateRevision(number=len(past) + 1), *dropped(*past[:2])]


class TestPlan:
    def test_it_is_kept_behind_the_fence_and_before_anything_changes(self) -> None:
        note = Note(type="Normal", reason="Said", message="first")
        plan = WorkspacePlan(steps=(note, FENCE, DeleteWorkload()), requeue_after_s=5.0)
        found = with_history(plan, seen(), [])
        assert found == replace(plan, steps=(note, FENCE, CREATED, DeleteWorkload()))

    def test_a_plan_without_steps_gets_the_fence_too(self) -> None:
        status = WorkspaceStatus(state="Ready")
        found = with_history(WorkspacePlan(), seen(status=status), [])
        assert found == WorkspacePlan(steps=(WriteStatus(status=status), CREATED))

    def test_nothing_new_adds_nothing(self) -> None:
        plan = WorkspacePlan(requeue_after_s=5.0)
        assert with_history(plan, seen(), [revision(workspace(), 1)]) is plan

    @pytest.mark.parametrize(
        ("found", "steps"),
        [
            (workspace(deleting=True), (FENCE,)),
            (workspace(annotations={labels.PAUSED: "true"}), (FENCE,)),
            (workspace(finalizers=()), (AddFinalizer(),)),
        ],
        ids=["deleting", "paused", "without finalizer"],
    )
    def test_nothing_is_kept_of(self, found: Workspace, steps: tuple[WorkspaceStep, ...]) -> None:
        plan = WorkspacePlan(steps=steps)
        assert with_history(plan, seen(found), []) is plan


class Kept:
    """A history that does what it is told."""

    def __init__(self) -> None:
        self.now: list[RevisionView] = []

    def carry_out(self, found: Workspace, steps: Sequence[WorkspaceStep]) -> None:
        for step in steps:
            match step:
                case CreateRevision(number=number):
                    if revision_name(found, number) not in {one.name for one in self.now}:
                        self.now.append(revision(found, number))
                case DeleteRevision(uid=uid):
                    self.now = [one for one in self.now if one.uid != uid]


changes = st.lists(st.tuples(st.integers(0, 14), st.integers(0, 2), st.booleans()), max_size=40)


@given(changes)
def test_after_any_changes_there_is_one_history(
    played: list[tuple[int, int, bool]],
) -> None:
    """Rounds that die after so many writes, and rounds that read what was there before those; then
    one that does neither, and one that puts right what was read too early."""
    kept, highest = Kept(), 0
    for which, writes, is_stale in played:
        before = list(kept.now)
        found = serving(f"spec-{which}")
        kept.carry_out(found, revision_steps(found, kept.now)[:writes])
        if is_stale:
            kept.carry_out(found, revision_steps(found, before))
        for _ in range(2):
            kept.carry_out(found, revision_steps(found, kept.now))
        assert revision_steps(found, kept.now) == []
        assert len(kept.now) <= HISTORY_LIMIT
        newest = max(kept.now, key=lambda one: one.number)
        assert newest.content == content_of(found)
        assert [one.number for one in kept.now].count(newest.number) == 1
        assert newest.number >= highest
        highest = newest.number


@given(st.lists(st.integers(0, 14), min_size=1, max_size=40))
def test_numbers_grow_by_one_with_each_change(played: list[int]) -> None:
    kept, changed, last = Kept(), 0, -1
    for at, which in enumerate(played):
        changed, last = changed + (which != last), which
        found = serving(f"spec-{which}")
        kept.carry_out(found, revision_steps(found, kept.now))
        numbers = [one.number for one in kept.now]
        assert max(numbers) == changed
        assert len(set(numbers)) == len(numbers) == len({one.content for one in kept.now})
        assert len(numbers) == min(len(set(played[: at + 1])), HISTORY_LIMIT)
