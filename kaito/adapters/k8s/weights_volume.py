"""The pods' volume for weights, and the StorageClass that it may be of."""

from typing import Any, Final

from kaito.adapters.kube_api import STORAGE_CLASS, KubeApi, ObjectNotFound
from kaito.domain import labels
from kaito.domain.quantity import GIB
from kaito.domain.workload import Workload

VOLUME: Final = "model-weights-volume"


def weights_volume(workload: Workload) -> dict[str, Any]:
    """On local disks it is a volume with a claim of its own, which comes and goes with the pod."""
    weights = workload.weights
    if weights is None:
        return {"name": VOLUME, "emptyDir": {}}
    claim = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": weights.storage_class,
        "resources": {"requests": {"storage": f"{weights.size_bytes // GIB}Gi"}},
    }
    template = {"metadata": {"labels": {labels.WORKSPACE: workload.owner.name}}, "spec": claim}
    return {"name": VOLUME, "ephemeral": {"volumeClaimTemplate": template}}


def available_class(api: KubeApi, name: str) -> str:
    """`name` if the cluster has such a StorageClass, else the empty text; without a name nothing is
    asked. Raises: KubeApiError."""
    if not name:
        return ""
    try:
        found = api.get(STORAGE_CLASS, name)
    except ObjectNotFound:
        return ""
    return "" if "deletionTimestamp" in found["metadata"] else name
