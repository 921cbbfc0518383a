"""The garbage collector where faults, circles and warnings come in; the rest is the contract's."""

import itertools
from typing import Any

import pytest

from kaito.adapters.fake.admission import Operation
from kaito.adapters.fake.garbage_collector import GarbageCollector
from kaito.adapters.fake.namespaces import NamespaceController
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    EVENT,
    NAMESPACE,
    NODE_CLAIM,
    WORKSPACE,
    Forbidden,
    KubeObject,
    Resource,
    ServerUnavailable,
    name_of,
)
from tests.contract.kube_api_world import owner_reference


class Flaky(ObjectStore):
    """A store whose deletes and lists fail while `down`."""

    down = False

    def delete(self, *args: Any, **kwargs: Any) -> None:
        if self.down:
            raise ServerUnavailable("down")
        super().delete(*args, **kwargs)


def new_store(kind: type[ObjectStore] = ObjectStore, **options: Any) -> ObjectStore:
    numbers = itertools.count(1)
    return kind(now_s=lambda: 1_800_000_000.0, new_uid=lambda: f"uid-{next(numbers)}", **options)


def config_map(store: ObjectStore, name: str, *owners: KubeObject, blocks: bool = False) -> None:
    references = [owner_reference(owner, blocks=blocks) for owner in owners]
    meta = {"name": name, "namespace": "default", "ownerReferences": references}
    store.create(CONFIG_MAP, {"metadata": meta})


def workspace(store: ObjectStore, name: str) -> KubeObject:
    return store.create(WORKSPACE, {"metadata": {"name": name, "namespace": "default"}})


def names(store: ObjectStore, resource: Resource = CONFIG_MAP) -> list[str]:
    return [name_of(obj) for obj in store.list(resource).items]


def test_it_is_woken_and_then_done() -> None:
    store, woken = new_store(), []
    collector = GarbageCollector(store, wake=lambda: woken.append(1))
    assert collector.step(0.0) is None
    config_map(store, "dependent", workspace(store, "owner"))
    collector.step(0.0)
    del woken[:]
    store.delete(WORKSPACE, "owner", "default")
    assert woken
    assert collector.step(0.0) is None
    assert names(store) == []


def test_a_failed_delete_is_tried_again() -> None:
    store = new_store(Flaky)
    assert isinstance(store, Flaky)
    collector = GarbageCollector(store, wake=lambda: None)
    config_map(store, "dependent", workspace(store, "owner"))
    store.delete(WORKSPACE, "owner", "default")
    store.down = True
    again_s = collector.step(100.0)
    assert again_s is not None
    assert again_s > 100.0
    store.down = False
    assert collector.step(again_s) is None
    assert names(store) == []


def test_it_recovers_from_a_forgotten_history() -> None:
    store = new_store(history=5)
    collector = GarbageCollector(store, wake=lambda: None)
    collector.step(0.0)
    owner = workspace(store, "owner")
    for index in range(20):
        config_map(store, f"c{index}", owner)
    store.delete(WORKSPACE, "owner", "default")
    collector.step(0.0)
    assert names(store) == []


def test_a_dependent_that_ceases_to_block_frees_its_owner() -> None:
    store = new_store()
    collector = GarbageCollector(store, wake=lambda: None)
    owner = workspace(store, "owner")
    meta = {"name": "held", "namespace": "default", "finalizers": ["kaito.sh/held"]}
    references = [owner_reference(owner, blocks=True)]
    store.create(CONFIG_MAP, {"metadata": {**meta, "ownerReferences": references}})
    store.delete(WORKSPACE, "owner", "default", propagation="Foreground")
    collector.step(0.0)
    assert names(store, WORKSPACE) == ["owner"]
    patch = {"metadata": {"ownerReferences": [owner_reference(owner)]}}
    store.patch(CONFIG_MAP, "held", "default", patch)
    collector.step(0.0)
    assert names(store, WORKSPACE) == []


def test_a_circle_of_foreground_deletions_ends() -> None:
    store = new_store()
    collector = GarbageCollector(store, wake=lambda: None)
    config_map(store, "a")
    a = store.get(CONFIG_MAP, "a", "default")
    config_map(store, "b", a, blocks=True)
    b = store.get(CONFIG_MAP, "b", "default")
    patch = {"metadata": {"ownerReferences": [owner_reference(b, blocks=True)]}}
    store.patch(CONFIG_MAP, "a", "default", patch)
    collector.step(0.0)
    store.delete(CONFIG_MAP, "a", "default", propagation="Foreground")
    for moment in range(10):
        collector.step(float(moment))
    assert names(store) == []


def test_references_that_lead_nowhere_are_warned_of() -> None:
    store = new_store()
    store.create(NAMESPACE, {"metadata": {"name": "elsewhere"}})
    owner = store.create(WORKSPACE, {"metadata": {"name": "owner", "namespace": "elsewhere"}})
    meta = {"name": "claim", "ownerReferences": [owner_reference(owner)]}
    store.create(NODE_CLAIM, {"metadata": meta})
    config_map(store, "dependent", owner)
    collector = GarbageCollector(store, wake=lambda: None)
    collector.step(0.0)
    assert names(store, NODE_CLAIM) == ["claim"]
    assert names(store) == []
    warnings = store.list(EVENT, "default").items
    assert {event["reason"] for event in warnings} == {"OwnerRefInvalidNamespace"}
    assert sorted(event["involvedObject"]["name"] for event in warnings) == ["claim", "dependent"]


def test_an_owner_of_a_kind_nobody_knows_is_left_alone() -> None:
    store = new_store()
    owner = workspace(store, "owner")
    reference = owner_reference(owner, apiVersion="unknown.test/v1", kind="Thing")
    meta = {"name": "dependent", "namespace": "default", "ownerReferences": [reference]}
    store.create(CONFIG_MAP, {"metadata": meta})
    GarbageCollector(store, wake=lambda: None).step(0.0)
    assert names(store) == ["dependent"]


def test_collected_things_cost_what_changed() -> None:
    class Counting(ObjectStore):
        lists = 0

        def list(self, *args: Any, **kwargs: Any) -> Any:
            self.lists += 1
            return super().list(*args, **kwargs)

    store = new_store(Counting)
    assert isinstance(store, Counting)
    collector = GarbageCollector(store, wake=lambda: None)
    collector.step(0.0)
    store.lists = 0
    for index in range(10):
        config_map(store, "dependent", workspace(store, f"owner{index}"))
        store.delete(WORKSPACE, f"owner{index}", "default")
        collector.step(0.0)
    assert names(store) == []
    assert store.lists == 1  # the test's own


def test_namespace_that_may_not_be_emptied_is_tried_again() -> None:
    refusing = True

    def admit(
        operation: Operation, _resource: Resource, _new: KubeObject | None, old: KubeObject | None
    ) -> None:
        if refusing and operation == "DELETE" and old is not None and name_of(old) == "kept":
            raise Forbidden("not now")

    store = new_store(admission=[admit])
    controller = NamespaceController(store, wake=lambda: None)
    store.create(NAMESPACE, {"metadata": {"name": "one"}})
    store.create(CONFIG_MAP, {"metadata": {"name": "kept", "namespace": "one"}})
    store.delete(NAMESPACE, "one")
    assert controller.step(10.0) == pytest.approx(11.0)
    assert names(store) == ["kept"]
    refusing = False
    assert controller.step(11.0) is None
    assert names(store, NAMESPACE) == ["default", "kube-system"]
