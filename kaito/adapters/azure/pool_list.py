"""One list of all agent pools for everybody who asks, at most so old."""

import threading
from collections.abc import Callable, Iterable, Mapping

from azure.mgmt.containerservice.models import AgentPool

from kaito.domain.errors import PortError, Unavailable


class PoolList:
    """Fetches the list once for all who want it at the same time, and keeps it for `age_s`.

    What an own call has made known (`note`) is in it at once, and stays in a list that began to be
    fetched before. Whoever waits for another's fetch does so for `wait_s` at most, and shares its
    error. `now_s` is of a clock that never steps back.
    """

    def __init__(
        self,
        fetch: Callable[[], Iterable[AgentPool]],
        *,
        now_s: Callable[[], float],
        age_s: float,
        wait_s: float,
    ) -> None:
        self._fetch = fetch
        self._now_s = now_s
        self._age_s = age_s
        self._wait_s = wait_s
        self._fetching = threading.Lock()
        self._lock = threading.Lock()
        self._pools: dict[str, AgentPool] = {}
        self._fetched_at_s: float | None = None
        self._noted: dict[str, tuple[int, AgentPool]] = {}
        self._turn = 0
        self._failed: tuple[float, PortError] | None = None

    def get(self) -> Mapping[str, AgentPool]:
        """The pools by name. Raises: as `fetch`; Unavailable (somebody else's fetch takes long)."""
        asked_at_s = self._now_s()
        fresh = self._fresh()
        if fresh is not None:
            return fresh
        if not self._fetching.acquire(timeout=self._wait_s):
            raise Unavailable(f"agent pools could not be listed within {self._wait_s:.0f} s")
        try:
            fresh = self._fresh(asked_at_s)
            if fresh is not None:
                return fresh
            if self._failed is not None and self._failed[0] > asked_at_s:
                raise _again(self._failed[1])
            return self._refresh()
        finally:
            self._fetching.release()

    def known(self, name: str) -> AgentPool | None:
        """The pool as it was last seen, however long ago."""
        with self._lock:
            return self._pools.get(name)

    def note(self, name: str, pool: AgentPool) -> None:
        """Take in what an own call has made of a pool."""
        with self._lock:
            self._pools = {**self._pools, name: pool}
            self._noted[name] = (self._turn, pool)

    def _fresh(self, asked_at_s: float | None = None) -> Mapping[str, AgentPool] | None:
        """What is young enough, or was fetched since it was asked for, however long that took."""
        with self._lock:
            at_s = self._fetched_at_s
            if at_s is None:
                return None
            is_since = asked_at_s is not None and at_s >= asked_at_s
            return self._pools if is_since or self._now_s() - at_s < self._age_s else None

    def _refresh(self) -> Mapping[str, AgentPool]:
        with self._lock:
            self._turn += 1
            turn, began_s = self._turn, self._now_s()
        try:
            fetched = {pool.name: pool for pool in self._fetch() if pool.name}
        except PortError as error:
            self._failed = (self._now_s(), error)
            raise
        with self._lock:
            self._noted = {name: seen for name, seen in self._noted.items() if seen[0] >= turn}
            newer = {name: pool for name, (_, pool) in self._noted.items()}
            self._pools = {**fetched, **newer}
            self._fetched_at_s, self._failed = began_s, None
            return self._pools


def _again(error: PortError) -> PortError:
    """The same error for another thread: a traceback belongs to one raise."""
    if isinstance(error, Unavailable):
        return Unavailable(str(error), retry_after_s=error.retry_after_s)
    return type(error)(str(error))
