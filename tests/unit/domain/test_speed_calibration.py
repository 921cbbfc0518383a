from collections.abc import Iterator
from dataclasses import fields, replace

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.measured_latency import Load, Measurement, Predictor
from kaito.domain.speed_calibration import calibrate
from kaito.domain.step_time import Efficiency, Layout
from kaito.domain.throughput import Demand

CATALOGUE = load_catalogue()
H100, A100 = (CATALOGUE.gpu(name) for name in ("NVIDIA H100 SXM 80GB", "NVIDIA A100 80GB"))
NO_CUDA = replace(A100, name="other", compute_capability=None)
TRUE = Efficiency(weight_read=0.7, gemm=0.45, layer_s=60e-6, prompt_layer_s=300e-6)


def measured(efficiency: Efficiency, gpu_name: str) -> Iterator[Measurement]:
    """What a card with these efficiencies would show."""
    predictor = Predictor(efficiency)
    gpu = {"H100": H100, "A100": A100, "other": NO_CUDA}[gpu_name]
    for model in ("llama-3.1-8b-instruct", "gpt-oss-20b"):
        for load, inputs, together in (
            (Load.CLOSED, 900, 4),
            (Load.CLOSED, 7000, 64),
            (Load.BATCH, 200, 1),
            (Load.BATCH, 4000, 8),
        ):
            one = Measurement(
                id=f"{model} {inputs}",
                model_name=model,
                model=CATALOGUE.model(model),
                gpu_name=gpu_name,
                gpu=gpu,
                layout=Layout(eager=load is Load.BATCH),
                load=load,
                demand=Demand(input_tokens=inputs, output_tokens=500),
                concurrency=together,
                rounds=10 if load is Load.CLOSED else None,
                tpot_s=1.0,
                source="made up",
            )
            latency = predictor.predict(one).latency
            yield replace(one, ttft_s=latency.ttft_s, tpot_s=latency.tpot_s)


def errors(efficiency: Efficiency, points: list[Measurement]) -> list[float]:
    predictor = Predictor(efficiency)
    found = []
    for one in points:
        latency = predictor.predict(one).latency
        found.append(abs(latency.tpot_s / one.tpot_s - 1))
        if one.ttft_s is not None:
            found.append(abs(latency.ttft_s / one.ttft_s - 1))
    return found


def test_made_up_measurements_are_explained() -> None:
    points = list(measured(TRUE, "H100"))
    found = calibrate(points)
    before, after = errors(Efficiency(), points), errors(found.efficiency(H100), points)
    assert max(after) < 0.06 < max(before)
    assert sum(after) < sum(before) / 4


def test_what_no_row_tells_stays_at_its_prior() -> None:
    dense = [one for one in measured(TRUE, "H100") if one.model.experts is None]
    found = calibrate(dense).common
    for name in ("expert_read", "expert_gemm", "expert_layer_s", "expert_passes"):
        assert getattr(found, name) == pytest.approx(getattr(Efficiency(), name))


def test_where_the_search_starts_changes_nothing() -> None:
    points = list(measured(TRUE, "H100"))
    here, there = calibrate(points).common, calibrate(points, TRUE).common
    for one in fields(Efficiency):
        assert getattr(here, one.name) == pytest.approx(getattr(there, one.name), rel=0.05)


def test_a_hopeless_start_is_left_behind_step_by_step() -> None:
    points = list(measured(TRUE, "H100"))
    far = Efficiency(**{one.name: 300 * getattr(TRUE, one.name) for one in fields(Efficiency)})
    near = calibrate(points, far).common
    assert sum(errors(near, points)) < sum(errors(far, points)) / 10


def test_each_capability_has_its_own_and_others_the_common_one() -> None:
    slow = replace(TRUE, weight_read=0.5)
    found = calibrate([*measured(TRUE, "H100"), *measured(slow, "A100")])
    assert found.efficiency(A100).weight_read < found.common.weight_read
    assert found.common.weight_read < found.efficiency(H100).weight_read
    assert not found.is_prior(H100)
    for unknown in (CATALOGUE.gpu("NVIDIA T4"), NO_CUDA):
        assert found.efficiency(unknown) is found.common
        assert found.is_prior(unknown)


def test_cards_without_cuda_count_in_the_common_one_alone() -> None:
    assert calibrate(list(measured(TRUE, "other"))).by_capability == {}


def test_a_wild_row_hardly_counts() -> None:
    points = list(measured(TRUE, "H100"))
    wild = [replace(points[0], tpot_s=50 * points[0].tpot_s), *points[1:]]
    clean, spoilt = calibrate(points).common, calibrate(wild).common
    assert max(errors(spoilt, points)) < max(errors(clean, points)) + 0.25


def test_a_first_token_that_was_not_measured_pulls_nowhere() -> None:
    points = [replace(one, ttft_s=None) for one in measured(TRUE, "H100")]
    found = calibrate(points)
    assert found.common.request_s == pytest.approx(Efficiency().request_s, rel=0.01)
    assert max(errors(found.efficiency(H100), points)) < 0.05
