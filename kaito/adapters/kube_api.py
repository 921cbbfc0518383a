"""The Kubernetes API as kaito uses it: resources, objects, errors, and the `KubeApi` port.

Implemented by the official client (production) and by the twin's object store. Objects are plain
JSON; those handed out are immutable (`freeze`), and `thaw` gives a copy to edit. Standard library
only.

KubeApiError
├── ObjectNotFound    404
├── AlreadyExists     409 on create
├── ObjectConflict    409: resourceVersion, uid precondition
├── InvalidObject     400, 415, 422: the object or request is wrong
├── Forbidden         403
├── Gone              410: the resourceVersion or continue token is too old, list again
└── ServerUnavailable 429, 5xx, connection lost: the outcome is unknown
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal, NoReturn, Protocol, TypeAlias

Json: TypeAlias = Any
KubeObject: TypeAlias = Mapping[str, Any]


class KubeApiError(Exception):
    """A failed API call. `code` is the HTTP status, `causes` the fields at fault."""

    code = 500

    def __init__(
        self, message: str, *, causes: Sequence[str] = (), code: int | None = None
    ) -> None:
        super().__init__(message)
        self.causes = tuple(causes)
        if code is not None:
            self.code = code


class ObjectNotFound(KubeApiError):
    code = 404


class AlreadyExists(KubeApiError):
    code = 409


class ObjectConflict(KubeApiError):
    code = 409


class InvalidObject(KubeApiError):
    code = 422


class Forbidden(KubeApiError):
    code = 403


class Gone(KubeApiError):
    code = 410


class ServerUnavailable(KubeApiError):
    code = 503

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, code: int | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A kind of object as the API serves it."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    status_subresource: bool = True
    # Worked out once; a resource is asked for these at every call.
    api_version: str = field(init=False, repr=False, compare=False)
    is_custom: bool = field(init=False, repr=False, compare=False)  # from a CRD
    name: tuple[str, str] = field(init=False, repr=False, compare=False)  # in any version
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        group, version = self.group, self.version
        object.__setattr__(self, "api_version", f"{group}/{version}" if group else version)
        custom = "." in group and not group.endswith(".k8s.io")
        object.__setattr__(self, "is_custom", custom)
        object.__setattr__(self, "name", (group, self.plural))
        object.__setattr__(self, "_hash", hash((group, version, self.plural)))

    def __hash__(self) -> int:
        return self._hash


NAMESPACE = Resource(
    group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False
)
NODE = Resource(group="", version="v1", kind="Node", plural="nodes", namespaced=False)
POD = Resource(group="", version="v1", kind="Pod", plural="pods")
SERVICE = Resource(group="", version="v1", kind="Service", plural="services")
CONFIG_MAP = Resource(
    group="", version="v1", kind="ConfigMap", plural="configmaps", status_subresource=False
)
PERSISTENT_VOLUME_CLAIM = Resource(
    group="", version="v1", kind="PersistentVolumeClaim", plural="persistentvolumeclaims"
)
PERSISTENT_VOLUME = Resource(
    group="", version="v1", kind="PersistentVolume", plural="persistentvolumes", namespaced=False
)
STORAGE_CLASS = Resource(
    group="storage.k8s.io",
    version="v1",
    kind="StorageClass",
    plural="storageclasses",
    namespaced=False,
    status_subresource=False,
)
SECRET = Resource(group="", version="v1", kind="Secret", plural="secrets", status_subresource=False)
EVENT = Resource(group="", version="v1", kind="Event", plural="events", status_subresource=False)
STATEFUL_SET = Resource(group="apps", version="v1", kind="StatefulSet", plural="statefulsets")
CONTROLLER_REVISION = Resource(
    group="apps",
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    status_subresource=False,
)
JOB = Resource(group="batch", version="v1", kind="Job", plural="jobs")
LEASE = Resource(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    status_subresource=False,
)
NODE_CLAIM = Resource(
    group="karpenter.sh", version="v1", kind="NodeClaim", plural="nodeclaims", namespaced=False
)
# Karpenter's name for it up to v0.31; not one of `RESOURCES`, since few clusters have it.
MACHINE = Resource(
    group="karpenter.sh", version="v1alpha5", kind="Machine", plural="machines", namespaced=False
)
WORKSPACE = Resource(group="kaito.sh", version="v1beta1", kind="Workspace", plural="workspaces")
WORKSPACE_V1ALPHA1 = replace(WORKSPACE, version="v1alpha1")

RESOURCES: tuple[Resource, ...] = (
    NAMESPACE,
    NODE,
    POD,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    EVENT,
    STATEFUL_SET,
    CONTROLLER_REVISION,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    PERSISTENT_VOLUME,
    STORAGE_CLASS,
    NODE_CLAIM,
    WORKSPACE,
)


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed, so that a stored object can be handed out without a copy."""

    __slots__ = ()

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("this object is an immutable snapshot; thaw() it to edit a copy")

    __setitem__ = __delitem__ = clear = pop = popitem = setdefault = update = _refuse
    __ior__ = _refuse

    def __copy__(self) -> "FrozenDict":
        return self

    def __deepcopy__(self, _memo: object) -> "FrozenDict":
        return self

    def __reduce__(self) -> tuple[type["FrozenDict"], tuple[dict[str, Any]]]:
        return FrozenDict, (dict(self),)


