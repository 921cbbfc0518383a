"""State machines on SimPy: each is stepped when it asked to be, or when something wakes it."""

from collections.abc import Callable
from typing import Final, TypeAlias

import simpy

# Virtual time starts here (2026-01-01T00:00:00Z), so that timestamps are the same in every run.
EPOCH_S: Final = 1_767_225_600.0

Step: TypeAlias = Callable[[float], float | None]


class VirtualClock:
    """The domain's `Clock` on SimPy's time, which counts seconds since the epoch."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env

    def now_s(self) -> float:
        """Seconds since the epoch, virtual."""
        return float(self._env.now)


class Slot:
    """The place of one state machine. `wake` may be called at any time, also by the machine
    itself; it never steps the machine at once, but next thing at the same virtual time."""

    def __init__(self, env: simpy.Environment) -> None:
        self._env = env
        self._step: Step | None = None
        self._due_s: float | None = None

    def attach(self, step: Step) -> None:
        """Give the slot its machine, which is stepped a first time right away."""
        self._step = step
        self.wake()

    def wake(self) -> None:
        """Step the machine again now."""
        if self._step is not None:
            self._schedule(float(self._env.now))

    def _schedule(self, due_s: float) -> None:
        if self._due_s is not None and self._due_s <= due_s:
            return
        self._due_s = due_s
        # Virtual time is exact: both are within a factor of two, so their difference has no
        # rounding, and now + (due - now) is due.
        timeout = self._env.timeout(due_s - self._env.now)
        timeout.callbacks.append(lambda _event: self._fire(due_s))

    def _fire(self, due_s: float) -> None:
        if self._due_s != due_s or self._step is None:
            return  # an earlier step took its place
        self._due_s = None
        next_s = self._step(float(self._env.now))
        if next_s is not None:
            self._schedule(max(next_s, float(self._env.now)))
