"""What a config asks of vLLM is what the fit plans with and what the command line says."""

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.domain.engine import EngineName, NoEngine
from kaito.domain.errors import InvalidConfig
from kaito.domain.fit import DoesNotFit, FitPlan
from kaito.domain.memory import budget_bytes
from kaito.domain.quantity import GIB
from kaito.domain.server_request import (
    NOTHING_ASKED,
    ServerRequest,
    server_request,
    uncounted_flags,
)
from kaito.domain.sizing import Sizing, size
from kaito.domain.validation import validate
from kaito.domain.workload_plan import plan_workload
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    FOUR_T4,
    GATED,
    H100,
    LLAMA_70B,
    LONG,
    MINI,
    T4,
    TWO_A10,
    TWO_A100,
    V100,
    workspace,
)

EIGHT_H100 = "Standard_ND96isr_H100_v5"
GLM = "glm-5.2-fp8"


def sized(
    flags: Mapping[str, Any] | None, machine: str = A100, model: str = "phi-4", **parts: Any
) -> Sizing:
    asked = workspace(instance_type=machine, inference={"preset": {"name": model}, **parts})
    return size(asked, CATALOGUE, {"vllm": dict(flags)} if flags else None)


def fit(flags: Mapping[str, Any] | None, machine: str = A100, model: str = "phi-4") -> FitPlan:
    return sized(flags, machine, model).fit


def command_line(sizing: Sizing, **parts: Any) -> dict[str, str]:
    """The flags of the server, by name."""
    arguments = plan_workload(workspace(**parts), sizing, None).arguments
    pairs = (one.removeprefix("--").partition("=") for one in arguments)
    return {flag: value for flag, _, value in pairs}


@pytest.mark.parametrize(
    ("config", "request_"),
    [
        (None, NOTHING_ASKED),
        ({"vllm": None}, NOTHING_ASKED),
        ({"vllm": ["gpu-memory-utilization"]}, NOTHING_ASKED),
        ({"vllm": {"swap-space": 4, "max-num-seqs": "many"}}, NOTHING_ASKED),
        (
            {"vllm": {"gpu_memory_utilization": "0.3", "tensor_parallel_size": "2"}},
            ServerRequest(utilization=Fraction(3, 10), tensor_parallel=2),
        ),
        (
            {"vllm": {"gpu-memory-utilization": 0.5, "gpu_memory_utilization": 0.95}},
            ServerRequest(utilization=Fraction(95, 100)),
        ),
        ({"vllm": {"kv-cache-dtype": "fp8", "kv_cache_dtype": "auto"}}, NOTHING_ASKED),
        ({"vllm": {"enforce-eager": "True"}}, ServerRequest(enforce_eager=True)),
        ({"vllm": {"enforce_eager": True, "no-enforce-eager": True}}, NOTHING_ASKED),
        ({"vllm": {"no_enable_lora": False}}, ServerRequest(enable_lora=True)),
        ({"vllm": {"max-loras": {"a": 1}}}, NOTHING_ASKED),
    ],
)
def test_what_a_config_asks_for(config: Any, request_: ServerRequest) -> None:
    assert server_request(config) == request_


def test_a_share_of_the_card_is_the_budget() -> None:
    gpu = CATALOGUE.instance_type(A100).gpu
    plan = fit({"gpu-memory-utilization": 0.95})
    budget = budget_bytes(gpu, EngineName.VLLM, Fraction(95, 100))
    assert plan.memory.total + plan.headroom_bytes == budget == gpu.usable_bytes * 95 // 100
    assert f"vllm may use 95% = {budget / GIB:.2f} GiB" in " ".join(plan.explanation)
    with pytest.raises(DoesNotFit, match=r"of the 3\.9\d GiB that it may use"):
        fit({"gpu_memory_utilization": 0.05})


