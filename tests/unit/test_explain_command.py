"""`kaito explain` on real manifests, and what it says of wrong ones."""

import json
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from kaito.cli import app
from tests.unit.domain.builders import A100, GATED, MINI, manifest

RUNNER: Final = CliRunner()
ROOT: Final = Path(__file__).parents[2]
UPSTREAM: Final = next(
    (
        place
        for at in (ROOT, ROOT.parent)
        if (place := at / "shared" / "examples" / "upstream").is_dir()
    ),
    None,
)
TIGHT: Final = "vllm: {gpu-memory-utilization: 0.01}"


def run(*arguments: str, stdin: str | None = None) -> Result:
    return RUNNER.invoke(app, ["explain", *arguments], input=stdin)


def written(path: Path, *documents: Any) -> str:
    path.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    return str(path)


def config_map(text: object, key: str = "inference_config.yaml", **metadata: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", **metadata},
        "data": {key: text},
    }


def configured(**parts: Any) -> dict[str, Any]:
    inference = {"preset": {"name": MINI}, "config": "settings"}
    return manifest(instance_type=A100, inference=inference, **parts)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("inference/kaito_workspace_phi_3.yaml", 0, ["with transformers in float16", "OldGpu:"]),
        ("inference/kaito_workspace_phi_3_with_adapters.yaml", 2, ["(placeholder)"]),
        (
            "inference/kaito_workspace_phi_4_with_config.yaml",
            0,
            ["budget, 92% of it", "--max-num-seqs=64", "or else "],
        ),
        ("fine-tuning/kaito_workspace_tuning_phi_3.yaml", 2, ["(placeholder)"]),
    ],
)
def test_the_examples(name: str, code: int, words: list[str]) -> None:
    found = run("-f", str(ROOT / "examples" / name))
    assert found.exit_code == code
    assert all(word in found.stdout for word in words), found.stdout


def test_a_model_of_ones_own() -> None:
    file = str(ROOT / "examples" / "inference" / "kaito_workspace_qwen3_0.6b.yaml")
    models = str(ROOT / "examples" / "models")
    assert "model-known" in run("-f", file).stdout
    assert run("-f", file, "--models", models).exit_code == 0


def test_every_example_is_explained() -> None:
    there = {str(file.relative_to(ROOT / "examples")) for file in _yaml(ROOT / "examples")}
    assert there == {
        "inference/kaito_workspace_phi_3.yaml",
        "inference/kaito_workspace_phi_3_with_adapters.yaml",
        "inference/kaito_workspace_phi_4_with_config.yaml",
        "inference/kaito_workspace_qwen3_0.6b.yaml",
        "fine-tuning/kaito_workspace_tuning_phi_3.yaml",
        "models/qwen3-0.6b.yaml",  # no manifest
    }


UPSTREAM_ROWS: Final = [
    ("kaito_configmap_tuning_phi_3.yaml", 2, "holds no Workspace, but ConfigMap"),
    ("kaito_inferenceset_phi_4_mini.yaml", 2, "holds no Workspace, but InferenceSet"),
    ("kaito_workspace_custom_config.yaml", 2, "config-flag-removed"),
    ("kaito_workspace_deepseek_v3.yaml", 0, "5 x Standard_NC80adis_H100_v5"),
    ("kaito_workspace_gpt_oss_20b.yaml", 0, "KAITO v0.12 takes 2 machines, kaito 1"),
    ("kaito_workspace_llama-3.3_70b_instruct.yaml", 2, "config-flag-removed"),
    ("kaito_workspace_phi_3_with_adapters.yaml", 2, "(placeholder)"),
    ("kaito_workspace_phi_4_mini.yaml", 0, "phi-4-mini-instruct runs on 1 x"),
    ("kaito_workspace_tuning_phi_3.yaml", 2, "(placeholder)"),
    ("legacy_falcon_7b-instruct.yaml", 0, "OldGpu:"),
    ("legacy_phi_2.yaml", 0, "OldGpu:"),
]


@pytest.mark.skipif(UPSTREAM is None, reason="KAITO's examples are not here")
@pytest.mark.parametrize(("name", "code", "words"), UPSTREAM_ROWS)
def test_the_examples_of_kaito(name: str, code: int, words: str) -> None:
    assert UPSTREAM is not None
    found = run("-f", str(UPSTREAM / name))
    assert (found.exit_code, words in found.output) == (code, True), found.output


@pytest.mark.skipif(UPSTREAM is None, reason="KAITO's examples are not here")
def test_every_example_of_kaito_has_a_row() -> None:
    assert UPSTREAM is not None
    assert {file.name for file in _yaml(UPSTREAM)} == {name for name, _, _ in UPSTREAM_ROWS}
    for file in _yaml(UPSTREAM.parent / "seeds"):
        assert run("-f", str(file)).exit_code in {0, 2}


