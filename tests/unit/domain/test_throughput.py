from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.files import load_catalogue
from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.step_time import Layout, StepModel, step_model
from kaito.domain.throughput import (
    Demand,
    closed_loop,
    cost_per_million_tokens,
    largest_rate,
    open_loop,
)

CATALOGUE = load_catalogue()
H100 = CATALOGUE.gpu("NVIDIA H100 SXM 80GB")


def step(model: str = "llama-3.1-8b-instruct", **layout: int) -> StepModel:
    return step_model(CATALOGUE.model(model), H100, Layout(**layout), CALIBRATED.efficiency(H100))


STEP = step()
DEMAND = Demand(input_tokens=1000, output_tokens=200)


def test_a_lone_client_waits_for_nobody() -> None:
    found = closed_loop(STEP, DEMAND, 1)
    assert found.tpot_s == pytest.approx(STEP.seconds(decodes=1, context=DEMAND.context), rel=0.01)
    assert found.ttft_s < 0.1
    assert found.tokens_per_s == pytest.approx(1 / found.tpot_s, rel=0.1)
    assert (found.running, found.waiting, found.saturated) == (1, 0, False)


def test_prompts_of_others_lengthen_every_step() -> None:
    long = replace(DEMAND, input_tokens=16_000.0)
    decode = STEP.seconds(decodes=32, context=long.context)
    assert closed_loop(STEP, long, 32).tpot_s > 1.5 * decode


def test_a_full_cache_makes_clients_wait() -> None:
    small = replace(DEMAND, cache_tokens=10 * DEMAND.context)
    found, enough = (closed_loop(STEP, one, 40) for one in (small, DEMAND))
    assert (found.running, found.waiting) == (10, 30)
    assert found.saturated
    assert found.ttft_s > 3 * 0.9 * DEMAND.output_tokens * found.tpot_s
    assert found.tokens_per_s < enough.tokens_per_s


def test_clients_that_start_together_wait_for_each_other() -> None:
    steady, burst = (closed_loop(STEP, DEMAND, 32, rounds=n) for n in (None, 10.0))
    assert burst.ttft_s > steady.ttft_s
    assert burst.tpot_s < steady.tpot_s  # nobody follows the last round


def test_stages_of_a_pipeline_work_on_parts_of_the_batch() -> None:
    """Each part reads the cache of its own sequences alone."""
    deep = replace(DEMAND, input_tokens=50_000.0)
    one, two = (closed_loop(step(pipeline_parallel=n), deep, 64).tpot_s for n in (1, 2))
    assert two < one


def test_a_prompt_delays_the_parts_of_other_stages_less() -> None:
    prompts = replace(DEMAND, input_tokens=8_000.0)
    one, two = (step(pipeline_parallel=n) for n in (1, 2))
    extra = [
        closed_loop(engine, prompts, 16).tpot_s
        - engine.seconds(decodes=16 / stages, context=prompts.context)
        for engine, stages in ((one, 1), (two, 2))
    ]
    assert 0.6 < extra[1] / extra[0] < 0.9


def test_an_open_loop_runs_what_little_s_law_says() -> None:
    found = open_loop(STEP, DEMAND, 5)
    assert found is not None
    stay = found.ttft_s + (DEMAND.output_tokens - 1) * found.tpot_s
    assert found.running + found.waiting == pytest.approx(5 * stay, rel=0.05)
    assert found.tokens_per_s == pytest.approx(5 * DEMAND.output_tokens)


def test_more_than_can_be_answered_has_no_steady_state() -> None:
    assert open_loop(STEP, DEMAND, 1e6) is None


def test_prompts_that_come_at_random_queue() -> None:
    prompts = Demand(input_tokens=8000, output_tokens=1)
    most = closed_loop(STEP, prompts, prompts.slots).requests_per_s
    calm, busy = (open_loop(STEP, prompts, most * share) for share in (0.1, 0.8))
    assert calm is not None
    assert busy is not None
    assert busy.ttft_s > 2 * calm.ttft_s


def test_the_largest_rate_keeps_both_promises_and_hardly_more() -> None:
    found = largest_rate(STEP, DEMAND, ttft_s=0.2, tpot_s=0.02)
    assert found is not None
    assert found.ttft_s <= 0.2
    assert found.tpot_s <= 0.02
    more = open_loop(STEP, DEMAND, found.requests_per_s * 1.01)
    assert more is None or more.ttft_s > 0.2 or more.tpot_s > 0.02


def test_without_promises_the_largest_rate_is_what_the_engine_can_do() -> None:
    found = largest_rate(STEP, DEMAND)
    assert found is not None
    assert open_loop(STEP, DEMAND, found.requests_per_s * 1.01) is None


def test_a_promise_that_a_single_request_breaks_allows_no_rate() -> None:
    assert largest_rate(STEP, DEMAND, tpot_s=1e-4) is None
    assert largest_rate(STEP, DEMAND, ttft_s=1e-4) is None


def test_cost() -> None:
    """3.6 dollars an hour are a tenth of a cent a second: 1,000 tokens."""
    assert cost_per_million_tokens(3.6, 1000) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_tokens", 0),
        ("output_tokens", 0.5),
        ("cache_tokens", -1),
        ("batched_tokens", 0),
        ("max_sequences", 0),
        ("cache_tokens", float("nan")),
    ],
)
def test_impossible_demands_name_the_field(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        replace(DEMAND, **{field: value})


NEVER = 0.98  # of a time: where prompts begin to share steps, each costs a little less
DEMANDS = st.builds(
    Demand,
    input_tokens=st.floats(1, 50_000),
    output_tokens=st.floats(100, 10_000),  # prompts share steps where outputs are a few tokens
    cache_tokens=st.floats(1_000, 1e7),
    batched_tokens=st.sampled_from([2048, 8192]),
)
STEPS = st.sampled_from([STEP, step("gpt-oss-20b"), step("deepseek-v3-0324", tensor_parallel=8)])


@given(engine=STEPS, demand=DEMANDS, clients=st.floats(1, 500), more=st.floats(0, 100))
def test_more_clients_never_see_better_times(
    engine: StepModel, demand: Demand, clients: float, more: float
) -> None:
    now, then = (closed_loop(engine, demand, n) for n in (clients, clients + more))
    assert then.tpot_s >= now.tpot_s * NEVER
    assert then.ttft_s >= now.ttft_s * NEVER


@given(engine=STEPS, demand=DEMANDS, room=st.floats(1, 10))
def test_more_cache_never_makes_clients_wait_longer(
    engine: StepModel, demand: Demand, room: float
) -> None:
    larger = replace(demand, cache_tokens=demand.cache_tokens * room)
    assert closed_loop(engine, larger, 64).waiting <= closed_loop(engine, demand, 64).waiting


@given(engine=STEPS, demand=DEMANDS, share=st.floats(0.01, 0.9), more=st.floats(1, 1.1))
def test_more_requests_per_second_never_see_better_times(
    engine: StepModel, demand: Demand, share: float, more: float
) -> None:
    most = closed_loop(engine, demand, demand.slots).requests_per_s
    now, then = (open_loop(engine, demand, rate) for rate in (most * share, most * share * more))
    if now is None:
        assert then is None
    elif then is not None:
        assert then.ttft_s >= now.ttft_s * NEVER
        assert then.tpot_s >= now.tpot_s * NEVER