def test_a_config_that_asks_too_much_is_what_should_change() -> None:
    found = workspace(instance_type=A100, inference={"preset": {"name": "phi-4"}})
    shares = {"gpu-memory-utilization": 0.04, "gpu_memory_utilization": 0.05}
    config = {"vllm": {**shares, "max-num-seqs": 64, "seed": 1}}
    (problem,) = validate(found, CATALOGUE, config)
    assert problem.rule == "model-fits"
    assert problem.field == "inference.config[vllm.gpu_memory_utilization]"
    assert problem.remedy == (
        "With the settings that kaito chooses it fits: remove gpu_memory_utilization, max-num-seqs"
    )


def test_a_setting_buys_no_machines_by_itself() -> None:
    flags = {"gpu-memory-utilization": 0.05, "seed": 1}
    with pytest.raises(InvalidConfig) as caught:
        sized(flags, A100, MINI)
    (problem,) = caught.value.problems
    assert str(problem) == (
        "inference.config[vllm.gpu-memory-utilization]: with gpu-memory-utilization "
        f"{MINI} takes 4 machines, and with what kaito chooses 1. Change or remove it, or ask for "
        "so many with pipeline-parallel-size: 4"
    )
    assert sized({**flags, "pipeline-parallel-size": 4}, A100, MINI).nodes == 4
    assert sized({"enforce-eager": True}, A10).nodes == sized(None, A10).nodes == 2


def test_a_setting_may_save_machines_or_make_a_model_fit() -> None:
    coder = {"max-model-len": 16384}
    assert sized(coder, A100, "qwen2.5-coder-32b-instruct").nodes == 2
    assert sized({**coder, "kv-cache-dtype": "fp8"}, A100, "qwen2.5-coder-32b-instruct").nodes == 1
    with pytest.raises(DoesNotFit):
        sized(None, A10, LLAMA_70B)
    assert sized({"gpu-memory-utilization": 0.95}, A10, LLAMA_70B).nodes == 8


def test_machines_that_would_do_are_judged_with_the_config() -> None:
    """Eight stages, on one machine: those with eight GPUs are left."""
    found = workspace(instance_type=T4, inference={"preset": GATED})
    (problem,) = validate(found, CATALOGUE, {"vllm": {"pipeline-parallel-size": 8}})
    assert problem.field == "resource.instanceType"
    named = problem.remedy.removeprefix("It fits on ").removesuffix(", cheapest first")
    assert {CATALOGUE.instance_type(one).gpu_count for one in named.split(", ")} == {8}
    (plain,) = validate(found, CATALOGUE)
    assert plain.remedy != problem.remedy


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        ({"max-num-seqs": 8}, "activations"),
        ({"max-num-batched-tokens": 1024, "max-num-seqs": 1024}, "activations"),
        ({"enforce-eager": True}, "cuda_graphs"),
        ({"kv-cache-dtype": "fp8_e4m3"}, "kv_cache"),
        ({"cpu-offload-gb": 5}, "weights"),
    ],
)
def test_what_makes_room(flags: dict[str, Any], part: str) -> None:
    """On an H100 vLLM's own defaults are 1,024 sequences and 8,192 tokens."""
    plain, asked = fit(None, H100), fit(flags, H100)
    assert getattr(asked.memory, part) < getattr(plain.memory, part)
    assert asked.kv_cache_tokens > plain.kv_cache_tokens


def test_an_eager_server_has_no_graphs_and_fp8_halves_the_cache() -> None:
    assert fit({"enforce_eager": True}).memory.cuda_graphs == 0
    plain, fp8 = fit(None), fit({"kv_cache_dtype": "fp8"})
    assert 2 * fp8.memory.kv_cache == plain.memory.kv_cache


def test_a_16_bit_cache_for_a_model_whose_own_is_fp8() -> None:
    asked = server_request({"vllm": {"kv-cache-dtype": "bfloat16"}})
    model = CATALOGUE.model(GLM)
    assert model.kv_cache_dtype == "fp8"
    assert asked.applied_to(model).kv_cache_dtype is None
    assert NOTHING_ASKED.applied_to(model) is model


