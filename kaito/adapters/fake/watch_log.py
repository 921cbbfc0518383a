"""The changes to one resource, kept for a while, and the watches that read them."""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from kaito.adapters.fake.api_errors import too_old
from kaito.adapters.kube_api import EventType, KubeObject, WatchEvent

Matches = Callable[[KubeObject], bool]
Present = Callable[[KubeObject], KubeObject]


@dataclass(frozen=True, slots=True)
class Change:
    """One write: `before` is None for the first state of an object."""

    version: int
    type: EventType
    object: KubeObject
    before: KubeObject | None


class WatchLog:
    """The last changes, oldest first. A position counts changes since the start of the log."""

    def __init__(self, history: int) -> None:
        assert history > 0, history
        self._history = history
        self._changes: list[Change] = []
        self._first = 0  # the position of _changes[0]
        self._forgotten_version = 0  # of the newest change that is no longer kept
        self._watches: dict[int, LogWatch] = {}
        self._opened = 0
        self.end = 0  # the position after the newest change

    @property
    def oldest_version(self) -> int:
        """The oldest version whose state can still be told from the log."""
        return self._forgotten_version

    def append(self, change: Change) -> None:
        """Keep a change, and wake the watches that it concerns."""
        self._changes.append(change)
        self.end += 1
        kept_from = self.end - self._history
        if kept_from > self._first:
            forgotten = self._changes[kept_from - self._first - 1]
            self._forgotten_version = forgotten.version
            if len(self._changes) >= 2 * self._history:  # dropped in bulk: O(1) for each change
                del self._changes[: kept_from - self._first]
                self._first = kept_from
        for watch in tuple(self._watches.values()):
            watch.notice(change)

    def forget(self, version: int) -> None:
        """Drop what led to `version`."""
        if version <= self._forgotten_version:
            return
        dropped = bisect_right(self._changes, version, key=lambda each: each.version)
        del self._changes[:dropped]
        self._first += dropped
        self._forgotten_version = version

    def position_after(self, version: int) -> int:
        """Where the changes after `version` begin. Raises: Gone (some of them are forgotten)."""
        if version < self._forgotten_version:
            raise too_old(version, self._forgotten_version)
        return self._first + bisect_right(self._changes, version, key=lambda each: each.version)

    def since(self, position: int) -> Sequence[Change]:
        """The changes from `position` on. Raises: Gone (some of them are forgotten)."""
        if position < max(self._first, self.end - self._history):
            raise too_old(self._forgotten_version, self._forgotten_version)
        return self._changes[position - self._first :]

    def back_to(self, version: int) -> Iterator[Change]:
        """The changes after `version`, newest first. Raises: Gone."""
        position = self.position_after(version)
        return reversed(self._changes[position - self._first :])

    def open(self, watch: "LogWatch") -> int:
        """Register a watch for waking; returns what `close` wants."""
        self._opened += 1
        self._watches[self._opened] = watch
        return self._opened

    def close(self, number: int) -> None:
        self._watches.pop(number, None)


class LogWatch:
    """A cursor in a `WatchLog`: the Subscription that the store hands out.

    `matches` is which objects it shows: one that begins to match is ADDED, one that no longer does
    is DELETED. `version` None begins with `initial` and what comes after the call.
    """

    def __init__(
        self,
        log: WatchLog,
        *,
        version: int | None,
        initial: Sequence[WatchEvent],
        matches: Matches | None,
        present: Present | None,
        wake: Callable[[], None] | None,
    ) -> None:
        self._log, self._matches, self._present, self._wake = log, matches, present, wake
        self._initial = tuple(initial)
        self._too_old = version is not None and version < log.oldest_version
        self._version = version or 0
        self._position = log.end
        if version is not None and not self._too_old:
            self._position = log.position_after(version)
        self._woken = False
        self._number: int | None = log.open(self)
        if self._too_old or self._initial or self._position < log.end:
            self._call_wake()

    def poll(self) -> Sequence[WatchEvent]:
        """See `Subscription.poll`."""
        if self._number is None:
            return ()
        self._woken = False
        if self._position == self._log.end and not self._initial and not self._too_old:
            return ()  # as most polls find
        if self._too_old:
            raise too_old(self._version, self._log.oldest_version)
        changes = self._log.since(self._position)
        self._position = self._log.end
        events, self._initial = list(self._initial), ()
        for change in changes:
            event = self._event(change)
            if event is not None:
                events.append(event)
        return events

    def close(self) -> None:
        """See `Subscription.close`."""
        if self._number is not None:
            self._log.close(self._number)
            self._number = None

    def notice(self, change: Change) -> None:
        """Wake the watcher once for all that it has not polled yet."""
        if not self._woken and self._concerns(change):
            self._call_wake()

    def _call_wake(self) -> None:
        self._woken = True
        if self._wake is not None:
            self._wake()

    def _concerns(self, change: Change) -> bool:
        matches = self._matches
        if matches is None or matches(change.object):
            return True
        return change.before is not None and matches(change.before)

    def _event(self, change: Change) -> WatchEvent | None:
        event = WatchEvent(change.type, change.object)
        if self._matches is not None:
            shown = change.type is not EventType.DELETED and self._matches(change.object)
            shown_before = change.before is not None and self._matches(change.before)
            if not shown and not shown_before:
                return None
            if shown != shown_before:
                event = replace(event, type=EventType.ADDED if shown else EventType.DELETED)
        return (
            event if self._present is None else replace(event, object=self._present(event.object))
        )
