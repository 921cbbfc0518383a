"""One list for all, with what own calls have made known."""

import threading
from collections.abc import Callable, Iterable

import pytest
from azure.mgmt.containerservice.models import AgentPool

from kaito.adapters.azure.pool_list import PoolList
from kaito.domain.errors import PortError, Rejected, Unavailable
from tests.unit.adapters.azure.arm_stub import Time


def pool(name: str, state: str = "Succeeded") -> AgentPool:
    return AgentPool({"name": name, "properties": {"provisioningState": state}})


class Source:
    def __init__(self) -> None:
        self.time = Time()
        self.there: list[str] = []
        self.fetches = 0
        self.asked = 0
        self.error: PortError | None = None
        self.meanwhile: Callable[[], None] = lambda: None
        self.list = PoolList(self.fetch, now_s=self.now_s, age_s=10.0, wait_s=0.5)

    def now_s(self) -> float:
        self.asked += 1
        return self.time.now

    def fetch(self) -> Iterable[AgentPool]:
        self.fetches += 1
        found = [pool(name) for name in self.there]
        self.meanwhile()
        if self.error is not None:
            raise self.error
        return found


@pytest.fixture
def source() -> Source:
    return Source()


def test_a_note_is_seen_at_once_and_until_the_next_list(source: Source) -> None:
    source.there = ["a"]
    assert list(source.list.get()) == ["a"]
    source.list.note("b", pool("b", "Creating"))
    assert sorted(source.list.get()) == ["a", "b"]
    assert source.fetches == 1
    source.time.now += 10.0
    assert list(source.list.get()) == ["a"], "Azure knows better now"
    assert source.list.known("b") is None


def test_a_note_stays_in_a_list_that_began_before_it(source: Source) -> None:
    source.there = ["a"]
    source.meanwhile = lambda: source.list.note("b", pool("b"))
    assert sorted(source.list.get()) == ["a", "b"]
    source.meanwhile = lambda: None
    source.time.now += 10.0
    assert list(source.list.get()) == ["a"]


def test_an_age_counts_from_the_beginning(source: Source) -> None:
    def take_long() -> None:
        source.time.now += 9.0

    source.meanwhile = take_long
    source.list.get()
    source.time.now += 0.9
    source.list.get()
    assert source.fetches == 1
    source.time.now += 0.2
    source.list.get()
    assert source.fetches == 2


def test_a_list_that_took_longer_than_its_age_is_for_all_who_waited(source: Source) -> None:
    entered, go, got = threading.Event(), threading.Event(), []

    def hold() -> None:
        entered.set()
        assert go.wait(5)
        source.time.now += 12.0

    source.there, source.meanwhile = ["a"], hold
    threads = [threading.Thread(target=lambda: got.append(list(source.list.get())))]
    threads[0].start()
    assert entered.wait(5)
    asked = source.asked
    source.meanwhile = lambda: None
    threads.append(threading.Thread(target=lambda: got.append(list(source.list.get()))))
    threads[1].start()
    while source.asked < asked + 1:
        pass
    go.set()
    for thread in threads:
        thread.join(5)
    assert got == [["a"], ["a"]]
    assert source.fetches == 1


@pytest.mark.parametrize("error", [Unavailable("x", retry_after_s=7.0), Rejected("x")])
def test_an_error_is_not_kept(source: Source, error: PortError) -> None:
    source.error = error
    for _ in range(2):
        with pytest.raises(type(error), match="x"):
            source.list.get()
    source.error = None
    source.list.get()
    assert source.fetches == 3


@pytest.mark.parametrize("error", [Unavailable("x", retry_after_s=7.0), Rejected("x")])
def test_who_waits_shares_the_error(source: Source, error: PortError) -> None:
    entered, go, caught = threading.Event(), threading.Event(), []
    source.error = error

    def hold() -> None:
        entered.set()
        assert go.wait(5)
        source.time.now += 1.0

    source.meanwhile = hold

    def ask() -> None:
        try:
            source.list.get()
        except PortError as raised:
            caught.append(raised)

    first = threading.Thread(target=ask)
    first.start()
    assert entered.wait(5)
    others = [threading.Thread(target=ask) for _ in range(3)]
    for thread in others:
        thread.start()
    while source.asked < 5:  # the first one twice, and each of the others
        threading.Event().wait(0.01)
    go.set()
    for thread in [first, *others]:
        thread.join(5)
    assert [type(one) for one in caught] == [type(error)] * 4
    assert source.fetches == 1
    assert len({id(one) for one in caught}) == 4
    if isinstance(error, Unavailable):
        assert {one.retry_after_s for one in caught if isinstance(one, Unavailable)} == {7.0}


def test_nobody_waits_for_another_for_long(source: Source) -> None:
    entered, go = threading.Event(), threading.Event()

    def hold() -> None:
        entered.set()
        assert go.wait(5)

    source.meanwhile = hold
    thread = threading.Thread(target=source.list.get)
    thread.start()
    assert entered.wait(5)
    with pytest.raises(Unavailable, match="could not be listed within"):
        source.list.get()
    go.set()
    thread.join(5)
    assert source.fetches == 1
