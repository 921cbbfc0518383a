"""A rollout with one more machine, stage by stage."""

from dataclasses import replace
from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.cluster_view import WorkloadState, WorkloadView
from kaito.domain.errors import InvalidInput
from kaito.domain.rollout import RolloutPolicy, Surge, next_surge, rollout_policy
from tests.unit.domain.builders import workspace

SETTLED = WorkloadView(
    state=WorkloadState.SAME,
    observed=True,
    settled=True,
    replicas=2,
    pods=2,
    updated_replicas=2,
    ready_replicas=2,
)
CHANGED = replace(SETTLED, state=WorkloadState.DIFFERENT, content_differs=True, rolls=True)


def stage(live: WorkloadView, *, machines_ready: int = 3) -> Surge | None:
    return next_surge(live, 2, machines_ready=machines_ready)


def asks_for(live: WorkloadView, **more: Any) -> tuple[int | None, int | None]:
    found = stage(live, **more)
    assert found is not None
    assert found.machines == 3
    assert found.message
    return found.replicas, found.partition


def test_the_policy() -> None:
    assert rollout_policy(workspace()) is RolloutPolicy.IN_PLACE
    surging = workspace(annotations={labels.ROLLOUT: "surge"})
    assert rollout_policy(surging) is RolloutPolicy.SURGE
    with pytest.raises(InvalidInput) as refused:
        rollout_policy(workspace(annotations={labels.ROLLOUT: "blue-green"}))
    (problem,) = refused.value.problems
    assert problem.field == "metadata.annotations[kaito.sh/rollout]"
    assert problem.message == "must be one of in-place, surge, got 'blue-green'"


@pytest.mark.parametrize(
    "live",
    [
        SETTLED,
        replace(CHANGED, state=WorkloadState.MISSING),
        replace(CHANGED, state=WorkloadState.DELETING),
        replace(CHANGED, must_replace=True),
        replace(CHANGED, inherited=True),
        replace(CHANGED, replicas=1),
        replace(CHANGED, replicas=4),
        replace(CHANGED, ready_replicas=1),
        replace(SETTLED, observed=False, pods=3),
    ],
    ids=[
        "nothing changes",
        "missing",
        "deleting",
        "to be made anew",
        "as KAITO made it",
        "too few replicas",
        "far too many replicas",
        "does not serve anyway",
        "not seen by its controller yet",
    ],
)
def test_no_surge(live: WorkloadView) -> None:
    assert stage(live) is None


def test_what_lost_its_machine_is_changed_in_place() -> None:
    assert stage(CHANGED, machines_ready=1) is None


def test_a_change_waits_for_the_machine() -> None:
    assert asks_for(CHANGED, machines_ready=2) == (None, None)
    assert asks_for(CHANGED) == (3, 2)


def test_a_change_on_top_of_a_change_begins_again_on_the_spare_pod() -> None:
    rolling = replace(CHANGED, replicas=3, partition=0, ready_replicas=2)
    assert asks_for(rolling) == (3, 2)


STARTED = replace(
    SETTLED, settled=False, replicas=3, partition=2, pods=3, updated_replicas=1, ready_replicas=3
)


@pytest.mark.parametrize(
    "missing", [{"observed": False}, {"pods": 2}, {"updated_replicas": 0}, {"ready_replicas": 2}]
)
def test_the_old_pods_stay_until_the_new_one_is_ready(missing: dict[str, Any]) -> None:
    assert asks_for(STARTED) == (3, 0)
    assert asks_for(replace(STARTED, **missing)) == (3, 2)


REPLACED = replace(STARTED, settled=True, partition=0, updated_replicas=3)


@pytest.mark.parametrize("missing", [{"settled": False}, {"ready_replicas": 2}])
def test_the_spare_pod_stays_until_all_others_are_new_and_ready(missing: dict[str, Any]) -> None:
    assert asks_for(REPLACED) == (2, 0)
    assert asks_for(replace(REPLACED, **missing)) == (3, 0)


def test_the_machine_stays_until_the_spare_pod_is_gone() -> None:
    assert asks_for(replace(SETTLED, settled=False, pods=3)) == (2, 0)


def test_what_a_stage_writes() -> None:
    held = Surge(machines=3, message="")
    assert held.keeps(CHANGED)
    asked = Surge(machines=3, message="", replicas=3, partition=2)
    assert asked.keeps(STARTED)
    assert not asked.keeps(replace(STARTED, content_differs=True))
    assert not asked.keeps(REPLACED)
