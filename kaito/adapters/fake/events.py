"""Kubernetes events as controllers record them."""

from typing import Final, Literal

from kaito.adapters.kube_api import (
    EVENT,
    AlreadyExists,
    KubeApi,
    KubeApiError,
    KubeObject,
    ObjectNotFound,
    Resource,
    name_of,
    namespace_of,
)
from kaito.domain.timestamps import to_rfc3339

EventKind = Literal["Normal", "Warning"]

_CLUSTER_NAMESPACE: Final = "default"  # where events about cluster-scoped objects go
_MESSAGE_LIMIT: Final = 1024  # the API server's limit
_NAME_LIMIT: Final = 253


class EventRecorder:
    """Records events for one component. A repeated event counts up instead of adding one.

    Names end in the time of the first occurrence, as a controller's recorder gives them: events of
    one object are listed in the order in which they came.
    """

    def __init__(self, api: KubeApi, component: str) -> None:
        self._api = api
        self._component = component
        self._known: dict[tuple[str, ...], tuple[str, int]] = {}  # name and count

    def record(
        self,
        resource: Resource,
        obj: KubeObject,
        kind: EventKind,
        reason: str,
        message: str,
        now_s: float,
    ) -> None:
        """Write it. A failed write is dropped, as Kubernetes does: events are best effort."""
        message = message[:_MESSAGE_LIMIT]
        same = (str(obj["metadata"].get("uid", "")), kind, reason, message)
        namespace = namespace_of(obj) or _CLUSTER_NAMESPACE
        try:
            self._known[same] = self._bumped(same, namespace, now_s) or self._created(
                resource, obj, (kind, reason, message), namespace, now_s
            )
        except KubeApiError:
            self._known.pop(same, None)

    def _bumped(
        self, same: tuple[str, ...], namespace: str, now_s: float
    ) -> tuple[str, int] | None:
        """The event counted up; None where there is none, or none any more."""
        if same not in self._known:
            return None
        name, before = self._known[same]
        patch = {"count": before + 1, "lastTimestamp": to_rfc3339(now_s)}
        try:
            self._api.patch(EVENT, name, namespace, patch)
        except ObjectNotFound:
            return None
        return name, before + 1

    def _created(
        self,
        resource: Resource,
        obj: KubeObject,
        said: tuple[EventKind, str, str],
        namespace: str,
        now_s: float,
    ) -> tuple[str, int]:
        kind, reason, message = said
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "involvedObject": {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "namespace": namespace_of(obj),
                "name": name_of(obj),
                "uid": obj["metadata"].get("uid", ""),
                "resourceVersion": obj["metadata"].get("resourceVersion", ""),
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "",
            "firstTimestamp": to_rfc3339(now_s),
            "lastTimestamp": to_rfc3339(now_s),
            "count": 1,
        }
        moment_ns = int(now_s * 1e9)
        while True:
            suffix = f".{moment_ns:x}"
            name = name_of(obj)[: _NAME_LIMIT - len(suffix)] + suffix
            try:
                self._api.create(
                    EVENT, {**body, "metadata": {"namespace": namespace, "name": name}}
                )
            except AlreadyExists:
                moment_ns += 1  # another event of the same instant
            else:
                return name, 1