def _yaml(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.yaml"))


def test_the_config_beside_it_counts(tmp_path: Path) -> None:
    file = written(tmp_path / "all.yaml", config_map("vllm: {max-num-seqs: 8}"), configured())
    found = run("-f", file, "-o", "json")
    assert found.exit_code == 0
    (document,) = json.loads(found.stdout)["workspaces"]
    assert "--max-num-seqs=8" in document["engine"]["command"]


def test_a_config_of_its_own_file_and_what_does_not_fit(tmp_path: Path) -> None:
    file = written(tmp_path / "workspace.yaml", configured())
    beside = written(tmp_path / "config.yaml", config_map(TIGHT, namespace="default"))
    found = run("-f", file, "--config", beside)
    assert found.exit_code == 1
    assert "would be refused: ModelDoesNotFit" in found.stdout
    assert "remove gpu-memory-utilization" in found.stdout
    missing = run("-f", file)
    assert missing.exit_code == 2
    assert "would be refused: ConfigMapNotFound" in missing.stdout
    nameless = {"kind": "ConfigMap", "metadata": None}
    others = (nameless, config_map(TIGHT, namespace="other"))
    elsewhere = written(tmp_path / "config.yaml", *others)
    assert "ConfigMapNotFound" in run("-f", file, "--config", elsewhere).stdout


def test_the_config_of_a_tuning_job(tmp_path: Path) -> None:
    tuning = {
        "preset": {"name": "phi-3-mini-128k-instruct"},
        "method": "qlora",
        "config": "settings",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"image": "registry.test/result:1", "imagePushSecret": "push"},
    }
    text = "training_config: {QuantizationConfig: {load_in_4bit: true}}"
    settings = config_map(text, "training_config.yaml")
    found = run("-f", written(tmp_path / "a.yaml", settings, manifest(tuning=tuning)))
    assert found.exit_code == 0, found.output
    assert "does not ask whether it fits" in found.stdout


def test_several_workspaces_and_the_worst_of_them(tmp_path: Path) -> None:
    large = manifest(name="large", inference={"preset": dict(GATED)})
    file = written(tmp_path / "two.yaml", manifest(), large)
    found = run("-f", file)
    assert found.exit_code == 1
    assert "Workspace default/phi\n" in found.stdout
    assert "\n\nWorkspace default/large\n" in found.stdout


def test_standard_input_and_prices(tmp_path: Path) -> None:
    metadata = {
        "annotations": {
            "kaito.sh/capacity-type": "spot",
            "kaito.sh/fallback-instance-types": A100,
        }
    }
    found = run("-f", "-", "--region", "eastus", stdin=json.dumps(manifest(metadata=metadata)))
    assert found.exit_code == 0, found.output
    assert "USD per hour in eastus, as spot" in found.stdout
    assert f"or else                   {A100} (1 x NVIDIA A100 80GB, azure)" in found.stdout


def test_a_price_that_is_not_known(tmp_path: Path) -> None:
    found = run("-f", written(tmp_path / "a.yaml", manifest()), "--region", "centralus")
    assert found.exit_code == 0, found.output
    assert "price                     unknown in centralus\n" in found.stdout


def test_a_template(tmp_path: Path) -> None:
    server = {
        "name": "server",
        "image": "registry.test/server:1",
        "resources": {"limits": {"nvidia.com/gpu": 1}},
    }
    template = {"spec": {"containers": [server]}}
    found = run("-f", written(tmp_path / "a.yaml", manifest(inference={"template": template})))
    assert found.exit_code == 0, found.output
    assert "inference.template runs on 1 x" in found.stdout
    assert "Engine" not in found.stdout


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ([{"kind": "Secret"}], "a.yaml: holds no Workspace, but Secret. Name another file"),
        ([manifest(resources={})], "a.yaml:13: resources: unknown key. Did you mean resource?"),
        ([config_map({"vllm": {}}), configured()], "data.inference_config.yaml: must be text"),
        ([config_map("") | {"data": [1]}, configured()], "data: must be a mapping, got [1]"),
        ([[1]], "must be a mapping, got [1]"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, documents: list[Any], words: str) -> None:
    found = run("-f", written(tmp_path / "a.yaml", *documents))
    assert found.exit_code == 2
    assert words in found.stderr, found.output
    assert not found.stdout


def test_other_input_that_is_wrong(tmp_path: Path) -> None:
    file = written(tmp_path / "a.yaml", manifest())
    assert "--region: no price is known in 'eastsu'. Did you mean eastus" in (
        run("-f", file, "--region", "eastsu").stderr
    )
    for wrong in (["-f", str(tmp_path / "none.yaml")], ["-f", file, "--config", "none.yaml"]):
        found = run(*wrong)
        assert found.exit_code == 2
        assert "cannot be read" in found.stderr


def test_help_teaches() -> None:
    found = run("--help")
    assert "kaito explain -f workspace.yaml" in found.stdout
    assert "Exit code: 0" in found.stdout
