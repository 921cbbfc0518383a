from dataclasses import replace
from typing import Any

import pytest

from kaito.domain.engine import choose_engine
from kaito.domain.fit import FitPlan, concurrency_at, fit_inference
from kaito.domain.fit_offer import Cost, Offer, offer_on
from kaito.domain.fit_request import FitRequest
from kaito.domain.known_error import Verdict
from kaito.domain.model import EngineName
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    LLAMA_70B,
    LONG,
    MINI,
    T4,
    TWO_A10,
    TWO_A100,
    V100,
)

AMD = "Standard_NG32ads_V620_v1"


def offer(model: str, machine: str, *, spot: bool = False, **demands: Any) -> Offer:
    return offer_on(
        CATALOGUE.model(model),
        CATALOGUE.instance_type(machine),
        CATALOGUE.engines,
        FitRequest(**demands),
        spot=spot,
    )


def planned(found: Offer) -> FitPlan:
    assert found.plan is not None, found.reason
    return found.plan


def test_it_is_the_plan_that_the_operator_makes() -> None:
    found = offer("phi-4", A100, context=8192)
    plan = planned(found)
    choice = plan.engine
    assert found.verdict is Verdict.FITS
    assert plan.max_model_len == 8192
    assert found.longest == 16_384
    assert choice.name is EngineName.VLLM
    assert found.binds == "model's limit"
    assert found.accepted
    assert found.concurrency == plan.kv_cache_tokens // 8192


def test_without_a_context_the_known_error_is_left_free() -> None:
    found = offer(LONG, A10)
    plan = planned(found)
    assert found.verdict is Verdict.FITS
    assert plan.headroom_bytes >= plan.error.size
    assert 2048 < plan.max_model_len < found.longest
    assert found.binds == "kv cache"
    assert not found.whole_context


def test_it_is_tight_where_not_even_a_short_context_leaves_the_error_free() -> None:
    found = offer("phi-4", TWO_A10)
    assert found.verdict is Verdict.TIGHT
    assert found.headroom_multiples is not None
    assert found.headroom_multiples < 1


def test_a_context_that_is_asked_for_is_not_shortened() -> None:
    found = offer("phi-4", TWO_A10, context=6800)
    assert planned(found).max_model_len == 6800
    assert found.verdict is Verdict.TIGHT


def test_requests_that_are_longer_than_what_fits_are_refused() -> None:
    assert offer("phi-4", TWO_A10, input_tokens=2000).accepted
    long = offer("phi-4", TWO_A10, input_tokens=8000)
    assert long.accepted
    assert planned(long).nodes > 1  # one machine holds 6,864 tokens


def test_what_a_v100_cannot_hold() -> None:
    found = offer("phi-4", V100)
    assert found.verdict is Verdict.DOES_NOT_FIT
    assert found.binds == "weights"
    assert "27.31 GiB" in found.reason
    assert found.plan is None
    assert found.usd_per_hour is None
    assert found.usd_per_million_tokens is None
    assert found.headroom_multiples is None
    assert found.machines == 0
    assert not found.accepted


def test_an_accelerator_without_an_engine_says_so() -> None:
    found = offer(MINI, AMD)
    assert found.binds == "engine"
    assert "no engine image has kernels for AMD" in found.reason


def test_transformers_has_no_known_speed_and_one_sequence() -> None:
    found = offer(MINI, V100, concurrency=3)
    assert found.concurrency == 1
    assert found.copies == 3
    assert found.speed is None
    assert found.usd_per_million_tokens is None
    too_slow = offer(MINI, V100, rate=1.0)
    assert too_slow.binds == "engine"
    assert "one request at a time" in too_slow.reason


def test_transformers_holds_no_sequence_that_is_longer_than_its_context() -> None:
    model, machine = CATALOGUE.model(MINI), CATALOGUE.instance_type(V100)
    plan = planned(offer(MINI, V100, context=1024))
    assert concurrency_at(model, machine.gpu, plan, 1024) == 1
    assert concurrency_at(model, machine.gpu, plan, 1025) == 0


