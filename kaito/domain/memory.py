"""Bytes that one GPU holds while it serves or tunes a model.

Inference with vLLM follows what its start-up logs print: KV cache = utilization x total - weights
- activations - non-torch memory (- CUDA graphs since 0.20). The laws below were fitted on published
logs of vLLM 0.17 to 0.19 (llm-d-incubation/llm-d-planner pull request 205, commit d3121e05,
accuracy/results/v0.19.0/logs); what has no published measurement is listed in `PRIORS`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from math import ceil
from typing import Final

from kaito.domain.engine import Engine
from kaito.domain.gpu import Gpu
from kaito.domain.model import EngineName, ModelProfile
from kaito.domain.quantity import GIB
from kaito.domain.workspace import TuningMethod

PRIORS: Final[Mapping[str, str]] = {
    "gpu": "the memory that this GPU reports is assumed",
    "vllm.activations": "activations and CUDA graphs follow vLLM 0.17 to 0.19 on 80 GiB cards",
    "vllm.adapters": "adapters are computed from the shapes of vLLM's buffers",
    "transformers.budget": "5 % of the card is set aside for fragmentation",
    "transformers.runtime": "CUDA context and libraries are taken as 0.6 GiB",
    "transformers.activations": (
        "activations are counted from the tensors of one layer, with attention that keeps no "
        "matrix of scores (torch's scaled_dot_product_attention)"
    ),
    "tuning.activations": (
        "activations are counted from the tensors of one layer, with attention that keeps no "
        "matrix of scores (torch's scaled_dot_product_attention)"
    ),
}
"""Parts of a breakdown that no published measurement backs, and why."""

BYTES_16_BIT: Final = 2

# --- vLLM ---
DEFAULT_UTILIZATION: Final = Fraction(84, 100)
UTILIZATION: Final[Mapping[str, Fraction]] = {"NVIDIA A10": Fraction(82, 100)}
"""--gpu-memory-utilization where a GPU needs its own, by name; used here and on the command line.
Source: kaito-project/kaito@056b8280b pkg/model/interface.go (0.84, and 0.82 on A10)."""

KV_BLOCK_TOKENS: Final = 16  # vLLM's default --block-size
_ACTIVATION_SLOPE: Final = 3.57  # x vocabulary x sequences x 4 bytes: sampler warm-up in float32
_ACTIVATION_BASE_BYTES: Final = int(0.14 * GIB)
_ACTIVATION_FLOOR_BYTES: Final = int(0.80 * GIB)
_NON_TORCH_BYTES: Final = int(0.25 * GIB)  # one GPU
_NON_TORCH_NCCL_BYTES: Final = int(2.1 * GIB)  # per GPU of a tensor-parallel group
# Least squares through Llama-3.1-8B at 32, 16 and 8 layers per GPU: 0.91, 0.65 and 0.51 GiB.
_GRAPHS_BASE_BYTES: Final = int(0.38 * GIB)
_GRAPHS_BYTES_PER_LAYER: Final = int(0.0166 * GIB)
_LARGE_CARD_BYTES: Final = 70 * GIB
_SMALL_CARD_SEQS: Final = 256
VLLM_LORA_RANK: Final = 16  # vLLM's default --max-lora-rank

# --- transformers ---
FRAGMENTATION_SHARE: Final = Fraction(5, 100)
_TORCH_RUNTIME_BYTES: Final = int(0.6 * GIB)

# --- tuning ---
NF4_BYTES_PER_PARAMETER: Final = 4.127 / 8
"""4-bit weights with double quantisation: 4 + 0.127 bits (QLoRA, arXiv:2305.14314, section 3)."""
_ADAPTER_BYTES: Final = 4  # peft keeps adapters in float32
_GRADIENT_BYTES: Final = 4
_ADAMW_BYTES: Final = 8  # two float32 moments
_LOGIT_BYTES: Final = 2 + 4 + 4  # 16-bit logits, their float32 copy and its gradient
TUNING_LORA_RANK: Final = 8  # kaito-project/kaito@056b8280b charts/.../lora-params.yaml
TUNING_SEQUENCE_TOKENS: Final = 1024  # trl's default SFTConfig.max_length


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBreakdown:
    """Bytes on the fullest GPU, by what they are for; `priors` are keys of `PRIORS`."""

    weights: int = 0
    kv_cache: int = 0
    activations: int = 0
    cuda_graphs: int = 0
    runtime: int = 0  # CUDA context, libraries, NCCL
    adapters: int = 0
    optimizer: int = 0
    gradients: int = 0
    priors: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, int]:
        """Bytes by name, in the order of the fields."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "priors"}

    @property
    def total(self) -> int:
        return sum(self.parts.values())


