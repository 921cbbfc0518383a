"""The twin's pod garbage collector (kube-controller-manager's, pkg/controller/podgc)."""

from collections.abc import Callable
from typing import Final

from kaito.adapters.fake.pods import is_deleting, is_terminal, node_name_of, with_condition
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    NODE,
    POD,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
)
from kaito.adapters.object_cache import Index, Key, ObjectCache, key_of

# A node must be missing for this long before its pods go (podgc's quarantineTime).
QUARANTINE_S: Final = 40.0
RETRY_S: Final = 1.0


class PodGarbageCollector:
    """Removes pods of nodes that are gone, and pods that are deleted before they got a node."""

    def __init__(self, api: KubeApi, wake: Callable[[], None]) -> None:
        self._api = api
        self._due: Timers[Key] = Timers()
        self._changed_nodes: dict[str, None] = {}
        self._changed_pods: dict[Key, None] = {}
        self._nodes = ObjectCache(api, NODE, wake)
        self._nodes.on_change(self._node_changed)
        self._pods = ObjectCache(api, POD, wake)
        self._pods.on_change(self._pod_changed)
        self._on_node = Index(self._pods, lambda pod: filter(None, [node_name_of(pod)]))

    def step(self, now_s: float) -> float | None:
        """Remove what is due; the next time something is."""
        try:
            self._pods.refresh()
            self._nodes.refresh()
        except ServerUnavailable:
            return now_s + RETRY_S
        for name in self._changed_nodes:
            self._changed_pods.update(dict.fromkeys(self._on_node.get(name)))
        self._changed_nodes.clear()
        for key in self._changed_pods:
            self._judge(key, now_s)
        self._changed_pods.clear()
        for key in self._due.pop_due(now_s):
            pod = self._pods.get(key)
            if pod is not None:
                self._collect(key, pod, now_s)
        return self._due.next_s()

    def _judge(self, key: Key, now_s: float) -> None:
        """Decide when the pod is due, if at all."""
        pod = self._pods.get(key)
        node_name = node_name_of(pod) if pod is not None else ""
        if pod is None or (node_name and self._nodes.get(("", node_name)) is not None):
            self._due.set(key, None)
        elif node_name:
            self._due.hasten(key, now_s + QUARANTINE_S)
        elif is_deleting(pod):
            self._due.hasten(key, now_s)

    def _collect(self, key: Key, pod: KubeObject, now_s: float) -> None:
        namespace, name = key
        try:
            if node_name_of(pod) and not is_terminal(pod):
                pod = self._mark_failed(key, pod, now_s)
            self._api.delete(POD, name, namespace, uid=pod["metadata"]["uid"], grace_period_s=0)
        except ObjectNotFound:
            return
        except (ObjectConflict, ServerUnavailable):
            self._due.set(key, now_s + RETRY_S)

    def _mark_failed(self, key: Key, pod: KubeObject, now_s: float) -> KubeObject:
        """Say what became of the pod, for whoever counts its end (a Job does)."""
        namespace, name = key
        conditions = with_condition(
            (pod.get("status") or {}).get("conditions") or (),
            "DisruptionTarget",
            "True",
            now_s,
            reason="DeletionByPodGC",
            message="PodGC: node no longer exists",
        )
        patch = {
            "metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]},
            "status": {"phase": "Failed", "conditions": conditions},
        }
        return self._api.patch(POD, name, namespace, patch, subresource="status")

    def _node_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if (before is None) != (after is None):
            node = after if after is not None else before
            assert node is not None, "a change has a before or an after"
            self._changed_nodes[node["metadata"]["name"]] = None

    def _pod_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        pod = after if after is not None else before
        assert pod is not None, "a change has a before or an after"
        if after is None or before is None or _part(before) != _part(after):
            self._changed_pods[key_of(pod)] = None


def _part(pod: KubeObject) -> tuple[object, ...]:
    meta = pod["metadata"]
    return meta["uid"], node_name_of(pod), meta.get("deletionTimestamp")
