"""What built-in kinds look like: Kubernetes' own OpenAPI schemas, as published.

`built_in_schemas.json` is made by `hack/built_in_schemas.py`.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeAlias

from kaito.adapters.kube_api import Resource

Schema: TypeAlias = Mapping[str, Any]

OBJECT_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
# Under this key an expanded schema says which definition it is; no document has it.
NAME: Final = "$name"
_REFERENCE: Final = "#/components/schemas/"
_FILE: Final = Path(__file__).with_name("built_in_schemas.json")


def kubernetes_version() -> str:
    """Of the schemas, such as `1.36.0`."""
    return str(_content()["version"])


def definition_name(group: str, version: str, kind: str) -> str:
    """`io.k8s.api.core.v1.Pod`."""
    return f"io.k8s.api.{group.removesuffix('.k8s.io') or 'core'}.{version}.{kind}"


def schema_of(resource: Resource) -> Schema | None:
    """A built-in kind's schema with everything that it refers to in place; None: not known."""
    name = definition_name(resource.group, resource.version, resource.kind)
    return expanded(name) if name in definitions() else None


def definitions() -> Mapping[str, Schema]:
    """Every definition, by name, referring to others as `/openapi/v3` does."""
    found: Mapping[str, Schema] = _content()["schemas"]
    return found


@cache
def expanded(name: str) -> Schema:
    """A definition with its references replaced by what they refer to. None refers to itself."""
    return {**_expanded(definitions()[name]), NAME: name}


def closure(names: Iterable[str]) -> dict[str, Schema]:
    """Definitions with all that they refer to."""
    found: dict[str, Schema] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions()[name]
            waiting += _references(found[name])
    return found


def reference(name: str) -> dict[str, str]:
    return {"$ref": _REFERENCE + name}


@cache
def _content() -> Mapping[str, Any]:
    content: Mapping[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return content


def _expanded(schema: Schema) -> Schema:
    if "$ref" in schema:
        return expanded(schema["$ref"].removeprefix(_REFERENCE))
    made = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema.get("allOf") or ():
        made = {**_expanded(part), **made}
    if "properties" in schema:
        made["properties"] = {key: _expanded(one) for key, one in schema["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            made[key] = _expanded(schema[key])
    return made


def _references(value: object) -> list[str]:
    if isinstance(value, Mapping):
        own = value.get("$ref")
        found = [own.removeprefix(_REFERENCE)] if isinstance(own, str) else []
        return found + [name for item in value.values() for name in _references(item)]
    if isinstance(value, list):
        return [name for item in value for name in _references(item)]
    return []
