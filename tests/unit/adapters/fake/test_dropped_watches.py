import itertools

import pytest

from kaito.adapters.fake.faults import FaultyKubeApi
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import CONFIG_MAP, Gone, name_of

START_S = 1000.0


class Client:
    """A client whose watches can break, and how often it was woken."""

    def __init__(self) -> None:
        uids = itertools.count()
        self.store = ObjectStore(now_s=lambda: START_S, new_uid=lambda: str(next(uids)))
        self.stepped = 0
        self.woken = 0
        self.api = FaultyKubeApi(
            self.store,
            now_s=lambda: START_S,
            choose=lambda _verb: None,
            wake=self._step_me,
        )
        self.watch = self.api.watch(
            CONFIG_MAP, resource_version=self.store.resource_version, wake=self._wake
        )

    def write(self, name: str) -> None:
        self.store.create(CONFIG_MAP, {"metadata": {"name": name, "namespace": "default"}})

    def seen(self) -> list[str]:
        return [name_of(event.object) for event in self.watch.poll()]

    def _wake(self) -> None:
        self.woken += 1

    def _step_me(self) -> None:
        self.stepped += 1


def test_a_whole_watch_is_like_any_other() -> None:
    client = Client()
    client.write("a")
    assert (client.woken, client.seen()) == (1, ["a"])
    client.watch.close()
    client.write("b")
    assert (client.woken, client.seen()) == (1, [])


def test_a_watch_that_breaks_at_once_says_so() -> None:
    client = Client()
    client.api.drop_watches(until_s=START_S)
    assert client.stepped == 1
    assert client.api.step(START_S) is None
    assert client.woken == 1
    with pytest.raises(Gone):
        client.seen()


def test_nothing_arrives_until_a_silent_watch_breaks() -> None:
    client = Client()
    client.api.drop_watches(until_s=START_S + 60.0)
    assert client.api.step(START_S) == START_S + 60.0
    client.write("a")
    assert (client.woken, client.seen()) == (0, [])
    assert client.api.step(START_S + 60.0) is None
    assert client.woken == 1
    with pytest.raises(Gone):
        client.seen()


def test_a_watch_that_is_opened_later_is_whole() -> None:
    client = Client()
    client.api.drop_watches(until_s=START_S + 60.0)
    late = client.api.watch(CONFIG_MAP, resource_version=client.store.resource_version)
    client.write("a")
    client.api.step(START_S + 60.0)
    assert [name_of(event.object) for event in late.poll()] == ["a"]


def test_a_watch_that_is_closed_while_it_is_silent_wakes_nobody() -> None:
    client = Client()
    client.api.drop_watches(until_s=START_S + 60.0)
    client.watch.close()
    client.api.step(START_S + 60.0)
    assert (client.woken, client.seen()) == (0, [])
