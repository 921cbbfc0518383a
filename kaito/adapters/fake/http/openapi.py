"""`/openapi/v3`: what kubectl asks for before it explains, validates and applies."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from kaito.adapters.fake.http.kinds import Kind, Kinds

_QUERY: Final = ("dryRun", "fieldManager", "fieldValidation")
_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_META_SCHEMA: Final[Mapping[str, Any]] = {
    "description": "ObjectMeta is metadata that all persisted resources must have.",
    "type": "object",
    "properties": {
        "annotations": {
            "description": "Values that tools keep with an object; not for selecting.",
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
        "creationTimestamp": {
            "description": "When the server made the object.",
            "type": "string",
            "format": "date-time",
        },
        "deletionTimestamp": {
            "description": "When the object was marked for deletion.",
            "type": "string",
            "format": "date-time",
        },
        "finalizers": {
            "description": "Who must agree before the object goes away.",
            "type": "array",
            "items": {"type": "string"},
        },
        "generateName": {"description": "A prefix for a generated name.", "type": "string"},
        "generation": {
            "description": "Counts the changes of what is wanted.",
            "type": "integer",
            "format": "int64",
        },
        "labels": {
            "description": "Values that objects are selected by.",
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
        "name": {"description": "Unique among its kind in its namespace.", "type": "string"},
        "namespace": {"description": "Where the object lives.", "type": "string"},
        "ownerReferences": {
            "description": "Objects that this one goes away with.",
            "type": "array",
            "items": {"type": "object"},
        },
        "resourceVersion": {"description": "Changes with every write.", "type": "string"},
        "uid": {"description": "Tells this object from later ones of its name.", "type": "string"},
    },
}
_TYPE_FIELDS: Final[Mapping[str, Any]] = {
    "apiVersion": {
        "description": "APIVersion defines the versioned schema of this representation of an"
        " object.",
        "type": "string",
    },
    "kind": {
        "description": "Kind is a string value representing the REST resource this object"
        " represents.",
        "type": "string",
    },
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
    schemas: dict[str, Any] = {_META: _META_SCHEMA}
    paths: dict[str, Any] = {}
    for kind in kinds.of_version(group, version):
        schemas[schema_name(kind)] = _schema(kind)
        paths |= _paths(kind)
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes (kaito twin)", "version": "v1.30.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def schema_name(kind: Kind) -> str:
    """`sh.kaito.v1beta1.Workspace`, `io.k8s.api.core.v1.Pod`."""
    resource = kind.resource
    if kind.schema is not None or resource.is_custom:
        domain = ".".join(reversed(resource.group.split(".")))
        return f"{domain}.{resource.version}.{resource.kind}"
    group = resource.group.removesuffix(".k8s.io") or "core"
    return f"io.k8s.api.{group}.{resource.version}.{resource.kind}"


def _schema(kind: Kind) -> dict[str, Any]:
    schema = dict(kind.schema or {"type": "object"})
    properties = dict(schema.get("properties") or {})
    properties["metadata"] = {
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": f"#/components/schemas/{_META}"}],
        "default": {},
    }
    schema["properties"] = {**_TYPE_FIELDS, **_without_types(properties)}
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


def _without_types(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in properties.items() if key not in _TYPE_FIELDS}
