"""The twin's EndpointSlice controller: which pods stand behind each Service.

People look at them (`kubectl describe service`); nothing in the twin needs them. One slice for each
Service: the real controller begins another after 100 endpoints.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from kaito.adapters.fake.pods import is_deleting, is_ready, is_terminal, node_name_of
from kaito.adapters.fake.pods import owner_reference as owned_by
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    POD,
    SERVICE,
    KubeApi,
    KubeApiError,
    KubeObject,
    ObjectNotFound,
    Resource,
    ServerUnavailable,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.adapters.object_cache import Key, ObjectCache, key_of

ENDPOINT_SLICE: Final = Resource(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    status_subresource=False,
)
_SERVICE_NAME: Final = "kubernetes.io/service-name"
_MANAGED_BY: Final = "endpointslice.kubernetes.io/managed-by"
_RETRY_S: Final = 1.0


class EndpointSliceController:
    """Keeps one slice for every Service that selects pods."""

    def __init__(self, api: KubeApi, wake: Callable[[], None]) -> None:
        self._api = api
        self._dirty: dict[Key, None] = {}
        self._retries: Timers[Key] = Timers()
        self._slices: dict[Key, str] = {}  # the slice's name, by Service
        self._services = ObjectCache(api, SERVICE, wake)
        self._services.on_change(self._service_changed)
        self._pods = ObjectCache(api, POD, wake)
        self._pods.on_change(self._pod_changed)

    def step(self, now_s: float) -> float | None:
        """Bring every slice up to date; the next time something is due."""
        try:
            self._services.refresh()
            self._pods.refresh()
        except ServerUnavailable:
            return now_s + _RETRY_S
        self._dirty.update(dict.fromkeys(self._retries.pop_due(now_s)))
        while self._dirty:
            key = next(iter(self._dirty))
            del self._dirty[key]
            try:
                self._sync(key)
            except KubeApiError:  # such as a namespace that is going away
                self._retries.set(key, now_s + _RETRY_S)
        return self._retries.next_s()

    def _service_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        service = after if after is not None else before
        assert service is not None, "a change has a before or an after"
        self._dirty[key_of(service)] = None

    def _pod_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        for pod in (before, after):
            if pod is None:
                continue
            for service in self._services.values():
                if _selects(service, pod):
                    self._dirty[key_of(service)] = None

    def _sync(self, key: Key) -> None:
        """Raises: as `KubeApi`."""
        namespace, service = key[0], self._services.get(key)
        if service is None or not _selector(service):
            if key in self._slices:
                self._delete(namespace, self._slices.pop(key))
            return
        found = (pod for pod in self._pods.values() if _selects(service, pod))
        pods = sorted(found, key=name_of)
        content = {"endpoints": _endpoints(service, pods), "ports": _ports(service, pods)}
        if key in self._slices:
            try:
                self._api.patch(ENDPOINT_SLICE, self._slices[key], namespace, content)
            except ObjectNotFound:
                del self._slices[key]
            else:
                return
        body = {**_head(service), **content}
        self._slices[key] = name_of(self._api.create(ENDPOINT_SLICE, body))

    def _delete(self, namespace: str, name: str) -> None:
        try:
            self._api.delete(ENDPOINT_SLICE, name, namespace)
        except ObjectNotFound:
            return


def _selector(service: KubeObject) -> Mapping[str, str]:
    """Empty for a Service whose endpoints are not pods."""
    if service["spec"].get("type") == "ExternalName":
        return {}
    found: Mapping[str, str] = service["spec"].get("selector") or {}
    return found


def _selects(service: KubeObject, pod: KubeObject) -> bool:
    selector = _selector(service)
    return (
        bool(selector)
        and namespace_of(service) == namespace_of(pod)
        and selector.items() <= labels_of(pod).items()
        and bool((pod.get("status") or {}).get("podIP"))
        and not is_terminal(pod)
    )


def _head(service: KubeObject) -> dict[str, Any]:
    return {
        "apiVersion": ENDPOINT_SLICE.api_version,
        "kind": ENDPOINT_SLICE.kind,
        "metadata": {
            "namespace": namespace_of(service),
            "generateName": f"{name_of(service)}-",
            "labels": {
                **labels_of(service),
                _MANAGED_BY: "endpointslice-controller.k8s.io",
                _SERVICE_NAME: name_of(service),
            },
            "ownerReferences": [owned_by(SERVICE, service)],
        },
        "addressType": "IPv4",
    }


def _endpoints(service: KubeObject, pods: list[KubeObject]) -> list[dict[str, Any]]:
    always = bool(service["spec"].get("publishNotReadyAddresses"))
    return [
        {
            "addresses": [pod["status"]["podIP"]],
            "conditions": {
                "ready": always or (is_ready(pod) and not is_deleting(pod)),
                "serving": is_ready(pod),
                "terminating": is_deleting(pod),
            },
            "nodeName": node_name_of(pod),
            "targetRef": {
                "kind": POD.kind,
                "namespace": namespace_of(pod),
                "name": name_of(pod),
                "uid": pod["metadata"]["uid"],
            },
        }
        for pod in pods
    ]


def _ports(service: KubeObject, pods: list[KubeObject]) -> list[dict[str, Any]]:
    return [
        {
            "name": port.get("name", ""),
            "port": number,
            "protocol": port.get("protocol", "TCP"),
        }
        for port in service["spec"].get("ports") or ()
        if (number := _number(port.get("targetPort", port["port"]), pods)) is not None
    ]


def _number(target: int | str, pods: list[KubeObject]) -> int | None:
    """A port's number; that of a name is the pods' to say."""
    if isinstance(target, int):
        return target
    for pod in pods:
        for container in pod["spec"]["containers"]:
            for port in container.get("ports") or ():
                if port.get("name") == target:
                    return int(port["containerPort"])
    return None
