from dataclasses import replace

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.measured_latency import (
    Load,
    Measurement,
    Predictor,
)
from kaito.domain.step_time import Layout, step_model
from kaito.domain.throughput import Demand, closed_loop, open_loop

CATALOGUE = load_catalogue()
H100 = CATALOGUE.gpu("NVIDIA H100 SXM 80GB")
EFFICIENCY = CALIBRATED.efficiency(H100)
POINT = Measurement(
    id="one",
    model_name="llama",
    model=CATALOGUE.model("llama-3.1-8b-instruct"),
    gpu_name="H100",
    gpu=H100,
    layout=Layout(),
    load=Load.CLOSED,
    demand=Demand(input_tokens=900, output_tokens=900),
    concurrency=8,
    rounds=10,
    ttft_s=0.05,
    tpot_s=0.008,
    source="none",
)
STEP = step_model(POINT.model, H100, POINT.layout, EFFICIENCY)
PREDICTOR = Predictor(EFFICIENCY)


def test_a_closed_loop_is_predicted_for_each_replica() -> None:
    two = replace(POINT, layout=Layout(data_parallel=2), concurrency=16)
    step = step_model(two.model, H100, two.layout, EFFICIENCY)
    wanted = closed_loop(step, two.demand, 8, rounds=10)
    found = PREDICTOR.predict(two)
    assert (found.latency.ttft_s, found.latency.tpot_s) == (wanted.ttft_s, wanted.tpot_s)
    assert not found.saturated


def test_a_batch_is_one_step_of_prompts_and_then_steps_of_tokens() -> None:
    batch = replace(POINT, load=Load.BATCH, rounds=None)
    found = PREDICTOR.predict(batch).latency
    assert found.ttft_s == STEP.seconds(prefill_tokens=7200, prefill_context=450, prefills=8)
    assert found.tpot_s == STEP.seconds(decodes=8, context=1350)


def test_a_batch_that_the_cache_does_not_hold_is_saturated() -> None:
    batch = replace(POINT, load=Load.BATCH, demand=replace(POINT.demand, cache_tokens=8 * 1350))
    assert not PREDICTOR.predict(batch).saturated
    assert PREDICTOR.predict(replace(batch, concurrency=9)).saturated


def test_an_open_loop_is_predicted_up_to_its_limit() -> None:
    some = replace(POINT, load=Load.OPEN, rate=2)
    wanted = open_loop(STEP, some.demand, 2)
    assert wanted is not None
    assert PREDICTOR.predict(some).latency.tpot_s == wanted.tpot_s
    beyond = PREDICTOR.predict(replace(some, rate=1e6))
    assert beyond.saturated
    assert beyond.latency.tpot_s > wanted.tpot_s


@pytest.mark.parametrize(
    ("change", "waited"),
    [
        ({"ttft_s": 1.0}, False),
        ({"ttft_s": 2.0}, True),  # 1.25 x (1/8 + 1/20) x 900 x 8 ms = 1.6 s
        ({"ttft_s": 1.3, "rounds": None}, True),
        ({"ttft_s": 1.0, "rounds": None}, False),
        ({"ttft_s": None}, False),
        ({"ttft_s": 2.0, "load": Load.BATCH}, False),
    ],
)
def test_a_long_wait_shows_in_the_measurement(change: dict[str, object], waited: bool) -> None:
    assert replace(POINT, **change).waited is waited


def test_releases_of_one_size_are_alike() -> None:
    assert POINT.shape == (32, 4096, 14336)


@pytest.mark.parametrize("field", ["ttft_s", "tpot_s", "concurrency"])
@pytest.mark.parametrize("value", [0, -1.0, float("inf"), float("nan")])
def test_a_measurement_is_a_number_above_0(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be a number above 0"):
        replace(POINT, **{field: value})
