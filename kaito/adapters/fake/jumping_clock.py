"""A clock that can be set wrong, as a node's is before its time service has answered."""

from collections.abc import Callable


class JumpingClock:
    """The domain's `Clock`: the right time, and what every jump that still counts adds to it."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._jumps: list[tuple[float | None, float]] = []

    def jump(self, by_s: float, *, until_s: float | None = None) -> None:
        """Go wrong by so much more, for good or until the right time is `until_s`."""
        self._jumps.append((until_s, by_s))

    def now_s(self) -> float:
        """Seconds since the epoch, right or wrong."""
        right_s = self._now_s()
        return right_s + sum(
            by_s for until_s, by_s in self._jumps if until_s is None or right_s < until_s
        )
