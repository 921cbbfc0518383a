"""The real clock, which only composition roots hand out."""

import time
from collections.abc import Callable


class SystemClock:
    """The domain's `Clock` on the machine's time."""

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()


def monotonic_s() -> float:
    """Seconds of a clock that never steps back, for measuring how long something took."""
    return time.perf_counter()


class SteadyClock:
    """The domain's `Clock` for pauses and time-outs within one process: it never steps, also when
    the machine's time is set."""

    def __init__(self) -> None:
        self._now_s = running_clock()

    def now_s(self) -> float:
        """Seconds since the epoch, as far as the machine's time was right at the start."""
        return self._now_s()


def running_clock() -> Callable[[], float]:
    """A clock that tells seconds since the epoch and never steps back."""
    began_s, started_s = time.time(), monotonic_s()
    return lambda: began_s + (monotonic_s() - started_s)
