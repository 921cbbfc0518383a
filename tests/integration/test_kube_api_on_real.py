"""The `KubeApi` contract on a real API server, through the official client."""

import time
from collections.abc import Callable

import pytest

from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.kube_api import CONFIG_MAP, EVENT, Gone, name_of
from tests.contract.kube_api_contract import KubeApiContract
from tests.contract.kube_api_world import World, metadata_of
from tests.integration.conftest import RealCluster, eventually

CONTROLLERS_ACT_WITHIN_S = 20.0
NOTHING_HAPPENS_FOR_S = 1.0
PAUSE_S = 0.05


@pytest.mark.usefixtures("free_form_crds")
class TestRealApiServer(KubeApiContract):
    @pytest.fixture
    def world(
        self, real_cluster: RealCluster, real_api: KubernetesClientApi, namespace: str
    ) -> World:
        plane = real_cluster.plane

        def settle(until: Callable[[], bool] | None = None) -> None:
            if not real_cluster.collects_garbage:
                pytest.skip("no kube-controller-manager beside the API server: nothing collects")
            if until is None:
                time.sleep(NOTHING_HAPPENS_FOR_S)
            else:
                eventually(until, CONTROLLERS_ACT_WITHIN_S)

        def forget_history() -> None:
            assert plane is not None
            for _ in range(2):  # what comes right after a version is still told
                meta = {"generateName": "newer-", "namespace": namespace}
                real_api.create(CONFIG_MAP, {"metadata": meta})
            plane.compact()

        return World(
            api=real_api,
            namespace=namespace,
            settle=settle,
            pause=lambda: time.sleep(PAUSE_S),
            forget_history=forget_history if plane is not None else None,
        )

    def test_version_too_old(self, world: World) -> None:
        """As the contract's, with Events, which the API server keeps no window of; and without the
        slow watch: the client takes events from the server whether they are polled or not."""
        if world.forget_history is None:
            pytest.skip("this API cannot be made to forget")

        def happened(name: str) -> str:
            involved = {"kind": "Pod", "name": name, "namespace": world.namespace}
            event = world.api.create(EVENT, world.body(EVENT, name, involvedObject=involved))
            version: str = metadata_of(event)["resourceVersion"]
            return version

        old = happened("one")
        world.forget_history()
        with pytest.raises(Gone):
            world.events(world.api.watch(EVENT, world.namespace, resource_version=old), 1)
        listed = world.api.list(EVENT, world.namespace)
        fresh = world.api.watch(EVENT, world.namespace, resource_version=listed.resource_version)
        happened("two")
        assert [name_of(event.object) for event in world.events(fresh, 1)] == ["two"]
