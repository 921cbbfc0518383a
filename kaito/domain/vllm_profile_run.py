"""The peak of vLLM's profile run: what it sets aside for activations before it sizes the cache.

vLLM runs one step of max_num_batched_tokens tokens and samples for max_num_seqs sequences, and
takes the highest amount that torch had allocated (vllm-project/vllm
vllm/v1/worker/gpu_model_runner.py, profile_run and _dummy_sampler_run;
vllm/utils/mem_utils.py, memory_profiling). The step is over when it samples, so that the higher of
the two counts, each with what lives through both.
"""

from dataclasses import dataclass
from math import ceil
from typing import Final

from kaito.domain.gpu import Gpu
from kaito.domain.model import BYTES_PER_PARAMETER, ModelProfile
from kaito.domain.quantity import MIB

__all__ = ["TRITON_KERNELS", "Step", "profile_run_bytes"]

_FLOAT32: Final = 4
_CUBLAS_WORKSPACE_BYTES: Final = 32 * MIB
"""On compute capability 9.0; elsewhere about 8 MiB.
Source: pytorch/pytorch aten/src/ATen/cuda/CublasHandlePool.cpp, parseChosenWorkspaceSize."""

_TRITON_SAMPLER: Final = (0, 17)
"""First release whose top-k and top-p need no sort. Source: vllm-project/vllm
vllm/v1/sample/ops/topk_topp_triton.py; before and after on one model: 5.64 and 2.23 GiB
(llm-d-incubation/llm-d-planner docs/empirical-vllm-memory-results.md)."""
_FLOATS_SAMPLED: Final = 3  # logits in float32, probabilities, exponential noise
_FLOATS_SORTED: Final = 9
"""Logits, sorted ones, 64-bit indices, the double buffers of torch's segmented sort,
probabilities: fitted on Llama-3.1-8B and gpt-oss-20b with vLLM 0.11 (9.0 each)."""
_MULTIPROCESSORS: Final = 132
"""Of an H100: the Triton sampler has a row of float32 scratch for each; smaller cards have less."""

_KEPT_WORKSPACES: Final = (0, 13)
"""First release that keeps the experts' workspaces. Source: vllm-project/vllm
vllm/v1/worker/workspace.py, WorkspaceManager."""
TRITON_KERNELS: Final = (9, 0)
"""Where OpenAI's triton_kernels multiply mxfp4 experts, which need no workspace.
Source: vllm-project/vllm vllm/model_executor/layers/quantization/mxfp4.py."""

_LATENT_PREFILL_TOKENS: Final = 64 * 1024
"""Tokens of context that latent attention unpacks at a time. Source: vllm-project/vllm
vllm/v1/attention/backends/mla/common.py, determine_chunked_prefill_workspace_size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The largest step of an engine. `release` is of vLLM, such as (0, 19)."""

    tokens: int  # --max-num-batched-tokens
    sequences: int  # --max-num-seqs
    release: tuple[int, int]
    tensor_parallel: int = 1
    pipeline_parallel: int = 1


def profile_run_bytes(model: ModelProfile, gpu: Gpu, step: Step, *, last: bool) -> int:
    """Peak bytes on a rank; only the `last` one of a pipeline samples."""
    width = BYTES_PER_PARAMETER[model.dtype]
    hidden = step.tokens * model.hidden_size * width
    kept = _CUBLAS_WORKSPACE_BYTES + _encoder_outputs(model, hidden)
    if step.pipeline_parallel > 1:  # hidden states and residual from or for the next rank
        kept += 2 * hidden
    workspaces = _expert_workspaces(model, gpu, step, width)
    forward = workspaces + _widest_layer(model, step, width)
    if not last:
        return kept + forward
    held = workspaces if step.release >= _KEPT_WORKSPACES else 0
    return kept + max(forward, held + hidden + _sampler(model, step, width))


def _sampler(model: ModelProfile, step: Step, width: int) -> int:
    """Hidden states of the sampled tokens and a random copy of them, logits, and what sampling
    makes of those."""
    rows = min(step.sequences, step.tokens)
    size = 2 * rows * model.hidden_size * width
    if step.release < _TRITON_SAMPLER:
        return size + rows * model.vocab_size * (width + _FLOATS_SORTED * _FLOAT32)
    scratch = min(rows, _MULTIPROCESSORS) * model.vocab_size * _FLOAT32
    return size + scratch + rows * model.vocab_size * (width + _FLOATS_SAMPLED * _FLOAT32)


def _widest_layer(model: ModelProfile, step: Step, width: int) -> int:
    """Of a step's tensors, those that live at once: residual, norm, attention's output and result,
    and either the MLP's (gate and up, and their product) or attention's own."""
    attention, shards = model.attention, step.tensor_parallel
    mlp = 3 * ceil(model.intermediate_size / shards)
    heads = 2 * attention.heads * attention.head_dim + 2 * attention.kv_heads * attention.head_dim
    elements = 4 * model.hidden_size + max(mlp, ceil(heads / shards))
    size = step.tokens * elements * width
    if model.quantization == "bitsandbytes":  # gate and up are unpacked before they multiply
        size += 2 * model.hidden_size * ceil(model.intermediate_size / shards) * width
    if attention.qk_rope_head_dim is None:
        return size
    unrotated = attention.heads * (attention.head_dim - attention.qk_rope_head_dim)
    unpacked = unrotated + attention.output_size
    return max(size, _LATENT_PREFILL_TOKENS * ceil(unpacked / shards) * width)


def _expert_workspaces(model: ModelProfile, gpu: Gpu, step: Step, width: int) -> int:
    """Two workspaces for what the routed experts put out between and after their matrices.

    Source: vllm-project/vllm vllm/model_executor/layers/fused_moe/fused_moe.py,
    TritonExperts.workspace_shapes.
    """
    experts = model.experts
    if experts is None:
        return 0
    if model.quantization == "mxfp4" and gpu.compute_capability == TRITON_KERNELS:
        return 0
    inner = ceil(experts.intermediate_size / step.tensor_parallel)
    first = 2 * inner if experts.gated else inner
    outer = experts.input_size or model.hidden_size
    rows = step.tokens * experts.per_token
    return rows * (max(inner, outer) + max(first, outer)) * width


def _encoder_outputs(model: ModelProfile, hidden: int) -> int:
    """What an image encoder put out for one step; it is in the cache while the step runs."""
    return hidden if model.weights is not None and model.weights.vision else 0
