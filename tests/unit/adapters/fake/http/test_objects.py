"""Reading and writing objects over HTTP, where the protocol says more than `KubeApi` does."""

import asyncio
import json
from typing import Any

import pytest
from starlette.datastructures import QueryParams

from kaito.adapters.fake.http.kinds import Kinds
from kaito.adapters.fake.http.options import watch_options
from kaito.adapters.fake.http.watching import Closing, WatchStream
from kaito.adapters.kube_api import CONFIG_MAP
from tests.unit.adapters.fake.http.conftest import (
    CONFIG_MAPS,
    MERGE,
    PODS,
    STRATEGIC,
    TABLE,
    WORKSPACES,
    Client,
    config_map,
    pod,
    workspace,
)


def test_lists_of_built_in_kinds_do_not_repeat_the_type(client: Client) -> None:
    client.json("POST", CONFIG_MAPS, config_map("one"))
    client.json("POST", WORKSPACES, workspace())
    listed = client.json("GET", CONFIG_MAPS)
    assert listed["kind"] == "ConfigMapList"
    assert "kind" not in listed["items"][0]
    assert client.json("GET", WORKSPACES)["items"][0]["kind"] == "Workspace"


def test_list_as_it_was(client: Client) -> None:
    client.json("POST", CONFIG_MAPS, config_map("one"))
    version = client.json("GET", CONFIG_MAPS)["metadata"]["resourceVersion"]
    client.json("POST", CONFIG_MAPS, config_map("two"))
    exact = f"{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact"
    assert len(client.json("GET", exact)["items"]) == 1
    assert len(client.json("GET", f"{CONFIG_MAPS}?resourceVersion={version}")["items"]) == 2
    found = client.refused(504, "GET", f"{CONFIG_MAPS}?resourceVersion=999999")
    assert found["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_table(client: Client) -> None:
    client.json("POST", CONFIG_MAPS, config_map("one", data={"a": "1", "b": "2"}))
    client.now_s += 65
    table = client.json("GET", CONFIG_MAPS, accept=TABLE)
    assert table["kind"] == "Table"
    assert [column["name"] for column in table["columnDefinitions"]] == ["Name", "Data", "Age"]
    assert table["rows"][0]["cells"] == ["one", 2, "65s"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    whole = client.json("GET", f"{CONFIG_MAPS}?includeObject=Object", accept=TABLE)
    assert whole["rows"][0]["object"]["data"] == {"a": "1", "b": "2"}
    none = client.json("GET", f"{CONFIG_MAPS}/one?includeObject=None", accept=TABLE)
    assert "object" not in none["rows"][0]


def test_table_of_a_custom_kind(client: Client) -> None:
    client.json("POST", WORKSPACES, workspace())
    condition = {"type": "ResourceReady", "status": "True", "reason": "a", "message": ""}
    condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    status = {"status": {"conditions": [condition]}}
    client.json("PATCH", f"{WORKSPACES}/one/status", status, content_type=MERGE)
    table = client.json("GET", WORKSPACES, accept=TABLE)
    shown = dict(
        zip(
            [column["name"] for column in table["columnDefinitions"]],
            table["rows"][0]["cells"],
            strict=True,
        )
    )
    assert shown["Instance"] == "Standard_NC6s_v3"
    assert (shown["ResourceReady"], shown["InferenceReady"]) == ("True", None)
    wide = [column["name"] for column in table["columnDefinitions"] if column["priority"]]
    assert "State" in wide


def test_metadata_only(client: Client) -> None:
    client.json("POST", CONFIG_MAPS, config_map("one", data={"a": "1"}))
    accept = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    listed = client.json("GET", CONFIG_MAPS, accept=accept)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}


def test_what_nobody_can_read_is_not_acceptable(client: Client) -> None:
    accept = "application/vnd.kubernetes.protobuf"
    assert client.refused(406, "GET", CONFIG_MAPS, accept=accept)["reason"] == "NotAcceptable"
    body = b"<xml/>"
    found = client.refused(415, "POST", CONFIG_MAPS, body, content_type="text/xml")
    assert found["reason"] == "UnsupportedMediaType"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("POST", f"{CONFIG_MAPS}/one", 405),
        ("PUT", CONFIG_MAPS, 405),
        ("POST", "/api/v1/configmaps", 405),
        ("GET", "/api/v1/configmaps/one", 404),
        ("GET", f"{CONFIG_MAPS}/one/status", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("PUT", f"{CONFIG_MAPS}/two", 400),
    ],
)
def test_requests_that_make_no_sense(client: Client, method: str, path: str, code: int) -> None:
    client.json("POST", CONFIG_MAPS, config_map("one"))
    client.refused(code, method, path, None if method == "GET" else config_map("one"))


