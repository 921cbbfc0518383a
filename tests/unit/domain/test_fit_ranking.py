from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain.engine import choose_engine
from kaito.domain.errors import InvalidInput
from kaito.domain.fit_offer import Offer, offer_on
from kaito.domain.fit_ranking import Ranking, instance_types_of, rank, rank_tuning, refuse_unmet
from kaito.domain.fit_request import FitRequest
from kaito.domain.known_error import Verdict
from kaito.domain.memory import ServerSettings, budget_bytes, memory_by_context
from kaito.domain.sizing import size
from kaito.domain.tuning_fit import TuningRequest
from kaito.domain.tuning_method import TuningMethod
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    LONG,
    MINI,
    TUNING,
    TWO_A10,
    TWO_A100,
    V100,
    workspace,
)

AZURE = instance_types_of(CATALOGUE.instance_types, clouds=["azure"])
MODELS = st.sampled_from(CATALOGUE.models)
TYPES = st.sampled_from(CATALOGUE.instance_types)


def ranked(model: str, *, region: str | None = None, spot: bool = False, **asked: Any) -> Ranking:
    return rank(
        CATALOGUE.model(model),
        AZURE,
        CATALOGUE.engines,
        FitRequest(**asked),
        region=region,
        spot=spot,
    )


def names(offers: tuple[Offer, ...]) -> list[str]:
    return [one.instance_type.name for one in offers]


def test_the_cheapest_that_holds_the_context_is_recommended() -> None:
    found = ranked("phi-4", context=16_384)
    best = found.recommended
    assert best is not None
    assert best.instance_type.name == A100
    assert best.verdict is Verdict.FITS
    sound = [
        one
        for one in found.offers
        if one.usd_per_hour is not None
        and one.verdict is Verdict.FITS
        and not one.instance_type.legacy
    ]
    assert best.usd_per_hour == min(one.usd_per_hour or 0 for one in sound)


def test_without_a_demand_those_that_hold_the_whole_limit_come_first() -> None:
    found = ranked("phi-4")
    wholes = [one.whole_context for one in found.offers if one.verdict is Verdict.FITS]
    assert wholes[0]
    assert A10 in names(found.offers)
    assert names(found.offers).index(A10) > names(found.offers).index(A100)


def test_requests_that_are_described_need_no_more_context_than_they_have() -> None:
    found = ranked("phi-4", input_tokens=1500, output_tokens=300)
    assert all(one.whole_context for one in found.offers)


def test_types_that_are_no_longer_sold_come_after_the_others() -> None:
    found = ranked(MINI)
    legacies = [one.instance_type.legacy for one in found.offers]
    assert legacies == sorted(legacies)
    assert legacies[-1]
    assert V100 in names(found.offers)


def test_unknown_prices_come_last() -> None:
    found = ranked(MINI, region="eastus")
    unknown = [one.usd_per_hour is None for one in found.offers]
    assert unknown == sorted(unknown)
    assert unknown[-1]


def test_what_may_stand_in_is_one_machine_of_the_same_cloud() -> None:
    found = ranked("phi-4", context=16_384)
    assert found.fallbacks
    assert found.recommended is not None
    for one in found.fallbacks:
        assert one.cloud == found.recommended.instance_type.cloud
        assert one.name != found.recommended.instance_type.name
    contexts = {one.instance_type.name: one.plan for one in ranked(LONG).offers}
    for other in ranked(LONG).fallbacks:
        plan = contexts[other.name]
        assert plan is not None
        assert plan.max_model_len == CATALOGUE.model(LONG).token_limit


def test_nothing_stands_in_where_one_machine_is_not_enough() -> None:
    only = [CATALOGUE.instance_type(TWO_A100)]
    request = FitRequest(context=32_768)
    found = rank(CATALOGUE.model("llama-3.3-70b-instruct"), only, CATALOGUE.engines, request)
    assert found.recommended is not None
    assert found.fallbacks == ()


def test_what_is_tight_is_listed_and_not_recommended() -> None:
    only = [CATALOGUE.instance_type(TWO_A10)]
    found = rank(CATALOGUE.model("phi-4"), only, CATALOGUE.engines, FitRequest())
    assert names(found.offers) == [TWO_A10]
    assert found.recommended is None
    assert found.fallbacks == ()


