"""The twin's kube-scheduler: binds each pod to the node that it fits on and prefers; of several,
to the first by name."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from kaito.adapters.fake.events import EventRecorder
from kaito.adapters.fake.node_fit import (
    mismatch,
    preference,
    shortages,
    unschedulable_message,
)
from kaito.adapters.fake.node_index import NodeIndex
from kaito.adapters.fake.pod_claims import NODE_CONFLICT, PodClaims
from kaito.adapters.fake.pod_resources import amounts, pod_requests
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
    condition_of,
    is_true,
    labels_of,
    name_of,
)
from kaito.adapters.object_cache import Key, ObjectCache, key_of

SCHEDULER_NAME: Final = "default-scheduler"
# kube-scheduler tries again after a failed write with a back-off that starts here.
RETRY_S: Final = 1.0
# It looks again at a pod that no event concerned after this (podMaxInUnschedulablePodsDuration).
STALE_MESSAGE_S: Final = 300.0
# What a node that reports no `pods` takes: the kubelet's default (maxPods).
MAX_PODS: Final = 110


@dataclass(slots=True)
class _Waiting:
    """A pod without a node, and the nodes that match it."""

    requests: Mapping[str, int]
    candidates: set[str]


class Scheduler:
    """Binds pods, or says on each why it cannot (condition PodScheduled, event FailedScheduling).

    A pod is tried when it is new, when a node that matches it changes, and when such a node gets
    room. What concerns only other nodes shows in its message after `STALE_MESSAGE_S`.
    """

    def __init__(self, api: KubeApi, wake: Callable[[], None]) -> None:
        self._api = api
        self._events = EventRecorder(api, SCHEDULER_NAME)
        self._waiting: dict[Key, _Waiting] = {}
        self._used: dict[str, Counter[str]] = {}
        self._allocatable: dict[str, Mapping[str, int]] = {}
        self._changed_nodes: dict[str, None] = {}
        self._roomier_nodes: dict[str, None] = {}
        self._due: Timers[Key] = Timers()
        self._new: dict[Key, None] = {}
        self._index = NodeIndex()
        self._assumed: dict[Key, str] = {}  # where room is kept while volumes are made
        self._reviewed: dict[Key, None] = {}  # pods whose claims have changed
        self._claims = PodClaims(api, wake, self._claims_changed)
        self._nodes = ObjectCache(api, NODE, wake)
        self._nodes.on_change(self._node_changed)
        self._pods = ObjectCache(api, POD, wake)
        self._pods.on_change(self._pod_changed)

    def step(self, now_s: float) -> float | None:
        """Bind what can be bound; the next time a message or a failed write is due."""
        try:
            self._nodes.refresh()
            self._pods.refresh()
            self._claims.refresh()
        except ServerUnavailable:
            return now_s + RETRY_S
        self._judge(now_s)
        for key in self._due.pop_due(now_s):
            if key in self._waiting:
                self._try(key, now_s)
        return self._due.next_s()

    def _judge(self, now_s: float) -> None:
        """Bring what is known of the waiting pods up to date, and make due those it concerns."""
        for key in self._new:
            self._welcome(key)
            self._due.set(key, now_s)
        self._new.clear()
        for name in self._changed_nodes:
            node = self._nodes.get(("", name))
            for key, waiting in self._waiting.items():
                pod = self._pods.get(key)
                assert pod is not None, "a waiting pod is in the cache"
                concerned = name in waiting.candidates
                waiting.candidates.discard(name)
                if node is not None and not mismatch(pod, node):
                    waiting.candidates.add(name)
                    concerned = True
                self._due.hasten(key, now_s if concerned else now_s + STALE_MESSAGE_S)
        self._changed_nodes.clear()
        for key in self._reviewed:
            if key in self._waiting:
                self._due.hasten(key, now_s)
        self._reviewed.clear()
        for name in self._roomier_nodes:
            for key, waiting in self._waiting.items():
                if name in waiting.candidates:
                    self._due.hasten(key, now_s)
        self._roomier_nodes.clear()

    def _welcome(self, key: Key) -> None:
        pod = self._pods.get(key)
        assert pod is not None, "a new pod is in the cache"
        self._waiting[key] = _Waiting(pod_requests(pod), self._index.candidates(pod))

    def _try(self, key: Key, now_s: float) -> None:
        pod, waiting = self._pods.get(key), self._waiting[key]
        assert pod is not None, "a waiting pod is in the cache"
        kept = self._let_go(key)
        lacking: Counter[str] = Counter()
        try:
            claims = self._claims.of(pod)
            if claims.problem:
                count = len(self._nodes)
                self._explain(pod, f"0/{count} nodes are available: {claims.problem}.", now_s)
                return
            ranked = sorted(waiting.candidates, key=lambda name: self._rank(pod, name))
            for name in sorted(ranked, key=lambda name: name != kept):
                short = shortages(
                    waiting.requests, self._allocatable[name], self._used.get(name, {})
                )
                if not short and claims.on not in {"", name}:
                    short = [NODE_CONFLICT]
                if not short and claims.unbound:
                    self._keep_room(key, name)
                    self._claims.make_on(claims, name)
                    return
                if not short:
                    self._bind(pod, name, now_s)
                    return
                lacking.update(short)
            reasons = self._index.reasons(pod, len(waiting.candidates)) + lacking
            self._explain(pod, unschedulable_message(len(self._nodes), reasons), now_s)
        except ObjectNotFound:
            return  # the event of its deletion is on the way
        except (ObjectConflict, ServerUnavailable):
            self._due.set(key, now_s + RETRY_S)

    def _keep_room(self, key: Key, node_name: str) -> None:
        """Until its volumes are there, nobody else may have the pod's place."""
        self._used.setdefault(node_name, Counter()).update(self._waiting[key].requests)
        self._assumed[key] = node_name

    def _let_go(self, key: Key) -> str:
        """The Node on which room was kept; empty for none."""
        node_name = self._assumed.pop(key, "")
        if node_name:
            self._used[node_name].subtract(self._waiting[key].requests)
        return node_name

    def _claims_changed(self, key: Key | None) -> None:
        for concerned in self._waiting if key is None else [key]:
            self._reviewed[concerned] = None

    def _rank(self, pod: KubeObject, node_name: str) -> tuple[int, str]:
        node = self._nodes.get(("", node_name))
        assert node is not None, "a candidate is in the cache"
        return -preference(pod, node), node_name

    def _bind(self, pod: KubeObject, node_name: str, now_s: float) -> None:
        self._pods.put(bind(self._api, pod, node_name, now_s))
        namespace, name = key_of(pod)
        message = f"Successfully assigned {namespace}/{name} to {node_name}"
        self._events.record(POD, pod, "Normal", "Scheduled", message, now_s)

    def _explain(self, pod: KubeObject, message: str, now_s: float) -> None:
        known = condition_of(pod, "PodScheduled")
        if known is not None and known["status"] == "False" and known.get("message") == message:
            return
        self._pods.put(
            _write_condition(
                self._api, pod, "False", now_s, reason="Unschedulable", message=message
            )
        )
        self._events.record(POD, pod, "Warning", "FailedScheduling", message, now_s)

    def _node_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        node = after if after is not None else before
        assert node is not None, "a change has a before or an after"
        name = name_of(node)
        if after is None:
            del self._allocatable[name]
            self._index.remove(name)
        else:
            status = after.get("status") or {}
            allocatable = status.get("allocatable") or status.get("capacity") or {}
            if before is None or _schedulable_part(before) != _schedulable_part(after):
                self._allocatable[name] = {"pods": MAX_PODS * 1000, **amounts(allocatable)}
                self._index.put(after)
            else:
                return
        self._changed_nodes[name] = None

    def _pod_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        taken_before = node_name_of(before) if before is not None and _takes_room(before) else ""
        takes_after = node_name_of(after) if after is not None and _takes_room(after) else ""
        if taken_before != takes_after:
            if before is not None and taken_before:
                self._used[taken_before].subtract(pod_requests(before))
                self._roomier_nodes[taken_before] = None
            if after is not None and takes_after:
                self._used.setdefault(takes_after, Counter()).update(pod_requests(after))
        key = key_of(after if after is not None else before)  # type: ignore[arg-type]  # one is set
        if before is not None and (after is None or _uid(before) != _uid(after)):
            self._drop(key)
        if after is not None and _waits(after):
            if key not in self._waiting or before is None or before["spec"] != after["spec"]:
                self._new[key] = None
        else:
            self._drop(key)

    def _drop(self, key: Key) -> None:
        kept = self._let_go(key)
        if kept:
            self._roomier_nodes[kept] = None
        self._waiting.pop(key, None)
        self._new.pop(key, None)
        self._due.set(key, None)


