"""What a run that did not get READY says about it."""

from pathlib import Path

import pytest
import yaml

from sim.loading import load
from sim.run import simulate
from sim.scenario import Scenario

OUTPUT = {"image": "registry.test/tuned:1", "imagePushSecret": "registry"}
TUNING = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "tune"},
    "resource": {
        "instanceType": "Standard_NC24ads_A100_v4",
        "labelSelector": {"matchLabels": {"apps": "tune"}},
    },
    "tuning": {
        "preset": {"name": "phi-3-mini-4k-instruct"},
        "method": "qlora",
        "input": {"urls": ["https://data.example.com/a.parquet"]},
        "output": OUTPUT,
    },
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "registry"},
    "type": "kubernetes.io/dockerconfigjson",
    "stringData": {".dockerconfigjson": "{}"},
}


GATED = {
    "apiVersion": "kaito.sh/v1beta1",
    "kind": "Workspace",
    "metadata": {"name": "llama"},
    "resource": TUNING["resource"],
    "inference": {
        "preset": {
            "name": "llama-3.1-8b-instruct",
            "presetOptions": {"modelAccessSecret": "hugging-face"},
        }
    },
}


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, 'secret "hugging-face" not found'),
        ({"TOKEN": "t"}, "couldn't find key HF_TOKEN in Secret default/hugging-face"),
    ],
)
def test_a_token_that_is_missing_is_told_and_waited_for(
    tmp_path: Path, data: dict[str, str] | None, why: str
) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hugging-face"}}
    first = [GATED] if data is None else [secret | {"stringData": data}, GATED]
    right = {"at": "1h", "apply": secret | {"stringData": {"HF_TOKEN": "t"}}}
    file = tmp_path / "scenario.yaml"
    file.write_text(yaml.safe_dump({"timeline": [{"apply": first}, right]}))
    scenario = load([str(file)])
    (waiting,) = simulate(scenario, until_s=3500.0).workspaces
    assert why in waiting.message
    (served,) = simulate(scenario).workspaces
    assert served.ready


@pytest.fixture
def without_secret(tmp_path: Path) -> Scenario:
    """A job whose Secret comes after 20 minutes, seen until then."""
    file = tmp_path / "scenario.yaml"
    timeline = [{"apply": TUNING}, {"at": "20m", "apply": SECRET}]
    file.write_text(yaml.safe_dump({"timeline": timeline}))
    return load([str(file)])


def test_what_the_kubelet_warns_of_is_told(without_secret: Scenario) -> None:
    (waiting,) = simulate(without_secret, until_s=1190.0).workspaces
    assert waiting.pending is not None
    assert waiting.pending.endswith('secret "registry" not found')
    (running,) = simulate(without_secret, until_s=3000.0).workspaces
    assert running.pending is not None
    assert "not found" not in running.pending, "it is over"
