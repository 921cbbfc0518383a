"""`/openapi/v3`: what kubectl asks for before it explains, validates and applies."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from kaito.adapters.fake.http.built_in_schemas import (
    OBJECT_META,
    closure,
    definition_name,
    definitions,
    reference,
)
from kaito.adapters.fake.http.kinds import REVIEWS, Kind, Kinds
from kaito.adapters.fake.kubernetes_version import VERSION

_QUERY: Final = ("dryRun", "fieldManager", "fieldValidation")
_META_REFERENCE: Final[Mapping[str, Any]] = {
    "description": "Standard object's metadata.",
    "allOf": [reference(OBJECT_META)],
    "default": {},
}


def index(kinds: Kinds) -> dict[str, Any]:
    """The documents that there are."""
    paths = {}
    for group, versions in kinds.groups().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            text = json.dumps(document(kinds, group, version), sort_keys=True)
            digest = hashlib.sha256(text.encode()).hexdigest()[:32].upper()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": paths}


def document(kinds: Kinds, group: str, version: str) -> dict[str, Any] | None:
    """The document of one version of a group; None where there is no such version."""
    if version not in kinds.groups().get(group, ()):
        return None
    served = kinds.of_version(group, version)
    reviews = [one for one in REVIEWS if (one.group, one.version) == (group, version)]
    named = [definition_name(group, version, one.kind) for one in reviews]
    named += [schema_name(kind) for kind in served if kind.is_typed]
    schemas: dict[str, Any] = {**closure([OBJECT_META, *named])}
    schemas |= {schema_name(kind): _schema(kind) for kind in served if not kind.is_typed}
    paths: dict[str, Any] = {}
    for kind in served:
        paths |= _paths(kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes (kaito twin)", "version": f"v{VERSION}"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def schema_name(kind: Kind) -> str:
    """`sh.kaito.v1beta1.Workspace`, `io.k8s.api.core.v1.Pod`."""
    resource = kind.resource
    name = definition_name(resource.group, resource.version, resource.kind)
    if name in definitions():
        return name
    domain = ".".join(reversed(resource.group.split(".")))
    return f"{domain}.{resource.version}.{resource.kind}"


def _schema(kind: Kind) -> dict[str, Any]:
    """Of a kind that a CustomResourceDefinition defines, or of which nothing is known."""
    schema = dict(kind.schema or {"type": "object"})
    properties = dict(schema.get("properties") or {})
    types = definitions()[definition_name("", "v1", "ConfigMap")]["properties"]
    schema["properties"] = {
        **properties,
        "apiVersion": types["apiVersion"],
        "kind": types["kind"],
        "metadata": _META_REFERENCE,
    }
    schema.setdefault("description", f"{kind.resource.kind}: the twin describes no fields of it.")
    schema["x-kubernetes-group-version-kind"] = [_group_version_kind(kind)]
    return schema


def _paths(kind: Kind) -> dict[str, Any]:
    resource = kind.resource
    root = f"/apis/{resource.group}" if resource.group else "/api"
    base = f"{root}/{resource.version}"
    if resource.namespaced:
        base += "/namespaces/{namespace}"
    collection = f"{base}/{resource.plural}"
    return {
        collection: {"get": _operation(kind, "list"), "post": _operation(kind, "post")},
        f"{collection}/{{name}}": {
            "get": _operation(kind, "get"),
            "put": _operation(kind, "put"),
            "patch": _operation(kind, "patch"),
            "delete": _operation(kind, "delete"),
        },
    }


def _operation(kind: Kind, action: str) -> dict[str, Any]:
    reference = {"schema": {"$ref": f"#/components/schemas/{schema_name(kind)}"}}
    found: dict[str, Any] = {
        "responses": {"200": {"description": "OK", "content": {"application/json": reference}}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": _group_version_kind(kind),
    }
    if action in {"post", "put", "patch"}:
        found["parameters"] = [
            {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
            for name in _QUERY
        ]
    return found


def _group_version_kind(kind: Kind) -> dict[str, str]:
    resource = kind.resource
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}
