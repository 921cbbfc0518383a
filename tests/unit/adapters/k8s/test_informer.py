import threading
from collections.abc import Iterator
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.informer import INFORMED, InformerCache
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NODE,
    SECRET,
    EventType,
    Gone,
    ObjectList,
    ObjectNotFound,
    Resource,
    ServerUnavailable,
    name_of,
)


class Counted(ObjectStore):
    """The store, which counts what it is asked and can be out of reach."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.asked: list[str] = []
        self.away = False

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Any:
        self._count(f"get {resource.plural}")
        return super().get(resource, name, namespace)

    def list(self, resource: Resource, *args: Any, **more: Any) -> ObjectList:
        self._count(f"list {resource.plural}")
        return super().list(resource, *args, **more)

    def _count(self, call: str) -> None:
        self.asked.append(call)
        if self.away:
            raise ServerUnavailable("away")


@pytest.fixture
def store() -> Counted:
    numbers = iter(range(1, 10_000))
    return Counted(now_s=lambda: 0.0, new_uid=lambda: f"uid-{next(numbers)}", history=10)


@pytest.fixture
def cache(store: Counted) -> Iterator[InformerCache]:
    cache = InformerCache(store, (CONFIG_MAP, NODE))
    yield cache
    cache.close()


def put(store: ObjectStore, name: str, namespace: str = "default", **labels: str) -> None:
    meta = {"name": name, "namespace": namespace, "labels": labels}
    store.create(CONFIG_MAP, {"metadata": meta})


def relabel(store: ObjectStore, name: str, **labels: str | None) -> None:
    store.patch(CONFIG_MAP, name, "default", {"metadata": {"labels": labels}})


def names(found: ObjectList) -> list[str]:
    return [name_of(obj) for obj in found.items]


def test_what_the_stores_read_is_informed() -> None:
    kinds = (
        "Workspace NodeClaim Node StatefulSet Job Pod Service ConfigMap StorageClass"
        " ControllerRevision"
    )
    assert [each.kind for each in INFORMED] == kinds.split()


def test_reads_cost_no_requests(store: Counted, cache: InformerCache) -> None:
    put(store, "b", app="x")
    put(store, "a", app="x", tier="1")
    put(store, "c", "kube-system", app="x")
    put(store, "d")
    assert not cache.synced()
    cache.refresh()
    assert cache.synced()
    del store.asked[:]
    assert cache.get(CONFIG_MAP, "a", "default")["metadata"]["labels"] == {"app": "x", "tier": "1"}
    assert names(cache.list(CONFIG_MAP)) == ["a", "b", "d", "c"]
    assert names(cache.list(CONFIG_MAP, "default")) == ["a", "b", "d"]
    assert names(cache.list(CONFIG_MAP, labels={"app": "x"})) == ["a", "b", "c"]
    assert names(cache.list(CONFIG_MAP, "default", labels={"app": "x", "tier": "1"})) == ["a"]
    assert names(cache.list(CONFIG_MAP, "default", labels={"app": "y"})) == []
    assert names(cache.list(NODE, "ignored")) == []
    with pytest.raises(ObjectNotFound, match='configmaps "z" not found'):
        cache.get(CONFIG_MAP, "z", "default")
    assert store.asked == []


def test_the_cache_moves_with_refresh(store: Counted, cache: InformerCache) -> None:
    put(store, "a", app="x")
    cache.refresh()
    relabel(store, "a", app="y")
    put(store, "b", app="x")
    assert names(cache.list(CONFIG_MAP, labels={"app": "x"})) == ["a"]
    cache.refresh()
    assert names(cache.list(CONFIG_MAP, labels={"app": "x"})) == ["b"]
    assert names(cache.list(CONFIG_MAP, labels={"app": "y"})) == ["a"]
    store.delete(CONFIG_MAP, "a", "default")
    cache.refresh()
    with pytest.raises(ObjectNotFound):
        cache.get(CONFIG_MAP, "a", "default")


def test_what_it_cannot_answer_is_asked(store: Counted, cache: InformerCache) -> None:
    put(store, "a", app="x")
    cache.refresh()
    put(store, "b", app="x")
    assert names(cache.list(CONFIG_MAP, labels="app in (x, y)")) == ["a", "b"]
    assert names(cache.list(CONFIG_MAP, fields={"metadata.name": "b"})) == ["b"]
    page = cache.list(CONFIG_MAP, limit=1)
    assert names(cache.list(CONFIG_MAP, continue_token=page.continue_token)) == ["b"]
    assert names(cache.list(SECRET)) == []


def test_before_it_knows_anything(store: Counted, cache: InformerCache) -> None:
    put(store, "a")
    assert name_of(cache.get(CONFIG_MAP, "a", "default")) == "a"
    assert names(cache.list(CONFIG_MAP)) == ["a"]
    assert not cache.synced()  # the Nodes are still to come


def test_writes_go_through(store: Counted, cache: InformerCache) -> None:
    cache.refresh()
    created = cache.create(NODE, {"metadata": {"name": "one"}})
    replaced = cache.replace(NODE, {**created, "spec": {"unschedulable": True}})
    cache.replace_status(NODE, {**replaced, "status": {"capacity": {"cpu": "1"}}})
    cache.patch(NODE, "one", None, {"metadata": {"labels": {"a": "b"}}})
    stored = store.get(NODE, "one")
    assert stored["spec"]["unschedulable"]
    assert stored["status"]["capacity"] == {"cpu": "1"}
    assert stored["metadata"]["labels"] == {"a": "b"}
    cache.delete(NODE, "one", uid=stored["metadata"]["uid"])
    assert store.list(NODE).items == ()


def test_an_event_finds_its_object_in_the_cache(store: Counted, cache: InformerCache) -> None:
    woken: list[bool] = []
    listed = cache.list(CONFIG_MAP)
    watch = cache.watch(
        CONFIG_MAP, resource_version=listed.resource_version, wake=lambda: woken.append(True)
    )
    put(store, "a")
    relabel(store, "a", app="x")
    assert woken
    assert [(each.type, name_of(each.object)) for each in watch.poll()] == [
        (EventType.ADDED, "a"),
        (EventType.MODIFIED, "a"),
    ]
    assert names(cache.list(CONFIG_MAP, labels={"app": "x"})) == ["a"]
    store.delete(CONFIG_MAP, "a", "default")
    assert [each.type for each in watch.poll()] == [EventType.DELETED]
    assert watch.poll() == []


def test_watches_share_one_stream(store: Counted, cache: InformerCache) -> None:
    listed = cache.list(CONFIG_MAP)
    everything = cache.watch(CONFIG_MAP, resource_version=listed.resource_version)
    system = cache.watch(CONFIG_MAP, "kube-system", resource_version=listed.resource_version)
    put(store, "a")
    put(store, "b", "kube-system")
    assert [name_of(each.object) for each in everything.poll()] == ["a", "b"]
    late = cache.watch(CONFIG_MAP, resource_version=listed.resource_version)
    assert [name_of(each.object) for each in system.poll()] == ["b"]
    assert [name_of(each.object) for each in late.poll()] == ["a", "b"]
    assert store.asked == ["list configmaps"]


def test_a_watch_that_begins_late_is_woken(store: Counted, cache: InformerCache) -> None:
    listed = cache.list(CONFIG_MAP)
    put(store, "a")
    cache.refresh()
    woken: list[bool] = []
    cache.watch(
        CONFIG_MAP, resource_version=listed.resource_version, wake=lambda: woken.append(True)
    )
    assert woken


def test_a_closed_watch_is_silent(store: Counted, cache: InformerCache) -> None:
    woken: list[bool] = []
    listed = cache.list(CONFIG_MAP)
    watch = cache.watch(
        CONFIG_MAP, resource_version=listed.resource_version, wake=lambda: woken.append(True)
    )
    watch.close()
    watch.close()
    put(store, "a")
    assert watch.poll() == ()
    assert not woken


def test_what_was_missed_becomes_events(store: Counted, cache: InformerCache) -> None:
    for name in ("stays", "goes", "changes"):
        put(store, name)
    listed = cache.list(CONFIG_MAP)
    watch = cache.watch(CONFIG_MAP, resource_version=listed.resource_version)
    store.delete(CONFIG_MAP, "goes", "default")
    relabel(store, "changes", app="x")
    put(store, "comes")
    for number in range(20):  # more than the store remembers
        relabel(store, "changes", number=str(number))
    assert [(each.type, name_of(each.object)) for each in watch.poll()] == [
        (EventType.DELETED, "goes"),
        (EventType.MODIFIED, "changes"),
        (EventType.ADDED, "comes"),
    ]


def test_a_version_that_the_cache_no_longer_has(store: Counted, cache: InformerCache) -> None:
    listed = cache.list(CONFIG_MAP)
    put(store, "a")
    for number in range(600):
        relabel(store, "a", number=str(number))
        cache.refresh()
    watch = cache.watch(CONFIG_MAP, resource_version=listed.resource_version)
    with pytest.raises(Gone):
        watch.poll()


def test_a_server_out_of_reach(store: Counted, cache: InformerCache) -> None:
    put(store, "a")
    listed = cache.list(CONFIG_MAP)
    watch = cache.watch(CONFIG_MAP, resource_version=listed.resource_version)
    for number in range(20):
        relabel(store, "a", number=str(number))
    store.away = True
    with pytest.raises(ServerUnavailable):
        watch.poll()
    assert names(cache.list(CONFIG_MAP)) == ["a"]  # what was known stays
    store.away = False
    assert [each.type for each in watch.poll()] == [EventType.MODIFIED]


def test_versions_of_the_server_are_watched_there(store: Counted, cache: InformerCache) -> None:
    put(store, "a")
    watch = cache.watch(CONFIG_MAP, resource_version="0")
    assert [name_of(each.object) for each in watch.poll()] == ["a"]
    watch.close()


def test_readers_in_other_threads(store: Counted, cache: InformerCache) -> None:
    """They see whole objects in a consistent index while one thread refreshes."""
    for number in range(20):
        put(store, f"c{number}", colour="red")
    cache.refresh()
    over = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not over.is_set():
            for colour in ("red", "blue"):
                found = cache.list(CONFIG_MAP, labels={"colour": colour}).items
                wrong.extend(obj for obj in found if obj["metadata"]["labels"]["colour"] != colour)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(400):
        relabel(store, f"c{number % 20}", colour="blue" if number % 40 < 20 else "red")
        cache.refresh()
    over.set()
    for reader in readers:
        reader.join()
    assert wrong == []


def test_an_own_write_is_there_at_once(store: Counted, cache: InformerCache) -> None:
    cache.list(CONFIG_MAP)
    woken: list[bool] = []
    version = cache.list(CONFIG_MAP).resource_version
    watch = cache.watch(CONFIG_MAP, resource_version=version, wake=lambda: woken.append(True))
    body = {"metadata": {"name": "a", "namespace": "default"}}
    made = cache.create(CONFIG_MAP, body)
    assert woken
    assert cache.get(CONFIG_MAP, "a", "default") == made
    changed = cache.patch(CONFIG_MAP, "a", "default", {"data": {"x": "1"}})
    assert cache.get(CONFIG_MAP, "a", "default") == changed
    again = cache.replace(CONFIG_MAP, {**changed, "data": {"x": "2"}})
    assert cache.get(CONFIG_MAP, "a", "default") == again
    kinds = [event.type for event in watch.poll()]
    assert kinds == [EventType.ADDED, EventType.MODIFIED, EventType.MODIFIED]
    assert not watch.poll(), "its events tell nothing new"
