"""Watches a run from outside: phases, what became of each Workspace, the event log."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kaito.adapters.kube_api import (
    EVENT,
    NODE_CLAIM,
    POD,
    WORKSPACE,
    EventType,
    KubeApi,
    KubeObject,
    Resource,
    Subscription,
    WatchEvent,
    condition_of,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.timestamps import from_rfc3339
from sim.clockwork import EPOCH_S
from sim.event_log import EventLog
from sim.result import EventResult, Phase

OPERATOR_COMPONENT: Final = "kaito"


@dataclass(slots=True)
class WorkspaceTrack:
    """One Workspace's life: `last` is its newest state, kept after it is gone."""

    last: KubeObject
    created_at_s: float
    ready_at_s: float | None = None
    deleted_at_s: float | None = None


@dataclass(slots=True)
class _OpenPhase:
    name: str
    start_s: float
    detail: str


@dataclass(slots=True)
class _Subject:
    """The phases of one machine or pod, with the Workspace it belongs to once that is known."""

    closed: list[Phase] = field(default_factory=list)
    running: dict[str, _OpenPhase] = field(default_factory=dict)


class Recorder:
    """Hears every phase, sees every change. Times it keeps are seconds since the start, which is
    `epoch_s`."""

    def __init__(self, log: EventLog, epoch_s: float = EPOCH_S) -> None:
        self._log = log
        self._epoch_s = epoch_s
        self._subjects: dict[str, _Subject] = {}
        self._workspace_of: dict[str, tuple[str, str]] = {}
        self._subjects_of: dict[tuple[str, str], dict[str, None]] = {}
        self._subscriptions: list[tuple[Resource, Subscription]] = []
        self._woken: dict[int, None] = {}  # which of them have something
        self.workspaces: dict[tuple[str, str, str], WorkspaceTrack] = {}
        self._events: dict[tuple[str, str], KubeObject] = {}  # the operator's
        self._last_of_pod: dict[str, tuple[str, str]] = {}  # type and text of the newest event
        self.last_change_s = 0.0
        self._listeners: list[Callable[[str], None]] = []

    def on_phase(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the subject of each phase that begins or ends."""
        self._listeners.append(listener)

    def follow(self, api: KubeApi, resources: Iterable[Resource], wake: Callable[[], None]) -> None:
        """Watch from now on."""
        for resource in resources:
            version = api.list(resource).resource_version
            notice = self._noticing(len(self._subscriptions), wake)
            watch = api.watch(resource, resource_version=version, wake=notice)
            self._subscriptions.append((resource, watch))

    def _noticing(self, index: int, wake: Callable[[], None]) -> Callable[[], None]:
        def notice() -> None:
            self._woken[index] = None
            wake()

        return notice

    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        """A phase began. Part of the twin's `Recorder` port."""
        at_s = start_s - self._epoch_s
        self._subject(subject).running[name] = _OpenPhase(name, at_s, detail)
        self.last_change_s = max(self.last_change_s, at_s)
        self._log.write(at_s, "PHASE_BEGIN", subject=subject, phase=name, detail=detail)
        self._tell(subject)

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        """A phase is over. Part of the twin's `Recorder` port."""
        found = self._subject(subject)
        found.running.pop(name, None)
        start, end = start_s - self._epoch_s, end_s - self._epoch_s
        found.closed.append(Phase(name=name, start_s=start, end_s=end, detail=detail))
        self.last_change_s = max(self.last_change_s, end)
        self._log.write(end, "PHASE_END", subject=subject, phase=name, detail=detail)
        self._tell(subject)

    def step(self, now_s: float) -> float | None:
        """Take in what has changed, in the order in which it happened."""
        changes: list[tuple[int, Resource, WatchEvent]] = []
        woken, self._woken = self._woken, {}
        for index in woken:
            resource, subscription = self._subscriptions[index]
            for event in subscription.poll():
                version = int(event.object["metadata"]["resourceVersion"])
                changes.append((version, resource, event))
        changes.sort(key=lambda change: change[0])
        at_s = now_s - self._epoch_s
        for _, resource, event in changes:
            self._take_in(resource, event, at_s)
        if changes:
            self.last_change_s = at_s
        return None

    def events(self) -> list[EventResult]:
        """What the operator has told, each event as it was last."""
        return [_event_result(obj, self._epoch_s) for obj in self._events.values()]

    def phases_of(self, namespace: str, name: str) -> tuple[Phase, ...]:
        """The Workspace's phases by start, those of several machines or pods laid together."""
        found: list[Phase] = []
        for subject in self._subjects_of.get((namespace, name), ()):
            track = self._subjects.get(subject, _Subject())
            found += track.closed
            found += [
                Phase(name=one.name, start_s=one.start_s, detail=one.detail)
                for one in track.running.values()
            ]
        return tuple(_together(sorted(found, key=lambda phase: (phase.start_s, phase.name))))

    def phases_of_pod(self, namespace: str, name: str) -> tuple[Phase, ...]:
        """One pod's phases, or those of all pods that had the name, by start."""
        track = self._subjects.get(f"Pod/{namespace}/{name}", _Subject())
        running = [
            Phase(name=one.name, start_s=one.start_s, detail=one.detail)
            for one in track.running.values()
        ]
        return tuple(sorted([*track.closed, *running], key=lambda phase: phase.start_s))

    def trouble_of(self, namespace: str, name: str) -> str:
        """What the kubelet or the scheduler last warned of about one of the Workspace's pods; empty
        where nothing is wrong, or where it went on since."""
        for subject in self._subjects_of.get((namespace, name), ()):
            kind, text = self._last_of_pod.get(subject, ("", ""))
            if kind == "Warning":
                return text
        return ""

    def running_phases(self) -> list[str]:
        """What goes on now, each name once."""
        names = {name: None for subject in self._subjects.values() for name in subject.running}
        return list(names)

    def _tell(self, subject: str) -> None:
        for listener in self._listeners:
            listener(subject)

    def _subject(self, subject: str) -> _Subject:
        return self._subjects.setdefault(subject, _Subject())

    def _take_in(self, resource: Resource, event: WatchEvent, at_s: float) -> None:
        obj = event.object
        fields: dict[str, Any] = {
            "kind": resource.kind,
            "namespace": namespace_of(obj),
            "name": name_of(obj),
            "resourceVersion": obj["metadata"]["resourceVersion"],
        }
        if resource is EVENT:
            fields |= {"reason": obj.get("reason", ""), "message": obj.get("message", "")}
            self._take_in_event(obj)
        self._log.write(at_s, event.type.value, **fields)
        if resource is WORKSPACE:
            self._take_in_workspace(event, at_s)
        elif resource is NODE_CLAIM:
            self._remember_owner(f"Machine/{name_of(obj)}", labels_of(obj))
        elif resource is POD:
            subject = f"Pod/{namespace_of(obj)}/{name_of(obj)}"
            self._remember_owner(subject, labels_of(obj))
            if event.type is EventType.DELETED:
                self._last_of_pod.pop(subject, None)

    def _remember_owner(self, subject: str, found: Mapping[str, str]) -> None:
        if labels.WORKSPACE in found and labels.WORKSPACE_NAMESPACE in found:
            owner = (found[labels.WORKSPACE_NAMESPACE], found[labels.WORKSPACE])
            before = self._workspace_of.get(subject)
            if before == owner:
                return
            if before is not None:
                del self._subjects_of[before][subject]
            self._workspace_of[subject] = owner
            self._subjects_of.setdefault(owner, {})[subject] = None

    def _take_in_workspace(self, event: WatchEvent, at_s: float) -> None:
        obj = event.object
        key = (namespace_of(obj), name_of(obj), obj["metadata"]["uid"])
        track = self.workspaces.get(key)
        if track is None:
            track = self.workspaces[key] = WorkspaceTrack(obj, created_at_s=at_s)
        was_ready = is_ready(track.last)
        track.last = obj
        if event.type is EventType.DELETED:
            track.deleted_at_s = at_s
        elif is_ready(obj) and (not was_ready or track.ready_at_s is None):
            track.ready_at_s = at_s

    def _take_in_event(self, obj: KubeObject) -> None:
        about = obj["involvedObject"]
        if (obj.get("source") or {}).get("component") != OPERATOR_COMPONENT:
            if about["kind"] == POD.kind:
                subject = f"Pod/{about.get('namespace', '')}/{about['name']}"
                text = f"{about['name']}: {obj['reason']}: {obj['message']}"
                self._last_of_pod[subject] = (obj["type"], text)
            return
        self._events[namespace_of(obj), name_of(obj)] = obj


def _event_result(obj: KubeObject, epoch_s: float) -> EventResult:
    about = obj["involvedObject"]
    return EventResult(
        at_s=from_rfc3339(obj["firstTimestamp"]) - epoch_s,
        kind=about["kind"],
        namespace=about.get("namespace", ""),
        name=about["name"],
        type=obj["type"],
        reason=obj["reason"],
        message=obj["message"],
        count=obj.get("count", 1),
    )


def is_ready(workspace: KubeObject) -> bool:
    """Whether WorkspaceSucceeded is True."""
    found = condition_of(workspace, st.SUCCEEDED)
    return found is not None and found.get("status") == "True"


def _together(phases: Iterable[Phase]) -> list[Phase]:
    """Phases of one name that overlap become one, from the first start to the last end."""
    found: list[Phase] = []
    for phase in phases:
        index = next(
            (
                index
                for index, other in enumerate(found)
                if other.name == phase.name and (other.end_s is None or phase.start_s < other.end_s)
            ),
            None,
        )
        if index is None:
            found.append(phase)
            continue
        other = found[index]
        ends = (other.end_s, phase.end_s)
        found[index] = Phase(
            name=other.name,
            start_s=other.start_s,
            end_s=None if None in ends else max(end for end in ends if end is not None),
            detail=other.detail,
        )
    return found
