import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kaito.cli import app

RUNNER = CliRunner()


@pytest.fixture
def measured(tmp_path: Path) -> Path:
    points = [
        {
            "id": "a",
            "model": "mine",
            "gpu": "A10",
            "tp": 1,
            "version": "0.19.0",
            "max_model_len": 2048,
            "gpu_memory_utilization": 0.9,
            "weights_gib": 0.5,
            "kv_cache_gib": 10.0,
        },
        {"id": "b", "model": "nobody", "gpu": "A10", "tp": 1, "weights_gib": 1.0},
    ]
    path = tmp_path / "points.json"
    path.write_text(json.dumps({"points": points}), encoding="utf-8")
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 8,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "vocab_size": 32000,
        "max_position_embeddings": 4096,
    }
    path = tmp_path / "models.json"
    path.write_text(json.dumps({"mine": config}), encoding="utf-8")
    return path


def test_its_own_table_is_judged_without_any_file() -> None:
    found = RUNNER.invoke(app, ["accuracy", "-o", "json"])
    assert found.exit_code == 0
    document = json.loads(found.stdout)
    assert document["perf"]["n"] > 250
    memory = document["memory"]
    assert memory["n"] >= 49
    assert memory["kv_gib"]["median_pct"] <= 1
    assert memory["kv_gib"]["mean_pct"] <= 3
    assert memory["verdicts"]["false_fit"] == 0


def test_files_of_ones_own(measured: Path, models: Path) -> None:
    files = ["--memory", str(measured), "--models", str(models)]
    found = RUNNER.invoke(app, ["accuracy", *files, "-o", "json"])
    document = json.loads(found.stdout)
    assert [one["id"] for one in document["memory"]["points"]] == ["a"]
    assert document["skipped"] == [{"id": "b", "reason": "shape unknown"}]
    table = RUNNER.invoke(app, ["accuracy", *files]).stdout
    assert "1 start-ups of 1 model families" in table
    assert "| b | shape unknown |" in table
    assert "| KV cache in tokens | 0 |" in table


def test_latencies_of_ones_own(tmp_path: Path) -> None:
    row = {
        "id": "c",
        "gpu": "A10",
        "model": "microsoft/Phi-4-mini-instruct",
        "load": "poisson@1.00",
        "isl": 200,
        "osl": 200,
        "itl_mean": 20.2,
    }
    rows = [row, {**row, "id": "d", "gpu": "RTX4090"}]
    path = tmp_path / "latencies.json"
    sets = {"sets": {"kaito_guidellm_phi4mini": {"points": rows}}}
    path.write_text(json.dumps(sets), encoding="utf-8")
    found = RUNNER.invoke(app, ["accuracy", "--perf", str(path), "-o", "json"])
    document = json.loads(found.stdout)
    assert set(document) == {"perf", "skipped"}
    assert [one["id"] for one in document["perf"]["points"]] == ["c"]
    assert [one["id"] for one in document["skipped"]] == ["d"]
    table = RUNNER.invoke(app, ["accuracy", "--perf", str(path)]).stdout
    assert "| A10 (not measured otherwise) | 1 |" in table


@pytest.mark.parametrize("option", ["--memory", "--perf", "--models"])
def test_a_file_that_is_not_there_is_named(tmp_path: Path, option: str) -> None:
    found = RUNNER.invoke(app, ["accuracy", option, str(tmp_path / "none.json")])
    assert found.exit_code == 2
    assert "none.json" in found.stderr