def test_spot_prices_rank_otherwise() -> None:
    on_demand, spot = ranked(MINI, context=4096), ranked(MINI, context=4096, spot=True)
    assert names(on_demand.offers) != names(spot.offers)


def test_a_demand_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="limit of phi-4"):
        ranked("phi-4", context=99_999)


def test_times_that_nothing_keeps_name_the_closest() -> None:
    request = FitRequest(tpot_s=0.0001)
    found = rank(CATALOGUE.model(MINI), AZURE, CATALOGUE.engines, request)
    assert not found.offers
    with pytest.raises(InvalidInput, match=r"no instance type keeps --tpot 0\.1 ms; the closest"):
        refuse_unmet(found, request)


def test_a_load_that_no_cluster_carries_names_the_closest() -> None:
    request = FitRequest(rate=1e6)
    found = rank(CATALOGUE.model("phi-4"), AZURE, CATALOGUE.engines, request)
    assert not found.offers
    many = [one for one in found.rejected if one.binds == "machines"]
    closest = min(many, key=lambda one: one.machines)
    with pytest.raises(InvalidInput) as caught:
        refuse_unmet(found, request)
    (problem,) = caught.value.problems
    assert problem.field == "--rate"
    assert "carries --rate 1,000,000 with the 5,000 machines" in problem.message
    name, copies = closest.instance_type.name, closest.copies
    assert f"closest is {name}, with {copies:,} copies on {closest.machines:,}" in problem.message


def test_of_a_load_as_many_copies_as_a_cluster_holds_are_no_problem() -> None:
    found = ranked("phi-4", concurrency=20_000)
    assert found.recommended is not None
    assert 1 < found.recommended.machines <= 5000
    assert all(one.machines > 5000 for one in found.rejected if one.binds == "machines")


def test_tuning_jobs_are_ranked_by_cost_and_say_what_does_not_fit() -> None:
    request = TuningRequest(method=TuningMethod.LORA)
    found = rank_tuning(CATALOGUE.model("phi-4"), AZURE, CATALOGUE.engines, request)
    best = found.recommended
    assert best is not None
    assert best.instance_type.name == A100
    assert best.machines == 1
    assert best.usd_per_million_tokens is None
    cheaper = next(one for one in found.rejected if one.instance_type.name == A10)
    assert cheaper.binds == "weights"
    assert "with 1024 tokens a sequence does not fit" in cheaper.reason
    assert found.fallbacks  # though their longest sequences are shorter than that of the best
    assert {one.reason for one in found.rejected if one.binds == "engine"}


def test_a_tuning_job_is_what_the_operator_runs() -> None:
    tuned = workspace(instance_type=A100, tuning=TUNING)
    request = TuningRequest(method=TuningMethod.QLORA)
    found = rank_tuning(
        CATALOGUE.model(LONG), [CATALOGUE.instance_type(A100)], CATALOGUE.engines, request
    )
    assert [one.plan for one in found.offers] == [size(tuned, CATALOGUE).fit]
    assert found.offers[0].binds == "activations"
    short = rank_tuning(
        CATALOGUE.model(MINI), [CATALOGUE.instance_type(A100)], CATALOGUE.engines, request
    )
    assert short.offers[0].binds == "model's limit"


def test_a_tuning_job_that_is_none_is_refused() -> None:
    request = TuningRequest(method=TuningMethod.LORA, batch_size=0)
    with pytest.raises(InvalidInput, match=r"--batch-size: must be within 1\.\.1000000"):
        rank_tuning(CATALOGUE.model("phi-4"), AZURE, CATALOGUE.engines, request)


def test_times_that_something_keeps_are_no_problem() -> None:
    request = FitRequest(tpot_s=0.05)
    refuse_unmet(ranked(MINI, tpot_s=0.05), request)
    nothing = rank(
        CATALOGUE.model("phi-4"), [CATALOGUE.instance_type(V100)], CATALOGUE.engines, FitRequest()
    )
    assert nothing.rejected
    refuse_unmet(nothing, FitRequest())


