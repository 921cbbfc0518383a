"""Weights that vLLM 0.19 printed for rank 0 (llm-d-incubation/llm-d-planner pull request 205)."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaito.domain.measured_memory import MeasuredMemory, profile_of
from kaito.domain.model import Attention, LocalAttention, ModelProfile, RecurrentLayers
from kaito.domain.quantity import GIB
from kaito.domain.rank_weights import block_weights, rank_weights, rotary_table_bytes
from kaito.domain.weights import LayerWeights, WeightLayout
from tests.unit.domain.calibration_table import configs

LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


@cache
def model(name: str) -> ModelProfile:
    found = profile_of(MeasuredMemory(id="x", model=name, gpu="H100"), configs())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "tensor", "pipeline", "printed"),
    [
        (LLAMA, 1, 1, 14.99),
        (LLAMA, 2, 1, 7.51),
        (LLAMA, 4, 1, 3.77),
        (LLAMA, 1, 2, 7.51),
        (LLAMA, 1, 4, 4.26),
        ("ibm-granite/granite-3.1-8b-instruct", 1, 1, 15.25),  # tied
        ("Qwen/Qwen1.5-MoE-A2.7B", 1, 1, 26.67),
        ("moonshotai/Kimi-Dev-72B", 2, 1, 67.82),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", 1, 1, 29.43),  # kv_b_proj twice
        ("openai/gpt-oss-20b", 1, 1, 13.64),  # padded experts
        ("openai/gpt-oss-20b", 2, 1, 7.01),
    ],
)
def test_rank_0_holds_what_it_prints(name: str, tensor: int, pipeline: int, printed: float) -> None:
    found = model(name)
    first = rank_weights(found, tensor_parallel=tensor, pipeline_parallel=pipeline)[0]
    assert (first + rotary_table_bytes(found)) / GIB == pytest.approx(printed, abs=0.08)


def layout(**changes: Any) -> WeightLayout:
    blocks = tuple(LayerWeights(sharded=1000, replicated=7, experts=400) for _ in range(32))
    whole = WeightLayout(embedding=64, lm_head=48, layers=blocks, final_norm=3)
    return replace(whole, **changes)


def laid_out(found: WeightLayout, *, kv_heads: int = 8) -> ModelProfile:
    shape = Attention(heads=32, kv_heads=kv_heads, head_dim=128)
    return replace(model(LLAMA), weights=found, attention=shape, hidden_size=10)


def test_ends_of_a_pipeline_hold_the_tables() -> None:
    assert rank_weights(laid_out(layout(vision=10)), pipeline_parallel=3) == (
        11 * 1407 + 64 + 10,
        11 * 1407,
        10 * 1407 + 48 + 3,
    )


def test_blocks_are_what_the_host_can_hold() -> None:
    found = laid_out(layout(vision=10))
    assert block_weights(found, pipeline_parallel=3) == (11 * 1407, 11 * 1407, 10 * 1407)
    assert block_weights(found, tensor_parallel=2) == (32 * 707,)


@pytest.mark.parametrize("name", [LLAMA, "openai/gpt-oss-20b", "deepseek-ai/DeepSeek-V2-Lite-Chat"])
@pytest.mark.parametrize(("tensor", "pipeline"), [(1, 1), (4, 1), (2, 3)])
def test_blocks_are_part_of_a_rank(name: str, tensor: int, pipeline: int) -> None:
    shape = {"tensor_parallel": tensor, "pipeline_parallel": pipeline}
    for found in (model(name), replace(model(name), weights=None)):
        blocks, whole = block_weights(found, **shape), rank_weights(found, **shape)
        assert all(0 < part <= all_ for part, all_ in zip(blocks, whole, strict=True))


def test_a_tied_table_is_held_at_both_ends() -> None:
    tied = laid_out(layout(lm_head=0))
    assert rank_weights(tied) == (32 * 1407 + 64 + 3,)
    assert rank_weights(tied, pipeline_parallel=2)[1] == 16 * 1407 + 64 + 3


def test_some_models_hold_the_ends_on_all_ranks() -> None:
    """vLLM's modules for gpt-oss, Mixtral and others do not ask which rank they are on."""
    found = laid_out(layout(embedding_everywhere=True, head_everywhere=True, vision=10))
    ends = 64 + 48 + 3
    assert rank_weights(found) == (32 * 1407 + ends + 10,)
    assert rank_weights(found, pipeline_parallel=3) == (
        11 * 1407 + ends + 10,
        11 * 1407 + ends,
        10 * 1407 + ends,
    )
    only_embedding = laid_out(layout(embedding_everywhere=True))
    assert rank_weights(only_embedding, pipeline_parallel=2) == (
        16 * 1407 + 64,
        16 * 1407 + ends,
    )
    tied = laid_out(layout(lm_head=0, embedding_everywhere=True, head_everywhere=True))
    assert rank_weights(tied, pipeline_parallel=2) == (16 * 1407 + 67,) * 2


def test_what_is_replicated_is_on_every_rank() -> None:
    assert rank_weights(laid_out(layout()), tensor_parallel=4) == (32 * 350 + 32 * 7 + 16 + 12 + 3,)


def test_key_and_value_heads_are_repeated_on_more_ranks_than_there_are() -> None:
    """Of 2 heads each of 4 ranks holds one: half a head's projections more than its quarter."""
    many, few = laid_out(layout()), laid_out(layout(), kv_heads=2)
    repeated = 2 * 128 * 10 * 2 // 2
    assert (
        rank_weights(few, tensor_parallel=4)[0] - rank_weights(many, tensor_parallel=4)[0]
        == 32 * repeated
    )


def test_only_layers_with_too_few_heads_repeat_them() -> None:
    """24 of 32 layers have windows and 8 heads, or no keys at all."""
    few = laid_out(layout(), kv_heads=2)
    plain = rank_weights(laid_out(layout()), tensor_parallel=4)[0]
    repeated = 2 * 128 * 10 * 2 // 2
    window = LocalAttention(layers=24, window=512, attention=laid_out(layout()).attention)
    state = RecurrentLayers(layers=24, state_bytes=1000)
    for found in (replace(few, local_attention=window), replace(few, recurrent=state)):
        assert rank_weights(found, tensor_parallel=4)[0] - plain == 8 * repeated
    all_ = replace(few, local_attention=replace(window, attention=few.attention))
    assert rank_weights(all_, tensor_parallel=4)[0] - plain == 32 * repeated


@given(tensor=st.sampled_from([1, 2, 4, 8]), pipeline=st.integers(1, 32))
def test_all_ranks_together_hold_at_least_the_model(tensor: int, pipeline: int) -> None:
    for found in (model(LLAMA), replace(model(LLAMA), weights=None)):
        ranks = rank_weights(found, tensor_parallel=tensor, pipeline_parallel=pipeline)
        assert len(ranks) == pipeline
        assert tensor * sum(ranks) >= found.weight_bytes
        assert max(ranks) <= found.weight_bytes


def test_without_a_config_the_table_is_of_the_whole_head() -> None:
    assert rotary_table_bytes(replace(model(LLAMA), weights=None)) == 131072 * 128 * 2
