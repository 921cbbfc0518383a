"""What the store refuses in built-in kinds: class, code and the fields at fault."""

import itertools
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    JOB,
    NODE,
    POD,
    SERVICE,
    STATEFUL_SET,
    InvalidObject,
    Resource,
)

CONTAINER = {"name": "main", "image": "registry.test/main:1"}
POD_SPEC = {"containers": [CONTAINER]}
TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": POD_SPEC}
SET = {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}
WORK = {"template": {"spec": {**POD_SPEC, "restartPolicy": "Never"}}}
PORTS = [{"port": 80}]


@pytest.fixture
def store() -> ObjectStore:
    numbers = itertools.count(1)
    return ObjectStore(now_s=lambda: 1_800_000_000.0, new_uid=lambda: f"uid-{next(numbers)}")


def body(resource: Resource, **parts: Any) -> dict[str, Any]:
    where = {"namespace": "default"} if resource.namespaced else {}
    return {"metadata": {"name": "one", **where}, **parts}


@pytest.mark.parametrize(
    ("resource", "parts", "fields"),
    [
        (CONFIG_MAP, {"data": {"a b": "c"}}, {"data[a b]"}),
        (CONFIG_MAP, {"data": {"a": "1"}, "binaryData": {"a": "AA=="}}, {"data[a]"}),
        (POD, {"spec": {}}, {"spec.containers"}),
        (POD, {"spec": {"containers": [CONTAINER] * 2}}, {"spec.containers[1].name"}),
        (
            POD,
            {"spec": {"containers": [{"name": "Not Valid"}]}},
            {"spec.containers[0].name", "spec.containers[0].image"},
        ),
        (POD, {"spec": {**POD_SPEC, "restartPolicy": "Maybe"}}, {"spec.restartPolicy"}),
        (SERVICE, {"spec": {"ports": PORTS, "type": "Odd"}}, {"spec.type"}),
        (
            SERVICE,
            {"spec": {"ports": [{"port": 0}]}},
            {"spec.ports[0].port", "spec.ports[0].targetPort"},
        ),
        (SERVICE, {"spec": {"ports": [{"port": 1, "protocol": "X"}]}}, {"spec.ports[0].protocol"}),
        (SERVICE, {"spec": {"ports": PORTS, "clusterIP": "here"}}, {"spec.clusterIPs[0]"}),
        (STATEFUL_SET, {"spec": {**SET, "replicas": -1}}, {"spec.replicas"}),
        (
            STATEFUL_SET,
            {"spec": {**SET, "podManagementPolicy": "Odd"}},
            {"spec.podManagementPolicy"},
        ),
        (
            STATEFUL_SET,
            {"spec": {**SET, "updateStrategy": {"type": "Odd"}}},
            {"spec.updateStrategy"},
        ),
        (JOB, {"spec": {**WORK, "parallelism": -1}}, {"spec.parallelism"}),
        (JOB, {"spec": {**WORK, "backoffLimit": -1}}, {"spec.backoffLimit"}),
        (
            NODE,
            {"spec": {"taints": [{"key": "a b", "effect": "Odd"}]}},
            {"metadata.taints[0].key", "metadata.taints[0].effect"},
        ),
    ],
)
def test_what_cannot_be_created(
    store: ObjectStore, resource: Resource, parts: dict[str, Any], fields: set[str]
) -> None:
    with pytest.raises(InvalidObject) as caught:
        store.create(resource, body(resource, **parts))
    assert (caught.value.code, set(caught.value.causes)) == (422, fields)


def test_every_problem_is_told_at_once(store: ObjectStore) -> None:
    wrong = body(STATEFUL_SET, spec={**SET, "replicas": -1})
    wrong["metadata"].update(labels={"a b": "c"}, finalizers=["not qualified"])
    with pytest.raises(InvalidObject) as caught:
        store.create(STATEFUL_SET, wrong)
    assert set(caught.value.causes) == {
        "metadata.labels",
        "metadata.finalizers",
        "metadata.finalizers[0]",
        "spec.replicas",
    }


@pytest.mark.parametrize(
    ("resource", "parts"),
    [
        (CONFIG_MAP, {"data": "text"}),
        (CONFIG_MAP, {"data": {"a": 1}}),
        (CONFIG_MAP, {"binaryData": {"a": "not base64!"}}),
        (POD, {"spec": {"containers": {}}}),
        (SERVICE, {"spec": {"ports": "80"}}),
        (JOB, {"spec": {"template": []}}),
        (NODE, {"spec": {"unschedulable": "yes"}}),
    ],
)
def test_what_cannot_be_decoded(
    store: ObjectStore, resource: Resource, parts: dict[str, Any]
) -> None:
    with pytest.raises(InvalidObject) as caught:
        store.create(resource, body(resource, **parts))
    assert caught.value.code == 400


