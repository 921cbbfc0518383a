"""Cosine and sine tables of rotary positions, which vLLM keeps on every GPU beside the weights.

Sizes: vllm-project/vllm vllm/model_executor/layers/rotary_embedding (one table for each shape; a
position takes as many elements as are rotated).
"""

from collections.abc import Mapping
from typing import Final

from kaito.domain.hf_config.config import Config
from kaito.domain.hf_config.parts import Decoder

_VIDEO_FACTOR: Final = 4  # MRotaryEmbedding makes room for the positions of videos


def rotary_elements(config: Config, decoder: Decoder, positions: int, *, video: bool) -> int:
    """Elements of all tables; `positions` is max_position_embeddings. Raises: InvalidModel."""
    if not decoder.rotary:
        return 0
    full = _parameters(config, "full_attention")
    head = decoder.attention.qk_rope_head_dim or decoder.attention.head_dim
    latent = decoder.attention.qk_rope_head_dim is not None
    count = _positions(full, positions) * (_VIDEO_FACTOR if video else 1)
    total = count * (head if latent else _rotated(config, full, head))
    other = _parameters(config, "sliding_attention")
    if decoder.local is not None and _differs(config, full, other, decoder):
        total += _positions(other, positions) * _rotated(config, other, decoder.local.head_dim)
    return total


def context_limit(config: Config, positions: int) -> int:
    """The longest context in tokens: `positions` (max_position_embeddings), stretched as the config
    says. Source: vllm-project/vllm vllm/config/model.py, _get_and_verify_max_len.
    """
    parameters = _parameters(config, "full_attention")
    longrope = parameters.text("rope_type", "type") == "longrope"  # it is stretched already
    stretched = longrope or _is_gemma3(config)
    return positions if stretched else _positions(parameters, positions)


def _parameters(config: Config, kind: str) -> Config:
    """rope_parameters of one kind of layer, or of all; rope_scaling in older files."""
    section = config.section("rope_parameters", "rope_scaling")
    if section is None:
        return Config({}, config.field("rope_scaling"))
    nested = section.values.get(kind)
    if isinstance(nested, Mapping):
        return Config(nested, section.field(kind))
    plain = kind == "sliding_attention" and _is_gemma3(config)
    return Config({}, section.field(kind)) if plain else section


def _is_gemma3(config: Config) -> bool:
    """Its windows have a base frequency of their own and are not stretched, told or not; its
    max_position_embeddings is what stretching leads to."""
    return config.text("model_type").startswith("gemma3")


def _differs(config: Config, full: Config, other: Config, decoder: Decoder) -> bool:
    bases = ("rope_local_base_freq", "swa_rope_theta")
    shapes = decoder.local is not None and decoder.local.head_dim != decoder.attention.head_dim
    return (
        shapes
        or _is_gemma3(config)
        or full.values != other.values
        or any(key in config for key in bases)
    )


def _rotated(config: Config, parameters: Config, head_dim: int) -> int:
    """Elements of a head that are rotated."""
    outer = config.number("partial_rotary_factor", default=config.number("rotary_pct", default=1))
    share = parameters.number("partial_rotary_factor", default=outer)
    if config.text("model_type").startswith("gemma4"):
        share = 1  # its proportional tables cover the whole head
    return int(head_dim * share)


def _positions(parameters: Config, positions: int) -> int:
    kind = parameters.text("rope_type", "type", default="default")
    original = parameters.optional("original_max_position_embeddings")
    factor = parameters.number("factor", default=1)
    if "yarn" in kind and original is not None:
        return int(original * factor)
    if kind in ("linear", "dynamic"):
        return int(positions * factor)
    if kind == "longrope":
        return positions + (original or 0)  # a table for short contexts, and one for long ones
    return positions
