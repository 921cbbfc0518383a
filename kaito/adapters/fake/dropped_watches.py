"""Watches that can break, one after a while of silence, as connections do."""

from collections.abc import Callable, Sequence

from kaito.adapters.kube_api import Gone, Subscription, WatchEvent

Wake = Callable[[], None]


class DroppableWatch:
    """A Subscription over one that can break. A broken one raises Gone for ever."""

    def __init__(self, wake: Wake | None, forget: Callable[["DroppableWatch"], None]) -> None:
        self._wake, self._forget = wake, forget
        self._inner: Subscription | None = None
        self._is_silent = self._is_broken = False

    def follow(self, inner: Subscription) -> None:
        """Hand out the events of `inner`."""
        self._inner = inner

    def wake(self) -> None:
        """The server has something; nobody hears of it during a silence."""
        if self._wake is not None and not self._is_silent:
            self._wake()

    def fall_silent(self) -> None:
        """From now on nothing arrives."""
        self._is_silent = True

    def break_off(self) -> None:
        """The watcher is told that events were lost."""
        self._is_silent, self._is_broken = False, True
        self.wake()

    def poll(self) -> Sequence[WatchEvent]:
        """See `Subscription.poll`."""
        if self._inner is None or self._is_silent:
            return ()
        if self._is_broken:
            raise Gone("too old resource version: the events since then are forgotten")
        return self._inner.poll()

    def close(self) -> None:
        """See `Subscription.close`."""
        if self._inner is not None:
            self._inner.close()
        self._inner = None
        self._forget(self)


class DroppedWatches:
    """Every open watch of one client."""

    def __init__(self) -> None:
        self._open: dict[DroppableWatch, None] = {}
        self._silent: list[tuple[float, list[DroppableWatch]]] = []

    def open(
        self, wake: Wake | None, subscribe: Callable[[Wake | None], Subscription]
    ) -> DroppableWatch:
        """A watch that can break over what `subscribe` opens. Raises: as `subscribe`."""
        watch = DroppableWatch(wake, self._closed)
        watch.follow(subscribe(watch.wake))
        self._open[watch] = None
        return watch

    def drop(self, *, until_s: float) -> None:
        """Let nothing arrive on the watches that are open now, and break them off then."""
        dropped = list(self._open)
        for watch in dropped:
            watch.fall_silent()
        self._silent.append((until_s, dropped))

    def step(self, now_s: float) -> float | None:
        """Break off what is due; the next time something is."""
        later = []
        for until_s, watches in self._silent:
            if until_s > now_s:
                later.append((until_s, watches))
                continue
            for watch in watches:
                if watch in self._open:
                    watch.break_off()
        self._silent = later
        return min((until_s for until_s, _ in later), default=None)

    def _closed(self, watch: DroppableWatch) -> None:
        self._open.pop(watch, None)
