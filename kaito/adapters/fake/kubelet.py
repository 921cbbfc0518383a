"""The twin's kubelets: one object plays the kubelet of every node."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from kaito.adapters.fake.container_phases import ContainerPhases, Failure, PendingPhase, Recorder
from kaito.adapters.fake.events import EventKind, EventRecorder
from kaito.adapters.fake.node_runtime import NodeRuntime
from kaito.adapters.fake.pod_run import PodRun, Stage
from kaito.adapters.fake.pod_status import pod_status
from kaito.adapters.fake.pod_volumes import missing_variable, missing_volume
from kaito.adapters.fake.pods import is_deleting, is_terminal, node_name_of
from kaito.adapters.fake.ray_group import RayGroups
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    NODE,
    POD,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
    is_true,
    name_of,
    namespace_of,
)
from kaito.adapters.object_cache import Index, Key, ObjectCache, key_of

RETRY_S: Final = 1.0


def every_node(_node: KubeObject) -> bool:
    return True


class Kubelet:
    """Runs the pods that are bound to nodes, reports their status, and removes deleted ones.

    What runs is kept here, as a container runtime keeps it on its node: it is gone when the node
    is. `serves` says whether a node's machine is alive; it is asked when the node changes. While
    it is not, nothing happens to the node's pods, and they start afresh afterwards.
    """

    def __init__(
        self,
        api: KubeApi,
        wake: Callable[[], None],
        *,
        phases: ContainerPhases,
        recorder: Recorder,
        serves: Callable[[KubeObject], bool] = every_node,
    ) -> None:
        self._api, self._wake = api, wake
        self._host = _Host(api, phases, recorder)
        self._serves = serves
        self._runs: dict[Key, PodRun] = {}
        self._runtimes: dict[str, NodeRuntime] = {}
        self._served: dict[str, bool] = {}
        self._node_count = 0
        self._groups = RayGroups()
        self._due: Timers[Key] = Timers()
        self._dirty: dict[Key, None] = {}
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
        for key in self._due.pop_due(now_s):
            self._dirty[key] = None
        while self._dirty:
            key = next(iter(self._dirty))
            del self._dirty[key]
            try:
                self._sync(key, now_s)
            except ObjectNotFound:
                continue  # the event of its removal is on the way
            except (ObjectConflict, ServerUnavailable):
                self._due.set(key, now_s + RETRY_S)
        return self._due.next_s()

    def pending(self) -> list[PendingPhase]:
        """Every phase that is running, and what else holds a pod up, in order of pods."""
        return [phase for _key, run in sorted(self._runs.items()) for phase in run.pending()]

    def crash(self, key: Key, container: str, failure: Failure, now_s: float) -> None:
        """Fault injection: a running container's process ends; seen at the next step."""
        run = self._runs.get(key)
        if run is not None:
            run.advance(now_s)
            run.crash(container, failure, now_s)
            self._due.set(key, now_s)
            self._wake()

    def look_again(self, node_name: str) -> None:
        """Ask anew whether the node's machine is alive: its Node need not have changed."""
        node = self._nodes.get(("", node_name))
        if node is not None:
            self._node_changed(node, node)
            self._wake()

    def _node_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        node = after if after is not None else before
        assert node is not None, "a change has a before or an after"
        name = name_of(node)
        served = after is not None and self._serves(after)
        replaced = before is None or after is None or _uid(before) != _uid(after)
        if replaced or served != self._served.get(name, False):
            self._runtimes.pop(name, None)
            self._dirty.update(dict.fromkeys(self._on_node.get(name)))
        elif after is not None and name in self._runtimes:
            self._runtimes[name].node = after
            if before is not None and is_true(after, "Ready") and not is_true(before, "Ready"):
                # The control plane has called its pods unready; what they are is said again.
                self._dirty.update(dict.fromkeys(self._on_node.get(name)))
        if after is None:
            self._served.pop(name, None)
        else:
            self._served[name] = served

    def _pod_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if before is None or after is None or _part(before) != _part(after):
            pod = after if after is not None else before
            assert pod is not None, "a change has a before or an after"
            self._dirty[key_of(pod)] = None

    def _sync(self, key: Key, now_s: float) -> None:
        """Bring one pod up to date. Raises: as `KubeApi`."""
        pod = self._pods.get(key)
        run = self._runs.get(key)
        # A pod that is gone cannot say where it was; its run can.
        node_name = node_name_of(pod) if pod is not None else name_of(run.node.node) if run else ""
        runtime = self._runtime(node_name)
        if run is not None and (pod is None or run.uid != _uid(pod) or runtime is not run.node):
            self._forget(key, now_s, "node is gone" if runtime is not run.node else "pod is gone")
            run = None
        if pod is None or runtime is None:
            return
        if run is None:
            if is_terminal(pod):
                self._finish(key, pod)
                return
            run = self._runs[key] = PodRun(pod, runtime, self._host, now_s)
        run.advance(now_s)
        if is_deleting(pod):
            run.terminate(now_s, float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))
            run.advance(now_s)
        self._settle_group(key, run, now_s)
        self._due.set(key, run.due_s)
        pod = self._report(key, pod, run, now_s)
        if run.stage is Stage.OVER:
            self._forget(key, now_s, "")
            self._finish(key, pod)

    def _runtime(self, node_name: str) -> NodeRuntime | None:
        """The node's runtime; None where there is no live node."""
        known = self._runtimes.get(node_name)
        if known is not None:
            return known
        node = self._nodes.get(("", node_name))
        if node is None or not self._served[node_name]:
            return None
        self._runtimes[node_name] = NodeRuntime(node, self._node_count)
        self._node_count += 1
        return self._runtimes[node_name]

    def _settle_group(self, key: Key, run: PodRun | None, now_s: float) -> None:
        """Bring those up to date to which something happened because of this pod."""
        for touched in self._groups.settle(key, run, now_s):
            self._dirty[touched] = None

    def _forget(self, key: Key, now_s: float, why: str) -> None:
        run = self._runs.pop(key)
        self._due.set(key, None)
        run.vanish(now_s, why)
        if run.address:
            run.node.give_back(run.address)
        self._settle_group(key, None, now_s)

    def _report(self, key: Key, pod: KubeObject, run: PodRun, now_s: float) -> KubeObject:
        """Write the status where it differs."""
        status = pod_status(pod, run, now_s)
        before = pod.get("status") or {}
        if all(before.get(name) == value for name, value in status.items()):
            return pod
        namespace, name = key
        patch = {
            "metadata": {"resourceVersion": pod["metadata"]["resourceVersion"]},
            "status": status,
        }
        written = self._api.patch(POD, name, namespace, patch, subresource="status")
        self._pods.put(written)
        return written

    def _finish(self, key: Key, pod: KubeObject) -> None:
        """Really remove a deleted pod of which nothing runs any more."""
        if is_deleting(pod):
            namespace, name = key
            self._api.delete(POD, name, namespace, uid=_uid(pod), grace_period_s=0)


