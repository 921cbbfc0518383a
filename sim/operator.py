"""The operator's process in the twin: production's controller and rounds, on virtual time."""

import math
from collections.abc import Callable, Generator
from random import Random
from typing import Any, Final, Protocol, TypeAlias

import simpy

from kaito.adapters.kube_api import ServerUnavailable
from kaito.domain.errors import PortError
from kaito.reconcile import Outcome, Steps

RESTART_S: Final = 10.0  # the kubelet's first pause before a crashed container starts again
WORKERS: Final = 5  # rounds at a time, as many as KAITO v0.12 runs
# One call to an API server in the same region; a prior.
CALL_MIN_S: Final = 0.005
CALL_MAX_S: Final = 0.020
_RETRY_S: Final = 1.0

_Process: TypeAlias = Generator[simpy.Event, Any, None]


class ProcessDied(Exception):
    """Raised by a port in place of an answer: the operator's process ends at this call, and comes
    back after `restart_after_s`."""

    def __init__(self, restart_after_s: float = RESTART_S) -> None:
        super().__init__("the operator's process died")
        self.restart_after_s = restart_after_s


class Controller(Protocol):
    """Rounds that are due, as `kaito.adapters.k8s.controller.Controller` has them."""

    def poll(self, now_s: float) -> None:
        """Queue what has changed since the last call."""

    def take(self, now_s: float) -> tuple[Any, Steps] | None:
        """The next round that is due."""

    def done(self, key: Any, now_s: float, outcome: Outcome) -> None:
        """Report how a round ended."""

    def next_due_s(self) -> float | None:
        """When the next round is due."""

    def is_idle(self, now_s: float) -> bool:
        """No round is running or due."""

    def close(self) -> None:
        """Stop watching."""


class Operator:
    """Workers that drain the controller's rounds; each port call takes a few milliseconds.

    A crash drops the workers between two calls, and with them everything in memory.
    """

    def __init__(
        self,
        env: simpy.Environment,
        rng: Random,
        make_controller: Callable[[Callable[[], None]], Controller],
        on_error: Callable[[str, PortError], None],
    ) -> None:
        self._env = env
        self._rng = rng
        self._make_controller = make_controller
        self._on_error = on_error
        self._controller: Controller | None = None
        self._workers: list[simpy.Process] = []
        self._idle: list[simpy.Event] = []  # one for each worker that has nothing to do
        self._alarm_s = math.inf
        self._changed = True  # since the last poll

    def start(self) -> None:
        """Start with nothing in memory."""
        assert self._controller is None, "already running"
        self._changed = True
        self._idle.clear()
        self._controller = self._make_controller(self.wake)
        self._workers = [self._env.process(self._work(self._controller)) for _ in range(WORKERS)]

    def crash(self, restart_after_s: float) -> None:
        """Die now, wherever the rounds stand; come back later. While it is away: nothing."""
        if self._controller is None:
            return
        self._controller.close()
        self._controller = None
        for worker in self._workers:
            if worker.is_alive and worker is not self._env.active_process:
                worker.interrupt("crash")
        restart = self._env.timeout(restart_after_s)
        restart.callbacks.append(lambda _event: self.start())

    def is_idle(self) -> bool:
        """Whether it runs, and has nothing to do now."""
        return self._controller is not None and self._controller.is_idle(float(self._env.now))

    def wake(self) -> None:
        """Something changed."""
        self._changed = True
        self._rouse()

    def _rouse(self) -> None:
        """Let one idle worker look for work; it rouses the next if there is more."""
        if self._idle:
            self._idle.pop().succeed()

    def _work(self, controller: Controller) -> _Process:
        try:
            while True:
                try:
                    if self._changed:
                        self._changed = False
                        controller.poll(float(self._env.now))
                except ServerUnavailable:
                    self._changed = True
                    yield self._env.timeout(_RETRY_S)
                    continue
                item = controller.take(float(self._env.now))
                if item is None:
                    yield self._rest(controller)
                    continue
                due_s = controller.next_due_s()
                if due_s is not None and due_s <= float(self._env.now):
                    self._rouse()
                key, steps = item
                outcome = yield from self._drain(steps)
                if outcome.error is not None:
                    self._on_error(str(key), outcome.error)
                controller.done(key, float(self._env.now), outcome)
        except simpy.Interrupt:
            return
        except ProcessDied as death:
            self.crash(death.restart_after_s)

    def _drain(self, steps: Steps) -> Generator[simpy.Event, Any, Outcome]:
        try:
            while True:
                try:
                    next(steps)
                except StopIteration as stop:
                    outcome: Outcome = stop.value
                    return outcome
                yield self._env.timeout(self._rng.uniform(CALL_MIN_S, CALL_MAX_S))
        finally:
            steps.close()

    def _rest(self, controller: Controller) -> simpy.Event:
        """An event for the next change or the next due round."""
        due_s = controller.next_due_s()
        if due_s is not None and due_s < self._alarm_s:
            self._alarm_s = due_s
            alarm = self._env.timeout(max(due_s - float(self._env.now), 0.0))
            alarm.callbacks.append(self._ring)
        woken = self._env.event()
        self._idle.append(woken)
        return woken

    def _ring(self, _alarm: simpy.Event) -> None:
        self._alarm_s = math.inf
        self._rouse()
