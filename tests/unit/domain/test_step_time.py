from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.files import load_catalogue
from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.model import ModelProfile
from kaito.domain.step_time import (
    Efficiency,
    Layout,
    StepModel,
    link_bytes_per_s,
    peak_flops,
    requantized,
    step_model,
)
from kaito.domain.weights import LayerWeights, WeightLayout

CATALOGUE = load_catalogue()
H100, A100, T4 = (
    CATALOGUE.gpu(name) for name in ("NVIDIA H100 SXM 80GB", "NVIDIA A100 80GB", "NVIDIA T4")
)
B200 = CATALOGUE.gpu("NVIDIA B200 SXM 180GB")
PHI, LLAMA, GPT_OSS, DEEPSEEK, QWEN = (
    CATALOGUE.model(name)
    for name in (
        "phi-4",
        "llama-3.3-70b-instruct",
        "gpt-oss-20b",
        "deepseek-v3-0324",
        "qwen3.5-9b",
    )
)
PERFECT = Efficiency(
    weight_read=1,
    cache_read=1,
    expert_read=1,
    gemm=1,
    expert_gemm=1,
    attention=1,
    all_reduce_s=0,
    layer_s=0,
    expert_layer_s=0,
    step_s=0,
    sequence_s=0,
    request_s=0,
    expert_passes=0,
    prompt_layer_s=0,
    eager_layer_s=0,
)


def step(model: ModelProfile, layout: Layout | None = None) -> StepModel:
    return step_model(model, H100, layout or Layout(), CALIBRATED.efficiency(H100))


def test_a_lone_sequence_takes_as_long_as_reading_the_weights() -> None:
    """14.66 billion parameters in 16 bits at 3.35 TB/s; the embedding is not read."""
    found = step_model(PHI, H100, Layout(), PERFECT).seconds(decodes=1)
    read = PHI.weight_bytes - PHI.vocab_size * PHI.hidden_size * 2
    assert found == pytest.approx(read / 3.35e12, rel=0.01)


def test_a_long_prompt_takes_as_long_as_its_arithmetic() -> None:
    """Two FLOP per parameter and token, attention aside."""
    found = step_model(PHI, H100, Layout(), PERFECT).seconds(prefill_tokens=100_000, prefills=1)
    assert found == pytest.approx(2 * PHI.linear_parameters * 100_000 / 9.89e14, rel=0.05)


def test_attention_over_a_prompt_counts_scores_and_their_use() -> None:
    one = step_model(PHI, H100, Layout(), PERFECT)
    short, long = (one.seconds(prefill_tokens=8000, prefill_context=c) for c in (0.0, 4000.0))
    heads = PHI.attention.heads * PHI.attention.head_dim
    assert long - short == pytest.approx(PHI.layers * 4 * heads * 8000 * 4000 / 9.89e14)


def test_each_sequence_reads_its_cache() -> None:
    one = step_model(PHI, H100, Layout(), PERFECT)
    read = one.seconds(decodes=8, context=4000) - one.seconds(decodes=8, context=0)
    assert read == pytest.approx(8 * 4000 * PHI.kv_bytes_per_token() / 3.35e12)


def test_few_tokens_touch_few_experts() -> None:
    """One token reads 4 of 32 experts; 64 read nearly all: 1 - (28/32)^64."""
    one = step_model(GPT_OSS, H100, Layout(), PERFECT)
    alone, many = one.seconds(decodes=1), one.seconds(decodes=64)
    assert 3 < many / alone < 8


def test_latent_attention_does_arithmetic_where_others_only_read() -> None:
    """DeepSeek's 128 heads each work on the whole latent vector."""
    few_heads = replace(DEEPSEEK, attention=replace(DEEPSEEK.attention, heads=8, kv_heads=8))
    layout = Layout(tensor_parallel=1)
    times = [
        step_model(one, H100, layout, PERFECT).cache_context_s for one in (few_heads, DEEPSEEK)
    ]
    assert times[1] > 1.1 * times[0]


def test_layers_with_a_window_cost_no_more_beyond_it() -> None:
    one = step(GPT_OSS)
    full = GPT_OSS.full_attention_layers / GPT_OSS.layers
    near = one.seconds(decodes=64, context=128) - one.seconds(decodes=64, context=0)
    far = one.seconds(decodes=64, context=100_128) - one.seconds(decodes=64, context=100_000)
    assert far == pytest.approx(full * near, rel=0.01)


def test_states_of_recurrent_layers_are_read_whatever_the_context() -> None:
    one = step_model(QWEN, H100, Layout(), PERFECT)
    assert QWEN.recurrent is not None
    states = 2 * QWEN.recurrent.layers * QWEN.recurrent.state_bytes / 3.35e12
    assert one.seconds(decodes=2) - one.seconds(decodes=1) == pytest.approx(states, rel=0.1)


def test_two_gpus_are_faster_but_not_twice_as_fast() -> None:
    one, two = (step(LLAMA, Layout(tensor_parallel=n)).seconds(decodes=8) for n in (1, 2))
    assert one / 2 < two < one


def test_stages_of_a_pipeline_pass_on_what_they_have() -> None:
    one, two = (step(PHI, Layout(pipeline_parallel=n)) for n in (1, 2))
    assert one.seconds(prefill_tokens=999) < two.seconds(prefill_tokens=999)
    assert two.pipeline_parallel == 2


