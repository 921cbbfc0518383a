"""The operator's threads, on a store in the same process and the real clock."""

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.files import load_catalogue
from kaito.adapters.k8s.controller import Controller, Key
from kaito.adapters.k8s.runner import Runner
from kaito.adapters.kube_api import NODE_CLAIM, WORKSPACE, ObjectNotFound
from kaito.bootstrap import kubernetes_ports
from kaito.domain.catalogue import Catalogue
from kaito.domain.machine import CloudMachine, MachineOrder
from kaito.reconcile import Outcome
from kaito.system_clock import SystemClock

WAIT_S = 10.0
PAUSE_S = 0.01


class SoldOutCloud:
    """A cloud that takes orders and never delivers."""

    def __init__(self) -> None:
        self.ordered: list[str] = []

    def launch(self, order: MachineOrder) -> None:
        self.ordered.append(order.name)

    def terminate(self, cloud_name: str) -> None:
        """Nothing was delivered."""

    def list_machines(self, claim_name: str | None = None) -> list[CloudMachine]:
        return []


class LockedStore:
    """A store that several threads may use at once, as they may a real API server."""

    def __init__(self, inner: ObjectStore) -> None:
        self._inner = inner
        self._lock = threading.RLock()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        def locked(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                return call(*args, **kwargs)

        return locked


@pytest.fixture
def store() -> Any:
    uids = (f"00000000-0000-4000-8000-{number:012d}" for number in itertools.count())
    return LockedStore(ObjectStore(now_s=SystemClock().now_s, new_uid=lambda: next(uids)))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def rounds() -> list[tuple[Key, Outcome]]:
    return []


@pytest.fixture
def runner(store: Any, catalogue: Catalogue, rounds: list[tuple[Key, Outcome]]) -> Iterator[Runner]:
    clock = SystemClock()
    cloud = SoldOutCloud()
    ports = kubernetes_ports(store, live=store, cloud=cloud, clock=clock, catalogue=catalogue)

    def make(wake: Callable[[], None]) -> Controller:
        return Controller(store, ports, wake)

    running = Runner(make, clock, on_round=lambda key, outcome, _s: rounds.append((key, outcome)))
    running.start()
    yield running
    assert running.stop(WAIT_S), "every worker ended"


def workspace(name: str) -> dict[str, object]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": "default"},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
    }


def eventually(check: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(WAIT_S / PAUSE_S)):
        if check():
            return
        pause.wait(PAUSE_S)
    pytest.fail("it did not come true in time")


def test_a_new_workspace_gets_its_machine_recorded(store: Any, runner: Runner) -> None:
    store.create(WORKSPACE, workspace("one"))
    eventually(lambda: len(store.list(NODE_CLAIM).items) == 1)


def test_a_deleted_workspace_is_released(store: Any, runner: Runner) -> None:
    store.create(WORKSPACE, workspace("one"))
    eventually(lambda: len(store.list(NODE_CLAIM).items) == 1)
    store.delete(WORKSPACE, "one", "default")

    def is_gone() -> bool:
        try:
            store.get(WORKSPACE, "one", "default")
        except ObjectNotFound:
            return not store.list(NODE_CLAIM).items
        return False

    # Releases are looked at again every 15 s; a nudge stands for the time that passes.
    for claim in store.list(NODE_CLAIM).items:
        store.patch(
            NODE_CLAIM, claim["metadata"]["name"], None, {"metadata": {"labels": {"x": "y"}}}
        )
    eventually(is_gone)


def test_many_at_once_are_worked_on_one_round_per_key_at_a_time(
    store: Any, runner: Runner, rounds: list[tuple[Key, Outcome]]
) -> None:
    for number in range(20):
        store.create(WORKSPACE, workspace(f"model-{number}"))
    eventually(lambda: len(store.list(NODE_CLAIM).items) == 20)
    assert {key.name for key, _ in rounds} >= {f"model-{number}" for number in range(20)}
