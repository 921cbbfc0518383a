"""The store beyond the `KubeApi` contract: admission, defaults, sharing, repeatability."""

import copy
import itertools
import json
import pickle
from typing import Any

import pytest

from kaito.adapters.fake.admission import Operation
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    EVENT,
    JOB,
    NAMESPACE,
    NODE,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    WORKSPACE_V1ALPHA1,
    AlreadyExists,
    Forbidden,
    FrozenDict,
    Gone,
    InvalidObject,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    Resource,
    ServerUnavailable,
    name_of,
)

CONTAINER = {"name": "main", "image": "registry.test/main"}


def new_store(**options: Any) -> ObjectStore:
    numbers = itertools.count(1)
    return ObjectStore(
        now_s=lambda: 1_800_000_000.5, new_uid=lambda: f"uid-{next(numbers)}", **options
    )


def body(name: str, **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", **parts.pop("meta", {})}, **parts}


def stateful_set(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [dict(CONTAINER)]}}
    return {"selector": {"matchLabels": {"app": "a"}}, "template": template, **spec}


def test_the_store_is_a_kube_api() -> None:
    api: KubeApi = new_store()
    assert [name_of(each) for each in api.list(NAMESPACE).items] == ["default", "kube-system"]


def test_equal_calls_give_equal_bytes() -> None:
    def run() -> str:
        store = new_store()
        store.create(POD, body("", meta={"generateName": "a-"}, spec={"containers": [CONTAINER]}))
        store.create(SERVICE, body("one", spec={"ports": [{"port": 80}]}))
        return json.dumps([store.list(each).items for each in (NAMESPACE, POD, SERVICE)])

    assert run() == run()


def test_reads_return_the_stored_snapshot_itself() -> None:
    store = new_store()
    created = store.create(WORKSPACE, body("one", spec={"deep": {"a": 1}}))
    assert store.get(WORKSPACE, "one", "default") is created
    assert store.list(WORKSPACE).items[0] is created


def test_a_write_shares_what_it_does_not_change() -> None:
    store = new_store()
    before = store.create(WORKSPACE, body("one", spec={"deep": {"a": [1, {"b": 2}]}, "x": 1}))
    after = store.patch(WORKSPACE, "one", "default", {"spec": {"x": 2}})
    assert after["spec"]["deep"] is before["spec"]["deep"]
    after = store.replace(WORKSPACE, json.loads(json.dumps(after)) | {"new": True})
    assert after["spec"]["deep"] is before["spec"]["deep"]


def test_snapshots_survive_copying_and_pickling() -> None:
    created = new_store().create(WORKSPACE, body("one", spec={"list": [1, {"a": 2}]}))
    for copied in (copy.copy(created), copy.deepcopy(created), pickle.loads(pickle.dumps(created))):
        assert copied == created
        assert isinstance(copied, FrozenDict)
        with pytest.raises(TypeError):
            copied["spec"]["list"].append(3)


def test_admission_sees_and_refuses_writes() -> None:
    seen: list[tuple[str, str, int, int]] = []

    def admit(
        operation: Operation, resource: Resource, new: KubeObject | None, old: KubeObject | None
    ) -> None:
        if resource != WORKSPACE:
            return
        sizes = [obj["spec"]["size"] if obj is not None else 0 for obj in (new, old)]
        seen.append((operation, resource.version, sizes[0], sizes[1]))
        if sizes[0] > 9:
            raise InvalidObject("spec.size: at most 9", causes=["spec.size"])

    store = new_store(admission=[admit])
    store.create(WORKSPACE, body("one", spec={"size": 1}))
    store.patch(WORKSPACE, "one", "default", {"spec": {"size": 2}})
    store.patch(WORKSPACE, "one", "default", {"status": {"a": 1}}, subresource="status")
    with pytest.raises(InvalidObject, match="at most 9"):
        store.patch(WORKSPACE, "one", "default", {"spec": {"size": 10}})
    with pytest.raises(InvalidObject, match="at most 9"):
        store.create(WORKSPACE, body("two", spec={"size": 10}))
    store.delete(WORKSPACE, "one", "default")
    assert seen == [
        ("CREATE", "v1beta1", 1, 0),
        ("UPDATE", "v1beta1", 2, 1),
        ("UPDATE", "v1beta1", 10, 2),
        ("CREATE", "v1beta1", 10, 0),
        ("DELETE", "v1beta1", 0, 2),
    ]
    assert not store.list(WORKSPACE).items