class FrozenList(list[Any]):
    """A list that cannot be changed."""

    __slots__ = ()

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise TypeError("this list is part of an immutable snapshot; thaw() it to edit a copy")

    __setitem__ = __delitem__ = append = clear = extend = insert = pop = remove = _refuse
    reverse = sort = _refuse
    __iadd__ = __imul__ = _refuse

    def __copy__(self) -> "FrozenList":
        return self

    def __deepcopy__(self, _memo: object) -> "FrozenList":
        return self

    def __reduce__(self) -> tuple[type["FrozenList"], tuple[list[Any]]]:
        return FrozenList, (list(self),)


_SCALARS = frozenset({str, int, float, bool, type(None)})
_IMMUTABLE = _SCALARS | {FrozenDict, FrozenList}


def freeze(value: Json) -> Json:
    """An immutable copy of a JSON value; what is already frozen is shared, not copied."""
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if kind is dict or (kind is not list and isinstance(value, Mapping)):
        return FrozenDict(
            {key: item if type(item) in _IMMUTABLE else freeze(item) for key, item in value.items()}
        )
    if isinstance(value, list | tuple):
        return FrozenList([freeze(item) for item in value])
    return value


def thaw(value: Json) -> Json:
    """A deep, editable copy of a JSON value."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if kind is FrozenDict or (kind is not FrozenList and isinstance(value, Mapping)):
        return {key: item if type(item) in _SCALARS else thaw(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [thaw(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class ObjectList:
    """One page of a list: `resource_version` is where a watch continues from."""

    items: tuple[KubeObject, ...]
    resource_version: str
    continue_token: str = ""


class EventType(StrEnum):
    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change: the object after it, or for DELETED its last state."""

    type: EventType
    object: KubeObject


class Subscription(Protocol):
    """A running watch on one resource."""

    def poll(self) -> Sequence[WatchEvent]:
        """The events since the last call, in order, without blocking; empty when there are none.

        Raises: Gone (the server no longer has the events since the version asked for, or the
        connection lost some: list again and watch from there).
        """

    def close(self) -> None:
        """Stop; a closed subscription polls empty and never wakes anybody again."""


PatchType: TypeAlias = Literal["merge", "json"]
Propagation: TypeAlias = Literal["Background", "Foreground", "Orphan"]


