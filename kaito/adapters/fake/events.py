"""Kubernetes events as controllers record them."""

import hashlib
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
    """Records events for one component. A repeated event counts up instead of adding one."""

    def __init__(self, api: KubeApi, component: str) -> None:
        self._api = api
        self._component = component
        self._counts: dict[tuple[str, str], int] = {}

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
        namespace = namespace_of(obj) or _CLUSTER_NAMESPACE
        message = message[:_MESSAGE_LIMIT]
        uid = obj["metadata"].get("uid", "")
        digest = hashlib.sha256("\0".join((uid, self._component, kind, reason, message)).encode())
        suffix = f".{digest.hexdigest()[:16]}"
        name = name_of(obj)[: _NAME_LIMIT - len(suffix)] + suffix
        try:
            self._write(resource, obj, (namespace, name), kind, reason, message, now_s)
        except KubeApiError:
            self._counts.pop((namespace, name), None)

    def _write(
        self,
        resource: Resource,
        obj: KubeObject,
        key: tuple[str, str],
        kind: EventKind,
        reason: str,
        message: str,
        now_s: float,
    ) -> None:
        now = to_rfc3339(now_s)
        if key in self._counts:
            try:
                self._bump(key, self._counts[key] + 1, now)
            except ObjectNotFound:
                del self._counts[key]
            else:
                return
        body = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"namespace": key[0], "name": key[1]},
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
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._api.create(EVENT, body)
            self._counts[key] = 1
        except AlreadyExists:
            stored = self._api.get(EVENT, key[1], key[0])
            self._bump(key, int(stored.get("count") or 1) + 1, now)

    def _bump(self, key: tuple[str, str], count: int, now: str) -> None:
        self._api.patch(EVENT, key[1], key[0], {"count": count, "lastTimestamp": now})
        self._counts[key] = count
