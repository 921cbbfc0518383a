"""The Workspaces among the documents of a file, and the ConfigMaps that they name."""

from collections.abc import Mapping, Sequence
from typing import Any

from kaito.adapters.config_view import to_config_view
from kaito.adapters.documents import Document
from kaito.domain.cluster_view import ConfigView
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.parsing import shown
from kaito.domain.workload_plan import INFERENCE_CONFIG_KEY, TRAINING_CONFIG_KEY
from kaito.domain.workspace import KIND, Workspace, parse_workspace


def workspaces_of(documents: Sequence[Document], file: str) -> list[Workspace]:
    """Other kinds are left alone. Raises: InvalidInput (there is none, or one cannot be read)."""
    found: list[Workspace] = []
    problems: list[Problem] = []
    for document in documents:
        if document.body.get("kind") != KIND:
            continue
        try:
            found.append(parse_workspace(document.body))
        except InvalidInput as error:
            problems += (document.locate(one) for one in error.problems)
    if problems:
        raise InvalidInput(problems)
    if not found:
        kinds = ", ".join(dict.fromkeys(str(one.body.get("kind")) for one in documents))
        message = f"holds no Workspace, but {kinds}"
        raise InvalidInput([Problem(field=file, message=message, remedy="Name another file")])
    return found


def config_of(workspace: Workspace, documents: Sequence[Document]) -> ConfigView | None:
    """The ConfigMap that the Workspace names, as the operator would read it; None if it names none.

    Raises: InvalidInput (its data is not text).
    """
    if workspace.tuning is not None:
        name, key = workspace.tuning.config, TRAINING_CONFIG_KEY
    else:
        name = workspace.inference.config if workspace.inference is not None else ""
        key = INFERENCE_CONFIG_KEY
    if not name:
        return None
    for document in documents:
        if _names(document.body, workspace.namespace, name):
            return to_config_view(name, key, _with_text(document, key))
    return to_config_view(name, key, None)


def _names(body: Mapping[str, Any], namespace: str, name: str) -> bool:
    metadata = body.get("metadata")
    if body.get("kind") != "ConfigMap" or not isinstance(metadata, Mapping):
        return False
    where = metadata.get("namespace") or "default"
    return (where, metadata.get("name")) == (namespace, name)


def _with_text(document: Document, key: str) -> Mapping[str, Any]:
    """The ConfigMap, whose data an API server would take. Raises: InvalidInput."""
    data = document.body.get("data")
    if data is not None and not isinstance(data, Mapping):
        problem = document.problem("data", f"must be a mapping, got {shown(data)}")
        raise InvalidInput([problem])
    if data and not isinstance(data.get(key, ""), str):
        message, remedy = "must be text", f"Write its YAML below `{key}: |`"
        raise InvalidInput([document.problem(f"data.{key}", message, remedy)])
    return document.body
