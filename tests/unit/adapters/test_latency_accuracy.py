import json
from pathlib import Path

from kaito.adapters.files import load_catalogue
from kaito.adapters.latency_accuracy import latency_accuracy

GATED = {"NVIDIA H100 SXM 80GB": (12, 25), "NVIDIA H200 SXM 141GB": (12, 25)}
"""Medians in percent of the time per output token and to the first token."""


def test_every_model_of_the_table_is_judged_without_itself() -> None:
    report = latency_accuracy(load_catalogue())["perf"]
    assert report["models"] == 5
    for gpu, (token, first) in GATED.items():
        found = report["by_gpu"][gpu]
        assert found["tpot"]["median_pct"] <= token, gpu
        assert found["ttft"]["median_pct"] <= first, gpu
    # One model alone was measured on an A100: without it, nothing tells how fast its hosts are.
    a100 = report["by_gpu"]["NVIDIA A100 80GB"]
    assert a100["prior"] is True
    assert a100["ttft"]["median_pct"] <= 25
    assert a100["tpot"]["median_pct"] <= 25
    assert report["baselines"]["roofline"]["tpot"]["median_pct"] > 50


def test_a_file_is_judged_in_place_of_the_table(tmp_path: Path) -> None:
    row = {
        "gpu": "A10",
        "model": "microsoft/Phi-4-mini-instruct",
        "load": "poisson@1.00",
        "isl": 200,
        "osl": 200,
        "itl_mean": 20.2,
    }
    file = tmp_path / "measured.json"
    file.write_text(json.dumps({"sets": {"kaito_guidellm_phi4mini": {"points": [row]}}}))
    report = latency_accuracy(load_catalogue(), measured=file)
    assert report["perf"]["n"] == 1
    assert report["perf"]["by_gpu"]["A10"]["prior"] is True
