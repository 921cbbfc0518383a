"""A watch as a stream of JSON lines."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Final

from kaito.adapters.fake.http import views
from kaito.adapters.fake.http.kinds import Kind
from kaito.adapters.fake.http.options import WatchOptions
from kaito.adapters.fake.http.statuses import status_of
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.watch_log import LogWatch
from kaito.adapters.kube_api import EventType, Gone, KubeApiError, KubeObject

BOOKMARK_EVERY_S: Final = 60.0
POLL_EVERY_S: Final = 10.0  # also when nothing that it shows has changed: else it would fall behind
TIMEOUT_S: Final = 1800.0  # of a watch that names none, as the real server's least


class Closing:
    """Tells every open stream that the server stops."""

    def __init__(self) -> None:
        self._listeners: set[asyncio.Event] = set()
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for listener in self._listeners:
            listener.set()

    def listen(self) -> asyncio.Event:
        """An event that is set when the server stops; it may be set for other reasons too."""
        listener = asyncio.Event()
        self._listeners.add(listener)
        return listener

    def leave(self, listener: asyncio.Event) -> None:
        self._listeners.discard(listener)


async def pause(closing: Closing, seconds: float) -> None:
    """Wait, but not longer than the server runs."""
    woken = closing.listen()
    try:
        if not closing.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(woken.wait(), seconds)
    finally:
        closing.leave(woken)


class WatchStream:
    """One watch: opened (and refused, if it must be) before the first byte is sent."""

    def __init__(
        self,
        store: ObjectStore,
        kind: Kind,
        namespace: str | None,
        options: WatchOptions,
        *,
        view: str,
        now_s: Callable[[], float],
        shown: Callable[[Kind, KubeObject], KubeObject],
        closing: Closing,
    ) -> None:
        self._store, self._kind, self._options = store, kind, options
        self._view, self._now_s, self._shown = view, now_s, shown
        self._closing = closing
        self._woken = closing.listen()
        self._headed = False
        self._told = options.resource_version
        self._watch: LogWatch = store.watch(
            kind.resource,
            namespace,
            resource_version=options.resource_version,
            wake=self._woken.set,
            labels=options.labels,
            fields=options.fields,
        )

    async def lines(self) -> AsyncIterator[bytes]:
        """The events, until the time is over, the server stops, or history is lost."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + (self._options.timeout_s or TIMEOUT_S)
        bookmark_s = loop.time() + BOOKMARK_EVERY_S
        try:
            while not self._closing.is_set() and loop.time() < end_s:
                self._woken.clear()
                self._told = self._store.resource_version  # what a bookmark may promise
                try:
                    events = self._watch.poll()
                except Gone as error:
                    yield self._error(error)
                    return
                for event in events:
                    yield self._line(event.type, self._shown(self._kind, event.object))
                if self._options.bookmarks and loop.time() >= bookmark_s:
                    bookmark_s = loop.time() + BOOKMARK_EVERY_S
                    yield self._bookmark()
                due_s = min(end_s, loop.time() + POLL_EVERY_S)
                await self._wait(due_s - loop.time())
            if self._options.bookmarks and self._told not in {"", "0"}:
                yield self._bookmark()
        finally:
            self._watch.close()
            self._closing.leave(self._woken)

    async def _wait(self, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._woken.wait(), max(timeout_s, 0.0))

    def _line(self, kind: EventType, obj: KubeObject) -> bytes:
        shown = obj
        if self._view == views.TABLE:
            shown = views.table(
                self._kind,
                [obj],
                self._now_s(),
                include=self._options.include,
                meta={"resourceVersion": obj["metadata"]["resourceVersion"]},
                headed=not self._headed,
            )
            self._headed = True
        elif self._view:
            shown = views.one(self._kind, obj, self._view, self._now_s())
        return encoded({"type": kind.value, "object": shown})

    def _bookmark(self) -> bytes:
        resource = self._kind.resource
        bookmark = {
            "kind": resource.kind,
            "apiVersion": resource.api_version,
            "metadata": {"resourceVersion": self._told},
        }
        return encoded({"type": EventType.BOOKMARK.value, "object": bookmark})

    def _error(self, error: KubeApiError) -> bytes:
        found = status_of(error, self._kind.resource, "")
        return encoded({"type": "ERROR", "object": found})


def encoded(value: object) -> bytes:
    """One line of JSON."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"
