"""Drives a simulated world by the clock on the wall, in an event loop that it shares."""

import asyncio
import contextlib
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