def test_instance_types_by_cloud_or_by_name() -> None:
    assert {one.cloud for one in AZURE} == {"azure"}
    assert instance_types_of(CATALOGUE.instance_types) == CATALOGUE.instance_types
    by_name = instance_types_of(
        CATALOGUE.instance_types, clouds=["aws"], names=[A10.upper(), A10], region="eastus"
    )
    assert [one.name for one in by_name] == [A10]


def test_unknown_clouds_names_and_regions_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        instance_types_of(
            CATALOGUE.instance_types, clouds=["moon"], names=["Standard_NC24"], region="narnia"
        )
    text = str(caught.value)
    assert "unknown cloud 'moon'. Known: arc, aws, azure" in text
    assert "unknown instance type 'Standard_NC24'. Did you mean" in text
    assert "no price is known in 'narnia'. Known: centralus, eastus" in text
    assert "unspecified" not in text


@settings(deadline=None, max_examples=25)
@given(
    model=MODELS,
    types=st.lists(TYPES, min_size=1, max_size=12, unique_by=lambda one: one.name),
    context=st.integers(min_value=1, max_value=200_000) | st.none(),
    concurrency=st.integers(min_value=1, max_value=64) | st.none(),
    spot=st.booleans(),
)
def test_cost_ranks_within_equals_and_nothing_that_does_not_fit_is_offered(
    model: Any, types: list[Any], context: int | None, concurrency: int | None, spot: bool
) -> None:
    asked = min(context, model.token_limit) if context else None
    request = FitRequest(context=asked, concurrency=concurrency)
    found = rank(model, types, CATALOGUE.engines, request, spot=spot)
    assert len(found.offers) + len(found.rejected) == len(types)
    keys = [
        (
            one.usd_per_hour is None,
            one.instance_type.legacy,
            one.verdict is not Verdict.FITS,
            not one.whole_context,
            one.usd_per_hour or 0.0,
        )
        for one in found.offers
    ]
    assert keys == sorted(keys)
    for one in found.offers:
        plan = one.plan
        assert plan is not None
        gpu = one.instance_type.gpu
        settings_of = ServerSettings(
            tensor_parallel=plan.tensor_parallel, pipeline_parallel=plan.pipeline_parallel
        )
        memory = memory_by_context(model, gpu, plan.engine, settings_of)(plan.max_model_len)
        assert memory.total + plan.headroom_bytes == budget_bytes(gpu, plan.engine.name)
        assert plan.headroom_bytes >= 0
        assert plan.max_model_len >= (asked or 1)
        assert one.concurrency * one.copies >= (concurrency or 1)
    if found.recommended is not None:
        assert found.recommended.verdict is Verdict.FITS
    assert all(one.reason for one in found.rejected)


@settings(deadline=None, max_examples=25)
@given(model=MODELS, machine=TYPES, data=st.data())
def test_more_context_never_fits_on_fewer_machines(model: Any, machine: Any, data: Any) -> None:
    low = data.draw(st.integers(min_value=1, max_value=model.token_limit))
    high = data.draw(st.integers(min_value=low, max_value=model.token_limit))
    less, more = (
        offer_on(model, machine, CATALOGUE.engines, FitRequest(context=one)) for one in (low, high)
    )
    if less.plan is None:
        assert more.plan is None
    elif more.plan is not None:
        assert less.plan.nodes <= more.plan.nodes


@settings(deadline=None, max_examples=15)
@given(model=MODELS, machine=TYPES, context=st.integers(min_value=1, max_value=4096))
def test_a_larger_card_is_never_refused_what_a_smaller_one_holds(
    model: Any, machine: Any, context: int
) -> None:
    asked = FitRequest(context=min(context, model.token_limit))
    gpu = machine.gpu
    if gpu.compute_capability is None or "A100" in gpu.name:
        return  # no engine; and A100s have vLLM's settings for small cards
    larger = replace(gpu, memory_bytes=2 * gpu.memory_bytes, reported_bytes=2 * gpu.usable_bytes)
    small = offer_on(model, machine, CATALOGUE.engines, asked)
    large = offer_on(model, replace(machine, gpu=larger), CATALOGUE.engines, asked)
    if small.accepted and choose_engine(CATALOGUE.engines, gpu, model).engine.name == "vllm":
        assert large.accepted
