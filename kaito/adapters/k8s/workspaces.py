"""Workspaces as stored: their status between the domain's values and JSON."""

from collections.abc import Mapping
from typing import Any

from kaito.adapters.k8s import conditions_json
from kaito.adapters.kube_api import KubeObject
from kaito.domain.cluster_view import WorkspaceView
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import parse_workspace


def to_view(stored: KubeObject) -> WorkspaceView:
    """The Workspace with its status. One that does not parse is read as far as its metadata, so
    that it can be told what is wrong, and released."""
    status: Mapping[str, Any] = stored.get("status") or {}
    problems: tuple[Problem, ...] = ()
    try:
        workspace = parse_workspace(stored)
    except InvalidInput as error:
        problems = error.problems
        known = {key: stored[key] for key in ("apiVersion", "kind", "metadata")}
        workspace = parse_workspace({**known, "resource": {"labelSelector": {}}})
    return WorkspaceView(
        workspace=workspace,
        status=WorkspaceStatus(
            conditions=conditions_json.from_json(status),
            worker_nodes=tuple(status.get("workerNodes") or ()),
            target_node_count=status.get("targetNodeCount", 0),
            state=status.get("state", ""),
        ),
        version=stored["metadata"]["resourceVersion"],
        problems=problems,
    )


def status_to_json(status: WorkspaceStatus) -> dict[str, Any]:
    """The status as it is stored; what is empty is left out."""
    body: dict[str, Any] = {"conditions": conditions_json.to_json(status.conditions)}
    if status.worker_nodes:
        body["workerNodes"] = list(status.worker_nodes)
    if status.target_node_count:
        body["targetNodeCount"] = status.target_node_count
    if status.state:
        body["state"] = status.state
    return body
