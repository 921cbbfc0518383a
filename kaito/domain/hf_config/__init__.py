"""From a Hugging Face config.json to a ModelProfile, with the weights of each block.

The parts of each block (`parts.py`) are listed as vLLM builds them, from the config alone, and
counted in their number formats (`formats.py`).
"""

from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from typing import Any, Final

from kaito.domain.errors import InvalidModel
from kaito.domain.hf_config.architectures import KNOWN_TO_VLLM
from kaito.domain.hf_config.class_defaults import completed_text
from kaito.domain.hf_config.config import Config, invalid
from kaito.domain.hf_config.families import (
    EMBEDDING_EVERYWHERE,
    HEAD_EVERYWHERE,
    READERS,
    TEXT_MODELS,
)
from kaito.domain.hf_config.formats import part_bytes, predominant
from kaito.domain.hf_config.parts import Cache, Decoder, Part, Share
from kaito.domain.hf_config.quantization import Scheme, cache_dtype, scheme_of
from kaito.domain.hf_config.rotary import context_limit, rotary_elements
from kaito.domain.hf_config.vision import vision_parameters
from kaito.domain.model import (
    BYTES_PER_PARAMETER,
    Attention,
    EngineName,
    LocalAttention,
    ModelProfile,
    RecurrentLayers,
)
from kaito.domain.names import did_you_mean
from kaito.domain.quantity import GIB
from kaito.domain.weights import LayerWeights, WeightLayout

__all__ = ["InvalidModel", "profile_from_config"]

_VOCABULARY_MULTIPLE: Final = 64  # vllm .../vocab_parallel_embedding.py, DEFAULT_VOCAB_PADDING_SIZE
_DISK_BESIDE_WEIGHTS: Final = 80 * GIB  # image and working space, as in KAITO's catalogue
_SPARSE_ATTENTION: Final = (9, 0)  # vllm/v1/attention/backends/mla/flashmla_sparse.py
_LIMIT: Final = (  # vllm/transformers_utils/model_arch_config_convertor.py
    "max_position_embeddings",
    "n_positions",
    "max_seq_len",
    "seq_length",
    "max_sequence_length",
)
_FALCON_LIMIT: Final = 2048  # that of transformers' class; published files do not state it


def profile_from_config(
    config: Mapping[str, Any],
    *,
    name: str,
    hf_id: str = "",
    weight_bytes: int | None = None,
    source: str,
) -> ModelProfile:
    """What the config.json `config` describes; `weight_bytes` are of the files that are loaded,
    None counts them from the config alone.

    Raises: InvalidModel (an architecture that is not known or not read, a key that is missing,
    contradicts another or has an impossible value).
    """
    whole = Config(config)
    architecture = _architecture(whole)
    inner = whole.section("text_config", "llm_config", "language_config")
    text = whole if inner is None else completed_text(inner)
    language = TEXT_MODELS.get(architecture, architecture)
    if language not in READERS and inner is not None:
        language = next(iter(inner.strings("architectures")), language)
    reader = READERS.get(language)
    if reader is None:
        raise _unread(architecture)
    decoder = reader(text)
    vocabulary = text.integer("vocab_size")
    dtype = _dtype(text, whole)
    tied = _tied(text, whole)
    linears = [name for block in decoder.blocks for name in block.linears]
    scheme = scheme_of(whole, text, linears)
    width = BYTES_PER_PARAMETER[dtype]
    layout, quantization = _layout(decoder, vocabulary, scheme, tied=tied, width=width)
    falcon = text.text("model_type") == "falcon"
    # Goes before the others, as with Command R: derive_max_model_len_and_key of that module.
    positions = text.optional("model_max_length") or text.integer(
        *_LIMIT, default=_FALCON_LIMIT if falcon else None
    )
    limit = context_limit(text, positions)
    tower = vision_parameters(whole, architecture, decoder.hidden)
    video = architecture.startswith("Qwen") and architecture != language
    layout = replace(
        layout,
        vision=tower * width,
        embedding_everywhere=language in EMBEDDING_EVERYWHERE,
        head_everywhere=language in HEAD_EVERYWHERE,
        rotary=rotary_elements(text, decoder, positions, video=video) * width,
    )
    parameters = _parameters(decoder, vocabulary, tied=tied) + tower
    size = layout.total if weight_bytes is None else weight_bytes
    if size < 1:
        raise invalid("weight_bytes", f"must be at least 1, got {size}", "Fetch the weights again")
    locals_ = decoder.count(Cache.LOCAL)
    states = decoder.count(Cache.STATE)
    return ModelProfile(
        name=name,
        hf_id=hf_id,
        revision=None,
        license="unknown",
        architecture=architecture,
        layers=len(decoder.blocks),
        hidden_size=decoder.hidden,
        intermediate_size=decoder.intermediate,
        attention=_within(decoder.attention, limit),
        vocab_size=vocabulary,
        tied_embeddings=tied,
        token_limit=limit,
        weight_bytes=size,
        dtype=dtype,
        quantization=quantization,
        disk_bytes=ceil(size / GIB) * GIB + _DISK_BESIDE_WEIGHTS,
        runtimes=_runtimes(architecture, quantization),
        least_compute_capability=_SPARSE_ATTENTION if decoder.indexer else None,
        local_attention=LocalAttention(
            layers=locals_,
            window=decoder.window,
            attention=decoder.local,
            chunked=decoder.chunked,
        )
        if decoder.local and decoder.window
        else None,
        recurrent=RecurrentLayers(
            layers=states, state_bytes=decoder.state.size, whole_bytes=decoder.state.whole
        )
        if states and decoder.state
        else None,
        cacheless_layers=decoder.count(Cache.NONE),
        indexer=decoder.indexer,
        experts=decoder.experts,
        weights=layout,
        kv_cache_dtype=cache_dtype(whole, text),
        stated_parameters=parameters,
        source=source,
    )


