"""A Workspace from a file, with the ConfigMap that it names where that stands beside it."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kaito.adapters import yaml_values
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.workspace import KIND, Workspace, parse_workspace

__all__ = ["WorkspaceFile", "read_workspace_file"]

_SIZE_LIMIT_BYTES: Final = 4 << 20
_SERVING_KEY: Final = "inference_config.yaml"
_TRAINING_KEY: Final = "training_config.yaml"
_STDIN: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceFile:
    """`config` is the parsed inference_config.yaml or training_config.yaml; None where the
    Workspace names none, or one that is not in the file (`config_missing` is its name)."""

    workspace: Workspace
    config: Mapping[str, Any] | None
    config_missing: str = ""


def read_workspace_file(path: str) -> WorkspaceFile:
    """The one Workspace of a manifest, YAML or JSON; `-` is standard input.

    Raises: InvalidInput (cannot be read, is no YAML, holds no Workspace or several, or one that is
    wrong).
    """
    documents = [one.value for one in _parsed(path) if isinstance(one.value, dict)]
    found = [one for one in documents if one.get("kind") == KIND]
    if len(found) != 1:
        message = f"holds {len(found) or 'no'} Workspaces" if found else "holds no Workspace"
        raise _problem(path, message, "Give a file with one Workspace")
    try:
        workspace = parse_workspace(found[0])
    except InvalidInput as error:
        raise InvalidInput(
            replace(one, field=f"{path}: {one.field}") for one in error.problems
        ) from None
    wanted, key = (workspace.inference.config if workspace.inference else ""), _SERVING_KEY
    if workspace.tuning is not None:
        wanted, key = workspace.tuning.config, _TRAINING_KEY
    if not wanted:
        return WorkspaceFile(workspace=workspace, config=None)
    for one in documents:
        metadata = one.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        if one.get("kind") == "ConfigMap" and name == wanted:
            return WorkspaceFile(workspace=workspace, config=_config(path, wanted, key, one))
    return WorkspaceFile(workspace=workspace, config=None, config_missing=wanted)


def _config(path: str, name: str, key: str, config_map: Mapping[str, Any]) -> Mapping[str, Any]:
    data = config_map.get("data")
    text = data.get(key) if isinstance(data, dict) else None
    if not isinstance(text, str):
        raise _problem(f"{path}: ConfigMap {name}", f"has no key {key}")
    try:
        return yaml_values.parse_mapping(text)
    except yaml_values.BadText as error:
        flaw = error.flaws[0]
        raise _problem(
            f"{path}: ConfigMap {name}: {key} line {flaw.line}", flaw.message, flaw.remedy
        ) from None


def _parsed(path: str) -> list[yaml_values.Parsed]:
    try:
        if path == _STDIN:
            content = sys.stdin.buffer.read(_SIZE_LIMIT_BYTES + 1)
        else:
            with Path(path).open("rb") as stream:
                content = stream.read(_SIZE_LIMIT_BYTES + 1)
        if len(content) > _SIZE_LIMIT_BYTES:
            raise _problem(path, f"is larger than {_SIZE_LIMIT_BYTES >> 20} MiB")
        return yaml_values.parse(content.decode("utf-8-sig"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise _problem(path, f"cannot be read: {reason}", "Check the path") from None
    except UnicodeDecodeError:
        raise _problem(path, "is not text in UTF-8", "Give a Kubernetes manifest") from None
    except yaml_values.BadText as error:
        raise InvalidInput(
            Problem(
                field=f"{path}:{flaw.line}" + (f": {flaw.path}" if flaw.path else ""),
                message=flaw.message,
                remedy=flaw.remedy,
            )
            for flaw in error.flaws
        ) from None


def _problem(field: str, message: str, remedy: str = "") -> InvalidInput:
    return InvalidInput([Problem(field=field, message=message, remedy=remedy)])
