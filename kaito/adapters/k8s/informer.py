"""Reads from a cache that watches keep up to date, behind the `KubeApi` port."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, Literal

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    STORAGE_CLASS,
    WORKSPACE,
    EventType,
    Gone,
    Json,
    KubeApi,
    KubeObject,
    ObjectList,
    ObjectNotFound,
    PatchType,
    Propagation,
    Resource,
    Subscription,
    WatchEvent,
    labels_of,
    namespace_of,
)
from kaito.adapters.object_cache import Index, Key, ObjectCache, key_of

INFORMED: Final = (
    WORKSPACE,
    NODE_CLAIM,
    NODE,
    STATEFUL_SET,
    JOB,
    POD,
    SERVICE,
    CONFIG_MAP,
    STORAGE_CLASS,
    CONTROLLER_REVISION,
)

_KEPT_EVENTS: Final = 512  # for a watch that begins a little after its list
_WAITING_LIMIT: Final = 50_000  # for a watch that is not polled
_VERSION_PREFIX: Final = "cache-"  # a real API server refuses it, instead of misunderstanding it


class InformerCache:
    """A `KubeApi` whose `get`, `list` and `watch` of the informed resources cost no request.

    Every resource is listed once and then watched. What it shows is as of the last `refresh` or
    poll of one of its watches, and what a watch of its hands out is in the cache already: a round
    that an event causes sees that event. What a write of its own returned is in it at once, so that
    the next round does not fail on a version that it made old itself; deletions are seen when their
    events come. Calls that the cache cannot answer (other resources and versions, selectors in text
    form, fields, pages) and all writes go to `api`. Safe for use by several
    threads at once.
    """

    def __init__(
        self,
        api: KubeApi,
        resources: Iterable[Resource] = INFORMED,
        *,
        namespace: str | None = None,
        wake: Callable[[], None] | None = None,
    ) -> None:
        """`wake` is called when a refresh has something to do. `namespace`: of what is namespaced,
        only that one's objects are there."""
        self._api = api
        self._caches = {each: _ResourceCache(api, each, namespace, wake) for each in resources}

    def refresh(self) -> None:
        """Take over what happened since.

        Raises: ServerUnavailable, Forbidden (what was known stays; call again).
        """
        for cache in self._caches.values():
            cache.refresh()

    def synced(self) -> bool:
        """Whether every resource has been listed."""
        return all(cache.listed for cache in self._caches.values())

    def close(self) -> None:
        """Stop watching."""
        for cache in self._caches.values():
            cache.close()

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """See `KubeApi.get`."""
        cache = self._caches.get(resource)
        if cache is None:
            return self._api.get(resource, name, namespace)
        if not cache.listed:
            cache.refresh()
        return cache.get(((namespace or "") if resource.namespaced else "", name))

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | str | None = None,
        fields: Mapping[str, str] | None = None,
        limit: int | None = None,
        continue_token: str = "",
    ) -> ObjectList:
        """See `KubeApi.list`. Costs what the rarest of the labels, or the namespace, holds."""
        cache = self._caches.get(resource)
        elsewhere = isinstance(labels, str) or fields or limit or continue_token
        if cache is None or elsewhere:
            return self._api.list(
                resource,
                namespace,
                labels=labels,
                fields=fields,
                limit=limit,
                continue_token=continue_token,
            )
        if not cache.listed:
            cache.refresh()
        assert not isinstance(labels, str)
        return cache.select((namespace or None) if resource.namespaced else None, labels or {})

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.create`."""
        return self._written(resource, self._api.create(resource, body))

    def replace(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.replace`."""
        return self._written(resource, self._api.replace(resource, body))

    def replace_status(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.replace_status`."""
        return self._written(resource, self._api.replace_status(resource, body))

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Json,
        *,
        patch_type: PatchType = "merge",
        subresource: Literal["", "status"] = "",
    ) -> KubeObject:
        """See `KubeApi.patch`."""
        written = self._api.patch(
            resource, name, namespace, patch, patch_type=patch_type, subresource=subresource
        )
        return self._written(resource, written)

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
        grace_period_s: int | None = None,
    ) -> None:
        """See `KubeApi.delete`."""
        self._api.delete(
            resource,
            name,
            namespace,
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            grace_period_s=grace_period_s,
        )

    def evict(self, name: str, namespace: str, *, uid: str | None = None) -> None:
        """See `KubeApi.evict`."""
        self._api.evict(name, namespace, uid=uid)

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        wake: Callable[[], None] | None = None,
    ) -> Subscription:
        """See `KubeApi.watch`. A poll may list, and then raise what a list raises."""
        cache = self._caches.get(resource)
        if cache is None or not resource_version.startswith(_VERSION_PREFIX):
            return self._api.watch(
                resource, namespace, resource_version=resource_version, wake=wake
            )
        return cache.watch(namespace if resource.namespaced else None, resource_version, wake)

    def _written(self, resource: Resource, obj: KubeObject) -> KubeObject:
        cache = self._caches.get(resource)
        if cache is not None and cache.listed:
            cache.put(obj)
        return obj


