"""Which Workspaces of a namespace have equal matchLabels, kept up with their events.

A stateless webhook cannot know, and a list for each round would cost a namespace's Workspaces each
time; here an event costs one look-up.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from typing import Final, TypeAlias

from kaito.adapters.kube_api import KubeObject, name_of, namespace_of
from kaito.domain import labels

SHARING_LIMIT: Final = 4  # names of others that a Workspace is told, of however many there are

_Selector: TypeAlias = frozenset[tuple[str, str]]


class SharedSelectors:
    """Follows Workspaces by their events; keeps no objects."""

    def __init__(self) -> None:
        self._selectors: dict[tuple[str, str], _Selector] = {}
        self._names: dict[tuple[str, _Selector], list[str]] = {}  # sorted

    def note(self, workspace: KubeObject, *, gone: bool) -> list[str]:
        """Take over the Workspace's matchLabels; the names of the others in its namespace that are
        told something else now. One that is being deleted counts as gone."""
        namespace, name = namespace_of(workspace), name_of(workspace)
        leaves = gone or "deletionTimestamp" in workspace["metadata"]
        after = None if leaves else _selector_of(workspace)
        before = self._selectors.pop((namespace, name), None)
        if after is not None:
            self._selectors[namespace, name] = after
        if before == after:
            return []
        concerned: set[str] = set()
        if before is not None:
            names = self._names[namespace, before]
            told = names[: SHARING_LIMIT + 1]
            del names[bisect_left(names, name)]
            if names[: SHARING_LIMIT + 1] != told:
                concerned.update(names)
            if not names:
                del self._names[namespace, before]
        if after is not None:
            names = self._names.setdefault((namespace, after), [])
            told = names[: SHARING_LIMIT + 1]
            insort(names, name)
            if names[: SHARING_LIMIT + 1] != told:
                concerned.update(names)
        return sorted(concerned - {name})

    def sharing(self, namespace: str, name: str) -> Sequence[str]:
        """The names of other Workspaces of the namespace that have the same matchLabels, the first
        few of them in order."""
        selector = self._selectors.get((namespace, name))
        if selector is None:
            return ()
        first = self._names[namespace, selector][: SHARING_LIMIT + 1]
        return [one for one in first if one != name][:SHARING_LIMIT]

    def forget(self) -> None:
        """Events were missed: what is there is told again."""
        self._selectors.clear()
        self._names.clear()


def _selector_of(workspace: KubeObject) -> _Selector | None:
    """None: it asks for no label of its own, or does not parse."""
    part = (workspace.get("resource") or {}).get("labelSelector") or {}
    found = part.get("matchLabels") or {}
    own = frozenset(
        (str(key), str(value)) for key, value in found.items() if key not in labels.RESERVED
    )
    return own or None
