"""One container on a node: image pull, phases, probes, exit, back-off, restart."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Protocol

from kaito.adapters.fake.container_phases import (
    IMAGE_PULL,
    READINESS_PROBE,
    ContainerPhases,
    ContainerPlan,
    Failure,
    Member,
    Phase,
)
from kaito.adapters.fake.events import EventKind
from kaito.adapters.fake.member_health import Life, MemberHealth
from kaito.adapters.fake.node_runtime import NodeRuntime
from kaito.adapters.fake.probes import ProbeOutcome, grace_s, probe_outcome
from kaito.adapters.kube_api import KubeObject

# The kubelet's back-off for pulls and restarts (pkg/kubelet: backOffPeriod, MaxContainerBackOff).
FIRST_BACKOFF_S: Final = 10.0
LAST_BACKOFF_S: Final = 300.0
# A container that ran for twice the longest back-off starts it afresh.
BACKOFF_RESET_S: Final = 600.0
# A failed pull shows as ErrImagePull until the pod's next sync, then as ImagePullBackOff.
PULL_ERROR_SHOWN_S: Final = 1.0
KILLED: Final = 137
VARIABLE_RETRY_S: Final = 10.0


class State(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


class Restart(StrEnum):
    """When a container that ended starts again."""

    ALWAYS = "Always"
    ON_FAILURE = "OnFailure"
    NEVER = "Never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """How one life of a container ended."""

    exit_code: int
    reason: str
    message: str
    started_s: float
    finished_s: float


@dataclass(frozen=True, slots=True)
class OpenPhase:
    """A phase that is running. `due_s` None: it ends when something else does."""

    name: str
    start_s: float
    due_s: float | None
    detail: str


class PodHost(Protocol):
    """What a container needs of its kubelet."""

    phases: ContainerPhases

    def missing_variable(self, pod: KubeObject, container: Mapping[str, Any]) -> str:
        """Why the container's environment cannot be made; empty when it can."""

    def emit(
        self, pod: KubeObject, kind: EventKind, reason: str, message: str, at_s: float
    ) -> None:
        """Record a Kubernetes event about the pod."""

    def begin(self, pod: KubeObject, name: str, start_s: float, detail: str) -> None:
        """A phase began."""

    def phase(self, pod: KubeObject, name: str, start_s: float, end_s: float, detail: str) -> None:
        """A phase ended."""


