"""When Azure may be called: token buckets as AKS keeps them, and pauses that it has asked for."""

import threading
from collections.abc import Callable
from typing import Final

from kaito.adapters.azure.settings import ArmLimits, Rate
from kaito.domain.errors import Unavailable

_KEPT: Final = 1000  # buckets of pools, before those that are full again are dropped


class _Bucket:
    """Tokens at a time, and until when it is closed."""

    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._at_s = now_s
        self.closed_until_s = now_s

    def take(self, now_s: float) -> float:
        """Take a token; 0, or the seconds until there is one."""
        self._refill(now_s)
        if self._tokens >= 1.0:
            self._tokens -= 1.0
            return 0.0
        return (1.0 - self._tokens) / self._rate.per_s

    def is_idle(self, now_s: float) -> bool:
        """Whether a new one would be the same."""
        self._refill(now_s)
        return self._tokens >= self._rate.burst and now_s >= self.closed_until_s

    def _refill(self, now_s: float) -> None:
        gained = max(0.0, now_s - self._at_s) * self._rate.per_s
        self._tokens = min(self._tokens + gained, float(self._rate.burst))
        self._at_s = now_s


class ArmGate:
    """Lets calls through, or says when to come again. Nobody waits in it.

    `now_s` is of a clock that never steps back. Call it from any thread.
    """

    def __init__(self, limits: ArmLimits, now_s: Callable[[], float]) -> None:
        self._limits = limits
        self._now_s = now_s
        self._lock = threading.Lock()
        self._other = _Bucket(limits.other, now_s())
        self._puts: dict[str, _Bucket] = {}

    def admit_put(self, pool: str) -> None:
        """Count a PUT of the pool. Raises: Unavailable (not before so many seconds)."""
        with self._lock:
            now_s = self._now_s()
            bucket = self._put_bucket(pool, now_s)
            closed_s = max(bucket.closed_until_s, self._other.closed_until_s) - now_s
            self._pass("orders of this machine", closed_s, bucket, now_s)

    def admit_other(self) -> None:
        """Count any other call. Raises: Unavailable (not before so many seconds)."""
        with self._lock:
            now_s = self._now_s()
            closed_s = self._other.closed_until_s - now_s
            self._pass("calls", closed_s, self._other, now_s)

    def close_put(self, pool: str, for_s: float) -> None:
        """Send no PUT of the pool for so many seconds."""
        with self._lock:
            now_s = self._now_s()
            bucket = self._put_bucket(pool, now_s)
            bucket.closed_until_s = max(bucket.closed_until_s, now_s + for_s)

    def close_all(self, for_s: float) -> None:
        """Send nothing for so many seconds."""
        with self._lock:
            until_s = self._now_s() + for_s
            self._other.closed_until_s = max(self._other.closed_until_s, until_s)

    def _pass(self, what: str, closed_s: float, bucket: _Bucket, now_s: float) -> None:
        if closed_s > 0.0:
            raise Unavailable(f"Azure takes no {what} for {closed_s:.0f} s", retry_after_s=closed_s)
        wait_s = bucket.take(now_s)
        if wait_s > 0.0:
            raise Unavailable(f"too many {what} for AKS's limits", retry_after_s=wait_s)

    def _put_bucket(self, pool: str, now_s: float) -> _Bucket:
        if len(self._puts) > _KEPT:
            kept = {name: each for name, each in self._puts.items() if not each.is_idle(now_s)}
            self._puts = kept
        return self._puts.setdefault(pool, _Bucket(self._limits.put, now_s))
