"""Server-side apply: who owns which field."""

from typing import Any

from kaito.adapters.kube_api import WORKSPACE
from tests.unit.adapters.fake.http.conftest import (
    APPLY,
    CONFIG_MAPS,
    MERGE,
    WORKSPACES,
    Client,
    config_map,
    workspace,
)

ONE = f"{WORKSPACES}/one"


def _apply(client: Client, manager: str, body: Any, query: str = "") -> Any:
    path = f"{ONE}?fieldManager={manager}{query}"
    return client.json("PATCH", path, body, content_type=APPLY)


def _labelled(**labels: str) -> dict[str, Any]:
    body = workspace()
    body["metadata"]["labels"] = labels
    return body


def test_apply_creates_and_is_repeatable(client: Client) -> None:
    created = client.call("PATCH", f"{ONE}?fieldManager=a", workspace(), content_type=APPLY)
    assert created.status_code == 201
    (entry,) = created.json()["metadata"]["managedFields"]
    assert (entry["manager"], entry["operation"]) == ("a", "Apply")
    assert entry["fieldsV1"]["f:inference"] == {"f:preset": {"f:name": {}}}
    again = _apply(client, "a", workspace())
    assert again["metadata"] == created.json()["metadata"]


def test_field_that_is_no_longer_applied_goes(client: Client) -> None:
    _apply(client, "a", _labelled(x="1", y="1"))
    _apply(client, "b", _labelled(y="1"))
    left = _apply(client, "a", workspace())
    assert left["metadata"]["labels"] == {"y": "1"}  # b still wants it
    assert "labels" not in _apply(client, "b", workspace())["metadata"]


def test_conflict(client: Client) -> None:
    _apply(client, "a", _labelled(x="1", y="1"))
    path = f"{ONE}?fieldManager=b"
    found = client.refused(409, "PATCH", path, _labelled(x="2"), content_type=APPLY)
    assert found["message"] == (
        'Apply failed with 1 conflict: conflict with "a": .metadata.labels.x'
    )
    assert found["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "a"',
            "field": ".metadata.labels.x",
        }
    ]
    both = client.refused(409, "PATCH", path, _labelled(x="2", y="2"), content_type=APPLY)
    assert both["message"] == (
        'Apply failed with 2 conflicts: conflicts with "a":\n'
        "- .metadata.labels.x\n- .metadata.labels.y"
    )
    forced = _apply(client, "b", _labelled(x="2"), "&force=true")
    assert forced["metadata"]["labels"] == {"x": "2", "y": "1"}
    client.refused(409, "PATCH", f"{ONE}?fieldManager=a", _labelled(x="1"), content_type=APPLY)


def test_other_writers_own_fields_too(client: Client) -> None:
    client.json("POST", f"{WORKSPACES}?fieldManager=creator", workspace())
    patch = {"metadata": {"labels": {"x": "1"}}}
    client.json("PATCH", f"{ONE}?fieldManager=editor", patch, content_type=MERGE)
    path = f"{ONE}?fieldManager=a"
    found = client.refused(409, "PATCH", path, _labelled(x="2"), content_type=APPLY)
    assert 'conflict with "editor" using kaito.sh/v1beta1' in found["message"]
    same = _apply(client, "a", _labelled(x="1"))  # the same value: both own it
    owners = {entry["manager"] for entry in same["metadata"]["managedFields"]}
    assert owners == {"creator", "editor", "a"}


def test_what_the_twin_itself_writes_is_noticed(client: Client) -> None:
    _apply(client, "a", _labelled(x="1"))
    patch = {"metadata": {"labels": {"x": "2"}, "finalizers": ["kaito.sh/f"]}}
    client.store.patch(WORKSPACE, "one", "default", patch)
    path = f"{ONE}?fieldManager=a"
    found = client.refused(409, "PATCH", path, _labelled(x="1"), content_type=APPLY)
    assert 'conflict with "kaito"' in found["message"]
    forced = _apply(client, "a", _labelled(x="1"), "&force=true")
    assert forced["metadata"]["finalizers"] == ["kaito.sh/f"]


def test_status_is_applied_by_itself(client: Client) -> None:
    applied = _apply(client, "a", workspace(status={"state": "Ready"}))
    assert "status" not in applied
    body = workspace(status={"state": "Ready"})
    path = f"{ONE}/status?fieldManager=b"
    found = client.json("PATCH", path, body, content_type=APPLY)
    assert found["status"] == {"state": "Ready"}
    entry = found["metadata"]["managedFields"][0]
    assert (entry["subresource"], entry["fieldsV1"]) == ("status", {"f:status": {"f:state": {}}})


