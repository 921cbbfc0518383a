"""Decoders whose blocks are attention and an MLP or experts: most of today's models.

What families do differently is a `Style`; `families.py` has the table.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from kaito.domain.hf_config.attention import (
    BlockIndexer,
    LatentIndexer,
    grouped_attention,
    grouped_parts,
    latent_attention,
    latent_parts,
)
from kaito.domain.hf_config.config import Config, invalid
from kaito.domain.hf_config.feed_forward import (
    Mixture,
    blocks_with_experts,
    dense_parts,
    mixture_of,
    of_length,
)
from kaito.domain.hf_config.parts import Block, Cache, Decoder, Part, below, vector
from kaito.domain.model import Attention

LAYERS: Final = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
HIDDEN: Final = ("hidden_size", "n_embd", "d_model")
MLP: Final = (
    "dense_intermediate_size",
    "intermediate_size_mlp",
    "intermediate_size",
    "ffn_hidden_size",
    "n_inner",
)
MOST_LAYERS: Final = 10_000
_KINDS: Final = {
    "full_attention": Cache.FULL,
    "attention": Cache.FULL,
    "global_attention": Cache.FULL,
    "deepseek_sparse_attention": Cache.FULL,
    "sliding_attention": Cache.LOCAL,
    "chunked_attention": Cache.LOCAL,
    "linear_attention": Cache.STATE,
    "mamba": Cache.STATE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What a family does that its config does not say; None asks the config."""

    qkv_bias: bool | None = None  # None: attention_bias
    output_bias: bool | None = None  # None: as qkv_bias
    mlp_bias: bool | None = None  # None: mlp_bias
    norm: str = ""  # of queries and keys: "head", "layer", or "" for none
    norms: int = 2  # per block, of the hidden size
    norm_bias: bool = False
    gated_mlp: bool = True
    head_bias: bool = False
    full_every: int = 0  # without layer_types: each n-th block sees the whole context; 0: all do
    chunked: bool = False
    sinks: bool = False
    experts_name: str = "mlp"
    expert_bias: bool = False
    shared_gate: bool = False
    shared_as_routed: bool = False  # one shared expert of the routed ones' size
    correction: bool = False


def read_decoder(config: Config, style: Style) -> Decoder:
    """A decoder of attention blocks. Raises: InvalidModel."""
    layers, hidden = layer_count(config), config.integer(*HIDDEN)
    mixture = read_mixture(config, style, hidden, layers)
    indexer = _indexer(config, layers)
    if "kv_lora_rank" in config:
        kinds: tuple[Cache, ...] = (Cache.FULL,) * layers
        full = local = latent_attention(config)
    else:
        kinds = layer_kinds(config, layers, style)
        full, local = attention_shapes(config, hidden)
    size = intermediate_size(config, hidden, mixture)
    attend = {
        Cache.FULL: attention_parts(config, style, full, hidden),
        Cache.LOCAL: attention_parts(config, style, local, hidden),
    }
    bias = config.switch("mlp_bias") if style.mlp_bias is None else style.mlp_bias
    dense = below("mlp", dense_parts(hidden, size, gated=style.gated_mlp, bias=bias))
    rest = feed_forwards(mixture, layers, hidden, dense)
    norms = vector("norms", style.norms * hidden * (2 if style.norm_bias else 1))
    index = below("self_attn", indexer.parts(hidden)) if indexer else ()
    blocks = tuple(
        block(
            layer,
            kind,
            (
                *attend[kind],
                *(index if indexer and indexer.where[layer] else ()),
                *rest[layer],
                norms,
            ),
        )
        for layer, kind in enumerate(kinds)
    )
    windowed = Cache.LOCAL in kinds
    return Decoder(
        hidden=hidden,
        intermediate=size,
        attention=replace(full, sliding_window=None) if windowed else full,
        local=replace(local, sliding_window=None) if windowed else None,
        window=local.sliding_window if windowed else None,
        chunked=style.chunked,
        blocks=blocks,
        indexer=indexer.cached if indexer else None,
        experts=mixture.experts(hidden) if mixture else None,
        final_norm=hidden * (2 if style.norm_bias else 1),
        head_bias=style.head_bias,
    )


def _indexer(config: Config, layers: int) -> BlockIndexer | LatentIndexer | None:
    sparse = config.section("sparse_attention_config")
    if sparse is not None and sparse.switch("use_sparse_attention", default=True):
        return BlockIndexer(sparse, layers)
    return LatentIndexer(config, layers) if "index_n_heads" in config else None


def block(layer: int, cache: Cache, parts: Iterable[Part]) -> Block:
    """The block at that place, its parts named as in a checkpoint."""
    return Block(name=f"model.layers.{layer}", parts=tuple(parts), cache=cache)


def read_mixture(config: Config, style: Style, hidden: int, layers: int) -> Mixture | None:
    """The routed experts; None without them. Raises: InvalidModel."""
    return mixture_of(
        config,
        hidden,
        blocks_with_experts(config, layers),
        name=style.experts_name,
        bias=style.expert_bias,
        shared_gate=style.shared_gate,
        shared_as_routed=style.shared_as_routed,
        correction=style.correction,
    )


