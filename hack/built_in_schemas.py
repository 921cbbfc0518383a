#!/usr/bin/env python3
"""Write kaito/adapters/fake/http/built_in_schemas.json: what the twin knows of built-in kinds.

    pip download --no-deps kubernetes-validate==1.37.0 && unzip kubernetes_validate-*.whl
    python hack/built_in_schemas.py 1.36.0 kubernetes_validate/kubernetes-json-schema

The package holds Kubernetes' published OpenAPI definitions as JSON schema. Kept are the kinds that
the twin serves and all that they refer to, in the form in which `/openapi/v3` has them.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

OUTPUT: Final = (
    Path(__file__).resolve().parents[1] / "kaito/adapters/fake/http/built_in_schemas.json"
)
_CORE: Final = "io.k8s.api.core.v1"
KINDS: Final = (
    *(f"{_CORE}.{kind}" for kind in ("ConfigMap", "Event", "Namespace", "Node", "Pod")),
    *(f"{_CORE}.{kind}" for kind in ("Secret", "Service", "ServiceAccount")),
    *(f"{_CORE}.{kind}" for kind in ("PersistentVolume", "PersistentVolumeClaim")),
    "io.k8s.api.apps.v1.ControllerRevision",
    "io.k8s.api.apps.v1.StatefulSet",
    "io.k8s.api.batch.v1.Job",
    "io.k8s.api.coordination.v1.Lease",
    "io.k8s.api.discovery.v1.EndpointSlice",
    "io.k8s.api.policy.v1.PodDisruptionBudget",
    "io.k8s.api.storage.v1.StorageClass",
    # options of requests, sub-resources, and what is only ever posted
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    f"{_CORE}.Binding",
    "io.k8s.api.authentication.v1.TokenRequest",
    "io.k8s.api.autoscaling.v1.Scale",
    "io.k8s.api.policy.v1.Eviction",
    "io.k8s.api.authentication.v1.SelfSubjectReview",
    "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
)
# Without them items of a list cannot be told apart; the published form leaves defaults out.
_DEFAULTS: Final = {
    (f"{_CORE}.ContainerPort", "protocol"): "TCP",
    (f"{_CORE}.ServicePort", "protocol"): "TCP",
}
_KEPT: Final = ("description", "format", "required")
_REFERENCE: Final = "#/components/schemas/"
_NOTE_TO_SELF: Final = re.compile(r"\s*\((?:TO)DO:[^)]*\)")  # of its authors, in a description


def main(version: str, folder: Path) -> None:
    """Raises: KeyError (a kind is not defined), OSError."""
    file = folder / f"v{version}-local" / "_definitions.json"
    found = json.loads(file.read_text(encoding="utf-8"))["$defs"]
    kept: dict[str, Any] = {}
    waiting = list(KINDS)
    while waiting:
        name = waiting.pop()
        if name not in kept:
            kept[name] = _converted(found[name], name)
            waiting += _references(kept[name])
    head = {
        "source": f"Kubernetes v{version}, api/openapi-spec (Apache-2.0), by kubernetes-validate",
        "made by": "hack/built_in_schemas.py",
        "version": version,
    }
    lines = [f" {json.dumps(key)}: {json.dumps(value)}," for key, value in head.items()]
    bodies = [f"  {json.dumps(name)}: {_text(kept[name])}" for name in sorted(kept)]
    text = "\n".join(["{", *lines, ' "schemas": {', ",\n".join(bodies), " }", "}", ""])
    OUTPUT.write_text(text, encoding="utf-8")


def _converted(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """JSON schema, in which everything may be null, as OpenAPI, in which that goes unsaid."""
    made = {key: schema[key] for key in _KEPT if key in schema}
    made |= {key: value for key, value in schema.items() if key.startswith("x-kubernetes-")}
    if "description" in made:
        made["description"] = _NOTE_TO_SELF.sub("", made["description"])
    if "$ref" in schema:
        reference = _REFERENCE + schema["$ref"].rpartition("/")[2]
        # A reference stands alone; what is said of this use of it goes around it.
        return {**made, "allOf": [{"$ref": reference}]} if made else {"$ref": reference}
    kind = schema.get("type")
    if kind is not None:
        made["type"] = kind if isinstance(kind, str) else next(one for one in kind if one != "null")
    if "oneOf" in schema:
        made["oneOf"] = [_converted(one, name) for one in schema["oneOf"]]
    if "properties" in schema:
        made["properties"] = {
            key: _property(value, name, key) for key, value in schema["properties"].items()
        }
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            made[key] = _converted(schema[key], name)
    return made


def _property(schema: Mapping[str, Any], name: str, key: str) -> dict[str, Any]:
    default = _DEFAULTS.get((name, key))
    found = _converted(schema, name)
    return found if default is None else {**found, "default": default}


def _references(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference.removeprefix(_REFERENCE)
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
