"""Desired against live: only the fields that kaito sets count, and the pod template's hash."""

from collections.abc import Mapping
from typing import Any


def differences(wanted: Any, live: Any, path: str = "") -> list[str]:
    """The paths at which `live` does not hold what `wanted` sets.

    A recursive subset: keys that only `live` has were filled in by the API server or belong to
    somebody else. Lists are compared item by item and must be of one length. The API server drops
    empty lists and maps and what is false, so any of these and none are the same.
    """
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return [path or "."]
        found = []
        for key, value in wanted.items():
            at = f"{path}.{key}" if path else str(key)
            if key in live:
                found += differences(value, live[key], at)
            elif not _is_empty(value):
                found.append(at)
        return found
    if isinstance(wanted, list | tuple):
        if not isinstance(live, list | tuple) or len(live) != len(wanted):
            return [path]
        found = []
        for index, (value, other) in enumerate(zip(wanted, live, strict=True)):
            found += differences(value, other, f"{path}[{index}]")
        return found
    return [] if wanted == live else [path]


def _is_empty(value: Any) -> bool:
    return value is False or (isinstance(value, Mapping | list | tuple) and not value)
