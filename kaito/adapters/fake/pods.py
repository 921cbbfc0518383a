"""Questions that several controllers ask about pods, and pods made from templates."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.kube_api import KubeObject, Resource, is_true, name_of, thaw
from kaito.domain.timestamps import to_rfc3339

TERMINAL_PHASES: Final = frozenset({"Succeeded", "Failed"})


def node_name_of(pod: KubeObject) -> str:
    """The node it is bound to; empty while it is not."""
    name = pod["spec"].get("nodeName") or ""
    assert isinstance(name, str)
    return name


def phase_of(pod: KubeObject) -> str:
    phase = (pod.get("status") or {}).get("phase") or "Pending"
    assert isinstance(phase, str)
    return phase


def is_terminal(pod: KubeObject) -> bool:
    return phase_of(pod) in TERMINAL_PHASES


def is_deleting(obj: KubeObject) -> bool:
    return "deletionTimestamp" in obj["metadata"]


def is_ready(pod: KubeObject) -> bool:
    return is_true(pod, "Ready")


def controller_uid(obj: KubeObject) -> str:
    """UID of the object that manages this one; empty when there is none."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            uid = owner["uid"]
            assert isinstance(uid, str)
            return uid
    return ""


def owner_reference(resource: Resource, owner: KubeObject) -> dict[str, Any]:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def pod_from_template(
    template: Mapping[str, Any],
    *,
    namespace: str,
    name: str,
    labels: Mapping[str, str],
    owner: Mapping[str, Any],
    finalizers: Sequence[str] = (),
) -> dict[str, Any]:
    """A pod to create; `labels` are added to the template's."""
    meta = template.get("metadata") or {}
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": namespace,
            "name": name,
            "labels": {**(meta.get("labels") or {}), **labels},
            "annotations": thaw(meta.get("annotations") or {}),
            "ownerReferences": [dict(owner)],
            "finalizers": list(finalizers),
        },
        "spec": thaw(template["spec"]),
    }
    return pod


def with_condition(
    conditions: Sequence[Mapping[str, Any]],
    condition_type: str,
    status: str,
    now_s: float,
    *,
    reason: str = "",
    message: str = "",
) -> list[dict[str, Any]]:
    """`conditions` with this one added or replaced; its transition time moves with its status."""
    fresh: dict[str, Any] = {
        "type": condition_type,
        "status": status,
        "lastTransitionTime": to_rfc3339(now_s),
    }
    if reason:
        fresh["reason"] = reason
    if message:
        fresh["message"] = message
    changed = [dict(condition) for condition in conditions]
    for position, condition in enumerate(changed):
        if condition["type"] == condition_type:
            if condition["status"] == status:
                fresh["lastTransitionTime"] = condition["lastTransitionTime"]
            changed[position] = fresh
            return changed
    return [*changed, fresh]
