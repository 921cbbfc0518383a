"""A component's view of one kind of object: list, watch, and indexes over both."""

import sys
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Final, Generic, TypeAlias, TypeVar

from kaito.adapters.few_or_many import added, removed
from kaito.adapters.kube_api import (
    EventType,
    Gone,
    KubeApi,
    KubeObject,
    Resource,
    Subscription,
    WatchEvent,
    name_of,
    namespace_of,
)

Key: TypeAlias = tuple[str, str]
"""Namespace (empty for a cluster-scoped object) and name."""
Handler: TypeAlias = Callable[[KubeObject | None, KubeObject | None], None]
Value = TypeVar("Value", bound=Hashable)
_KEPT_DELETIONS: Final = 4096  # far more than happen while one's own write is answered
_NO_KEYS: Final[Collection[Key]] = ()


def key_of(obj: KubeObject) -> Key:
    return namespace_of(obj), name_of(obj)


class ObjectCache:
    """Every object of one resource as of the last `refresh` or `put`, which alone change it.

    Lags the API by what has not been polled. No object goes back to an older version: one's own
    write may be known before the events that precede it. (A resourceVersion is a number that grows,
    KEP-5504; only a list that is older than the last one, from a backup, takes everything back.) A
    watch that is Gone is made good by
    a list: the differences are handled as if they had been watched. `wake` is called when a refresh
    is due. `guard` is held while objects change and handlers run, and not during calls to the API:
    a lock, if other threads read. `namespace`: only the objects in it.
    """

    def __init__(
        self,
        api: KubeApi,
        resource: Resource,
        wake: Callable[[], None],
        guard: AbstractContextManager[object] | None = None,
        namespace: str | None = None,
    ) -> None:
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._wake = wake
        self._guard = guard or nullcontext()
        self._objects: dict[Key, KubeObject] = {}
        self._deleted_at: dict[Key, int] = {}  # the version of each of the latest deletions
        self._listed_at = -1  # the version of the last list
        self._handlers: list[Handler] = []
        self._keyed: list[Callable[[Key, KubeObject | None, KubeObject | None], None]] = []
        self._subscription: Subscription | None = None
        self._is_due = True  # there may be something to apply

    def on_change(self, handler: Handler) -> None:
        """Call `handler(before, after)` for each change; None stands for absent."""
        self._handlers.append(handler)

    def on_keyed_change(
        self, handler: Callable[[Key, KubeObject | None, KubeObject | None], None]
    ) -> None:
        """Like `on_change`, with the object's key, and before those are called."""
        self._keyed.append(handler)

    def items(self) -> Iterator[tuple[Key, KubeObject]]:
        """Every object with its key, in no particular order."""
        return iter(self._objects.items())

    def refresh(self) -> list[Key]:
        """Apply what happened since; the changed keys, each once, in order of first change.

        Raises: ServerUnavailable (what was known stays; call again).
        """
        if not self._is_due:  # as most calls find
            return []
        self._is_due = False  # before the look: what comes meanwhile makes it due again
        try:
            return self._take_in()
        except BaseException:
            self._is_due = True
            raise

    def _take_in(self) -> list[Key]:
        changed: dict[Key, None] = {}
        if self._subscription is not None:
            try:
                events = self._subscription.poll()
            except Gone:
                self._subscription.close()
                self._subscription = None
            else:
                if not events:
                    return []
                with self._guard:
                    self._apply_events(events, changed)
        if self._subscription is None:
            self._relist(changed)
        return list(changed)

    def close(self) -> None:
        """Stop watching; the objects stay as they are, and a later `refresh` begins anew."""
        if self._subscription is not None:
            self._subscription.close()
            self._subscription = None
        self._is_due = True

    def put(self, obj: KubeObject) -> None:
        """Take over what one's own write returned, without waiting for its event."""
        key = key_of(obj)
        with self._guard:
            # What a later list does not have is gone again.
            if key in self._objects or _version(obj) > self._listed_at:
                self._apply(key, obj, {})

    def get(self, key: Key) -> KubeObject | None:
        return self._objects.get(key)

    def values(self) -> Iterator[KubeObject]:
        """Every object, in no particular order."""
        return iter(self._objects.values())

    def __len__(self) -> int:
        return len(self._objects)

    def _relist(self, changed: dict[Key, None]) -> None:
        page = self._api.list(self._resource, self._namespace)
        listed = {key_of(obj): obj for obj in page.items}
        version = _number(page.resource_version)
        with self._guard:
            if version < self._listed_at:
                self._deleted_at.clear()
                for key in list(self._objects):
                    self._remove(key, sys.maxsize, changed)
                self._deleted_at.clear()
            self._listed_at = version
            for key in [key for key in self._objects if key not in listed]:
                self._remove(key, version, changed)
            for key, obj in listed.items():
                self._apply(key, obj, changed)
        self._subscription = self._api.watch(
            self._resource,
            self._namespace,
            resource_version=page.resource_version,
            wake=self._notice,
        )

    def _notice(self) -> None:
        self._is_due = True
        self._wake()

    def _apply_events(self, events: Iterable[WatchEvent], changed: dict[Key, None]) -> None:
        for event in events:
            if event.type is EventType.DELETED:
                self._remove(key_of(event.object), _version(event.object), changed)
            elif event.type is not EventType.BOOKMARK:
                self._apply(key_of(event.object), event.object, changed)

    def _apply(self, key: Key, after: KubeObject, changed: dict[Key, None]) -> None:
        before, version = self._objects.get(key), _version(after)
        if before is not None and (_same(before, after) or version < _version(before)):
            return
        if before is None and version <= self._deleted_at.get(key, -1):
            return
        self._objects[key] = after
        self._tell(key, before, after, changed)

    def _remove(self, key: Key, version: int, changed: dict[Key, None]) -> None:
        """Take out what was deleted at `version`; one made again since stays."""
        before = self._objects.get(key)
        if before is None or version < _version(before):
            return
        del self._objects[key]
        self._deleted_at.pop(key, None)  # the newest are the last
        self._deleted_at[key] = version
        if len(self._deleted_at) > _KEPT_DELETIONS:
            del self._deleted_at[next(iter(self._deleted_at))]
        self._tell(key, before, None, changed)

    def _tell(
        self,
        key: Key,
        before: KubeObject | None,
        after: KubeObject | None,
        changed: dict[Key, None],
    ) -> None:
        changed[key] = None
        for keyed in self._keyed:
            keyed(key, before, after)
        for handler in self._handlers:
            handler(before, after)