def test_refused_writes_change_nothing() -> None:
    store = new_store()
    store.create(SERVICE, body("one", spec={"ports": [{"port": 80}]}))
    version = store.resource_version
    bad: list[tuple[Resource, dict[str, Any]]] = [
        (SERVICE, body("two", spec={})),
        (SERVICE, body("two", spec={"ports": [{"port": 80}], "clusterIP": "10.0.0.10"})),
        (SERVICE, body("two", spec={"ports": [{"port": 80}], "clusterIP": "192.168.0.1"})),
        (SERVICE, body("two", spec={"ports": [{"port": 80}, {"port": 81}]})),
        (STATEFUL_SET, body("two", spec=stateful_set(selector={"matchLabels": {"app": "b"}}))),
        (STATEFUL_SET, body("two", spec={"template": stateful_set()["template"]})),
        (JOB, body("two", spec={"template": {"spec": {"containers": [CONTAINER]}}})),
        (POD, body("two", spec={"containers": [{"name": "main"}]})),
        (SECRET, body("two", data={"key": "not base64!"})),
        (EVENT, body("two", involvedObject={"kind": "Pod", "namespace": "elsewhere"})),
        (CONFIG_MAP, body("two", meta={"finalizers": ["unqualified"]})),
        (CONFIG_MAP, body("two", meta={"ownerReferences": [{"kind": "Pod", "name": "a"}]})),
        (CONFIG_MAP, {"metadata": {"name": "two"}}),
        (CONFIG_MAP, body("two", meta={"resourceVersion": "1"})),
    ]
    for resource, manifest in bad:
        with pytest.raises(InvalidObject):
            store.create(resource, manifest)
    assert store.resource_version == version
    with pytest.raises(AlreadyExists):
        store.create(SERVICE, body("one", spec={"ports": [{"port": 80}]}))
    two = store.create(SERVICE, body("two", spec={"ports": [{"port": 80}]}))
    assert two["spec"]["clusterIP"] == "10.0.0.11"


def test_unknown_resources_and_versions_are_not_served() -> None:
    store = new_store(resources=[CONFIG_MAP])
    with pytest.raises(ObjectNotFound, match="could not find the requested resource"):
        store.list(POD)
    assert store.resources == (NAMESPACE, CONFIG_MAP)


def test_watch_of_a_version_from_the_future() -> None:
    store = new_store()
    with pytest.raises(ServerUnavailable) as caught:
        store.watch(CONFIG_MAP, resource_version="99")
    assert caught.value.code == 504


def test_watch_without_a_version_begins_with_what_there_is() -> None:
    store = new_store()
    for name in ("b", "a"):
        store.create(CONFIG_MAP, body(name))
    calls: list[int] = []
    watch = store.watch(CONFIG_MAP, resource_version="0", wake=lambda: calls.append(1))
    assert calls == [1]
    assert [name_of(event.object) for event in watch.poll()] == ["a", "b"]


def test_watch_wakes_once_until_it_is_polled() -> None:
    store = new_store()
    calls: list[int] = []
    watch = store.watch(
        CONFIG_MAP, "default", resource_version=store.resource_version, wake=lambda: calls.append(1)
    )
    for name in ("a", "b"):
        store.create(CONFIG_MAP, body(name))
    elsewhere = {"metadata": {"name": "c", "namespace": "kube-system"}}
    assert len(calls) == 1
    assert len(watch.poll()) == 2
    store.create(CONFIG_MAP, elsewhere)
    assert len(calls) == 1


