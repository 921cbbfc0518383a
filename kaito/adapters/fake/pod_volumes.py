"""What a pod refers to and cannot start without."""

from collections.abc import Iterator, Mapping
from typing import Any

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    SECRET,
    KubeApi,
    KubeObject,
    ObjectNotFound,
    Resource,
    namespace_of,
)


def missing_volume(api: KubeApi, pod: KubeObject) -> str:
    """Why the volumes cannot be mounted, in the kubelet's words; empty when they can.

    Raises: ServerUnavailable, Forbidden.
    """
    for volume in pod["spec"].get("volumes") or ():
        for resource, name in _sources(volume):
            if not _exists(api, resource, name, namespace_of(pod)):
                return (
                    f'MountVolume.SetUp failed for volume "{volume["name"]}" :'
                    f' {resource.kind.lower()} "{name}" not found'
                )
    return ""


def missing_variable(api: KubeApi, pod: KubeObject, container: Mapping[str, Any]) -> str:
    """Why the container's environment cannot be made; empty when it can.

    Raises: ServerUnavailable, Forbidden.
    """
    namespace = namespace_of(pod)
    for resource, name, key in _variable_sources(container):
        try:
            found = api.get(resource, name, namespace)
        except ObjectNotFound:
            return f'{resource.kind.lower()} "{name}" not found'
        if key and key not in (found.get("data") or {}):
            return f"couldn't find key {key} in {resource.kind} {namespace}/{name}"
    return ""


def _exists(api: KubeApi, resource: Resource, name: str, namespace: str) -> bool:
    try:
        api.get(resource, name, namespace)
    except ObjectNotFound:
        return False
    return True


def _sources(volume: Mapping[str, Any]) -> Iterator[tuple[Resource, str]]:
    """The Secrets and ConfigMaps that the volume is made of, without optional ones."""
    secret, config_map = volume.get("secret"), volume.get("configMap")
    if secret and not secret.get("optional"):
        yield SECRET, secret["secretName"]
    if config_map and not config_map.get("optional"):
        yield CONFIG_MAP, config_map["name"]
    for source in (volume.get("projected") or {}).get("sources") or ():
        for resource, part in (
            (SECRET, source.get("secret")),
            (CONFIG_MAP, source.get("configMap")),
        ):
            if part and not part.get("optional"):
                yield resource, part["name"]


def _variable_sources(container: Mapping[str, Any]) -> Iterator[tuple[Resource, str, str]]:
    """The Secrets and ConfigMaps that variables come from, without optional ones, each with the key
    of it; all keys: an empty text."""
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        for resource, part in (
            (SECRET, source.get("secretKeyRef")),
            (CONFIG_MAP, source.get("configMapKeyRef")),
        ):
            if part and not part.get("optional"):
                yield resource, part["name"], part["key"]
    for source in container.get("envFrom") or ():
        for resource, part in (
            (SECRET, source.get("secretRef")),
            (CONFIG_MAP, source.get("configMapRef")),
        ):
            if part and not part.get("optional"):
                yield resource, part["name"], ""
