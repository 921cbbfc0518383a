"""Custom resources in a store that has their definitions."""

import itertools
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.crds import node_claim_crd, workspace_crd
from kaito.adapters.kube_api import (
    NODE_CLAIM,
    WORKSPACE,
    WORKSPACE_V1ALPHA1,
    InvalidObject,
    Resource,
)

RESOURCE = {"labelSelector": {"matchLabels": {"apps": "x"}}}


@pytest.fixture
def store() -> ObjectStore:
    numbers = itertools.count(1)
    return ObjectStore(
        now_s=lambda: 1_800_000_000.0,
        new_uid=lambda: f"uid-{next(numbers)}",
        crds=(workspace_crd(), node_claim_crd()),
    )


def workspace(**parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": "one", "namespace": "default"}, "resource": RESOURCE, **parts}


def causes(store: ObjectStore, resource: Resource, body: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(InvalidObject) as caught:
        store.create(resource, body)
    assert caught.value.code == 422
    return caught.value.causes


def test_unknown_fields_are_pruned(store: ObjectStore) -> None:
    odd = {**RESOURCE, "odd": 1}
    body = workspace(resource=odd, odd={"a": 1}, inference={"template": {"own": {"deep": 1}}})
    body["metadata"]["odd"] = 1
    created = store.create(WORKSPACE, body)
    assert created["resource"] == RESOURCE
    assert created["inference"] == {"template": {"own": {"deep": 1}}}
    assert "odd" not in created
    assert "odd" not in created["metadata"]


def test_a_pruned_change_is_no_write(store: ObjectStore) -> None:
    created = store.create(WORKSPACE, workspace())
    assert store.patch(WORKSPACE, "one", "default", {"odd": 1}) is created


def test_the_schema_is_held_against_writes(store: ObjectStore) -> None:
    assert causes(store, WORKSPACE, workspace(resource=None)) == ("resource",)
    wrong = workspace(resource={**RESOURCE, "count": 0}, inference={"config": 7})
    wrong["metadata"]["name"] = "Upper"
    assert causes(store, WORKSPACE, wrong) == (
        "metadata.name",
        "resource.count",
        "inference.config",
    )
    assert causes(store, NODE_CLAIM, {"metadata": {"name": "one"}, "spec": []}) == ("spec",)
    created = store.create(WORKSPACE, workspace())
    condition = {"status": {"conditions": [{"type": "A", "status": "Maybe"}]}}
    with pytest.raises(InvalidObject) as caught:
        store.patch(WORKSPACE, "one", "default", condition, subresource="status")
    assert "status.conditions[0].status" in caught.value.causes
    assert "status.conditions[0].reason" in caught.value.causes
    assert store.get(WORKSPACE, "one", "default") is created


def test_another_kind_is_all_there_is_to_say(store: ObjectStore) -> None:
    body = workspace(kind="Else", resource={})
    body["metadata"]["name"] = "Upper"
    assert causes(store, WORKSPACE, body) == ("kind",)


def test_metadata_of_a_wrong_type(store: ObjectStore) -> None:
    body = workspace()
    body["metadata"]["labels"] = "text"
    with pytest.raises(InvalidObject) as caught:
        store.create(WORKSPACE, body)
    assert caught.value.code == 400


def test_a_patch_needs_the_version(store: ObjectStore) -> None:
    store.create(WORKSPACE, workspace())
    with pytest.raises(InvalidObject) as caught:
        store.patch(WORKSPACE, "one", "default", {"metadata": {"resourceVersion": None}})
    assert caught.value.causes == ("metadata.resourceVersion",)


class TestOlderVersion:
    def test_its_defaults_are_filled_in(self, store: ObjectStore) -> None:
        created = store.create(WORKSPACE_V1ALPHA1, workspace())
        assert created["resource"]["instanceType"] == "Standard_NC24ads_A100_v4"
        assert (
            "instanceType"
            not in store.create(
                WORKSPACE, workspace(metadata={"name": "two", "namespace": "default"})
            )["resource"]
        )

    def test_it_shows_only_what_it_knows(self, store: ObjectStore) -> None:
        partition = {"partition": {"mode": "mig"}}
        created = store.create(WORKSPACE, workspace(resource={**RESOURCE, **partition}))
        version = created["metadata"]["resourceVersion"]
        status = {"state": "Ready", "workerNodes": ["a"]}
        store.patch(WORKSPACE, "one", "default", {"status": status}, subresource="status")
        watch = store.watch(WORKSPACE_V1ALPHA1, resource_version=version)
        shown = store.get(WORKSPACE_V1ALPHA1, "one", "default")
        assert shown["apiVersion"] == "kaito.sh/v1alpha1"
        assert shown["resource"] == RESOURCE
        assert shown["status"] == {"workerNodes": ["a"]}
        assert store.list(WORKSPACE_V1ALPHA1).items == (shown,)
        assert [event.object for event in watch.poll()] == [shown]
        assert store.get(WORKSPACE, "one", "default")["status"] == status

    def test_a_write_through_it_loses_the_rest(self, store: ObjectStore) -> None:
        partition = {"partition": {"mode": "mig"}}
        store.create(WORKSPACE, workspace(resource={**RESOURCE, **partition}))
        labelled = {"metadata": {"labels": {"a": "b"}}}
        store.patch(WORKSPACE_V1ALPHA1, "one", "default", labelled)
        stored = store.get(WORKSPACE, "one", "default")
        assert stored["apiVersion"] == "kaito.sh/v1beta1"
        assert "partition" not in stored["resource"]
