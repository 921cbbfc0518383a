"""What kaito's machines need within the cluster: the NodeClaim kind, and that GPUs are announced.

AKS installs the GPU driver on its nodes; the device plugin, which makes GPUs allocatable, is the
cluster's own affair. Source: https://learn.microsoft.com/azure/aks/use-nvidia-gpu
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from kaito.adapters.azure.findings import Area, Finding, Status, command
from kaito.adapters.kube_api import (
    NODE_CLAIM,
    Forbidden,
    KubeApi,
    KubeApiError,
    KubeObject,
    ObjectNotFound,
    Resource,
    name_of,
    namespace_of,
)
from kaito.domain import labels

DAEMON_SET: Final = Resource(group="apps", version="v1", kind="DaemonSet", plural="daemonsets")
DEPLOYMENT: Final = Resource(group="apps", version="v1", kind="Deployment", plural="deployments")

# By their images, whatever the registry: the names of objects are everybody's own.
_DEVICE_PLUGIN: Final = re.compile(r"nvidia/(?:[\w-]+/)*k8s-device-plugin\b")
_GPU_OPERATOR: Final = re.compile(r"(?:^|/)gpu-operator\b")
_ACTS_ON_CLAIMS: Final = re.compile(r"(?:^|/)(?:gpu-provisioner|karpenter/controller|karpenter)\b")

_GPU_TAINT: Final = {"key": labels.GPU_TAINT_KEY, "value": labels.GPU_TAINT_VALUE}
# AKS sets it on the nodes of spot pools. https://learn.microsoft.com/azure/aks/spot-node-pool
_SPOT_TAINT: Final = {"key": "kubernetes.azure.com/scalesetpriority", "value": "spot"}

T = TypeVar("T")


def kubernetes_findings(api: KubeApi | None, *, spot: bool) -> Iterator[Finding]:
    """`api` None: no cluster was named. `spot`: machines may be bought as spot."""
    if api is None:
        for area, subject in ((Area.KUBERNETES, "NodeClaims"), (Area.GPU, "nvidia.com/gpu")):
            yield Finding(
                area=area,
                subject=subject,
                status=Status.NOT_CHECKED,
                message="no cluster was named to look into",
                remedy="Give --kubeconfig FILE",
            )
        return
    yield _claims(api)
    yield from _read(lambda: _others(api), Area.KUBERNETES, "who acts on NodeClaims")
    yield from _read(lambda: [_gpus(api, spot=spot)], Area.GPU, "nvidia.com/gpu")


def _claims(api: KubeApi) -> Finding:
    def finding(status: Status, message: str, remedy: str = "") -> Finding:
        return Finding(
            area=Area.KUBERNETES,
            subject="NodeClaims",
            status=status,
            message=message,
            remedy=remedy,
        )

    try:
        api.list(NODE_CLAIM, limit=1)
    except ObjectNotFound:
        remedy = command("kubectl", "apply", "-f", "deploy/crds/karpenter.sh_nodeclaims.yaml")
        return finding(Status.MISSING, "the cluster has no such kind", remedy)
    except KubeApiError as error:
        return finding(Status.NOT_CHECKED, _why(error))
    return finding(Status.OK, "the cluster has the kind")


def _others(api: KubeApi) -> Sequence[Finding]:
    return list(_who_acts(api)) or [
        Finding(
            area=Area.KUBERNETES,
            subject="who acts on NodeClaims",
            status=Status.OK,
            message="no Deployment of Karpenter or gpu-provisioner does",
        )
    ]


def _who_acts(api: KubeApi) -> Iterator[Finding]:
    for deployment in api.list(DEPLOYMENT).items:
        wanted = (deployment.get("spec") or {}).get("replicas", 1)
        if wanted and any(_ACTS_ON_CLAIMS.search(image) for image in _images(deployment)):
            name, namespace = name_of(deployment), namespace_of(deployment)
            yield Finding(
                area=Area.KUBERNETES,
                subject=f"Deployment {namespace}/{name}",
                status=Status.MISSING,
                message="acts on NodeClaims too, and only one may",
                remedy=command(
                    *("kubectl", "--namespace", namespace, "scale", "deployment", name),
                    "--replicas=0",
                ),
            )


def _gpus(api: KubeApi, *, spot: bool) -> Finding:
    def finding(status: Status, message: str, remedy: str = "") -> Finding:
        return Finding(
            area=Area.GPU,
            subject="nvidia.com/gpu",
            status=status,
            message=message,
            remedy=remedy,
        )

    apply = command("kubectl", "apply", "-f", "deploy/overlays/aks/nvidia-device-plugin.yaml")
    plugins = [
        each
        for each in api.list(DAEMON_SET).items
        if any(_DEVICE_PLUGIN.search(image) for image in _images(each))
    ]
    taints = (_GPU_TAINT, _SPOT_TAINT) if spot else (_GPU_TAINT,)
    kept_off = {_full_name(each): _untolerated(each, taints) for each in plugins}
    good = [name for name, taint in kept_off.items() if not taint]
    if good:
        return finding(Status.OK, f"the device plugin {good[0]} announces GPUs")
    if kept_off:
        name, taint = next(iter(kept_off.items()))
        message = f"the device plugin {name} is kept off kaito's machines by the taint {taint}"
        return finding(Status.MISSING, message, apply)
    for deployment in api.list(DEPLOYMENT).items:
        if any(_GPU_OPERATOR.search(image) for image in _images(deployment)):
            name = _full_name(deployment)
            message = f"the GPU operator {name} brings a device plugin where GPUs are"
            return finding(Status.OK, message)
    return finding(Status.MISSING, "nothing announces GPUs: there is no device plugin", apply)


def _read(look: Callable[[], Sequence[Finding]], area: Area, subject: str) -> Sequence[Finding]:
    try:
        return look()
    except KubeApiError as error:
        return [Finding(area=area, subject=subject, status=Status.NOT_CHECKED, message=_why(error))]


def _why(error: KubeApiError) -> str:
    if isinstance(error, Forbidden):
        return "whoever asks may not list it; run the check with a kubeconfig that may"
    return f"the cluster does not answer: {error}"


def _images(workload: KubeObject) -> list[str]:
    pod = _pod(workload)
    return [str(each.get("image") or "") for each in pod.get("containers") or ()]


def _untolerated(workload: KubeObject, taints: Sequence[Mapping[str, str]]) -> str:
    """The first of the taints (each NoSchedule) that keeps the pods off; empty for none."""
    tolerations = _pod(workload).get("tolerations") or ()
    for taint in taints:
        if not any(_tolerates(each, taint) for each in tolerations):
            return f"{taint['key']}={taint['value']}:NoSchedule"
    return ""


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, str]) -> bool:
    """Source: https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/"""
    if toleration.get("effect") not in (None, "", "NoSchedule"):
        return False
    key, exists = toleration.get("key") or "", toleration.get("operator") == "Exists"
    if not key:
        return exists
    return key == taint["key"] and (exists or (toleration.get("value") or "") == taint["value"])


def _pod(workload: KubeObject) -> Mapping[str, Any]:
    template = (workload.get("spec") or {}).get("template") or {}
    pod: Mapping[str, Any] = template.get("spec") or {}
    return pod


def _full_name(obj: KubeObject) -> str:
    return f"{namespace_of(obj)}/{name_of(obj)}"
