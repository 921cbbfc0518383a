"""What was worked out and is still asked for."""

from collections.abc import Hashable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)
ValueT = TypeVar("ValueT")


class RecentlyUsed(Generic[KeyT, ValueT]):
    """Values by key, each kept as long as it is asked for at least once between two calls of
    `forget_unused`. So it is as large as what goes on, not as all that there is.

    Threads may share it: at worst something is worked out twice.
    """

    def __init__(self) -> None:
        self._recent: dict[KeyT, ValueT] = {}
        self._before: dict[KeyT, ValueT] = {}

    def __len__(self) -> int:
        return len(self._recent.keys() | self._before.keys())

    def get(self, key: KeyT) -> ValueT | None:
        found = self._recent.get(key)
        if found is not None:
            return found
        found = self._before.get(key)
        if found is not None:
            self._recent[key] = found
        return found

    def put(self, key: KeyT, value: ValueT) -> None:
        self._recent[key] = value

    def drop(self, key: KeyT) -> None:
        """Let go of one that will not be asked for again."""
        self._recent.pop(key, None)
        self._before.pop(key, None)

    def forget_unused(self) -> None:
        """Let go of what was not asked for since the last call."""
        self._before, self._recent = self._recent, {}
