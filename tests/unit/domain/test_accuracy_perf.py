from dataclasses import replace

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.accuracy_perf import Skipped, judge, perf_report, report_lines
from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.measured_latency import Load, Measurement, Predictor
from kaito.domain.measured_memory import SkipReason
from kaito.domain.step_time import Layout
from kaito.domain.throughput import Demand

CATALOGUE = load_catalogue()
H100 = CATALOGUE.gpu("NVIDIA H100 SXM 80GB")


def point(model: str, *, off: float = 1.0, gpu: str = "NVIDIA H100 SXM 80GB") -> Measurement:
    """What the calibrated model says, times `off`."""
    card = CATALOGUE.gpu(gpu)
    one = Measurement(
        id=f"{model} {off}",
        model_name=model,
        model=CATALOGUE.model(model),
        gpu_name=gpu.split()[1],
        gpu=card,
        layout=Layout(),
        load=Load.CLOSED,
        demand=Demand(input_tokens=900, output_tokens=900),
        concurrency=8,
        tpot_s=1.0,
        source="made up",
    )
    latency = Predictor(CALIBRATED.efficiency(card)).predict(one).latency
    return replace(one, ttft_s=latency.ttft_s * off, tpot_s=latency.tpot_s * off)


def test_models_that_the_table_lacks_are_judged_by_all_of_it() -> None:
    table = [point("gpt-oss-20b")]
    report = perf_report(judge([point("phi-4", off=1.25)], table, CALIBRATED), [])["perf"]
    assert report["n"] == report["models"] == 1
    assert report["tpot"]["median_pct"] == pytest.approx(20)
    assert report["tpot"]["worst_under_pct"] == pytest.approx(20)
    assert report["tpot"]["worst_over_pct"] == 0
    assert report["by_gpu"]["H100"]["ttft"]["median_pct"] == pytest.approx(20)


def test_a_model_is_judged_without_its_own_rows() -> None:
    """Rows of another shape, twice as slow as they are, decide what is predicted."""
    other = [point("gpt-oss-20b", off=2.0)]
    own = point("phi-4")
    twin = replace(point("phi-4"), model_name="another release of this size")
    found = judge([own, twin, own], [*other, own], CALIBRATED)
    fitted = [one.predicted.latency.tpot_s / one.point.tpot_s for one in found]
    assert fitted[0] == fitted[1] == fitted[2] > 1.01


def test_saturated_rows_count_apart() -> None:
    full = point("phi-4")
    full = replace(full, demand=replace(full.demand, cache_tokens=4000.0))
    waited = replace(point("phi-4"), ttft_s=5.0)
    report = perf_report(
        judge([full, waited, point("phi-4")], [point("gpt-oss-20b")], CALIBRATED), []
    )
    assert report["perf"]["n"] == 1
    assert report["perf"]["saturated"]["n"] == 2
    assert [one["saturated"] for one in report["perf"]["points"]] == [True, True, False]


def test_one_vote_for_each_model() -> None:
    points = [point("phi-4", off=0.5), *[point("gpt-oss-20b")] * 9]
    report = perf_report(judge(points, [point("llama-3.1-8b-instruct")], CALIBRATED), [])["perf"]
    assert report["tpot"]["median_pct"] == pytest.approx(0, abs=0.01)
    assert report["tpot"]["mean_pct"] == pytest.approx(50)  # 100 % off and 0 % off
    assert report["tpot"]["worst_over_pct"] == pytest.approx(100)


def test_noise_is_what_runs_of_one_setting_differ_by() -> None:
    runs = [point("phi-4", off=off) for off in (0.9, 1.0, 1.1)]
    report = perf_report(judge(runs, [point("gpt-oss-20b")], CALIBRATED), [])["perf"]["noise"]
    assert report["settings"] == 1
    assert report["tpot_median_pct"] == report["ttft_median_pct"] == pytest.approx(10)


def test_a_first_token_that_was_not_measured_is_not_judged() -> None:
    one = replace(point("phi-4"), ttft_s=None)
    report = perf_report(judge([one], [point("gpt-oss-20b")], CALIBRATED), [])["perf"]
    assert report["ttft"]["median_pct"] is None
    assert report["points"][0]["measured"]["ttft_ms"] is None
    assert report["noise"]["tpot_median_pct"] is None


def test_the_data_sheet_alone_is_far_off() -> None:
    report = perf_report(judge([point("phi-4")], [point("gpt-oss-20b")], CALIBRATED), [])["perf"]
    assert report["baselines"]["roofline"]["tpot"]["median_pct"] > 15


def test_what_people_read() -> None:
    t4 = point("phi-2", gpu="NVIDIA T4")
    skipped = [Skipped(id="x", reason=SkipReason.SHAPE_UNKNOWN, detail="no shape of x")]
    report = perf_report(judge([point("phi-4"), t4], [point("gpt-oss-20b")], CALIBRATED), skipped)
    assert report["skipped"] == [{"id": "x", "reason": "shape unknown", "detail": "no shape of x"}]
    text = "\n".join(report_lines(report))
    assert "| H100 | 1 | 0.0 % | 0.0 % | 0.0 % | 0.0 % |" in text
    assert "| T4 (not measured otherwise) | 1 |" in text
    assert "| saturated, not gated | 0 | - | - | - | - |" in text
    assert "Skipped: 1 rows." in text
