"""The in-memory kube-apiserver: a `KubeApi` with the real one's semantics, minus the network."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Literal

from kaito.adapters.fake.admission import Admission
from kaito.adapters.fake.api_errors import bad_request
from kaito.adapters.fake.decoding import Decoder
from kaito.adapters.fake.disruption import POD_DISRUPTION_BUDGET, spend_budget
from kaito.adapters.fake.paging import PagePosition, page_position
from kaito.adapters.fake.registry import Registry, object_key
from kaito.adapters.fake.selectors import field_selector, label_selector
from kaito.adapters.fake.watch_log import LogWatch
from kaito.adapters.fake.writes import INITIAL_NAMESPACES, Writes
from kaito.adapters.kube_api import (
    NAMESPACE,
    POD,
    RESOURCES,
    WORKSPACE_V1ALPHA1,
    EventType,
    Json,
    KubeObject,
    ObjectList,
    PatchType,
    Propagation,
    Resource,
    ServerUnavailable,
    WatchEvent,
    name_of,
    namespace_of,
)

SERVED = (*RESOURCES, WORKSPACE_V1ALPHA1)


class ObjectStore:
    """Every object of a cluster, and what a kube-apiserver (1.28, standard plug-ins) does to it.

    Implements `KubeApi`; time and uids come from outside, so equal calls give equal bytes. Of
    several versions of one resource the first in `resources` is the stored one, and objects are
    handed out in the version asked for (conversion changes only `apiVersion`, and drops what that
    version's schema does not know). Custom kinds have the schemas of `crds`; without one they take
    any fields. Each resource keeps its last `history` changes for watches and for the later pages
    of a list.

    Setting `spec.nodeName` of an unbound pod is allowed: it stands for the binding sub-resource.
    """

    def __init__(
        self,
        *,
        now_s: Callable[[], float],
        new_uid: Callable[[], str],
        resources: Iterable[Resource] = SERVED,
        crds: Iterable[KubeObject] = (),
        admission: Sequence[Admission] = (),
        history: int = 10_000,
    ) -> None:
        self._now_s = now_s
        self._registry = Registry((NAMESPACE, *resources), history)
        self._decoder = Decoder(crds)
        self._writes = Writes(
            self._registry, self._decoder, now_s=now_s, new_uid=new_uid, admission=admission
        )
        for name in INITIAL_NAMESPACES:
            self.create(NAMESPACE, {"metadata": {"name": name}})

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What is served, every version of it."""
        return self._registry.resources

    @property
    def resource_version(self) -> str:
        """The version of the newest change to anything."""
        return str(self._registry.version)

    def compact(self, resource_version: str = "") -> None:
        """Forget every version before `resource_version` (empty: but the newest), as etcd does when
        it is compacted.

        Older versions are Gone: to watch from, and to read further pages of.
        """
        self._registry.compact(int(resource_version or self._registry.version))

    def dry_run(self) -> AbstractContextManager[None]:
        """Writes in this block are checked and answered as always, and change nothing."""
        return self._writes.rehearsal()

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """See `KubeApi.get`."""
        table = self._registry.table(resource)
        key = object_key(resource, name, namespace)
        return self._decoder.presented(resource, self._registry.existing(table, key))

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | str | None = None,
        fields: Mapping[str, str] | str | None = None,
        limit: int | None = None,
        continue_token: str = "",
    ) -> ObjectList:
        """See `KubeApi.list`; `fields` may be in text form too. Costs what it finds."""
        table = self._registry.table(resource)
        by_label = label_selector(labels)
        by_field = field_selector(resource, fields)
        namespace = (namespace or None) if resource.namespaced else None
        if continue_token:
            position = page_position(continue_token)
            version = position.version
            rest = table.state_at(version, namespace, (position.namespace, position.name))
            found = [obj for obj in rest if by_label.matches(obj) and by_field.matches(obj)]
        else:
            version = self._registry.version
            found = table.select(namespace, by_label, by_field)
        token = ""
        if limit and len(found) >= limit and not by_field.names_one:
            found = found[:limit]
            last = namespace_of(found[-1]), name_of(found[-1])
            # As in etcd, what follows need not match: the last page may be empty.
            goes_on = (
                rest[-1] is not found[-1] if continue_token else table.goes_on(namespace, last)
            )
            token = PagePosition(version, *last).token() if goes_on else ""
        if resource.version == table.resource.version:
            return ObjectList(tuple(found), str(version), token)
        items = tuple(self._decoder.presented(resource, obj) for obj in found)
        return ObjectList(items, str(version), token)

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.create`."""
        return self._writes.create(resource, body)

    def replace(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.replace`. Kinds from CRDs need a `resourceVersion` in `body`."""
        return self._writes.replace(resource, body, status=False)

    def replace_status(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.replace_status`."""
        return self._writes.replace(resource, body, status=True)

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
        key = object_key(resource, name, namespace)
        return self._writes.patch(
            resource, key, patch, patch_type=patch_type, status=subresource == "status"
        )

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
        self._writes.delete(
            resource,
            object_key(resource, name, namespace),
            uid=uid,
            resource_version=resource_version,
            propagation=propagation,
            grace_period_s=grace_period_s,
        )

    def evict(
        self,
        name: str,
        namespace: str,
        *,
        uid: str | None = None,
        grace_period_s: int | None = None,
    ) -> None:
        """See `KubeApi.evict`; without PodDisruptionBudgets in `resources` there are none."""
        if POD_DISRUPTION_BUDGET in self._registry.resources:
            spend_budget(self, self.get(POD, name, namespace), self._now_s())
        self.delete(POD, name, namespace, uid=uid, grace_period_s=grace_period_s)

    def finalize_namespace(self, name: str) -> None:
        """Say that a terminating namespace is empty, so that it can go: the call of the namespace
        controller, not part of `KubeApi`.

        Raises: ObjectNotFound, ObjectConflict (it is not terminating).
        """
        self._writes.finalize_namespace(name)

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        wake: Callable[[], None] | None = None,
        labels: Mapping[str, str] | str | None = None,
        fields: Mapping[str, str] | str | None = None,
    ) -> LogWatch:
        """See `KubeApi.watch`; with selectors, what begins or ceases to match comes and goes.

        The empty version and "0" begin with an ADDED event for each object that there is.
        Raises: InvalidObject, ServerUnavailable (a version that is not there yet).
        """
        table = self._registry.table(resource)
        by_label = label_selector(labels)
        by_field = field_selector(resource, fields)
        namespace = (namespace or None) if resource.namespaced else None
        narrow = namespace is not None or labels or fields

        def matches(obj: KubeObject) -> bool:
            here = namespace is None or namespace_of(obj) == namespace
            return here and by_label.matches(obj) and by_field.matches(obj)

        def present(obj: KubeObject) -> KubeObject:
            return self._decoder.presented(resource, obj)

        version = self._watched_version(resource_version)
        there = table.select(namespace, by_label, by_field) if version is None else ()
        return LogWatch(
            table.log,
            version=version,
            initial=[WatchEvent(EventType.ADDED, present(obj)) for obj in there],
            matches=matches if narrow else None,
            present=None if resource.version == table.resource.version else present,
            wake=wake,
        )

    def _watched_version(self, text: str) -> int | None:
        if text in {"", "0"}:
            return None
        if not text.isascii() or not text.isdigit():
            raise bad_request(f'resourceVersion: Invalid value: "{text}"')
        if int(text) > self._registry.version:
            current = self.resource_version
            raise ServerUnavailable(
                f"Too large resource version: {text}, current: {current}", code=504
            )
        return int(text)
