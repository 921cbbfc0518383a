"""Bytes of weights on each rank of an engine."""

from fractions import Fraction
from math import ceil

from kaito.domain.model import BYTES_PER_PARAMETER, Attention, ModelProfile
from kaito.domain.vllm_defaults import stage_layers
from kaito.domain.weights import WeightLayout

__all__ = ["block_weights", "rank_weights", "rotary_table_bytes"]


def rank_weights(
    model: ModelProfile, *, tensor_parallel: int = 1, pipeline_parallel: int = 1
) -> tuple[int, ...]:
    """Bytes of parameters on one GPU of each pipeline rank, as vLLM lays them out.

    The first rank holds the embedding and the towers of other modalities, the last one the final
    norm and lm_head, be it tied or not. Of a model whose blocks are not known one by one, they
    are taken as equal and wholly shared out.
    """
    held = stage_layers(model.layers, pipeline_parallel)
    if model.weights is None:
        blocks = _equal_blocks(model, held)
        table = model.embedding_bytes // (1 if model.tied_embeddings else 2)
        ends = model.embedding_bytes if pipeline_parallel == 1 else table
        last = pipeline_parallel - 1
        return tuple(
            ceil((size + (ends if rank in (0, last) else 0)) / tensor_parallel)
            for rank, size in enumerate(blocks)
        )
    return _by_block(model, model.weights, held, tensor_parallel)


def block_weights(
    model: ModelProfile, *, tensor_parallel: int = 1, pipeline_parallel: int = 1
) -> tuple[int, ...]:
    """Bytes of the decoder blocks' own parameters on one GPU of each pipeline rank: the part of
    `rank_weights` that --cpu-offload-gb can leave in the host's memory.

    Source: vllm-project/vllm vllm/model_executor/offloader/uva.py, wrap_modules.
    """
    held = stage_layers(model.layers, pipeline_parallel)
    if model.weights is None:
        return tuple(int(size / tensor_parallel) for size in _equal_blocks(model, held))
    sizes, start = [], 0
    for layers in held:
        blocks = model.weights.layers[start : start + layers]
        split = sum(one.sharded + one.experts for one in blocks)
        sizes.append(split // tensor_parallel + sum(one.replicated for one in blocks))
        start += layers
    return tuple(sizes)


def _equal_blocks(model: ModelProfile, held: tuple[int, ...]) -> list[Fraction]:
    loaded = (model.loaded_bytes or model.weight_bytes) - model.embedding_bytes
    return [Fraction(loaded * layers, model.layers) for layers in held]


def _by_block(
    model: ModelProfile, layout: WeightLayout, held: tuple[int, ...], shards: int
) -> tuple[int, ...]:
    sizes, start = [], 0
    extra = _replicated_heads(model, shards) + _absorbed_projections(model, shards)
    padding = _expert_padding(model, shards)
    for layers in held:
        blocks = layout.layers[start : start + layers]
        split = sum(one.sharded for one in blocks)
        experts = sum(one.experts for one in blocks) * padding
        whole = sum(one.replicated for one in blocks)
        sizes.append(
            ceil((split + experts) / shards) + whole + ceil(Fraction(extra * layers, model.layers))
        )
        start += layers
    embedding, head = ceil(layout.embedding / shards), ceil(layout.lm_head / shards)
    last = len(held) - 1
    for rank in range(len(held)):
        # A tied lm_head is the embedding, of which the last rank then has a copy.
        tied = rank == last and not head
        if rank == 0 or tied or layout.embedding_everywhere:
            sizes[rank] += embedding
        if rank == last or layout.head_everywhere:
            sizes[rank] += head + layout.final_norm
    sizes[0] += ceil(layout.vision / shards)
    return tuple(sizes)


def _replicated_heads(model: ModelProfile, shards: int) -> int:
    """What all blocks have beyond their share where there are more ranks than KV heads: each rank
    holds one head of keys and values in full.

    Source: vllm-project/vllm vllm/model_executor/layers/linear.py, QKVParallelLinear.
    """
    local = model.local_attention
    extra = model.full_attention_layers * _beyond_share(model, model.attention, shards)
    if local is not None:
        extra += local.layers * _beyond_share(model, local.attention, shards)
    return ceil(extra)


def _beyond_share(model: ModelProfile, attention: Attention, shards: int) -> Fraction:
    if attention.kv_lora_rank is not None or shards <= attention.kv_heads:
        return Fraction(0)
    one = (attention.head_dim + (attention.v_head_dim or attention.head_dim)) * model.hidden_size
    return one * (1 - Fraction(attention.kv_heads, shards)) * BYTES_PER_PARAMETER[model.dtype]


def _expert_padding(model: ModelProfile, shards: int) -> Fraction:
    """How much larger mxfp4 experts are than their share: kernels want rows of a multiple of 256
    and columns of 128 (as Marlin's; others pad a little less).

    Source: vllm-project/vllm vllm/model_executor/layers/fused_moe/oracle/mxfp4.py,
    mxfp4_round_up_hidden_size_and_intermediate_size.
    """
    experts = model.experts
    if experts is None or model.quantization != "mxfp4":
        return Fraction(1)
    outer = experts.input_size or model.hidden_size
    inner = ceil(experts.intermediate_size / shards)
    padded = ceil(inner / 128) * 128 * shards * ceil(outer / 256) * 256
    return Fraction(padded, experts.intermediate_size * outer)


def _absorbed_projections(model: ModelProfile, shards: int) -> int:
    """What all blocks hold of kv_b_proj a second time: latent attention keeps it unpacked to the
    model's number format, cut into what is multiplied with queries and with outputs.

    Source: vllm-project/vllm vllm/model_executor/layers/attention/mla_attention.py,
    process_weights_after_loading (W_UK_T, W_UV).
    """
    attention = model.attention
    rank, rope = attention.kv_lora_rank, attention.qk_rope_head_dim
    if rank is None or rope is None:
        return 0
    outputs = attention.heads * (attention.head_dim - rope) + attention.output_size
    one = ceil(rank * outputs / shards) * BYTES_PER_PARAMETER[model.dtype]
    return model.full_attention_layers * one


def rotary_table_bytes(model: ModelProfile) -> int:
    """vLLM's cosine and sine table, in full on every GPU: seen in the printed weights of
    Llama-3.1-8B (0.03 GiB) and Llama-4-Scout (2.5 GiB). Where the config was not read, it is taken
    as one table of the whole head."""
    if model.weights is not None:
        return model.weights.rotary
    attention = model.attention
    size = attention.qk_rope_head_dim or attention.head_dim
    return model.token_limit * size * BYTES_PER_PARAMETER[model.dtype]
