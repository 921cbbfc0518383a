"""The contracts of `WorkspaceStore` and `MachineStore` on the twin's object store."""

import itertools
from collections.abc import Callable, Sequence

import pytest

from kaito.adapters.fake.faults import Fault, FaultyKubeApi, StaleBy, Verb
from kaito.adapters.fake.garbage_collector import GarbageCollector
from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.k8s.machine_store import KubeMachineStore
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import NAMESPACE, STATEFUL_SET, WORKSPACE, WORKSPACE_V1ALPHA1, Resource
from kaito.domain.cluster_view import WorkloadState
from kaito.domain.errors import Conflict
from tests.contract.kube_api_world import World
from tests.contract.machine_store_contract import MachineStoreContract
from tests.contract.store_world import StoreWorld
from tests.contract.workspace_store_contract import PARTS, WorkspaceStoreContract

START_S = 1_800_000_000.0
_STEPS = 20


class StoppedClock:
    """A `Clock` that stands still."""

    def now_s(self) -> float:
        return START_S


def kube_world(resources: Sequence[Resource] = SERVED) -> World:
    """An object store with a garbage collector, and a namespace in it."""
    numbers = itertools.count(1)
    store = ObjectStore(
        now_s=lambda: START_S,
        new_uid=lambda: f"00000000-0000-4000-8000-{next(numbers):012x}",
        resources=resources,
    )
    woken: list[bool] = [True]
    stored = [each for each in resources if each is not WORKSPACE_V1ALPHA1]
    collector = GarbageCollector(store, wake=lambda: woken.append(True), resources=stored)

    def settle(until: Callable[[], bool] | None = None) -> None:
        for _ in range(_STEPS):
            if not woken:
                return
            del woken[:]
            collector.step(START_S)

    store.create(NAMESPACE, {"metadata": {"name": "test"}})
    return World(
        api=store, namespace="test", settle=settle, pause=lambda: None, forget_history=None
    )


@pytest.fixture
def world() -> StoreWorld:
    kube = kube_world()
    clock = StoppedClock()
    return StoreWorld(
        kube=kube,
        workspaces=KubeWorkspaceStore(kube.api, clock),
        machines=KubeMachineStore(kube.api, clock, live=kube.api),
        stores_anything=True,
    )


class TestWorkspaceStore(WorkspaceStoreContract):
    """All of it, and what a real collector of Kubernetes 1.20 does in its own time."""

    def test_what_an_earlier_workspace_left_behind(self, world: StoreWorld) -> None:
        """It is nobody's who could mind: wait until it is collected."""
        before = world.workspace()
        world.workspaces.apply_workload(world.workload(before), replace=False)
        held = {"metadata": {"finalizers": ["example.com/held"]}}
        world.patch(STATEFUL_SET, "phi", held)
        workload = world.workload(world.again())
        with pytest.raises(Conflict):
            world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).taken == ""
        world.patch(STATEFUL_SET, "phi", {"metadata": {"finalizers": None}})
        for kind, name in PARTS:
            assert world.kube.collected(kind, name)
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME


class TestMachineStore(MachineStoreContract):
    """All of it."""


def test_whether_a_workspace_exists_is_read_past_the_cache() -> None:
    """A machine is bought for nobody when the cache still has the Workspace."""
    kube = kube_world()
    now_s = START_S

    def old_reads(verb: Verb) -> Fault | None:
        return StaleBy(60.0) if verb in {"get", "list"} else None

    cache = FaultyKubeApi(
        kube.api,
        now_s=lambda: now_s,
        choose=old_reads,
        wake=lambda: None,
        remembered=(WORKSPACE,),
    )
    clock = StoppedClock()
    world = StoreWorld(
        kube=kube,
        workspaces=KubeWorkspaceStore(kube.api, clock),
        machines=KubeMachineStore(cache, clock, live=kube.api),
        stores_anything=True,
    )
    uid = world.workspace().workspace.uid
    cache.step(now_s)
    now_s += 30.0
    kube.api.delete(WORKSPACE, "phi", world.namespace)
    cache.step(now_s)
    assert kube.api.list(WORKSPACE, world.namespace).items == ()
    assert not world.machines.workspace_exists(world.namespace, "phi", uid)
    assert KubeWorkspaceStore(cache, clock).read_workspace(world.namespace, "phi") is not None
