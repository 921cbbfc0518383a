"""Kubernetes timestamps: RFC 3339 in UTC."""

from datetime import UTC, datetime
from functools import lru_cache


def to_rfc3339(epoch_s: float) -> str:
    """Whole seconds: `1767225600.9` -> `2026-01-01T00:00:00Z` (cut off, as Kubernetes does)."""
    return _second(int(epoch_s))


@lru_cache(maxsize=4096)  # conditions are written again and again
def _second(epoch_s: int) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_rfc3339_micro(epoch_s: float) -> str:
    """With microseconds, as Lease times are written."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_rfc3339(text: str) -> float:
    """Seconds since the epoch. Raises: ValueError (not a timestamp with a zone)."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"timestamp {text!r} has no time zone")
    return moment.timestamp()
