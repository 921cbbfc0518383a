from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.engine import Engine, EngineName
from kaito.domain.memory import (
    PRIORS,
    MemoryBreakdown,
    ServerSettings,
    budget_bytes,
    default_max_num_seqs,
    gpu_memory_utilization,
    inference_memory,
    kv_bytes_per_token,
    kv_cache_bytes,
    max_num_batched_tokens,
    vllm_ranks,
)
from kaito.domain.model import Attention, ModelProfile, RecurrentLayers
from kaito.domain.quantity import GIB

H100 = "NVIDIA H100 SXM 80GB"


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture(scope="module")
def vllm(catalogue: Catalogue) -> Engine:
    return next(one for one in catalogue.engines if one.name is EngineName.VLLM)


@pytest.fixture(scope="module")
def transformers(catalogue: Catalogue) -> Engine:
    return next(one for one in catalogue.engines if one.name is EngineName.TRANSFORMERS)


@pytest.fixture(scope="module")
def llama(catalogue: Catalogue) -> ModelProfile:
    """Llama-3.1-8B, of which the calibration logs tell most."""
    return replace(
        catalogue.model("phi-4"),
        name="llama-3.1-8b",
        architecture="LlamaForCausalLM",
        layers=32,
        hidden_size=4096,
        intermediate_size=14336,
        attention=Attention(heads=32, kv_heads=8, head_dim=128),
        vocab_size=128256,
        token_limit=131072,
        weight_bytes=16_060_522_240,
    )


@pytest.mark.parametrize(
    ("tensor", "pipeline", "weights_gib", "runtime_gib", "graphs_gib"),
    [  # planner-18, -28, -29, -26, -27: vLLM 0.19.0 on H100, rank 0
        (1, 1, 14.99, 0.25, 0.91),
        (2, 1, 7.51, 2.07, 0.76),
        (4, 1, 3.77, 2.13, 0.67),
        (1, 2, 7.51, 0.07, 0.65),
        (1, 4, 4.26, 0.07, 0.51),
    ],
)
def test_vllm_parts_follow_the_logs(
    catalogue: Catalogue,
    vllm: Engine,
    llama: ModelProfile,
    tensor: int,
    pipeline: int,
    weights_gib: float,
    runtime_gib: float,
    graphs_gib: float,
) -> None:
    memory = inference_memory(
        llama,
        catalogue.gpu(H100),
        vllm,
        context_tokens=0,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
    )
    assert memory.weights / GIB == pytest.approx(weights_gib, abs=0.04)
    assert memory.runtime / GIB == pytest.approx(runtime_gib, abs=0.2)
    assert memory.cuda_graphs / GIB == pytest.approx(graphs_gib, abs=0.25)
    if pipeline == 1:
        assert memory.activations / GIB == pytest.approx(1.89, abs=0.01)


def test_sequences_and_vocabulary_drive_the_activations(
    catalogue: Catalogue, vllm: Engine, llama: ModelProfile
) -> None:
    h100 = catalogue.gpu(H100)
    assert default_max_num_seqs(h100) == 1024
    assert default_max_num_seqs(catalogue.gpu("NVIDIA A100 80GB")) == 256
    assert default_max_num_seqs(catalogue.gpu("NVIDIA A10")) == 256
    few = inference_memory(llama, h100, vllm, context_tokens=0, max_num_seqs=256)
    many = inference_memory(llama, h100, vllm, context_tokens=0)
    assert few.activations < many.activations / 1.9
    a10 = inference_memory(llama, catalogue.gpu("NVIDIA A10"), vllm, context_tokens=0)
    assert a10.activations == int(0.80 * GIB)


def test_one_table_gives_the_share_that_vllm_may_use(catalogue: Catalogue) -> None:
    a10, a100 = catalogue.gpu("NVIDIA A10"), catalogue.gpu("NVIDIA A100 80GB")
    assert gpu_memory_utilization(a10) == Fraction(82, 100)
    assert gpu_memory_utilization(a100) == Fraction(84, 100)
    assert budget_bytes(a100, EngineName.VLLM) == a100.usable_bytes * 84 // 100
    assert budget_bytes(a100, EngineName.TRANSFORMERS) == a100.usable_bytes * 95 // 100


def test_cache_is_taken_in_blocks_and_follows_the_fullest_stage(
    catalogue: Catalogue, vllm: Engine, llama: ModelProfile
) -> None:
    assert kv_bytes_per_token(llama) == 131072
    assert kv_bytes_per_token(llama, tensor_parallel=2) == 65536
    assert kv_bytes_per_token(llama, pipeline_parallel=3) == 11 * 4096
    memory = inference_memory(llama, catalogue.gpu(H100), vllm, context_tokens=17)
    assert memory.kv_cache == 32 * 131072


def test_adapters_cost_slots_on_vllm_and_one_merge_on_transformers(
    catalogue: Catalogue, vllm: Engine, transformers: Engine, llama: ModelProfile
) -> None:
    gpu = catalogue.gpu(H100)
    two = inference_memory(llama, gpu, vllm, context_tokens=0, adapters=2)
    assert two.adapters == 2 * 16 * 32 * 2 * sum(one.inputs + one.outputs for one in llama.linears)
    assert "vllm.adapters" in two.priors
    merged = [
        inference_memory(llama, gpu, transformers, context_tokens=0, adapters=n).adapters
        for n in (0, 1, 3)
    ]
    assert merged[0] == 0
    assert merged[1] == merged[2] > 0


def test_every_assumption_is_named(
    catalogue: Catalogue, transformers: Engine, llama: ModelProfile
) -> None:
    h200 = catalogue.gpu("NVIDIA H200 SXM 141GB")
    memory = inference_memory(llama, h200, transformers, context_tokens=100)
    assert set(memory.priors) <= set(PRIORS)
    assert memory.priors[0] == "gpu"