def gpu_memory_utilization(gpu: Gpu) -> Fraction:
    """Share of a GPU that vLLM may use: the value of --gpu-memory-utilization."""
    return UTILIZATION.get(gpu.name, DEFAULT_UTILIZATION)


def budget_share(gpu: Gpu, engine: EngineName) -> Fraction:
    """Share of the reported memory that an engine may fill."""
    if engine is EngineName.VLLM:
        return gpu_memory_utilization(gpu)
    return 1 - FRAGMENTATION_SHARE


def budget_bytes(gpu: Gpu, engine: EngineName) -> int:
    """Bytes that an engine may fill on one GPU, everything included."""
    return int(gpu.usable_bytes * budget_share(gpu, engine))


def default_max_num_seqs(gpu: Gpu) -> int:
    """vLLM's default for concurrent sequences in its API server.

    Source: vllm-project/vllm vllm/engine/arg_utils.py (1024 from 70 GiB up, A100 excepted).
    """
    large = gpu.usable_bytes >= _LARGE_CARD_BYTES and "A100" not in gpu.name.upper()
    return 1024 if large else _SMALL_CARD_SEQS


def max_num_batched_tokens(gpu: Gpu) -> int:
    """vLLM's default for tokens of one step in its API server.

    Source: vllm-project/vllm vllm/engine/arg_utils.py (8192 from 70 GiB up, A100 excepted).
    """
    return 8192 if default_max_num_seqs(gpu) > _SMALL_CARD_SEQS else 2048


def kv_bytes_per_token(
    model: ModelProfile, *, tensor_parallel: int = 1, pipeline_parallel: int = 1
) -> int:
    """Bytes of KV cache that each further token takes on the GPU that holds the most layers."""
    return model.kv_bytes_per_token(
        tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel
    )


def kv_cache_bytes(
    model: ModelProfile,
    gpu: Gpu,
    context_tokens: int,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
) -> int:
    """Bytes that vLLM caches for one sequence on the GPU that holds the most layers.

    Layers with a window hold that and what one step adds, and one block more; recurrent ones a
    state. Source: vllm-project/vllm vllm/v1/kv_cache_interface.py, max_memory_usage_bytes.
    """
    if context_tokens == 0:
        return 0
    per_token = kv_bytes_per_token(
        model, tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel
    )
    size = ceil(context_tokens / KV_BLOCK_TOKENS) * KV_BLOCK_TOKENS * per_token
    local, recurrent = model.local_attention, model.recurrent
    if local is not None:
        held = min(context_tokens, local.window - 1 + max_num_batched_tokens(gpu))
        blocks = ceil(held / KV_BLOCK_TOKENS) + 1
        layer = KV_BLOCK_TOKENS * model.cached_bytes(local.attention, tensor_parallel)
        size += ceil(local.layers / pipeline_parallel) * blocks * layer
    if recurrent is not None:
        state = ceil(recurrent.state_bytes / tensor_parallel)
        size += ceil(recurrent.layers / pipeline_parallel) * state
    return size


