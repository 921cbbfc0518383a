"""A tiny deterministic driver for the twin's components, and a cluster of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from kaito.adapters.fake.container_phases import ContainerPhases, ContainerPlan, Phase
from kaito.adapters.fake.ephemeral_volumes import EphemeralVolumeController
from kaito.adapters.fake.garbage_collector import GarbageCollector
from kaito.adapters.fake.job import JobController
from kaito.adapters.fake.kubelet import Kubelet
from kaito.adapters.fake.pod_gc import PodGarbageCollector
from kaito.adapters.fake.scheduler import Scheduler
from kaito.adapters.fake.stateful_set import StatefulSetController
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import (
    EVENT,
    JOB,
    NODE,
    POD,
    STATEFUL_SET,
    KubeObject,
    name_of,
)

EPOCH_S = 1_767_225_600.0
STEPS_PER_INSTANT = 200

Step = Callable[[float], float | None]


class Loop:
    """Steps what is woken or due, in order of registration; else jumps to the next due time."""

    def __init__(self) -> None:
        self.now_s = EPOCH_S
        self._steps: list[Step] = []
        self._due: dict[int, float | None] = {}

    def waker(self) -> Callable[[], None]:
        """The `wake` of the component that is added next."""
        number = len(self._steps)

        def wake() -> None:
            self._due[number] = self.now_s

        return wake

    def add(self, step: Step) -> None:
        self._due[len(self._steps)] = self.now_s
        self._steps.append(step)

    def run(self, seconds: float) -> None:
        """Let that much time pass."""
        end_s = self.now_s + seconds
        taken, instant = 0, self.now_s
        while (due := self._next()) is not None and due[0] <= end_s:
            due_s, number = due
            taken = taken + 1 if due_s <= instant else 0
            assert taken < STEPS_PER_INSTANT, f"livelock: {self._steps[number]} is always due"
            instant = self.now_s = max(self.now_s, due_s)
            self._due[number] = None
            next_s = self._steps[number](self.now_s)
            if next_s is not None:
                known = self._due[number]
                self._due[number] = next_s if known is None else min(known, next_s)
        self.now_s = end_s

    def _next(self) -> tuple[float, int] | None:
        due = [(moment, number) for number, moment in self._due.items() if moment is not None]
        return min(due, default=None)


@dataclass
class Script:
    """`ContainerPhases` as a test tells it: seconds of a pull, and a plan per container name."""

    pull_s: float = 10.0
    stop: float = 2.0
    plans: dict[str, ContainerPlan] = field(default_factory=dict)
    pulls: dict[str, list[Phase]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def image_pull(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> Phase:
        self.asked.append(image)
        scripted = self.pulls.get(image)
        return scripted.pop(0) if scripted else Phase("image pull", self.pull_s, image)

    def plan(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> ContainerPlan:
        return self.plans.get(container, ContainerPlan())

    def stop_s(self, node: KubeObject, pod: KubeObject, container: str) -> float:
        return self.stop


@dataclass(frozen=True, slots=True)
class Recorded:
    """A phase that is over. Times are seconds since the start of the test."""

    subject: str
    name: str
    start_s: float
    end_s: float
    detail: str


class ListRecorder:
    """A `Recorder` that keeps what it hears."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, str]] = []
        self.phases: list[Recorded] = []

    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        self.begun.append((subject, name))

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        self.phases.append(Recorded(subject, name, start_s - EPOCH_S, end_s - EPOCH_S, detail))

    def names(self, pod: str) -> list[str]:
        return [one.name for one in self.phases if one.subject == f"Pod/default/{pod}"]


