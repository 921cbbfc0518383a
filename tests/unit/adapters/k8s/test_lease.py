"""Leader election: one holder at a time, taken over only when the holder is silent."""

import itertools
import random
from collections.abc import Callable

import pytest

from kaito.adapters.fake.faults import FailAfter, FailBefore, Fault, FaultyKubeApi, Verb
from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.k8s.lease import LeaderElection, LeaseTimes
from kaito.adapters.kube_api import LEASE

START_S = 1_767_225_600.0


def at(now_s: float) -> Callable[[], float]:
    return lambda: now_s


class Clock:
    def __init__(self) -> None:
        self.now_s = START_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> ObjectStore:
    uids = (f"uid-{number}" for number in itertools.count())
    return ObjectStore(
        now_s=lambda: clock.now_s, new_uid=lambda: next(uids), resources=(*SERVED, LEASE)
    )


def candidate(api: object, identity: str) -> LeaderElection:
    return LeaderElection(
        api,  # type: ignore[arg-type]  # a store or a faulty view of it
        namespace="default",
        name="kaito-operator",
        identity=identity,
    )


def test_the_first_leads_and_the_second_waits_until_it_is_silent(store: ObjectStore) -> None:
    first, second = candidate(store, "a"), candidate(store, "b")
    assert first.step(at(START_S))
    assert not second.step(at(START_S))
    assert not second.step(at(START_S + 14))
    assert second.step(at(START_S + 16))
    assert not first.step(at(START_S + 17))


def test_a_renewal_keeps_others_away_for_another_duration(store: ObjectStore) -> None:
    first, second = candidate(store, "a"), candidate(store, "b")
    for second_s in range(0, 60, 2):
        assert first.step(at(START_S + second_s))
        assert not second.step(at(START_S + second_s + 1))


def test_a_released_lease_is_taken_at_once(store: ObjectStore) -> None:
    first, second = candidate(store, "a"), candidate(store, "b")
    assert first.step(at(START_S))
    first.release(START_S + 1)
    assert second.step(at(START_S + 2))
    assert store.get(LEASE, "kaito-operator", "default")["spec"]["leaseTransitions"] == 3


def test_a_holder_that_cannot_renew_gives_up_before_another_may_take_over(
    store: ObjectStore, clock: Clock
) -> None:
    down = False

    def choose(_verb: Verb) -> Fault | None:
        return FailBefore() if down else None

    holder = candidate(
        FaultyKubeApi(store, now_s=lambda: clock.now_s, choose=choose, wake=lambda: None), "a"
    )
    assert holder.step(at(START_S))
    down = True
    assert holder.step(at(START_S + 9))
    assert not holder.step(at(START_S + 10))


@pytest.mark.parametrize("seed", range(20))
def test_never_two_leaders_whatever_fails(store: ObjectStore, clock: Clock, seed: int) -> None:
    rng = random.Random(seed)

    def choose(_verb: Verb) -> Fault | None:
        return rng.choice([None, None, None, FailBefore(), FailAfter()])

    faulty = [
        candidate(
            FaultyKubeApi(store, now_s=lambda: clock.now_s, choose=choose, wake=lambda: None), name
        )
        for name in "abc"
    ]
    leads_until_s = [0.0, 0.0, 0.0]  # it steps again by then
    terms = 0
    for _ in range(400):
        clock.now_s += rng.uniform(0.1, 3.0)
        index = rng.randrange(3)
        if not faulty[index].step(lambda: clock.now_s):
            leads_until_s[index] = 0.0
            continue
        others = [until for other, until in enumerate(leads_until_s) if other != index]
        assert max(others) <= clock.now_s
        terms += leads_until_s[index] <= clock.now_s
        leads_until_s[index] = clock.now_s + LeaseTimes().retry_s
    assert terms > 1, "the Lease changed hands"


def test_times_must_fall() -> None:
    with pytest.raises(ValueError, match="must fall: 10"):
        LeaseTimes(duration_s=10.0, renew_within_s=10.0)


def test_a_renewal_that_was_answered_too_late_is_none(store: ObjectStore, clock: Clock) -> None:
    holder = LeaderElection(store, namespace="default", name="kaito-operator", identity="slow")
    moments = iter([START_S, START_S + 1, START_S + 5, START_S + 40])
    assert holder.step(lambda: next(moments))
    assert not holder.step(lambda: next(moments)), "others may have taken over meanwhile"


def test_it_says_why_the_lease_cannot_be_had(store: ObjectStore) -> None:
    nowhere = LeaderElection(store, namespace="nowhere", name="kaito-operator", identity="a")
    assert not nowhere.step(at(START_S))
    assert nowhere.problem == 'namespaces "nowhere" not found'
    here = LeaderElection(store, namespace="default", name="kaito-operator", identity="a")
    assert here.step(at(START_S))
    assert here.problem == ""
