"""Whatever a client sends, it gets an answer that says what is wrong: never a plain 500."""

import copy
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from kaito.adapters.fake.http.built_in_schemas import Schema, schema_of
from kaito.adapters.fake.http.kinds import FOR_CLIENTS
from kaito.adapters.fake.store import SERVED
from kaito.adapters.kube_api import Resource
from tests.unit.adapters.fake.http.conftest import APPLY, MERGE, STRATEGIC, Client

EXAMPLES: Final = 25  # for each kind; thousands were tried
JSON_PATCH: Final = "application/json-patch+json"
_POD_SPEC: Final[dict[str, Any]] = {
    "containers": [
        {
            "name": "one",
            "image": "image:1",
            "command": ["true"],
            "env": [{"name": "A", "value": "b"}],
            "ports": [{"containerPort": 80}],
            "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
            "readinessProbe": {"httpGet": {"port": 80}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
    ],
    "volumes": [{"name": "data", "emptyDir": {"sizeLimit": "1Gi"}}],
    "tolerations": [{"key": "sku", "operator": "Exists"}],
}
_TEMPLATE: Final = {"metadata": {"labels": {"a": "b"}}, "spec": _POD_SPEC}
_SELECTOR: Final = {"matchLabels": {"a": "b"}}
_NODE_STATUS: Final = {
    "capacity": {"cpu": "1"},
    "conditions": [{"type": "Ready", "status": "True"}],
}
# What is sent of each kind, beside its metadata.
CONTENT: Final[Mapping[str, dict[str, Any]]] = {
    "namespaces": {"spec": {}},
    "nodes": {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}, "status": _NODE_STATUS},
    "pods": {"spec": _POD_SPEC},
    "services": {"spec": {"selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http"}]}},
    "configmaps": {"data": {"a": "b"}, "binaryData": {"c": "ZA=="}},
    "secrets": {"data": {"a": "Yg=="}, "stringData": {"c": "d"}},
    "events": {
        "involvedObject": {"kind": "Pod", "name": "one", "namespace": "default"},
        "source": {"component": "test"},
        "firstTimestamp": "2027-01-15T08:00:00Z",
    },
    "serviceaccounts": {"secrets": [{"name": "one"}]},
    "leases": {"spec": {"holderIdentity": "one", "renewTime": "2027-01-15T08:00:00.000000Z"}},
    "poddisruptionbudgets": {"spec": {"selector": _SELECTOR, "minAvailable": "50%"}},
    "statefulsets": {
        "spec": {"serviceName": "one", "selector": _SELECTOR, "template": _TEMPLATE, "replicas": 1}
    },
    "controllerrevisions": {"data": {"spec": {}}, "revision": 1},
    "jobs": {"spec": {"template": {"spec": {**_POD_SPEC, "restartPolicy": "Never"}}}},
}
BUILT_IN: Final = tuple(
    one for one in (*SERVED, *FOR_CLIENTS) if not one.is_custom and one.plural in CONTENT
)
JUNK: Final = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "1", "1Gi", "a/b", "\ud800", "None", "ExternalName", "2027-01-15"]),
    st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=2)), max_size=2),
    st.dictionaries(
        st.sampled_from(["a", "name", "$patch", "-", "port"]), st.integers(), max_size=2
    ),
)


def collection(resource: Resource) -> str:
    root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    return (
        f"{root}/namespaces/default/{resource.plural}"
        if resource.namespaced
        else (f"{root}/{resource.plural}")
    )


def body_of(resource: Resource, name: str = "one") -> dict[str, Any]:
    meta = {
        "name": name,
        "labels": {"a": "b"},
        "annotations": {"c": "d"},
        "finalizers": ["example.com/one"],
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Node", "name": "one", "uid": "u", "controller": True}
        ],
    }
    head = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": meta}
    return copy.deepcopy({**head, **CONTENT[resource.plural]})


def paths_in(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a body."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else ()
    pairs = enumerate(value) if isinstance(value, list) else pairs
    for key, item in pairs:
        yield from paths_in(item, (*path, key))


def test_every_built_in_kind_is_tried() -> None:
    assert {one.plural for one in BUILT_IN} == set(CONTENT)


@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda one: one.plural)
def test_what_is_sent_is_well_formed(client: Client, resource: Resource) -> None:
    """Or else what follows would try nothing."""
    client.json("POST", collection(resource), body_of(resource))


@st.composite
def _malformed(draw: st.DrawFn, resource: Resource) -> dict[str, Any]:
    body = body_of(resource)
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(sorted(paths_in(body), key=str)))
        at: Any = body
        for key in path[:-1]:
            at = at[key]
        extra = draw(st.sampled_from([None, *_fields(resource)]))
        if extra is not None and isinstance(at, dict):
            at[extra] = draw(JUNK)
        else:
            at[path[-1]] = draw(JUNK)
    return body


@cache
def _fields(resource: Resource) -> list[str]:
    """Names of fields that mean something to the kind, wherever they stand."""
    schema = schema_of(resource)
    assert schema is not None
    found: set[str] = set()
    _collect(schema, found, 4)
    return sorted(found)


def _collect(schema: Schema, found: set[str], depth: int) -> None:
    for key, below in (schema.get("properties") or {}).items():
        found.add(key)
        if depth:
            _collect(below, found, depth - 1)
            _collect(below.get("items") or {}, found, depth - 1)


@pytest.mark.parametrize("resource", BUILT_IN, ids=lambda one: one.plural)
@settings(max_examples=EXAMPLES, deadline=None, phases=[Phase.generate], derandomize=True)
@given(data=st.data())
def test_malformed_objects(resource: Resource, data: st.DataObject) -> None:
    client, path = Client(), collection(resource)
    client.json("POST", path, body_of(resource))
    body = data.draw(_malformed(resource))
    fresh = copy.deepcopy(body)
    if isinstance(fresh.get("metadata"), dict):
        fresh["metadata"]["name"] = "two"
    _is_answered(client, "POST", path, fresh)
    _is_answered(client, "PUT", f"{path}/one", body)
    for content_type in (MERGE, STRATEGIC, APPLY):
        _is_answered(client, "PATCH", f"{path}/one?fieldManager=a", body, content_type=content_type)
    if resource.status_subresource:
        _is_answered(client, "PUT", f"{path}/one/status", body)
    where = data.draw(st.sampled_from(sorted(paths_in(body_of(resource)), key=str)))
    pointer = "".join(f"/{str(key).replace('/', '~1')}" for key in where)
    operation = {"op": data.draw(st.sampled_from(["add", "replace", "remove", "test"]))}
    patch = [{**operation, "path": pointer, "value": data.draw(JUNK)}]
    _is_answered(client, "PATCH", f"{path}/one", patch, content_type=JSON_PATCH)
    _is_answered(client, "GET", path, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    _is_answered(client, "DELETE", f"{path}/one", {"preconditions": data.draw(JUNK)})


def _is_answered(client: Client, method: str, path: str, body: Any = None, **more: Any) -> None:
    """With what was asked for, or with a Status that says why not; an exception comes through."""
    response = client.call(method, path, body, **more)
    assert response.status_code < 500, response.text
    if not response.is_success:
        found = response.json()
        assert found["kind"] == "Status"
        assert found["message"]
