"""Discovery: what a client can ask for, in its old form and in the aggregated one."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kaito.adapters.fake.http.kinds import REVIEWS, Kind, Kinds, ReviewKind, Subresource
from kaito.adapters.fake.http.negotiation import JSON, accepted
from kaito.adapters.fake.kubernetes_version import VERSION as KUBERNETES

_MAJOR, _MINOR, _ = KUBERNETES.split(".")
VERSION: Final[Mapping[str, str]] = {
    "major": _MAJOR,
    "minor": _MINOR,
    "gitVersion": f"v{KUBERNETES}+kaito-twin",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}
_AGGREGATED_GROUP: Final = "apidiscovery.k8s.io"
_AGGREGATED: Final = ("v2", "v2beta1")


def aggregated_version(accept: str) -> str:
    """The version of aggregated discovery that the client takes; empty: it wants the old form."""
    for media in accepted(accept):
        if media.type != JSON:
            continue
        if not media.view:
            return ""
        if media.view != "APIGroupDiscoveryList" or media.params.get("g") != _AGGREGATED_GROUP:
            continue
        if media.params.get("v") in _AGGREGATED:
            return media.params["v"]
    return ""


def aggregated_type(version: str) -> str:
    """The content type of the aggregated form."""
    return f"{JSON};g={_AGGREGATED_GROUP};v={version};as=APIGroupDiscoveryList"


def aggregated(kinds: Kinds, version: str, *, core: bool) -> dict[str, Any]:
    """An `APIGroupDiscoveryList`: the core group, or all the others."""
    items = [
        {
            "metadata": {"name": group} if group else {},
            "versions": [
                {
                    "version": one,
                    "resources": [
                        *(_aggregated_resource(kind) for kind in kinds.of_version(group, one)),
                        *(_aggregated_review(review) for review in _reviews_of(group, one)),
                    ],
                    "freshness": "Current",
                }
                for one in versions
            ],
        }
        for group, versions in kinds.groups().items()
        if bool(group) is not core
    ]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"{_AGGREGATED_GROUP}/{version}",
        "metadata": {},
        "items": items,
    }


def core_versions(host: str) -> dict[str, Any]:
    """`/api`."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": host}],
    }


def group_list(kinds: Kinds) -> dict[str, Any]:
    """`/apis`."""
    groups = [_group(group, versions) for group, versions in kinds.groups().items() if group]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(kinds: Kinds, name: str) -> dict[str, Any] | None:
    """`/apis/<group>`; None where there is no such group."""
    versions = kinds.groups().get(name) if name else None
    if versions is None:
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)}


def resource_list(kinds: Kinds, group: str, version: str) -> dict[str, Any] | None:
    """`/api/v1`, `/apis/<group>/<version>`; None where there is no such version."""
    if version not in kinds.groups().get(group, ()):
        return None
    found = [
        *_listed(kinds.of_version(group, version)),
        *(
            {
                "name": review.plural,
                "singularName": review.kind.lower(),
                "namespaced": False,
                "kind": review.kind,
                "verbs": ["create"],
            }
            for review in _reviews_of(group, version)
        ),
    ]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": found,
    }


def _reviews_of(group: str, version: str) -> list[ReviewKind]:
    return [one for one in REVIEWS if (one.group, one.version) == (group, version)]


def _group(name: str, versions: list[str]) -> dict[str, Any]:
    found = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": found, "preferredVersion": found[0]}


def _listed(kinds: Iterable[Kind]) -> Iterable[dict[str, Any]]:
    for kind in kinds:
        resource = kind.resource
        entry: dict[str, Any] = {
            "name": resource.plural,
            "singularName": kind.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        yield entry
        for part in kind.subresources:
            listed: dict[str, Any] = {
                "name": f"{resource.plural}/{part.name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": part.kind,
                "verbs": list(part.verbs),
            }
            if part.group_version is not None:
                listed["group"], listed["version"] = part.group_version
            yield listed


def _aggregated_resource(kind: Kind) -> dict[str, Any]:
    resource = kind.resource
    found: dict[str, Any] = {
        "resource": resource.plural,
        "responseKind": _response_kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        found["shortNames"] = list(kind.short_names)
    if kind.categories:
        found["categories"] = list(kind.categories)
    if kind.subresources:
        found["subresources"] = [_aggregated_part(kind, part) for part in kind.subresources]
    return found


def _aggregated_part(kind: Kind, part: Subresource) -> dict[str, Any]:
    group, version = part.group_version or kind.group_version
    return {
        "subresource": part.name,
        "responseKind": _response_kind(group, version, part.kind),
        "verbs": list(part.verbs),
    }


def _aggregated_review(review: ReviewKind) -> dict[str, Any]:
    return {
        "resource": review.plural,
        "responseKind": _response_kind(review.group, review.version, review.kind),
        "scope": "Cluster",
        "singularResource": review.kind.lower(),
        "verbs": ["create"],
    }


def _response_kind(group: str, version: str, kind: str) -> dict[str, str]:
    return {"group": group, "version": version, "kind": kind}
