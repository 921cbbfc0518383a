"""Which changes of an object concern rounds: those of what a round reads of it.

Heartbeats, bookkeeping of controllers and what rounds themselves have written wake nobody. A plan
is still made from everything that is there: this only says when to look.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from kaito.adapters.k8s.node_claims import to_node_view
from kaito.adapters.k8s.pods import to_pod_view
from kaito.adapters.kube_api import (
    CONTROLLER_REVISION,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    Resource,
    annotations_of,
    is_true,
    labels_of,
)
from kaito.domain import labels

# What a machine's rounds write of an attempt, besides the status.
_ATTEMPT_LABELS: Final = frozenset({labels.INSTANCE_TYPE, labels.CAPACITY_TYPE, labels.ZONE})
# Of a StatefulSet or Job; what only tells of a rollout under way is left out.
_WORKLOAD_STATUS: Final = (
    "observedGeneration",
    "replicas",
    "readyReplicas",
    "updatedReplicas",
    "active",
    "failed",
    "conditions",
)

_Meaning = Callable[[KubeObject], Any]


class News:
    """Remembers what objects meant when they were last seen. `meanings` are by kind; an object of
    any other kind is news each time. What means None is as good as not there."""

    def __init__(self, meanings: Mapping[Resource, _Meaning]) -> None:
        self._meanings = meanings
        self._seen: dict[Resource, dict[str, Any]] = {resource: {} for resource in meanings}

    def note(self, resource: Resource, obj: KubeObject, *, gone: bool) -> bool:
        """Take it over; whether it is another to rounds than it was."""
        meaning = self._meanings.get(resource)
        if meaning is None:
            return True
        seen, uid = self._seen[resource], obj["metadata"]["uid"]
        if gone:
            seen.pop(uid, None)
            return True
        before, after = seen.get(uid), meaning(obj)
        seen[uid] = after
        return bool(before != after)

    def forget(self, resource: Resource) -> None:
        """Events were missed: all that is there is news."""
        self._seen.get(resource, {}).clear()


def for_workspaces() -> News:
    """What a Workspace's rounds read. Of NodeClaims that is everything."""
    return News(
        {
            WORKSPACE: _asked_for,
            NODE: _of_node,
            POD: _of_pod,
            STATEFUL_SET: _of_workload,
            JOB: _of_workload,
            CONTROLLER_REVISION: _of_revision,
        }
    )


def for_machines() -> News:
    """What a machine's rounds read, but for what only they write."""
    return News({NODE_CLAIM: _of_record, NODE: _of_machine})


def _asked_for(obj: KubeObject) -> Any:
    """All but the status."""
    metadata = obj["metadata"]
    return (
        metadata.get("generation"),
        metadata.get("labels"),
        metadata.get("annotations"),
        metadata.get("finalizers"),
        metadata.get("ownerReferences"),
        metadata.get("deletionTimestamp"),
    )


def _of_record(claim: KubeObject) -> Any:
    metadata = claim["metadata"]
    deleting = "deletionTimestamp" in metadata
    return (
        metadata.get("generation"),
        {key: text for key, text in labels_of(claim).items() if key not in _ATTEMPT_LABELS},
        annotations_of(claim).get(labels.RETRY),
        metadata.get("finalizers"),
        # Once the cloud was asked to take it back it may be gone at once.
        claim.get("status") if deleting else deleting,
    )


def _of_node(node: KubeObject) -> Any:
    """Only whether it is ready: what else there is to a Node, its machine's record tells."""
    return is_true(node, "Ready") or None


def _of_machine(node: KubeObject) -> Any:
    """A condition may say what is to be asked of the cloud, such as that it wants it back."""
    conditions = (node.get("status") or {}).get("conditions") or ()
    return to_node_view(node), [(one["type"], one["status"]) for one in conditions]


def _of_pod(pod: KubeObject) -> Any:
    view = to_pod_view(pod)
    if view.phase == "Pending" and not (view.reason or view.deleting):
        return None  # on its way
    return view, labels_of(pod)


def _of_revision(_revision: KubeObject) -> Any:
    """Rounds and StatefulSets write them, and need not be told; that one is gone is news."""
    return None


def _of_workload(obj: KubeObject) -> Any:
    status = obj.get("status") or {}
    return _asked_for(obj), [status.get(name) for name in _WORKLOAD_STATUS]
