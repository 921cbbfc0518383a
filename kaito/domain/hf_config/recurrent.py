"""Hybrids: decoders some of whose blocks keep a state of fixed size instead of keys and values.

Sizes of projections and states: vllm-project/vllm vllm/model_executor/layers/mamba/
{mamba_mixer2,mamba_utils}.py and vllm/model_executor/models/{nemotron_h,qwen3_next,kimi_linear}.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from kaito.domain.hf_config.attention import latent_attention
from kaito.domain.hf_config.config import Config, invalid
from kaito.domain.hf_config.decoder import (
    HIDDEN,
    LAYERS,
    MOST_LAYERS,
    Style,
    attention_parts,
    attention_shapes,
    block,
    feed_forwards,
    intermediate_size,
    layer_count,
    layer_kinds,
    read_mixture,
)
from kaito.domain.hf_config.feed_forward import Mixture, dense_parts, mixture_of
from kaito.domain.hf_config.parts import (
    Cache,
    Decoder,
    Part,
    Share,
    State,
    below,
    matrix,
    router,
    vector,
    whole,
)
from kaito.domain.model import Attention

_FLOAT32: Final = 4
_BYTES_16_BIT: Final = 2
_QWEN: Final = Style(norm="head", shared_gate=True)
_NEMOTRON_KINDS: Final = {"M": Cache.STATE, "*": Cache.FULL, "-": Cache.NONE, "E": Cache.NONE}
_NEMOTRON_LETTERS: Final = {"mamba": "M", "attention": "*", "mlp": "-", "moe": "E"}
_CONV_BIAS: Final = ("use_conv_bias", "mamba_conv_bias")


def _state_element_bytes(config: Config, default: str = "") -> int:
    """Of the recurrent part of a state: float32 where the config says so, else 16 bits."""
    name = config.text("mamba_ssm_cache_dtype", "mamba_ssm_dtype") or default
    return _FLOAT32 if name == "float32" else _BYTES_16_BIT


def read_nemotron_h(config: Config) -> Decoder:
    """Nemotron-H: each block is one of Mamba-2, attention, an MLP or experts, as a letter of
    hybrid_override_pattern says. Raises: InvalidModel."""
    hidden = config.integer(*HIDDEN)
    pattern = _nemotron_pattern(config)
    where = tuple(letter == "E" for letter in pattern)
    mixture = mixture_of(config, hidden, where, name="mixer", gated=False, correction=True)
    size = (mixture.shared or mixture.size) if mixture else config.integer("intermediate_size")
    attention, _ = attention_shapes(config, hidden)
    style = Style()
    by_letter: dict[str, tuple[Part, ...]] = {
        "*": tuple(
            replace(part, name=part.name.replace("self_attn", "mixer"))
            for part in attention_parts(config, style, attention, hidden)
        ),
        "E": mixture.parts(hidden) if mixture else (),
    }
    if "-" in pattern:
        dense = dense_parts(hidden, config.integer("intermediate_size"), gated=False)
        by_letter["-"] = below("mixer", dense)
    if "M" in pattern:
        by_letter["M"] = below("mixer", _mamba2_parts(config, hidden))
    norm = vector("norm", hidden)
    return Decoder(
        hidden=hidden,
        intermediate=size,
        attention=attention,
        blocks=tuple(
            block(layer, _NEMOTRON_KINDS[letter], (*by_letter[letter], norm))
            for layer, letter in enumerate(pattern)
        ),
        # vllm/model_executor/models/config.py, NemotronHForCausalLMConfig, has the default.
        state=_mamba2_state(config, "float32") if "M" in pattern else None,
        experts=mixture.experts(hidden) if mixture else None,
        final_norm=hidden,
        rotary=False,
    )


def _nemotron_pattern(config: Config) -> str:
    """A letter for each block, from either of the keys that tell them."""
    pattern = config.text("hybrid_override_pattern")
    counts = config.values.get("layers_block_type")
    if isinstance(counts, Mapping):  # how many there are of each, in no order
        section = Config(counts, config.field("layers_block_type"))
        listed = [
            name for name in counts for _ in range(section.integer(name, least=0, most=MOST_LAYERS))
        ]
    else:
        listed = list(config.strings("layers_block_type"))
    pattern = pattern or "".join(_NEMOTRON_LETTERS.get(name, "?") for name in listed)
    layers = config.integer(*LAYERS, default=len(pattern) or None, most=MOST_LAYERS)
    if len(pattern) != layers or not set(pattern) <= set(_NEMOTRON_KINDS):
        raise invalid(
            config.field("hybrid_override_pattern"),
            f"must have one of M, *, - and E for each of the {layers} layers "
            f"(num_hidden_layers), got {pattern!r}",
        )
    return pattern


def _mamba2_sizes(config: Config) -> tuple[int, int, int]:
    """Elements of the inner vector, of what the convolution sees, and heads."""
    heads = config.integer("mamba_num_heads", "mamba_n_heads")
    inner = heads * config.integer("mamba_head_dim", "mamba_d_head")
    groups = config.integer("n_groups", "mamba_n_groups")
    return inner, inner + 2 * groups * config.integer("ssm_state_size", "mamba_d_state"), heads


def _mamba2_parts(config: Config, hidden: int) -> list[Part]:
    inner, convolved, heads = _mamba2_sizes(config)
    bias = config.switch("mamba_proj_bias")
    kernel = config.integer("conv_kernel", "mamba_d_conv")
    taps = kernel + all(config.switch(key, default=True) for key in _CONV_BIAS)
    heads_only = inner if _one_group(config) else convolved
    parts = [
        matrix("in_proj", inner + heads_only + heads, hidden, bias=bias),
        vector("conv1d", heads_only * taps, share=Share.SPLIT),
        vector("A", heads, share=Share.SPLIT, element_bytes=_FLOAT32),
        vector("D", heads, share=Share.SPLIT),
        vector("dt_bias", heads, share=Share.SPLIT),
        vector("norm", inner, share=Share.SPLIT),
        matrix("out_proj", hidden, inner, bias=bias),
    ]
    if heads_only < convolved:
        parts.append(whole("in_proj", convolved - heads_only, hidden, bias=bias))
        parts.append(vector("conv1d", (convolved - heads_only) * taps))
    return parts


def _one_group(config: Config) -> bool:
    """Whether all heads share one B and C, which every rank then holds (vllm/model_executor/layers/
    mamba/mamba_utils.py, extra_groups_for_head_shards)."""
    return config.integer("n_groups", "mamba_n_groups") == 1


def _mamba2_state(config: Config, default: str = "") -> State:
    """Of one layer and sequence: the convolution's last inputs, and a matrix per head."""
    inner, convolved, _ = _mamba2_sizes(config)
    recent = (config.integer("conv_kernel", "mamba_d_conv") - 1) * _BYTES_16_BIT
    matrices = inner * config.integer("ssm_state_size", "mamba_d_state")
    return State(
        size=convolved * recent + matrices * _state_element_bytes(config, default),
        whole=(convolved - inner) * recent if _one_group(config) else 0,
    )


