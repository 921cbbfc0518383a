"""What the client and the informers make of a real API server, beyond the `KubeApi` contract."""

import time
from collections.abc import Callable

import pytest

from kaito.adapters.k8s.client import ClientSettings, KubernetesClientApi
from kaito.adapters.k8s.client_retry import RetryPolicy
from kaito.adapters.k8s.client_watch import WatchSettings
from kaito.adapters.k8s.informer import InformerCache
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NODE,
    POD,
    KubeApi,
    ObjectNotFound,
    ServerUnavailable,
    Subscription,
    name_of,
)
from tests.integration.conftest import RealCluster, eventually


def put(api: KubeApi, namespace: str, name: str, **labels: str) -> None:
    meta = {"name": name, "namespace": namespace, "labels": labels}
    api.create(CONFIG_MAP, {"metadata": meta})


def own(names: list[str]) -> list[str]:
    """Without what controllers add to every namespace."""
    return [name for name in names if not name.startswith("kube-")]


def seen_by(watch: Subscription) -> Callable[[str], bool]:
    seen: set[str] = set()

    def has_seen(name: str) -> bool:
        seen.update(name_of(event.object) for event in watch.poll())
        return name in seen

    return has_seen


def test_a_list_of_many_pages(real_cluster: RealCluster, namespace: str) -> None:
    api = real_cluster.connect(settings=ClientSettings(page_size=2))
    for number in range(7):
        put(api, namespace, f"c{number}", app="x")
    listed = api.list(CONFIG_MAP, namespace, labels={"app": "x"})
    assert [name_of(obj) for obj in listed.items] == [f"c{number}" for number in range(7)]
    assert int(listed.resource_version) > 0
    api.close()


def test_a_watch_begins_anew_when_its_time_is_over(
    real_cluster: RealCluster, namespace: str
) -> None:
    quick = ClientSettings(watch=WatchSettings(stream_s=1.0))
    api = real_cluster.connect(settings=quick, uniform=lambda: 0.0)
    version = api.list(CONFIG_MAP, namespace).resource_version
    watch = api.watch(CONFIG_MAP, namespace, resource_version=version)
    has_seen = seen_by(watch)
    for number in range(4):
        put(api, namespace, f"c{number}")
        time.sleep(0.7)
    assert eventually(lambda: has_seen("c3"))
    assert all(has_seen(f"c{number}") for number in range(4))
    api.close()
    assert watch.has_ended()


def test_informers(real_api: KubernetesClientApi, namespace: str) -> None:
    put(real_api, namespace, "one", app="x")
    cache = InformerCache(real_api)
    cache.refresh()
    assert cache.synced()
    assert name_of(cache.get(CONFIG_MAP, "one", namespace)) == "one"
    version = cache.list(CONFIG_MAP).resource_version
    has_seen = seen_by(cache.watch(CONFIG_MAP, namespace, resource_version=version))
    put(real_api, namespace, "two", app="x")
    assert eventually(lambda: has_seen("two"))
    found = cache.list(CONFIG_MAP, namespace, labels={"app": "x"})
    live = real_api.list(CONFIG_MAP, namespace, labels={"app": "x"})
    assert found.items == live.items
    cache.close()


def test_life_goes_on_after_a_crash_of_the_server(
    real_cluster: RealCluster, namespace: str
) -> None:
    if real_cluster.plane is None:
        pytest.skip("not our API server to kill")
    api = real_cluster.connect(
        settings=ClientSettings(retry=RetryPolicy(attempts=2, first_s=0.01, longest_s=0.02))
    )
    cache = InformerCache(api)
    cache.refresh()
    version = cache.list(CONFIG_MAP).resource_version
    has_seen = seen_by(cache.watch(CONFIG_MAP, namespace, resource_version=version))
    put(api, namespace, "before")
    assert eventually(lambda: has_seen("before"))
    real_cluster.plane.crash_api_server()

    def back() -> bool:
        try:
            api.get(NODE, "absent")
        except ServerUnavailable:
            return False
        except ObjectNotFound:
            return True
        return True

    assert eventually(back)
    put(api, namespace, "after")
    assert eventually(lambda: has_seen("after"))
    assert own([name_of(obj) for obj in cache.list(CONFIG_MAP, namespace).items]) == [
        "after",
        "before",
    ]
    assert cache.list(POD, namespace).items == ()
    cache.close()
    api.close()
