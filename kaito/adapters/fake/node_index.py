"""Nodes by what keeps pods off them and by their labels, so that a pod is held against few Nodes
however many there are."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from kaito.adapters.fake.node_fit import NOT_SELECTED, barred, bars, mismatch
from kaito.adapters.kube_api import KubeObject, freeze, labels_of, name_of

_Names: TypeAlias = dict[str, None]  # a set with an order
_Bars: TypeAlias = tuple[tuple[str, str, str], ...]


class NodeIndex:
    """Follows Nodes; what it answers is as if each were asked with `node_fit.mismatch`."""

    def __init__(self) -> None:
        self._nodes: dict[str, KubeObject] = {}
        self._bars_of: dict[str, _Bars] = {}
        self._by_bars: dict[_Bars, _Names] = {}
        self._by_label: dict[tuple[str, str], _Names] = {}
        self._indexed: set[str] = set()  # keys of labels; of the many, pods select by few

    def __len__(self) -> int:
        return len(self._nodes)

    def put(self, node: KubeObject) -> None:
        """Take over the Node as it is now."""
        name = name_of(node)
        self.remove(name)
        self._nodes[name] = node
        found = tuple((one["key"], one.get("value") or "", one["effect"]) for one in bars(node))
        self._bars_of[name] = found
        self._by_bars.setdefault(found, {})[name] = None
        for pair in self._indexed_pairs(node):
            self._by_label.setdefault(pair, {})[name] = None

    def remove(self, name: str) -> None:
        """The Node is gone; one that is not known is none."""
        node = self._nodes.pop(name, None)
        if node is None:
            return
        _discard(self._by_bars, self._bars_of.pop(name), name)
        for pair in self._indexed_pairs(node):
            _discard(self._by_label, pair, name)

    def candidates(self, pod: KubeObject) -> set[str]:
        """The Nodes that the pod may go on, if they have room."""
        return {name for name in self._near(pod) if not mismatch(pod, self._nodes[name])}

    def reasons(self, pod: KubeObject, candidates: int) -> Counter[str]:
        """Why the pod may not go on the others, and how many Nodes each reason concerns."""
        found: Counter[str] = Counter()
        open_to_it = 0
        for each, names in self._by_bars.items():
            reason = barred(pod, (_taint(*one) for one in each))
            if reason:
                found[reason] += len(names)
            else:
                open_to_it += len(names)
        if open_to_it > candidates:
            found[NOT_SELECTED] += open_to_it - candidates
        return found

    def _near(self, pod: KubeObject) -> Iterable[str]:
        """Nodes among which all those are that the pod selects."""
        pairs = _required_pairs(pod)
        if pairs is None:
            return self._nodes
        near: _Names = {}
        for pair in pairs:
            if pair[0] not in self._indexed:
                self._index(pair[0])
            near |= self._by_label.get(pair, {})
        return near

    def _index(self, label: str) -> None:
        self._indexed.add(label)
        for name, node in self._nodes.items():
            value = labels_of(node).get(label)
            if value is not None:
                self._by_label.setdefault((label, value), {})[name] = None

    def _indexed_pairs(self, node: KubeObject) -> Iterator[tuple[str, str]]:
        return (pair for pair in labels_of(node).items() if pair[0] in self._indexed)


def _required_pairs(pod: KubeObject) -> list[tuple[str, str]] | None:
    """Labels of which a Node must have one for the pod to select it; None: it may have none."""
    selector: Mapping[str, str] = pod["spec"].get("nodeSelector") or {}
    if selector:
        return [next(iter(selector.items()))]
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return None
    pairs: list[tuple[str, str]] = []
    for term in required.get("nodeSelectorTerms") or ():
        one_of = next(_named_values(term), None)
        if one_of is None:
            return None
        pairs += one_of
    return pairs


def _named_values(term: Mapping[str, Any]) -> Iterator[list[tuple[str, str]]]:
    for expression in term.get("matchExpressions") or ():
        if expression["operator"] == "In":
            yield [(expression["key"], value) for value in expression.get("values") or ()]


def _taint(key: str, value: str, effect: str) -> KubeObject:
    taint: KubeObject = freeze({"key": key, "value": value, "effect": effect})
    return taint


def _discard(index: dict[Any, _Names], key: Any, name: str) -> None:
    names = index[key]
    del names[name]
    if not names:
        del index[key]