class _ResourceCache:
    """The objects of one resource, by key, namespace and label, and their latest changes."""

    def __init__(
        self,
        api: KubeApi,
        resource: Resource,
        namespace: str | None,
        wake: Callable[[], None] | None,
    ) -> None:
        self._resource = resource
        self._wake = wake
        self._lock = threading.Lock()  # of everything that reads share
        self._refreshing = threading.Lock()
        self._objects = ObjectCache(
            api,
            resource,
            self._on_wake,
            guard=self._lock,
            namespace=namespace if resource.namespaced else None,
        )
        # A label's key is never empty: under the empty one are the namespaces.
        self._index = Index(self._objects, _labels_and_namespace)
        self._objects.on_change(self._note)
        self._events: deque[WatchEvent] = deque()
        self._end = 0  # how many events there have been
        self._watches: tuple[_CachedWatch, ...] = ()
        self.listed = False

    def refresh(self) -> None:
        with self._refreshing:
            self._objects.refresh()
            self.listed = True

    def close(self) -> None:
        with self._refreshing:
            self._objects.close()

    def put(self, obj: KubeObject) -> None:
        self._objects.put(obj)
        self._on_wake()

    def get(self, key: Key) -> KubeObject:
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            group = f".{self._resource.group}" if self._resource.group else ""
            raise ObjectNotFound(f'{self._resource.plural}{group} "{key[1]}" not found')
        return found

    def select(self, namespace: str | None, labels: Mapping[str, str]) -> ObjectList:
        wanted = list(labels.items())
        if namespace is not None:
            wanted.append(("", namespace))
        with self._lock:
            version = f"{_VERSION_PREFIX}{self._end}"
            if not wanted:
                found = list(self._objects.values())
            else:
                rarest, *others = sorted(map(self._index.keys, wanted), key=len)
                keys = [key for key in rarest if all(key in other for other in others)]
                found = [obj for key in keys if (obj := self._objects.get(key)) is not None]
        return ObjectList(tuple(sorted(found, key=key_of)), version)

    def watch(
        self, namespace: str | None, version: str, wake: Callable[[], None] | None
    ) -> "_CachedWatch":
        position = int(version.removeprefix(_VERSION_PREFIX))
        watch = _CachedWatch(self, namespace, position, wake)
        with self._lock:
            self._watches = (*self._watches, watch)
            late = position < self._end
        if late:
            watch.wake()
        return watch

    def unwatch(self, watch: "_CachedWatch") -> None:
        with self._lock:
            self._watches = tuple(each for each in self._watches if each is not watch)

    def since(self, position: int) -> tuple[Sequence[WatchEvent], int]:
        """The events from `position` on, and the position after them. Raises: Gone."""
        with self._lock:
            first = self._end - len(self._events)
            if not first <= position <= self._end:
                raise Gone(f"the cache of {self._resource.plural} no longer has these events")
            return list(islice(self._events, position - first, None)), self._end

    def _on_wake(self) -> None:
        """Called by the watch behind, in any thread, and so without a lock."""
        if self._wake is not None:
            self._wake()
        for watch in self._watches:
            watch.wake()

    def _note(self, before: KubeObject | None, after: KubeObject | None) -> None:
        """Keep a change as an event; the lock is held."""
        if after is None:
            assert before is not None, "nothing became nothing"
            event = WatchEvent(EventType.DELETED, before)
        else:
            event = WatchEvent(EventType.ADDED if before is None else EventType.MODIFIED, after)
        self._events.append(event)
        self._end += 1
        unread = self._end - min((each.position for each in self._watches), default=self._end)
        kept = min(max(_KEPT_EVENTS, unread), _WAITING_LIMIT)
        while len(self._events) > kept:
            self._events.popleft()


class _CachedWatch:
    """A watch that is fed from the cache: a position in its events."""

    def __init__(
        self,
        cache: _ResourceCache,
        namespace: str | None,
        position: int,
        wake: Callable[[], None] | None,
    ) -> None:
        self._cache, self._namespace, self._wake = cache, namespace, wake
        self._closing = threading.Lock()
        self._closed = False
        self.position = position

    def poll(self) -> Sequence[WatchEvent]:
        """See `Subscription.poll`."""
        if self._closed:
            return ()
        self._cache.refresh()
        events, self.position = self._cache.since(self.position)
        if self._namespace is None:
            return events
        return [each for each in events if namespace_of(each.object) == self._namespace]

    def close(self) -> None:
        """See `Subscription.close`."""
        with self._closing:
            self._closed = True
        self._cache.unwatch(self)

    def wake(self) -> None:
        with self._closing:
            if self._wake is not None and not self._closed:
                self._wake()


def _labels_and_namespace(obj: KubeObject) -> Iterable[tuple[str, str]]:
    return (*labels_of(obj).items(), ("", namespace_of(obj)))
