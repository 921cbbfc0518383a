"""How long it takes to read every preset: every command that plans waits for it."""

from typing import Final

from pytest_benchmark.fixture import BenchmarkFixture

from kaito.adapters.files import load_catalogue

LIMIT_S: Final = 1.0  # generous: many times what it is on a quiet machine


def test_reading_every_preset(benchmark: BenchmarkFixture) -> None:
    catalogue = benchmark(load_catalogue)
    assert len(catalogue.models) >= 71
    if benchmark.stats:  # None where benchmarking is switched off
        assert benchmark.stats.stats.min < LIMIT_S
