"""The garbage collector: objects go when all their owners are gone, in the order asked for.

A component of the twin's world over any `KubeApi`; a real cluster has its own.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kaito.adapters.fake.events import EventRecorder
from kaito.adapters.fake.object_meta import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from kaito.adapters.fake.owner_graph import Item, OwnerGraph, OwnerReference
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    EVENT,
    RESOURCES,
    Json,
    KubeApi,
    KubeApiError,
    KubeObject,
    ObjectNotFound,
    Propagation,
    Resource,
)
from kaito.adapters.object_cache import ObjectCache

_RETRY_S = 1.0


@dataclass(slots=True)
class _Owners:
    """An object's owner references, sorted by what is left of the owners."""

    present: list[OwnerReference] = field(default_factory=list)
    absent: list[OwnerReference] = field(default_factory=list)
    waiting: list[OwnerReference] = field(default_factory=list)  # for their dependents to go
    unresolvable: list[OwnerReference] = field(default_factory=list)


class GarbageCollector:
    """Deletes dependents of absent owners; lets foreground and orphaning deletions finish.

    An owner counts by uid, and only where its reference leads to: the dependent's own namespace,
    or the cluster for a cluster-scoped kind. One in another namespace is absent. A cluster-scoped
    object that names an owner of a namespaced kind is never collected. Both get a warning event
    OwnerRefInvalidNamespace. Costs what changed, not what there is.
    """

    def __init__(
        self,
        api: KubeApi,
        *,
        wake: Callable[[], None],
        resources: Iterable[Resource] = RESOURCES,
    ) -> None:
        self._api = api
        self._events = EventRecorder(api, "garbage-collector-controller")
        self._graph = OwnerGraph()
        self._queue: dict[str, None] = {}
        self._retries: Timers[str] = Timers()
        self._failed: set[str] = set()
        self._by_kind: dict[tuple[str, str], Resource] = {}
        self._caches: list[ObjectCache] = []
        for resource in resources:
            if (resource.group, resource.plural) == (EVENT.group, EVENT.plural):
                continue
            self._by_kind[resource.group, resource.kind] = resource
            cache = ObjectCache(api, resource, wake)
            cache.on_change(self._handler(resource))
            self._caches.append(cache)

    def step(self, now_s: float) -> float | None:
        """Handle every change so far; returns when to be stepped again, None: when woken."""
        for uid in self._retries.pop_due(now_s):
            self._enqueue(uid)
        while self._refresh(now_s) or self._queue:
            while self._queue:
                uid = next(iter(self._queue))
                del self._queue[uid]
                self._attempt(uid, now_s)
        return self._retries.next_s()

    def _refresh(self, now_s: float) -> bool:
        """Whether anything changed."""
        changed = False
        for cache in self._caches:
            try:
                changed = bool(cache.refresh()) or changed
            except KubeApiError:
                self._retries.set("", now_s + _RETRY_S)  # no object has the empty uid
        return changed

    def _handler(
        self, resource: Resource
    ) -> Callable[[KubeObject | None, KubeObject | None], None]:
        def handle(before: KubeObject | None, after: KubeObject | None) -> None:
            old = Item(resource, before) if before is not None else None
            new = Item(resource, after) if after is not None else None
            if old is not None and (new is None or new.uid != old.uid):
                self._gone(old)
            if new is not None:
                self._seen(new)

        return handle

    def _gone(self, item: Item) -> None:
        self._graph.remove(item.uid)
        for dependent in self._graph.dependents(item.uid):
            self._enqueue(dependent.uid)
        self._enqueue_waiting_owners(item.owners)

    def _seen(self, item: Item) -> None:
        before = self._graph.put(item)
        if item.uid in self._failed:
            self._enqueue(item.uid)
        if before is None or before.owners != item.owners:
            if item.owners:
                self._enqueue(item.uid)
            if before is not None:  # it may no longer block an owner
                self._enqueue_waiting_owners(before.owners)
        if item.waits_for_dependents and not (before and before.waits_for_dependents):
            self._enqueue(item.uid)
            for dependent in self._graph.dependents(item.uid):
                self._enqueue(dependent.uid)
        if item.leaves_dependents and not (before and before.leaves_dependents):
            self._enqueue(item.uid)

    def _enqueue_waiting_owners(self, owners: Iterable[OwnerReference]) -> None:
        for reference in owners:
            owner = self._graph.get(reference["uid"])
            if owner is not None and owner.waits_for_dependents:
                self._enqueue(owner.uid)

    def _enqueue(self, uid: str) -> None:
        if uid:
            self._queue[uid] = None

    def _attempt(self, uid: str, now_s: float) -> None:
        self._failed.discard(uid)
        item = self._graph.get(uid)
        if item is None:
            return
        try:
            self._process(item, now_s)
        except ObjectNotFound:
            return  # gone; its event is on the way
        except KubeApiError:  # stale, refused or unavailable: again on its next change, or soon
            self._failed.add(uid)
            self._retries.set(uid, now_s + _RETRY_S)

    def _process(self, item: Item, now_s: float) -> None:
        if item.leaves_dependents:
            self._orphan_dependents(item)
        elif item.waits_for_dependents:
            self._let_go_after_dependents(item)
        elif not item.deleting and item.owners:
            self._judge(item, now_s)

    def _judge(self, item: Item, now_s: float) -> None:
        """Delete an object whose owners are gone, or drop its references to those that are."""
        owners = self._classify(item, now_s)
        if owners.unresolvable:
            return
        if owners.present:
            self._drop_references(item, owners.absent + owners.waiting)
            return
        dependents = list(self._graph.dependents(item.uid))
        if owners.waiting and dependents:
            if any(dependent.waits_for_dependents for dependent in dependents):
                self._unblock_owners(item)  # a circle: nobody would ever be the first to go
                item = Item(item.resource, self._api.get(item.resource, *_place(item)))
            self._delete(item, "Foreground")
        elif ORPHAN_FINALIZER in item.finalizers:
            self._delete(item, "Orphan")
        else:
            foreground = FOREGROUND_FINALIZER in item.finalizers
            self._delete(item, "Foreground" if foreground else "Background")

    def _classify(self, item: Item, now_s: float) -> _Owners:
        owners = _Owners()
        for reference in item.owners:
            group = reference["apiVersion"].rpartition("/")[0]
            resource = self._by_kind.get((group, reference["kind"]))
            if resource is None:
                owners.present.append(reference)  # a kind that nobody knows cannot be judged
                continue
            if resource.namespaced and not item.resource.namespaced:
                owners.unresolvable.append(reference)
                self._warn(item, reference, now_s)
                continue
            owner = self._owner(item, resource, reference)
            if owner is None:
                owners.absent.append(reference)
                if self._graph.get(reference["uid"]) is not None:
                    self._warn(item, reference, now_s)
            elif owner.waits_for_dependents:
                owners.waiting.append(reference)
            else:
                owners.present.append(reference)
        return owners

    def _owner(self, item: Item, resource: Resource, reference: OwnerReference) -> Item | None:
        """The owner where the reference leads to, asked of the API before it counts as absent."""
        namespace = item.namespace if resource.namespaced else ""
        known = self._graph.get(reference["uid"])
        if (
            known is not None
            and known.resource == resource
            and (known.namespace, known.name) == (namespace, reference["name"])
        ):
            return known
        try:
            obj = self._api.get(resource, reference["name"], namespace or None)
        except ObjectNotFound:
            return None
        owner = Item(resource, obj)
        return owner if owner.uid == reference["uid"] else None

    def _warn(self, item: Item, reference: OwnerReference, now_s: float) -> None:
        where = f'namespace "{item.namespace}"' if item.namespace else "the cluster scope"
        message = (
            f"ownerRef [{reference['apiVersion']}/{reference['kind']}, name: {reference['name']},"
            f" uid: {reference['uid']}] does not exist in {where}"
        )
        reason = "OwnerRefInvalidNamespace"
        self._events.record(item.resource, item.obj, "Warning", reason, message, now_s)

    def _let_go_after_dependents(self, item: Item) -> None:
        blocking = [each for each in self._graph.dependents(item.uid) if each.blocks(item.uid)]
        if not blocking:
            self._remove_finalizer(item, FOREGROUND_FINALIZER)
        for dependent in blocking:
            if not dependent.deleting:
                self._enqueue(dependent.uid)

    def _orphan_dependents(self, item: Item) -> None:
        for dependent in self._graph.dependents(item.uid):
            references = [each for each in dependent.owners if each["uid"] == item.uid]
            try:
                self._drop_references(dependent, references)
            except ObjectNotFound:
                continue
        self._remove_finalizer(item, ORPHAN_FINALIZER)

    def _drop_references(self, item: Item, references: list[OwnerReference]) -> None:
        if references:
            dropped = {reference["uid"] for reference in references}
            kept = [owner for owner in item.owners if owner["uid"] not in dropped]
            self._patch_meta(item, {"ownerReferences": kept or None})

    def _unblock_owners(self, item: Item) -> None:
        owners = [{**owner, "blockOwnerDeletion": False} for owner in item.owners]
        self._patch_meta(item, {"ownerReferences": owners})

    def _remove_finalizer(self, item: Item, finalizer: str) -> None:
        kept = [name for name in item.finalizers if name != finalizer]
        self._patch_meta(item, {"finalizers": kept or None})

    def _patch_meta(self, item: Item, meta: dict[str, Json]) -> None:
        patch = {"metadata": {"resourceVersion": item.version, "uid": item.uid, **meta}}
        self._api.patch(item.resource, *_place(item), patch)

    def _delete(self, item: Item, propagation: Propagation) -> None:
        self._api.delete(
            item.resource,
            *_place(item),
            uid=item.uid,
            resource_version=item.version,
            propagation=propagation,
        )


def _place(item: Item) -> tuple[str, str | None]:
    return item.name, item.namespace or None
