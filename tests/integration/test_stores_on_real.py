"""The contracts of `WorkspaceStore` and `MachineStore` on a real API server."""

import time
from collections.abc import Callable

import pytest

from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.k8s.machine_store import KubeMachineStore
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.system_clock import SystemClock
from tests.contract.kube_api_world import World
from tests.contract.machine_store_contract import MachineStoreContract
from tests.contract.store_world import StoreWorld
from tests.contract.workspace_store_contract import WorkspaceStoreContract
from tests.integration.conftest import RealCluster, eventually

CONTROLLERS_ACT_WITHIN_S = 20.0
NOTHING_HAPPENS_FOR_S = 1.0
PAUSE_S = 0.05


@pytest.fixture
def world(real_cluster: RealCluster, real_api: KubernetesClientApi, namespace: str) -> StoreWorld:
    def settle(until: Callable[[], bool] | None = None) -> None:
        if not real_cluster.collects_garbage:
            pytest.skip("no kube-controller-manager beside the API server: nothing collects")
        if until is None:
            time.sleep(NOTHING_HAPPENS_FOR_S)
        else:
            eventually(until, CONTROLLERS_ACT_WITHIN_S)

    kube = World(
        api=real_api,
        namespace=namespace,
        settle=settle,
        pause=lambda: time.sleep(PAUSE_S),
        forget_history=None,
    )
    clock = SystemClock()
    return StoreWorld(
        kube=kube,
        workspaces=KubeWorkspaceStore(real_api, clock),
        machines=KubeMachineStore(real_api, clock, live=real_api),
        stores_anything=False,
    )


class TestWorkspaceStore(WorkspaceStoreContract):
    """All of it."""


class TestMachineStore(MachineStoreContract):
    """All of it."""