def inference_memory(
    model: ModelProfile,
    gpu: Gpu,
    engine: Engine,
    *,
    context_tokens: int,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    adapters: int = 0,
    lora_rank: int = VLLM_LORA_RANK,
    max_num_seqs: int | None = None,
) -> MemoryBreakdown:
    """Memory to serve one sequence of `context_tokens`; grows with `context_tokens`.

    `adapters` counts LoRA slots of `lora_rank`; `max_num_seqs` None is vLLM's default.
    """
    assert context_tokens >= 0, context_tokens
    assert adapters >= 0, adapters
    if engine.name is EngineName.VLLM:
        return _vllm_memory(
            model,
            gpu,
            context_tokens=context_tokens,
            tensor_parallel=tensor_parallel,
            pipeline_parallel=pipeline_parallel,
            adapters=adapters,
            lora_rank=lora_rank,
            max_num_seqs=max_num_seqs or default_max_num_seqs(gpu),
        )
    assert tensor_parallel == 1, "transformers splits layers over GPUs, not heads"
    return _transformers_memory(
        model,
        gpu,
        context_tokens=context_tokens,
        stages=pipeline_parallel,
        adapters=adapters,
        lora_rank=lora_rank,
    )


def _vllm_memory(
    model: ModelProfile,
    gpu: Gpu,
    *,
    context_tokens: int,
    tensor_parallel: int,
    pipeline_parallel: int,
    adapters: int,
    lora_rank: int,
    max_num_seqs: int,
) -> MemoryBreakdown:
    logits = model.vocab_size * max_num_seqs * 4
    stage_layers = ceil(model.layers / pipeline_parallel)
    lora_elements = sum(
        linear.inputs + ceil(linear.outputs / tensor_parallel) for linear in model.linears
    )
    return MemoryBreakdown(
        weights=_weights(model, tensor_parallel, pipeline_parallel) + _rotary_table(model),
        kv_cache=kv_cache_bytes(
            model,
            gpu,
            context_tokens,
            tensor_parallel=tensor_parallel,
            pipeline_parallel=pipeline_parallel,
        ),
        activations=max(
            _ACTIVATION_FLOOR_BYTES, int(_ACTIVATION_SLOPE * logits) + _ACTIVATION_BASE_BYTES
        ),
        cuda_graphs=_GRAPHS_BASE_BYTES + stage_layers * _GRAPHS_BYTES_PER_LAYER,
        runtime=_NON_TORCH_BYTES if tensor_parallel == 1 else _NON_TORCH_NCCL_BYTES,
        adapters=adapters * lora_rank * lora_elements * stage_layers * BYTES_16_BIT,
        priors=_priors(gpu, "vllm.activations", *(["vllm.adapters"] if adapters else [])),
    )


def _transformers_memory(
    model: ModelProfile,
    gpu: Gpu,
    *,
    context_tokens: int,
    stages: int,
    adapters: int,
    lora_rank: int,
) -> MemoryBreakdown:
    """One sequence, layers spread over `stages` GPUs (device_map=auto).

    The cache of a layer is extended by concatenation (DynamicCache.update in
    huggingface/transformers src/transformers/cache_utils.py), so one layer exists twice. Layers
    with a window are counted as if they had none.
    """
    layer_kv = model.attention.cached_elements() * BYTES_16_BIT
    local, recurrent = model.local_attention, model.recurrent
    cached = kv_bytes_per_token(model, pipeline_parallel=stages) + layer_kv
    if local is not None:
        cached += ceil(local.layers / stages) * local.attention.cached_elements() * BYTES_16_BIT
    states = ceil(recurrent.layers / stages) * recurrent.state_bytes if recurrent else 0
    stage_layers = ceil(model.layers / stages)
    # Prefill: residual, float32 norm, its result, and the four wide tensors of the gated MLP.
    prefill_elements = 5 * model.hidden_size + 4 * model.intermediate_size
    # The server merges all adapters into one, of the same rank.
    merged = min(adapters, 1) * _adapter_parameters(model, lora_rank, None, stage_layers)
    return MemoryBreakdown(
        weights=_weights(model, 1, stages),
        kv_cache=context_tokens * cached + min(1, context_tokens) * states,
        activations=context_tokens * prefill_elements * BYTES_16_BIT + model.vocab_size * 4,
        runtime=_TORCH_RUNTIME_BYTES,
        adapters=merged * _ADAPTER_BYTES,
        priors=_priors(
            gpu, "transformers.budget", "transformers.runtime", "transformers.activations"
        ),
    )


