"""Events (core/v1) on an object: repeating one raises its count instead of adding another."""

from kaito.adapters.kube_api import (
    EVENT,
    AlreadyExists,
    KubeApi,
    KubeObject,
    ObjectNotFound,
    name_of,
    namespace_of,
)
from kaito.domain.names import digest
from kaito.domain.plan import Note
from kaito.domain.timestamps import to_rfc3339

COMPONENT = "kaito"
CLUSTER_EVENTS_NAMESPACE = "default"  # where events on cluster-scoped objects live
_NAME_LIMIT = 200


def record(api: KubeApi, about: KubeObject, note: Note, *, now_s: float) -> None:
    """Write the event. Its name is a hash of what it says about which object."""
    metadata = about["metadata"]
    namespace = namespace_of(about) or CLUSTER_EVENTS_NAMESPACE
    identity = f"{metadata.get('uid')}/{note.type}/{note.reason}/{note.message}"
    name = f"{name_of(about)[:_NAME_LIMIT]}.{digest(identity)[:16]}"
    now = to_rfc3339(now_s)
    body = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": name_of(about),
            "namespace": namespace_of(about),
            "uid": metadata.get("uid", ""),
            "resourceVersion": metadata.get("resourceVersion", ""),
        },
        "type": note.type,
        "reason": note.reason,
        "message": note.message,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": COMPONENT,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        api.create(EVENT, body)
    except AlreadyExists:
        try:
            count = api.get(EVENT, name, namespace).get("count") or 1
            api.patch(EVENT, name, namespace, {"count": count + 1, "lastTimestamp": now})
        except ObjectNotFound:
            return  # it expired in between, and said its thing long ago