@pytest.mark.parametrize(
    "body", [{"metadata": []}, {"metadata": {"name": "a"}, "data": "x"}, {"kind": "Pod"}, [], 1]
)
def test_bodies_that_make_no_sense(client: Client, body: Any) -> None:
    client.refused(400, "POST", CONFIG_MAPS, body)
    client.refused(400, "POST", CONFIG_MAPS, b'{"metadata": ')


def test_namespace_of_the_url_counts(client: Client) -> None:
    body = config_map("one")
    body["metadata"]["namespace"] = "other"
    found = client.refused(400, "POST", CONFIG_MAPS, body)
    assert "does not match the namespace sent on the request" in found["message"]


def test_refusal_names_object_and_fields(client: Client) -> None:
    found = client.refused(422, "POST", CONFIG_MAPS, config_map("Upper"))
    assert found["details"]["kind"] == "ConfigMap"
    assert found["details"]["name"] == "Upper"
    (cause,) = found["details"]["causes"]
    assert (cause["field"], cause["reason"]) == ("metadata.name", "FieldValueInvalid")
    assert cause["message"].startswith('Invalid value: "Upper": a lowercase RFC 1123')


def test_several_causes(client: Client) -> None:
    body = pod()
    body["spec"]["containers"] = [{"name": ""}, {"name": "b"}]
    found = client.refused(422, "POST", PODS, body)
    assert [(one["field"], one["message"]) for one in found["details"]["causes"]] == [
        ("spec.containers[0].name", "Required value"),
        ("spec.containers[0].image", "Required value"),
        ("spec.containers[1].image", "Required value"),
    ]


def test_dry_run_changes_nothing(client: Client) -> None:
    dry = "dryRun=All"
    created = client.json("POST", f"{CONFIG_MAPS}?{dry}", config_map("one"))
    assert "resourceVersion" not in created["metadata"]
    client.refused(404, "GET", f"{CONFIG_MAPS}/one")
    before = client.json("POST", CONFIG_MAPS, config_map("one"))
    patch: Any = {"data": {"a": "1"}}
    patched = client.json("PATCH", f"{CONFIG_MAPS}/one?{dry}", patch, content_type=MERGE)
    assert patched["data"] == {"a": "1"}
    assert client.json("DELETE", f"{CONFIG_MAPS}/one?{dry}")["status"] == "Success"
    assert client.json("GET", f"{CONFIG_MAPS}/one") == before
    service = {"metadata": {"name": "one"}, "spec": {"ports": [{"port": 80}]}}
    path = "/api/v1/namespaces/default/services"
    first = client.json("POST", f"{path}?{dry}", service)
    assert client.json("POST", path, service)["spec"]["clusterIP"] == first["spec"]["clusterIP"]
    client.refused(422, "POST", f"{CONFIG_MAPS}?dryRun=Some", config_map("two"))


def test_delete_answers_with_what_is_left(client: Client) -> None:
    body = config_map("one")
    body["metadata"]["finalizers"] = ["kaito.sh/held"]
    uid = client.json("POST", CONFIG_MAPS, body)["metadata"]["uid"]
    marked = client.json("DELETE", f"{CONFIG_MAPS}/one")
    assert marked["metadata"]["deletionTimestamp"]
    options = {"kind": "DeleteOptions", "preconditions": {"uid": "other"}}
    assert client.refused(409, "DELETE", f"{CONFIG_MAPS}/one", options)["reason"] == "Conflict"
    client.json(
        "PATCH", f"{CONFIG_MAPS}/one", {"metadata": {"finalizers": None}}, content_type=MERGE
    )
    client.refused(404, "GET", f"{CONFIG_MAPS}/one")
    client.json("POST", CONFIG_MAPS, config_map("two"))
    gone = client.json("DELETE", f"{CONFIG_MAPS}/two")
    assert (gone["kind"], gone["details"]["kind"]) == ("Status", "configmaps")
    assert gone["details"]["uid"] != uid
    bad = {"propagationPolicy": "Sideways"}
    assert client.refused(422, "DELETE", f"{CONFIG_MAPS}/two", bad)["reason"] == "Invalid"


