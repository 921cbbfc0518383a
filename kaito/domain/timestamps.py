"""Kubernetes timestamps: RFC 3339 in UTC."""

from datetime import UTC, datetime


def to_rfc3339(epoch_s: float) -> str:
    """Whole seconds: `1767225600.9` -> `2026-01-01T00:00:00Z` (cut off, as Kubernetes does)."""
    return datetime.fromtimestamp(int(epoch_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_rfc3339_micro(epoch_s: float) -> str:
    """With microseconds, as Lease times are written."""
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def from_rfc3339(text: str) -> float:
    """Seconds since the epoch. Raises: ValueError (not a timestamp with a zone)."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"timestamp {text!r} has no time zone")
    return moment.timestamp()
