"""What a plan costs: every model on every instance type, and the command from a cold start."""

import subprocess
import sys
from time import perf_counter
from typing import Final

from pytest_benchmark.fixture import BenchmarkFixture

from kaito.adapters.files import load_catalogue
from kaito.domain.fit_ranking import rank
from kaito.domain.fit_request import FitRequest

CATALOGUE: Final = load_catalogue()
CONTEXTS: Final = (2048, 8192, 32_768)
WARM_LIMIT_S: Final = 1.0
COLD_LIMIT_S: Final = 0.7


def every_plan() -> int:
    """Offers of all models on all instance types, for three contexts each."""
    offers = 0
    for model in CATALOGUE.models:
        for context in CONTEXTS:
            request = FitRequest(context=min(context, model.token_limit))
            ranking = rank(model, CATALOGUE.instance_types, CATALOGUE.engines, request)
            offers += len(ranking.offers)
    return offers


def test_every_model_on_every_instance_type(benchmark: BenchmarkFixture) -> None:
    every_plan()
    offers = benchmark.pedantic(every_plan, rounds=3)
    assert offers > len(CATALOGUE.models) * 50
    if benchmark.stats:
        assert benchmark.stats["min"] < WARM_LIMIT_S


def test_the_command_from_a_cold_start(benchmark: BenchmarkFixture) -> None:
    def cold() -> float:
        start = perf_counter()
        command = [sys.executable, "-m", "kaito", "plan", "phi-4"]
        subprocess.run(command, check=True, capture_output=True)
        return perf_counter() - start

    benchmark.pedantic(cold, rounds=5)
    if benchmark.stats:
        assert benchmark.stats["min"] < COLD_LIMIT_S
