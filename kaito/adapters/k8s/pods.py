"""Pods as the domain sees them, with one reason for not being ready.

The reasons and their order are KAITO v0.12's (pkg/workspace/controllers/workspace_controller.go:
897-915): what is most certainly wrong comes first.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kaito.adapters.kube_api import (
    KubeObject,
    annotations_of,
    condition_of,
    is_true,
    labels_of,
)
from kaito.domain import labels
from kaito.domain.cluster_view import PodEnd, PodView
from kaito.domain.machine import NodePod
from kaito.domain.timestamps import from_rfc3339

_MIRROR: Final = "kubernetes.io/config.mirror"  # on the kubelet's own pods (k8s.io/api/core/v1)
_IMAGE_REASONS: Final = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName"})
_START_REASONS: Final = frozenset(
    {"CreateContainerError", "CreateContainerConfigError", "RunContainerError", "StartError"}
)
_CONTAINER_REASONS: Final = (
    "ImagePullError",
    "ContainerOOMKilled",
    "ContainerCrashLoopBackOff",
    "ContainerStartError",
)


def to_pod_view(pod: KubeObject) -> PodView:
    """The pod; `reason` is empty while it is merely on its way."""
    status: Mapping[str, Any] = pod.get("status") or {}
    reason, message = _trouble(pod, status)
    return PodView(
        name=pod["metadata"]["name"],
        node_name=(pod.get("spec") or {}).get("nodeName", ""),
        phase=status.get("phase", "Pending"),
        ready=is_true(pod, "Ready"),
        deleting="deletionTimestamp" in pod["metadata"],
        reason=reason,
        message=message,
        restarts=sum(found.get("restartCount", 0) for found in _containers(status)),
        end=_end(pod, status),
    )


def to_node_pod(pod: KubeObject) -> NodePod:
    """The pod as the drain of its Node sees it."""
    metadata, spec = pod["metadata"], pod.get("spec") or {}
    owners = metadata.get("ownerReferences") or ()
    return NodePod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        workspace=labels_of(pod).get(labels.WORKSPACE, ""),
        daemon=any(one.get("controller") and one["kind"] == "DaemonSet" for one in owners),
        mirror=_MIRROR in annotations_of(pod),
        finished=(pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"},
        deleting="deletionTimestamp" in metadata,
        tolerations=tuple(spec.get("tolerations") or ()),
    )


def _containers(status: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from status.get("initContainerStatuses") or ()
    yield from status.get("containerStatuses") or ()


def _end(pod: KubeObject, status: Mapping[str, Any]) -> PodEnd | None:
    """How a pod that failed, or is taken away, ended. Of several containers that which failed
    first counts: the others may have waited for it."""
    target = condition_of(pod, "DisruptionTarget")
    disrupted = target is not None and target["status"] == "True"
    if status.get("phase") != "Failed" and not disrupted:
        return None
    failed = _failed_containers(status)
    first = failed[0] if failed else {}
    disruption = ""
    if target is not None and disrupted:
        disruption = target.get("message") or target.get("reason") or "DisruptionTarget"
    return PodEnd(
        finished_at_s=_ended_s(pod, failed, target),
        container=first.get("name", ""),
        exit_code=first.get("exitCode", 0),
        reason=first.get("reason", ""),
        message=first.get("message", "") if first else status.get("message", ""),
        disruption=disruption,
    )


def _failed_containers(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Name and terminated state of each container that failed, in the order of their ends."""
    ended = [
        {"name": found["name"], **terminated}
        for found in _containers(status)
        if (terminated := (found.get("state") or {}).get("terminated"))
        and terminated.get("exitCode")
    ]
    return sorted(ended, key=lambda one: one.get("finishedAt") or "")


def _ended_s(
    pod: KubeObject, failed: Sequence[Mapping[str, Any]], target: Mapping[str, Any] | None
) -> float:
    """When the last of its containers failed, or it was taken away; else when it was created."""
    moments = [one.get("finishedAt") for one in failed]
    moments += [target.get("lastTransitionTime") if target else None]
    known = [from_rfc3339(moment) for moment in moments if moment]
    return max(known) if known else from_rfc3339(pod["metadata"]["creationTimestamp"])


def _trouble(pod: KubeObject, status: Mapping[str, Any]) -> tuple[str, str]:
    found = [_container_trouble(container) for container in _containers(status)]
    for reason in _CONTAINER_REASONS:
        for trouble in found:
            if trouble[0] == reason:
                return trouble
    if status.get("reason") == "Evicted":
        return "PodEvicted", status.get("message", "")
    scheduled = condition_of(pod, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "Unschedulable":
        return "Unschedulable", scheduled.get("message", "")
    return "", ""


def _container_trouble(container: Mapping[str, Any]) -> tuple[str, str]:
    reason, message = _waiting(container)
    if reason in _IMAGE_REASONS:
        return "ImagePullError", message or reason
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        if (state.get("terminated") or {}).get("reason") == "OOMKilled":
            return "ContainerOOMKilled", f"container {container['name']} ran out of memory"
    if reason == "CrashLoopBackOff":
        return "ContainerCrashLoopBackOff", _crash(container, message)
    if reason in _START_REASONS:
        return "ContainerStartError", message or reason
    return "", ""


def _waiting(found: Mapping[str, Any]) -> tuple[str, str]:
    state = (found.get("state") or {}).get("waiting") or {}
    return state.get("reason", ""), state.get("message", "")


def _crash(found: Mapping[str, Any], message: str) -> str:
    ended = (found.get("lastState") or {}).get("terminated") or {}
    if not ended:
        return message
    detail = ended.get("message") or ended.get("reason") or ""
    return f"container {found['name']} exited with {ended.get('exitCode')}: {detail}"