class _Host:
    """The kubelet's side of its pods: the API, the recorder, and what images do."""

    def __init__(self, api: KubeApi, phases: ContainerPhases, recorder: Recorder) -> None:
        self.phases = phases
        self._api = api
        self._recorder = recorder
        self._events = EventRecorder(api, "kubelet")

    def missing_volume(self, pod: KubeObject) -> str:
        try:
            return missing_volume(self._api, pod)
        except ServerUnavailable as error:
            return f"failed to fetch a volume's source: {error}"

    def missing_variable(self, pod: KubeObject, container: Mapping[str, Any]) -> str:
        try:
            return missing_variable(self._api, pod, container)
        except ServerUnavailable as error:
            return f"failed to fetch a variable's source: {error}"

    def emit(
        self, pod: KubeObject, kind: EventKind, reason: str, message: str, at_s: float
    ) -> None:
        self._events.record(POD, pod, kind, reason, message, at_s)

    def begin(self, pod: KubeObject, name: str, start_s: float, detail: str) -> None:
        self._recorder.begin(_subject(pod), name, start_s, detail)

    def phase(self, pod: KubeObject, name: str, start_s: float, end_s: float, detail: str) -> None:
        self._recorder.phase(_subject(pod), name, start_s, end_s, detail)


def _subject(pod: KubeObject) -> str:
    return f"Pod/{namespace_of(pod)}/{name_of(pod)}"


def _uid(obj: KubeObject) -> str:
    return str(obj["metadata"]["uid"])


def _part(pod: KubeObject) -> tuple[object, ...]:
    """What the kubelet acts on: not the status that it writes itself."""
    meta = pod["metadata"]
    return (
        meta["uid"],
        node_name_of(pod),
        meta.get("deletionTimestamp"),
        meta.get("deletionGracePeriodSeconds"),
    )