def tuning_memory(
    model: ModelProfile,
    gpu: Gpu,
    method: TuningMethod,
    *,
    sequence_tokens: int = TUNING_SEQUENCE_TOKENS,
    batch_size: int = 1,
    lora_rank: int = TUNING_LORA_RANK,
    target_modules: Collection[str] | None = None,
    gradient_checkpointing: bool = True,
) -> MemoryBreakdown:
    """Memory to tune with `batch_size` sequences of `sequence_tokens` per GPU.

    Every GPU holds the whole model (one data-parallel process each). `target_modules` None means
    those of the model's tuning support, or all linear layers.
    """
    assert sequence_tokens >= 0, sequence_tokens
    assert batch_size >= 1, batch_size
    if target_modules is None and model.tuning is not None:
        target_modules = model.tuning.target_modules
    trained = _adapter_parameters(model, lora_rank, target_modules, model.layers)
    tokens = sequence_tokens * batch_size
    layer = _trained_layer_elements(model) * BYTES_16_BIT
    kept = model.hidden_size * BYTES_16_BIT if gradient_checkpointing else layer
    activations = tokens * (kept * model.layers + layer + model.vocab_size * _LOGIT_BYTES)
    if method is TuningMethod.QLORA:  # the widest layer is unpacked to 16 bits to be multiplied
        activations += max(linear.parameters for linear in model.linears) * BYTES_16_BIT
    return MemoryBreakdown(
        weights=_tuned_weights(model, method),
        activations=activations,
        runtime=_TORCH_RUNTIME_BYTES,
        adapters=trained * _ADAPTER_BYTES,
        gradients=trained * _GRADIENT_BYTES,
        optimizer=trained * _ADAMW_BYTES,
        priors=_priors(gpu, "transformers.budget", "transformers.runtime", "tuning.activations"),
    )


def _weights(model: ModelProfile, tensor_parallel: int, stages: int) -> int:
    """Bytes of weights on the fullest GPU. The first stage also holds the embedding, the last one
    lm_head, so stages are uneven."""
    loaded, embedding = model.loaded_bytes or model.weight_bytes, model.embedding_bytes
    blocks = (loaded - embedding) * Fraction(ceil(model.layers / stages), model.layers)
    one_table = embedding if model.tied_embeddings else embedding // 2
    ends = embedding if stages == 1 else one_table
    return ceil((blocks + ends) / tensor_parallel)


def _rotary_table(model: ModelProfile) -> int:
    """vLLM's cosine and sine table, in full on every GPU: seen in the printed weights of
    Llama-3.1-8B (0.03 GiB) and Llama-4-Scout (2.5 GiB)."""
    attention = model.attention
    return model.token_limit * (attention.qk_rope_head_dim or attention.head_dim) * BYTES_16_BIT


def _tuned_weights(model: ModelProfile, method: TuningMethod) -> int:
    if method is TuningMethod.LORA:
        return model.weight_bytes
    # bitsandbytes packs the linear layers; embedding and lm_head stay in 16 bits.
    packed = ceil(model.linear_parameters * NF4_BYTES_PER_PARAMETER)
    return packed + model.embedding_parameters * BYTES_16_BIT


def _adapter_parameters(
    model: ModelProfile, rank: int, targets: Collection[str] | None, layers: int
) -> int:
    """Parameters of one LoRA adapter: two matrices of `rank` beside each targeted layer."""
    chosen = [one for one in model.linears if targets is None or one.name in targets]
    return rank * layers * sum(one.inputs + one.outputs for one in chosen)


def _trained_layer_elements(model: ModelProfile) -> int:
    """16-bit elements that one layer keeps per token for its backward pass: two float32 norms and
    their results, residuals, attention's tensors (K and V repeated per head), the gated MLP."""
    attention = model.attention
    query = attention.heads * attention.head_dim
    key = attention.kv_heads * attention.head_dim
    return 9 * model.hidden_size + 5 * query + 3 * key + 4 * model.intermediate_size


def _priors(gpu: Gpu, *keys: str) -> tuple[str, ...]:
    return ("gpu", *keys) if gpu.usable_is_prior else keys
