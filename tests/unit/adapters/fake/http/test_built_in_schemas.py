"""What the twin knows of built-in kinds is whole, and of the version that it claims."""

import pytest

from kaito.adapters.fake.http.built_in_schemas import (
    OBJECT_META,
    closure,
    definitions,
    expanded,
    kubernetes_version,
    schema_of,
)
from kaito.adapters.fake.http.kinds import CRD, FOR_CLIENTS
from kaito.adapters.fake.kubernetes_version import VERSION
from kaito.adapters.fake.store import SERVED
from kaito.adapters.kube_api import POD, WORKSPACE, Resource


def test_every_reference_leads_somewhere() -> None:
    assert set(closure(definitions())) == set(definitions())
    for name in definitions():
        expanded(name)


def test_the_version_is_the_one_that_server_and_nodes_claim() -> None:
    assert kubernetes_version() == VERSION


@pytest.mark.parametrize(
    "resource",
    [one for one in (*SERVED, *FOR_CLIENTS) if not one.is_custom],
    ids=lambda one: one.kind,
)
def test_every_built_in_kind_is_described(resource: Resource) -> None:
    schema = schema_of(resource)
    assert schema is not None
    assert schema["description"]
    assert schema["properties"]["metadata"]["$name"] == OBJECT_META


def test_others_are_not() -> None:
    assert schema_of(WORKSPACE) is None
    assert schema_of(CRD) is None


def test_references_are_put_in_place() -> None:
    schema = schema_of(POD)
    assert schema is not None
    containers = schema["properties"]["spec"]["properties"]["containers"]
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    ports = containers["items"]["properties"]["ports"]
    assert ports["items"]["properties"]["protocol"]["default"] == "TCP"
