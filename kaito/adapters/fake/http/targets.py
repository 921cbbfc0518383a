"""What a URL is about: `/apis/<group>/<version>/namespaces/<namespace>/<plural>/<name>/<part>`."""

from dataclasses import dataclass

from kaito.adapters.fake.http.kinds import Kind, Kinds
from kaito.adapters.fake.http.statuses import no_such_path
from kaito.adapters.kube_api import NAMESPACE


@dataclass(frozen=True, slots=True)
class Target:
    """A collection (no name), an object, or a sub-resource of one."""

    kind: Kind
    namespace: str | None
    name: str = ""
    subresource: str = ""


def target_of(path: str, kinds: Kinds) -> Target:
    """Raises: Refusal (404: nothing is served there)."""
    parts = [part for part in path.split("/") if part]
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace = None
    if rest and rest[0] == "namespaces" and len(rest) > 2 and not _is_namespace_part(rest):
        namespace, rest = rest[1], rest[2:]
    if not rest or len(rest) > 3:
        raise no_such_path()
    kind = kinds.find(group, version, rest[0])
    if kind is None or (namespace is not None and not kind.resource.namespaced):
        raise no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    if name and kind.resource.namespaced and namespace is None:
        raise no_such_path()
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and kind.subresource(subresource) is None:
        raise no_such_path()
    return Target(kind, namespace, name, subresource)


def _is_namespace_part(rest: list[str]) -> bool:
    """Whether `namespaces/<name>/<part>` is a sub-resource of the namespace itself."""
    return len(rest) == 3 and rest[2] in {"status", "finalize"} and rest[0] == NAMESPACE.plural