def test_delete_collection(client: Client) -> None:
    for name, app in (("a", "x"), ("b", "x"), ("c", "y")):
        body = config_map(name)
        body["metadata"]["labels"] = {"app": app}
        client.json("POST", CONFIG_MAPS, body)
    deleted = client.json("DELETE", f"{CONFIG_MAPS}?labelSelector=app%3Dx")
    assert len(deleted["items"]) == 2
    assert [one["metadata"]["name"] for one in client.json("GET", CONFIG_MAPS)["items"]] == ["c"]


def test_unknown_fields(client: Client) -> None:
    body = workspace(extra=1)
    body["resource"]["instanzType"] = "x"
    found = client.refused(400, "POST", f"{WORKSPACES}?fieldValidation=Strict", body)
    assert 'strict decoding error: unknown field "resource.instanzType"' in found["message"]
    response = client.call("POST", WORKSPACES, body)
    assert "extra" not in response.json()
    assert response.headers.get_list("warning") == [
        '299 - "unknown field \\"resource.instanzType\\""',
        '299 - "unknown field \\"extra\\""',
    ]
    quiet = client.call("POST", f"{WORKSPACES}?fieldValidation=Ignore", workspace("two", extra=1))
    assert "warning" not in quiet.headers
    client.refused(422, "POST", f"{WORKSPACES}?fieldValidation=Perhaps", body)


def test_values_of_wrong_types(client: Client) -> None:
    body = workspace()
    body["resource"]["count"] = "two"
    body["inference"] = []
    found = client.refused(422, "POST", WORKSPACES, body)
    assert [cause["field"] for cause in found["details"]["causes"]] == [
        "resource.count",
        "inference",
    ]
    assert 'resource.count in body must be of type integer: "string"' in found["message"]


def test_strategic_merge_is_for_built_in_kinds(client: Client) -> None:
    client.json("POST", WORKSPACES, workspace())
    patch: Any = {"metadata": {"labels": {"a": "b"}}}
    client.refused(415, "PATCH", f"{WORKSPACES}/one", patch, content_type=STRATEGIC)
    client.json("POST", PODS, pod())
    patch = {"spec": {"containers": [{"name": "main", "image": "registry.test/main:2"}]}}
    patched = client.json("PATCH", f"{PODS}/one", patch, content_type=STRATEGIC)
    (container,) = patched["spec"]["containers"]
    assert container["image"] == "registry.test/main:2"
    assert container["ports"]


def test_scale(client: Client) -> None:
    sets = "/apis/apps/v1/namespaces/default/statefulsets"
    labels = {"app": "one"}
    template = {"metadata": {"labels": labels}, "spec": pod()["spec"]}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    client.json("POST", sets, {"metadata": {"name": "one"}, "spec": spec})
    scale = client.json("GET", f"{sets}/one/scale")
    assert (scale["kind"], scale["spec"], scale["status"]["selector"]) == (
        "Scale",
        {"replicas": 1},
        "app=one",
    )
    scale["spec"]["replicas"] = 3
    assert client.json("PUT", f"{sets}/one/scale", scale)["spec"] == {"replicas": 3}
    client.refused(409, "PUT", f"{sets}/one/scale", scale)
    patch: Any = {"spec": {"replicas": 2}}
    client.json("PATCH", f"{sets}/one/scale", patch, content_type=MERGE)
    assert client.json("GET", f"{sets}/one")["spec"]["replicas"] == 2


