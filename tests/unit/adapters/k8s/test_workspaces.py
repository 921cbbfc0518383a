from typing import Any

import pytest

from kaito.adapters.k8s.workspaces import status_to_json, to_view
from kaito.domain.status import WorkspaceStatus
from tests.unit.domain.builders import NOW_S, condition, manifest

STORED = {"resourceVersion": "17", "uid": "u"}


def stored(**more: Any) -> dict[str, Any]:
    return manifest(metadata=STORED, **more)


def test_a_status_there_and_back() -> None:
    status = WorkspaceStatus(
        conditions=(condition("WorkspaceSucceeded", "True", since_s=NOW_S),),
        worker_nodes=("node-a", "node-b"),
        target_node_count=2,
        state="Ready",
    )
    view = to_view(stored(status=status_to_json(status)))
    assert view.status == status
    assert view.version == "17"
    assert view.workspace.name == "phi"


def test_a_status_in_json() -> None:
    status = WorkspaceStatus(worker_nodes=("node",), target_node_count=1, state="Ready")
    assert status_to_json(status) == {
        "conditions": [],
        "workerNodes": ["node"],
        "targetNodeCount": 1,
        "state": "Ready",
    }
    assert status_to_json(WorkspaceStatus()) == {"conditions": []}


@pytest.mark.parametrize("status", [None, {}, {"conditions": None, "performance": {"x": 1}}])
def test_a_workspace_without_a_status(status: Any) -> None:
    assert to_view(stored(status=status)).status == WorkspaceStatus()


def test_what_does_not_parse_is_read_as_far_as_its_metadata() -> None:
    """So that its user can be told, and what it has can be released."""
    document = stored(resource={"count": "many"}, status={"workerNodes": ["node"]})
    document["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    document["metadata"]["finalizers"] = ["workspace.finalizer.kaito.sh"]
    view = to_view(document)
    assert [problem.field for problem in view.problems] == ["resource.count"]
    assert view.workspace.is_deleting
    assert view.workspace.metadata.finalizers == ("workspace.finalizer.kaito.sh",)
    assert view.status.worker_nodes == ("node",)
    assert view.workspace.preset is None
    assert to_view(stored()).problems == ()
