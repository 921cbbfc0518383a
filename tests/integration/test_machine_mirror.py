"""`--mirror-machines` on a real API server: the shipped component and its rights, and kubectl.

The tests run in order and share one cluster: first it has no Machines.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.k8s.client_configuration import load_configuration
from kaito.adapters.k8s.machine_mirror import MachineMirror
from kaito.adapters.kube_api import NAMESPACE as NAMESPACES
from kaito.adapters.kube_api import NODE_CLAIM
from tests.contract.kube_api_world import World
from tests.contract.machine_mirror_contract import MachineMirrorContract, MirrorWorld
from tests.integration import conftest
from tests.integration.control_plane import find_binaries
from tests.integration.installation import (
    BIN,
    COMMAND_LIMIT_S,
    MISSING_WORKLOADS,
    NAMESPACE,
    OPERATOR,
    ROOT,
    Installation,
    eventually,
    workspace,
    writes,
)

COLLECTED_WITHIN_S = 90.0  # the collector looks for new kinds every 30 s
NOTHING_HAPPENS_FOR_S = 1.0

CHANGE = {"op": "remove", "path": "/spec/taints"}
READY = {
    "nodeName": "aks-node-1",
    "providerID": "azure:///aks-node-1",
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ],
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    binaries = find_binaries()
    if binaries is None or not binaries.run_workloads:
        conftest.missing_backend(MISSING_WORKLOADS)
    installed = Installation.on(binaries, tmp_path_factory.mktemp("machine-mirror"))
    try:
        yield installed
    finally:
        installed.close()


def only(cluster: Installation, *what: str) -> dict[str, Any]:
    (found,) = cluster.get(*what)
    return found


def rows(cluster: Installation, *how: str) -> list[list[str]]:
    """What `kubectl get machines` prints, split at blanks."""
    printed = cluster.kubectl("get", "machines", *how)
    return [line.split() for line in printed.splitlines()]


def test_without_the_definition_the_operator_says_how_to_have_it(cluster: Installation) -> None:
    access = cluster.service_account(OPERATOR)
    done = subprocess.run(
        [BIN / "kaito", "operator", "run", "--mirror-machines", "--kubeconfig", access],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_LIMIT_S,
        cwd=ROOT,
    )
    assert done.returncode == 2, done.stderr
    # Rights come first: the server tells nobody without them what it serves.
    assert "--mirror-machines: " in done.stderr
    assert "deploy/components/machine-mirror" in done.stderr
    admin = cluster.plane.kubeconfig
    done = subprocess.run(
        [BIN / "kaito", "operator", "run", "--mirror-machines", "--kubeconfig", admin],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMMAND_LIMIT_S,
        cwd=ROOT,
    )
    assert done.returncode == 2, done.stderr
    assert "the cluster has no Machine of karpenter.sh/v1alpha5" in done.stderr
    assert "kaito crds --machine-mirror | kubectl apply -f -" in done.stderr


def test_the_component_brings_all_that_it_takes(cluster: Installation, tmp_path: Path) -> None:
    (tmp_path / "kaito").symlink_to(ROOT)
    mine = tmp_path / "mine"
    mine.mkdir()
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../kaito/deploy/overlays/kubernetes-1.20"],
        "components": ["../kaito/deploy/components/machine-mirror"],
    }
    (mine / "kustomization.yaml").write_text(json.dumps(kustomization))
    cluster.kubectl("apply", "-k", str(mine))
    cluster.kubectl("wait", "--for=condition=Established", "crd/machines.karpenter.sh")
    running = cluster.operator("--lease-namespace", NAMESPACE, "--mirror-machines")
    eventually(lambda: running.get("/readyz") == "leading", "the operator leads")

    cluster.apply(workspace("phi"))
    eventually(lambda: len(rows(cluster)) == 2, "a Machine is there")
    claim = only(cluster, "nodeclaims")
    name = claim["metadata"]["name"]
    placed = {
        "node.kubernetes.io/instance-type": "Standard_NV36ads_A10_v5",
        "topology.kubernetes.io/zone": "eastus-1",
        "karpenter.sh/capacity-type": "on-demand",
    }
    patch = json.dumps({"metadata": {"labels": placed}})
    cluster.kubectl("patch", "nodeclaim", name, "--type=merge", "-p", patch)
    api = KubernetesClientApi(load_configuration(cluster.plane.kubeconfig))
    api.patch(NODE_CLAIM, name, None, {"status": READY}, subresource="status")
    api.close()

    def machine() -> dict[str, Any]:
        return only(cluster, "machines")

    eventually(lambda: "nodeName" in machine().get("status", {}), "it has its claim's status")
    header, row = rows(cluster)
    assert header == ["NAME", "TYPE", "ZONE", "NODE", "READY", "AGE"]
    assert row[:-1] == [name, "Standard_NV36ads_A10_v5", "eastus-1", "aks-node-1", "True"]
    header, row = rows(cluster, "-o", "wide")
    assert header[6:] == ["CAPACITY", "PROVISIONER", "TEMPLATE"]
    assert row[6:] == ["on-demand", "default", "default"]
    chosen = rows(cluster, "-l", "karpenter.sh/provisioner-name=default,kaito.sh/workspace=phi")
    assert len(chosen) == 2

    shown = machine()
    cluster.kubectl("patch", "machine", name, "--type=json", "-p", json.dumps([CHANGE]))
    eventually(lambda: machine()["spec"] == shown["spec"], "an edit is put back")
    cluster.kubectl("delete", "machine", name)
    eventually(lambda: len(rows(cluster)) == 2, "it comes back")
    eventually(lambda: machine().get("status") == shown["status"], "with its status")

    made = [
        (each["verb"], each["objectRef"].get("subresource", ""))
        for each in writes(cluster.requests_of(OPERATOR))
        if each["objectRef"]["resource"] == "machines"
    ]
    followed = [("create", ""), ("update", ""), ("update", "status")]
    assert made == [*followed, ("update", ""), ("create", ""), ("update", "status")]

    cluster.kubectl("delete", "workspace", "phi", "--wait=false")
    eventually(
        lambda: "deletionTimestamp" in only(cluster, "nodeclaims")["metadata"],
        "the claim is given back",
    )
    gone = json.dumps({"metadata": {"finalizers": None}})
    cluster.kubectl("patch", "nodeclaim", name, "--type=merge", "-p", gone)
    eventually(lambda: rows(cluster) == [], "it is collected", COLLECTED_WITHIN_S)
    assert running.stop() == 0


@pytest.fixture
def world(cluster: Installation) -> Iterator[MirrorWorld]:
    """Behind the test above, which has installed the definition."""

    def settle(until: Callable[[], bool] | None = None) -> None:
        if until is None:
            time.sleep(NOTHING_HAPPENS_FOR_S)
        else:
            conftest.eventually(until, COLLECTED_WITHIN_S)

    api = KubernetesClientApi(load_configuration(cluster.plane.kubeconfig))
    name = f"mirror-{os.urandom(4).hex()}"
    api.create(NAMESPACES, {"metadata": {"name": name}})
    kube = World(api=api, namespace=name, settle=settle, pause=lambda: None, forget_history=None)
    yield MirrorWorld(kube=kube, mirror=MachineMirror(api))
    api.close()


class TestMachineMirror(MachineMirrorContract):
    """All of it."""
