import json
from pathlib import Path
from typing import Any

import pytest

from kaito.adapters.files import load_catalogue
from kaito.adapters.measured_latency import Benchmarks, read_latencies
from kaito.domain.errors import InvalidInput
from kaito.domain.measured_latency import Load, Measurement

CATALOGUE = load_catalogue()
SILICON = "aiconfigurator_silicon_sample_vllm_agg"
ROW = {
    "id": "one",
    "model": "openai/gpt-oss-20b",
    "system": "h100_sxm",
    "precision": "fp4",
    "isl": 1000,
    "osl": 100,
    "concurrency": "8",
    "tp": 2,
    "pp": 1,
    "attn_dp": 1,
    "ttft_ms": 50.0,
    "tpot_ms": 5.0,
}
SPLIT = {
    "model": "llama-2-70b",
    "hardware": "a100-80gb",
    "tp": 8,
    "prompt": 512,
    "batch": 4,
    "out": 128,
    "prompt_ms": 300.0,
    "token_ms": 45.0,
}
SHAPE = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "torch_dtype": "bfloat16",
}


def read(
    tmp_path: Path, name: str, *rows: dict[str, Any], shapes: dict[str, Any] | None = None
) -> tuple[list[Measurement], list[tuple[str, str]]]:
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"sets": {name: {"source": "made up", "points": rows}}}))
    found, skipped = read_latencies(file, Benchmarks(CATALOGUE, shapes or {}))
    return found, [(one.reason.value, one.detail) for one in skipped]


def test_a_run_of_inferencemax(tmp_path: Path) -> None:
    [one], skipped = read(tmp_path, SILICON, ROW)
    assert skipped == []
    assert one.load is Load.CLOSED
    assert (one.demand.input_tokens, one.demand.output_tokens) == (900, 90)
    assert (one.concurrency, one.rounds, one.layout.tensor_parallel) == (8, 10, 2)
    assert (one.ttft_s, one.tpot_s) == (0.05, 0.005)
    assert (one.gpu_name, one.model.quantization) == ("H100", "mxfp4")
    assert 10_000 < one.demand.cache_tokens < 10_000_000


def test_attention_replicas_share_the_gpus(tmp_path: Path) -> None:
    [one], _ = read(tmp_path, SILICON, {**ROW, "attn_dp": 2})
    assert (one.layout.tensor_parallel, one.layout.data_parallel, one.layout.gpus) == (1, 2, 2)


def test_one_run_under_two_labels_is_one(tmp_path: Path) -> None:
    again = {**ROW, "id": "another label"}
    other = {**ROW, "tpot_ms": 5.5}
    found, _ = read(tmp_path, SILICON, ROW, again, other)
    assert [one.tpot_s for one in found] == [0.005, 0.0055]


@pytest.mark.parametrize(
    ("precision", "quantization", "cache"),
    [("fp8", "fp8", "fp8"), ("fp4", "nvfp4", "fp8"), ("bf16", None, None), ("int4", "int4", None)],
)
def test_number_formats(
    tmp_path: Path, precision: str, quantization: str | None, cache: str | None
) -> None:
    row = {**ROW, "model": "meta-llama/Llama-3.1-8B-Instruct", "precision": precision}
    [one], _ = read(tmp_path, SILICON, row)
    assert (one.model.quantization, one.model.kv_cache_dtype) == (quantization, cache)


def test_names_that_differ_in_publisher_and_tuning_are_one_shape(tmp_path: Path) -> None:
    row = {**ROW, "model": "somebody/Llama-3.1-8B", "precision": "bf16"}
    shapes = {"meta-llama/Meta-Llama-3.1-8B": SHAPE}
    [by_config], _ = read(tmp_path, SILICON, row, shapes=shapes)
    [by_catalogue], _ = read(tmp_path, SILICON, row)
    assert by_config.model.weights is not None
    assert by_config.shape == by_catalogue.shape


