"""Towers and projectors that turn images into tokens, from a vision_config.

Shapes: vllm-project/vllm vllm/model_executor/models/{qwen3_vl,siglip,pixtral,mllama4,
kimi_k25_vit,gemma4_mm}.py. A tower is a few per cent of a model, and its biases and norms a few per
mille of that, which are left out.
"""

from dataclasses import dataclass
from typing import Final

from kaito.domain.hf_config.class_defaults import vision_tower
from kaito.domain.hf_config.config import Config

_HIDDEN: Final = ("embed_dim", "hidden_size", "vt_hidden_size")
_LAYERS: Final = ("depth", "num_hidden_layers", "vt_num_hidden_layers")
_MLP: Final = ("intermediate_size", "vt_intermediate_size")
_CHANNELS: Final = 3
_DEEPSTACK: Final = 3  # mergers of Qwen3-VL's inner layers, without deepstack_visual_indexes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Projector:
    """Elements that go in (patches merged) and between its two layers; 0 is a single layer."""

    inputs: int
    between: int
    copies: int = 1


def vision_parameters(config: Config, architecture: str, text_hidden: int) -> int:
    """Parameters of what is described by `config`, a whole config.json; 0 without a tower.

    Raises: InvalidModel (sizes that are missing).
    """
    tower = vision_tower(config, architecture)
    if tower is None:
        return 0
    hidden, layers = tower.integer(*_HIDDEN), tower.integer(*_LAYERS)
    size = tower.integer(*_MLP, default=int(hidden * tower.number("mlp_ratio", default=4)))
    kind = tower.text("model_type") or config.text("model_type")
    gated = kind in ("pixtral", "gemma4_vision", "qwen2_5_vl")
    patch = tower.integer("patch_size", default=14)
    frames = tower.integer("temporal_patch_size", default=1)
    blocks = layers * (4 * hidden * hidden + (3 if gated else 2) * hidden * size)
    embeddings = hidden * (_CHANNELS * patch * patch * frames + _positions(tower, patch))
    outputs = tower.integer("out_hidden_size", default=text_hidden)
    projector = _projector(config, tower, kind, hidden, outputs)
    between = projector.between
    projections = projector.inputs * (between or outputs) + between * outputs
    return blocks + embeddings + projector.copies * projections + _extra(config, tower, kind)


def _positions(tower: Config, patch: int) -> int:
    """Learned positions; 0 where they are rotated in."""
    known = tower.optional("num_position_embeddings", "position_embedding_size")
    if known is not None:
        return known
    image = tower.optional("image_size")
    rotated = tower.text("model_type") == "pixtral" or image is None
    return 0 if rotated or image is None else (image // patch) ** 2


def _projector(config: Config, tower: Config, kind: str, hidden: int, outputs: int) -> _Projector:
    if kind.startswith("qwen"):
        merged = hidden * tower.integer("spatial_merge_size", default=2) ** 2
        listed = tower.integers("deepstack_visual_indexes")
        inner = _DEEPSTACK if kind.startswith("qwen3_vl") else 0
        count = inner if listed is None else len(listed)
        return _Projector(inputs=merged, between=merged, copies=1 + count)
    if "vt_hidden_size" in tower:  # MoonViT merges 2 x 2 patches
        merged = 4 * tower.integer("mm_hidden_size", "vt_hidden_size")
        return _Projector(inputs=merged, between=merged)
    if kind == "llama4_vision_model":
        return _Projector(inputs=tower.integer("vision_output_dim", default=4096), between=0)
    if kind.startswith(("gemma", "siglip")):
        return _Projector(inputs=hidden, between=0)
    return _Projector(
        inputs=hidden, between=config.integer("projector_hidden_size", default=outputs)
    )


def _extra(config: Config, tower: Config, kind: str) -> int:
    """Layers that merge patches before the projector."""
    if kind == "llama4_vision_model":
        # Its adapter: two layers over four patches that were shuffled into one.
        inputs = tower.integer("projector_input_dim", default=4096)
        outputs = tower.integer("projector_output_dim", default=4096)
        return tower.integer(*_MLP) * inputs + inputs * outputs
    if kind == "pixtral":
        hidden = tower.integer(*_HIDDEN)
        return hidden * hidden * config.integer("spatial_merge_size", default=1) ** 2
    return 0
