"""What is looked for in the cluster itself: NodeClaims, who acts on them, and GPUs."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kaito.adapters.azure.check_kubernetes import DAEMON_SET, DEPLOYMENT, kubernetes_findings
from kaito.adapters.azure.findings import Finding
from kaito.adapters.kube_api import (
    NODE_CLAIM,
    Forbidden,
    KubeApiError,
    KubeObject,
    ObjectList,
    ObjectNotFound,
    Resource,
    ServerUnavailable,
)

PLUGIN = "mcr.microsoft.com/oss/v2/nvidia/k8s-device-plugin:v0.18.2-12"
GPU = {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
SPOT = {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Exists"}


def workload(image: str, *tolerations: Mapping[str, Any], replicas: int = 1) -> KubeObject:
    pod = {"containers": [{"name": "c", "image": image}], "tolerations": list(tolerations)}
    return {
        "metadata": {"name": "found", "namespace": "somewhere"},
        "spec": {"replicas": replicas, "template": {"spec": pod}},
    }


class Lists:
    """An API server that lists what it was given, or refuses to."""

    def __init__(self, lists: Mapping[Resource, Sequence[KubeObject] | KubeApiError]) -> None:
        self._lists = lists

    def list(self, resource: Resource, **_options: Any) -> ObjectList:
        found = self._lists.get(resource, ())
        if isinstance(found, KubeApiError):
            raise found
        return ObjectList(items=tuple(found), resource_version="1")


def found(
    plugins: Sequence[KubeObject] | KubeApiError = (),
    deployments: Sequence[KubeObject] | KubeApiError = (),
    claims: Sequence[KubeObject] | KubeApiError = (),
    *,
    spot: bool = False,
) -> list[Finding]:
    api: Any = Lists({DAEMON_SET: plugins, DEPLOYMENT: deployments, NODE_CLAIM: claims})
    return list(kubernetes_findings(api, spot=spot))


def told(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    return [(each.area.value, each.status.value) for each in findings]


def test_nothing_is_missing() -> None:
    assert told(found([workload(PLUGIN, GPU)])) == [
        ("kubernetes", "ok"),
        ("kubernetes", "ok"),
        ("gpu", "ok"),
    ]


def test_no_cluster_was_named() -> None:
    findings = list(kubernetes_findings(None, spot=False))
    assert {each.status.value for each in findings} == {"not checked"}
    assert {each.remedy for each in findings} == {"Give --kubeconfig FILE"}


@pytest.mark.parametrize(
    ("tolerations", "spot", "taint"),
    [
        ([], False, "sku=gpu:NoSchedule"),
        ([GPU | {"value": "cpu"}], False, "sku=gpu:NoSchedule"),
        ([GPU | {"effect": "NoExecute"}], False, "sku=gpu:NoSchedule"),
        ([{"key": "nvidia.com/gpu", "operator": "Exists"}], False, "sku=gpu:NoSchedule"),
        ([GPU], True, "kubernetes.azure.com/scalesetpriority=spot:NoSchedule"),
        ([GPU], False, ""),
        ([{"key": "sku", "value": "gpu"}], False, ""),
        ([GPU, SPOT], True, ""),
        ([{"operator": "Exists"}], True, ""),
    ],
)
def test_a_device_plugin_that_may_not_run_where_gpus_are(
    tolerations: list[dict[str, Any]], spot: bool, taint: str
) -> None:
    gpu = found([workload(PLUGIN, *tolerations)], spot=spot)[-1]
    assert gpu.status.value == ("missing" if taint else "ok")
    assert gpu.message.endswith(f"the taint {taint}" if taint else "announces GPUs")


@pytest.mark.parametrize(
    ("image", "status"),
    [
        ("nvcr.io/nvidia/k8s-device-plugin:v0.17.1", "ok"),
        (PLUGIN, "ok"),
        ("docker.io/rocm/k8s-device-plugin:1.31", "missing"),
        ("example.com/other:1", "missing"),
    ],
)
def test_which_images_announce_gpus(image: str, status: str) -> None:
    assert found([workload(image, GPU)])[-1].status.value == status


def test_the_gpu_operator_brings_its_own() -> None:
    gpu = found([], [workload("nvcr.io/nvidia/gpu-operator:v25.3.0")])[-1]
    assert (gpu.status.value, "somewhere/found" in gpu.message) == ("ok", True)


@pytest.mark.parametrize(
    "image",
    [
        "mcr.microsoft.com/aks/kaito/gpu-provisioner:0.4.4",
        "ghcr.io/azure/gpu-provisioner:0.4.4",
        "mcr.microsoft.com/aks/karpenter/controller:1.6.5",
    ],
)
def test_two_may_not_act_on_node_claims(image: str) -> None:
    claims, other, _ = found([workload(PLUGIN, GPU)], [workload(image)])
    assert (claims.status.value, other.status.value) == ("ok", "missing")
    assert other.remedy == "kubectl --namespace somewhere scale deployment found --replicas=0"
    stopped = found([workload(PLUGIN, GPU)], [workload(image, replicas=0)])
    assert {each.status.value for each in stopped} == {"ok"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ObjectNotFound("no such resource"), "missing"),
        (Forbidden("no"), "not checked"),
        (ServerUnavailable("down"), "not checked"),
    ],
)
def test_the_kind_of_node_claims(error: KubeApiError, status: str) -> None:
    claims = found(claims=error)[0]
    assert claims.status.value == status
    assert ("deploy/crds/karpenter.sh_nodeclaims.yaml" in claims.remedy) == (status == "missing")


def test_what_may_not_be_listed_is_not_missing() -> None:
    denied = Forbidden("no")
    assert [status for _, status in told(found(denied, denied, denied))] == ["not checked"] * 3
