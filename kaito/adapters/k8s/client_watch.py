"""A watch on a Kubernetes API server: a thread that streams, resumes and reconnects."""

import json
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kaito.adapters.k8s.client_errors import NotAnswered, error_of, error_of_status
from kaito.adapters.k8s.client_http import HttpTransport, Stream
from kaito.adapters.k8s.client_retry import FOREVER, RetryPolicy, retry_pause_s
from kaito.adapters.kube_api import (
    EventType,
    Gone,
    KubeApiError,
    KubeObject,
    ServerUnavailable,
    WatchEvent,
)
from kaito.system_clock import monotonic_s

_log: Final = logging.getLogger(__name__)
_HEALTHY_S: Final = 1.0  # a stream that lived this long and ended in order was no failure
_ERROR_LIMIT_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchSettings:
    """One stream lasts `stream_s` and up to half as long again, at random, so that the watches of
    many clients do not all begin anew at the same moment. A consumer that lets more than
    `backlog` events wait gets Gone. One that is refused hears of it after `refused_pause_s`."""

    stream_s: float = 300.0
    grace_s: float = 15.0
    backlog: int = 50_000
    refused_pause_s: float = 10.0
    retry: RetryPolicy = FOREVER


class ClientWatch:
    """The `Subscription` of the official client's adapter.

    The server is asked for bookmarks, so that a quiet watch resumes from a recent version too;
    they are not handed on. What the server refuses for good (no permission, no such resource) is
    Gone as well: the list that follows tells why. `wake` runs in the watch's thread, while nothing
    can be polled: it must not block.
    """

    def __init__(
        self,
        transport: HttpTransport,
        path: str,
        present: Callable[[dict[str, Any]], KubeObject],
        *,
        resource_version: str,
        wake: Callable[[], None] | None,
        settings: WatchSettings,
        uniform: Callable[[], float],
    ) -> None:
        self._transport, self._path, self._present = transport, path, present
        self._version = resource_version
        self._wake, self._settings, self._uniform = wake, settings, uniform
        self._lock = threading.Lock()
        self._events: list[WatchEvent] = []
        self._gone: str | None = None  # why, once it is
        self._stream: Stream | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch {path}", daemon=True)
        self._thread.start()

    def poll(self) -> Sequence[WatchEvent]:
        """See `Subscription.poll`."""
        with self._lock:
            if self._stop.is_set():
                return ()
            if self._gone is not None:
                raise Gone(self._gone)
            events, self._events = self._events, []
        return events

    def close(self) -> None:
        """See `Subscription.close`. Does not wait for the thread, which ends at once."""
        with self._lock:
            self._stop.set()
            self._events = []
            if self._stream is not None:
                self._stream.interrupt()

    def join(self, timeout_s: float) -> None:
        """Wait for the thread of a closed watch."""
        self._thread.join(timeout_s)

    def has_ended(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._stream_until_stopped()
        except KubeApiError as error:
            if not isinstance(error, Gone):
                # What is refused now will be refused again: a list that succeeds must not lead to
                # the next watch at once.
                _log.warning("watch %s: %s; lists again later", self._path, error)
                self._stop.wait(self._settings.refused_pause_s)
            self._lose(str(error))
        finally:
            # A watch never just falls silent, not even by a mistake in here.
            if not self._stop.is_set() and self._gone is None:
                self._lose("the watch broke off")

    def _stream_until_stopped(self) -> None:
        """Raises: KubeApiError (the watch cannot go on)."""
        failed = 0
        while not self._stop.is_set():
            retry_after_s: float | None = None
            began_s = monotonic_s()
            before = self._version
            problem = "ended early"
            try:
                self._stream_once()
                healthy = monotonic_s() - began_s >= _HEALTHY_S
            except NotAnswered as error:
                healthy, problem = False, str(error)
            except ServerUnavailable as error:
                healthy, problem, retry_after_s = False, str(error), error.retry_after_s
            if self._stop.is_set():
                return
            failed = 0 if healthy else 1 if self._version != before else failed + 1
            if failed:
                self._stop.wait(self._pause_s(failed, retry_after_s))
                _log.debug("watch %s: %s; resumes", self._path, problem)

    def _pause_s(self, failed: int, retry_after_s: float | None) -> float:
        pause_s = retry_pause_s(
            self._settings.retry,
            failed=failed,
            elapsed_s=0.0,
            retry_after_s=retry_after_s,
            uniform=self._uniform(),
        )
        assert pause_s is not None, "a watch's retry policy never gives up"
        return pause_s

    def _stream_once(self) -> None:
        """Raises: NotAnswered, KubeApiError."""
        lasts_s = self._settings.stream_s * (1 + self._uniform() / 2)
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(lasts_s))),
        }
        if self._version:
            query["resourceVersion"] = self._version
        stream = self._transport.stream(
            self._path, query, silence_s=lasts_s + self._settings.grace_s
        )
        try:
            with self._lock:
                if self._stop.is_set():
                    return
                self._stream = stream
            if stream.code != 200:
                raise error_of(stream.code, stream.headers, _beginning(stream))
            for lines in _lines(stream):
                self._take([json.loads(line) for line in lines if line.strip()])
                if self._stop.is_set():
                    return
        except ValueError as error:  # also a line that an interrupt cut
            raise NotAnswered("what came is not JSON", sent=True) from error
        finally:
            with self._lock:
                self._stream = None
            stream.close()

    def _take(self, messages: Sequence[dict[str, Any]]) -> None:
        """Raises: KubeApiError (the server ends the watch with an error)."""
        events: list[WatchEvent] = []
        error: KubeApiError | None = None
        for message in messages:
            kind, obj = message["type"], message["object"]
            if kind == "ERROR":
                error = error_of_status(obj.get("code") or 500, obj)
                break
            self._version = obj["metadata"]["resourceVersion"]
            if kind != EventType.BOOKMARK:
                events.append(WatchEvent(EventType(kind), self._present(obj)))
        if events:
            self._deliver(events)
        if error is not None:
            raise error

    def _deliver(self, events: Sequence[WatchEvent]) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._events.extend(events)
            if len(self._events) > self._settings.backlog:
                self._events = []
                raise Gone(f"more than {self._settings.backlog} events waited to be polled")
            if self._wake is not None:
                self._wake()

    def _lose(self, reason: str) -> None:
        with self._lock:
            if self._stop.is_set():
                return
            self._gone, self._events = reason, []
            if self._wake is not None:
                self._wake()


def _lines(stream: Stream) -> Iterator[list[bytes]]:
    """The complete lines, as many at a time as came together."""
    rest: list[bytes] = []
    while piece := stream.read():
        *complete, last = piece.split(b"\n")
        if complete:
            complete[0] = b"".join((*rest, complete[0]))
            rest = [last]
            yield complete
        else:
            rest.append(last)


def _beginning(stream: Stream) -> bytes:
    pieces = b""
    while len(pieces) < _ERROR_LIMIT_BYTES and (piece := stream.read()):
        pieces += piece
    return pieces