def test_no_more_weights_are_offloaded_than_blocks_have() -> None:
    model = CATALOGUE.model("phi-4")
    plain = fit(None)
    assert plain.memory.weights - fit({"cpu-offload-gb": 2.5}).memory.weights == 5 * GIB // 2
    left = fit({"cpu-offload-gb": 200}).memory.weights
    assert model.embedding_bytes <= left < 2 * model.embedding_bytes


def test_larger_blocks_round_up_further() -> None:
    flags = {"max-model-len": 1000}
    assert fit({**flags, "block_size": 512}).memory.kv_cache * 1008 == (
        fit(flags).memory.kv_cache * 1024
    )


def test_slots_for_adapters() -> None:
    source = {"name": "tone", "image": "registry.test/tone:1"}
    adapters = [{"source": source}]
    one = sized({"max-lora-rank": 64}, A10, MINI, adapters=adapters)
    four = sized({"max-loras": 4}, A10, MINI, adapters=adapters)
    plain = sized(None, A10, MINI, adapters=adapters)
    assert one.fit.memory.adapters == four.fit.memory.adapters == 4 * plain.fit.memory.adapters
    parts = {"inference": {"preset": {"name": MINI}, "adapters": adapters}}
    assert command_line(one, **parts)["max-lora-rank"] == "64"
    assert command_line(four, **parts)["max-loras"] == "4"
    assert sized({"max-loras": 4}, A10, MINI).fit.memory.adapters == 0
    served = sized({"enable-lora": True}, A10, MINI)
    assert served.fit.memory.adapters == plain.fit.memory.adapters
    assert command_line(served)["max-loras"] == "1"
    assert "kaito-adapters-dir" not in command_line(served)


@pytest.mark.parametrize(
    ("machine", "flags", "layout"),
    [
        # layout: nodes, tensor parallel, pipeline, data parallel
        (TWO_A10, {"data-parallel-size": 1}, (1, 2, 1, 1)),
        (TWO_A10, {"tensor-parallel-size": 1}, (1, 1, 1, 2)),
        (TWO_A10, {"tensor_parallel_size": 1, "data_parallel_size": 1}, (1, 1, 2, 1)),
        (FOUR_T4, {"pipeline-parallel-size": 2}, (1, 2, 2, 1)),
        (FOUR_T4, {"tensor-parallel-size": 2}, (1, 2, 1, 2)),
        (A10, {"pipeline-parallel-size": 2}, (2, 1, 2, 1)),
        (TWO_A10, {"pipeline-parallel-size": 4}, (2, 1, 4, 1)),
    ],
)
def test_sizes_that_are_asked_for(
    machine: str, flags: dict[str, Any], layout: tuple[int, int, int, int]
) -> None:
    found = sized(flags, machine, MINI)
    plan = found.fit
    sizes = (plan.nodes, plan.tensor_parallel, plan.pipeline_parallel, plan.data_parallel)
    assert sizes == layout
    assert found.nodes == plan.nodes
    told = command_line(found)
    assert int(told["tensor-parallel-size"]) == plan.tensor_parallel
    assert int(told.get("data-parallel-size", "1")) == plan.data_parallel


def test_the_other_engine_knows_none_of_this() -> None:
    flags = {"gpu-memory-utilization": 0.05, "tensor-parallel-size": 8, "kv-cache-dtype": "fp8"}
    assert fit(flags, V100, MINI) == fit(None, V100, MINI)


def test_what_the_fit_cannot_count_is_told() -> None:
    flags = {
        "kv_cache_memory_bytes": 1 << 30,
        "dtype": "float32",
        "kv-cache-dtype": "int8_per_token_head",
        "seed": 1,
    }
    warning = sized(flags).warnings[-1]
    assert warning.reason == "ConfigNotCounted"
    assert "sets kv_cache_memory_bytes, dtype, kv-cache-dtype, and" in warning.message
    assert fit({"kv-cache-dtype": "nvfp4"}).memory == fit(None).memory
    assert uncounted_flags({"vllm": {"dtype": "half", "kv-cache-dtype": "fp8"}}) == ()