def _hybrid(
    hidden: int,
    size: int,
    attention: Attention,
    blocks: tuple[tuple[Cache, tuple[Part, ...]], ...],
    *,
    state: State,
    mixture: Mixture | None,
    rotary: bool = True,
) -> Decoder:
    """A decoder of such blocks, each with two norms; `size` is that of its MLP."""
    norms = vector("norms", 2 * hidden)
    return Decoder(
        hidden=hidden,
        intermediate=size,
        attention=attention,
        blocks=tuple(
            block(layer, kind, (*parts, norms)) for layer, (kind, parts) in enumerate(blocks)
        ),
        state=state,
        experts=mixture.experts(hidden) if mixture else None,
        final_norm=hidden,
        rotary=rotary,
    )


def read_granite_hybrid(config: Config) -> Decoder:
    """Granite 4: Mamba-2 and attention blocks, each with a shared MLP and, some models, experts.

    Raises: InvalidModel.
    """
    layers, hidden = layer_count(config), config.integer(*HIDDEN)
    style = Style(experts_name="block_sparse_moe")
    kinds = layer_kinds(config, layers, style)
    routed = config.integer("num_local_experts", default=0, least=0) > 0
    mixture = read_mixture(config, style, hidden, layers) if routed else None
    size = config.integer("shared_intermediate_size", "intermediate_size")
    attention, _ = attention_shapes(config, hidden)
    mixers = {
        Cache.FULL: attention_parts(config, style, attention, hidden),
        Cache.STATE: below("mamba", _mamba2_parts(config, hidden)),
    }
    dense = below("shared_mlp", dense_parts(hidden, size))
    rest = feed_forwards(mixture, layers, hidden, dense)
    return _hybrid(
        hidden,
        size,
        attention,
        tuple((kind, (*mixers[kind], *rest[layer])) for layer, kind in enumerate(kinds)),
        state=_mamba2_state(config),
        mixture=mixture,
        rotary=config.text("position_embedding_type") == "rope",
    )


def read_qwen_next(config: Config) -> Decoder:
    """Qwen3-Next and Qwen3.5: gated delta networks, and every few blocks gated attention.

    Raises: InvalidModel.
    """
    layers, hidden = layer_count(config), config.integer(*HIDDEN)
    if "layer_types" in config or "layer_types_count" in config:
        kinds = layer_kinds(config, layers, _QWEN)
    else:
        every = config.integer("full_attention_interval", default=4)
        kinds = tuple(Cache.STATE if (layer + 1) % every else Cache.FULL for layer in range(layers))
    mixture = read_mixture(config, _QWEN, hidden, layers)
    size = intermediate_size(config, hidden, mixture)
    gated = Config({"attn_output_gate": True, **config.values}, config.path)
    attention, _ = attention_shapes(config, hidden)
    mixers = {
        Cache.FULL: attention_parts(gated, _QWEN, attention, hidden),
        Cache.STATE: below("linear_attn", _delta_net_parts(config, hidden)),
    }
    dense = below("mlp", dense_parts(hidden, size))
    rest = feed_forwards(mixture, layers, hidden, dense)
    return _hybrid(
        hidden,
        size,
        attention,
        tuple((kind, (*mixers[kind], *rest[layer])) for layer, kind in enumerate(kinds)),
        state=_delta_net_state(config),
        mixture=mixture,
    )