class KubeApi(Protocol):
    """The calls that kaito makes. No call waits for an effect, only for the server's answer.

    Every call may raise ServerUnavailable (the outcome is unknown) and Forbidden. Objects that are
    passed in are not kept; objects handed out are immutable.
    """

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """The object as it is now. Raises: ObjectNotFound."""

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | str | None = None,
        fields: Mapping[str, str] | None = None,
        limit: int | None = None,
        continue_token: str = "",
    ) -> ObjectList:
        """Objects of one namespace or of all (None), in order of namespace and name.

        `labels` is a mapping that must match, or a selector in Kubernetes' text form; `fields`
        selects on `metadata.name`, `metadata.namespace` and each kind's own selectable fields.
        Pages of one list show one snapshot. Raises: Gone (the continue token is too old),
        InvalidObject (a bad selector).
        """

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        """Store a new object (name, or generateName) and return it with what the server set.

        Raises: AlreadyExists, InvalidObject, ObjectNotFound (no such namespace).
        """

    def replace(self, resource: Resource, body: KubeObject) -> KubeObject:
        """Replace all but the status. A `resourceVersion` in `body` must be the current one.

        A change of `spec` (or of any top-level field of a kind without one) raises `generation`;
        no change at all leaves `resourceVersion` as it was.
        Raises: ObjectNotFound, ObjectConflict, InvalidObject.
        """

    def replace_status(self, resource: Resource, body: KubeObject) -> KubeObject:
        """Replace only the status; otherwise as `replace`."""

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Json,
        *,
        patch_type: PatchType = "merge",
        subresource: Literal["", "status"] = "",
    ) -> KubeObject:
        """Apply a JSON merge patch (RFC 7386) or a JSON patch (RFC 6902).

        A merge patch that carries `metadata.resourceVersion` fails unless that is the current one.
        Raises: ObjectNotFound, ObjectConflict, InvalidObject.
        """

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
        grace_period_s: int | None = None,
    ) -> None:
        """Delete, or mark with a deletionTimestamp while finalizers are left.

        A pod bound to a node is only marked: its kubelet deletes it again with `grace_period_s=0`
        once the containers have stopped. None is the pod's own grace period; other kinds have none.
        Raises: ObjectNotFound, ObjectConflict (a precondition does not hold).
        """

    def evict(self, name: str, namespace: str, *, uid: str | None = None) -> None:
        """Delete a pod with its own grace period, if PodDisruptionBudgets allow it now.

        Raises: ObjectNotFound, ObjectConflict (the pod has another `uid`), ServerUnavailable with
        code 429 (a budget does not allow it now, and nothing was done).
        """

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        wake: Callable[[], None] | None = None,
    ) -> Subscription:
        """Events after `resource_version` (a list's). `wake` is called when there is something to
        poll; it must not call the API itself. A version too old shows as Gone at the first poll.
        """


def name_of(obj: KubeObject) -> str:
    name = obj["metadata"]["name"]
    assert isinstance(name, str)
    return name


def namespace_of(obj: KubeObject) -> str:
    namespace = obj["metadata"].get("namespace", "")
    assert isinstance(namespace, str)
    return namespace


def labels_of(obj: KubeObject) -> Mapping[str, str]:
    labels: Mapping[str, str] = obj["metadata"].get("labels") or {}
    return labels


def annotations_of(obj: KubeObject) -> Mapping[str, str]:
    annotations: Mapping[str, str] = obj["metadata"].get("annotations") or {}
    return annotations


def condition_of(obj: KubeObject, condition_type: str) -> Mapping[str, Any] | None:
    """The condition of that type in `status.conditions`, if there is one."""
    for condition in (obj.get("status") or {}).get("conditions") or ():
        if condition.get("type") == condition_type:
            found: Mapping[str, Any] = condition
            return found
    return None


def is_true(obj: KubeObject, condition_type: str) -> bool:
    condition = condition_of(obj, condition_type)
    return condition is not None and condition.get("status") == "True"