def test_stateful_set_defaults() -> None:
    store = new_store()
    spec = store.create(STATEFUL_SET, body("one", spec=stateful_set(serviceName="one")))["spec"]
    assert spec["replicas"] == 1
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["revisionHistoryLimit"] == 10
    assert spec["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Always"
    assert pod["terminationGracePeriodSeconds"] == 30
    assert pod["schedulerName"] == "default-scheduler"
    (container,) = pod["containers"]
    assert container["imagePullPolicy"] == "Always"
    assert container["terminationMessagePath"] == "/dev/termination-log"


def test_the_same_manifest_again_is_no_write() -> None:
    store = new_store()
    container = {
        **CONTAINER,
        "env": [{"name": "EMPTY", "value": ""}],
        "args": [],
        "resources": {"limits": {"memory": "1024Mi", "nvidia.com/gpu": 1, "cpu": "0.5"}},
        "readinessProbe": {"httpGet": {"port": 80}},
    }
    spec = stateful_set(serviceName="one")
    spec["template"]["spec"] = {"containers": [container], "nodeSelector": {}, "tolerations": None}
    first = store.create(STATEFUL_SET, body("one", spec=spec))
    limits = first["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"memory": "1Gi", "nvidia.com/gpu": "1", "cpu": "500m"}
    assert store.replace(STATEFUL_SET, body("one", spec=spec)) is first
    ports = {"ports": [{"port": 80}], "type": "LoadBalancer"}
    service = store.create(SERVICE, body("one", spec=ports))
    assert service["spec"]["ports"][0]["nodePort"] == 30000
    assert store.replace(SERVICE, body("one", spec=ports)) is service


def test_job_gets_its_selector_and_labels() -> None:
    store = new_store()
    template = {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}
    job = store.create(JOB, body("one", spec={"template": template}))
    assert (job["spec"]["completions"], job["spec"]["parallelism"]) == (1, 1)
    assert job["spec"]["backoffLimit"] == 6
    labels = job["spec"]["template"]["metadata"]["labels"]
    wanted = job["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= labels.items()
    assert labels["job-name"] == "one"
    assert labels["controller-uid"] == job["metadata"]["uid"]
    assert job["metadata"]["labels"] == labels  # it has none of its own
    meta = {"labels": {"mine": "1"}}
    assert store.create(JOB, body("two", meta=meta, spec={"template": template}))["metadata"][
        "labels"
    ] == {"mine": "1"}
    unlabelled = {"metadata": {"labels": None}}
    again = store.patch(JOB, "two", "default", unlabelled)
    assert again["metadata"]["labels"]["job-name"] == "two"


def test_pod_defaults_and_quality_of_service() -> None:
    store = new_store()
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}}
    pods = {
        name: store.create(POD, body(name, spec={"containers": [{**CONTAINER, **parts}]}))
        for name, parts in {
            "none": {},
            "full": {"resources": limits},
            "some": {"resources": {"requests": {"cpu": "1"}}},
        }.items()
    }
    classes = {name: pod["status"]["qosClass"] for name, pod in pods.items()}
    assert classes == {"none": "BestEffort", "full": "Guaranteed", "some": "Burstable"}
    spec = pods["full"]["spec"]
    assert spec["containers"][0]["resources"]["requests"] == limits["limits"]
    assert [each["tolerationSeconds"] for each in spec["tolerations"]] == [300, 300]


def test_a_pod_is_bound_once() -> None:
    store = new_store()
    store.create(POD, body("one", spec={"containers": [CONTAINER]}))
    store.patch(POD, "one", "default", {"spec": {"nodeName": "node-1"}})
    with pytest.raises(InvalidObject):
        store.patch(POD, "one", "default", {"spec": {"nodeName": "node-2"}})
    image = [{"op": "replace", "path": "/spec/containers/0/image", "value": "other:2"}]
    pod = store.patch(POD, "one", "default", image, patch_type="json")
    assert pod["spec"]["nodeName"] == "node-1"


def test_a_finished_pod_goes_at_once() -> None:
    store = new_store()
    store.create(POD, body("one", spec={"containers": [CONTAINER], "nodeName": "node-1"}))
    patch = {"status": {"phase": "Succeeded"}}
    store.patch(POD, "one", "default", patch, subresource="status")
    store.delete(POD, "one", "default")
    assert not store.list(POD).items


def test_only_a_terminating_namespace_can_be_finalized() -> None:
    store = new_store()
    with pytest.raises(ObjectConflict):
        store.finalize_namespace("default")
    store.create(NAMESPACE, {"metadata": {"name": "one", "finalizers": ["kaito.sh/a"]}})
    store.delete(NAMESPACE, "one")
    with pytest.raises(Forbidden):
        store.create(CONFIG_MAP, {"metadata": {"name": "a", "namespace": "one"}})
    store.finalize_namespace("one")
    assert store.get(NAMESPACE, "one")["spec"].get("finalizers", []) == []
    store.patch(NAMESPACE, "one", None, {"metadata": {"finalizers": None}})
    with pytest.raises(ObjectNotFound):
        store.get(NAMESPACE, "one")


def test_service_addresses_are_given_back() -> None:
    store = new_store()
    wanted = {"ports": [{"port": 80}], "clusterIP": "10.0.7.7"}
    store.create(SERVICE, body("one", spec=wanted))
    with pytest.raises(InvalidObject, match="already allocated"):
        store.create(SERVICE, body("two", spec=wanted))
    store.delete(SERVICE, "one", "default")
    two = store.create(SERVICE, body("two", spec=wanted))
    assert two["spec"]["clusterIPs"] == ["10.0.7.7"]


def test_a_taken_service_address_is_passed_over() -> None:
    store = new_store()
    ports = [{"port": 80}]
    store.create(SERVICE, body("one", spec={"ports": ports, "clusterIP": "10.0.0.10"}))
    two = store.create(SERVICE, body("two", spec={"ports": ports}))
    assert two["spec"]["clusterIP"] == "10.0.0.11"


def test_a_body_that_is_passed_in_is_not_changed() -> None:
    store = new_store()
    manifest = body("one", resource={"count": 1}, spec={"ports": [{"port": 80}]})
    before = copy.deepcopy(manifest)
    for resource in (WORKSPACE, WORKSPACE_V1ALPHA1, SERVICE):
        store.create(resource, {**manifest, "metadata": {**manifest["metadata"], "name": "x"}})
        store.delete(resource, "x", "default")
    assert manifest == before


def test_counts_of_zero_are_left_out_of_a_status() -> None:
    store = new_store()
    store.create(STATEFUL_SET, body("one", spec=stateful_set()))
    status = {"status": {"replicas": 1, "readyReplicas": 0, "updatedReplicas": 1}}
    patched = store.patch(STATEFUL_SET, "one", "default", status, subresource="status")
    assert patched["status"] == {"replicas": 1, "availableReplicas": 0, "updatedReplicas": 1}


def test_compaction_up_to_a_version_keeps_what_came_after() -> None:
    store = new_store()
    versions = [
        store.create(CONFIG_MAP, body(name))["metadata"]["resourceVersion"] for name in "abcd"
    ]
    idle, slow = (store.watch(CONFIG_MAP, resource_version=versions[at]) for at in (3, 0))
    store.compact(versions[1])
    store.compact(versions[0])  # what is forgotten stays so
    with pytest.raises(Gone):
        slow.poll()
    later = store.watch(CONFIG_MAP, resource_version=versions[1])
    assert [name_of(event.object) for event in later.poll()] == ["c", "d"]
    store.create(CONFIG_MAP, body("e"))
    for watch in (idle, later):
        assert [name_of(event.object) for event in watch.poll()] == ["e"]


def test_a_label_that_was_never_asked_for_finds_what_is_there_and_what_comes() -> None:
    store = new_store()
    for name, value in (("a", "x"), ("b", "y"), ("c", "x")):
        store.create(CONFIG_MAP, body(name, meta={"labels": {"team": value, "tier": "one"}}))

    def found(**labels: str) -> list[str]:
        return [name_of(obj) for obj in store.list(CONFIG_MAP, labels=labels).items]

    assert found(team="x") == ["a", "c"]
    assert found(team="x", tier="one") == ["a", "c"]
    assert found(team="x", tier="two") == []
    store.patch(CONFIG_MAP, "a", "default", {"metadata": {"labels": {"team": "y"}}})
    store.delete(CONFIG_MAP, "b", "default")
    store.create(CONFIG_MAP, body("d", meta={"labels": {"team": "y"}}))
    assert found(team="x") == ["c"]
    assert found(team="y") == ["a", "d"]


def test_compaction_forgets_every_version_but_the_newest() -> None:
    store = new_store()
    first = store.create(CONFIG_MAP, body("a"))["metadata"]["resourceVersion"]
    store.create(CONFIG_MAP, body("b"))
    page = store.list(CONFIG_MAP, limit=1)
    slow, quick = (store.watch(CONFIG_MAP, resource_version=first) for _ in range(2))
    assert len(quick.poll()) == 1
    other = store.create(SECRET, body("a"))["metadata"]["resourceVersion"]
    store.compact()
    with pytest.raises(Gone):
        store.list(CONFIG_MAP, continue_token=page.continue_token)
    for watch in (slow, store.watch(CONFIG_MAP, resource_version=first)):
        with pytest.raises(Gone):
            watch.poll()
    fresh = store.watch(CONFIG_MAP, resource_version=other)
    store.create(CONFIG_MAP, body("c"))
    for watch in (quick, fresh):
        assert [name_of(event.object) for event in watch.poll()] == ["c"]
    page = store.list(CONFIG_MAP, limit=1)
    assert page.continue_token
    assert store.list(CONFIG_MAP, continue_token=page.continue_token).items


def test_generation_is_the_writers_where_the_server_counts_none() -> None:
    store = new_store()
    store.create(CONFIG_MAP, body("one", meta={"generation": 7}, data={"a": "1"}))
    changed = store.patch(CONFIG_MAP, "one", "default", {"data": {"a": "2"}})
    assert changed["metadata"]["generation"] == 7


def test_a_version_on_create_comes_last() -> None:
    """As in the API server, which notices when it is about to store."""
    store = new_store()
    with pytest.raises(InvalidObject) as caught:
        store.create(CONFIG_MAP, body("Upper", meta={"resourceVersion": "1"}))
    assert caught.value.causes == ("metadata.name",)


def test_what_a_status_always_shows() -> None:
    store = new_store()
    ready = {"type": "Ready", "status": "True"}
    node = store.create(NODE, {"metadata": {"name": "one"}, "status": {"conditions": [ready]}})
    assert node["status"]["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 0}}
    assert node["status"]["nodeInfo"]["kubeletVersion"] == ""
    assert node["status"]["conditions"] == [
        {**ready, "lastHeartbeatTime": None, "lastTransitionTime": None}
    ]
    store.create(POD, body("one", spec={"containers": [CONTAINER]}))
    status = {"status": {"conditions": [ready]}}
    pod = store.patch(POD, "one", "default", status, subresource="status")
    assert pod["status"]["conditions"] == [
        {**ready, "lastProbeTime": None, "lastTransitionTime": None}
    ]


def test_session_affinity_has_a_time_limit() -> None:
    store = new_store()
    spec = {"ports": [{"port": 80}], "sessionAffinity": "ClientIP"}
    service = store.create(SERVICE, body("one", spec=spec))
    limit = {"clientIP": {"timeoutSeconds": 10800}}
    assert service["spec"]["sessionAffinityConfig"] == limit
    patched = store.patch(SERVICE, "one", "default", {"spec": {"sessionAffinity": "None"}})
    assert "sessionAffinityConfig" not in patched["spec"]


def test_a_status_leaves_the_owners_of_a_pod() -> None:
    store = new_store()
    owner = {"apiVersion": "v1", "kind": "Node", "name": "a", "uid": "b"}
    spec = {"containers": [CONTAINER]}
    store.create(POD, body("one", meta={"ownerReferences": [owner]}, spec=spec))
    meta = {"ownerReferences": None, "deletionTimestamp": "2020-01-01T00:00:00Z"}
    patch = {"metadata": meta, "status": {"phase": "Running"}}
    pod = store.patch(POD, "one", "default", patch, subresource="status")
    assert pod["metadata"]["ownerReferences"] == [owner]
    assert "deletionTimestamp" not in pod["metadata"]
    assert pod["status"]["phase"] == "Running"


def test_the_last_write_is_answered_with_what_it_made() -> None:
    store = new_store()
    store.create(WORKSPACE, body("one", meta={"finalizers": ["kaito.sh/a"]}, spec={"size": 1}))
    store.delete(WORKSPACE, "one", "default")
    patch = {"metadata": {"finalizers": None}, "spec": {"size": 2}}
    last = store.patch(WORKSPACE, "one", "default", patch)
    assert (last["metadata"]["generation"], last["spec"]) == (3, {"size": 2})
    assert isinstance(last, FrozenDict)
    assert not store.list(WORKSPACE).items
