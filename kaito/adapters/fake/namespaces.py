"""The namespace controller: empties a namespace that is being deleted, then lets it go."""

from collections.abc import Callable

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import NAMESPACE, KubeApiError, Resource, name_of
from kaito.adapters.object_cache import ObjectCache

_RECHECK_S = 1.0


class NamespaceController:
    """Deletes what is in terminating namespaces, and looks again until nothing is left.

    Pods wait for their kubelet and objects for their finalizers, as on a real cluster.
    """

    def __init__(self, store: ObjectStore, *, wake: Callable[[], None]) -> None:
        self._store = store
        self._namespaces = ObjectCache(store, NAMESPACE, wake)
        self._terminating: dict[str, None] = {}
        stored: dict[tuple[str, str], Resource] = {}
        for resource in store.resources:
            if resource.namespaced:
                stored.setdefault((resource.group, resource.plural), resource)
        self._resources = tuple(stored.values())

    def step(self, now_s: float) -> float | None:
        """Handle every change so far; returns when to be stepped again, None: when woken."""
        try:
            changed = self._namespaces.refresh()
        except KubeApiError:
            return now_s + _RECHECK_S
        for key in changed:
            obj = self._namespaces.get(key)
            if obj is not None and "deletionTimestamp" in obj["metadata"]:
                self._terminating[key[1]] = None
            else:
                self._terminating.pop(key[1], None)
        for name in tuple(self._terminating):
            try:
                if self._emptied(name):
                    del self._terminating[name]
                    self._store.finalize_namespace(name)
            except KubeApiError:  # refused by an admission plug-in, or gone already: look again
                continue
        return now_s + _RECHECK_S if self._terminating else None

    def _emptied(self, namespace: str) -> bool:
        for resource in self._resources:
            for obj in self._store.list(resource, namespace).items:
                if "deletionTimestamp" not in obj["metadata"]:
                    self._store.delete(resource, name_of(obj), namespace)
        return not any(
            self._store.list(resource, namespace, limit=1).items for resource in self._resources
        )
