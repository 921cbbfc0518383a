"""The scale sub-resource: a workload's replicas, without the rest of it."""

from collections.abc import Mapping
from typing import Any, Final

from kaito.adapters.fake.http.statuses import refusal
from kaito.adapters.fake.http.typed_decoding import decoded
from kaito.adapters.kube_api import KubeObject

_SCALE: Final = "io.k8s.api.autoscaling.v1.Scale"


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


def patch_of(sent: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch of the workload that a Scale stands for.

    Raises: Refusal (400: no Scale; 422: replicas below 0).
    """
    scale = decoded(sent, _SCALE).body
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if replicas < 0:
        detail = f"Invalid value: {replicas}: must be greater than or equal to 0"
        name = (scale.get("metadata") or {}).get("name", "")
        cause = {"reason": "FieldValueInvalid", "message": detail, "field": "spec.replicas"}
        raise refusal(
            422,
            f'Scale.autoscaling "{name}" is invalid: spec.replicas: {detail}',
            details={"name": name, "group": "autoscaling", "kind": "Scale", "causes": [cause]},
        )
    patch: dict[str, Any] = {"spec": {"replicas": replicas}}
    version = (scale.get("metadata") or {}).get("resourceVersion")
    if version:
        patch["metadata"] = {"resourceVersion": version}
    return patch
