"""Nodes by something that they say of themselves, such as the cloud's id for their machine."""

import threading
from collections.abc import Callable

from kaito.adapters.k8s import node_claims
from kaito.adapters.k8s.errors import as_port_errors
from kaito.adapters.kube_api import NODE, KubeApi, KubeObject, labels_of
from kaito.adapters.object_cache import Index, ObjectCache
from kaito.domain import labels
from kaito.domain.machine import NodeView


def provider_id(node: KubeObject) -> str:
    """The cloud's id for the machine behind a Node; empty while it is not known."""
    return str((node.get("spec") or {}).get("providerID") or "")


def agent_pool(node: KubeObject) -> str:
    """The AKS agent pool that a Node is of; empty where it is of none."""
    return labels_of(node).get(labels.AZURE_AGENT_POOL, "")


class NodeLookup:
    """Finds a Node by what `said` takes from it, without a look at all the others.

    It lists the Nodes when it is first asked, and follows them from then on. Call it from any
    thread.
    """

    def __init__(self, api: KubeApi, said: Callable[[KubeObject], str] = provider_id) -> None:
        self._lock = threading.Lock()
        self._nodes = ObjectCache(api, NODE, wake=lambda: None)
        self._index = Index(self._nodes, lambda node: filter(None, [said(node)]))

    def find(self, wanted: str) -> KubeObject | None:
        """The Node, the first by name if several say so. Raises: as `KubeApi.list`."""
        with self._lock:
            self._nodes.refresh()
            keys = self._index.get(wanted)
            return self._nodes.get(keys[0]) if keys else None


class PoolNodes:
    """The Nodes of AKS agent pools of one machine each. Call it from any thread."""

    def __init__(self, api: KubeApi) -> None:
        self._nodes = NodeLookup(api, agent_pool)

    def node_of(self, pool: str) -> NodeView | None:
        """The pool's Node, once it has joined with its provider id. While AKS upgrades a pool it
        has two for some minutes: then the first by name. Raises: as `MachineStore`."""
        with as_port_errors():
            node = self._nodes.find(pool)
        return node_claims.to_node_view(node) if node is not None and provider_id(node) else None
