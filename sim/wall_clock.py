"""Drives a simulated world by the clock on the wall, in an event loop that it shares."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Final

import simpy

_STEPS_AT_A_TIME: Final = 5_000


class WallClockDriver:
    """Virtual time is wall-clock time: events happen when they are due, one after the other."""

    def __init__(self, env: simpy.Environment, now_s: Callable[[], float]) -> None:
        self._env, self._now_s = env, now_s
        self._woken = asyncio.Event()

    def catch_up(self) -> None:
        """Do what is due by now, and set the world's clock to it.

        What a very busy world leaves undone is done next; `run` gives others a turn before that.
        """
        now_s = self._now_s()
        for _ in range(_STEPS_AT_A_TIME):
            if self._env.peek() > now_s:
                break
            self._env.step()
        else:
            self._woken.set()
            return
        if self._env.now < now_s:
            self._env.timeout(now_s - self._env.now)  # nothing else is due until then
            self._env.step()

    def wake(self) -> None:
        """Something was changed from outside."""
        self._woken.set()

    async def run(self) -> None:
        """Keep up with the clock for ever."""
        while True:
            self._woken.clear()
            self.catch_up()
            pause_s = max(self._env.peek() - self._now_s(), 0.0)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(
                    self._woken.wait(), None if pause_s == float("inf") else pause_s
                )


class StepThread:
    """Steps one state machine in a thread of its own, when it is due or woken: for what must be
    done in time, however busy the world is."""

    def __init__(self, name: str, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._woken = threading.Event()
        self._stopping = False
        self._step: Callable[[float], float | None] | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def wake(self) -> None:
        """Step again now; called from any thread."""
        self._woken.set()

    def start(self, step: Callable[[float], float | None]) -> None:
        """Begin."""
        self._step = step
        self._thread.start()

    def stop(self, limit_s: float) -> None:
        """Let a step that has begun end."""
        self._stopping = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(limit_s)

    def _run(self) -> None:
        assert self._step is not None, "started with a step"
        while not self._stopping:
            self._woken.clear()
            now_s = self._now_s()
            due_s = self._step(now_s)
            self._woken.wait(None if due_s is None else max(due_s - self._now_s(), 0.0))
