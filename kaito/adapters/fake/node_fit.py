"""Why a pod cannot go on a node, in the scheduler's words. Pure.

The order of the questions is kube-scheduler's default plugin order: the first that fails speaks.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kaito.adapters.kube_api import KubeObject, is_true, labels_of, name_of

NOT_SELECTED: Final = "node(s) didn't match Pod's node affinity/selector"
_BLOCKING_EFFECTS: Final = frozenset({"NoSchedule", "NoExecute"})
_UNSCHEDULABLE: Final = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
# The node life-cycle controller keeps this taint on a node that is not Ready.
_NOT_READY: Final = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


def mismatch(pod: KubeObject, node: KubeObject) -> str:
    """The reason that does not depend on what else runs there; empty when there is none."""
    return barred(pod, bars(node)) or ("" if _selected(pod, node) else NOT_SELECTED)


def bars(node: KubeObject) -> Iterator[Mapping[str, Any]]:
    """The taints that keep a pod off the node, in the order in which they are asked about, and
    what counts as one."""
    spec = node.get("spec") or {}
    if spec.get("unschedulable"):
        yield _UNSCHEDULABLE
    for taint in spec.get("taints") or ():
        if taint.get("effect") in _BLOCKING_EFFECTS:
            yield taint
    if not is_true(node, "Ready"):
        yield _NOT_READY


def barred(pod: KubeObject, taints: Iterable[Mapping[str, Any]]) -> str:
    """Which of these the pod does not tolerate, as a reason; empty when there is none."""
    tolerations = pod["spec"].get("tolerations") or ()
    for taint in taints:
        if not _tolerated(taint, tolerations):
            if taint["key"] == _UNSCHEDULABLE["key"]:
                return "node(s) were unschedulable"
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"
    return ""


def preference(pod: KubeObject, node: KubeObject) -> int:
    """The weights, added up, of what the pod would rather have that the node has."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    wishes = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    labels, fields = labels_of(node), {"metadata.name": name_of(node)}
    return sum(wish["weight"] for wish in wishes if _matches(wish["preference"], labels, fields))


def shortages(
    requests: Mapping[str, int], allocatable: Mapping[str, int], used: Mapping[str, int]
) -> list[str]:
    """A reason for each resource that the node has too little of, in thousandths each."""
    reasons = []
    for name in sorted(requests):
        asked = requests[name]
        if asked and asked > allocatable.get(name, 0) - used.get(name, 0):
            reasons.append("Too many pods" if name == "pods" else f"Insufficient {name}")
    return reasons


def unschedulable_message(node_count: int, counts: Mapping[str, int]) -> str:
    """`0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had ...`."""
    if node_count == 0:
        return "no nodes available to schedule pods"
    reasons = sorted(f"{count} {reason}" for reason, count in counts.items() if count)
    return f"0/{node_count} nodes are available: {', '.join(reasons)}."


def _tolerated(taint: Mapping[str, Any], tolerations: Iterable[Mapping[str, Any]]) -> bool:
    return any(_tolerates(toleration, taint) for toleration in tolerations)


def _tolerates(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint.get("effect"):
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(
        toleration.get("key") and (toleration.get("value") or "") == (taint.get("value") or "")
    )


def _selected(pod: KubeObject, node: KubeObject) -> bool:
    labels = labels_of(node)
    selector: Mapping[str, str] = pod["spec"].get("nodeSelector") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        return False
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": name_of(node)}
    return any(_matches(term, labels, fields) for term in required.get("nodeSelectorTerms") or ())


def _matches(term: Mapping[str, Any], labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    """Whether every expression of the term holds; a term without any matches nothing."""
    on_labels = term.get("matchExpressions") or ()
    on_fields = term.get("matchFields") or ()
    if not on_labels and not on_fields:
        return False
    return all(_holds(expression, labels) for expression in on_labels) and all(
        _holds(expression, fields) for expression in on_fields
    )


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value = labels.get(expression["key"])
    values = expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt" as operator:
            return _compares(value, operator, values)
        case _:
            return False


def _compares(value: str | None, operator: str, values: Iterable[str]) -> bool:
    try:
        have, bound = int(value or ""), int(next(iter(values), ""))
    except ValueError:
        return False
    return have > bound if operator == "Gt" else have < bound
