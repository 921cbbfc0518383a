"""When a cloud takes its spot machines back."""

from typing import Final

from kaito.adapters.fake.streams import Streams
from kaito.adapters.fake.timers import Timers

# Scheduled Events announce an eviction at least so long before.
# Source: https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events
NOTICE_S: Final = 30.0


class SpotMarket:
    """Draws the evictions of spot machines, each from the machine's own stream. A machine is told,
    and is gone `NOTICE_S` later. Times are epoch seconds."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._told: dict[str, float] = {}
        self._due: Timers[str] = Timers()

    def enter(self, name: str, per_hour: float, now_s: float) -> None:
        """The machine runs from now on, or the rate of evictions has changed."""
        if name in self._told:
            return
        if per_hour <= 0.0:
            self._due.set(name, None)
            return
        rng = self._streams.get(f"cloud/{name}/eviction")
        self._due.set(name, now_s + rng.expovariate(per_hour / 3600.0))

    def evict(self, name: str, now_s: float) -> None:
        """The machine is wanted back now."""
        if name not in self._told:
            self._due.set(name, now_s)

    def leave(self, name: str) -> None:
        """The machine is given back."""
        self._told.pop(name, None)
        self._due.set(name, None)

    def pop_due(self, now_s: float) -> tuple[list[str], list[str]]:
        """Whom to tell now, and whose time is over."""
        notices, over = [], []
        for name in self._due.pop_due(now_s):
            if name in self._told:
                over.append(name)
                del self._told[name]
            else:
                self._told[name] = now_s
                self._due.set(name, now_s + NOTICE_S)
                notices.append(name)
        return notices, over

    def next_s(self) -> float | None:
        """When there is next something due."""
        return self._due.next_s()
