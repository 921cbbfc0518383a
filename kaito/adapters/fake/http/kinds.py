"""What is served, and under which names: kinds, sub-resources, columns, schemas."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from kaito.adapters.fake.disruption import POD_DISRUPTION_BUDGET
from kaito.adapters.fake.endpoint_slices import ENDPOINT_SLICE
from kaito.adapters.fake.http.built_in_schemas import schema_of
from kaito.adapters.fake.http.columns import BUILT_IN_COLUMNS, Column, crd_columns
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    EVENT,
    JOB,
    NAMESPACE,
    NODE,
    NODE_CLAIM,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE,
    STATEFUL_SET,
    STORAGE_CLASS,
    KubeObject,
    Resource,
)

SERVICE_ACCOUNT: Final = Resource(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    status_subresource=False,
)
LEASE: Final = Resource(
    group="coordination.k8s.io",
    version="v1",
    kind="Lease",
    plural="leases",
    status_subresource=False,
)
# Stored beside what kaito itself uses: an operator that is attached from outside needs them, and
# people look at them.
FOR_CLIENTS: Final = (SERVICE_ACCOUNT, LEASE, ENDPOINT_SLICE, POD_DISRUPTION_BUDGET)

CRD: Final = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
)

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")


@dataclass(frozen=True, slots=True, kw_only=True)
class Subresource:
    """A part of an object with its own URL; `group_version` is the body's, where it differs."""

    name: str
    kind: str
    verbs: tuple[str, ...]
    group_version: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One resource in one version. `schema` is its CRD's, or Kubernetes' own; None: not known."""

    resource: Resource
    singular: str
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    schema: Mapping[str, Any] | None = None
    subresources: tuple[Subresource, ...] = ()
    verbs: tuple[str, ...] = (*READ, *WRITE)

    @property
    def group_version(self) -> tuple[str, str]:
        return self.resource.group, self.resource.version

    @property
    def is_typed(self) -> bool:
        """Whether the server has a Go type for it, and so decodes strictly."""
        return self.schema is not None and not self.resource.is_custom

    def subresource(self, name: str) -> Subresource | None:
        return next((one for one in self.subresources if one.name == name), None)


@dataclass(frozen=True, slots=True)
class _Names:
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


_ALL: Final = ("all",)
_NAMES: Final[Mapping[Resource, _Names]] = {
    NAMESPACE: _Names(("ns",)),
    NODE: _Names(("no",)),
    POD: _Names(("po",), _ALL),
    SERVICE: _Names(("svc",), _ALL),
    CONFIG_MAP: _Names(("cm",)),
    SECRET: _Names(),
    EVENT: _Names(("ev",)),
    STATEFUL_SET: _Names(("sts",), _ALL),
    CONTROLLER_REVISION: _Names(),
    JOB: _Names((), _ALL),
    PERSISTENT_VOLUME_CLAIM: _Names(("pvc",)),
    PERSISTENT_VOLUME: _Names(("pv",)),
    STORAGE_CLASS: _Names(("sc",)),
    NODE_CLAIM: _Names((), ("karpenter",)),
    SERVICE_ACCOUNT: _Names(("sa",)),
    LEASE: _Names(),
    POD_DISRUPTION_BUDGET: _Names(("pdb",)),
}
_SCALE: Final = Subresource(
    name="scale",
    kind="Scale",
    verbs=("get", "patch", "update"),
    group_version=("autoscaling", "v1"),
)
_EXTRA: Final[Mapping[Resource, tuple[Subresource, ...]]] = {
    POD: (
        Subresource(name="attach", kind="PodAttachOptions", verbs=("create", "get")),
        Subresource(name="binding", kind="Binding", verbs=("create",)),
        Subresource(
            name="eviction",
            kind="Eviction",
            verbs=("create",),
            group_version=("policy", "v1"),
        ),
        Subresource(name="exec", kind="PodExecOptions", verbs=("create", "get")),
        Subresource(name="log", kind="Pod", verbs=("get",)),
        Subresource(name="portforward", kind="PodPortForwardOptions", verbs=("create", "get")),
    ),
    STATEFUL_SET: (_SCALE,),
    SERVICE_ACCOUNT: (
        Subresource(
            name="token",
            kind="TokenRequest",
            verbs=("create",),
            group_version=("authentication.k8s.io", "v1"),
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class ReviewKind:
    """A kind that is only ever posted, and answered at once."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"


