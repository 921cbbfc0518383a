"""When a maintenance window opens, and for how long: cron's five fields and Go's durations."""

import re
from typing import Final

_MONTHS: Final = [
    "jan",
    "feb",
    "mar",
    "apr",
    "may",
    "jun",
    "jul",
    "aug",
    "sep",
    "oct",
    "nov",
    "dec",
]
_DAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# Least and most of each field, and the names that stand for numbers from the least on.
_FIELDS: Final[tuple[tuple[int, int, list[str]], ...]] = (
    (0, 59, []),
    (0, 23, []),
    (1, 31, []),
    (1, 12, _MONTHS),
    (0, 6, _DAYS),
)
_PART: Final = re.compile(r"(?:\*|\?|([0-9a-z]+)(?:-([0-9a-z]+))?)(?:/([0-9]+))?")
_DURATION: Final = re.compile(r"(?:([0-9]+(?:\.[0-9]+)?)(?:ns|us|µs|ms|s|m|h))+")
_DIGIT_ABOVE_ZERO: Final = re.compile(r"[1-9]")


def is_cron(text: str) -> bool:
    """Whether it is a cron expression of minute, hour, day, month and weekday."""
    fields = text.lower().split()
    return len(fields) == len(_FIELDS) and all(
        _is_field(field, *bounds) for field, bounds in zip(fields, _FIELDS, strict=True)
    )


def is_positive_duration(text: str) -> bool:
    """Whether it is a duration as Go writes it, such as 4h or 1h30m, and not nothing."""
    return bool(_DURATION.fullmatch(text) and _DIGIT_ABOVE_ZERO.search(text))


def _is_field(text: str, least: int, most: int, named: list[str]) -> bool:
    for part in text.split(","):
        found = _PART.fullmatch(part)
        if found is None:
            return False
        first, last, step = found.groups()
        ends = [_number(end, least, named) for end in (first, last) if end is not None]
        if any(end is None or not least <= end <= most for end in ends):
            return False
        if ends != sorted(ends, key=lambda end: end or 0) or (step and int(step) < 1):
            return False
    return True


def _number(text: str, least: int, named: list[str]) -> int | None:
    if text.isdigit():
        return int(text)
    return named.index(text) + least if text in named else None
