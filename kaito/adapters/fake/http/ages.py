"""Times as kubectl shows them."""

from kaito.adapters.kube_api import KubeObject
from kaito.domain.timestamps import from_rfc3339

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 31_536_000


def human_duration(seconds: float) -> str:
    """`42s`, `3m7s`, `5h`: at most two units, fewer the longer it is."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 2 * _MINUTE:
        return f"{max(whole, 0)}s"
    if whole < 10 * _MINUTE:
        return _two(whole, _MINUTE, "m", 1, "s")
    if whole < 3 * _HOUR:
        return f"{whole // _MINUTE}m"
    if whole < 8 * _HOUR:
        return _two(whole, _HOUR, "h", _MINUTE, "m")
    if whole < 2 * _DAY:
        return f"{whole // _HOUR}h"
    if whole < 8 * _DAY:
        return _two(whole, _DAY, "d", _HOUR, "h")
    if whole < 2 * _YEAR:
        return f"{whole // _DAY}d"
    return _two(whole, _YEAR, "y", _DAY, "d") if whole < 8 * _YEAR else f"{whole // _YEAR}y"


def between(timestamp: str, now_s: float) -> str:
    """How long ago a timestamp was."""
    return human_duration(now_s - from_rfc3339(timestamp))


def age_of(obj: KubeObject, now_s: float) -> str:
    """How long ago an object was created."""
    created = obj["metadata"].get("creationTimestamp")
    return between(created, now_s) if created else "<unknown>"


def _two(whole: int, unit_s: int, unit: str, smaller_s: int, smaller: str) -> str:
    rest = whole % unit_s // smaller_s
    return f"{whole // unit_s}{unit}{rest}{smaller}" if rest else f"{whole // unit_s}{unit}"
