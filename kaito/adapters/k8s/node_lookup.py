"""Nodes by the cloud's id for their machine."""

import threading

from kaito.adapters.kube_api import NODE, KubeApi, KubeObject
from kaito.adapters.object_cache import Index, ObjectCache


class NodeLookup:
    """Finds a Node by its `spec.providerID` without a look at all the others.

    It lists the Nodes when it is first asked, and follows them from then on. Call it from any
    thread.
    """

    def __init__(self, api: KubeApi) -> None:
        self._lock = threading.Lock()
        self._nodes = ObjectCache(api, NODE, wake=lambda: None)
        self._by_provider_id = Index(self._nodes, lambda node: filter(None, [_provider_id(node)]))

    def find(self, provider_id: str) -> KubeObject | None:
        """The Node, the first by name if several claim to be it. Raises: as `KubeApi.list`."""
        with self._lock:
            self._nodes.refresh()
            keys = self._by_provider_id.get(provider_id)
            return self._nodes.get(keys[0]) if keys else None


def _provider_id(node: KubeObject) -> str:
    return str((node.get("spec") or {}).get("providerID") or "")