def test_eviction_binding_and_terminal(client: Client) -> None:
    client.json("POST", PODS, pod())
    client.json("POST", f"{PODS}/one/binding", {"target": {"kind": "Node", "name": "n"}})
    assert client.json("GET", f"{PODS}/one")["spec"]["nodeName"] == "n"
    found = client.refused(501, "POST", f"{PODS}/one/exec")
    assert "the twin runs no containers" in found["message"]
    body = {"deleteOptions": {"gracePeriodSeconds": 0}}
    client.json("POST", f"{PODS}/one/eviction", body)
    client.refused(404, "GET", f"{PODS}/one")


def test_an_eviction_that_a_budget_does_not_allow(client: Client) -> None:
    body = pod()
    body["metadata"]["labels"] = {"app": "a"}
    client.json("POST", PODS, body)
    client.json("PATCH", f"{PODS}/one/status", {"status": {"phase": "Running"}}, content_type=MERGE)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "a"}}}
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    client.json("POST", budgets, {"metadata": {"name": "b"}, "spec": spec})
    budget = client.json("GET", f"{budgets}/b")
    told = client.refused(429, "POST", f"{PODS}/one/eviction", {})
    assert told["reason"] == "TooManyRequests"
    processed = "The disruption budget b is still being processed by the server."
    assert told["details"] == {
        "retryAfterSeconds": 10,
        "causes": [{"reason": "DisruptionBudget", "message": processed}],
    }
    status = {
        "observedGeneration": budget["metadata"]["generation"],
        "disruptionsAllowed": 0,
        "currentHealthy": 0,
        "desiredHealthy": 1,
        "expectedPods": 1,
    }
    client.json("PATCH", f"{budgets}/b/status", {"status": status}, content_type=MERGE)
    told = client.refused(429, "POST", f"{PODS}/one/eviction", {})
    needs = "The disruption budget b needs 1 healthy pods and has 0 currently"
    assert told["details"] == {"causes": [{"reason": "DisruptionBudget", "message": needs}]}


def test_reviews_and_tokens() -> None:
    client = Client(token="secret")
    headers = {"authorization": "Bearer secret"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    review = client.json("POST", path, {"spec": {}}, headers=headers)
    assert review["status"]["allowed"] is True
    path = "/api/v1/namespaces/default/serviceaccounts/any/token"
    token = client.json("POST", path, {"spec": {"expirationSeconds": 60}}, headers=headers)
    assert token["status"]["token"] == "secret"
    empty = {"spec": {"audiences": None, "expirationSeconds": None}}  # kubectl 1.32 sends it so
    assert client.json("POST", path, empty, headers=headers)["spec"]["expirationSeconds"] == 3600
    assert token["status"]["expirationTimestamp"] == "2027-01-15T08:01:00Z"


def test_watch(client: Client) -> None:
    first = client.json("POST", CONFIG_MAPS, config_map("one"))
    client.json("POST", CONFIG_MAPS, config_map("two"))
    version = first["metadata"]["resourceVersion"]
    query = f"watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion={version}"
    response = client.call("GET", f"{CONFIG_MAPS}?{query}", accept=TABLE)
    added, bookmark = (json.loads(line) for line in response.text.splitlines())
    assert (added["type"], added["object"]["rows"][0]["cells"][0]) == ("ADDED", "two")
    assert bookmark["type"] == "BOOKMARK"
    assert int(bookmark["object"]["metadata"]["resourceVersion"]) > int(version)


def test_watch_that_is_refused(client: Client) -> None:
    found = client.refused(422, "GET", f"{CONFIG_MAPS}?watch=true&sendInitialEvents=true")
    assert "sendInitialEvents is forbidden for watch" in found["message"]
    client.refused(504, "GET", f"{CONFIG_MAPS}?watch=true&resourceVersion=99999")
    client.refused(400, "GET", f"{CONFIG_MAPS}?watch=true&resourceVersion=x")


def test_bookmark_promises_no_more_than_was_told(client: Client) -> None:
    """A write between the last event and the bookmark comes after the bookmark's version."""
    closing = Closing()
    kinds = Kinds.of(client.store.resources, ())
    version = client.json("POST", CONFIG_MAPS, config_map("one"))["metadata"]["resourceVersion"]
    query = QueryParams(f"resourceVersion={version}&allowWatchBookmarks=true")

    async def play() -> list[Any]:
        stream = WatchStream(
            client.store,
            kinds.stored(CONFIG_MAP),
            "default",
            watch_options(query),
            view="",
            now_s=lambda: client.now_s,
            shown=lambda _kind, obj: obj,
            closing=closing,
        )
        lines = stream.lines()
        client.store.create(CONFIG_MAP, _in_default("two"))
        told = [json.loads(await anext(lines))]
        client.store.create(CONFIG_MAP, _in_default("three"))
        closing.set()
        return told + [json.loads(line) async for line in lines]

    added, bookmark = asyncio.run(play())
    assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
    versions = [one["object"]["metadata"]["resourceVersion"] for one in (added, bookmark)]
    assert versions[0] == versions[1]


def _in_default(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "default"}}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b"", "has no body"),
        (b'{"a": NaN}', "NaN is no number of JSON"),
        (b"[" * 100_000, "exceeded max depth"),
        (b'{"a":' * 80 + b"1" + b"}" * 80, "exceeded max depth"),
        (b"a: {b", "is not valid YAML"),
        (b"a: 1\n---\nb: 2", "more than one document"),
        (b"[1]", "must be an object"),
        (b"\xff", "can't decode byte"),
    ],
)
def test_bodies_that_cannot_be_read(client: Client, body: bytes, wanted: str) -> None:
    assert wanted in client.refused(400, "POST", CONFIG_MAPS, body)["message"]


