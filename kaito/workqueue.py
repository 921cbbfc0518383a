"""Which key to work on next: each once at a time, when due, failures further apart each time.

The semantics are client-go's rate-limited delaying queue, without threads or a clock: time is an
argument, and whoever owns the queue decides how to wait.
"""

import heapq
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)

FIRST_BACKOFF_S: Final = 1.0
LONGEST_BACKOFF_S: Final = 300.0
LONGEST_REST_S: Final = 4 * 3600.0  # controller-runtime looks at everything again after ten hours


class WorkQueue(Generic[KeyT]):
    """Keys with the time they are due.

    A key that is added while it is being worked on is handed out again afterwards, so that no
    change is missed and no key is worked on twice at once. All operations cost O(log n).
    """

    def __init__(self) -> None:
        self._due_s: dict[KeyT, float] = {}
        self._heap: list[tuple[float, int, KeyT]] = []
        self._running: set[KeyT] = set()
        self._again: dict[KeyT, float] = {}
        self._failures: dict[KeyT, int] = {}
        self._rests: dict[KeyT, int] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._due_s) + len(self._again)

    def add(self, key: KeyT, due_s: float) -> None:
        """Make `key` due at `due_s`, or earlier if it is due earlier already."""
        self._rests.pop(key, None)
        if key in self._running:
            self._again[key] = min(due_s, self._again.get(key, due_s))
            return
        self._schedule(key, due_s)

    def _schedule(self, key: KeyT, due_s: float) -> None:
        known_s = self._due_s.get(key)
        if known_s is not None and known_s <= due_s:
            return
        self._due_s[key] = due_s
        self._count += 1
        heapq.heappush(self._heap, (due_s, self._count, key))

    def take(self, now_s: float) -> KeyT | None:
        """The key that has been due longest, now being worked on; None when none is due."""
        while self._heap and self._heap[0][0] <= now_s:
            due_s, _, key = heapq.heappop(self._heap)
            if self._due_s.get(key) == due_s:
                del self._due_s[key]
                self._running.add(key)
                return key
        return None

    def done(
        self,
        key: KeyT,
        now_s: float,
        *,
        again_after_s: float | None,
        failed: bool = False,
        resting: bool = False,
    ) -> None:
        """End the work on `key`. A failure comes back after a pause that doubles from 1 s to
        5 min, unless `again_after_s` asks for a longer one. One that is `resting` comes back only
        for safety: until it is added, `again_after_s` doubles each time, up to 4 h."""
        self._running.remove(key)
        rests = self._rests.pop(key, 0)
        if resting and again_after_s is not None:
            self._rests[key] = rests + 1
            longer_s = min(again_after_s * 2.0 ** min(rests, 20), LONGEST_REST_S)
            again_after_s = max(again_after_s, longer_s)
        if failed:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            pause_s = min(FIRST_BACKOFF_S * 2.0 ** min(count - 1, 20), LONGEST_BACKOFF_S)
            again_after_s = max(pause_s, again_after_s or 0.0)
        else:
            self._failures.pop(key, None)
        if again_after_s is not None:
            self._schedule(key, now_s + again_after_s)
        changed_s = self._again.pop(key, None)
        if changed_s is not None:
            self.add(key, max(changed_s, now_s))

    def next_due_s(self) -> float | None:
        """When `take` will next have something; None: not before an `add` or a `done`."""
        while self._heap:
            due_s, _, key = self._heap[0]
            if self._due_s.get(key) == due_s:
                return due_s
            heapq.heappop(self._heap)
        return None

    def is_idle(self, now_s: float) -> bool:
        """Nothing is being worked on and nothing is due."""
        due_s = self.next_due_s()
        return not self._running and (due_s is None or due_s > now_s)
