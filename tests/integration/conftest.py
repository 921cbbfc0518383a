"""The real API server that these tests run on, and what they need in it.

KUBECONFIG with KAITO_TEST_CLUSTER=1: that cluster (1.24 or newer), which should be one to throw
away: kaito's CRDs are replaced in it. Else KUBEBUILDER_ASSETS, else what `hack/envtest.sh build`
made: etcd and the API server are started for the run, on loopback, and stopped after it.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.k8s.client_configuration import load_configuration
from kaito.adapters.kube_api import (
    NAMESPACE,
    WORKSPACE,
    KubeApiError,
    KubeObject,
    ObjectNotFound,
    Resource,
    condition_of,
    is_true,
    name_of,
    thaw,
)
from tests.integration.control_plane import ControlPlane, find_binaries

CRD = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
)
SERVICE_ACCOUNT = Resource(group="", version="v1", kind="ServiceAccount", plural="serviceaccounts")
ROOT = Path(__file__).parents[2]
MISSING = (
    "no Kubernetes API server: run `hack/envtest.sh build` (Debian with root; six minutes, once),"
    " or set KUBEBUILDER_ASSETS to a folder with kube-apiserver and etcd, or set KUBECONFIG and"
    " KAITO_TEST_CLUSTER=1 to use a cluster that may be spoilt"
)

_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RealCluster:
    """An API server with kaito's CRDs in it. `plane` is None when it is somebody else's."""

    kubeconfig: Path | None
    plane: ControlPlane | None
    collects_garbage: bool
    numbers: Iterator[int] = field(default_factory=count)

    def connect(self, **settings: Any) -> KubernetesClientApi:
        """A client of an administrator."""
        return KubernetesClientApi(load_configuration(self.kubeconfig), **settings)


def eventually(holds: Callable[[], bool], limit_s: float = _LIMIT_S) -> bool:
    """Whether it holds before the time is over."""
    until_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > until_s:
            return False
        time.sleep(0.05)
    return True


def missing_backend(what: str) -> NoReturn:
    """Skip for want of `what`; in CI, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI skips nothing: {what}", pytrace=False)
    pytest.skip(what)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was skipped and why, each reason once."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]) for report in reports)
    for reason, number in sorted(reasons.items()):
        terminalreporter.write_line(f"SKIPPED {number}: {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealCluster]:
    if os.environ.get("KUBECONFIG") and os.environ.get("KAITO_TEST_CLUSTER") == "1":
        cluster = RealCluster(kubeconfig=None, plane=None, collects_garbage=True)
        with_crds(cluster)
        yield cluster
        return
    binaries = find_binaries()
    if binaries is None:
        missing_backend(MISSING)
    plane = ControlPlane(binaries=binaries, directory=tmp_path_factory.mktemp("control-plane"))
    cluster = RealCluster(
        kubeconfig=plane.kubeconfig,
        plane=plane,
        collects_garbage=binaries.controller_manager is not None,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        try:
            plane.start()
            with_crds(cluster)
            plane.start_controllers()
            yield cluster
        finally:
            plane.stop()


@pytest.fixture(scope="session")
def real_api(real_cluster: RealCluster) -> Iterator[KubernetesClientApi]:
    """A real API server with kaito's CRDs, through the client that production uses."""
    api = real_cluster.connect()
    yield api
    api.close()


@pytest.fixture
def namespace(real_cluster: RealCluster, real_api: KubernetesClientApi) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{os.getpid()}-{next(real_cluster.numbers)}"
    real_api.create(NAMESPACE, {"metadata": {"name": name}})
    if real_cluster.collects_garbage:
        assert eventually(lambda: _takes_pods(real_cluster, real_api, name))
    yield name
    real_api.delete(NAMESPACE, name)


@pytest.fixture(scope="module")
def free_form_crds(real_api: KubernetesClientApi) -> Iterator[None]:
    """The kinds of kaito's CRDs without their schemas: any field, nothing required."""
    shipped = shipped_crds()
    for crd in shipped:
        free = thaw(crd)
        for version in free["spec"]["versions"]:
            version["schema"] = {
                "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            }
        put_crd(real_api, free)
    assert eventually(lambda: _takes(real_api, {"spec": {"free": True}}))
    yield
    for crd in shipped:
        put_crd(real_api, crd)
    assert eventually(lambda: not _takes(real_api, {"spec": {"free": True}}))


def shipped_crds() -> list[dict[str, Any]]:
    """What deploy/crds holds."""
    files = sorted((ROOT / "deploy" / "crds").glob("*.yaml"))
    return [yaml.safe_load(file.read_text(encoding="utf-8")) for file in files]


def with_crds(cluster: RealCluster) -> None:
    """Apply deploy/crds and wait until the server serves them."""
    api = cluster.connect()
    for crd in shipped_crds():
        put_crd(api, crd)
    api.close()


def put_crd(api: KubernetesClientApi, crd: dict[str, Any]) -> None:
    """Create or replace a CRD; the server accepts it and serves it."""
    name = name_of(crd)
    if exists(api, CRD, name):
        version = api.get(CRD, name)["metadata"]["resourceVersion"]
        metadata = {**crd["metadata"], "resourceVersion": version}
        api.replace(CRD, {**crd, "metadata": metadata})
    else:
        api.create(CRD, crd)
    assert eventually(lambda: is_true(api.get(CRD, name), "Established"))
    complaint = condition_of(api.get(CRD, name), "NonStructuralSchema")
    assert complaint is None, complaint


def exists(
    api: KubernetesClientApi, resource: Resource, name: str, namespace: str | None = None
) -> bool:
    try:
        api.get(resource, name, namespace)
    except ObjectNotFound:
        return False
    return True


def _takes_pods(cluster: RealCluster, api: KubernetesClientApi, namespace: str) -> bool:
    """Whether a controller has made the account, before 1.24 with a token, that a pod needs."""
    if not exists(api, SERVICE_ACCOUNT, "default", namespace):
        return False
    if cluster.plane is None or cluster.plane.minor_version >= 24:
        return True
    return bool(api.get(SERVICE_ACCOUNT, "default", namespace).get("secrets"))


def _takes(api: KubernetesClientApi, fields: dict[str, Any]) -> bool:
    """Whether a Workspace may have any fields at all."""
    body: KubeObject = {"metadata": {"name": "probe", "namespace": "default"}, **fields}
    try:
        stored = api.create(WORKSPACE, body)
    except KubeApiError:
        return False
    api.delete(WORKSPACE, "probe", "default")
    return all(key in stored for key in fields)
