"""What clients learn before they ask for objects."""

import json
import re
from typing import Any

import pytest

from tests.unit.adapters.fake.http.conftest import Client

AGGREGATED = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)


def test_both_forms_of_discovery_name_the_same(client: Client) -> None:
    old = set()
    for path in ("/api/v1", *_group_versions(client)):
        for one in client.json("GET", path)["resources"]:
            old.add((path.removeprefix("/apis/").removeprefix("/api/"), one["name"], one["kind"]))
    new = set()
    for root in ("/api", "/apis"):
        answer = client.call("GET", root, accept=AGGREGATED)
        assert answer.headers["content-type"].endswith("v=v2;as=APIGroupDiscoveryList")
        for group in answer.json()["items"]:
            name = group["metadata"].get("name", "")
            for version in group["versions"]:
                where = f"{name}/{version['version']}" if name else version["version"]
                new |= {(where, *pair) for pair in _resources(version)}
    assert old == new
    assert ("kaito.sh/v1beta1", "workspaces/status", "Workspace") in new
    assert ("v1", "pods/log", "Pod") in new


def _group_versions(client: Client) -> list[str]:
    groups = client.json("GET", "/apis")["groups"]
    return [f"/apis/{one['groupVersion']}" for group in groups for one in group["versions"]]


def _resources(version: Any) -> list[tuple[str, str]]:
    found = []
    for one in version["resources"]:
        found.append((one["resource"], one["responseKind"]["kind"]))
        found += [
            (f"{one['resource']}/{part['subresource']}", part["responseKind"]["kind"])
            for part in one.get("subresources", ())
        ]
    return found


def test_names_of_a_custom_kind_come_from_its_definition(client: Client) -> None:
    listed = client.json("GET", "/apis/kaito.sh/v1beta1")["resources"]
    found = next(one for one in listed if one["name"] == "workspaces")
    assert found["singularName"] == "workspace"
    assert found["shortNames"] == ["wk", "wks"]
    assert found["categories"] == ["workspace"]


def test_preferred_version_is_the_stored_one(client: Client) -> None:
    group = client.json("GET", "/apis/kaito.sh")
    assert group["preferredVersion"]["version"] == "v1beta1"
    assert [one["version"] for one in group["versions"]] == ["v1beta1", "v1alpha1"]


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz", "/readyz/ping"])
def test_health(client: Client, path: str) -> None:
    assert client.call("GET", path).text == "ok"


@pytest.mark.parametrize(
    "path", ["/apis/nope", "/apis/nope/v1", "/api/v2", "/apis/kaito.sh/v9", "/nope", "/openapi/v2"]
)
def test_what_is_not_there(client: Client, path: str) -> None:
    assert client.refused(404, "GET", path)["reason"] == "NotFound"


def test_token() -> None:
    client = Client(token="secret")
    assert client.refused(401, "GET", "/api/v1/pods")["reason"] == "Unauthorized"
    wrong = {"authorization": "Bearer wrong"}
    assert client.refused(401, "GET", "/api", headers=wrong)["message"] == "Unauthorized"
    right = {"authorization": "Bearer secret"}
    assert client.json("GET", "/api/v1/pods", headers=right)["kind"] == "PodList"
    assert client.json("GET", "/version")["major"] == "1"


def test_definitions_can_be_read_only(client: Client) -> None:
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    names = [one["metadata"]["name"] for one in client.json("GET", path)["items"]]
    assert names == ["workspaces.kaito.sh", "nodeclaims.karpenter.sh"]
    one = client.json("GET", f"{path}/workspaces.kaito.sh")
    assert {each["type"] for each in one["status"]["conditions"]} == {
        "Established",
        "NamesAccepted",
    }
    assert client.refused(404, "GET", f"{path}/nope")["details"]["name"] == "nope"
    assert client.refused(403, "POST", path, {})["reason"] == "Forbidden"


def test_openapi_describes_what_the_definition_does(client: Client) -> None:
    paths = client.json("GET", "/openapi/v3")["paths"]
    url = paths["apis/kaito.sh/v1beta1"]["serverRelativeURL"]
    document = client.json("GET", url)
    schema = document["components"]["schemas"]["sh.kaito.v1beta1.Workspace"]
    assert schema["properties"]["resource"]["properties"]["instanceType"]["description"]
    assert schema["x-kubernetes-group-version-kind"][0]["kind"] == "Workspace"
    patched = [one["patch"] for one in document["paths"].values() if "patch" in one]
    assert "fieldValidation" in {each["name"] for each in patched[0]["parameters"]}
    for path in paths.values():
        assert client.json("GET", path["serverRelativeURL"])["openapi"] == "3.0.0"


def test_openapi_describes_built_in_kinds_as_kubernetes_does(client: Client) -> None:
    schemas = client.json("GET", "/openapi/v3/api/v1")["components"]["schemas"]
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    assert schemas["io.k8s.api.core.v1.Container"]["properties"]["image"]["description"]
    text = json.dumps(schemas)
    named = set(re.findall(r"#/components/schemas/([^\"]+)", text))
    assert named <= set(schemas), "kubectl explain follows every reference"
    assert "$name" not in text
    reviews = client.json("GET", "/openapi/v3/apis/authorization.k8s.io/v1")["components"]
    assert "io.k8s.api.authorization.v1.SelfSubjectAccessReview" in reviews["schemas"]


def test_openapi_says_what_the_twin_does_not_describe(client: Client) -> None:
    document = client.json("GET", "/openapi/v3/apis/apiextensions.k8s.io/v1")
    (schema,) = (
        one
        for name, one in document["components"]["schemas"].items()
        if name.endswith("CustomResourceDefinition")
    )
    assert "the twin describes no fields of it" in schema["description"]
