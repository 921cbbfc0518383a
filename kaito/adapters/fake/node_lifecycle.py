"""The twin's node life-cycle controller (kube-controller-manager's, pkg/controller/nodelifecycle).

Its monitor of Leases is left out: who makes a Node go silent says when it is called not ready.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from kaito.adapters.fake.pods import (
    is_deleting,
    is_ready,
    is_terminal,
    node_name_of,
    with_condition,
)
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    NODE,
    POD,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
    condition_of,
    is_true,
    name_of,
)
from kaito.adapters.object_cache import Index, Key, ObjectCache

RETRY_S: Final = 1.0
_NOT_READY: Final = "node.kubernetes.io/not-ready"
_UNREACHABLE: Final = "node.kubernetes.io/unreachable"


class NodeLifecycleController:
    """Calls the pods of a Node that is not Ready unready, and evicts them when they have not
    tolerated it for longer. An evicted pod goes once its kubelet says so, or its Node is gone."""

    def __init__(self, api: KubeApi, wake: Callable[[], None]) -> None:
        self._api = api
        self._bad_since_s: dict[str, float] = {}
        self._evictions: Timers[Key] = Timers()
        self._retries: Timers[str] = Timers()
        self._changed: dict[str, None] = {}
        self._nodes = ObjectCache(api, NODE, wake)
        self._nodes.on_change(self._node_changed)
        self._pods = ObjectCache(api, POD, wake)
        self._pods.on_change(self._pod_changed)
        self._on_node = Index(self._pods, lambda pod: filter(None, [node_name_of(pod)]))

    def step(self, now_s: float) -> float | None:
        """Do all that is due; the next time something is."""
        try:
            self._nodes.refresh()
            self._pods.refresh()
        except ServerUnavailable:
            return now_s + RETRY_S
        self._changed.update(dict.fromkeys(self._retries.pop_due(now_s)))
        while self._changed:
            name = next(iter(self._changed))
            del self._changed[name]
            self._judge(name, now_s)
        for key in self._evictions.pop_due(now_s):
            self._evict(key, now_s)
        dues = (self._evictions.next_s(), self._retries.next_s())
        return min((due_s for due_s in dues if due_s is not None), default=None)

    def _judge(self, name: str, now_s: float) -> None:
        node = self._nodes.get(("", name))
        if node is None or is_true(node, "Ready"):
            self._bad_since_s.pop(name, None)
            for key in self._on_node.get(name):
                self._evictions.set(key, None)
            return
        since_s = self._bad_since_s.setdefault(name, now_s)
        taint = _UNREACHABLE if _is_unreachable(node) else _NOT_READY
        for key in self._on_node.get(name):
            pod = self._pods.get(key)
            if pod is None or is_terminal(pod):
                continue
            self._mark_unready(key, pod, name, now_s)
            patience_s = _patience_s(pod, taint)
            if patience_s is not None and not is_deleting(pod):
                self._evictions.hasten(key, since_s + patience_s)

    def _mark_unready(self, key: Key, pod: KubeObject, node_name: str, now_s: float) -> None:
        if not is_ready(pod):
            return
        namespace, name = key
        conditions = with_condition(pod["status"]["conditions"], "Ready", "False", now_s)
        patch = {
            "metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]},
            "status": {"conditions": conditions},
        }
        try:
            self._pods.put(self._api.patch(POD, name, namespace, patch, subresource="status"))
        except ObjectNotFound:
            return
        except (ObjectConflict, ServerUnavailable):
            self._retries.set(node_name, now_s + RETRY_S)

    def _evict(self, key: Key, now_s: float) -> None:
        pod = self._pods.get(key)
        if pod is None or is_deleting(pod):
            return
        namespace, name = key
        uid = pod["metadata"]["uid"]
        try:
            self._say_disrupted(key, uid, pod, now_s)
            self._api.delete(POD, name, namespace, uid=uid)
        except (ObjectNotFound, ObjectConflict):
            return  # gone, or another one under its name
        except ServerUnavailable:
            self._evictions.set(key, now_s + RETRY_S)

    def _say_disrupted(self, key: Key, uid: str, pod: KubeObject, now_s: float) -> None:
        """Say why it is taken away, for whoever counts its end (a Job does)."""
        namespace, name = key
        conditions = with_condition(
            (pod.get("status") or {}).get("conditions") or (),
            "DisruptionTarget",
            "True",
            now_s,
            reason="DeletionByTaintManager",
            message="Taint manager: deleting due to NoExecute taint",
        )
        patch = {"metadata": {"uid": uid}, "status": {"conditions": conditions}}
        self._api.patch(POD, name, namespace, patch, subresource="status")

    def _node_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        node = after if after is not None else before
        assert node is not None, "a change has a before or an after"
        if before is None or after is None or is_true(before, "Ready") != is_true(after, "Ready"):
            self._changed[name_of(node)] = None

    def _pod_changed(self, _before: KubeObject | None, after: KubeObject | None) -> None:
        if after is not None and node_name_of(after) in self._bad_since_s:
            self._changed[node_name_of(after)] = None


def _is_unreachable(node: KubeObject) -> bool:
    ready = condition_of(node, "Ready")
    return ready is None or ready["status"] == "Unknown"


def _patience_s(pod: KubeObject, taint: str) -> float | None:
    """How long the pod stays on a node with the NoExecute taint; None: for ever."""
    matching = [one for one in pod["spec"].get("tolerations") or () if _tolerates(one, taint)]
    if not matching:
        return 0.0
    return _shortest(one.get("tolerationSeconds") for one in matching)


def _shortest(seconds: Iterable[float | None]) -> float | None:
    return min((float(one) for one in seconds if one is not None), default=None)


def _tolerates(toleration: Mapping[str, Any], taint: str) -> bool:
    key, effect = toleration.get("key"), toleration.get("effect")
    everything = not key and toleration.get("operator") == "Exists"
    return (everything or key == taint) and effect in {None, "", "NoExecute"}
