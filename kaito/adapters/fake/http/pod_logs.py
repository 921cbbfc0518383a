"""What `kubectl logs` shows: a container's start-up, told from the phases that the kubelet ran."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from starlette.datastructures import QueryParams

from kaito.adapters.fake.container_phases import (
    ADAPTER_PULL,
    DATA_DOWNLOAD,
    IMAGE_PULL,
    READINESS_PROBE,
    RESULTS_PUSH,
    WEIGHTS_DOWNLOAD,
)
from kaito.adapters.fake.http.options import is_set, number
from kaito.adapters.fake.http.statuses import Refusal, refusal
from kaito.adapters.fake.http.watching import Closing
from kaito.adapters.kube_api import KubeObject, ObjectNotFound, name_of, namespace_of
from kaito.domain.timestamps import from_rfc3339

_POLL_S: Final = 0.5
_NOT_IN_CONTAINER: Final = frozenset({IMAGE_PULL, READINESS_PROBE})  # the kubelet's own work
# Which container a phase is of, where the pod has one of that name; the rest is the main one's.
_CONTAINER_OF: Final[Mapping[str, str]] = {
    ADAPTER_PULL: "puller-{detail}",
    DATA_DOWNLOAD: "data-{detail}",
    RESULTS_PUSH: "pusher",
    WEIGHTS_DOWNLOAD: "model-weights-downloader",
}


@dataclass(frozen=True, slots=True)
class Span:
    """A phase of a pod, in seconds since the epoch; `end_s` None: it is running."""

    name: str
    start_s: float
    end_s: float | None
    detail: str


# The phases of a pod (namespace, name) so far, by start.
PodTimeline: TypeAlias = Callable[[str, str], Sequence[Span]]


def nothing_known(_namespace: str, _name: str) -> Sequence[Span]:
    return ()


@dataclass(frozen=True, slots=True)
class _Line:
    at_s: float
    text: str

    def shown(self, *, stamped: bool) -> bytes:
        if not stamped:
            return f"{self.text}\n".encode()
        moment = datetime.fromtimestamp(self.at_s, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
        return f"{moment}000Z {self.text}\n".encode()


class PodLog:
    """The log of one container, as it grows."""

    def __init__(
        self,
        read: Callable[[], KubeObject],
        timeline: PodTimeline,
        query: QueryParams,
        now_s: Callable[[], float],
        closing: Closing,
    ) -> None:
        self._read, self._timeline, self._query = read, timeline, query
        self._now_s, self._closing = now_s, closing
        pod = read()
        self._uid = pod["metadata"]["uid"]
        self._container = _container(pod, query.get("container", ""))
        refused = _not_started(pod, self._container, previous=is_set(query, "previous"))
        if refused is not None:
            raise refused

    async def chunks(self) -> AsyncIterator[bytes]:
        """What there is, and with `follow` what comes, until the container has ended."""
        stamped = is_set(self._query, "timestamps")
        lines = self._selected(self._lines(self._read()))
        yield b"".join(line.shown(stamped=stamped) for line in lines)
        if not is_set(self._query, "follow"):
            return
        seen = len(self._lines(self._read()))
        woken = self._closing.listen()
        try:
            while not self._closing.is_set():
                pod = self._alive()
                if pod is None:
                    return
                lines = self._lines(pod)
                if len(lines) > seen:
                    yield b"".join(line.shown(stamped=stamped) for line in lines[seen:])
                    seen = len(lines)
                if _has_ended(pod, self._container):
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), _POLL_S)
        finally:
            self._closing.leave(woken)

    def _alive(self) -> KubeObject | None:
        try:
            pod = self._read()
        except ObjectNotFound:
            return None
        return pod if pod["metadata"]["uid"] == self._uid else None

    def _lines(self, pod: KubeObject) -> list[_Line]:
        """Every line so far, by time."""
        created_s = from_rfc3339(pod["metadata"]["creationTimestamp"])
        spans = [
            span
            for span in self._timeline(namespace_of(pod), name_of(pod))
            if span.start_s >= created_s
            and span.name not in _NOT_IN_CONTAINER
            and _container_of(pod, span) == self._container
        ]
        lines = []
        for span in spans:
            detail = f": {span.detail}" if span.detail else ""
            lines.append(_Line(span.start_s, f"INFO {span.name} begins{detail}"))
            if span.end_s is not None:
                took = f"{span.end_s - span.start_s:.1f} s"
                lines.append(_Line(span.end_s, f"INFO {span.name} is done after {took}"))
        status = _status_of(pod, self._container)
        last_s = max([line.at_s for line in lines], default=created_s)
        port = _port(pod, self._container)
        if status.get("ready") and port:
            lines.append(_Line(last_s, f"INFO the server is ready{port}"))
        ended = (status.get("state") or {}).get("terminated")
        if ended:
            end_s = max(from_rfc3339(ended["finishedAt"]), last_s)  # the former is in whole seconds
            words = ended.get("message") or ended.get("reason") or ""
            lines.append(
                _Line(end_s, f"INFO exit code {ended.get('exitCode', 0)} {words}".rstrip())
            )
        return sorted(lines, key=lambda line: line.at_s)

    def _selected(self, lines: list[_Line]) -> list[_Line]:
        since_s = number(self._query, "sinceSeconds")
        if since_s is not None:
            lines = [line for line in lines if line.at_s >= self._now_s() - since_s]
        tail = number(self._query, "tailLines")
        return lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]


def _container_of(pod: KubeObject, span: Span) -> str:
    """The container that a phase went on in."""
    wanted = _CONTAINER_OF.get(span.name, "").format(detail=span.detail)
    main = [str(one["name"]) for one in pod["spec"].get("containers") or ()]
    every = main + [str(one["name"]) for one in pod["spec"].get("initContainers") or ()]
    return wanted if wanted in every else main[0]


def _container(pod: KubeObject, wanted: str) -> str:
    containers = [one["name"] for one in pod["spec"].get("containers") or ()]
    every = containers + [one["name"] for one in pod["spec"].get("initContainers") or ()]
    if not wanted and len(containers) == 1:
        return str(containers[0])
    if wanted in every:
        return wanted
    if not wanted:
        names = " ".join(containers)
        raise refusal(
            400,
            f"a container name must be specified for pod {name_of(pod)}, choose one of: [{names}]",
        )
    raise refusal(400, f"container {wanted} is not valid for pod {name_of(pod)}")


def _not_started(pod: KubeObject, container: str, *, previous: bool) -> Refusal | None:
    status = _status_of(pod, container)
    where = f'container "{container}" in pod "{name_of(pod)}"'
    if previous and not status.get("lastState"):
        return refusal(400, f"previous terminated {where} not found")
    waiting = (status.get("state") or {}).get("waiting")
    if status and waiting is None:
        return None
    reason = (waiting or {}).get("reason") or "it is not on a node yet"
    return refusal(400, f"{where} is waiting to start: {reason}")


def _status_of(pod: KubeObject, container: str) -> dict[str, Any]:
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses"):
        for one in status.get(key) or ():
            if one.get("name") == container:
                return dict(one)
    return {}


def _has_ended(pod: KubeObject, container: str) -> bool:
    return "terminated" in (_status_of(pod, container).get("state") or {})


def _port(pod: KubeObject, container: str) -> str:
    for one in pod["spec"].get("containers") or ():
        ports = one.get("ports") or ()
        if one["name"] == container and ports:
            return f" on port {ports[0]['containerPort']}"
    return ""