def bind(api: KubeApi, pod: KubeObject, node_name: str, now_s: float) -> KubeObject:
    """Put the pod on the node; in the real API, one POST to the pod's `binding` sub-resource.

    Raises: ObjectConflict (the pod changed), ObjectNotFound, ServerUnavailable.
    """
    namespace, name = key_of(pod)
    patch = {
        "metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]},
        "spec": {"nodeName": node_name},
    }
    bound = api.patch(POD, name, namespace, patch)
    return _write_condition(api, bound, "True", now_s)


def _write_condition(
    api: KubeApi, pod: KubeObject, status: str, now_s: float, *, reason: str = "", message: str = ""
) -> KubeObject:
    namespace, name = key_of(pod)
    conditions = with_condition(
        (pod.get("status") or {}).get("conditions") or (),
        "PodScheduled",
        status,
        now_s,
        reason=reason,
        message=message,
    )
    patch = {
        "metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]},
        "status": {"conditions": conditions},
    }
    return api.patch(POD, name, namespace, patch, subresource="status")


def _waits(pod: KubeObject) -> bool:
    spec = pod["spec"]
    return (
        not node_name_of(pod)
        and not is_terminal(pod)
        and not is_deleting(pod)
        and not spec.get("schedulingGates")
        and (spec.get("schedulerName") or SCHEDULER_NAME) == SCHEDULER_NAME
    )


def _takes_room(pod: KubeObject) -> bool:
    return bool(node_name_of(pod)) and not is_terminal(pod)


def _schedulable_part(node: KubeObject) -> tuple[object, ...]:
    """What the scheduler reads of a node: not its heartbeats."""
    status = node.get("status") or {}
    return (
        labels_of(node),
        node.get("spec"),
        status.get("allocatable"),
        status.get("capacity"),
        is_true(node, "Ready"),
    )


def _uid(obj: KubeObject) -> str:
    uid = obj["metadata"]["uid"]
    assert isinstance(uid, str)
    return uid
