"""The two servers that a differential test compares, and what it may do to each."""

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from kaito.adapters.fake.garbage_collector import GarbageCollector
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NAMESPACE,
    NODE_CLAIM,
    POD,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    ObjectNotFound,
    Resource,
    name_of,
)
from tests.integration.conftest import eventually
from tests.integration.control_plane import ControlPlane
from tests.integration.differential.side import is_gone, put_marker
from tests.integration.differential.steps import KINDS

_START_S = 1_800_000_000.0
_STEPS = 100
_PAUSE_S = 0.01
_COLLECTS_WITHIN_S = 20.0
_COLLECTED = (CONFIG_MAP, WORKSPACE, NODE_CLAIM, POD, STATEFUL_SET)


class Twin:
    """A fresh object store with these CRDs, and the garbage collector."""

    def __init__(self, crds: Sequence[KubeObject], namespaces: Iterable[str]) -> None:
        self._now_s = _START_S
        numbers = itertools.count(1)
        self.api = ObjectStore(
            now_s=lambda: self._now_s,
            new_uid=lambda: f"00000000-0000-4000-8000-{next(numbers):012x}",
            crds=crds,
        )
        self._woken = False
        self._collector = GarbageCollector(self.api, wake=self._wake)
        for name in namespaces:
            self.api.create(NAMESPACE, {"metadata": {"name": name}})
        self.settle()

    def compact(self) -> None:
        self.api.compact()

    def pause(self) -> None:
        self._now_s += 1.0

    def settle(self) -> None:
        for _ in range(_STEPS):
            self._woken = False
            due_s = self._collector.step(self._now_s)
            if not self._woken and due_s is None:
                return
            self._now_s = max(self._now_s, due_s or self._now_s)
        raise AssertionError("the twin's garbage collector does not come to rest")

    def _wake(self) -> None:
        self._woken = True


@dataclass
class Real:
    """A real API server with its controllers, of which the test has two namespaces."""

    api: KubernetesClientApi
    plane: ControlPlane
    home: str
    other: str
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def compact(self) -> None:
        self.plane.compact()

    def pause(self) -> None:
        time.sleep(_PAUSE_S)

    def settle(self) -> None:
        """Wait until the collector has seen everything so far: it tells the changes of a kind in
        order, so once it has collected a marker, it knows what was written before that."""
        number = next(self._numbers)
        markers = []
        for resource in _COLLECTED:
            name = f"{self.home}-zz-marker-{number}"
            owner = {"apiVersion": "v1", "kind": "Node", "name": "nobody"}
            owner["uid"] = f"00000000-0000-4000-8001-{number:012x}"
            put_marker(self.api, resource, name, self.home, ownerReferences=[owner])
            markers.append((resource, name, self.home if resource.namespaced else None))

        def all_gone() -> bool:
            return all(is_gone(self.api, *marker) for marker in markers)

        assert eventually(all_gone, _COLLECTS_WITHIN_S), "the garbage collector is stuck"

    def clear(self) -> None:
        """Remove what programs left."""
        for kind, resource in KINDS.items():
            if "/" in kind:
                continue
            for namespace in (self.home, self.other) if resource.namespaced else (None,):
                for obj in self.api.list(resource, namespace).items:
                    if namespace or name_of(obj).startswith(f"{self.home}-"):
                        self._remove(resource, obj, namespace)

    def _remove(self, resource: Resource, obj: KubeObject, namespace: str | None) -> None:
        name = name_of(obj)
        with suppress(ObjectNotFound):  # the garbage collector may be quicker
            if obj["metadata"].get("finalizers"):
                patch = {"metadata": {"finalizers": None, "ownerReferences": None}}
                self.api.patch(resource, name, namespace, patch)
            self.api.delete(resource, name, namespace, grace_period_s=0)
