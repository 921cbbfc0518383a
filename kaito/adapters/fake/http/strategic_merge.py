"""Strategic merge patch of built-in kinds, from one table of merge keys."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.fake.http.statuses import refusal
from kaito.adapters.kube_api import JOB, SERVICE, Json, Resource

# By which key the items of a list are told apart, by the list's field name. Lists that are not
# here are replaced as a whole, `tolerations` and `taints` among them: so does the real server.
MERGE_KEYS: Final[Mapping[str, str]] = {
    "addresses": "type",
    "conditions": "type",
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "podIPs": "ip",
    "ports": "containerPort",
    "resourceClaims": "name",
    "secrets": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
_OF_KIND: Final[Mapping[str, Mapping[str, str]]] = {
    SERVICE.plural: {"ports": "port"},
    JOB.plural: {"conditions": "type"},
}
SETS: Final = frozenset({"finalizers"})

_DIRECTIVE: Final = "$patch"
_RETAIN: Final = "$retainKeys"
_ORDER: Final = "$setElementOrder/"
_DELETE_FROM: Final = "$deleteFromPrimitiveList/"


def strategic_merge(resource: Resource, target: Mapping[str, Any], patch: Json) -> dict[str, Any]:
    """`target` with the patch applied. Raises: Refusal (400: a patch that makes no sense)."""
    if not isinstance(patch, Mapping):
        raise refusal(400, "a strategic merge patch is an object")
    keys = {**MERGE_KEYS, **_OF_KIND.get(resource.plural, {})}
    return _merge(target, patch, keys)


def _merge(
    target: Mapping[str, Any], patch: Mapping[str, Any], keys: Mapping[str, str]
) -> dict[str, Any]:
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return {key: _plain(value) for key, value in patch.items() if key != _DIRECTIVE}
    if directive == "delete":
        return {}
    if directive not in {None, "merge"}:
        raise refusal(400, f"unknown patch type: {directive}")
    retained = patch.get(_RETAIN)
    result = {key: target[key] for key in target if retained is None or key in retained}
    for key, value in patch.items():
        if key.startswith(_DELETE_FROM):
            field = key.removeprefix(_DELETE_FROM)
            result[field] = [one for one in result.get(field) or () if one not in value]
        elif key.startswith("$"):
            continue  # an order is looked up with its list
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(key, result.get(key), value, patch.get(f"{_ORDER}{key}"), keys)
    _order_untouched(result, patch, keys)
    return result


def _order_untouched(
    result: dict[str, Any], patch: Mapping[str, Any], keys: Mapping[str, str]
) -> None:
    """Order the lists of which the patch says nothing else."""
    for key, order in patch.items():
        field = key.removeprefix(_ORDER)
        if key.startswith(_ORDER) and field not in patch and field in result:
            result[field] = _ordered(result[field], order, keys.get(field))


def _merged(field: str, target: Json, value: Json, order: Json, keys: Mapping[str, str]) -> Json:
    if isinstance(value, Mapping):
        return _merge(target if isinstance(target, Mapping) else {}, value, keys)
    if not isinstance(value, list):
        return value
    before: Sequence[Any] = target if isinstance(target, list) else ()
    if field in SETS:
        found = [*before, *(one for one in value if one not in before)]
        return _ordered(found, order, None) if order else found
    if field in keys and all(isinstance(one, Mapping) for one in value):
        found = _merge_list(field, before, value, keys)
        return _ordered(found, order, keys[field]) if order else found
    return _plain(value)


def _merge_list(
    field: str, target: Sequence[Any], patch: Sequence[Any], keys: Mapping[str, str]
) -> list[Any]:
    if any(one.get(_DIRECTIVE) == "replace" for one in patch):
        return [_plain(one) for one in patch if one.get(_DIRECTIVE) != "replace"]
    key = keys[field]
    result = list(target)
    for item in patch:
        if key not in item:
            raise refusal(400, f"map: {dict(item)} does not contain declared merge key: {key}")
        at = next((at for at, one in enumerate(result) if one.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            if at is not None:
                del result[at]
        elif at is None:
            result.append(_merge({}, item, keys))
        else:
            result[at] = _merge(result[at], item, keys)
    return result


def _ordered(found: Sequence[Any], order: Sequence[Any], key: str | None) -> list[Any]:
    """`found` in the client's order; what it does not name stays before what it stood before."""
    wanted = [one.get(key) if key and isinstance(one, Mapping) else one for one in order]
    named: dict[Any, Any] = {}
    before: dict[Any, list[Any]] = {}
    waiting: list[Any] = []
    for one in found:
        name = one.get(key) if key else one
        if name in wanted:
            named[name], before[name], waiting = one, waiting, []
        else:
            waiting.append(one)
    result = []
    for name in wanted:
        if name in named:
            result += [*before[name], named[name]]
    return [*result, *waiting]


def _plain(value: Json) -> Json:
    """A value as the patch gives it, without nulls and directives."""
    if isinstance(value, Mapping):
        return {
            key: _plain(item)
            for key, item in value.items()
            if item is not None and not key.startswith("$")
        }
    return [_plain(item) for item in value] if isinstance(value, list) else value
