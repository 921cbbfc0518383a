"""What to say of Workspaces that have the same matchLabels."""

from typing import Final

from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkspaceView
from kaito.domain.conditions import Condition, condition, cut_message, find
from kaito.domain.plan import Note
from kaito.domain.status import WorkspaceStatus

_NAMED: Final = 3  # so that many of a kind do not change one another's message


def selector_condition(view: WorkspaceView, cluster: ClusterView) -> list[Condition]:
    """Whether other Workspaces have the same matchLabels. Their machines are kept apart all the
    same; what the user selects by these labels finds those of all."""
    if cluster.sharing:
        named = ", ".join(cluster.sharing[:_NAMED])
        more = " and others" if len(cluster.sharing) > _NAMED else ""
        text = cut_message(
            f"resource.labelSelector.matchLabels are also those of {named}{more}: "
            "whatever selects Nodes by them finds the machines of all. Make a new Workspace with a "
            "label of its own"
        )
        return [condition(st.SELECTOR_SHARED, "True", "SameMatchLabels", text)]
    if find(view.status.conditions, st.SELECTOR_SHARED) is None:
        return []
    text = "no other Workspace of the namespace has its matchLabels"
    return [condition(st.SELECTOR_SHARED, "False", "OwnMatchLabels", text)]


def selector_notes(before: WorkspaceStatus, after: WorkspaceStatus) -> list[Note]:
    """An event whenever others have come to share the Workspace's matchLabels."""
    old, new = (find(one.conditions, st.SELECTOR_SHARED) for one in (before, after))
    if new is None or not new.is_true or (old is not None and old.message == new.message):
        return []
    return [Note(type="Warning", reason=new.type, message=new.message)]
