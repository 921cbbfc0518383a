"""One pod on a node: volumes, init containers, containers, termination."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, Protocol

from kaito.adapters.fake.container_phases import Failure, PendingPhase
from kaito.adapters.fake.container_run import ContainerRun, PodHost, Restart, State
from kaito.adapters.fake.node_runtime import NodeRuntime
from kaito.adapters.kube_api import KubeObject, name_of, namespace_of

# Back-off between attempts to mount (pkg/util/goroutinemap/exponentialbackoff).
FIRST_MOUNT_RETRY_S: Final = 0.5
LAST_MOUNT_RETRY_S: Final = 122.0


class Stage(StrEnum):
    MOUNTING = "mounting"
    INITIALISING = "initialising"
    RUNNING = "running"
    TERMINATING = "terminating"
    OVER = "over"


class PodRunHost(PodHost, Protocol):
    """What a pod needs of its kubelet."""

    def missing_volume(self, pod: KubeObject) -> str:
        """Why the pod's volumes cannot be mounted; empty when they can."""


class PodRun:
    """A state machine: `due_s` says when something happens next, `advance` catches up with it."""

    def __init__(self, pod: KubeObject, node: NodeRuntime, host: PodRunHost, at_s: float) -> None:
        self.pod, self.node, self._host = pod, node, host
        self.admitted_s = at_s
        self.address = ""
        self.stage = Stage.MOUNTING
        self.init_containers, self.containers = self._containers()
        self._stage_due_s: float | None = at_s
        self._mount_retry_s = FIRST_MOUNT_RETRY_S
        self._missing = ""
        self._settled_s = at_s

    @property
    def uid(self) -> str:
        return str(self.pod["metadata"]["uid"])

    @property
    def subject(self) -> str:
        return f"Pod/{namespace_of(self.pod)}/{name_of(self.pod)}"

    @property
    def restart_policy(self) -> Restart:
        return Restart(self.pod["spec"].get("restartPolicy") or "Always")

    @property
    def initialised(self) -> bool:
        return all(container.succeeded for container in self.init_containers)

    @property
    def everything(self) -> tuple[ContainerRun, ...]:
        return (*self.init_containers, *self.containers)

    @property
    def due_s(self) -> float | None:
        """When something happens next, if not only by others."""
        due = [container.due_s for container in self.everything] + [self._stage_due_s]
        return min((moment for moment in due if moment is not None), default=None)

    def advance(self, now_s: float) -> None:
        """Let happen all that is due by `now_s`, each at its own time."""
        while (at_s := self.due_s) is not None and at_s <= now_s:
            self._settled_s = at_s
            if self._stage_due_s is not None and self._stage_due_s <= at_s:
                self._stage_due_s = None
                self._mount(at_s)
            else:
                container = next(one for one in self.everything if one.due_s == at_s)
                container.advance(at_s)
            self._settle(at_s)

    def terminate(self, now_s: float, grace_s: float) -> None:
        """Stop every container; the pod is OVER when the last one has ended."""
        if self.stage in {Stage.TERMINATING, Stage.OVER}:
            return
        self.stage = Stage.TERMINATING
        self._stage_due_s = None
        for container in self.everything:
            if container.state is State.RUNNING:
                text = f"Stopping container {container.name}"
                self._host.emit(self.pod, "Normal", "Killing", text, now_s)
            if not container.finished:
                container.stop(now_s, grace_s)
        self._settle(now_s)

    def vanish(self, now_s: float, why: str) -> None:
        """All that ran is gone at once."""
        for container in self.everything:
            container.vanish(now_s, why)
        self.stage = Stage.OVER

    def crash(self, container_name: str, failure: Failure, now_s: float) -> None:
        """Let a container's process end by itself."""
        for container in self.everything:
            if container.name == container_name:
                container.crash(now_s, failure)
        self._settle(now_s)

    def pending(self) -> Iterator[PendingPhase]:
        """What it is busy with, or waits for."""
        if self._missing:
            yield PendingPhase(
                subject=self.subject,
                name="volume mount",
                start_s=self.admitted_s,
                due_s=None,
                why=self._missing,
            )
        for container in self.everything:
            phase = container.open
            if phase is not None:
                yield PendingPhase(
                    subject=self.subject,
                    name=phase.name,
                    start_s=phase.start_s,
                    due_s=phase.due_s,
                    why=phase.detail,
                )
            elif container.state is State.WAITING and container.message:
                yield PendingPhase(
                    subject=self.subject,
                    name=container.reason,
                    start_s=self._settled_s,
                    due_s=container.due_s,
                    why=container.message,
                )

    def _containers(self) -> tuple[list[ContainerRun], list[ContainerRun]]:
        spec = self.pod["spec"]
        inits = spec.get("initContainers") or ()
        policy = self.restart_policy
        init_policy = Restart.NEVER if policy is Restart.NEVER else Restart.ON_FAILURE
        idle = "PodInitializing" if inits else "ContainerCreating"
        return (
            [
                ContainerRun(
                    self.pod, one, self.node, self._host, restart=init_policy, idle_reason=idle
                )
                for one in inits
            ],
            [
                ContainerRun(self.pod, one, self.node, self._host, restart=policy, idle_reason=idle)
                for one in spec["containers"]
            ],
        )

    def _mount(self, at_s: float) -> None:
        self._missing = self._host.missing_volume(self.pod)
        if self._missing:
            self._host.emit(self.pod, "Warning", "FailedMount", self._missing, at_s)
            self._stage_due_s = at_s + self._mount_retry_s
            self._mount_retry_s = min(self._mount_retry_s * 2, LAST_MOUNT_RETRY_S)
            return
        self.address = self.node.take_address()
        self.stage = Stage.INITIALISING

    def _settle(self, at_s: float) -> None:
        """Go on to what the last event made possible."""
        if self.stage is Stage.INITIALISING:
            self._initialise(at_s)
        if self.stage is Stage.RUNNING:
            self._lead(at_s)
        if (
            self.stage in {Stage.RUNNING, Stage.TERMINATING}
            and all(container.finished for container in self.containers)
            and all(container.state is not State.RUNNING for container in self.everything)
        ):
            self.stage = Stage.OVER

    def _initialise(self, at_s: float) -> None:
        """Start the next init container, or the containers when all of them have succeeded."""
        for container in self.init_containers:
            if container.succeeded:
                continue
            if container.finished:  # and failed: the pod has
                self.stage = Stage.OVER
            elif not container.begun:
                container.begin(at_s)
            return
        self.stage = Stage.RUNNING
        for container in self.containers:
            container.begin(at_s)

    def _lead(self, at_s: float) -> None:
        """Tell the containers that wait for another one's end."""
        by_name = {container.name: container for container in self.containers}
        for container in self.containers:
            leader = by_name.get(container.leader)
            if leader is not None and leader.finished:
                container.follow(at_s, leader_succeeded=leader.succeeded)
