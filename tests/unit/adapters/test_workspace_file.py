import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from kaito.adapters.workspace_file import WorkspaceFile, read_workspace_file
from kaito.domain.errors import InvalidInput
from tests.unit.domain.builders import MINI, TUNING, manifest

CONFIG = "vllm:\n  max-model-len: 1024\n"
WITH_CONFIG = {"inference": {"preset": {"name": MINI}, "config": "serving"}}


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "serving"}, "data": data}


def read(folder: Path, *documents: Any) -> WorkspaceFile:
    path = folder / "workspace.yaml"
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return read_workspace_file(str(path))


def refused(folder: Path, content: bytes) -> str:
    path = folder / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(InvalidInput) as caught:
        read_workspace_file(str(path))
    return str(caught.value)


def test_a_workspace_alone(tmp_path: Path) -> None:
    found = read(tmp_path, manifest())
    assert found.workspace.name == "phi"
    assert found.config is None
    assert found.config_missing == ""


def test_its_config_stands_beside_it(tmp_path: Path) -> None:
    found = read(tmp_path, config_map(**{"inference_config.yaml": CONFIG}), manifest(**WITH_CONFIG))
    assert found.config == {"vllm": {"max-model-len": 1024}}


def test_a_tuning_job_has_another_key(tmp_path: Path) -> None:
    made = manifest(tuning={**TUNING, "config": "serving"})
    text = "training_config: {LoraConfig: {r: 4}}"
    found = read(tmp_path, config_map(**{"training_config.yaml": text}), made)
    assert found.config == {"training_config": {"LoraConfig": {"r": 4}}}
    with pytest.raises(InvalidInput, match=r"has no key training_config\.yaml"):
        read(tmp_path, config_map(**{"inference_config.yaml": CONFIG}), made)


def test_a_config_that_is_elsewhere_is_named(tmp_path: Path) -> None:
    other = {**config_map(), "metadata": {"name": "other"}}
    found = read(tmp_path, manifest(**WITH_CONFIG), other, "a text")
    assert (found.config, found.config_missing) == (None, "serving")


def test_standard_input_and_json(monkeypatch: pytest.MonkeyPatch) -> None:
    text = json.dumps(manifest()).encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    assert read_workspace_file("-").workspace.name == "phi"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"kind: Pod", "holds no Workspace"),
        (b"", "holds no Workspace"),
        (b"kind: Workspace\n---\nkind: Workspace", "holds 2 Workspaces"),
        (b"a: [", "bad.yaml:2: is not valid YAML"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"#" * ((4 << 20) + 1), "is larger than 4 MiB"),
        (b"apiVersion: kaito.sh/v1beta1\nkind: Workspace\nspec: {}", "bad.yaml: "),
    ],
)
def test_a_file_that_is_no_workspace_says_what_it_is(
    tmp_path: Path, content: bytes, message: str
) -> None:
    assert message in refused(tmp_path, content)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.yaml: cannot be read: No such file"):
        read_workspace_file(str(tmp_path / "none.yaml"))


def test_a_config_map_without_the_key_or_with_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"has no key inference_config\.yaml"):
        read(tmp_path, manifest(**WITH_CONFIG), config_map(other="x"))
    bad = config_map(**{"inference_config.yaml": "a: ["})
    with pytest.raises(InvalidInput, match=r"ConfigMap serving: inference_config\.yaml line 2"):
        read(tmp_path, manifest(**WITH_CONFIG), bad)
