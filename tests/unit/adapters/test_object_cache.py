from itertools import count
from typing import Any, cast

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import CONFIG_MAP, KubeApi, KubeObject, name_of
from kaito.adapters.object_cache import Index, ObjectCache


@pytest.fixture
def api() -> ObjectStore:
    uids = count(1)
    return ObjectStore(now_s=lambda: 0.0, new_uid=lambda: f"uid-{next(uids)}", history=10)


def put(api: ObjectStore, name: str, colour: str) -> KubeObject:
    body = {"metadata": {"namespace": "default", "name": name}, "data": {"colour": colour}}
    return api.create(CONFIG_MAP, body)


def repaint(api: ObjectStore, name: str, colour: str) -> KubeObject:
    return api.patch(CONFIG_MAP, name, "default", {"data": {"colour": colour}})


def colours(obj: KubeObject) -> list[str]:
    return [obj["data"]["colour"]]


def names(cache: ObjectCache) -> list[str]:
    return sorted(name_of(obj) for obj in cache.values())


def test_a_refresh_brings_what_changed(api: ObjectStore) -> None:
    woken: list[bool] = []
    cache = ObjectCache(api, CONFIG_MAP, lambda: woken.append(True))
    by_colour = Index(cache, colours)
    put(api, "a", "red")
    put(api, "b", "red")
    assert cache.refresh() == [("default", "a"), ("default", "b")]
    assert by_colour.get("red") == [("default", "a"), ("default", "b")]
    assert not woken
    repaint(api, "a", "blue")
    repaint(api, "a", "green")
    api.delete(CONFIG_MAP, "b", "default")
    assert woken
    assert names(cache) == ["a", "b"]  # nothing moves between refreshes
    assert cache.refresh() == [("default", "a"), ("default", "b")]
    assert (by_colour.get("red"), by_colour.get("blue")) == ([], [])
    assert by_colour.get("green") == [("default", "a")]
    assert cache.refresh() == []


def test_a_lost_watch_is_made_good_by_a_list(api: ObjectStore) -> None:
    cache = ObjectCache(api, CONFIG_MAP, lambda: None)
    put(api, "stays", "red")
    put(api, "goes", "red")
    put(api, "changes", "red")
    cache.refresh()
    seen: list[tuple[str, str]] = []

    def note(before: KubeObject | None, after: KubeObject | None) -> None:
        kind = "added" if before is None else "removed" if after is None else "changed"
        obj = after if after is not None else before
        assert obj is not None
        seen.append((kind, name_of(obj)))

    cache.on_change(note)
    by_colour = Index(cache, colours)
    api.delete(CONFIG_MAP, "goes", "default")
    put(api, "comes", "red")
    for number in range(20):  # more changes than the server remembers
        repaint(api, "changes", f"shade-{number}")
    cache.refresh()
    assert sorted(seen) == [("added", "comes"), ("changed", "changes"), ("removed", "goes")]
    assert by_colour.get("red") == [("default", "comes"), ("default", "stays")]
    repaint(api, "stays", "blue")
    assert cache.refresh() == [("default", "stays")]


def test_ones_own_write_is_seen_at_once_and_not_twice(api: ObjectStore) -> None:
    cache = ObjectCache(api, CONFIG_MAP, lambda: None)
    cache.refresh()
    cache.put(put(api, "a", "red"))
    assert names(cache) == ["a"]
    assert cache.refresh() == []


def test_timers_answer_in_order_and_forget_what_was_replaced() -> None:
    timers: Timers[str] = Timers()
    timers.set("late", 30)
    timers.set("early", 10)
    timers.set("also early", 10)
    timers.hasten("late", 40)
    timers.hasten("late", 20)
    timers.set("never", 5)
    timers.set("never", None)
    assert timers.next_s() == 10
    assert timers.pop_due(9) == []
    assert timers.pop_due(15) == ["early", "also early"]
    assert timers.pop_due(100) == ["late"]
    assert timers.next_s() is None


def test_no_object_goes_back_to_an_older_version(api: ObjectStore) -> None:
    cache = ObjectCache(api, CONFIG_MAP, lambda: None)
    first = put(api, "a", "red")
    cache.refresh()
    seen: list[str] = []
    cache.on_change(lambda _before, after: seen.append(after["data"]["colour"] if after else ""))
    repaint(api, "a", "blue")
    cache.put(repaint(api, "a", "green"))  # known before the event of "blue"
    assert cache.refresh() == []
    cache.put(first)
    assert seen == ["green"]


def test_a_late_answer_does_not_bring_back_what_was_deleted(api: ObjectStore) -> None:
    cache = ObjectCache(api, CONFIG_MAP, lambda: None)
    answer = put(api, "a", "red")
    cache.refresh()
    api.delete(CONFIG_MAP, "a", "default")
    cache.refresh()
    cache.put(answer)
    assert names(cache) == []
    cache.put(put(api, "a", "blue"))
    assert names(cache) == ["a"]


def test_one_made_again_outlives_the_news_of_its_predecessors_deletion(api: ObjectStore) -> None:
    cache = ObjectCache(api, CONFIG_MAP, lambda: None)
    put(api, "a", "red")
    cache.refresh()
    api.delete(CONFIG_MAP, "a", "default")
    cache.put(put(api, "a", "blue"))
    assert cache.refresh() == []
    assert names(cache) == ["a"]


def test_of_one_namespace_only(api: ObjectStore) -> None:
    api.create(CONFIG_MAP, {"metadata": {"namespace": "kube-system", "name": "b"}})
    cache = ObjectCache(api, CONFIG_MAP, lambda: None, namespace="default")
    put(api, "a", "red")
    cache.refresh()
    api.create(CONFIG_MAP, {"metadata": {"namespace": "kube-system", "name": "c"}})
    cache.refresh()
    assert names(cache) == ["a"]


class Restored:
    """A server with another store behind it after it was restored."""

    def __init__(self, now: ObjectStore) -> None:
        self.now = now

    def list(self, *args: Any, **more: Any) -> Any:
        return self.now.list(*args, **more)

    def watch(self, *args: Any, **more: Any) -> Any:
        return self.now.watch(*args, **more)


def test_a_backup_takes_everything_back(api: ObjectStore) -> None:
    """As after etcd was restored: older versions, and objects that never were."""
    backup = ObjectStore(now_s=lambda: 0.0, new_uid=lambda: "uid", history=10)
    put(backup, "a", "red")
    put(api, "a", "red")
    for colour in ("blue", "green", "white", "black"):
        repaint(api, "a", colour)
    put(api, "b", "red")
    server = Restored(api)
    cache = ObjectCache(cast(KubeApi, server), CONFIG_MAP, lambda: None)
    cache.refresh()
    server.now = backup
    cache.close()
    cache.refresh()
    assert [(name_of(obj), colours(obj)) for obj in cache.values()] == [("a", ["red"])]


def test_what_a_later_list_lacks_is_not_brought_back(api: ObjectStore) -> None:
    cache = ObjectCache(api, CONFIG_MAP, lambda: None)
    answer = put(api, "a", "red")  # its answer is slow to come
    api.delete(CONFIG_MAP, "a", "default")
    cache.refresh()
    cache.put(answer)
    assert names(cache) == []