def test_what_is_no_character_is_replaced(client: Client) -> None:
    body = json.dumps(config_map("one", data={"a": "\ud800b", "c": "\U0001f600"})).encode()
    assert client.json("POST", CONFIG_MAPS, body)["data"] == {"a": "\ufffdb", "c": "\U0001f600"}


def test_a_body_may_be_too_large(client: Client) -> None:
    body = config_map("one", data={"a": "x" * (3 << 20)})
    found = client.refused(413, "POST", CONFIG_MAPS, body)
    assert found["reason"] == "RequestEntityTooLarge"


def test_a_defect_is_told_as_a_status(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: Any, **_more: Any) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(client.store, "list", broken)
    client.raises = False
    found = client.refused(500, "GET", CONFIG_MAPS)
    assert found["reason"] == "InternalError"
    assert found["message"] == "Internal error occurred: KeyError: 'a defect'"


def test_a_status_is_written_without_the_rest(client: Client) -> None:
    """As an operator does that knows only the status it wants."""
    created = client.json("POST", WORKSPACES, workspace())
    meta = {key: created["metadata"][key] for key in ("name", "resourceVersion")}
    body = {"metadata": meta, "status": {"targetNodeCount": 1}}
    stored = client.json("PUT", f"{WORKSPACES}/one/status", body)
    assert stored["status"] == {"targetNodeCount": 1}
    assert stored["resource"] == created["resource"]
    wrong = {"metadata": {"name": "one"}, "status": {"targetNodeCount": "one"}}
    wrong["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"]
    found = client.refused(422, "PUT", f"{WORKSPACES}/one/status", wrong)
    assert found["details"]["causes"][0]["field"] == "status.targetNodeCount"


def test_a_patch_that_does_not_apply_says_why(client: Client) -> None:
    """kubectl prints the message only where neither kind nor name is given."""
    client.json("POST", CONFIG_MAPS, config_map("one", data={"a": "b"}))
    patch = [{"op": "test", "path": "/data/a", "value": "c"}]
    path, content_type = f"{CONFIG_MAPS}/one", "application/json-patch+json"
    found = client.refused(422, "PATCH", path, patch, content_type=content_type)
    assert found["details"] == {}
    assert "test of /data/a failed" in found["message"]


def test_what_is_not_served_has_details_for_clients_that_look_into_them(client: Client) -> None:
    client.json("POST", PODS, pod())
    assert client.refused(404, "PATCH", f"{PODS}/one/ephemeralcontainers", {})["details"] == {}
