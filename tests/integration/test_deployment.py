"""deploy/ on a real API server, by real kubectl: accepted, stable, and with the rights it says.

The CRDs are shared with other tests: they are applied and stay.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import RealCluster
from tests.kustomize import KUBECTL, NAMESPACE, OVERLAYS, Object, of_kind, overlay

LIMIT_S = 120
OPERATOR = f"system:serviceaccount:{NAMESPACE}:kaito-operator"
WEBHOOK = f"system:serviceaccount:{NAMESPACE}:kaito-webhook"
SHARED = {"CustomResourceDefinition"}


@dataclass(frozen=True, slots=True)
class Kubectl:
    """An administrator's kubectl."""

    cluster: RealCluster
    home: Path

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        kubeconfig = self.cluster.kubeconfig
        access = [f"--kubeconfig={kubeconfig}"] if kubeconfig else []
        return subprocess.run(
            [KUBECTL, *access, *arguments],
            input=stdin,
            env=os.environ | {"HOME": str(self.home)},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def prints(self, *arguments: str, stdin: str = "") -> list[str]:
        """The lines that a command which must succeed prints."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stdout.splitlines()

    def may(self, account: str, verb: str, resource: str, *where: str) -> bool:
        """Whether the server's RBAC lets a service account do this."""
        done = self.run("auth", "can-i", verb, resource, f"--as={account}", *where)
        assert done.stdout.strip() in {"yes", "no"}, done.stderr
        return done.stdout.strip() == "yes"


@pytest.fixture
def kubectl(real_cluster: RealCluster, tmp_path: Path) -> Kubectl:
    return Kubectl(real_cluster, tmp_path)


@pytest.fixture
def applied(
    request: pytest.FixtureRequest, kubectl: Kubectl, real_cluster: RealCluster
) -> Iterator[tuple[str, Sequence[Object]]]:
    """An overlay that has been applied: its name and its manifests."""
    manifests = servable(kubectl, overlay(request.param))
    own = as_list([each for each in manifests if each["kind"] not in SHARED])
    try:
        kubectl.prints("apply", "-f", "-", stdin=as_list(manifests))
        yield request.param, manifests
    finally:
        wait = str(real_cluster.collects_garbage).lower()
        kubectl.prints("delete", "--ignore-not-found", f"--wait={wait}", "-f", "-", stdin=own)


def servable(kubectl: Kubectl, manifests: Sequence[Object]) -> list[Object]:
    """The manifests as the server can take them: the overlay for 1.20 says what it cannot."""
    served = set(kubectl.prints("api-versions"))
    old = of_kind(overlay("kubernetes-1.20"), *SHARED)
    new = of_kind(overlay("byo"), *SHARED)  # which has no NodeClaims
    current = [*old, *new] if "policy/v1" in served else old
    shared = {each["metadata"]["name"]: each for each in current}
    found = [
        shared[each["metadata"]["name"]] if each["kind"] in SHARED else each
        for each in manifests
        if each["apiVersion"] in served
    ]
    left_out = {each["kind"] for each in manifests} - {each["kind"] for each in found}
    assert left_out <= {"PodDisruptionBudget"}
    return found


def as_list(manifests: Sequence[Object]) -> str:
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    return json.dumps(body)


every_overlay = pytest.mark.parametrize("applied", OVERLAYS, indirect=True)


@every_overlay
def test_applying_it_again_changes_nothing(
    applied: tuple[str, Sequence[Object]], kubectl: Kubectl
) -> None:
    _, manifests = applied
    lines = kubectl.prints("apply", "-f", "-", stdin=as_list(manifests))
    assert len(lines) == len(manifests)
    assert [line for line in lines if not line.endswith(" unchanged")] == []


def test_the_overlay_for_1_20_needs_nothing_newer(kubectl: Kubectl) -> None:
    if "policy/v1" in kubectl.prints("api-versions"):
        pytest.skip("the server is newer than 1.20")
    manifests = overlay("kubernetes-1.20")
    assert servable(kubectl, manifests) == list(manifests)


@pytest.mark.parametrize("applied", ["kubernetes-1.20"], indirect=True)
def test_the_operator_may_do_its_work_and_no_more(
    applied: tuple[str, Sequence[Object]], kubectl: Kubectl
) -> None:
    everywhere = "--all-namespaces"
    assert kubectl.may(OPERATOR, "watch", "workspaces.kaito.sh", everywhere)
    status = "--subresource=status"
    assert kubectl.may(OPERATOR, "update", "workspaces.kaito.sh", status, everywhere)
    assert kubectl.may(OPERATOR, "create", "nodeclaims.karpenter.sh")
    assert kubectl.may(OPERATOR, "delete", "statefulsets.apps", everywhere)
    assert kubectl.may(OPERATOR, "create", "leases.coordination.k8s.io", "-n", NAMESPACE)
    assert kubectl.may(OPERATOR, "update", "leases/kaito-operator", "-n", NAMESPACE)

    assert not kubectl.may(OPERATOR, "update", "leases/another", "-n", NAMESPACE)
    assert not kubectl.may(OPERATOR, "update", "leases/kaito-operator", "-n", "kube-system")
    assert not kubectl.may(OPERATOR, "get", "secrets", "-n", NAMESPACE)
    assert not kubectl.may(OPERATOR, "create", "pods", everywhere)
    assert not kubectl.may(OPERATOR, "delete", "nodes")
    assert not kubectl.may(OPERATOR, "update", "nodes", status)
    assert not kubectl.may(OPERATOR, "delete", "workspaces.kaito.sh", everywhere)
    assert not kubectl.may(WEBHOOK, "get", "workspaces.kaito.sh", everywhere)


@pytest.mark.parametrize("applied", ["single-namespace"], indirect=True)
def test_one_namespace_means_rights_in_one_namespace(
    applied: tuple[str, Sequence[Object]], kubectl: Kubectl
) -> None:
    for verb, resource in (
        ("watch", "workspaces.kaito.sh"),
        ("list", "pods"),
        ("create", "statefulsets.apps"),
        ("create", "events"),
    ):
        assert kubectl.may(OPERATOR, verb, resource, "-n", "default")
        assert not kubectl.may(OPERATOR, verb, resource, "-n", NAMESPACE)
        assert not kubectl.may(OPERATOR, verb, resource, "--all-namespaces")
    assert kubectl.may(OPERATOR, "list", "nodes")
    assert kubectl.may(OPERATOR, "create", "nodeclaims.karpenter.sh")
