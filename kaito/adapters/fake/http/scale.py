"""The scale sub-resource: a workload's replicas, without the rest of it."""

from collections.abc import Mapping
from typing import Any

from kaito.adapters.fake.http.statuses import refusal
from kaito.adapters.kube_api import KubeObject


def scale_of(workload: KubeObject) -> dict[str, Any]:
    """The Scale of a workload."""
    meta, spec = workload["metadata"], workload["spec"]
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"replicas": spec.get("replicas", 1)},
        "status": {
            "replicas": (workload.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in sorted(labels.items())),
        },
    }


def patch_of(scale: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch of the workload that a Scale stands for. Raises: Refusal (400)."""
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        raise refusal(400, f"spec.replicas must be a number of 0 or more, got {replicas!r}")
    patch: dict[str, Any] = {"spec": {"replicas": replicas}}
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        patch["metadata"] = {"resourceVersion": version}
    return patch