def test_keyed_lists_are_merged_by_their_keys(client: Client) -> None:
    _apply(client, "a", workspace())

    def condition(kind: str, status: str) -> dict[str, str]:
        at = "2026-01-01T00:00:00Z"
        said = {"reason": "a", "message": "", "lastTransitionTime": at}
        return {"type": kind, "status": status, **said}

    for manager, kind in (("b", "ResourceReady"), ("c", "InferenceReady")):
        body = workspace(status={"conditions": [condition(kind, "True")]})
        path = f"{ONE}/status?fieldManager={manager}"
        found = client.json("PATCH", path, body, content_type=APPLY)
    assert [one["type"] for one in found["status"]["conditions"]] == [
        "ResourceReady",
        "InferenceReady",
    ]
    body = workspace(status={"conditions": [condition("ResourceReady", "False")]})
    path = f"{ONE}/status?fieldManager=c"
    refused = client.refused(409, "PATCH", path, body, content_type=APPLY)
    assert '.status.conditions[type="ResourceReady"].status' in refused["message"]


def test_client_may_rewrite_managed_fields(client: Client) -> None:
    """kubectl does, when it begins to apply on the server what it applied by itself before."""
    client.json("POST", f"{WORKSPACES}?fieldManager=before", _labelled(x="1"))
    live = client.json("GET", ONE)
    (entry,) = live["metadata"]["managedFields"]
    renamed = {**entry, "manager": "a", "operation": "Apply"}
    operations = [{"op": "replace", "path": "/metadata/managedFields", "value": [renamed]}]
    client.json("PATCH", ONE, operations, content_type="application/json-patch+json")
    assert "labels" not in _apply(client, "a", workspace())["metadata"]


def test_dry_run_gives_no_ownership(client: Client) -> None:
    _apply(client, "a", _labelled(x="1"))
    _apply(client, "b", _labelled(x="2"), "&force=true&dryRun=All")
    assert _apply(client, "a", _labelled(x="1"))["metadata"]["labels"] == {"x": "1"}


def test_what_cannot_be_applied(client: Client) -> None:
    found = client.refused(422, "PATCH", ONE, workspace(), content_type=APPLY)
    assert "fieldManager: Required value" in found["message"]
    definition = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/workspaces.kaito.sh"
    client.refused(403, "PATCH", f"{definition}?fieldManager=a", {}, content_type=APPLY)
    client.refused(
        400, "PATCH", f"{WORKSPACES}/two?fieldManager=a", workspace(), content_type=APPLY
    )


def test_built_in_kinds_are_applied_too(client: Client) -> None:
    path = f"{CONFIG_MAPS}/one?fieldManager=a"
    body = config_map("one", data={"a": "1", "b": "2"})
    (entry,) = client.json("PATCH", path, body, content_type=APPLY)["metadata"]["managedFields"]
    assert entry["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}
    left = client.json("PATCH", path, config_map("one", data={"a": "1"}), content_type=APPLY)
    assert left["data"] == {"a": "1"}
    other = path.replace("=a", "=b")
    theirs = config_map("one", data={"a": "2"})
    found = client.refused(409, "PATCH", other, theirs, content_type=APPLY)
    assert found["message"].endswith('conflict with "a": .data.a')


def test_items_of_lists_are_told_apart_by_their_keys(client: Client) -> None:
    """A port's protocol is one of its keys, and mostly left to the server."""
    path = "/api/v1/namespaces/default/services/one?fieldManager="
    body = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "one"},
        "spec": {"ports": [{"name": "a", "port": 80, "targetPort": 5000}]},
    }
    client.json("PATCH", f"{path}a", body, content_type=APPLY)
    assert client.call("PATCH", f"{path}a", body, content_type=APPLY).status_code == 200
    port = {"port": 80, "targetPort": 5001}
    theirs = {**body, "spec": {"ports": [port]}}
    found = client.refused(409, "PATCH", f"{path}b", theirs, content_type=APPLY)
    assert found["message"] == (
        'Apply failed with 1 conflict: conflict with "a":'
        ' .spec.ports[port=80,protocol="TCP"].targetPort'
    )
    stored = client.json("PATCH", f"{path}b&force=true", theirs, content_type=APPLY)
    assert [one["targetPort"] for one in stored["spec"]["ports"]] == [5001]
    assert stored["spec"]["ports"][0]["name"] == "a", "nobody else has a say in it"
