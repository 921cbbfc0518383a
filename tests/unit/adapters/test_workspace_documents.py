"""Workspaces and their ConfigMaps among other documents; `kaito explain` has the rest."""

from pathlib import Path

import pytest

from kaito.adapters.documents import Document, read
from kaito.adapters.workspace_documents import config_of, workspaces_of
from kaito.domain.errors import InvalidInput

WORKSPACE = """
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: phi, namespace: team}
resource:
  instanceType: Standard_NC24ads_A100_v4
  labelSelector: {matchLabels: {apps: phi}}
inference: {preset: {name: phi-4}, config: mine}
"""


def config_map(namespace: str, data: str = "{inference_config.yaml: 'vllm: {}'}") -> str:
    where = f"{{name: mine, namespace: {namespace}}}"
    return f"---\nkind: ConfigMap\nmetadata: {where}\ndata: {data}\n"


def documents(tmp_path: Path, text: str) -> list[Document]:
    file = tmp_path / "file.yaml"
    file.write_text(text, encoding="utf-8")
    return read(str(file))


def test_a_workspace_and_the_config_of_its_namespace(tmp_path: Path) -> None:
    found = documents(tmp_path, WORKSPACE + config_map("team"))
    (workspace,) = workspaces_of(found, "file")
    config = config_of(workspace, found)
    assert config is not None
    assert (config.values, config.problem) == ({"vllm": {}}, "")


def test_a_config_of_another_namespace_is_missing(tmp_path: Path) -> None:
    found = documents(tmp_path, WORKSPACE + config_map("other"))
    (workspace,) = workspaces_of(found, "file")
    config = config_of(workspace, found)
    assert config is not None
    assert config.missing


@pytest.mark.parametrize("data", ["3", "{inference_config.yaml: 3}"])
def test_data_that_no_api_server_takes(tmp_path: Path, data: str) -> None:
    found = documents(tmp_path, WORKSPACE + config_map("team", data))
    (workspace,) = workspaces_of(found, "file")
    with pytest.raises(InvalidInput, match="must be"):
        config_of(workspace, found)


def test_there_is_no_workspace(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="holds no Workspace, but ConfigMap"):
        workspaces_of(documents(tmp_path, config_map("team")), "file")
