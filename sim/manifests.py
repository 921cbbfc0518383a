"""Which Kubernetes objects a run accepts, and what is wrong with one."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kaito.domain import inference_set, names
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.parsing import problems_of, shown
from kaito.domain.workspace import GROUP, KIND, VERSIONS, Workspace, parse_workspace

WORKSPACE: Final = KIND
CONFIG_MAP: Final = "ConfigMap"
SECRET: Final = "Secret"
NAMESPACE: Final = "Namespace"
STORAGE_CLASS: Final = "StorageClass"
INFERENCE_SET: Final = inference_set.KIND
DEFAULT_NAMESPACE: Final = "default"
INFERENCE_CONFIG: Final = "inference_config.yaml"
TRAINING_CONFIG: Final = "training_config.yaml"
ACCEPTED: Final = (
    f"Workspace ({' or '.join(f'{GROUP}/{version}' for version in VERSIONS)}), "
    "ConfigMap, Secret and Namespace (v1), StorageClass (storage.k8s.io/v1); InferenceSet, "
    "RAGEngine, ModelMirror and MultiRoleInference are checked and left alone"
)


class Key(NamedTuple):
    """Which object: one name is used once for each kind and namespace."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {f'{self.namespace}/' if self.namespace else ''}{self.name}"


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Metadata(_Object):
    """The metadata keys of the API server; what only the server writes may be there too."""

    name: str = Field(min_length=1)
    namespace: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: list[str] | None = None
    ownerReferences: list[dict[str, Any]] | None = None
    uid: str | None = None
    resourceVersion: str | None = None
    generation: int | None = None
    generateName: str | None = None
    creationTimestamp: str | None = None
    deletionTimestamp: str | None = None
    deletionGracePeriodSeconds: int | None = None
    managedFields: list[dict[str, Any]] | None = None
    selfLink: str | None = None


class _MetadataOnly(BaseModel):
    metadata: _Metadata


class _ConfigMap(_Object):
    apiVersion: Literal["v1"]
    kind: Literal["ConfigMap"]
    metadata: _Metadata
    data: dict[str, str] | None = None
    binaryData: dict[str, str] | None = None
    immutable: bool | None = None


class _Secret(_Object):
    apiVersion: Literal["v1"]
    kind: Literal["Secret"]
    metadata: _Metadata
    type: str = "Opaque"
    data: dict[str, str] | None = None
    stringData: dict[str, str] | None = None
    immutable: bool | None = None


class _Namespace(_Object):
    apiVersion: Literal["v1"]
    kind: Literal["Namespace"]
    metadata: _Metadata
    spec: dict[str, Any] | None = None
    status: dict[str, Any] | None = None


class _StorageClass(_Object):
    apiVersion: Literal["storage.k8s.io/v1"]
    kind: Literal["StorageClass"]
    metadata: _Metadata
    provisioner: str = Field(min_length=1)
    parameters: dict[str, str] | None = None
    reclaimPolicy: str | None = None
    volumeBindingMode: str | None = None
    allowVolumeExpansion: bool | None = None
    mountOptions: list[str] | None = None
    allowedTopologies: list[dict[str, Any]] | None = None


# Metadata that the API server alone decides.
_SERVERS: Final = frozenset(
    {
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "managedFields",
        "selfLink",
    }
)
# Kinds of KAITO v0.12 that nothing acts on yet, and their versions.
_NOT_YET: Final[Mapping[str, tuple[str, ...]]] = {
    INFERENCE_SET: VERSIONS,
    "RAGEngine": VERSIONS,
    "ModelMirror": ("v1alpha1",),
    "MultiRoleInference": ("v1alpha1",),
}
_CLUSTER_SCOPED: Final = frozenset({NAMESPACE, STORAGE_CLASS, "ModelMirror"})
_CORE: Final[Mapping[str, type[BaseModel]]] = {
    CONFIG_MAP: _ConfigMap,
    SECRET: _Secret,
    NAMESPACE: _Namespace,
    STORAGE_CLASS: _StorageClass,
}
_GROUPS: Final[Mapping[str, str]] = {STORAGE_CLASS: "storage.k8s.io"}  # of the others: none


def is_manifest(body: Mapping[str, Any]) -> bool:
    """Whether a document is meant as a Kubernetes object."""
    return "apiVersion" in body or "kind" in body


def is_reconciled(body: Mapping[str, Any]) -> bool:
    """Whether anything acts on objects of this kind."""
    return body.get("kind") not in _NOT_YET


def key_of(body: Mapping[str, Any]) -> Key | None:
    """Which object a manifest describes; None where it does not say so."""
    kind, metadata = body.get("kind"), body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(kind, str) or not isinstance(name, str) or not name:
        return None
    if kind in _CLUSTER_SCOPED:
        return Key(kind, "", name)
    namespace = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    return Key(kind, namespace if isinstance(namespace, str) else DEFAULT_NAMESPACE, name)