def _runtimes(architecture: str, quantization: str | None) -> tuple[EngineName, ...]:
    """transformers serves language models that are not quantised, too."""
    plain = quantization is None and architecture.endswith("ForCausalLM")
    return (EngineName.VLLM, EngineName.TRANSFORMERS) if plain else (EngineName.VLLM,)


def _within(attention: Attention, limit: int) -> Attention:
    """Without a window that no context reaches."""
    window = attention.sliding_window
    return (
        attention if window is None or window < limit else replace(attention, sliding_window=None)
    )


def _architecture(config: Config) -> str:
    names = config.strings("architectures")
    if not names:
        raise invalid("architectures", "is missing or empty")
    return names[0]


def _unread(architecture: str) -> InvalidModel:
    if architecture in KNOWN_TO_VLLM:
        return invalid(
            "architectures",
            f"how {architecture!r} is built is not known to kaito",
            "Describe the model in a file of its own (docs/models.md)",
        )
    near = did_you_mean(architecture, sorted(KNOWN_TO_VLLM | READERS.keys()))
    return invalid("architectures", f"vLLM does not know {architecture!r}", near)


def _dtype(text: Config, whole: Config) -> str:
    """The number format that vLLM's --dtype auto chooses: float32 becomes 16 bits.

    Source: vllm-project/vllm vllm/config/model.py, _resolve_auto_dtype.
    """
    name = text.text("dtype", "torch_dtype") or whole.text("dtype", "torch_dtype")
    dtype = name.removeprefix("torch.") or "bfloat16"
    if dtype == "float32":
        return "bfloat16"
    if dtype not in ("bfloat16", "float16"):
        raise invalid("torch_dtype", f"must be bfloat16, float16 or float32, got {name!r}")
    return dtype


def _tied(text: Config, whole: Config) -> bool:
    inner = "tie_word_embeddings" in text
    return (text if inner else whole).switch("tie_word_embeddings", default=_tied_by_default(text))


_TIED: Final = ("cohere", "ernie4_5", "falcon", "gemma", "minicpm", "smollm3", "starcoder2")


def _tied_by_default(text: Config) -> bool:
    """Source: the families' configuration classes in huggingface/transformers."""
    return text.text("model_type").startswith(_TIED)


def _layout(
    decoder: Decoder, vocabulary: int, scheme: Scheme, *, tied: bool, width: int
) -> tuple[WeightLayout, str | None]:
    """The weights, and the name of the format that most of the linear layers are in."""
    padded = ceil(vocabulary / _VOCABULARY_MULTIPLE) * _VOCABULARY_MULTIPLE
    embedding = Part(name="model.embed_tokens", outputs=padded, inputs=decoder.hidden)
    head = Part(name="lm_head", outputs=padded, inputs=decoder.hidden, bias=decoder.head_bias)
    elements: dict[str, int] = {}
    layers = []
    for block in decoder.blocks:
        sizes = dict.fromkeys(Share, 0)
        for part in block.parts:
            chosen = scheme.format_of(f"{block.name}.{part.name}") if part.linear else None
            sizes[part.share] += part_bytes(part, width, chosen)
            if chosen is not None:
                elements[chosen.name] = elements.get(chosen.name, 0) + part.parameters
        layers.append(
            LayerWeights(
                sharded=sizes[Share.SPLIT],
                replicated=sizes[Share.WHOLE],
                experts=sizes[Share.EXPERTS],
            )
        )
    layout = WeightLayout(
        embedding=part_bytes(embedding, width, None)
        + sum(part_bytes(part, width, None) for part in decoder.beside),
        lm_head=0 if tied else part_bytes(head, width, scheme.format_of(head.name)),
        layers=tuple(layers),
        final_norm=decoder.final_norm * width,
    )
    return layout, predominant(elements)


def _parameters(decoder: Decoder, vocabulary: int, *, tied: bool) -> int:
    parts = [*decoder.beside, *(part for block in decoder.blocks for part in block.parts)]
    embeddings = vocabulary * decoder.hidden * (1 if tied else 2) + vocabulary * decoder.head_bias
    return sum(part.parameters for part in parts) + embeddings + decoder.final_norm