MACHINES = st.sampled_from([A10, TWO_A10, FOUR_T4, A100, TWO_A100, H100, EIGHT_H100])
MODELS = st.sampled_from([MINI, LONG, "phi-4", "gpt-oss-20b", "qwen2.5-coder-7b-instruct"])
FLAG_VALUES: Mapping[str, st.SearchStrategy[object]] = {
    "gpu-memory-utilization": st.sampled_from([0.3, 0.5, "0.75", 0.9, 0.95, 1]),
    "tensor-parallel-size": st.sampled_from([1, 2, 4, 8]),
    "pipeline_parallel_size": st.sampled_from([1, 2, 3, 4]),
    "data-parallel-size": st.sampled_from([1, 2, 4]),
    "max-num-seqs": st.sampled_from([1, 64, 256, 1024]),
    "max_num_batched_tokens": st.sampled_from([256, 2048, 16384]),
    "kv-cache-dtype": st.sampled_from(["auto", "fp8", "bfloat16", "nvfp4"]),
    "block-size": st.sampled_from([16, 32, 128]),
    "enforce-eager": st.booleans(),
    "enable-lora": st.booleans(),
    "max-loras": st.sampled_from([1, 3]),
    "max-lora-rank": st.sampled_from([8, 64]),
    "cpu-offload-gb": st.sampled_from([0, 1, 4.5]),
    "max-model-len": st.sampled_from([512, 2048, 4096, "auto"]),
}
FLAGS = st.fixed_dictionaries({}, optional=FLAG_VALUES)


@given(MACHINES, MODELS, FLAGS)
def test_a_fit_keeps_to_what_is_asked(machine: str, model: str, flags: dict[str, Any]) -> None:
    asked = server_request({"vllm": flags})
    try:
        found = sized(flags, machine, model)
    except (DoesNotFit, NoEngine, InvalidConfig):
        return
    plan, where = found.fit, CATALOGUE.instance_type(machine)
    assert plan.memory.total <= budget_bytes(where.gpu, plan.engine.name, asked.utilization)
    sizes = (plan.tensor_parallel, plan.pipeline_parallel, plan.data_parallel)
    wanted = (asked.tensor_parallel, asked.pipeline_parallel, asked.data_parallel)
    assert all(want in (None, size) for size, want in zip(sizes, wanted, strict=True))
    assert sizes[0] * sizes[1] * sizes[2] == plan.nodes * where.gpu_count
    assert where.gpu_count % plan.tensor_parallel == 0
    assert found.model.attention.splits_into(plan.tensor_parallel)
    assert plan.kv_cache_tokens >= plan.max_model_len


@given(MACHINES, MODELS, FLAGS)
def test_the_command_line_says_what_the_fit_assumed(
    machine: str, model: str, flags: dict[str, Any]
) -> None:
    """A server that is told no more than its command line would be planned the same; only why its
    context is not longer need not be explained then."""
    try:
        found = sized(flags, machine, model)
    except (DoesNotFit, NoEngine, InvalidConfig):
        return
    told = {flag: value or True for flag, value in command_line(found).items()}
    ones = {"pipeline-parallel-size": 1, "data-parallel-size": 1}
    read = {flag.replace("_", "-") for flag in FLAG_VALUES}
    known = {flag: value for flag, value in (ones | told).items() if flag in read}
    again = sized(known, machine, model).fit
    explained = replace(again, explanation=found.fit.explanation)
    assert replace(explained, asked=found.fit.asked) == found.fit


@given(
    MACHINES,
    MODELS,
    st.tuples(st.sampled_from([0.3, 0.5, 0.7]), st.sampled_from([0.75, 0.85, 0.95])),
)
def test_a_larger_share_never_holds_less(
    machine: str, model: str, shares: tuple[float, float]
) -> None:
    # One layout: where more memory allows fewer stages, a replica may hold less.
    sizes = {"tensor-parallel-size": 1, "pipeline-parallel-size": 1, "max-model-len": 2048}
    try:
        less, more = (
            fit({**sizes, "gpu-memory-utilization": one}, machine, model) for one in shares
        )
    except (DoesNotFit, NoEngine):
        return
    assert less.kv_cache_tokens < more.kv_cache_tokens
