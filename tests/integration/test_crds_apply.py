"""What a real API server makes of the CustomResourceDefinitions in deploy/crds."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.kube_api import (
    NODE_CLAIM,
    WORKSPACE,
    WORKSPACE_V1ALPHA1,
    InvalidObject,
    condition_of,
    is_true,
    name_of,
)
from kaito.domain import labels
from kaito.domain.workspace import V1ALPHA1_INSTANCE_TYPE
from tests.integration.conftest import CRD, RealCluster, shipped_crds

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def workspace(namespace: str, **resource: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "one", "namespace": namespace},
        "resource": {"labelSelector": {"matchLabels": {"app": "one"}}, **resource},
        "inference": {"preset": {"name": "phi-4"}},
    }


def row_of(cluster: RealCluster, path: str, *, wide: bool = False) -> dict[str, Any]:
    """What `kubectl get` shows of one object: column -> cell."""
    if cluster.plane is None:
        pytest.skip("tables are asked for at an API server of our own only")
    answer = cluster.plane.get(path, accept=TABLE)
    assert answer is not None
    table: Mapping[str, Any] = json.loads(answer)
    (row,) = table["rows"]
    columns = table["columnDefinitions"]
    return {
        column["name"]: cell
        for column, cell in zip(columns, row["cells"], strict=True)
        if wide or not column["priority"]
    }


def test_the_server_accepts_them(real_api: KubernetesClientApi) -> None:
    names = [name_of(crd) for crd in shipped_crds()]
    assert names == ["workspaces.kaito.sh", "nodeclaims.karpenter.sh"]
    for name in names:
        crd = real_api.get(CRD, name)
        assert is_true(crd, "Established")
        assert is_true(crd, "NamesAccepted")
        assert condition_of(crd, "NonStructuralSchema") is None


def test_v1alpha1_has_a_default_machine(real_api: KubernetesClientApi, namespace: str) -> None:
    created = real_api.create(WORKSPACE_V1ALPHA1, workspace(namespace))
    assert created["resource"]["instanceType"] == V1ALPHA1_INSTANCE_TYPE
    newer = real_api.get(WORKSPACE, "one", namespace)
    assert newer["resource"]["instanceType"] == V1ALPHA1_INSTANCE_TYPE


def test_v1beta1_has_none(real_api: KubernetesClientApi, namespace: str) -> None:
    created = real_api.create(WORKSPACE, workspace(namespace))
    assert "instanceType" not in created["resource"]


def test_what_the_schema_refuses(real_api: KubernetesClientApi, namespace: str) -> None:
    with pytest.raises(InvalidObject, match="should be greater than or equal to 1") as caught:
        real_api.create(WORKSPACE, workspace(namespace, count=0))
    assert caught.value.causes == ("resource.count",)
    nameless = workspace(namespace) | {"inference": {"preset": {}}}
    with pytest.raises(InvalidObject, match="Required value"):
        real_api.create(WORKSPACE, nameless)


def test_columns_of_a_workspace(
    real_cluster: RealCluster, real_api: KubernetesClientApi, namespace: str
) -> None:
    real_api.create(WORKSPACE, workspace(namespace, instanceType="Standard_NC6s_v3"))
    condition = {
        "type": "ResourceReady",
        "status": "True",
        "reason": "Ready",
        "message": "all there",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"status": {"conditions": [condition], "targetNodeCount": 2, "state": "Pending"}}
    real_api.patch(WORKSPACE, "one", namespace, status, subresource="status")
    path = f"/apis/kaito.sh/v1beta1/namespaces/{namespace}/workspaces/one"
    row = row_of(real_cluster, path)
    assert list(row) == [
        "Name",
        "Instance",
        "ResourceReady",
        "InferenceReady",
        "JobStarted",
        "WorkspaceReady",
        "Age",
    ]
    assert (row["Instance"], row["ResourceReady"]) == ("Standard_NC6s_v3", "True")
    wide = row_of(real_cluster, path, wide=True)
    assert (wide["TargetNodeCount"], wide["State"]) == (2, "Pending")


def test_columns_of_a_machine(
    real_cluster: RealCluster, real_api: KubernetesClientApi, namespace: str
) -> None:
    requirement = {
        "key": labels.INSTANCE_TYPE,
        "operator": "In",
        "values": ["Standard_NC6s_v3"],
    }
    placed = {labels.ZONE: "westus3-1", labels.CAPACITY_TYPE: labels.CAPACITY_ON_DEMAND}
    meta = {"name": namespace, "labels": placed}
    real_api.create(NODE_CLAIM, {"metadata": meta, "spec": {"requirements": [requirement]}})
    status = {"nodeName": "aks-node-1", "conditions": [{"type": "Ready", "status": "Unknown"}]}
    real_api.patch(NODE_CLAIM, namespace, None, {"status": status}, subresource="status")
    row = row_of(real_cluster, f"/apis/karpenter.sh/v1/nodeclaims/{namespace}")
    real_api.delete(NODE_CLAIM, namespace)
    assert list(row) == ["Name", "Type", "Capacity", "Zone", "Node", "Ready", "Age"]
    shown = (row["Type"], row["Capacity"], row["Zone"], row["Node"], row["Ready"])
    assert shown == ("Standard_NC6s_v3", "on-demand", "westus3-1", "aks-node-1", "Unknown")
