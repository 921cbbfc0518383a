"""Immutable snapshots that share what did not change."""

from collections.abc import Mapping
from typing import Final

from kaito.adapters.kube_api import FrozenDict, FrozenList, Json, freeze

_MISSING = object()
SCALARS: Final = frozenset({str, int, float, bool, type(None)})
_MAPPINGS = (dict, FrozenDict)  # isinstance of Mapping asks longer


def share(new: Json, old: Json) -> Json:
    """`new`, frozen, with each part that equals its counterpart in `old` being that very object.

    So the answer is `old` exactly when nothing differs, and a walk stops at every shared part.
    """
    if new is old:
        return old
    if type(new) in SCALARS:
        return old if type(new) is type(old) and new == old else new
    if type(new) in _MAPPINGS or isinstance(new, Mapping):
        return _share_mapping(new, old) if isinstance(old, FrozenDict) else freeze(new)
    if isinstance(new, list | tuple):
        return _share_list(new, old) if isinstance(old, FrozenList) else freeze(new)
    return new


def _share_mapping(new: Mapping[str, Json], old: FrozenDict) -> Json:
    same = len(new) == len(old)
    parts: dict[str, Json] = {}
    for key, item in new.items():
        before = old.get(key, _MISSING)
        if item is before:
            parts[key] = item
            continue
        kind = type(item)
        if kind in SCALARS:  # without a call: most are
            after = before if kind is type(before) and item == before else item
        else:
            after = freeze(item) if before is _MISSING else share(item, before)
        same = same and after is before
        parts[key] = after
    return old if same else FrozenDict(parts)


def _share_list(new: list[Json] | tuple[Json, ...], old: FrozenList) -> Json:
    parts = [share(item, before) for item, before in zip(new, old, strict=False)]
    same = len(new) == len(old) and all(
        part is before for part, before in zip(parts, old, strict=True)
    )
    if same:
        return old
    parts.extend(freeze(item) for item in new[len(parts) :])
    return FrozenList(parts)
