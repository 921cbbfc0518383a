"""What a test of the `KubeApi` contract needs: the API, a namespace of its own, some patience."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    NODE,
    POD,
    STATEFUL_SET,
    WORKSPACE,
    KubeApi,
    KubeObject,
    ObjectNotFound,
    Resource,
    Subscription,
    WatchEvent,
    name_of,
)

Body = dict[str, Any]

_POLLS = 100


class Settle(Protocol):
    def __call__(self, until: Callable[[], bool] | None = None) -> None:
        """Give the controllers (garbage collector, namespaces) time to act on what was written.

        Returns once `until` holds; without it, or if it never does, after they had their time.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One test's world. Names outside of `namespace` must carry it, to be unique as well."""

    api: KubeApi
    namespace: str
    settle: Settle
    pause: Callable[[], None]  # a moment for what is asynchronous, as events of a watch may be
    forget_history: Callable[[], None] | None  # makes every version so far too old, where possible

    def body(self, resource: Resource, name: str, **parts: Any) -> Body:
        """A manifest; `labels`, `finalizers`, `ownerReferences`, ... go into its metadata."""
        meta: Body = {"name": name}
        if resource.namespaced:
            meta["namespace"] = self.namespace
        for key in ("labels", "annotations", "finalizers", "ownerReferences", "generateName"):
            if key in parts:
                meta[key] = parts.pop(key)
        meta.update(parts.pop("metadata", {}))
        return {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": meta,
            **parts,
        }

    def config_map(self, name: str, **parts: Any) -> KubeObject:
        return self.api.create(CONFIG_MAP, self.body(CONFIG_MAP, name, **parts))

    def workspace(self, name: str, **parts: Any) -> KubeObject:
        return self.api.create(WORKSPACE, self.body(WORKSPACE, name, **parts))

    def pod(self, name: str, *, node: str = "", **parts: Any) -> KubeObject:
        spec: Body = {"containers": [{"name": "main", "image": "registry.test/main:1"}]}
        if node:
            spec["nodeName"] = node
        return self.api.create(POD, self.body(POD, name, spec=spec, **parts))

    def stateful_set(self, name: str, **parts: Any) -> KubeObject:
        """A StatefulSet without pods."""
        spec = {
            "replicas": 0,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "registry.test/main:1"}]},
            },
        }
        return self.api.create(STATEFUL_SET, self.body(STATEFUL_SET, name, spec=spec, **parts))

    def node(self, name: str, **parts: Any) -> KubeObject:
        return self.api.create(NODE, self.body(NODE, f"{self.namespace}-{name}", **parts))

    def get(self, resource: Resource, name: str) -> KubeObject:
        return self.api.get(resource, name, self.namespace if resource.namespaced else None)

    def exists(self, resource: Resource, name: str) -> bool:
        try:
            self.get(resource, name)
        except ObjectNotFound:
            return False
        return True

    def names(self, resource: Resource = CONFIG_MAP, **selectors: Any) -> list[str]:
        """Names of the test's own objects (a cluster may add some to every namespace)."""
        listed = self.api.list(resource, self.namespace, **selectors).items
        return [name_of(obj) for obj in listed if not name_of(obj).startswith("kube-")]

    def collected(self, resource: Resource, name: str) -> bool:
        """Whether the object is gone once the controllers had their time."""
        self.settle(lambda: not self.exists(resource, name))
        return not self.exists(resource, name)

    def kept(self, resource: Resource, name: str) -> bool:
        """Whether the object is still there, not even marked, after the controllers' time."""
        self.settle()
        return "deletionTimestamp" not in self.get(resource, name)["metadata"]

    def watch(self, resource: Resource, after: KubeObject, **more: Any) -> Subscription:
        """Watch the test's namespace from behind a version."""
        return self.api.watch(
            resource,
            self.namespace if resource.namespaced else None,
            resource_version=after["metadata"]["resourceVersion"],
            **more,
        )

    def events(self, subscription: Subscription, count: int) -> list[WatchEvent]:
        """At least `count` events, or all that came in time."""
        events: list[WatchEvent] = []
        for _ in range(_POLLS):
            events.extend(subscription.poll())
            if len(events) >= count:
                break
            self.pause()
        return events


def owner_reference(owner: KubeObject, *, blocks: bool = False, **changes: Any) -> Body:
    reference: Body = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
    }
    if blocks:
        reference["blockOwnerDeletion"] = True
    return {**reference, **changes}


def version_of(obj: KubeObject) -> int:
    return int(obj["metadata"]["resourceVersion"])


def generation_of(obj: KubeObject) -> int:
    generation = obj["metadata"]["generation"]
    assert isinstance(generation, int)
    return generation


def metadata_of(obj: KubeObject) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = obj["metadata"]
    return metadata