class Index(Generic[Value]):
    """Keys of a cache's objects by a value that is computed from each, such as its node's name."""

    def __init__(
        self, cache: ObjectCache, values_of: Callable[[KubeObject], Iterable[Value]]
    ) -> None:
        self._values_of = values_of
        self._keys: dict[Value, Collection[Key]] = {}
        for key, obj in cache.items():
            self._update(key, None, obj)
        cache.on_keyed_change(self._update)

    def get(self, value: Value) -> list[Key]:
        """The keys, in order."""
        return sorted(self.keys(value))

    def keys(self, value: Value) -> Collection[Key]:
        """The keys, in no particular order; not to be kept, it changes with the cache."""
        return self._keys.get(value, _NO_KEYS)

    def _update(self, key: Key, before: KubeObject | None, after: KubeObject | None) -> None:
        old = set(self._values_of(before)) if before is not None else set()
        new = set(self._values_of(after)) if after is not None else set()
        for value in old - new:
            keys = removed(self._keys[value], key)
            if keys:
                self._keys[value] = keys
            else:
                del self._keys[value]
        for value in new - old:
            self._keys[value] = added(self._keys.get(value, _NO_KEYS), key)


def _same(before: KubeObject, after: KubeObject) -> bool:
    """Whether both are one version of one object."""
    old, new = before["metadata"], after["metadata"]
    return bool(old["resourceVersion"] == new["resourceVersion"] and old["uid"] == new["uid"])


def _version(obj: KubeObject) -> int:
    return _number(obj["metadata"]["resourceVersion"])


def _number(version: str) -> int:
    """Of a server that does not count, every version is as new as any other."""
    return int(version) if version.isdecimal() else 0
