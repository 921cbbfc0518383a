"""The tables of every resource that is served, under one version counter."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from kaito.adapters.fake.api_errors import bad_request, not_found, not_served
from kaito.adapters.fake.tables import Key, Table
from kaito.adapters.kube_api import FrozenDict, KubeObject, Resource, freeze


class Registry:
    """Where objects are. Of several versions of a resource the first one is the stored one."""

    def __init__(self, resources: Iterable[Resource], history: int) -> None:
        self._tables: dict[tuple[str, str], Table] = {}
        self._served: dict[tuple[str, str, str], Resource] = {}
        self._known: dict[Resource, Table] = {}
        self._is_rehearsal = False
        self.version = 0
        for resource in resources:
            self._tables.setdefault(resource.name, Table(resource, history))
            self._served[(*resource.name, resource.version)] = resource

    @property
    def resources(self) -> tuple[Resource, ...]:
        return tuple(self._served.values())

    def table(self, resource: Resource) -> Table:
        """Raises: ObjectNotFound (the resource, or this version of it, is not served)."""
        if resource not in self._known:
            if (*resource.name, resource.version) not in self._served:
                raise not_served()
            self._known[resource] = self._tables[resource.name]
        return self._known[resource]

    def existing(self, table: Table, key: Key) -> KubeObject:
        """Raises: ObjectNotFound."""
        obj = table.get(key)
        if obj is None:
            raise not_found(table.resource, key[1])
        return obj

    def compact(self, version: int) -> None:
        """Forget every version before `version`."""
        for table in self._tables.values():
            table.log.forget(version)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """In this block nothing is stored, and no version is given away."""
        self._is_rehearsal = True
        try:
            yield
        finally:
            self._is_rehearsal = False

    def put(self, table: Table, key: Key, draft: dict[str, Any]) -> KubeObject:
        """Store a draft as the next version."""
        if self._is_rehearsal:
            rehearsed: KubeObject = freeze({**draft, "apiVersion": table.resource.api_version})
            return rehearsed
        self.version += 1
        draft["metadata"] = {**draft["metadata"], "resourceVersion": str(self.version)}
        draft["apiVersion"] = table.resource.api_version
        stored: KubeObject = freeze(draft)
        table.put(key, stored, self.version)
        return stored

    def remove(self, table: Table, key: Key, last: KubeObject) -> None:
        """Remove an object; its last state is `last` in the next version."""
        if self._is_rehearsal:
            return
        self.version += 1
        meta = FrozenDict({**last["metadata"], "resourceVersion": str(self.version)})
        table.remove(key, FrozenDict({**last, "metadata": meta}), self.version)


def same_resource(one: Resource, other: Resource) -> bool:
    """Whether both are one resource, perhaps in two versions."""
    return one.name == other.name


def object_key(resource: Resource, name: str, namespace: str | None) -> Key:
    """Raises: InvalidObject (400: the namespace is missing)."""
    if not resource.namespaced:
        return "", name
    if not namespace:
        raise bad_request(f"{resource.plural} are namespaced: a namespace is needed")
    return namespace, name
