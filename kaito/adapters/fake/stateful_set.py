"""The twin's StatefulSet controller (kube-controller-manager's, pkg/controller/statefulset)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kaito.adapters.fake.events import EventRecorder
from kaito.adapters.fake.pods import (
    controller_uid,
    is_deleting,
    is_ready,
    is_terminal,
    owner_reference,
    phase_of,
    pod_from_template,
)
from kaito.adapters.fake.revisions import RevisionHistory
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    CONTROLLER_REVISION,
    POD,
    STATEFUL_SET,
    AlreadyExists,
    Forbidden,
    InvalidObject,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
    condition_of,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.adapters.object_cache import Index, Key, ObjectCache, key_of
from kaito.domain.timestamps import from_rfc3339

POD_NAME_LABEL: Final = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL: Final = "apps.kubernetes.io/pod-index"
REVISION_LABEL: Final = "controller-revision-hash"
# The work queue's back-off after a failed write starts far lower; this is often enough.
RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Goal:
    """What the spec asks for, and the two revisions that pods may have."""

    stateful_set: KubeObject
    start: int
    replicas: int
    partition: int
    rolling: bool
    one_by_one: bool
    min_ready_s: float
    current: str
    update: str

    def ordinals(self) -> range:
        return range(self.start, self.start + self.replicas)

    def pod_name(self, ordinal: int) -> str:
        return f"{name_of(self.stateful_set)}-{ordinal}"

    def revision_for(self, ordinal: int) -> str:
        """A pod below the partition stays at, or returns to, the current revision."""
        held_back = self.rolling and ordinal < self.start + self.partition
        return self.current if held_back else self.update


class StatefulSetController:
    """Creates, replaces and removes the pods of StatefulSets, and writes their status.

    As the real one: an outdated pod is deleted whether it is ready or not, highest ordinal first,
    but the next one only once its successor is ready. With `OrderedReady` nothing goes on past a
    pod that is not ready. A StatefulSet that is being deleted is left to the garbage collector.
    """

    def __init__(self, api: KubeApi, wake: Callable[[], None]) -> None:
        self._api = api
        self._events = EventRecorder(api, "statefulset-controller")
        self._due: Timers[Key] = Timers()
        self._dirty: dict[Key, None] = {}
        self._sets = ObjectCache(api, STATEFUL_SET, wake)
        self._sets.on_change(self._set_changed)
        self._by_uid = Index(self._sets, lambda obj: [obj["metadata"]["uid"]])
        self._pods = ObjectCache(api, POD, wake)
        self._pods_of = Index(self._pods, lambda pod: filter(None, [controller_uid(pod)]))
        self._pods.on_change(self._pod_changed)
        self._revisions = ObjectCache(api, CONTROLLER_REVISION, wake)
        self._history = RevisionHistory(api, self._revisions, STATEFUL_SET)

    def step(self, now_s: float) -> float | None:
        """Do what is due for every StatefulSet that changed; the next time something is due."""
        try:
            self._sets.refresh()
            self._revisions.refresh()
            self._pods.refresh()
        except ServerUnavailable:
            return now_s + RETRY_S
        for key in self._due.pop_due(now_s):
            self._dirty[key] = None
        while self._dirty:
            key = next(iter(self._dirty))
            del self._dirty[key]
            stateful_set = self._sets.get(key)
            if stateful_set is None or is_deleting(stateful_set):
                continue
            try:
                self._sync(stateful_set, now_s)
                self._pods.refresh()  # a second pass must see what this one deleted
            except (ObjectConflict, ObjectNotFound, ServerUnavailable):
                self._due.hasten(key, now_s + RETRY_S)
        return self._due.next_s()

    def _set_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if after is not None:
            if before is None or _spec_and_status(before) != _spec_and_status(after):
                self._dirty[key_of(after)] = None
        elif before is not None:
            self._due.set(key_of(before), None)

    def _pod_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if before is not None and after is not None and _pod_part(before) == _pod_part(after):
            return
        for pod in (before, after):
            uid = controller_uid(pod) if pod is not None else ""
            for key in self._by_uid.get(uid) if uid else ():
                self._dirty[key] = None

    def _sync(self, stateful_set: KubeObject, now_s: float) -> None:
        """One pass over a StatefulSet. Raises: as `KubeApi`."""
        goal = _goal(stateful_set, self._history.keep(stateful_set))
        pods = self._pods_by_ordinal(stateful_set)
        try:
            self._scale(goal, pods, now_s)
        except (Forbidden, InvalidObject) as error:
            message = f"create Pod in StatefulSet {name_of(stateful_set)} failed error: {error}"
            self._events.record(
                STATEFUL_SET, stateful_set, "Warning", "FailedCreate", message, now_s
            )
            self._due.hasten(key_of(stateful_set), now_s + RETRY_S)
        self._write_status(goal, now_s)
        in_use = {goal.current, goal.update} | {_revision_of(pod) for pod in pods.values()}
        self._history.trim(stateful_set, frozenset(in_use))

    def _pods_by_ordinal(self, stateful_set: KubeObject) -> dict[int, KubeObject]:
        pods = {}
        prefix = f"{name_of(stateful_set)}-"
        for key in self._pods_of.get(stateful_set["metadata"]["uid"]):
            ordinal = key[1].removeprefix(prefix)
            pod = self._pods.get(key)
            if pod is not None and key[1].startswith(prefix) and ordinal.isdecimal():
                pods[int(ordinal)] = pod
        return pods

    def _scale(self, goal: _Goal, pods: Mapping[int, KubeObject], now_s: float) -> None:
        """Create what is missing, remove what is surplus, replace what is outdated."""
        for ordinal in goal.ordinals():
            pod = pods.get(ordinal)
            if pod is None:
                self._create(goal, ordinal, now_s)
                settled = False
            elif is_terminal(pod):
                self._replace_finished(goal, pod, now_s)
                settled = False
            else:
                settled = not is_deleting(pod) and self._is_available(goal, pod, now_s)
            if goal.one_by_one and not settled:
                return
        surplus = sorted((number for number in pods if number not in goal.ordinals()), reverse=True)
        for ordinal in surplus:
            if not is_deleting(pods[ordinal]):
                self._delete(goal, pods[ordinal], now_s)
            if goal.one_by_one:
                return
        if goal.rolling:
            self._roll(goal, pods, now_s)

    def _roll(self, goal: _Goal, pods: Mapping[int, KubeObject], now_s: float) -> None:
        """Delete the highest outdated pod, once all above it are updated and healthy."""
        for ordinal in reversed(goal.ordinals()):
            if ordinal < goal.start + goal.partition:
                return
            pod = pods.get(ordinal)
            if pod is None:
                return
            if _revision_of(pod) != goal.update and not is_deleting(pod):
                self._delete(goal, pod, now_s)
                return
            if is_deleting(pod) or not self._is_available(goal, pod, now_s):
                return

    def _replace_finished(self, goal: _Goal, pod: KubeObject, now_s: float) -> None:
        if is_deleting(pod):
            return
        message = (
            f"StatefulSet {namespace_of(pod)}/{name_of(goal.stateful_set)} is recreating"
            f" {phase_of(pod).lower()} Pod {name_of(pod)}"
        )
        self._events.record(
            STATEFUL_SET, goal.stateful_set, "Warning", "RecreatingFailedPod", message, now_s
        )
        self._delete(goal, pod, now_s)

    def _create(self, goal: _Goal, ordinal: int, now_s: float) -> None:
        revision = goal.revision_for(ordinal)
        template = self._history.template(goal.stateful_set, revision)
        try:
            self._pods.put(self._api.create(POD, _new_pod(goal, ordinal, revision, template)))
        except AlreadyExists:
            # The cache lags, or somebody else's pod has the name: look again.
            self._due.hasten(key_of(goal.stateful_set), now_s + RETRY_S)
            return
        owner = name_of(goal.stateful_set)
        message = f"create Pod {goal.pod_name(ordinal)} in StatefulSet {owner} successful"
        self._events.record(
            STATEFUL_SET, goal.stateful_set, "Normal", "SuccessfulCreate", message, now_s
        )

    def _delete(self, goal: _Goal, pod: KubeObject, now_s: float) -> None:
        try:
            self._api.delete(POD, name_of(pod), namespace_of(pod), uid=pod["metadata"]["uid"])
        except ObjectNotFound:
            return
        message = (
            f"delete Pod {name_of(pod)} in StatefulSet {name_of(goal.stateful_set)} successful"
        )
        self._events.record(
            STATEFUL_SET, goal.stateful_set, "Normal", "SuccessfulDelete", message, now_s
        )

    def _is_available(self, goal: _Goal, pod: KubeObject, now_s: float) -> bool:
        """Running and Ready for `minReadySeconds`; asks to be stepped when that will be over."""
        if phase_of(pod) != "Running" or not is_ready(pod):
            return False
        if goal.min_ready_s <= 0:
            return True
        condition = condition_of(pod, "Ready")
        assert condition is not None, "a ready pod has the condition"
        available_s = from_rfc3339(condition["lastTransitionTime"]) + goal.min_ready_s
        if available_s > now_s:
            self._due.hasten(key_of(goal.stateful_set), available_s)
        return available_s <= now_s

    def _write_status(self, goal: _Goal, now_s: float) -> None:
        status = self._status(goal, now_s)
        before = goal.stateful_set.get("status") or {}
        if all((before.get(name) or 0) == value for name, value in status.items()):
            return
        namespace, name = key_of(goal.stateful_set)
        patch = {
            "metadata": {"resourceVersion": goal.stateful_set["metadata"]["resourceVersion"]},
            "status": status,
        }
        self._sets.put(self._api.patch(STATEFUL_SET, name, namespace, patch, subresource="status"))

    def _status(self, goal: _Goal, now_s: float) -> dict[str, Any]:
        pods = list(self._pods_by_ordinal(goal.stateful_set).values())
        ready = [pod for pod in pods if phase_of(pod) == "Running" and is_ready(pod)]
        staying = [pod for pod in pods if not is_deleting(pod)]
        updated = sum(1 for pod in staying if _revision_of(pod) == goal.update)
        current = goal.current
        if goal.rolling and updated == len(pods) == len(ready):
            current = goal.update  # the roll-out is complete
        return {
            "observedGeneration": goal.stateful_set["metadata"].get("generation", 1),
            "replicas": len(pods),
            "readyReplicas": len(ready),
            "availableReplicas": sum(self._is_available(goal, pod, now_s) for pod in ready),
            "currentReplicas": sum(1 for pod in staying if _revision_of(pod) == current),
            "updatedReplicas": updated,
            "currentRevision": current,
            "updateRevision": goal.update,
            "collisionCount": 0,
        }


def _goal(stateful_set: KubeObject, update: str) -> _Goal:
    spec = stateful_set["spec"]
    strategy = spec.get("updateStrategy") or {}
    rolling = strategy.get("rollingUpdate") or {}
    replicas = spec.get("replicas")
    return _Goal(
        stateful_set=stateful_set,
        start=int((spec.get("ordinals") or {}).get("start") or 0),
        replicas=1 if replicas is None else int(replicas),
        partition=int(rolling.get("partition") or 0),
        rolling=(strategy.get("type") or "RollingUpdate") == "RollingUpdate",
        one_by_one=(spec.get("podManagementPolicy") or "OrderedReady") == "OrderedReady",
        min_ready_s=float(spec.get("minReadySeconds") or 0),
        current=(stateful_set.get("status") or {}).get("currentRevision") or update,
        update=update,
    )


def _new_pod(
    goal: _Goal, ordinal: int, revision: str, template: Mapping[str, Any]
) -> dict[str, Any]:
    spec = goal.stateful_set["spec"]
    name = goal.pod_name(ordinal)
    labels = {POD_NAME_LABEL: name, POD_INDEX_LABEL: str(ordinal), REVISION_LABEL: revision}
    pod = pod_from_template(
        template,
        namespace=namespace_of(goal.stateful_set),
        name=name,
        labels=labels,
        owner=owner_reference(STATEFUL_SET, goal.stateful_set),
    )
    pod["spec"]["hostname"] = name
    if spec.get("serviceName"):
        pod["spec"]["subdomain"] = spec["serviceName"]
    claims = [
        {
            "name": claim["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": f"{claim['metadata']['name']}-{name}"},
        }
        for claim in spec.get("volumeClaimTemplates") or ()
    ]
    if claims:
        named = {claim["name"] for claim in claims}
        others = [
            volume for volume in pod["spec"].get("volumes") or () if volume["name"] not in named
        ]
        pod["spec"]["volumes"] = [*others, *claims]
    return pod


def _revision_of(pod: KubeObject) -> str:
    return labels_of(pod).get(REVISION_LABEL, "")


def _spec_and_status(stateful_set: KubeObject) -> tuple[object, ...]:
    meta = stateful_set["metadata"]
    return (
        meta["uid"],
        meta.get("deletionTimestamp"),
        stateful_set["spec"],
        stateful_set.get("status"),
    )


def _pod_part(pod: KubeObject) -> tuple[object, ...]:
    """What the controller reads of a pod: not its containers or addresses."""
    meta = pod["metadata"]
    ready = condition_of(pod, "Ready")
    return (
        meta["uid"],
        meta.get("deletionTimestamp"),
        meta.get("ownerReferences"),
        labels_of(pod).get(REVISION_LABEL),
        phase_of(pod),
        ready and (ready["status"], ready.get("lastTransitionTime")),
    )
