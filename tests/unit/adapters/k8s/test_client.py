import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes.client import Configuration

from kaito.adapters.k8s.client import ClientSettings, KubernetesClientApi
from kaito.adapters.k8s.client_http import Timeouts
from kaito.adapters.k8s.client_retry import RetryPolicy
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NODE,
    WORKSPACE,
    InvalidObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
    name_of,
)
from kaito.system_clock import monotonic_s
from tests.unit.adapters.k8s.scripted_server import (
    ScriptedServer,
    answer,
    config_map,
    dropped,
    failure,
    silent_until,
)

QUICK = ClientSettings(
    timeouts=Timeouts(connect_s=1, read_s=0.2),
    retry=RetryPolicy(attempts=3, first_s=0.001, longest_s=0.002),
    page_size=2,
)
TOKEN = "bearer a-token-that-nobody-should-see"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


@pytest.fixture
def api(server: ScriptedServer) -> Iterator[KubernetesClientApi]:
    found = Configuration(host=server.url, api_key={"authorization": TOKEN})
    found.proxy = None
    api = KubernetesClientApi(found, QUICK)
    yield api
    api.close()


def versioned(name: str = "one") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default", "resourceVersion": "1"}}


def listed(*names: str, more: str = "") -> dict[str, Any]:
    items = [config_map(name) for name in names]
    for item in items:
        del item["kind"], item["apiVersion"]
    return {"metadata": {"resourceVersion": "7", "continue": more}, "items": items}


READ = pytest.param(lambda api: api.get(CONFIG_MAP, "one", "default"), id="get")
LIST = pytest.param(lambda api: api.list(CONFIG_MAP, limit=1), id="list")
REPLACE = pytest.param(lambda api: api.replace(CONFIG_MAP, versioned()), id="replace")
STATUS = pytest.param(lambda api: api.replace_status(WORKSPACE, versioned()), id="status")
PATCH = pytest.param(
    lambda api: api.patch(CONFIG_MAP, "one", "default", versioned()), id="patch at a version"
)
JSON_PATCH = pytest.param(
    lambda api: api.patch(
        CONFIG_MAP,
        "one",
        "default",
        [{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}],
        patch_type="json",
    ),
    id="JSON patch at a version",
)
DELETE = pytest.param(lambda api: api.delete(CONFIG_MAP, "one", "default", uid="u"), id="delete")
CREATE = pytest.param(
    lambda api: api.create(CONFIG_MAP, {"metadata": {"name": "one"}}), id="create"
)
BLIND_REPLACE = pytest.param(
    lambda api: api.replace(CONFIG_MAP, {"metadata": {"name": "one"}}), id="replace anything"
)
BLIND_PATCH = pytest.param(
    lambda api: api.patch(CONFIG_MAP, "one", "default", {"data": {}}), id="patch anything"
)
BLIND_DELETE = pytest.param(lambda api: api.delete(CONFIG_MAP, "one", "default"), id="delete any")

Call = Callable[[KubernetesClientApi], Any]
FINE = answer(config_map("one") | {"items": []})


@pytest.mark.parametrize("call", [READ, LIST, REPLACE, STATUS, PATCH, JSON_PATCH, DELETE])
@pytest.mark.parametrize("trouble", [failure(500), failure(503), failure(429), dropped])
def test_what_does_no_harm_twice_is_repeated(
    server: ScriptedServer, api: KubernetesClientApi, call: Call, trouble: Any
) -> None:
    server.then(trouble, trouble, FINE)
    call(api)
    assert len(server.requests) == 3
    assert len({(each.method, each.path) for each in server.requests}) == 1


@pytest.mark.parametrize("call", [CREATE, BLIND_REPLACE, BLIND_PATCH, BLIND_DELETE])
@pytest.mark.parametrize("trouble", [failure(500), failure(504), dropped])
def test_what_may_have_been_done_is_not_repeated(
    server: ScriptedServer, api: KubernetesClientApi, call: Call, trouble: Any
) -> None:
    server.then(trouble, FINE)
    with pytest.raises(ServerUnavailable):
        call(api)
    assert len(server.requests) == 1


