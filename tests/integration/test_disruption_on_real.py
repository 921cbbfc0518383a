"""PodDisruptionBudgets on a real API server, whose disruption controller runs beside it."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from kaito.adapters.fake.disruption import POD_DISRUPTION_BUDGET
from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.k8s.client_configuration import load_configuration
from kaito.adapters.kube_api import NAMESPACE
from tests.contract.disruption_contract import DisruptionContract, DisruptionWorld
from tests.contract.kube_api_world import World
from tests.integration.conftest import SERVICE_ACCOUNT, eventually, exists, missing_backend
from tests.integration.control_plane import LEAST_CONTROLLERS, ControlPlane, find_binaries
from tests.integration.installation import MISSING_WORKLOADS

CONTROLLERS_ACT_WITHIN_S = 20.0
NOTHING_HAPPENS_FOR_S = 1.0


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    binaries = find_binaries()
    if binaries is None or binaries.controller_manager is None:
        missing_backend(MISSING_WORKLOADS)
    plane = ControlPlane(
        binaries=binaries,
        directory=tmp_path_factory.mktemp("disruption"),
        controllers=f"{LEAST_CONTROLLERS},disruption",
    )
    try:
        plane.start()
        plane.start_controllers()
        yield plane
    finally:
        plane.stop()


@pytest.fixture
def world(plane: ControlPlane) -> Iterator[DisruptionWorld]:
    api = KubernetesClientApi(load_configuration(plane.kubeconfig))
    name = f"disruption-{os.urandom(4).hex()}"
    api.create(NAMESPACE, {"metadata": {"name": name}})
    assert eventually(lambda: _takes_pods(api, name))

    def settle(until: Callable[[], bool] | None = None) -> None:
        if until is None:
            time.sleep(NOTHING_HAPPENS_FOR_S)
        else:
            eventually(until, CONTROLLERS_ACT_WITHIN_S)

    kube = World(api=api, namespace=name, settle=settle, pause=lambda: None, forget_history=None)
    # Kubernetes before 1.21 has the version before.
    version = "v1" if plane.minor_version >= 21 else "v1beta1"
    yield DisruptionWorld(kube=kube, budgets=replace(POD_DISRUPTION_BUDGET, version=version))
    api.close()


def _takes_pods(api: KubernetesClientApi, namespace: str) -> bool:
    """Whether a controller has made the account that a pod needs."""
    if not exists(api, SERVICE_ACCOUNT, "default", namespace):
        return False
    return bool(api.get(SERVICE_ACCOUNT, "default", namespace).get("secrets"))


class TestDisruption(DisruptionContract):
    """All of it."""
