"""What a simulation pays for each step of an engine, and a planner for each candidate."""

from pytest_benchmark.fixture import BenchmarkFixture

from kaito.adapters.files import load_catalogue
from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.step_time import Layout, StepModel, step_model
from kaito.domain.throughput import Demand, largest_rate

STEP_LIMIT_S = 20e-6


def deepseek() -> StepModel:
    catalogue = load_catalogue()
    gpu = catalogue.gpu("NVIDIA H200 SXM 141GB")
    layout = Layout(tensor_parallel=8)
    model = catalogue.model("deepseek-v3-0324")
    return step_model(model, gpu, layout, CALIBRATED.efficiency(gpu))


def test_one_step(benchmark: BenchmarkFixture) -> None:
    step = deepseek()
    benchmark(
        lambda: step.seconds(
            prefill_tokens=500, prefill_context=250, prefills=1, decodes=64, context=999
        )
    )
    if benchmark.stats:
        assert benchmark.stats["median"] < STEP_LIMIT_S


def test_the_largest_load_under_an_slo(benchmark: BenchmarkFixture) -> None:
    step, demand = deepseek(), Demand(input_tokens=1000, output_tokens=200)
    found = benchmark(lambda: largest_rate(step, demand, ttft_s=1, tpot_s=0.05))
    assert found is not None
