"""Lengths of time as people write them: 90s, 5m, 1h30m, 2d."""

import math
import re
from typing import Final

EXAMPLES: Final = "90s, 5m, 1h30m or 2d; a plain number counts seconds"
PATTERN: Final = (
    r"^(?=.)(?:\d+(?:\.\d+)?d)?(?:\d+(?:\.\d+)?h)?"
    r"(?:\d+(?:\.\d+)?m)?(?:\d+(?:\.\d+)?s?)?$"
)
LONGEST_S: Final = 10 * 365 * 86_400.0
_UNITS_S: Final = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}
_DURATION: Final = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?"
    r"(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s?)?",
    re.ASCII,
)
_SHOWN_CHARS: Final = 40


def parse_duration(value: object) -> float:
    """A length of time in seconds, from a text such as `1h30m` or a number of seconds.

    Raises: ValueError that says what is wrong, without the value (negative, not finite, longer
    than ten years, or no length of time at all).
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("must be a length of time")
    if isinstance(value, str):
        return _checked(_from_text(value))
    return _checked(float(value))


def duration_text(seconds: float) -> str:
    """The time for people, to the second, or finer below ten seconds: `9m42s`, `1h30m`, `0.4s`."""
    if 0 < seconds < 10 and round(seconds, 1) != round(seconds):
        return f"{seconds:.1f}s"
    rest = round(seconds)
    parts = []
    for unit, size_s in _UNITS_S.items():
        amount, rest = divmod(rest, int(size_s))
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def _from_text(text: str) -> float:
    trimmed = text.strip()
    if trimmed.startswith("-") and _DURATION.fullmatch(trimmed[1:]):
        raise ValueError("must not be negative")
    match = _DURATION.fullmatch(trimmed) if len(trimmed) <= _SHOWN_CHARS else None
    if match is None or not trimmed:
        raise ValueError("must be a length of time")
    return sum(float(match[unit]) * size_s for unit, size_s in _UNITS_S.items() if match[unit])


def _checked(seconds: float) -> float:
    if seconds < 0:
        raise ValueError("must not be negative")
    if not math.isfinite(seconds) or seconds > LONGEST_S:
        raise ValueError("must not be longer than ten years")
    return seconds