def test_replicas_of_attention_share_the_experts() -> None:
    """Each of two replicas reads half of the experts, and of them those that either touches."""
    alone, shared = (step(GPT_OSS, Layout(data_parallel=n)) for n in (1, 2))
    assert shared.expert_read_s == alone.expert_read_s / 2
    assert shared.seconds(decodes=1) < alone.seconds(decodes=1)


def test_without_graphs_the_host_sets_the_pace() -> None:
    eager, graphs = (step(PHI, Layout(eager=one)) for one in (True, False))
    assert eager.seconds(decodes=1) >= PHI.layers * CALIBRATED.efficiency(H100).eager_layer_s
    assert graphs.seconds(decodes=1) < eager.seconds(decodes=1)


@pytest.mark.parametrize(
    ("gpu", "quantization", "factor"),
    [
        (H100, None, 1),
        (H100, "fp8", 2),
        (A100, "fp8", 1),  # unpacked
        (H100, "nvfp4", 1),
        (H100, "awq", 1),
        (B200, "nvfp4", 4),
        (B200, "mxfp4", 2),
        (B200, "int4", 1),
    ],
)
def test_formats_run_at_the_rate_of_what_computes_them(
    gpu: object, quantization: str | None, factor: int
) -> None:
    card = next(one for one in CATALOGUE.gpus if one is gpu)
    assert peak_flops(card, quantization) == factor * card.fp16_flops


def test_cards_without_nvlink_use_pcie() -> None:
    assert link_bytes_per_s(H100) == 450e9
    assert link_bytes_per_s(T4) == 15.75e9
    assert link_bytes_per_s(A100) == 31.5e9
    no_cuda = replace(T4, compute_capability=None)
    assert link_bytes_per_s(no_cuda) == 15.75e9
    assert link_bytes_per_s(replace(H100, nvlink_bytes_per_s=None)) == 63e9


def test_another_format_changes_what_is_quantised_alone() -> None:
    fp8 = requantized(LLAMA, "fp8")
    assert fp8.weight_bytes - fp8.embedding_bytes == pytest.approx(
        (LLAMA.weight_bytes - LLAMA.embedding_bytes) / 2, rel=0.001
    )
    assert requantized(fp8, "fp8") is fp8
    assert requantized(fp8, None).weight_bytes == pytest.approx(LLAMA.weight_bytes, rel=1e-6)
    packed = requantized(GPT_OSS, "nvfp4")
    assert packed.weight_bytes > GPT_OSS.weight_bytes  # 4.5 bits of an expert's parameter, not 4.25


def test_weights_block_by_block_are_taken_where_they_are_known() -> None:
    block = LayerWeights(sharded=6_000, replicated=1_000, experts=50_000)
    layout = WeightLayout(embedding=100, lm_head=100, layers=(block,) * GPT_OSS.layers)
    one = step_model(replace(GPT_OSS, weights=layout), H100, Layout(), PERFECT)
    assert one.dense_read_s == pytest.approx(GPT_OSS.layers * 7_000 / 3.35e12)
    assert one.expert_read_s == pytest.approx(GPT_OSS.layers * 50_000 / 3.35e12)


def test_every_expert_of_a_model_may_be_asked() -> None:
    assert GPT_OSS.experts is not None
    dense = replace(GPT_OSS, experts=replace(GPT_OSS.experts, per_token=GPT_OSS.experts.count))
    one = step_model(dense, H100, Layout(), PERFECT)
    assert one.seconds(decodes=1) >= one.expert_read_s


@pytest.mark.parametrize("field", ["tensor_parallel", "pipeline_parallel", "data_parallel"])
def test_sizes_of_a_layout_are_at_least_one(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must be >= 1, got 0"):
        Layout(**{field: 0})


def test_gpus_of_a_layout() -> None:
    assert Layout(tensor_parallel=4, pipeline_parallel=2, data_parallel=3).gpus == 24


MODELS = st.sampled_from([PHI, LLAMA, GPT_OSS, DEEPSEEK, QWEN])
LAYOUTS = st.builds(
    Layout,
    tensor_parallel=st.sampled_from([1, 2, 4, 8]),
    pipeline_parallel=st.sampled_from([1, 2]),
    data_parallel=st.sampled_from([1, 4]),
    eager=st.booleans(),
)


@given(
    model=MODELS,
    layout=LAYOUTS,
    batch=st.fixed_dictionaries(
        {
            "prefill_tokens": st.floats(0, 20_000),
            "prefill_context": st.floats(0, 100_000),
            "prefills": st.floats(0, 100),
            "decodes": st.floats(0, 1_000),
            "context": st.floats(0, 100_000),
        }
    ),
    more=st.sampled_from(["prefill_tokens", "prefill_context", "prefills", "decodes", "context"]),
    by=st.floats(0, 1_000),
)
def test_more_work_never_takes_less_time(
    model: ModelProfile, layout: Layout, batch: dict[str, float], more: str, by: float
) -> None:
    one = step(model, layout)
    now, then = one.seconds(**batch), one.seconds(**{**batch, more: batch[more] + by})
    assert 0 < now <= then * (1 + 1e-12)