def _delta_net_sizes(config: Config) -> tuple[int, int, int]:
    """Elements of all keys, of all values, and the number of value heads."""
    heads = config.integer("linear_num_value_heads")
    keys = config.integer("linear_num_key_heads") * config.integer("linear_key_head_dim")
    return keys, heads * config.integer("linear_value_head_dim"), heads


def _delta_net_parts(config: Config, hidden: int) -> list[Part]:
    keys, values, heads = _delta_net_sizes(config)
    kernel = config.integer("linear_conv_kernel_dim")
    return [
        matrix("in_proj_qkv", 2 * keys + values, hidden),
        matrix("in_proj_z", values, hidden),
        matrix("in_proj_b", heads, hidden),
        matrix("in_proj_a", heads, hidden),
        vector("conv1d", (2 * keys + values) * kernel, share=Share.SPLIT),
        vector("A_log", heads, share=Share.SPLIT, element_bytes=_FLOAT32),
        vector("dt_bias", heads, share=Share.SPLIT),
        vector("norm", values // heads),
        matrix("out_proj", hidden, values),
    ]


def _delta_net_state(config: Config) -> State:
    keys, values, _ = _delta_net_sizes(config)
    kernel = config.integer("linear_conv_kernel_dim")
    matrices = values * config.integer("linear_key_head_dim")
    recent = (2 * keys + values) * (kernel - 1) * _BYTES_16_BIT
    return State(size=recent + matrices * _state_element_bytes(config))


def read_kimi_linear(config: Config) -> Decoder:
    """Kimi Linear: Kimi delta attention, and latent attention without positions in the blocks of
    linear_attn_config.full_attn_layers (counted from 1). Raises: InvalidModel."""
    layers, hidden = layer_count(config), config.integer(*HIDDEN)
    linear = config.section("linear_attn_config")
    if linear is None:
        raise invalid(config.field("linear_attn_config"), "is missing")
    full = frozenset(linear.integers("full_attn_layers") or ())
    if not full <= set(range(1, layers + 1)):
        raise invalid(
            linear.field("full_attn_layers"),
            f"names layers beyond the {layers} (num_hidden_layers): {sorted(full)}",
        )
    style = Style(correction=True, experts_name="block_sparse_moe")
    mixture = read_mixture(config, style, hidden, layers)
    attention = latent_attention(config)
    heads, head_dim = linear.integer("num_heads"), linear.integer("head_dim")
    kernel = linear.integer("short_conv_kernel_size")
    size = intermediate_size(config, hidden, mixture)
    mixers = {
        Cache.FULL: attention_parts(config, style, attention, hidden),
        Cache.STATE: below(
            "self_attn",
            _kimi_delta_parts(
                hidden,
                heads,
                head_dim,
                kernel,
                full_rank_gate=linear.switch("use_full_rank_gate"),
            ),
        ),
    }
    dense = below("mlp", dense_parts(hidden, size))
    rest = feed_forwards(mixture, layers, hidden, dense)
    kinds = tuple(Cache.FULL if layer + 1 in full else Cache.STATE for layer in range(layers))
    return _hybrid(
        hidden,
        size,
        attention,
        tuple((kind, (*mixers[kind], *rest[layer])) for layer, kind in enumerate(kinds)),
        state=State(
            size=3 * heads * head_dim * (kernel - 1) * _BYTES_16_BIT
            + heads * head_dim * head_dim * _FLOAT32
        ),
        mixture=mixture,
        rotary=False,
    )


def _kimi_delta_parts(
    hidden: int, heads: int, head_dim: int, kernel: int, *, full_rank_gate: bool
) -> list[Part]:
    inner = heads * head_dim
    gate = (
        [matrix("g_proj", inner, hidden)]
        if full_rank_gate
        else [whole("g_a_proj", head_dim, hidden), matrix("g_b_proj", inner, head_dim)]
    )
    return [
        *(matrix(f"{name}_proj", inner, hidden) for name in "qkv"),
        vector("conv1d", 3 * inner * kernel, share=Share.SPLIT),
        whole("f_a_proj", head_dim, hidden),
        matrix("f_b_proj", inner, head_dim),
        vector("dt_bias", inner, share=Share.SPLIT, element_bytes=_FLOAT32),
        vector("A_log", heads, share=Share.SPLIT, element_bytes=_FLOAT32),
        router("b_proj", heads, hidden),
        *gate,
        vector("o_norm", head_dim),
        matrix("o_proj", hidden, inner),
    ]