def test_a_batch_of_splitwise(tmp_path: Path) -> None:
    [one, capped], _ = read(
        tmp_path, "splitwise_perf_model", SPLIT, {**SPLIT, "hardware": "h100-80gb-pcap"}
    )
    assert (one.load, one.concurrency, one.layout.eager) == (Load.BATCH, 4, True)
    assert one.gpu.memory_bandwidth_bytes_per_s == 2_039_000_000_000  # the SXM card
    assert capped.gpu_name == "H100 power-capped"


def test_poisson_arrivals_of_guidellm(tmp_path: Path) -> None:
    row = {
        "gpu": "A10",
        "model": "microsoft/Phi-4-mini-instruct",
        "load": "poisson@4.00",
        "isl": 200,
        "osl": 200,
        "ttft_mean": 384.0,
        "itl_mean": 25.0,
    }
    [one], _ = read(tmp_path, "kaito_guidellm_phi4mini", row)
    assert (one.load, one.rate, one.ttft_s, one.tpot_s) == (Load.OPEN, 4, None, 0.025)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"model": "nobody/nothing"}, "no shape of nobody/nothing; give it with --models"),
        ({"system": "gb200_sxm"}, "GPU gb200_sxm is not in the catalogue"),
        ({"precision": "fp2"}, "number format fp2"),
    ],
)
def test_rows_of_what_is_not_known_are_skipped(
    tmp_path: Path, change: dict[str, Any], detail: str
) -> None:
    assert read(tmp_path, SILICON, {**ROW, **change}) == ([], [("shape unknown", detail)])


def test_a_shape_that_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    shapes = {ROW["model"]: {"architectures": ["NobodyForCausalLM"]}}
    [], [(reason, detail)] = read(tmp_path, SILICON, ROW, shapes=shapes)
    assert reason == "shape unknown"
    assert "NobodyForCausalLM" in detail


def test_sets_that_nobody_reads_are_skipped(tmp_path: Path) -> None:
    found, skipped = read(tmp_path, "another", {"gpu": "RTX4090"}, {"gpu": "A10", "rps": "1..16"})
    assert found == []
    assert skipped == [
        ("shape unknown", "GPU RTX4090 is not in the catalogue"),
        (
            "KV or utilisation not measured",
            "its columns are those of no schema that is read",
        ),
    ]


@pytest.mark.parametrize(
    ("row", "load"), [(ROW, Load.CLOSED), (SPLIT, Load.BATCH)], ids=["InferenceMAX", "Splitwise"]
)
def test_a_set_of_another_name_is_read_by_its_columns(
    tmp_path: Path, row: dict[str, Any], load: Load
) -> None:
    [one], skipped = read(tmp_path, "measured in autumn", row)
    assert one.load is load
    assert skipped == []


def test_a_row_whose_figures_are_null_is_skipped(tmp_path: Path) -> None:
    row = {**ROW, "ttft_ms": None, "tpot_ms": None}
    reason = "KV or utilisation not measured"
    assert read(tmp_path, SILICON, row) == ([], [(reason, "tpot_ms, ttft_ms is null")])


@pytest.mark.parametrize(
    "change", [{"tpot_ms": 0}, {"ttft_ms": -1}, {"concurrency": 0}, {"model": None}, {"tp": "x"}]
)
def test_a_row_with_an_impossible_value_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=rf"sets\.{SILICON}\.points\[0\]: cannot be read"):
        read(tmp_path, SILICON, {**ROW, **change})


def test_a_row_without_a_field_is_named(tmp_path: Path) -> None:
    row = {key: value for key, value in ROW.items() if key != "isl"}
    with pytest.raises(InvalidInput, match=rf"sets\.{SILICON}\.points\[0\].*isl"):
        read(tmp_path, SILICON, row)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "has no sets"),
        ("{}", "has no sets"),
        ('{"sets": {"a": []}}', "sets.a: must be an object with points"),
        ('{"sets": {"a": {"points": {}}}}', "sets.a.points: must be a list of objects"),
        ('{"sets": {"a": {"points": [1]}}}', "sets.a.points: must be a list of objects"),
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "measured.json"
    file.write_text(content)
    with pytest.raises(InvalidInput, match=message):
        read_latencies(file, Benchmarks(CATALOGUE, {}))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read: No such file"):
        read_latencies(tmp_path / "none.json", Benchmarks(CATALOGUE, {}))
