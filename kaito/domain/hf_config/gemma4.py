"""Gemma 4: two shapes of attention, caches shared by the last blocks, experts beside the MLP.

Source: vllm-project/vllm vllm/model_executor/models/gemma4.py.
"""

from dataclasses import replace

from kaito.domain.hf_config.attention import grouped_parts
from kaito.domain.hf_config.config import Config, invalid
from kaito.domain.hf_config.decoder import (
    HIDDEN,
    Style,
    attention_shapes,
    block,
    layer_count,
    layer_kinds,
)
from kaito.domain.hf_config.feed_forward import dense_parts, mixture_of
from kaito.domain.hf_config.parts import (
    Cache,
    Decoder,
    Part,
    Share,
    below,
    matrix,
    router,
    vector,
    whole,
)


def read_gemma4(config: Config) -> Decoder:
    """Raises: InvalidModel."""
    layers, hidden = layer_count(config), config.integer(*HIDDEN)
    size = config.integer("intermediate_size")
    kinds = layer_kinds(config, layers, Style(full_every=6))
    full, local = attention_shapes(config, hidden)
    shared = config.integer("num_kv_shared_layers", default=0, least=0)
    if shared >= layers:
        raise invalid(
            config.field("num_kv_shared_layers"),
            f"{shared} layers share a cache of {layers} in all (num_hidden_layers)",
        )
    # Where keys serve as values (attention_k_eq_v) vLLM loads them twice.
    attend = {
        Cache.FULL: below("self_attn", grouped_parts(full, hidden, norm="head")),
        Cache.LOCAL: below("self_attn", grouped_parts(local, hidden, norm="head")),
    }
    where = (config.switch("enable_moe_block"),) * layers
    mixture = mixture_of(config, hidden, where, name="moe")
    beside = config.integer("hidden_size_per_layer_input", default=0, least=0)
    rest: list[Part] = [vector("norms", (7 if mixture else 4) * hidden + 1)]
    if mixture:
        experts = tuple(
            replace(part, name="router.proj") if part.name == "moe.gate" else part
            for part in mixture.parts(hidden)
        )
        rest += [*experts, vector("router.scale", hidden + mixture.count)]
    if beside:
        rest += [
            router("per_layer_input_gate", beside, hidden),
            router("per_layer_projection", hidden, beside),
            vector("post_per_layer_input_norm", hidden),
        ]
    wide = config.switch("use_double_wide_mlp")
    plain = below("mlp", dense_parts(hidden, size))
    doubled = below("mlp", dense_parts(hidden, 2 * size))
    own = layers - shared  # blocks with a cache of their own
    blocks = tuple(
        block(
            layer,
            kind if layer < own else Cache.NONE,
            (
                *attend[kind],
                *(doubled if wide and layer >= own else plain),
                *rest,
            ),
        )
        for layer, kind in enumerate(kinds)
    )
    return Decoder(
        hidden=hidden,
        intermediate=size,
        attention=replace(full, sliding_window=None),
        local=replace(local, sliding_window=None) if Cache.LOCAL in kinds else None,
        window=local.sliding_window,
        blocks=blocks,
        experts=mixture.experts(hidden) if mixture else None,
        final_norm=hidden,
        beside=_per_layer_embedding(config, layers, hidden, beside) if beside else (),
    )


def _per_layer_embedding(config: Config, layers: int, hidden: int, size: int) -> tuple[Part, ...]:
    vocabulary = config.integer("vocab_size_per_layer_input", "vocab_size")
    return (
        replace(matrix("embed_tokens_per_layer", vocabulary, layers * size), linear=False),
        whole("per_layer_model_projection", layers * size, hidden),
        vector("per_layer_projection_norm", size, share=Share.WHOLE),
    )
