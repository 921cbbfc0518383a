"""Keys to look at, each when it is due."""

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Timers(Generic[KeyT]):
    """At most one due time per key. Ties are answered in the order in which they were set."""

    def __init__(self) -> None:
        self._due_s: dict[KeyT, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._count = 0

    def set(self, key: KeyT, due_s: float | None) -> None:
        """Make `key` due then, whatever was set before; None takes it off."""
        if due_s is None:
            self._due_s.pop(key, None)
            return
        self._count += 1
        self._due_s[key] = (due_s, self._count)
        heapq.heappush(self._heap, (due_s, self._count, key))

    def hasten(self, key: KeyT, due_s: float) -> None:
        """Make `key` due then, unless it is due earlier."""
        known = self._due_s.get(key)
        if known is None or due_s < known[0]:
            self.set(key, due_s)

    def pop_due(self, now_s: float) -> list[KeyT]:
        """Take off and return what is due, earliest first."""
        due = []
        while (head := self._head()) is not None and head[0] <= now_s:
            heapq.heappop(self._heap)
            del self._due_s[head[2]]
            due.append(head[2])
        return due

    def next_s(self) -> float | None:
        """The earliest due time."""
        head = self._head()
        return None if head is None else head[0]

    def _head(self) -> tuple[float, int, KeyT] | None:
        while self._heap:
            due_s, count, key = self._heap[0]
            if self._due_s.get(key) == (due_s, count):
                return self._heap[0]
            heapq.heappop(self._heap)
        return None
