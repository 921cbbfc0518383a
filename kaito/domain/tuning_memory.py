"""Bytes that one GPU holds while it fine-tunes a model with LoRA or QLoRA."""

from collections.abc import Collection, Mapping
from math import ceil
from typing import Final

from kaito.domain.gpu import Gpu
from kaito.domain.memory import TORCH_RUNTIME_BYTES, MemoryBreakdown, priors
from kaito.domain.model import ModelProfile
from kaito.domain.tuning_method import TuningMethod

NF4_BYTES_PER_PARAMETER: Final = 4.127 / 8
"""4-bit weights with double quantisation: 4 + 0.127 bits (QLoRA, arXiv:2305.14314, section 3)."""
TUNING_LORA_RANK: Final = 8  # kaito-project/kaito@056b8280b charts/.../lora-params.yaml
TUNING_SEQUENCE_TOKENS: Final = 1024  # trl's default SFTConfig.max_length
TUNING_OPTIMIZER: Final = "adamw_torch"
OPTIMIZER_BYTES: Final[Mapping[str, int]] = {
    TUNING_OPTIMIZER: 8,
    "adamw_torch_fused": 8,
    "paged_adamw_32bit": 8,
    "adamw_bnb_8bit": 2,
    "paged_adamw_8bit": 2,
    "sgd": 0,
}
"""Bytes of state per trained parameter, by the value of transformers' `optim`: AdamW keeps two
moments, in float32 or in 8 bits; plain gradient descent keeps nothing. Paged ones are counted as if
nothing were moved to the host.
Source: huggingface/transformers src/transformers/training_args.py, OptimizerNames."""

_BYTES_16_BIT: Final = 2
_ADAPTER_BYTES: Final = 4  # peft keeps adapters in float32
_GRADIENT_BYTES: Final = 4
_LOGIT_BYTES: Final = 2 + 4 + 4  # 16-bit logits, their float32 copy and its gradient


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
    optimizer: str = TUNING_OPTIMIZER,
) -> MemoryBreakdown:
    """Memory to tune with `batch_size` sequences of `sequence_tokens` per GPU.

    Every GPU holds the whole model (one data-parallel process each). `target_modules` None means
    those of the model's tuning support, or all linear layers; `optimizer` is a key of
    `OPTIMIZER_BYTES`.
    """
    assert sequence_tokens >= 0, sequence_tokens
    assert batch_size >= 1, batch_size
    if target_modules is None and model.tuning is not None:
        target_modules = model.tuning.target_modules
    trained = _adapter_parameters(model, lora_rank, target_modules, model.layers)
    tokens = sequence_tokens * batch_size
    layer = _trained_layer_elements(model) * _BYTES_16_BIT
    kept = model.hidden_size * _BYTES_16_BIT if gradient_checkpointing else layer
    activations = tokens * (kept * model.layers + layer + model.vocab_size * _LOGIT_BYTES)
    if method is TuningMethod.QLORA:  # the widest layer is unpacked to 16 bits to be multiplied
        activations += max(linear.parameters for linear in model.linears) * _BYTES_16_BIT
    return MemoryBreakdown(
        weights=_tuned_weights(model, method),
        activations=activations,
        runtime=TORCH_RUNTIME_BYTES,
        adapters=trained * _ADAPTER_BYTES,
        gradients=trained * _GRADIENT_BYTES,
        optimizer=trained * OPTIMIZER_BYTES[optimizer],
        priors=priors(gpu, "transformers.budget", "transformers.runtime", "tuning.activations"),
    )


def _tuned_weights(model: ModelProfile, method: TuningMethod) -> int:
    if method is TuningMethod.LORA:
        return model.weight_bytes
    # bitsandbytes packs the linear layers; embedding and lm_head stay in 16 bits.
    packed = ceil(model.linear_parameters * NF4_BYTES_PER_PARAMETER)
    return packed + model.embedding_parameters * _BYTES_16_BIT


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
