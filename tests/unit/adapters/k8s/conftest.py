"""A Kubernetes API in memory, a clock that stands still, and a Workspace in it."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import WORKSPACE, KubeObject
from tests.unit.domain.builders import NOW_S, manifest


@dataclass
class Clock:
    """The domain's `Clock`, moved by hand."""

    seconds: float = NOW_S

    def now_s(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> ObjectStore:
    uids = count(1)
    return ObjectStore(
        now_s=clock.now_s, new_uid=lambda: f"00000000-0000-4000-8000-{next(uids):012d}"
    )


@pytest.fixture
def apply(store: ObjectStore) -> Callable[..., KubeObject]:
    """Create a Workspace; arguments as for `builders.manifest`."""

    def create(**parts: Any) -> KubeObject:
        document = manifest(**parts)
        document["metadata"].setdefault("namespace", "default")
        return store.create(WORKSPACE, document)

    return create
