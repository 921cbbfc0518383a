"""CustomResourceDefinitions: Workspace, made from the domain's models so that the two cannot drift
apart, and Karpenter's NodeClaim and Machine as far as kaito needs them.

Structural schemas know neither references nor unions with null nor `additionalProperties: false`,
so the models' JSON schema is rewritten. The server prunes unknown fields; strict refusal is the
webhook's work. What rules can say without the webhook, they say (`crd_rules`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from kaito.adapters.k8s.crd_rules import rules
from kaito.adapters.kube_api import MACHINE, NODE_CLAIM, Resource
from kaito.domain import labels
from kaito.domain.parsing import SINCE
from kaito.domain.workspace import (
    GROUP,
    KIND,
    STORED_VERSION,
    V1ALPHA1_INSTANCE_TYPE,
    VERSIONS,
    WorkspaceFields,
)

CRD_NAME: Final = f"workspaces.{GROUP}"
_REQUESTED_TYPE: Final = f'.spec.requirements[?(@.key=="{labels.INSTANCE_TYPE}")].values[0]'
_HEADER: Final = "# Made by `kaito crds`; do not edit. Checked in CI to be current.\n"
_KEPT: Final = (
    "type",
    "description",
    "enum",
    "minimum",
    "required",
    "format",
    "x-kubernetes-preserve-unknown-fields",
)


def workspace_crd() -> dict[str, Any]:
    """The CustomResourceDefinition with every served version."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": CRD_NAME},
        "spec": {
            "group": GROUP,
            "names": {
                "categories": ["workspace"],
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": "workspaces",
                "shortNames": ["wk", "wks"],
                "singular": "workspace",
            },
            "scope": "Namespaced",
            "versions": [_version(version) for version in VERSIONS],
        },
    }


def node_claim_crd() -> dict[str, Any]:
    """Karpenter's NodeClaim, for clusters that have no Karpenter: any spec and status."""
    return _karpenters(
        NODE_CLAIM,
        "One machine: ordered, started, joined, released.",
        [
            _column("Type", _REQUESTED_TYPE),
            _column("Capacity", _label_path(labels.CAPACITY_TYPE)),
            _column("Zone", _label_path(labels.ZONE)),
            _column("Node", ".status.nodeName"),
            _condition_column("Ready"),
            _column("Age", ".metadata.creationTimestamp", kind="date"),
            _column("ID", ".status.providerID", priority=1),
            _column("NodePool", _label_path(labels.NODE_POOL), priority=1),
            _column("NodeClass", ".spec.nodeClassRef.name", priority=1),
        ],
    )


def machine_crd() -> dict[str, Any]:
    """Karpenter v0.31's Machine with its columns, for the mirror: any spec and status."""
    return _karpenters(
        MACHINE,
        "A NodeClaim of kaito's, as tools written for KAITO up to v0.2 expect it. To be read only:"
        " changes are undone.",
        [
            _column("Type", _label_path(labels.INSTANCE_TYPE)),
            _column("Zone", _label_path(labels.ZONE)),
            _column("Node", ".status.nodeName"),
            _condition_column("Ready"),
            _column("Age", ".metadata.creationTimestamp", kind="date"),
            _column("Capacity", _label_path(labels.CAPACITY_TYPE), priority=1),
            _column("Provisioner", _label_path(labels.PROVISIONER), priority=1),
            _column("Template", ".spec.machineTemplateRef.name", priority=1),
        ],
    )


def _karpenters(
    resource: Resource, description: str, shown: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One of Karpenter's cluster-scoped kinds."""
    anything = {
        "type": "object",
        "description": "Any fields: Karpenter's own definition, which takes the place of this one,"
        " describes them.",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}"},
        "spec": {
            "group": resource.group,
            "names": {
                "categories": ["karpenter"],
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
            },
            "scope": "Cluster",
            "versions": [
                {
                    "name": resource.version,
                    "served": True,
                    "storage": True,
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": description,
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": anything,
                                "status": dict(anything),
                            },
                        }
                    },
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": list(shown),
                }
            ],
        },
    }


def file_name(crd: Mapping[str, Any]) -> str:
    """Such as `kaito.sh_workspaces.yaml`."""
    return f"{crd['spec']['group']}_{crd['spec']['names']['plural']}.yaml"


def to_yaml(crd: Mapping[str, Any]) -> str:
    """The file's text."""
    return _HEADER + yaml.safe_dump(dict(crd), sort_keys=False, width=100)


