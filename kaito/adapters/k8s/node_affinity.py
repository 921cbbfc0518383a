"""Where a workload's pods may run: on its machines, or on Nodes that users bring."""

from collections.abc import Iterable, Mapping
from typing import Any

from kaito.domain import labels
from kaito.domain.workload import OwnPlace, Workload


def node_affinity(workload: Workload) -> dict[str, Any]:
    """The pods' `nodeAffinity`."""
    if workload.own_place is not None:
        return _own(workload.own_place)
    wanted = dict(workload.node_labels) | {
        labels.WORKSPACE: workload.owner.name,
        labels.WORKSPACE_NAMESPACE: workload.owner.namespace,
    }
    return {"requiredDuringSchedulingIgnoredDuringExecution": _any_of([_equal(wanted)])}


def _own(place: OwnPlace) -> dict[str, Any]:
    """Selected, and with the GPUs that the model was sized for."""
    selector = place.selector
    expressions = [
        {"key": one.key, "operator": one.operator}
        | ({"values": list(one.values)} if one.values else {})
        for one in selector.match_expressions
    ]
    terms = [
        _equal({**selector.match_labels, **dict(alternative)}) + expressions
        for alternative in place.shape.alternatives
    ]
    affinity: dict[str, Any] = {"requiredDuringSchedulingIgnoredDuringExecution": _any_of(terms)}
    if place.preferred:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": 100, "preference": {"matchFields": [_in("metadata.name", name)]}}
            for name in place.preferred
        ]
    return affinity


def _any_of(terms: Iterable[list[dict[str, Any]]]) -> dict[str, Any]:
    return {"nodeSelectorTerms": [{"matchExpressions": term} for term in terms]}


def _equal(wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    return [_in(key, wanted[key]) for key in sorted(wanted)]


def _in(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}