def feed_forwards(
    mixture: Mixture | None, layers: int, hidden: int, dense: tuple[Part, ...]
) -> tuple[tuple[Part, ...], ...]:
    """Of each block, its experts or the dense MLP."""
    if mixture is None:
        return (dense,) * layers
    experts = mixture.parts(hidden)
    return tuple(experts if has_experts else dense for has_experts in mixture.where)


def layer_count(config: Config) -> int:
    """Decoder blocks. Raises: InvalidModel (missing, or more than any model has)."""
    return config.integer(*LAYERS, most=MOST_LAYERS)


def attention_shapes(config: Config, hidden: int) -> tuple[Attention, Attention]:
    """Of layers that see the whole context, and of those with a window, which MiMo, Step and
    Gemma 4 give other heads. Raises: InvalidModel."""
    full = grouped_attention(config, hidden)
    other = config.section("attention_other_setting")
    if other is not None:
        return full, replace(grouped_attention(other, hidden), sliding_window=full.sliding_window)
    if "swa_num_attention_heads" in config:
        return full, grouped_attention(config, hidden, prefix="swa_")
    if "global_head_dim" in config:
        own = {
            "num_key_value_heads": config.values.get("num_global_key_value_heads"),
            "head_dim": config.integer("global_head_dim"),
        }
        told = {key: value for key, value in own.items() if value is not None}
        return grouped_attention(Config({**config.values, **told}, config.path), hidden), full
    return full, full


def attention_parts(
    config: Config,
    style: Style,
    attention: Attention,
    hidden: int,
) -> tuple[Part, ...]:
    """The parts of one block's attention, named below self_attn."""
    if attention.kv_lora_rank is not None:
        return below("self_attn", latent_parts(attention, hidden))
    bias = config.switch("attention_bias") if style.qkv_bias is None else style.qkv_bias
    output = bias if style.output_bias is None else style.output_bias
    parts = grouped_parts(
        attention,
        hidden,
        bias=bias,
        output_bias=output,
        norm=style.norm,
        gated=config.switch("attn_output_gate"),
        sinks=style.sinks,
    )
    return below("self_attn", parts)


def intermediate_size(config: Config, hidden: int, mixture: Mixture | None) -> int:
    """Of the dense MLP; where every block has experts, of the shared or a routed one."""
    if mixture is not None and all(mixture.where):
        return mixture.shared or mixture.size
    four_fold = "n_head" in config or config.text("model_type") == "falcon"
    return config.integer(*MLP, default=4 * hidden if four_fold else None)


def layer_kinds(config: Config, layers: int, style: Style) -> tuple[Cache, ...]:
    """What each block keeps: as `layer_types` lists it, or as the family does.

    `layer_types_count` (how many there are of each) stands for a list with the rarest kind spread
    evenly. Raises: InvalidModel (unknown kind, a list of another length than the layers).
    """
    for key in ("hybrid_layer_pattern", "no_rope_layers"):
        marks = config.integers(key)
        if marks:  # 1 where a layer has a window
            marks = of_length(config, key, marks, layers)
            return tuple(Cache.LOCAL if mark else Cache.FULL for mark in marks)
    listed = config.strings("layer_types")
    if listed:
        if len(listed) < layers:
            raise invalid(
                config.field("layer_types"),
                f"has {len(listed)} entries for {layers} layers (num_hidden_layers)",
            )
        kinds = tuple(_kind(config, "layer_types", one) for one in listed[:layers])
        return kinds if _has_window(config) else _all_full(kinds)
    counts = config.section("layer_types_count")
    if counts is not None:
        return _spread(config, counts, layers)
    period = config.integer("sliding_window_pattern", default=style.full_every, least=0)
    if period < 2 or not _has_window(config):
        return (Cache.FULL,) * layers
    return tuple(Cache.LOCAL if (layer + 1) % period else Cache.FULL for layer in range(layers))


def _has_window(config: Config) -> bool:
    return config.switch("use_sliding_window", default=True) and any(
        key in config for key in ("sliding_window", "sliding_window_size", "attention_chunk_size")
    )


def _all_full(kinds: tuple[Cache, ...]) -> tuple[Cache, ...]:
    return tuple(Cache.FULL if kind is Cache.LOCAL else kind for kind in kinds)


def _kind(config: Config, key: str, name: str) -> Cache:
    if name not in _KINDS:
        raise invalid(
            config.field(key),
            f"has the unknown kind {name!r}",
            f"Kinds are {', '.join(_KINDS)}; describe the model in a file of its own "
            "(docs/models.md)",
        )
    return _KINDS[name]


def _spread(config: Config, counts: Config, layers: int) -> tuple[Cache, ...]:
    """Kinds whose numbers are known and whose order is not: the last of each group is rare."""
    numbers = {
        _kind(config, "layer_types_count", name): counts.integer(name, least=0)
        for name in counts.values
    }
    if sum(numbers.values()) != layers:
        raise invalid(
            counts.path,
            f"counts {sum(numbers.values())} layers of {layers} (num_hidden_layers)",
        )
    common, *rest = sorted(numbers, key=lambda kind: -numbers[kind])
    kinds = [common] * layers
    for kind in rest:
        number = numbers[kind]
        for index in range(number):
            kinds[(index + 1) * layers // number - 1] = kind
    return tuple(kinds)
