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
USER = st.one_of(
    st.just(Apply()),
    st.just(Delete()),
    st.builds(DeleteClaim, st.integers(0, 2)),
    st.just(DeleteStatefulSet()),
)
FAULTS = st.one_of(
    st.just(Crash()),
    st.builds(Abandon, TARGETS),
    st.builds(Lag, st.sampled_from([0.0, 1.0, 10.0, 60.0, 100.0])),
    st.builds(CloudLag, st.sampled_from([0.0, 5.0, 60.0])),
    st.builds(
        Lose, st.sampled_from(["request", "answer"]), st.sampled_from(["kubernetes", "cloud"])
    ),
    st.builds(Refuse, st.sampled_from(["capacity", "quota"])),
    st.builds(Evict, st.integers(0, 1)),
)
OPS = st.lists(st.one_of(ROUNDS, ROUNDS, ROUNDS, FAULTS, USER), max_size=60)


@pytest.mark.parametrize("nodes", [1, 2])
@PROFILE
@given(begin=st.integers(0, 16), ops=OPS)
def test_never_a_machine_too_many(nodes: int, begin: int, ops: Sequence[Op]) -> None:
    play = Interleaving(manifest(count=nodes), nodes)
    play.play([Apply(), Work(begin), *ops])
    event(f"machines {len(play.world.cloud.lives)}")
    event(
        f"max attempt {max((c.attempt.number for c in play.world.ports.machines.list_machines()), default=-1)}"
    )
