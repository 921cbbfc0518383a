"""The operator's process life: worker threads that drain the controller's rounds.

The controller has no threads of its own; one lock stands around it, and rounds, which wait for the
network, run outside of it.
"""

import logging
import threading
from collections.abc import Callable
from typing import Final

from kaito.adapters.k8s.controller import Controller, Key
from kaito.adapters.kube_api import KubeApiError
from kaito.domain.errors import Conflict, Unavailable
from kaito.domain.ports import Clock
from kaito.reconcile import Outcome, Steps

DEFAULT_WORKERS: Final = 5  # as many rounds at a time as KAITO v0.12 runs
_POLL_RETRY_S: Final = 2.0
_LONGEST_REST_S: Final = 30.0  # a lost wake-up delays a round by no more than this

OnRound = Callable[[Key, Outcome, float], None]

_LOG = logging.getLogger("kaito.operator")


class Runner:
    """Runs a controller on threads until it is stopped. `clock` is one that is never set, since
    rests and pauses are measured on it. `on_round` hears how each round ended and how many seconds
    it took."""

    def __init__(
        self,
        make_controller: Callable[[Callable[[], None]], Controller],
        clock: Clock,
        *,
        workers: int = DEFAULT_WORKERS,
        on_round: OnRound | None = None,
    ) -> None:
        assert workers >= 1, workers
        self._clock = clock
        self._on_round = on_round
        self._lock = threading.Lock()  # around the controller
        self._changed = threading.Event()  # no lock: whoever calls `wake` may hold one of its own
        self._changed.set()
        self._stopping = False
        self._retry_at_s: float | None = None  # when to poll again after a failure
        self._controller = make_controller(self.wake)
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True)
            for number in range(workers)
        ]

    def start(self) -> None:
        """Start the workers."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Let running rounds end and stop; False if one was still running after `timeout_s`.

        A round that is cut off loses nothing: the next operator observes and plans again.
        """
        self._stopping = True
        self._changed.set()
        deadline_s = self._clock.now_s() + timeout_s
        for thread in self._threads:
            thread.join(max(deadline_s - self._clock.now_s(), 0.0))
        self._controller.close()
        return not any(thread.is_alive() for thread in self._threads)

    def wake(self) -> None:
        """Something changed; called from watch threads."""
        self._changed.set()

    def is_alive(self) -> bool:
        """Whether every worker still works."""
        return all(thread.is_alive() for thread in self._threads)

    def queue_length(self) -> int:
        """Keys that wait for their round."""
        with self._lock:
            return self._controller.queue_length()

    def _work(self) -> None:
        while (item := self._next()) is not None:
            key, steps = item
            began_s = self._clock.now_s()
            outcome = _guarded(key, steps)
            now_s = self._clock.now_s()
            _log_round(key, outcome, now_s - began_s)
            with self._lock:
                self._controller.done(key, now_s, outcome)
            self._changed.set()
            if self._on_round is not None:
                self._on_round(key, outcome, now_s - began_s)

    def _next(self) -> tuple[Key, Steps] | None:
        while not self._stopping:
            with self._lock:
                rest_s = self._poll()
                now_s = self._clock.now_s()
                item = self._controller.take(now_s)
                if item is not None:
                    return item
                due_s = self._controller.next_due_s()
            if due_s is not None:
                rest_s = min(rest_s, max(due_s - now_s, 0.0))
            self._changed.wait(rest_s)
        return None

    def _poll(self) -> float:
        """Take in what has changed; how long one may rest at most."""
        now_s = self._clock.now_s()
        if self._retry_at_s is not None and now_s < self._retry_at_s:
            self._changed.clear()  # polled then in any case
            return self._retry_at_s - now_s
        if self._stopping or not (self._changed.is_set() or self._retry_at_s is not None):
            return _LONGEST_REST_S
        self._changed.clear()
        try:
            self._controller.poll(now_s)
        except KubeApiError as error:
            _LOG.warning("cannot watch %s", error)
            self._retry_at_s = now_s + _POLL_RETRY_S
            return _POLL_RETRY_S
        self._retry_at_s = None
        return _LONGEST_REST_S


def _log_round(key: Key, outcome: Outcome, took_s: float) -> None:
    error = outcome.error
    told = {"object": str(key), "duration_s": round(took_s, 3)}
    if error is None:
        _LOG.debug("round of %s took %.3f s", key, took_s, extra=told)
        return
    # Somebody was faster: the next round sees it. Everything else is worth a look.
    level = logging.DEBUG if isinstance(error, Conflict) else logging.WARNING
    told["error"] = type(error).__name__
    _LOG.log(level, "round of %s ended: %s", key, error, extra=told)


def _guarded(key: Key, steps: Steps) -> Outcome:
    """Run a round to its end. A bug in it must not end the thread, and with it all other work."""
    try:
        return drain(steps)
    except Exception as error:  # noqa: BLE001  # the last place that can report it and go on
        _LOG.exception("round of %s failed; it is repeated later", key)
        return Outcome(error=Unavailable(f"{type(error).__name__}: {error}"))


def drain(steps: Steps) -> Outcome:
    """Run a round to its end."""
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome
