"""Which pods stand behind a Service."""

from itertools import count
from typing import Any

import pytest

from kaito.adapters.fake.endpoint_slices import ENDPOINT_SLICE, EndpointSliceController
from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.kube_api import NAMESPACE, POD, SERVICE, KubeObject, ServerUnavailable
from tests.unit.adapters.fake.cluster import Loop


class Shaky(ObjectStore):
    away = False

    def create(self, resource: Any, body: Any) -> Any:
        if self.away and resource is ENDPOINT_SLICE:
            raise ServerUnavailable("away")
        return super().create(resource, body)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def api(loop: Loop) -> Shaky:
    uids = count(1)
    store = Shaky(
        now_s=lambda: loop.now_s,
        new_uid=lambda: f"uid-{next(uids)}",
        resources=(*SERVED, ENDPOINT_SLICE),
    )
    loop.add(EndpointSliceController(store, loop.waker()).step)
    return store


def add_service(api: ObjectStore, name: str = "one", **more: Any) -> None:
    port = {"name": "http", "port": 80, "targetPort": "web"}
    spec = {"selector": {"app": "a"}, "ports": [port], **more}
    api.create(SERVICE, {"metadata": {"namespace": "default", "name": name}, "spec": spec})


def add_pod(api: ObjectStore, name: str, address: str, app: str = "a", ready: str = "True") -> None:
    container = {"name": "m", "image": "i", "ports": [{"name": "web", "containerPort": 5000}]}
    meta = {"namespace": "default", "name": name, "labels": {"app": app}}
    spec = {"containers": [container], "nodeName": "node"}
    api.create(POD, {"metadata": meta, "spec": spec})
    status = {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]}
    api.patch(POD, name, "default", {"status": status}, subresource="status")


def slices(api: ObjectStore) -> dict[str, KubeObject]:
    """By Service."""
    found = api.list(ENDPOINT_SLICE).items
    return {one["metadata"]["labels"]["kubernetes.io/service-name"]: one for one in found}


def test_pods_that_a_service_selects(api: Shaky, loop: Loop) -> None:
    add_service(api)
    add_pod(api, "ready", "10.0.0.1")
    add_pod(api, "starting", "10.0.0.2", ready="False")
    add_pod(api, "other", "10.0.0.3", app="b")
    loop.run(1)
    found = slices(api)["one"]
    assert found["ports"] == [{"name": "http", "port": 5000, "protocol": "TCP"}]
    assert [one["addresses"] for one in found["endpoints"]] == [["10.0.0.1"], ["10.0.0.2"]]
    assert [one["conditions"]["ready"] for one in found["endpoints"]] == [True, False]
    assert found["endpoints"][0]["targetRef"]["name"] == "ready"
    assert found["metadata"]["ownerReferences"][0]["kind"] == "Service"


def test_a_slice_follows_its_pods_and_goes_with_its_service(api: Shaky, loop: Loop) -> None:
    add_service(api)
    add_pod(api, "a", "10.0.0.1")
    loop.run(1)
    name = slices(api)["one"]["metadata"]["name"]
    api.delete(POD, "a", "default", grace_period_s=0)
    loop.run(1)
    assert slices(api)["one"]["endpoints"] == []
    assert slices(api)["one"]["metadata"]["name"] == name
    api.delete(ENDPOINT_SLICE, name, "default")
    add_pod(api, "b", "10.0.0.2")
    loop.run(1)
    assert slices(api)["one"]["metadata"]["name"] != name, "made again"
    api.delete(SERVICE, "one", "default")
    loop.run(1)
    assert slices(api) == {}


def test_some_services_have_none(api: Shaky, loop: Loop) -> None:
    add_service(api, "by-hand", selector=None)
    add_service(api, "elsewhere", type="ExternalName", externalName="a.test")
    loop.run(1)
    assert slices(api) == {}


def test_a_headless_service_may_publish_pods_that_are_not_ready(api: Shaky, loop: Loop) -> None:
    add_service(api, clusterIP="None", publishNotReadyAddresses=True)
    add_pod(api, "starting", "10.0.0.2", ready="False")
    loop.run(1)
    assert slices(api)["one"]["endpoints"][0]["conditions"] == {
        "ready": True,
        "serving": False,
        "terminating": False,
    }


def test_what_cannot_be_written_is_tried_again(api: Shaky, loop: Loop) -> None:
    api.away = True
    add_service(api)
    loop.run(0.5)
    assert slices(api) == {}
    api.away = False
    loop.run(2)
    assert "one" in slices(api)


def test_another_namespace_is_another_world(api: Shaky, loop: Loop) -> None:
    api.create(NAMESPACE, {"metadata": {"name": "other"}})
    add_service(api)
    body = {
        "metadata": {"namespace": "other", "name": "p", "labels": {"app": "a"}},
        "spec": {"containers": [{"name": "m", "image": "i"}]},
    }
    api.create(POD, body)
    api.patch(POD, "p", "other", {"status": {"podIP": "10.0.0.9"}}, subresource="status")
    loop.run(1)
    assert slices(api)["one"]["endpoints"] == []
