"""Each key once at a time, none lost, failures further apart each time."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kaito.workqueue import LONGEST_BACKOFF_S, WorkQueue


def take_all(queue: WorkQueue[str], now_s: float) -> list[str]:
    found = []
    while (key := queue.take(now_s)) is not None:
        found.append(key)
    return found


def test_keys_come_when_they_are_due_the_longest_due_first() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("late", 30)
    queue.add("early", 10)
    queue.add("soon", 20)
    assert queue.take(9.9) is None
    assert queue.next_due_s() == 10
    assert take_all(queue, 20) == ["early", "soon"]
    assert len(queue) == 1
    assert take_all(queue, 30) == ["late"]
    assert queue.next_due_s() is None


def test_of_two_times_the_earlier_counts() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 30)
    queue.add("a", 10)
    queue.add("a", 20)
    assert len(queue) == 1
    assert queue.next_due_s() == 10
    assert take_all(queue, 100) == ["a"]


def test_a_time_that_no_longer_counts_wakes_nobody() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 30)
    queue.add("a", 10)
    assert queue.take(10) == "a"
    queue.done("a", 10, again_after_s=40)
    assert queue.take(30) is None, "30 was for a round that has been"
    assert queue.take(50) == "a"


def test_keys_that_are_due_together_come_in_the_order_of_their_coming() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "cab":
        queue.add(key, 5)
    assert take_all(queue, 5) == ["c", "a", "b"]


def test_what_changes_during_the_work_is_worked_on_again_afterwards() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    assert queue.take(0) == "a"
    queue.add("a", 3)
    queue.add("a", 1)
    assert queue.take(10) is None, "it is being worked on"
    assert not queue.is_idle(10)
    assert len(queue) == 1
    queue.done("a", 10, again_after_s=60)
    assert queue.take(10) == "a", "at once, not after a minute"
    queue.done("a", 10, again_after_s=None)
    assert queue.next_due_s() is None
    assert queue.is_idle(10)


def test_a_round_may_ask_to_come_back() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    queue.take(0)
    queue.done("a", 5, again_after_s=15)
    assert queue.next_due_s() == 20
    assert queue.is_idle(19)
    assert not queue.is_idle(20)


def test_failures_come_back_further_apart_until_one_succeeds() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    now_s, pauses = 0.0, []
    for _ in range(12):
        assert queue.take(now_s) == "a"
        queue.done("a", now_s, again_after_s=None, failed=True)
        due_s = queue.next_due_s()
        assert due_s is not None
        pauses.append(due_s - now_s)
        now_s = due_s
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    queue.take(now_s)
    queue.done("a", now_s, again_after_s=None)
    queue.add("a", now_s)
    queue.take(now_s)
    queue.done("a", now_s, again_after_s=None, failed=True)
    assert queue.next_due_s() == now_s + 1, "a success forgets the failures"


@pytest.mark.parametrize(("asked_s", "pause_s"), [(0.5, 1), (7, 7), (None, 1)])
def test_a_failure_that_names_its_pause_gets_the_longer_one(
    asked_s: float | None, pause_s: float
) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    queue.take(0)
    queue.done("a", 0, again_after_s=asked_s, failed=True)
    assert queue.next_due_s() == pause_s


def test_what_rests_comes_back_less_and_less_often_until_something_changes() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    now_s, pauses = 0.0, []
    for _ in range(7):
        assert queue.take(now_s) == "a"
        queue.done("a", now_s, again_after_s=900, resting=True)
        due_s = queue.next_due_s()
        assert due_s is not None
        pauses.append(due_s - now_s)
        now_s = due_s
    assert pauses == [900, 1800, 3600, 7200, 14400, 14400, 14400]
    queue.add("a", now_s)
    queue.take(now_s)
    queue.done("a", now_s, again_after_s=900, resting=True)
    assert queue.next_due_s() == now_s + 900, "it changed: the pauses begin anew"
    queue.take(now_s + 900)
    queue.done("a", now_s + 900, again_after_s=900)
    assert queue.next_due_s() == now_s + 1800, "there was something to do"


def test_a_longer_pause_is_never_cut_short() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    queue.take(0)
    queue.done("a", 0, again_after_s=100_000, resting=True)
    assert queue.next_due_s() == 100_000


def test_a_change_during_a_round_that_rests_is_not_put_off() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", 0)
    queue.take(0)
    queue.add("a", 1)
    queue.done("a", 2, again_after_s=900, resting=True)
    assert queue.take(2) == "a"


def test_ending_work_that_nobody_began_is_a_bug() -> None:
    with pytest.raises(KeyError):
        WorkQueue[str]().done("a", 0, again_after_s=None)


KEYS = st.sampled_from("abc")
PAUSES = st.sampled_from([0.0, 1.0, 5.0, 50.0])


class QueueAgainstModel(RuleBasedStateMachine):
    """The queue beside the simplest thing that keeps its promises: a dictionary of due times."""

    @initialize()
    def begin(self) -> None:
        self.queue: WorkQueue[str] = WorkQueue()
        self.now_s = 0.0
        self.due_s: dict[str, float] = {}
        self.working: set[str] = set()
        self.failures: dict[str, int] = {}

    @rule(key=KEYS, pause_s=PAUSES)
    def add(self, key: str, pause_s: float) -> None:
        at_s = self.now_s + pause_s
        self.queue.add(key, at_s)
        self.due_s[key] = min(at_s, self.due_s.get(key, at_s))

    @rule(step_s=PAUSES)
    def time_passes(self, step_s: float) -> None:
        self.now_s += step_s

    @rule()
    def take(self) -> None:
        waiting = {key: at for key, at in self.due_s.items() if key not in self.working}
        first_s = min(waiting.values(), default=None)
        taken = self.queue.take(self.now_s)
        if first_s is None or first_s > self.now_s:
            assert taken is None
            return
        assert taken is not None, "a key that is due was lost"
        assert taken not in self.working, "two work on one key"
        assert waiting[taken] == first_s, "the one that has been due longest comes first"
        del self.due_s[taken]
        self.working.add(taken)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), again_after_s=st.none() | PAUSES, failed=st.booleans())
    def done(self, data: st.DataObject, again_after_s: float | None, failed: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.done(key, self.now_s, again_after_s=again_after_s, failed=failed)
        self.working.remove(key)
        self.failures[key] = self.failures.get(key, 0) + 1 if failed else 0
        if failed:
            pause_s = min(2.0 ** (self.failures[key] - 1), LONGEST_BACKOFF_S)
            again_after_s = max(pause_s, again_after_s or 0.0)
        times = [] if again_after_s is None else [self.now_s + again_after_s]
        if key in self.due_s:
            times.append(max(self.due_s.pop(key), self.now_s))
        if times:
            self.due_s[key] = min(times)

    @invariant()
    def they_agree(self) -> None:
        waiting = [at for key, at in self.due_s.items() if key not in self.working]
        assert len(self.queue) == len(self.due_s)
        assert self.queue.next_due_s() == min(waiting, default=None)
        idle = not self.working and all(at > self.now_s for at in waiting)
        assert self.queue.is_idle(self.now_s) == idle


TestQueueAgainstModel = QueueAgainstModel.TestCase
TestQueueAgainstModel.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
