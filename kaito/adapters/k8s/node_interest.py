"""Which Workspaces a change of a Node that a user brings concerns.

Kubelets write their Node's status every few minutes and more often; few of these writes mean
anything to a Workspace. Those that do wake the Workspaces whose selector finds the Node, which are
looked up by one label of their selector each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from pydantic import ValidationError

from kaito.adapters.k8s.node_claims import to_node_view
from kaito.adapters.kube_api import KubeObject, name_of, namespace_of
from kaito.domain.machine import NodeView
from kaito.domain.workspace import LabelSelector

_Pair: TypeAlias = tuple[str, str]
_ANY: Final[_Pair] = ("", "")  # of selectors without a label that could be looked up


class WorkspaceName(NamedTuple):
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class _Entry:
    selector: LabelSelector
    pair: _Pair


class NodeInterest:
    """Follows Workspaces and Nodes by their events; keeps no objects."""

    def __init__(self) -> None:
        self._entries: dict[WorkspaceName, _Entry] = {}
        self._by_pair: dict[_Pair, set[WorkspaceName]] = {}
        self._nodes: dict[str, NodeView] = {}

    def note_workspace(self, workspace: KubeObject, *, gone: bool) -> None:
        """Take over the Workspace's selector; one that does not parse selects nothing."""
        name = WorkspaceName(namespace_of(workspace), name_of(workspace))
        selector = None if gone else _selector_of(workspace)
        before = self._entries.get(name)
        if before is not None:
            if before.selector == selector:
                return
            self._forget(name, before.pair)
        if selector is not None:
            pair = min(selector.match_labels.items(), key=self._crowd, default=_ANY)
            self._entries[name] = _Entry(selector, pair)
            self._by_pair.setdefault(pair, set()).add(name)

    def concerned(self, node: KubeObject, *, gone: bool) -> list[WorkspaceName]:
        """The Workspaces, in order, to which what has changed in the Node since the last call
        matters."""
        after = None if gone else to_node_view(node)
        before = self._nodes.pop(name_of(node), None)
        if after is not None:
            self._nodes[name_of(node)] = after
        if before == after:
            return []
        views = [view for view in (before, after) if view is not None]
        return sorted({name for view in views for name in self._selecting(view)})

    def forget_nodes(self) -> None:
        """Events were missed: every Node that is seen from now on is news."""
        self._nodes.clear()

    def _selecting(self, node: NodeView) -> Iterator[WorkspaceName]:
        for pair in (_ANY, *node.labels.items()):
            for name in self._by_pair.get(pair, ()):
                if self._entries[name].selector.matches(node.labels):
                    yield name

    def _crowd(self, pair: _Pair) -> tuple[int, _Pair]:
        """How many are looked up by that label already."""
        return len(self._by_pair.get(pair, ())), pair

    def _forget(self, name: WorkspaceName, pair: _Pair) -> None:
        del self._entries[name]
        names = self._by_pair[pair]
        names.discard(name)
        if not names:
            del self._by_pair[pair]


def _selector_of(workspace: KubeObject) -> LabelSelector | None:
    try:
        return LabelSelector.model_validate((workspace.get("resource") or {}).get("labelSelector"))
    except ValidationError:
        return None
