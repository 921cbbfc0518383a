"""No interleaving of rounds, crashes, stale reads and users buys a machine too many.

The nightly profile tries more: KAITO_PROFILE=nightly.
"""

import os
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.simulation.interleaving import (
    NAME,
    NAMESPACE,
    Abandon,
    Advance,
    Apply,
    CloudLag,
    Crash,
    Delete,
    DeleteClaim,
    DeleteStatefulSet,
    Evict,
    Interleaving,
    Lag,
    Lose,
    Op,
    Refuse,
    Run,
    Scale,
    Step,
    Target,
    Work,
)

NIGHTLY = os.environ.get("KAITO_PROFILE") == "nightly"
PROFILE = settings(
    max_examples=5_000 if NIGHTLY else 150,
    derandomize=not NIGHTLY,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def manifest(*, count: int) -> dict[str, Any]:
    """One small model, served by each of `count` machines with one GPU."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "count": count,
            "labelSelector": {"matchLabels": {"apps": "phi-3"}},
        },
        "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
    }


WORKSPACE = Target("workspace")
ORPHANS = Target("orphans")
MACHINES = st.builds(Target, st.just("machine"), st.integers(0, 2))
TARGETS = st.one_of(st.just(WORKSPACE), MACHINES, st.just(ORPHANS))

ROUNDS = st.one_of(
    st.builds(Run, TARGETS),
    st.builds(Step, TARGETS, st.integers(1, 8)),
    st.builds(Work, st.sampled_from([1, 2, 4, 16])),
    st.builds(Advance, st.sampled_from([0.1, 1.0, 10.0, 30.0, 60.0, 130.0, 310.0, 1000.0])),
)
FAULTS = st.one_of(
    st.just(Crash()),
    st.builds(Abandon, TARGETS),
    st.builds(Lag, st.sampled_from([0.0, 1.0, 10.0, 60.0, 100.0])),
    st.builds(CloudLag, st.sampled_from([0.0, 5.0, 60.0, 400.0])),
    st.builds(
        Lose, st.sampled_from(["request", "answer"]), st.sampled_from(["kubernetes", "cloud"])
    ),
    st.builds(Refuse, st.sampled_from(["capacity", "quota"])),
    st.builds(Evict, st.integers(0, 1)),
)


def user(nodes: int) -> st.SearchStrategy[Op]:
    """What the user does to a Workspace of at most so many machines."""
    return st.one_of(
        st.just(Apply()),
        st.just(Delete()),
        st.builds(DeleteClaim, st.integers(0, 2)),
        st.just(DeleteStatefulSet()),
        st.builds(Scale, st.integers(1, nodes)),
    )


def interleavings(nodes: int) -> st.SearchStrategy[list[Op]]:
    """Anything, most of it the operator's work."""
    return st.lists(st.one_of(ROUNDS, ROUNDS, ROUNDS, FAULTS, user(nodes)), max_size=60)


@PROFILE
@given(begin=st.integers(0, 16), ops=interleavings(1))
def test_one_machine(begin: int, ops: Sequence[Op]) -> None:
    play = Interleaving(manifest(count=1), nodes=1)
    play.play([Apply(), Work(begin), *ops])
    event(f"machines bought: {len(play.world.cloud.lives)}")


@PROFILE
@given(begin=st.integers(0, 16), ops=interleavings(2))
def test_two_machines(begin: int, ops: Sequence[Op]) -> None:
    play = Interleaving(manifest(count=2), nodes=2)
    play.play([Apply(), Work(begin), *ops])
    event(f"machines bought: {len(play.world.cloud.lives)}")


# What was once wrong.

MACHINE = Target("machine")
ORDERED = (Apply(), Run(WORKSPACE), Run(WORKSPACE), Run(MACHINE))


@pytest.mark.parametrize("rounds", [8, 9, 10])
def test_a_stale_record_gives_no_later_attempt_back(rounds: int) -> None:
    """To an old record the machine of the next attempt looks like a leftover."""
    sold_out = Refuse("capacity")
    then: list[Op] = [Work(rounds), Lag(100.0), Run(MACHINE)]
    Interleaving(manifest(count=1), nodes=1).play([Apply(), sold_out, sold_out, *then])


@pytest.mark.parametrize("calls", range(1, 8))
def test_a_release_that_is_cut_short_leaves_no_machine(calls: int) -> None:
    """The cloud does not list the machine yet: that it was given back must be certain."""
    play = Interleaving(manifest(count=1), nodes=1)
    cut = (Delete(), Run(WORKSPACE), Step(MACHINE, calls), Crash(), Run(MACHINE), Run(MACHINE))
    for op in (*ORDERED, *cut, Run(WORKSPACE)):
        op(play)
    assert play.workspace() is None or play.workspace_is_deleting()
    assert play.live() == [] or play.workspace() is not None, "it is gone and its machine is not"
    play.play([])


@pytest.mark.parametrize("calls", range(3, 8))
def test_giving_up_that_is_cut_short_waits_for_the_machine(calls: int) -> None:
    """The next attempt is recorded, the last one is not given back yet."""
    play = Interleaving(manifest(count=1), nodes=1)
    overdue = (CloudLag(1000.0), Advance(310.0), Step(MACHINE, calls), Crash(), CloudLag(0.0))
    play.play([*ORDERED, *overdue, Advance(60.0), Run(MACHINE), Run(MACHINE)])


@pytest.mark.parametrize("calls", range(1, 4))
def test_a_slow_round_takes_nothing_for_overdue(calls: int) -> None:
    """What it saw five minutes ago was not overdue five minutes ago."""
    play = Interleaving(manifest(count=1), nodes=1)
    play.play([*ORDERED, Step(MACHINE, calls), Advance(310.0), Run(MACHINE)])
    assert len(play.world.cloud.lives) == 1


def test_a_pod_on_a_node_that_is_gone_does_not_serve() -> None:
    """Until it is cleaned away it counts as ready, and meanwhile there is another machine."""
    Interleaving(manifest(count=1), nodes=1).play([Apply(), Work(5), Evict(0)])
