"""What a user does to the cluster during a run: apply, patch, delete."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, assert_never

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NAMESPACE,
    SECRET,
    STORAGE_CLASS,
    WORKSPACE,
    AlreadyExists,
    KubeApi,
    ObjectNotFound,
    Resource,
    thaw,
)
from sim.manifests import Key
from sim.scenario import Apply, Delete, Patch, Scenario

_BY_KIND: Mapping[str, Resource] = {
    resource.kind: resource
    for resource in (WORKSPACE, CONFIG_MAP, SECRET, NAMESPACE, STORAGE_CLASS)
}


def prepare(api: KubeApi, scenario: Scenario) -> None:
    """Make what the scenario takes for granted: namespaces, and Secrets that nobody provides."""
    for name in scenario.namespaces:
        try:
            api.create(NAMESPACE, {"metadata": {"name": name}})
        except AlreadyExists:
            continue
    for namespace, name in scenario.assumed_secrets:
        data = {"HF_TOKEN": "a-token-of-the-twin"}
        metadata = {"namespace": namespace, "name": name}
        api.create(SECRET, {"metadata": metadata, "stringData": data})


def perform(api: KubeApi, step: Apply | Patch | Delete) -> None:
    """Do one step. Raises: KubeApiError (the API server refuses it)."""
    match step:
        case Apply():
            _apply(api, step)
        case Patch(key=key, merge=merge):
            api.patch(_resource(key), key.name, key.namespace or None, merge)
        case Delete(key=key):
            try:
                api.delete(_resource(key), key.name, key.namespace or None)
            except ObjectNotFound:
                return
        case _:
            assert_never(step)


def _apply(api: KubeApi, step: Apply) -> None:
    """Create the object, or make its user's part what the manifest says."""
    body = dict(step.manifest)
    version = str(body["apiVersion"]).rpartition("/")[2]
    resource = replace(_resource(step.key), version=version)
    try:
        live = api.get(resource, step.key.name, step.key.namespace or None)
    except ObjectNotFound:
        api.create(resource, body)
        return
    metadata = thaw(live["metadata"])
    for key in ("labels", "annotations"):
        given = body["metadata"].get(key)
        if given:
            metadata[key] = {**(metadata.get(key) or {}), **given}
    changed: dict[str, Any] = {**body, "metadata": metadata}
    if "status" in live:
        changed["status"] = live["status"]
    api.replace(resource, changed)


def _resource(key: Key) -> Resource:
    return _BY_KIND[key.kind]
