"""Sets that are mostly small, kept small: a set of one takes 216 bytes, a tuple of one 48."""

from collections.abc import Collection, Hashable
from typing import Final, TypeVar

ItemT = TypeVar("ItemT", bound=Hashable)
_FEW: Final = 4


def added(items: Collection[ItemT], item: ItemT) -> Collection[ItemT]:
    """`items` with `item`, which may or may not be the very same object."""
    if isinstance(items, set):
        items.add(item)
        return items
    if item in items:
        return items
    return (*items, item) if len(items) < _FEW else {*items, item}


def removed(items: Collection[ItemT], item: ItemT) -> Collection[ItemT]:
    """`items` without `item`, which may or may not be the very same object."""
    if isinstance(items, set):
        items.discard(item)
        return items
    return tuple(one for one in items if one != item)
