"""What nested configs leave out.

transformers writes a text_config or vision_config as its difference from the configuration class,
and vLLM reads it through that class, so a missing key has the class's value. A config.json of a
language model alone is written in full: there a missing key is an error.
Source: huggingface/transformers src/transformers/models/*/configuration_*.py.
"""

from collections.abc import Mapping
from typing import Any, Final

from kaito.domain.hf_config.config import Config

_TEXT: Final[Mapping[str, Mapping[str, Any]]] = {
    "gemma3_text": {
        "vocab_size": 262208,
        "hidden_size": 2304,
        "intermediate_size": 9216,
        "num_hidden_layers": 26,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
    "llama": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 2048,
    },
    "llama4_text": {
        "vocab_size": 202048,
        "hidden_size": 5120,
        "intermediate_size": 8192,
        "intermediate_size_mlp": 16384,
        "num_hidden_layers": 48,
        "num_attention_heads": 40,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 131072,
        "num_local_experts": 16,
        "num_experts_per_tok": 1,
        "attention_chunk_size": 8192,
    },
    "mistral": {
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
    },
}
_TOWERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "llama4_vision_model": {
        "hidden_size": 768,
        "intermediate_size": 5632,
        "num_hidden_layers": 34,
        "image_size": 448,
        "patch_size": 14,
        "vision_output_dim": 7680,
    },
    "pixtral": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "image_size": 1024,
        "patch_size": 16,
    },
    "siglip_vision_model": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "image_size": 224,
        "patch_size": 16,
    },
}
_TOWER_OF: Final[Mapping[str, Mapping[str, Any]]] = {
    "Gemma3ForConditionalGeneration": {"model_type": "siglip_vision_model"},
    "Llama4ForConditionalGeneration": {"model_type": "llama4_vision_model"},
    "Mistral3ForConditionalGeneration": {
        "model_type": "pixtral",
        "image_size": 1540,
        "patch_size": 14,
    },
}
"""Of architectures that have a tower even where vision_config is missing."""


def completed_text(config: Config) -> Config:
    """A nested language model's config with what its class adds."""
    return _completed(config, _TEXT)


def vision_tower(config: Config, architecture: str) -> Config | None:
    """The vision_config of a whole config.json, with what its class adds; None without a tower.

    Raises: InvalidModel (a vision_config that is no object).
    """
    tower = config.section("vision_config", "visual")
    if tower is None:
        given = _TOWER_OF.get(architecture)
        if given is None:
            return None
        tower = Config(given, "vision_config")
    return _completed(tower, _TOWERS)


def _completed(config: Config, classes: Mapping[str, Mapping[str, Any]]) -> Config:
    defaults = classes.get(config.text("model_type"), {})
    return Config({**defaults, **config.values}, config.path)