@given(st.lists(st.integers(min_value=0, max_value=1 << 40), min_size=8, max_size=8))
def test_a_breakdown_sums_to_its_total(sizes: list[int]) -> None:
    names = list(MemoryBreakdown().parts)
    memory = MemoryBreakdown(**dict(zip(names, sizes, strict=True)))  # type: ignore[arg-type]
    assert memory.total == sum(sizes) == sum(memory.parts.values())


@pytest.mark.parametrize(
    ("tensor", "cache_gib", "tokens"),
    [  # vLLM 0.19.0 on H100, 8192 tokens of context
        (1, 58.47, 1_277_184),
        (2, 63.28, 2_764_768),
        (2, 59.32, 2_591_776),
        (4, 66.57, 5_817_056),
    ],
)
def test_windows_take_what_vllm_logs(
    catalogue: Catalogue, tensor: int, cache_gib: float, tokens: int
) -> None:
    """Logs of llm-d-incubation/llm-d-planner pull request 205, commit d3121e05."""
    model, gpu = catalogue.model("gpt-oss-20b"), catalogue.gpu(H100)
    one = kv_cache_bytes(model, gpu, 8192, tensor_parallel=tensor)
    assert cache_gib * GIB / one * 8192 == pytest.approx(tokens, rel=2e-3)


def test_a_window_and_one_step_is_all_that_is_held(catalogue: Catalogue) -> None:
    model, a10 = catalogue.model("gpt-oss-20b"), catalogue.gpu("NVIDIA A10")
    assert max_num_batched_tokens(a10) == 2048
    assert max_num_batched_tokens(catalogue.gpu(H100)) == 8192
    layer = 2 * 8 * 64 * 2
    assert kv_cache_bytes(model, a10, 0) == 0
    assert kv_cache_bytes(model, a10, 100) == 12 * layer * (7 + 8) * 16
    held = (127 + 2048 + 15) // 16 + 1
    assert kv_cache_bytes(model, a10, 131072) == 12 * layer * (131072 + held * 16)


@pytest.mark.parametrize(("version", "blocks"), [("0.25.1", 18757), ("0.26.0", 28997)])
def test_windows_take_another_step_since_0_26(
    catalogue: Catalogue, version: str, blocks: int
) -> None:
    """45.79 and 70.79 GiB for 262,144 tokens of Gemma 4 31B: vllm-project/vllm issue 49878."""
    model, gpu = catalogue.model("gemma-4-31b-it"), catalogue.gpu(H100)
    settings = ServerSettings(max_num_batched_tokens=32768)
    rank = vllm_ranks(model, gpu, version, settings)[0]
    assert rank.with_context(262144).kv_cache == blocks * 10 * 256 * 1024


def test_a_state_is_taken_once_per_sequence_in_a_page_of_its_own(
    catalogue: Catalogue, llama: ModelProfile
) -> None:
    gpu = catalogue.gpu(H100)
    hybrid = replace(llama, recurrent=RecurrentLayers(layers=24, state_bytes=1001))
    page = 16 * llama.attention.cached_elements() * 2
    assert kv_cache_bytes(hybrid, gpu, 16) == 24 * page + 8 * page
    assert kv_cache_bytes(hybrid, gpu, 32) == 24 * page + 8 * 2 * page
    split = kv_cache_bytes(hybrid, gpu, 16, tensor_parallel=2, pipeline_parallel=4)
    assert split == (6 + 2) * page // 2


def test_transformers_knows_neither_windows_nor_blocks(
    catalogue: Catalogue, transformers: Engine, llama: ModelProfile
) -> None:
    gpu = catalogue.gpu(H100)
    model = catalogue.model("gpt-oss-20b")
    memory = inference_memory(model, gpu, transformers, context_tokens=1000)
    assert memory.kv_cache == 1000 * 25 * 2 * 8 * 64 * 2
    hybrid = replace(llama, recurrent=RecurrentLayers(layers=24, state_bytes=1001))
    states = [
        inference_memory(hybrid, gpu, transformers, context_tokens=n).kv_cache for n in (0, 1)
    ]
    assert states == [0, 24 * 1001 + 9 * 2 * 8 * 128 * 2]


def test_only_the_rotated_part_of_a_latent_head_has_a_table(
    catalogue: Catalogue, vllm: Engine
) -> None:
    model = catalogue.model("deepseek-r1-0528")
    memory = inference_memory(model, catalogue.gpu(H100), vllm, context_tokens=0)
    assert memory.weights == model.weight_bytes + 163840 * 64 * 2


def test_embeddings_of_quantised_models_stay_whole(catalogue: Catalogue, vllm: Engine) -> None:
    model = catalogue.model("qwen3-8b-awq")
    table = model.vocab_size * model.hidden_size * 2
    two = inference_memory(model, catalogue.gpu(H100), vllm, context_tokens=0, pipeline_parallel=2)
    rotary = model.token_limit * 128 * 2
    assert two.weights - rotary == (model.weight_bytes - 2 * table + 1) // 2 + table


@pytest.mark.parametrize(("tensor", "weights_gib"), [(1, 13.64), (2, 7.01), (4, 3.63)])
def test_padded_experts_take_more_than_their_files(
    catalogue: Catalogue, vllm: Engine, tensor: int, weights_gib: float
) -> None:
    """gpt-oss-20b with vLLM 0.19.0 on H100, from the same logs."""
    model = catalogue.model("gpt-oss-20b")
    memory = inference_memory(
        model, catalogue.gpu(H100), vllm, context_tokens=0, tensor_parallel=tensor
    )
    assert memory.weights / GIB == pytest.approx(weights_gib, rel=0.06)
    assert memory.weights > model.weight_bytes / tensor
