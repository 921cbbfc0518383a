from itertools import count
from typing import Any

import pytest

from kaito.adapters.fake.node_heartbeat import LEASE_NAMESPACE, NodeHeartbeat
from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.kube_api import (
    LEASE,
    NAMESPACE,
    NODE,
    ObjectNotFound,
    ServerUnavailable,
    condition_of,
    is_true,
    name_of,
)
from tests.unit.adapters.fake.cluster import EPOCH_S, Loop


class Shaky(ObjectStore):
    """A store that may be out of reach for writes."""

    away = False

    def patch(self, *args: Any, **more: Any) -> Any:
        if self.away:
            raise ServerUnavailable("away")
        return super().patch(*args, **more)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def api(loop: Loop) -> Shaky:
    uids = count(1)
    store = Shaky(
        now_s=lambda: loop.now_s,
        new_uid=lambda: f"uid-{next(uids)}",
        resources=(*SERVED, LEASE),
    )
    store.create(NAMESPACE, {"metadata": {"name": LEASE_NAMESPACE}})
    heartbeat = NodeHeartbeat(
        store, loop.waker(), serves=lambda node: name_of(node).startswith("ours")
    )
    loop.add(heartbeat.step)
    return store


def add_node(api: ObjectStore, name: str, ready: str = "True") -> None:
    conditions = [
        {"type": "MemoryPressure", "status": "False"},
        {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]
    api.create(NODE, {"metadata": {"name": name}, "status": {"conditions": conditions}})


def renewed(api: ObjectStore, name: str) -> str:
    return str(api.get(LEASE, name, LEASE_NAMESPACE)["spec"]["renewTime"])


def test_the_lease_of_every_own_node_is_renewed_in_time(api: Shaky, loop: Loop) -> None:
    add_node(api, "ours-0")
    add_node(api, "theirs")
    loop.run(25)
    lease = api.get(LEASE, "ours-0", LEASE_NAMESPACE)
    assert lease["spec"]["holderIdentity"] == "ours-0"
    assert lease["spec"]["leaseDurationSeconds"] == 40
    assert (
        lease["metadata"]["ownerReferences"][0]["uid"]
        == (api.get(NODE, "ours-0")["metadata"]["uid"])
    )
    assert renewed(api, "ours-0") == "2026-01-01T00:00:20.000000Z"
    with pytest.raises(ObjectNotFound):
        api.get(LEASE, "theirs", LEASE_NAMESPACE)


def test_a_renewal_that_failed_is_repeated_soon(api: Shaky, loop: Loop) -> None:
    add_node(api, "ours-0")
    loop.run(9.5)
    api.away = True
    loop.run(3)
    api.away = False
    loop.run(1)
    assert renewed(api, "ours-0") > "2026-01-01T00:00:12"


def test_a_node_that_was_called_unreachable_says_that_it_is_ready(api: Shaky, loop: Loop) -> None:
    add_node(api, "ours-0")
    loop.run(1)
    unknown = [
        {"type": "MemoryPressure", "status": "False"},
        {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"},
    ]
    api.patch(NODE, "ours-0", None, {"status": {"conditions": unknown}}, subresource="status")
    loop.run(1)
    node = api.get(NODE, "ours-0")
    assert is_true(node, "Ready")
    pressure = condition_of(node, "MemoryPressure")
    assert pressure is not None
    assert pressure["status"] == "False"


def test_a_node_that_is_gone_is_forgotten(api: Shaky, loop: Loop) -> None:
    add_node(api, "ours-0")
    loop.run(1)
    api.delete(NODE, "ours-0")
    api.delete(LEASE, "ours-0", LEASE_NAMESPACE)
    loop.run(60)
    assert not api.list(LEASE).items
    assert loop.now_s == EPOCH_S + 61