def test_copies_follow_from_concurrency() -> None:
    one = offer("phi-4", A100, context=16_384)
    more = offer("phi-4", A100, context=16_384, concurrency=one.concurrency + 1)
    assert (one.copies, more.copies) == (1, 2)
    assert more.usd_per_hour == 2 * (one.usd_per_hour or 0)


def test_copies_follow_from_a_rate() -> None:
    one = offer(MINI, A10, rate=0.5)
    many = offer(MINI, A10, rate=50.0)
    assert one.copies == 1
    assert many.copies > 5
    assert many.speed is not None
    assert many.speed.each.requests_per_s * many.copies == pytest.approx(50, rel=0.01)
    assert many.speed.prior
    assert many.speed.most_tokens_per_s >= many.speed.tokens_per_s


def test_copies_keep_the_bounds() -> None:
    found = offer(MINI, A10, rate=20.0, ttft_s=1.0, tpot_s=0.04)
    assert found.speed is not None
    assert found.speed.each.ttft_s <= 1.0
    assert found.speed.each.tpot_s <= 0.0401
    assert found.copies > offer(MINI, A10, rate=20.0).copies


def test_bounds_alone_are_met_by_one_copy_as_fast_as_it_can() -> None:
    found = offer(MINI, A100, tpot_s=0.02)
    assert found.speed is not None
    assert found.copies == 1
    assert found.speed.each.tpot_s == pytest.approx(0.02, rel=0.01)
    assert not found.speed.prior


def test_a_bound_that_no_number_of_copies_keeps_is_the_reason() -> None:
    found = offer("phi-4", A100, tpot_s=0.001, ttft_s=10.0)
    assert found.binds == "time per output token"
    assert found.verdict is Verdict.FITS
    assert "each further one after" in found.reason
    assert not found.accepted
    slow = offer("phi-4", A100, ttft_s=0.001)
    assert slow.binds == "time to first token"
    assert slow.speed is not None
    assert slow.speed.excess > 10


def test_speed_at_a_concurrency() -> None:
    few, most = offer(MINI, A100, concurrency=2), offer(MINI, A100)
    assert few.speed is not None
    assert most.speed is not None
    assert few.speed.each.running == pytest.approx(2)
    assert few.speed.each.tpot_s < most.speed.each.tpot_s
    assert few.speed.most_tokens_per_s == pytest.approx(most.speed.most_tokens_per_s)


def test_the_price_is_that_of_the_region_or_of_the_cheapest() -> None:
    anywhere = offer(MINI, A10)
    assert anywhere.cost == Cost(usd_per_hour=3.2, region="eastus", spot=False)
    spot = offer(MINI, A10, spot=True)
    assert spot.cost == Cost(usd_per_hour=0.8, region="eastus", spot=True)
    model, machine = CATALOGUE.model(MINI), CATALOGUE.instance_type(A10)
    west = offer_on(model, machine, CATALOGUE.engines, FitRequest(), region="westus")
    assert west.cost is not None
    assert west.cost.usd_per_hour == 4.16
    unknown = replace(machine, prices={})
    free = offer_on(model, unknown, CATALOGUE.engines, FitRequest())
    assert free.accepted
    assert free.usd_per_hour is None


def test_machines_of_several_nodes_cost_as_many() -> None:
    found = offer(LLAMA_70B, TWO_A100, context=32_768)
    assert planned(found).nodes == 2
    assert found.machines == 2
    assert found.cost is not None
    assert found.usd_per_hour == 2 * found.cost.usd_per_hour


def test_the_plan_is_not_another_one() -> None:
    model, machine = CATALOGUE.model(LLAMA_70B), CATALOGUE.instance_type(TWO_A100)
    found = planned(offer(LLAMA_70B, TWO_A100, context=32_768))
    choice = choose_engine(CATALOGUE.engines, machine.gpu, model)
    assert found == fit_inference(model, machine, choice, max_model_len=32_768)


def test_small_cards_of_the_past() -> None:
    assert offer(MINI, T4).verdict is Verdict.FITS


def test_tokens_cost_what_the_machines_do_in_their_time() -> None:
    found = offer(MINI, A10)
    assert found.speed is not None
    assert found.usd_per_million_tokens == pytest.approx(
        3.2 / 3600 / found.speed.tokens_per_s * 1e6
    )
