import json
from fractions import Fraction
from pathlib import Path

import pytest

from kaito.adapters.measured_memory import load_configs, load_measured_memory
from kaito.domain.errors import InvalidInput

POINT = {"id": "a", "model": "m", "gpu": "H100"}


def written(folder: Path, content: object, name: str = "points.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_both_spellings_are_read(tmp_path: Path) -> None:
    theirs = {
        **POINT,
        "tp": 2,
        "pp": 4,
        "max_model_len": 8192,
        "gpu_memory_utilization": 0.95,
        "kv_cache_gib": 1.5,
        "kv_cache_tokens": 100,
        "non_torch_gib": 0.25,
        "cuda_graph_actual_gib": -0.45,
        "gpu_free_at_start_gib": 78.0,
        "load_s": 3,
    }
    ours = {
        **POINT,
        "tensor_parallel": 2,
        "pipeline_parallel": 4,
        "context_tokens": 8192,
        "utilization": 0.95,
        "kv_gib": 1.5,
        "kv_tokens": 100,
        "outside_torch_gib": 0.25,
        "graphs_gib": -0.45,
        "gpu_free_gib": 78.0,
    }
    one, two = load_measured_memory(written(tmp_path, {"points": [theirs, ours]}))
    assert one == two
    assert one.utilization == Fraction(95, 100)


def test_null_is_not_stated(tmp_path: Path) -> None:
    values = {**POINT, "tp": None, "failure": None, "kv_cache_gib": None, "note": "V0 engine"}
    (found,) = load_measured_memory(written(tmp_path, {"points": [values]}))
    assert (found.tensor_parallel, found.pipeline_parallel, found.failure) == (None, 1, "")
    assert found.old_engine


def test_yaml_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "points.yaml"
    path.write_text("points:\n  - {id: a, model: m, gpu: A10, outcome: failed}\n", encoding="utf-8")
    (found,) = load_measured_memory(path)
    assert not found.started


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "must be a mapping"),
        ({}, "points: must be a list"),
        ({"points": [{**POINT, "tp": 0}]}, "points[0].tp"),
        ({"points": [{"id": "a"}]}, "points[0].model"),
        ({"points": ["a"]}, "points[0]"),
    ],
)
def test_what_is_refused_is_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        load_measured_memory(written(tmp_path, content))
    assert message in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_measured_memory(tmp_path / "missing.json")
    broken = tmp_path / "broken.json"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(InvalidInput, match="cannot be read"):
        load_measured_memory(broken)


def test_configs_lie_at_the_top_or_under_models(tmp_path: Path) -> None:
    config = {"m": {"architectures": ["LlamaForCausalLM"]}}
    assert load_configs(written(tmp_path, config)) == config
    assert load_configs(written(tmp_path, {"source": "x", "models": config})) == config
    with pytest.raises(InvalidInput, match="must be the content of a config"):
        load_configs(written(tmp_path, {"m": 1}))
    with pytest.raises(InvalidInput, match="must map names"):
        load_configs(written(tmp_path, {"models": 1}))
