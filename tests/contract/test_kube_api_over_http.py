"""The `KubeApi` contract on the twin's object store behind HTTP, through the official client."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import pytest

from kaito.adapters.fake.garbage_collector import GarbageCollector
from kaito.adapters.fake.http.endpoint import Endpoint
from kaito.adapters.fake.namespaces import NamespaceController
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.k8s.client_configuration import load_configuration
from kaito.adapters.kube_api import CONFIG_MAP, NAMESPACE
from tests.contract.kube_api_contract import KubeApiContract
from tests.contract.kube_api_world import World

HISTORY = 50
START_S = 1_800_000_000.0
PAUSE_S = 0.03
_STEPS = 20
_LIMIT_S = 30.0

Result = TypeVar("Result")


class ServedStore:
    """A store with its controllers and its endpoint, in an event loop of its own."""

    def __init__(self, kubeconfig: Path) -> None:
        self._clock_s = START_S
        numbers = itertools.count(1)
        self.store = ObjectStore(
            now_s=lambda: self._clock_s,
            new_uid=lambda: f"00000000-0000-4000-8000-{next(numbers):012x}",
            history=HISTORY,
        )
        self._woken: list[str] = []
        self._components = (
            GarbageCollector(self.store, wake=lambda: self._woken.append("garbage collector")),
            NamespaceController(self.store, wake=lambda: self._woken.append("namespaces")),
        )
        self._started: Future[Endpoint] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._run(kubeconfig)), daemon=True
        )
        self._thread.start()
        self._endpoint = self._started.result(_LIMIT_S)

    def call(self, work: Callable[[], Result]) -> Result:
        """Do it in the loop that owns the store."""

        async def do() -> Result:
            return work()

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(_LIMIT_S)

    def settle(self, until: Callable[[], bool] | None = None) -> None:
        """Let the controllers act until nothing is left to do."""
        self.call(self._settle)

    def stop(self) -> None:
        self.call(self._endpoint.stop)
        self._thread.join(_LIMIT_S)
        assert not self._thread.is_alive()

    def _settle(self) -> None:
        for _ in range(_STEPS):
            del self._woken[:]
            due = [component.step(self._clock_s) for component in self._components]
            waits = [moment for moment in due if moment is not None]
            if not self._woken and not waits:
                return
            if not self._woken:
                self._clock_s = min(waits)

    async def _run(self, kubeconfig: Path) -> None:
        self._loop = asyncio.get_running_loop()
        endpoint = Endpoint(
            self.store,
            now_s=lambda: self._clock_s,
            crds=(),
            timeline=lambda _namespace, _name: (),
            host="127.0.0.1",
            port=0,
            catch_up=lambda: None,
            wake=lambda: None,
        )
        endpoint.write_kubeconfig(kubeconfig)
        self._started.set_result(endpoint)
        await endpoint.run()


class TestObjectStoreOverHttp(KubeApiContract):
    @pytest.fixture
    def world(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        kubeconfig = tmp_path / "kubeconfig"
        served = ServedStore(kubeconfig)
        api = KubernetesClientApi(load_configuration(kubeconfig))
        pause = threading.Event()

        def wait_a_moment() -> None:
            pause.wait(PAUSE_S)

        def forget_history() -> None:
            def fill() -> None:
                # In the test's namespace: a stream that misses nothing has nothing to complain of.
                filler = {"metadata": {"name": "filler", "namespace": "test"}}
                served.store.create(CONFIG_MAP, filler)
                for index in range(HISTORY + 1):
                    patch = {"data": {"filler": str(index)}}
                    served.store.patch(CONFIG_MAP, "filler", "test", patch)

            served.call(fill)

        served.call(lambda: served.store.create(NAMESPACE, {"metadata": {"name": "test"}}))
        served.settle()
        yield World(
            api=api,
            namespace="test",
            settle=served.settle,
            pause=wait_a_moment,
            forget_history=forget_history,
        )
        api.close()
        served.stop()