def test_a_patch_whose_result_cannot_be_decoded(store: ObjectStore) -> None:
    store.create(CONFIG_MAP, body(CONFIG_MAP))
    for patch in ({"data": "text"}, {"kind": "Else"}, {"metadata": {"labels": 1}}):
        with pytest.raises(InvalidObject) as caught:
            store.patch(CONFIG_MAP, "one", "default", patch)
        assert (caught.value.code, caught.value.causes) == (422, ("patch",))


def test_a_config_map_has_no_other_fields(store: ObjectStore) -> None:
    created = store.create(CONFIG_MAP, body(CONFIG_MAP, data={"a": "b"}, odd=1, spec={}))
    assert set(created) == {"apiVersion", "kind", "metadata", "data"}


def changed(
    store: ObjectStore, resource: Resource, parts: dict[str, Any], patch: dict[str, Any]
) -> set[str]:
    """The causes of refusing the change."""
    store.create(resource, body(resource, **parts))
    namespace = "default" if resource.namespaced else None
    with pytest.raises(InvalidObject) as caught:
        store.patch(resource, "one", namespace, patch)
    return set(caught.value.causes)


def test_an_immutable_config_map_stays(store: ObjectStore) -> None:
    parts = {"data": {"a": "1"}, "immutable": True}
    patch = {"data": {"a": "2"}, "immutable": None}
    assert changed(store, CONFIG_MAP, parts, patch) == {"data", "immutable"}
    store.patch(CONFIG_MAP, "one", "default", {"metadata": {"labels": {"a": "b"}}})


@pytest.mark.parametrize(
    ("patch", "fields"),
    [
        ({"tolerations": [{"key": "only"}]}, {"spec.tolerations"}),
        ({"containers": [CONTAINER, {**CONTAINER, "name": "b"}]}, {"spec.containers"}),
        ({"activeDeadlineSeconds": 90}, {"spec.activeDeadlineSeconds"}),
        ({"activeDeadlineSeconds": None}, {"spec.activeDeadlineSeconds"}),
        ({"hostname": "a", "activeDeadlineSeconds": -1}, {"spec", "spec.activeDeadlineSeconds"}),
    ],
)
def test_what_may_not_change_in_a_pod(
    store: ObjectStore, patch: dict[str, Any], fields: set[str]
) -> None:
    tolerations = [{"key": "sku", "operator": "Exists"}]
    spec = {**POD_SPEC, "activeDeadlineSeconds": 60, "tolerations": tolerations}
    assert changed(store, POD, {"spec": spec}, {"spec": patch}) == fields


def test_what_may_change_in_a_pod(store: ObjectStore) -> None:
    store.create(POD, body(POD, spec={**POD_SPEC, "activeDeadlineSeconds": 60}))
    patched = store.patch(POD, "one", "default", {"spec": {"activeDeadlineSeconds": 30}})
    longer = [{**one, "tolerationSeconds": 600} for one in patched["spec"]["tolerations"]]
    tolerations = [*longer, {"key": "more", "operator": "Exists"}]
    patched = store.patch(POD, "one", "default", {"spec": {"tolerations": tolerations}})
    assert patched["spec"]["tolerations"] == tolerations


@pytest.mark.parametrize(
    ("patch", "fields"),
    [
        ({"providerID": "azure:///two"}, {"spec.providerID", "[]"}),
        ({"podCIDR": "10.2.0.0/24"}, {"spec.podCIDRs"}),
        ({"externalID": "a"}, {"[]"}),
    ],
)
def test_what_may_not_change_in_a_node(
    store: ObjectStore, patch: dict[str, Any], fields: set[str]
) -> None:
    spec = {"providerID": "azure:///one", "podCIDR": "10.1.0.0/24"}
    assert changed(store, NODE, {"spec": spec}, {"spec": patch}) == fields


def test_a_node_may_get_what_it_lacks(store: ObjectStore) -> None:
    store.create(NODE, body(NODE))
    patch = {
        "spec": {"providerID": "azure:///one", "podCIDR": "10.1.0.0/24", "unschedulable": True}
    }
    spec = store.patch(NODE, "one", None, patch)["spec"]
    assert (spec["providerID"], spec["podCIDRs"]) == ("azure:///one", ["10.1.0.0/24"])


@pytest.mark.parametrize(
    ("resource", "spec", "status", "fields"),
    [
        (STATEFUL_SET, SET, {"replicas": -1}, {"status.replicas"}),
        (STATEFUL_SET, SET, {"replicas": 1, "readyReplicas": 2}, {"status.readyReplicas"}),
        (JOB, WORK, {"failed": -1}, {"status.failed"}),
    ],
)
def test_counts_that_cannot_be(
    store: ObjectStore,
    resource: Resource,
    spec: dict[str, Any],
    status: dict[str, Any],
    fields: set[str],
) -> None:
    store.create(resource, body(resource, spec=spec))
    with pytest.raises(InvalidObject) as caught:
        store.patch(resource, "one", "default", {"status": status}, subresource="status")
    assert fields <= set(caught.value.causes)
    assert all(cause.startswith("status.") for cause in caught.value.causes)
