"""Peaks that vLLM printed: logs of llm-d-incubation/llm-d-planner pull request 205 (0.19.0 on H100,
8192 tokens and 1024 sequences a step), its docs/empirical-vllm-memory-results.md (0.11), and
vllm-project/vllm pull request 10511 (0.6)."""

from dataclasses import replace
from functools import cache

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.gpu import Gpu
from kaito.domain.measured_memory import MeasuredMemory, profile_of
from kaito.domain.model import ModelProfile
from kaito.domain.quantity import GIB
from kaito.domain.vllm_profile_run import Step, profile_run_bytes
from tests.unit.domain.calibration_table import configs

H100 = load_catalogue().gpu("NVIDIA H100 SXM 80GB")
A100 = load_catalogue().gpu("NVIDIA A100 80GB")


@cache
def model(name: str) -> ModelProfile:
    found = profile_of(MeasuredMemory(id="x", model=name, gpu="H100"), configs())
    assert found is not None
    return found


def peak(
    profile: ModelProfile,
    *,
    gpu: Gpu = H100,
    release: tuple[int, int] = (0, 19),
    tokens: int = 8192,
    sequences: int = 1024,
    last: bool = True,
    tensor: int = 1,
    pipeline: int = 1,
) -> float:
    step = Step(
        tokens=tokens,
        sequences=sequences,
        release=release,
        tensor_parallel=tensor,
        pipeline_parallel=pipeline,
    )
    return profile_run_bytes(profile, gpu, step, last=last) / GIB


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 1.89),
        ("Qwen/Qwen3-8B", 2.21),
        ("moonshotai/Kimi-Dev-72B", 2.29),
        ("microsoft/phi-2", 0.79),
        ("ibm-granite/granite-3.1-2b-instruct", 0.75),
        ("codellama/CodeLlama-7b-hf", 0.77),
        ("ibm-granite/granite-3.3-8b-instruct", 0.85),
        ("openai/gpt-oss-20b", 2.87),
        ("Qwen/Qwen1.5-MoE-A2.7B", 2.47),
        ("deepseek-ai/DeepSeek-V2-Lite-Chat", 1.93),
    ],
)
def test_the_peak_is_what_the_logs_print(name: str, printed: float) -> None:
    assert peak(model(name)) == pytest.approx(printed, abs=0.03)


def test_sharding_leaves_the_sampler_as_it_is() -> None:
    llama = model("meta-llama/Llama-3.1-8B-Instruct")
    assert peak(llama, tensor=4) == peak(llama)


def test_floats_of_32_bits_take_twice_the_states_and_logits() -> None:
    llama = replace(model("meta-llama/Llama-3.1-8B-Instruct"), dtype="float32")
    assert peak(llama) == pytest.approx(2.21, abs=0.03)


def test_only_the_last_rank_of_a_pipeline_samples() -> None:
    llama = model("meta-llama/Llama-3.1-8B-Instruct")
    assert peak(llama, pipeline=2, last=False) == pytest.approx(1.10, abs=0.05)
    # The printed number of blocks is that of the last rank: 1,075,312 tokens of 64 KiB.
    last = 0.95 * 79.19 - 1_075_312 * 65536 / GIB - 7.51 - 0.07
    assert peak(llama, pipeline=2) == pytest.approx(last, abs=0.02)


@pytest.mark.parametrize(
    ("name", "printed"),
    [("meta-llama/Llama-3.1-8B-Instruct", 4.76), ("openai/gpt-oss-20b", 7.38)],
)
def test_older_releases_sort_all_logits(name: str, printed: float) -> None:
    assert peak(model(name), release=(0, 11)) == pytest.approx(printed, abs=0.03)


def test_the_first_engine_sampled_for_fewer_sequences() -> None:
    llama = model("meta-llama/Meta-Llama-3-8B")
    assert peak(llama, release=(0, 6), sequences=256) == pytest.approx(1.26, abs=0.02)


def test_experts_keep_their_workspaces_while_it_samples_since_0_13() -> None:
    experts = model("Qwen/Qwen1.5-MoE-A2.7B")
    workspaces = 8192 * 4 * (2048 + 2816) * 2 / GIB
    older = peak(experts, release=(0, 12)) - peak(replace(experts, experts=None), release=(0, 12))
    newer = peak(experts, release=(0, 17)) - peak(replace(experts, experts=None), release=(0, 17))
    assert (older, newer) == (0, pytest.approx(workspaces))


def test_mxfp4_experts_need_workspaces_but_on_hopper() -> None:
    experts = model("openai/gpt-oss-20b")
    assert peak(experts, gpu=A100) - peak(experts) == pytest.approx(
        8192 * 4 * (2880 + 5760) * 2 / GIB
    )


def test_experts_without_a_gate_put_out_half() -> None:
    gated = model("Qwen/Qwen1.5-MoE-A2.7B")
    assert gated.experts is not None
    wide = replace(gated, experts=replace(gated.experts, intermediate_size=4096))
    assert wide.experts is not None
    plain = replace(wide, experts=replace(wide.experts, gated=False))
    assert peak(wide) - peak(plain) == pytest.approx(8192 * 4 * 4096 * 2 / GIB)


def test_a_layer_of_4_bit_weights_is_unpacked_to_multiply() -> None:
    """QwQ-32B in NF4 over two RTX 5090, rank 0 (vllm-project/vllm issue 14452): 1.01 GiB."""
    found = peak(
        model("QwQ-32B bnb-4bit (unsloth)"),
        release=(0, 8),
        tokens=2048,
        sequences=256,
        last=False,
        pipeline=2,
    )
    assert found == pytest.approx(1.01, abs=0.1)


def test_what_an_image_encoder_puts_out_is_held() -> None:
    llama = model("meta-llama/Llama-3.1-8B-Instruct")
    assert llama.weights is not None
    seeing = replace(llama, weights=replace(llama.weights, vision=1))
    assert peak(seeing) - peak(llama) == pytest.approx(8192 * 4096 * 2 / GIB)