def as_applied(body: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its namespace written out, and without what only a server writes: so that
    what `kubectl get -o yaml` printed can be applied again."""
    key = key_of(body)
    assert key is not None, "only objects with a name are applied"
    metadata = {name: value for name, value in body["metadata"].items() if name not in _SERVERS}
    if key.namespace:
        metadata["namespace"] = key.namespace
    kept = {name: value for name, value in body.items() if name != "status"}
    return {**kept, "metadata": metadata}


def problems_in(body: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with a manifest by itself: kind, keys, types, names. Models, machines and
    placeholders of a Workspace are not looked at."""
    api_version, kind = body.get("apiVersion"), body.get("kind")
    if not isinstance(kind, str) or not isinstance(api_version, str):
        field = "apiVersion" if not isinstance(api_version, str) else "kind"
        missing = body.get(field) is None
        message = "is required" if missing else f"must be a text, got {shown(body[field])}"
        return [Problem(field=field, message=message, remedy=f"Accepted: {ACCEPTED}")]
    if kind == WORKSPACE and api_version.startswith(f"{GROUP}/"):
        return list(dict.fromkeys([*_workspace_problems(body), *_metadata_problems(body)]))
    if api_version in {f"{GROUP}/{one}" for one in _NOT_YET.get(kind, ())}:
        parsed = _inference_set_problems(body) if kind == INFERENCE_SET else []
        return list(dict.fromkeys([*parsed, *_metadata_problems(body)]))
    model = _CORE.get(kind)
    if model is None or api_version.rpartition("/")[0] != _GROUPS.get(kind, ""):
        return [_unaccepted(api_version, kind)]
    return _core_problems(body, model)


def secrets_of(workspace: Workspace) -> list[str]:
    """Names of the Secrets that a Workspace refers to, in order, each once."""
    options = workspace.preset.preset_options if workspace.preset else None
    named = [options.model_access_secret, *options.image_pull_secrets] if options else []
    if workspace.inference:
        for adapter in workspace.inference.adapters:
            named += adapter.source.image_pull_secrets
    if workspace.tuning:
        named += workspace.tuning.input.image_pull_secrets if workspace.tuning.input else ()
        named += [workspace.tuning.output.image_push_secret] if workspace.tuning.output else ()
    return [name for name in dict.fromkeys(named) if name]


def merged(target: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """`target` with a JSON merge patch (RFC 7386) applied."""
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            below = result.get(key)
            result[key] = merged(below if isinstance(below, Mapping) else {}, value)
        else:
            result[key] = value
    return result


def _workspace_problems(body: Mapping[str, Any]) -> list[Problem]:
    try:
        parse_workspace(body)
    except InvalidInput as error:
        return list(error.problems)
    return []


def _inference_set_problems(body: Mapping[str, Any]) -> list[Problem]:
    try:
        inference_set.parse_inference_set(body)
    except InvalidInput as error:
        return list(error.problems)
    return []


def _metadata_problems(body: Mapping[str, Any]) -> list[Problem]:
    metadata = body.get("metadata")
    if not isinstance(metadata, Mapping) and is_reconciled(body):
        return []  # the object's own model says so
    try:
        _MetadataOnly.model_validate({"metadata": metadata})
    except ValidationError as error:
        return problems_of(error, _MetadataOnly)
    return list(_name_problems(body))


def _core_problems(body: Mapping[str, Any], model: type[BaseModel]) -> list[Problem]:
    try:
        model.model_validate(body)
    except ValidationError as error:
        return problems_of(error, model)
    problems = list(_name_problems(body))
    if body["kind"] == SECRET:
        problems += _base64_problems(body.get("data") or {})
    if body["kind"] == CONFIG_MAP:
        problems += _base64_problems(body.get("binaryData") or {}, field="binaryData")
    return problems


def _name_problems(body: Mapping[str, Any]) -> Iterator[Problem]:
    key = key_of(body)
    assert key is not None, "its metadata was checked"
    letters = "lower-case letters, digits and '-'"
    if key.kind == NAMESPACE and not names.is_dns_label(key.name):
        message = f"{shown(key.name)} is not a DNS label"
        yield Problem(field="metadata.name", message=message, remedy=f"Use {letters}")
    if key.kind in {CONFIG_MAP, SECRET, STORAGE_CLASS} and not names.is_dns_subdomain(key.name):
        message = f"{shown(key.name)} is not a DNS subdomain"
        yield Problem(field="metadata.name", message=message, remedy=f"Use {letters}, with dots")
    if key.namespace and not names.is_dns_label(key.namespace):
        message = f"{shown(key.namespace)} is not a DNS label"
        yield Problem(field="metadata.namespace", message=message, remedy=f"Use {letters}")


def _base64_problems(data: Mapping[str, str], field: str = "data") -> Iterator[Problem]:
    for key, text in data.items():
        try:
            base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError):
            yield Problem(
                field=f"{field}.{key}",
                message=f"is not base64: {shown(text)}",
                remedy="Encode the value, or put it under stringData as it is"
                if field == "data"
                else "Encode the value",
            )


def _unaccepted(api_version: str, kind: str) -> Problem:
    what = f"{api_version} {kind}"
    if kind == WORKSPACE or kind in _NOT_YET:
        served = VERSIONS if kind == WORKSPACE else _NOT_YET[kind]
        return Problem(
            field="apiVersion",
            message=f"{shown(api_version)} is not a version of {kind}",
            remedy=f"Use {' or '.join(f'{GROUP}/{version}' for version in served)}",
        )
    if kind in _CORE:
        message = f"{shown(api_version)} has no {kind}"
        group = f"{_GROUPS[kind]}/" if kind in _GROUPS else ""
        return Problem(field="apiVersion", message=message, remedy=f"Use apiVersion {group}v1")
    close = names.nearest(kind, [WORKSPACE, *_CORE, *_NOT_YET])
    hint = f"Did you mean {' or '.join(close)}? " if close else ""
    remedy = f"{hint}Accepted: {ACCEPTED}"
    return Problem(field="kind", message=f"{what} is not simulated", remedy=remedy)
