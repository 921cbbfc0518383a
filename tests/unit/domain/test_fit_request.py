from typing import Any

import pytest

from kaito.domain.errors import InvalidInput
from kaito.domain.fit_request import FitRequest
from tests.unit.domain.builders import CATALOGUE, MINI

PHI_4 = CATALOGUE.model("phi-4")  # 16,384 tokens
SHORT = CATALOGUE.model("phi-2")  # 2,048 tokens


def refused(**demands: Any) -> str:
    with pytest.raises(InvalidInput) as caught:
        FitRequest(**demands).check(PHI_4)
    return str(caught.value)


def test_what_nobody_says_about_requests_is_taken_to_be_usual() -> None:
    shape = FitRequest().shape(PHI_4)
    assert (shape.input_tokens, shape.output_tokens, shape.total) == (1000, 200, 1200)
    assert FitRequest(context=120).shape(PHI_4).total <= 120
    assert FitRequest(context=1).shape(PHI_4).output_tokens == 1
    said = FitRequest(input_tokens=7, output_tokens=9).shape(PHI_4)
    assert (said.input_tokens, said.output_tokens) == (7, 9)


def test_what_is_demanded_goes_by_the_names_of_options() -> None:
    assert FitRequest(adapters=2).given == ()
    assert FitRequest(context=1, rate=0.0, ttft_s=1.0).given == ("--context", "--rate", "--ttft")


def test_a_context_is_of_use_from_what_is_asked_for() -> None:
    assert FitRequest(context=500).least_context(PHI_4) == 500
    assert FitRequest().least_context(PHI_4) == 2048
    assert FitRequest(input_tokens=4000, output_tokens=96).least_context(PHI_4) == 4096


def test_more_context_is_of_use_up_to_what_is_asked_for() -> None:
    assert FitRequest().wished_context(PHI_4) == PHI_4.token_limit
    assert FitRequest(context=500).wished_context(PHI_4) == 500
    assert FitRequest(input_tokens=4000).wished_context(PHI_4) == 4000


@pytest.mark.parametrize(
    "demands",
    [
        {},
        {"context": PHI_4.token_limit, "concurrency": 1},
        {"rate": 0.5, "ttft_s": 1.0, "tpot_s": 0.05},
        {"context": 300, "input_tokens": 200, "output_tokens": 100},
    ],
)
def test_a_demand_that_can_be_met_passes(demands: dict[str, Any]) -> None:
    FitRequest(**demands).check(PHI_4)


@pytest.mark.parametrize(
    ("field", "value"),
    [("context", 0), ("concurrency", -1), ("input_tokens", 0), ("output_tokens", 0)],
)
def test_a_count_of_nothing_is_refused(field: str, value: int) -> None:
    text = refused(**{field: value})
    assert f"--{field.replace('_', '-')}: must be at least 1, got {value}" in text


@pytest.mark.parametrize("field", ["concurrency", "context", "rate", "tpot_s"])
def test_more_than_anybody_needs_is_refused(field: str) -> None:
    assert "must be at most 1,000,000,000, got" in refused(**{field: 10**400})
    assert "must be at most 1,000,000,000, got inf" in refused(rate=float("inf"))


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("field", ["rate", "ttft_s", "tpot_s"])
def test_a_rate_or_time_that_is_none_is_refused(field: str, value: float) -> None:
    assert "must be a number above 0" in refused(**{field: value})


def test_a_context_above_the_limit_says_the_limit() -> None:
    assert "is 99999, and the limit of phi-4 is 16384 tokens" in refused(context=99_999)


def test_a_request_longer_than_the_context_is_refused() -> None:
    assert "longer than the context asked for, 100" in refused(context=100, input_tokens=101)
    assert "longer than the limit of phi-4, 16384" in refused(output_tokens=20_000)


def test_every_problem_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        FitRequest(context=99_999, rate=0).check(CATALOGUE.model(MINI))
    assert len(caught.value.problems) == 2


def test_a_short_limit_is_enough() -> None:
    assert FitRequest().least_context(SHORT) == 2048 == SHORT.token_limit
