"""`MachineMirror` on the twin's object store."""

import pytest

from kaito.adapters.fake.store import SERVED
from kaito.adapters.k8s.machine_mirror import MachineMirror
from kaito.adapters.kube_api import MACHINE
from tests.contract.machine_mirror_contract import MachineMirrorContract, MirrorWorld
from tests.contract.test_stores_on_object_store import kube_world


@pytest.fixture
def world() -> MirrorWorld:
    kube = kube_world((*SERVED, MACHINE))
    return MirrorWorld(kube=kube, mirror=MachineMirror(kube.api))


class TestMachineMirror(MachineMirrorContract):
    """All of it."""

    def test_machines_of_other_namespaces_are_not_shown(self, world: MirrorWorld) -> None:
        claim = world.claim()
        elsewhere = MachineMirror(world.kube.api, namespace="elsewhere")
        assert not elsewhere.shows(claim)
        assert MachineMirror(world.kube.api, namespace=world.kube.namespace).shows(claim)