class Cluster:
    """A store and every component that this folder is about."""

    def __init__(self, phases: ContainerPhases) -> None:
        self.loop = Loop()
        uids = count(1)
        self.api = ObjectStore(
            now_s=lambda: self.loop.now_s, new_uid=lambda: f"uid-{next(uids):06d}"
        )
        self.recorder = ListRecorder()
        self.scheduler = Scheduler(self.api, self.loop.waker())
        self.loop.add(self.scheduler.step)
        self.loop.add(EphemeralVolumeController(self.api, self.loop.waker()).step)
        self.loop.add(StatefulSetController(self.api, self.loop.waker()).step)
        self.loop.add(JobController(self.api, self.loop.waker()).step)
        self.loop.add(PodGarbageCollector(self.api, self.loop.waker()).step)
        self.loop.add(GarbageCollector(self.api, wake=self.loop.waker()).step)
        self.dead_nodes: set[str] = set()
        self.kubelet = Kubelet(
            self.api,
            self.loop.waker(),
            phases=phases,
            recorder=self.recorder,
            serves=lambda node: name_of(node) not in self.dead_nodes,
        )
        self.loop.add(self.kubelet.step)

    @property
    def elapsed_s(self) -> float:
        return self.loop.now_s - EPOCH_S

    def run(self, seconds: float) -> None:
        self.loop.run(seconds)

    def run_until_s(self, elapsed_s: float) -> None:
        """Run to that many seconds after the start."""
        self.loop.run(elapsed_s - self.elapsed_s)

    def add_node(
        self, name: str, *, labels: Mapping[str, str] | None = None, **more: Any
    ) -> KubeObject:
        """A Ready node with one GPU, unless `spec`, `allocatable` or `ready` say otherwise."""
        allocatable = more.get(
            "allocatable", {"cpu": "24", "memory": "220Gi", "nvidia.com/gpu": "1", "pods": "110"}
        )
        node = {
            "metadata": {"name": name, "labels": dict(labels or {})},
            "spec": more.get("spec", {}),
        }
        self.api.create(NODE, node)
        status = {
            "allocatable": allocatable,
            "capacity": allocatable,
            "addresses": [{"type": "InternalIP", "address": "10.224.0.4"}],
            "conditions": [
                {"type": "Ready", "status": "True" if more.get("ready", True) else "False"}
            ],
        }
        return self.api.patch(NODE, name, None, {"status": status}, subresource="status")

    def add_pod(self, name: str, **spec: Any) -> KubeObject:
        spec.setdefault("containers", [container("main")])
        return self.api.create(
            POD, {"metadata": {"namespace": "default", "name": name}, "spec": spec}
        )

    def add_stateful_set(self, name: str, *, pod: Mapping[str, Any], **spec: Any) -> KubeObject:
        body = {
            "metadata": {"namespace": "default", "name": name},
            "spec": {
                "replicas": 1,
                "podManagementPolicy": "Parallel",
                "serviceName": f"{name}-headless",
                "selector": {"matchLabels": {"app": name}},
                "template": {"metadata": {"labels": {"app": name}}, "spec": dict(pod)},
                **spec,
            },
        }
        return self.api.create(STATEFUL_SET, body)

    def add_job(self, name: str, *, pod: Mapping[str, Any], **spec: Any) -> KubeObject:
        body = {
            "metadata": {"namespace": "default", "name": name},
            "spec": {"template": {"spec": {"restartPolicy": "Never", **pod}}, **spec},
        }
        return self.api.create(JOB, body)

    def pod(self, name: str) -> KubeObject:
        return self.api.get(POD, name, "default")

    def pods(self) -> list[str]:
        return [name_of(pod) for pod in self.api.list(POD).items]

    def stateful_set(self, name: str) -> KubeObject:
        return self.api.get(STATEFUL_SET, name, "default")

    def job(self, name: str) -> KubeObject:
        return self.api.get(JOB, name, "default")

    def events(self, about: str) -> list[tuple[str, str, int]]:
        """Reason, message and count of each event about an object, in order of time."""
        found = [
            event
            for event in self.api.list(EVENT).items
            if event["involvedObject"]["name"] == about
        ]
        found.sort(key=lambda event: int(event["metadata"]["resourceVersion"]))
        return [(event["reason"], event["message"], event["count"]) for event in found]

    def reasons(self, about: str) -> list[str]:
        return [reason for reason, _message, _count in self.events(about)]


def container(name: str, **more: Any) -> dict[str, Any]:
    """A container that asks for one GPU, unless `resources` says otherwise."""
    gpu = {"nvidia.com/gpu": "1"}
    resources = {"requests": gpu, "limits": gpu}
    return {"name": name, "image": f"registry.test/{name}:1", "resources": resources, **more}
