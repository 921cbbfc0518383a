"""The real clock, which only composition roots hand out."""

import time


class SystemClock:
    """The domain's `Clock` on the machine's time."""

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()


def monotonic_s() -> float:
    """Seconds of a clock that never steps back, for measuring how long something took."""
    return time.perf_counter()