def columns(version: str) -> list[dict[str, Any]]:
    """What `kubectl get workspace` shows; priority 1 only with `-o wide`."""
    shown = [
        _column("Instance", ".resource.instanceType"),
        _condition_column("ResourceReady"),
        _condition_column("InferenceReady"),
        _condition_column("JobStarted"),
        _condition_column("WorkspaceReady"),
        _condition_column("WorkspaceSucceeded", priority=1),
    ]
    if version != "v1alpha1":
        shown += [
            _column("TargetNodeCount", ".status.targetNodeCount", kind="integer", priority=1),
            _column("State", ".status.state", priority=1),
        ]
    return [*shown, _column("Age", ".metadata.creationTimestamp", kind="date")]


def _version(version: str) -> dict[str, Any]:
    schema = WorkspaceFields.model_json_schema(by_alias=True)
    properties = _structural(schema, schema.get("$defs", {}), version)
    properties["properties"] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        **properties["properties"],
        "status": _status(version),
    }
    properties["description"] = "A model served or fine-tuned on GPU machines of one type."
    if version == "v1alpha1":
        resource = properties["properties"]["resource"]
        resource["properties"]["instanceType"]["default"] = V1ALPHA1_INSTANCE_TYPE
    for path, found in rules().items():
        part = properties
        for name in path.split(".") if path else ():
            part = part["properties"][name]
        part["x-kubernetes-validations"] = found
    return {
        "name": version,
        "served": True,
        "storage": version == STORED_VERSION,
        "schema": {"openAPIV3Schema": properties},
        "subresources": {"status": {}},
        "additionalPrinterColumns": columns(version),
    }


def _structural(
    schema: Mapping[str, Any], definitions: Mapping[str, Any], version: str
) -> dict[str, Any]:
    """One schema without references, nulls and defaults, as `version` has it."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        return _structural({**target, **_without(schema, "$ref")}, definitions, version)
    if "anyOf" in schema:
        chosen = [option for option in schema["anyOf"] if option.get("type") != "null"]
        assert len(chosen) == 1, f"a union cannot be a structural schema: {schema}"
        return _structural({**chosen[0], **_without(schema, "anyOf")}, definitions, version)
    found = {key: schema[key] for key in _KEPT if key in schema}
    if "items" in schema:
        found["items"] = _structural(schema["items"], definitions, version)
    if "properties" in schema:
        found["properties"] = {
            name: _structural(part, definitions, version)
            for name, part in schema["properties"].items()
            if _exists(part, version)
        }
    elif schema.get("type") == "object":
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping) and values:
            found["additionalProperties"] = _structural(values, definitions, version)
        else:
            found["x-kubernetes-preserve-unknown-fields"] = True
    if found.get("type") == "integer":
        found["format"] = "int32"
    return found


def _exists(schema: Mapping[str, Any], version: str) -> bool:
    since = schema.get(SINCE)
    return since is None or VERSIONS.index(version) >= VERSIONS.index(since)


def _without(schema: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in schema.items() if name != key}


def _status(version: str) -> dict[str, Any]:
    text = {"type": "string"}
    condition = {
        "type": "object",
        "required": ["lastTransitionTime", "message", "reason", "status", "type"],
        "properties": {
            "type": text,
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": text,
            "message": text,
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    }
    properties: dict[str, Any] = {
        "conditions": {
            "type": "array",
            "items": condition,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
        "workerNodes": {
            "type": "array",
            "items": text,
            "description": "Names of the nodes that are used.",
        },
    }
    if version != "v1alpha1":
        properties |= {
            "targetNodeCount": {"type": "integer", "format": "int32"},
            "state": {
                "type": "string",
                "enum": ["Pending", "Ready", "NotReady", "Running", "Succeeded", "Failed"],
            },
        }
    return {"type": "object", "properties": properties}


def _label_path(key: str) -> str:
    return ".metadata.labels." + key.replace(".", "\\.")


def _condition_column(name: str, priority: int = 0) -> dict[str, Any]:
    return _column(name, f'.status.conditions[?(@.type=="{name}")].status', priority=priority)


def _column(name: str, path: str, *, kind: str = "string", priority: int = 0) -> dict[str, Any]:
    column: dict[str, Any] = {"name": name, "type": kind, "jsonPath": path}
    if priority:
        column["priority"] = priority
    return column