class ContainerRun:
    """A state machine: `due_s` says when something happens next, `advance` makes it happen."""

    def __init__(
        self,
        pod: KubeObject,
        container: Mapping[str, Any],
        node: NodeRuntime,
        host: PodHost,
        *,
        restart: Restart,
        idle_reason: str,
    ) -> None:
        self.pod, self.spec, self._node, self._host = pod, container, node, host
        self.name: str = container["name"]
        self.image: str = container["image"]
        self._restart = restart
        self.state = State.WAITING
        self.reason, self.message = idle_reason, ""
        self.started_s = 0.0
        self.restart_count = 0
        self.begun = False
        self.started = self.ready = False
        self.ended: Termination | None = None
        """Of this life where it is TERMINATED, of the one before where it is not."""
        self.finished = False
        """It will not start again."""
        self.open: OpenPhase | None = None
        self._plan = ContainerPlan()
        self._next_phase = 0
        self._stopping: Failure | None = None
        self._health = MemberHealth(0.0)
        self._backoff_s = 0.0
        self._pull_backoff_s = 0.0
        self._pull_failed_s = 0.0
        self._action: tuple[float, Callable[[float], None]] | None = None
        self._probes: list[tuple[float, Callable[[float], None]]] = []

    # --- what its pod asks ------------------------------------------------------------------------

    @property
    def due_s(self) -> float | None:
        """When something happens next, if not only by others."""
        due = [moment for moment, _ in (*self._probes, *filter(None, [self._action]))]
        return min(due, default=None)

    @property
    def succeeded(self) -> bool:
        return self.finished and self.ended is not None and self.ended.exit_code == 0

    @property
    def leader(self) -> str:
        """The container whose end this one waits for; empty when it waits for none."""
        waits = self.state is State.RUNNING and self._action is None and self._stopping is None
        return self._plan.after if waits and self._next_phase == 0 else ""

    @property
    def member(self) -> Member | None:
        """Its place in a group; None where it is of none, or does not run."""
        runs = self.state is State.RUNNING and self._stopping is None
        return self._plan.member if runs else None

    @property
    def life(self) -> Life:
        return Life(self.pod["metadata"]["uid"], self.restart_count)

    @property
    def serves(self) -> bool:
        """Whether a member has all its phases behind it."""
        return self.member is not None and not self._action and not self.waits_for_group

    @property
    def waits_for_group(self) -> bool:
        phase = self._plan.phases[self._next_phase - 1] if self._next_phase else None
        waits = phase is not None and phase.waits_for_group
        is_open = phase is not None and self.open is not None and self.open.name == phase.name
        return waits and is_open and self.member is not None

    def begin(self, at_s: float) -> None:
        """Start it: make sure of its image, then run."""
        self.begun = True
        self.reason, self.message = "ContainerCreating", ""
        if self._node.has_image(self.image, at_s):
            text = f'Container image "{self.image}" already present on machine'
            self._host.emit(self.pod, "Normal", "Pulled", text, at_s)
            self._create(at_s)
            return
        pull = self._node.running_pull(self.image, at_s)
        if pull is None:
            phase = self._host.phases.image_pull(self._node.node, self.pod, self.name, self.image)
            pull = self._node.pull(self.image, phase, at_s)
        self._host.emit(self.pod, "Normal", "Pulling", f'Pulling image "{self.image}"', at_s)
        self._open(IMAGE_PULL, at_s, pull.end_s, self.image)
        failure = pull.phase.failure
        self._action = (pull.end_s, lambda end_s: self._pulled(end_s, failure))

    def advance(self, at_s: float) -> None:
        """Do the one thing that is due at `at_s`, probes first."""
        for index, (moment, action) in enumerate(self._probes):
            if moment <= at_s:
                del self._probes[index]
                action(moment)
                return
        assert self._action is not None, "advance is called when something is due"
        moment, action = self._action
        assert moment <= at_s, (moment, at_s)
        self._action = None
        action(moment)

    def follow(self, at_s: float, *, leader_succeeded: bool) -> None:
        """The leader is done: run the phases, or exit where it failed."""
        assert self.leader, "only a container with a leader follows"
        if leader_succeeded:
            self._run_next_phase(at_s)
        else:
            self._exit(at_s, 0, "Completed", "")

    def go_on(self, at_s: float) -> None:
        """The group is what the running phase has waited for."""
        assert self.waits_for_group, "only a member that waits goes on"
        self._close(at_s)
        self._run_next_phase(at_s)

    def look(self, at_s: float, *, answers: bool, alive: bool) -> bool:
        """What the probes of a member find from now on: `answers` those for startup and readiness,
        `alive` that for liveness. Whether anything changed."""
        if not self._health.change(at_s, answers=answers, alive=alive):
            return False
        self._probes.clear()
        self._watch(self._health.outcome(self.spec, started=self.started))
        return True

    def stop(self, at_s: float, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after the grace period. It does not start again."""
        self._restart = Restart.NEVER
        if self.state is not State.RUNNING:
            self._close(at_s, "stopped")
            self._action = None
            self.finished = True
            return
        stop_s = self._host.phases.stop_s(self._node.node, self.pod, self.name)
        killed = stop_s > grace_s
        self._stop_by(
            Failure(exit_code=KILLED if killed else 0, reason="Error" if killed else "Completed"),
            at_s,
            min(stop_s, grace_s),
            "stopped",
        )

    def crash(self, at_s: float, failure: Failure) -> None:
        """The process ends by itself. Nothing happens to a container that does not run."""
        if self.state is State.RUNNING:
            self._close(at_s, failure.message or failure.reason)
            self._exit(at_s, failure.exit_code, failure.reason, failure.message)

    def vanish(self, at_s: float, why: str) -> None:
        """It is gone without an exit."""
        self._close(at_s, why)

    # --- image ------------------------------------------------------------------------------------

    def _pulled(self, at_s: float, failure: Failure | None) -> None:
        assert self.open is not None, "a pull is an open phase"
        if failure is None:
            took_s = at_s - self.open.start_s
            self._close(at_s)
            text = f'Successfully pulled image "{self.image}" in {took_s:.1f}s'
            self._host.emit(self.pod, "Normal", "Pulled", text, at_s)
            self._pull_backoff_s = 0.0
            self._create(at_s)
            return
        self._close(at_s, failure.message or "failed")
        text = f'Failed to pull image "{self.image}": {failure.message}'
        self._host.emit(self.pod, "Warning", "Failed", text, at_s)
        self._host.emit(self.pod, "Warning", "Failed", "Error: ErrImagePull", at_s)
        self.reason, self.message = "ErrImagePull", failure.message
        self._pull_backoff_s = min(max(self._pull_backoff_s * 2, FIRST_BACKOFF_S), LAST_BACKOFF_S)
        self._action = (at_s + PULL_ERROR_SHOWN_S, self._back_off_pull)

    def _back_off_pull(self, at_s: float) -> None:
        self.reason = "ImagePullBackOff"
        self.message = f'Back-off pulling image "{self.image}"'
        self._host.emit(self.pod, "Normal", "BackOff", self.message, at_s)
        self._action = (at_s - PULL_ERROR_SHOWN_S + self._pull_backoff_s, self.begin)

    # --- life -------------------------------------------------------------------------------------

    def _create(self, at_s: float) -> None:
        missing = self._host.missing_variable(self.pod, self.spec)
        if missing:
            self.reason, self.message = "CreateContainerConfigError", missing
            self._host.emit(self.pod, "Warning", "Failed", f"Error: {missing}", at_s)
            self._action = (at_s + VARIABLE_RETRY_S, self._create)
            return
        self._host.emit(self.pod, "Normal", "Created", f"Created container: {self.name}", at_s)
        self._host.emit(self.pod, "Normal", "Started", f"Started container {self.name}", at_s)
        self.state, self.reason, self.message = State.RUNNING, "", ""
        self.started_s = at_s
        self._plan = self._host.phases.plan(self._node.node, self.pod, self.name, self.image)
        self._next_phase = 0
        self._health = MemberHealth(at_s)
        self._watch(probe_outcome(self.spec, at_s, self._healthy_s(at_s)))
        if not self._plan.after:
            self._run_next_phase(at_s)

    def _healthy_s(self, start_s: float) -> float | None:
        """When it begins to answer probes; None when it ends before."""
        if (
            self._plan.exits
            or self._plan.member
            or any(phase.failure for phase in self._plan.phases)
        ):
            return None
        return start_s + sum(phase.duration_s for phase in self._plan.phases)

    def _watch(self, outcome: ProbeOutcome) -> None:
        """Note what the probes will find. What is so at once needs no waiting."""
        if outcome.started_s is not None:
            self._probes.append((outcome.started_s, self._pass_startup))
        if outcome.ready_s is not None and not self.ready:
            self._probes.append((outcome.ready_s, self._pass_readiness))
        if outcome.unready_s is not None and self.ready:
            self._probes.append((outcome.unready_s, self._fail_readiness))
        if outcome.killed_s is not None:
            probe = outcome.killed_by
            self._probes.append((outcome.killed_s, lambda at_s: self._kill(at_s, probe)))

    def _run_next_phase(self, at_s: float) -> None:
        if self._next_phase < len(self._plan.phases):
            phase = self._plan.phases[self._next_phase]
            self._next_phase += 1
            if phase.waits_for_group:
                self._open(phase.name, at_s, None, phase.detail)
                return
            end_s = at_s + phase.duration_s
            self._open(phase.name, at_s, end_s, phase.detail)
            self._action = (end_s, lambda moment: self._end_phase(moment, phase))
        elif self._plan.exits:
            self._exit(at_s, 0, "Completed", "")
        elif self._plan.phases and not self.ready:
            due_s = next(
                (due for due, action in self._probes if action == self._pass_readiness), None
            )
            self._open(READINESS_PROBE, at_s, due_s, self.name)

    def _end_phase(self, at_s: float, phase: Phase) -> None:
        failure = phase.failure
        if failure is None:
            self._close(at_s)
            self._run_next_phase(at_s)
            return
        self._close(at_s, failure.message or failure.reason)
        self._exit(at_s, failure.exit_code, failure.reason, failure.message)

    def _pass_startup(self, at_s: float) -> None:
        self.started = True

    def _pass_readiness(self, at_s: float) -> None:
        self.ready = True
        if self.open is not None and self.open.name == READINESS_PROBE:
            self._close(at_s)

    def _fail_readiness(self, at_s: float) -> None:
        self.ready = False

    def _kill(self, at_s: float, probe: str) -> None:
        """A probe has given up on it."""
        text = f"{probe.capitalize()} probe failed"
        self._host.emit(self.pod, "Warning", "Unhealthy", text, at_s)
        text = f"Container {self.name} failed {probe} probe, will be restarted"
        self._host.emit(self.pod, "Normal", "Killing", text, at_s)
        allowed_s = grace_s(self.pod, self.spec, probe)
        stop_s = self._host.phases.stop_s(self._node.node, self.pod, self.name)
        failure = Failure(exit_code=KILLED, reason="Error", message=f"{probe} probe failed")
        self._stop_by(failure, at_s, min(stop_s, allowed_s), failure.message)

    def _stop_by(self, failure: Failure, at_s: float, stop_s: float, why: str) -> None:
        self._close(at_s, why)
        self._probes.clear()
        self._stopping = failure
        self._action = (
            at_s + stop_s,
            lambda end_s: self._exit(end_s, failure.exit_code, failure.reason, failure.message),
        )

    def _exit(self, at_s: float, exit_code: int, reason: str, message: str) -> None:
        ran_s = at_s - self.started_s
        self.state, self.reason, self.message = State.TERMINATED, reason, message
        self.started = self.ready = False
        self._probes.clear()
        self._action = self._stopping = None
        self.ended = Termination(
            exit_code=exit_code,
            reason=reason,
            message=message,
            started_s=self.started_s,
            finished_s=at_s,
        )
        again = self._restart is Restart.ALWAYS or (
            self._restart is Restart.ON_FAILURE and exit_code != 0
        )
        if not again:
            self.finished = True
            return
        if ran_s >= BACKOFF_RESET_S:
            self._backoff_s = 0.0
        if self._backoff_s:
            self._action = (at_s + self._backoff_s, self._start_again)
            self.state, self.reason = State.WAITING, "CrashLoopBackOff"
            self.message = (
                f"back-off {self._backoff_s:.0f}s restarting failed container={self.name}"
            )
            text = f"Back-off restarting failed container {self.name}"
            self._host.emit(self.pod, "Warning", "BackOff", text, at_s)
        else:
            self._action = (at_s, self._start_again)
        self._backoff_s = min(max(self._backoff_s * 2, FIRST_BACKOFF_S), LAST_BACKOFF_S)

    def _start_again(self, at_s: float) -> None:
        self.state = State.WAITING
        self.restart_count += 1
        self.begin(at_s)

    # --- phases -----------------------------------------------------------------------------------

    def _open(self, name: str, start_s: float, due_s: float | None, detail: str) -> None:
        assert self.open is None, "one phase at a time"
        self.open = OpenPhase(name, start_s, due_s, detail)
        self._host.begin(self.pod, name, start_s, detail)

    def _close(self, at_s: float, why: str = "") -> None:
        """End the running phase, if there is one; `why` it did not end well."""
        if self.open is None:
            return
        detail = (
            f"{self.open.detail}: {why}" if why and self.open.detail else self.open.detail or why
        )
        self._host.phase(self.pod, self.open.name, self.open.start_s, at_s, detail)
        self.open = None