@pytest.mark.parametrize("call", [CREATE, BLIND_PATCH])
def test_what_the_server_turned_away_is_repeated(
    server: ScriptedServer, api: KubernetesClientApi, call: Call
) -> None:
    server.then(failure(429, "TooManyRequests"), FINE)
    call(api)
    assert len(server.requests) == 2


def test_an_eviction_that_a_budget_forbids_is_not_repeated(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    """The round goes on with other pods, and comes back later."""
    server.then(failure(429, "TooManyRequests"))
    with pytest.raises(ServerUnavailable) as caught:
        api.evict("one", "default", uid="u")
    assert caught.value.code == 429
    (request,) = server.requests
    assert (request.method, request.path) == (
        "POST",
        "/api/v1/namespaces/default/pods/one/eviction",
    )
    assert request.body["deleteOptions"] == {"preconditions": {"uid": "u"}}
    server.then(dropped)
    with pytest.raises(ServerUnavailable):
        api.evict("one", "default")
    assert len(server.requests) == 2


def test_an_old_server_is_asked_for_an_eviction_in_its_own_words(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    server.then(failure(400, "BadRequest"), FINE)
    api.evict("one", "default")
    versions = [request.body["apiVersion"] for request in server.requests]
    assert versions == ["policy/v1", "policy/v1beta1"]


def test_a_server_that_is_not_there(api: KubernetesClientApi, server: ScriptedServer) -> None:
    nowhere = Configuration(host="http://127.0.0.1:1", api_key={"authorization": TOKEN})
    nowhere.proxy = None
    unlucky = KubernetesClientApi(nowhere, QUICK)
    with pytest.raises(ServerUnavailable, match="cannot connect") as caught:
        unlucky.create(CONFIG_MAP, {"metadata": {"name": "one"}})
    assert "token" not in str(caught.value)


def test_attempts_are_counted(server: ScriptedServer, api: KubernetesClientApi) -> None:
    server.then(*[failure(503, message="down for a while")] * 9)
    with pytest.raises(ServerUnavailable, match="down for a while") as caught:
        api.get(CONFIG_MAP, "one", "default")
    assert caught.value.code == 503
    assert len(server.requests) == 3


def test_the_server_says_when_to_come_back(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    server.then(failure(429, Retry_After="1"), FINE)
    began_s = monotonic_s()
    api.get(CONFIG_MAP, "one", "default")
    assert monotonic_s() - began_s >= 1


def test_a_long_wait_is_the_callers(server: ScriptedServer, api: KubernetesClientApi) -> None:
    server.then(failure(429, Retry_After="60"))
    with pytest.raises(ServerUnavailable) as caught:
        api.get(CONFIG_MAP, "one", "default")
    assert caught.value.retry_after_s == 60
    assert len(server.requests) == 1


def test_a_slow_answer_times_out(server: ScriptedServer, api: KubernetesClientApi) -> None:
    server.then(*[silent_until(server.over)] * 3)
    with pytest.raises(ServerUnavailable, match="no answer in time"):
        api.get(CONFIG_MAP, "one", "default")
    assert len(server.requests) == 3


def test_an_answer_that_is_no_object(server: ScriptedServer, api: KubernetesClientApi) -> None:
    server.then(answer(b"<html>log in</html>"), answer([]), FINE)
    assert name_of(api.get(CONFIG_MAP, "one", "default")) == "one"


def test_a_repeated_delete_may_find_nothing(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    server.then(dropped, failure(404, "NotFound"))
    api.delete(CONFIG_MAP, "one", "default", uid="u")
    server.then(failure(404, "NotFound"))
    with pytest.raises(ObjectNotFound):
        api.delete(CONFIG_MAP, "one", "default", uid="u")


def test_a_repeated_replace_may_meet_itself(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    server.then(dropped, failure(409, "Conflict"))
    with pytest.raises(ObjectConflict):
        api.replace(CONFIG_MAP, versioned())


def test_closing_ends_a_pause(server: ScriptedServer, api: KubernetesClientApi) -> None:
    server.then(failure(503, Retry_After="9"))
    caught: list[Exception] = []

    def call() -> None:
        with pytest.raises(ServerUnavailable) as info:
            api.get(CONFIG_MAP, "one", "default")
        caught.append(info.value)

    caller = threading.Thread(target=call)
    caller.start()
    while not server.requests:
        server.over.wait(0.01)
    api.close()
    caller.join(5)
    assert caught


def test_all_pages_of_a_list(server: ScriptedServer, api: KubernetesClientApi) -> None:
    server.then(answer(listed("b", "c", more="next")), answer(listed("a")))
    found = api.list(CONFIG_MAP, "default", labels={"app": "x"}, fields={"metadata.name": "a,b=c"})
    assert [(each["kind"], name_of(each)) for each in found.items] == [
        ("ConfigMap", "a"),
        ("ConfigMap", "b"),
        ("ConfigMap", "c"),
    ]
    assert (found.resource_version, found.continue_token) == ("7", "")
    first, second = (dict(each.query) for each in server.requests)
    assert second.pop("continue") == "next"
    assert first == second
    assert first == {
        "labelSelector": "app=x",
        "fieldSelector": "metadata.name=a\\,b\\=c",
        "limit": "2",
    }


def test_a_snapshot_that_goes_between_two_pages(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    server.then(answer(listed("a", "b", more="next")), failure(410, "Expired"))
    server.then(answer(listed("a", "b", "c")))
    assert len(api.list(CONFIG_MAP).items) == 3
    assert server.requests[-1].query == {}


def test_what_is_sent(server: ScriptedServer, api: KubernetesClientApi) -> None:
    server.then(FINE, FINE, FINE)
    api.create(WORKSPACE, {"metadata": {"name": "one", "namespace": "there"}})
    api.patch(WORKSPACE, "one", "there", {"status": {}}, subresource="status")
    api.delete(NODE, "one", uid="u", resource_version="1", grace_period_s=0)
    post, patch, delete = server.requests
    assert post.headers["authorization"] == TOKEN
    assert post.headers["User-Agent"] == "kaito"
    assert (post.method, post.path) == (
        "POST",
        "/apis/kaito.sh/v1beta1/namespaces/there/workspaces",
    )
    assert (post.body["kind"], post.body["apiVersion"]) == ("Workspace", "kaito.sh/v1beta1")
    assert patch.path.endswith("/namespaces/there/workspaces/one/status")
    assert patch.headers["Content-Type"] == "application/merge-patch+json"
    assert delete.path == "/api/v1/nodes/one"
    assert delete.body["preconditions"] == {"uid": "u", "resourceVersion": "1"}
    assert (delete.body["propagationPolicy"], delete.body["gracePeriodSeconds"]) == (
        "Background",
        0,
    )


def test_what_the_server_keeps_for_itself_is_left_out(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    stored = config_map("one")
    stored["metadata"] |= {"managedFields": [{"manager": "kaito"}], "selfLink": "/x"}
    server.then(answer(stored))
    assert api.get(CONFIG_MAP, "one", "default") == config_map("one")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "%2e%2e"])
def test_names_that_lead_elsewhere(
    server: ScriptedServer, api: KubernetesClientApi, name: str
) -> None:
    with pytest.raises(InvalidObject):
        api.delete(CONFIG_MAP, name, "default")
    with pytest.raises(InvalidObject):
        api.get(CONFIG_MAP, "one", name or "..")
    assert not server.requests


def test_label_values_cannot_widen_a_selector(
    server: ScriptedServer, api: KubernetesClientApi
) -> None:
    with pytest.raises(InvalidObject):
        api.list(CONFIG_MAP, labels={"app": "x,other=y"})
    assert not server.requests
