"""The `KubeApi` contract on the twin's object store, with its controllers."""

import itertools
from collections.abc import Callable

import pytest

from kaito.adapters.fake.garbage_collector import GarbageCollector
from kaito.adapters.fake.namespaces import NamespaceController
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import CONFIG_MAP, NAMESPACE
from tests.contract.kube_api_contract import KubeApiContract
from tests.contract.kube_api_world import World

HISTORY = 50
START_S = 1_800_000_000.0
_STEPS = 20


class TestObjectStore(KubeApiContract):
    @pytest.fixture
    def world(self) -> World:
        clock_s = START_S
        numbers = itertools.count(1)
        store = ObjectStore(
            now_s=lambda: clock_s,
            new_uid=lambda: f"00000000-0000-4000-8000-{next(numbers):012x}",
            history=HISTORY,
        )
        woken: list[str] = []
        components = (
            GarbageCollector(store, wake=lambda: woken.append("garbage collector")),
            NamespaceController(store, wake=lambda: woken.append("namespaces")),
        )

        def settle(until: Callable[[], bool] | None = None) -> None:
            nonlocal clock_s
            for _ in range(_STEPS):
                del woken[:]
                due = [component.step(clock_s) for component in components]
                waits = [moment for moment in due if moment is not None]
                if not woken and not waits:
                    return
                if not woken:
                    clock_s = min(waits)

        def forget_history() -> None:
            for index in range(HISTORY + 1):
                patch = {"data": {"filler": str(index)}}
                store.patch(CONFIG_MAP, "filler", "default", patch)

        store.create(NAMESPACE, {"metadata": {"name": "test"}})
        store.create(CONFIG_MAP, {"metadata": {"name": "filler", "namespace": "default"}})
        settle()
        return World(
            api=store,
            namespace="test",
            settle=settle,
            pause=lambda: None,
            forget_history=forget_history,
        )