REVIEWS: Final = (
    ReviewKind("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews"),
    ReviewKind("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    ReviewKind("authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews"),
)


@dataclass(slots=True)
class Kinds:
    """Everything that is served, by group, version and plural."""

    crds: tuple[KubeObject, ...]
    _kinds: dict[tuple[str, str, str], Kind] = field(default_factory=dict)

    @classmethod
    def of(cls, resources: Iterable[Resource], crds: Sequence[KubeObject]) -> "Kinds":
        """The stored resources and the definitions behind them."""
        kinds = cls(tuple(crds))
        for resource in resources:
            kinds.add(_kind(resource, crds))
        crd = Kind(
            resource=CRD,
            singular="customresourcedefinition",
            short_names=("crd", "crds"),
            categories=("api-extensions",),
            columns=BUILT_IN_COLUMNS[CRD.plural],
            verbs=READ,
        )
        kinds.add(crd)
        return kinds

    def add(self, kind: Kind) -> None:
        self._kinds[(*kind.group_version, kind.resource.plural)] = kind

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def all(self) -> tuple[Kind, ...]:
        return tuple(self._kinds.values())

    def groups(self) -> dict[str, list[str]]:
        """Versions by group, the preferred one first; the core group is the empty one."""
        found: dict[str, list[str]] = {}
        for group, version, _plural in self._kinds:
            versions = found.setdefault(group, [])
            if version not in versions:
                versions.append(version)
        for review in REVIEWS:
            found.setdefault(review.group, [review.version])
        return found

    def of_version(self, group: str, version: str) -> list[Kind]:
        return [kind for kind in self._kinds.values() if kind.group_version == (group, version)]

    def stored(self, resource: Resource) -> Kind:
        kind = self.find(resource.group, resource.version, resource.plural)
        assert kind is not None, f"{resource.plural} is not served"
        return kind


def _kind(resource: Resource, crds: Sequence[KubeObject]) -> Kind:
    crd = next((crd for crd in crds if _defines(crd, resource)), None)
    version = _version_of(crd, resource.version) if crd is not None else None
    if crd is not None and version is not None:
        return _custom(resource, crd["spec"]["names"], version)
    names = _NAMES.get(resource, _Names())
    return Kind(
        resource=resource,
        singular=resource.kind.lower(),
        short_names=names.short,
        categories=names.categories,
        columns=BUILT_IN_COLUMNS.get(resource.plural, BUILT_IN_COLUMNS[""]),
        schema=schema_of(resource),
        subresources=(*_status(resource), *_EXTRA.get(resource, ())),
    )


def _custom(resource: Resource, names: Mapping[str, Any], version: Mapping[str, Any]) -> Kind:
    return Kind(
        resource=resource,
        singular=names.get("singular") or resource.kind.lower(),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        columns=crd_columns(version.get("additionalPrinterColumns") or ()),
        schema=(version.get("schema") or {}).get("openAPIV3Schema"),
        subresources=_status(resource),
    )


def _defines(crd: KubeObject, resource: Resource) -> bool:
    spec = crd["spec"]
    return bool(spec["group"] == resource.group and spec["names"]["plural"] == resource.plural)


def _version_of(crd: KubeObject, version: str) -> Mapping[str, Any] | None:
    return next((one for one in crd["spec"]["versions"] if one["name"] == version), None)


def _status(resource: Resource) -> tuple[Subresource, ...]:
    if not resource.status_subresource:
        return ()
    return (Subresource(name="status", kind=resource.kind, verbs=("get", "patch", "update")),)
