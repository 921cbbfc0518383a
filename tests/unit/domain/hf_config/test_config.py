"""What is wrong with a config.json is named by key, value and remedy."""

from typing import Any

import pytest

from kaito.domain.errors import InvalidModel
from kaito.domain.hf_config import profile_from_config
from kaito.domain.model import EngineName, ModelProfile
from tests.unit.domain.hf_config.published import PRESETS, decoder, deepseek, nested

LLAMA = decoder("LlamaForCausalLM", 4, 64, (8, 2), 128, 1000)
MIXTRAL = LLAMA | {
    "architectures": ["MixtralForCausalLM"],
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
}
DEEPSEEK = deepseek("DeepseekV3ForCausalLM", 4, 64, 4, 8, 1000)
NEMOTRON = PRESETS["nvidia-nemotron-3-nano-30b-a3b-bf16"][0]
QWEN = PRESETS["qwen3.5-4b"][0]
GEMMA4 = PRESETS["gemma-4-31b-it"][0]
KIMI_LINEAR = deepseek("KimiLinearForCausalLM", 4, 64, 4, 8, 1000) | {
    "linear_attn_config": {
        "full_attn_layers": [4],
        "num_heads": 4,
        "head_dim": 16,
        "short_conv_kernel_size": 4,
    }
}


def read(config: dict[str, Any]) -> ModelProfile:
    return profile_from_config(config, name="m", source="a test")


def message(config: dict[str, Any]) -> str:
    with pytest.raises(InvalidModel) as caught:
        read(config)
    return str(caught.value)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LLAMA | {"architectures": None}, "architectures: is missing or empty."),
        (LLAMA | {"architectures": [7]}, "architectures: must be a list of strings, got [7]"),
        (
            LLAMA | {"architectures": ["LlamaForCasualLM"]},
            "vLLM does not know 'LlamaForCasualLM'. Did you mean LlamaForCausalLM",
        ),
        (
            LLAMA | {"architectures": ["WhisperForConditionalGeneration"]},
            "how 'WhisperForConditionalGeneration' is built is not known to kaito. Describe",
        ),
        (LLAMA | {"hidden_size": None}, "hidden_size: is missing (or n_embd, d_model). Take"),
        (LLAMA | {"hidden_size": 0}, "hidden_size: must be at least 1, got 0"),
        (LLAMA | {"hidden_size": "64"}, "hidden_size: must be a whole number, got '64'"),
        (LLAMA | {"num_hidden_layers": 10001}, "num_hidden_layers: must be at most 10000, got"),
        (LLAMA | {"num_hidden_layers": True}, "num_hidden_layers: must be a whole number"),
        (LLAMA | {"vocab_size": None}, "vocab_size: is missing. Take"),
        (LLAMA | {"max_position_embeddings": None}, "max_position_embeddings: is missing (or"),
        (LLAMA | {"torch_dtype": "float8"}, "torch_dtype: must be bfloat16, float16 or float32"),
        (LLAMA | {"torch_dtype": 16}, "torch_dtype: must be a string, got 16"),
        (LLAMA | {"tie_word_embeddings": "no"}, "tie_word_embeddings: must be true or false"),
        (LLAMA | {"num_key_value_heads": 3}, "3 KV heads do not divide 8 heads"),
        (LLAMA | {"num_key_value_heads": 16}, "16 KV heads do not divide 8 heads"),
        (LLAMA | {"hidden_size": 60}, "8 heads do not divide the hidden size 60, and head_dim is"),
        (
            LLAMA | {"layer_types": ["full_attention"]},
            "layer_types: has 1 entries for 4 layers (num_hidden_layers)",
        ),
        (LLAMA | {"layer_types": ["odd"] * 4}, "layer_types: has the unknown kind 'odd'. Kinds"),
        (
            LLAMA | {"layer_types_count": {"full_attention": 3}},
            "layer_types_count: counts 3 layers of 4 (num_hidden_layers)",
        ),
        (LLAMA | {"layer_types_count": 4}, "layer_types_count: must be an object, got 4"),
        (LLAMA | {"no_rope_layers": [1]}, "no_rope_layers: has 1 entries for 4 layers"),
        (LLAMA | {"no_rope_layers": ["x"]}, "no_rope_layers: must be a list of whole numbers"),
        (
            LLAMA | {"rope_scaling": {"factor": "x"}},
            "rope_scaling.factor: must be a number above 0",
        ),
        (MIXTRAL | {"num_experts_per_tok": 5}, "num_experts_per_tok: 5 experts per token of 4"),
        (MIXTRAL | {"num_experts_per_tok": None}, "num_experts_per_tok: is missing (or"),
        (MIXTRAL | {"moe_layer_freq": [1]}, "moe_layer_freq: has 1 entries for 4 layers"),
        (
            DEEPSEEK | {"first_k_dense_replace": 5},
            "first_k_dense_replace: 5 dense layers of 4 in all",
        ),
        (DEEPSEEK | {"qk_nope_head_dim": None}, "qk_nope_head_dim: is missing"),
        (nested("Gemma3ForConditionalGeneration", {}), "text_config.num_hidden_layers: is"),
        (
            NEMOTRON | {"hybrid_override_pattern": "MX"},
            "hybrid_override_pattern: must have one of M, *, - and E for each of the 52 layers",
        ),
        (
            NEMOTRON | {"hybrid_override_pattern": None, "num_hidden_layers": None},
            "num_hidden_layers: is missing",
        ),
        (KIMI_LINEAR | {"linear_attn_config": None}, "linear_attn_config: is missing"),
        (
            KIMI_LINEAR
            | {
                "linear_attn_config": {**KIMI_LINEAR["linear_attn_config"], "full_attn_layers": [5]}
            },
            "linear_attn_config.full_attn_layers: names layers beyond the 4",
        ),
        (
            GEMMA4 | {"text_config": GEMMA4["text_config"] | {"num_kv_shared_layers": 60}},
            "text_config.num_kv_shared_layers: 60 layers share a cache of 60 in all",
        ),
        (
            QWEN | {"vision_config": {"hidden_size": 8}},
            "vision_config.depth: is missing (or num_hidden_layers, vt_num_hidden_layers)",
        ),
    ],
)
def test_an_error_names_key_value_and_remedy(config: dict[str, Any], expected: str) -> None:
    found = message(config)
    assert expected in found
    assert found.count(". ") >= 1, "a remedy follows"


def test_weights_of_nothing_are_refused() -> None:
    with pytest.raises(InvalidModel, match=r"weight_bytes: must be at least 1, got 0\. Fetch"):
        profile_from_config(LLAMA, name="m", weight_bytes=0, source="a test")


def test_the_size_of_the_files_goes_before_what_is_counted() -> None:
    found = profile_from_config(LLAMA, name="m", hf_id="a/b", weight_bytes=5, source="a test")
    assert found.weight_bytes == 5
    assert found.weights is not None
    assert found.weights.total > 5
    assert read(LLAMA).weight_bytes == found.weights.total


def test_what_it_can_be_served_with() -> None:
    assert read(LLAMA).runtimes == (EngineName.VLLM, EngineName.TRANSFORMERS)
    assert read(LLAMA | {"quantization_config": {"quant_method": "fp8"}}).runtimes == (
        EngineName.VLLM,
    )
    assert read(QWEN).runtimes == (EngineName.VLLM,)
    assert read(PRESETS["deepseek-v3.2"][0]).min_compute_capability == (9, 0)


def test_float32_is_served_in_16_bits() -> None:
    found = read(LLAMA | {"torch_dtype": "float32"})
    assert found.dtype == "bfloat16"
    assert found.weights == read(LLAMA).weights
    older = LLAMA | {"torch_dtype": "torch.float16"}
    assert read(older).dtype == "float16"
    assert read(LLAMA | {"torch_dtype": None}).dtype == "bfloat16"


def test_embeddings_are_tied_where_the_config_or_the_family_says_so() -> None:
    tied = read(LLAMA | {"tie_word_embeddings": True}).weights
    assert tied is not None
    assert tied.lm_head == 0
    unsaid = {**LLAMA, "tie_word_embeddings": None}
    assert not read(unsaid).tied_embeddings
    assert read(unsaid | {"model_type": "gemma"}).tied_embeddings


def test_the_vocabulary_is_padded_as_vllm_does() -> None:
    weights = read(LLAMA).weights
    assert weights is not None
    assert weights.embedding == weights.lm_head == 1024 * 64 * 2


def test_what_tensor_parallelism_divides() -> None:
    weights = read(LLAMA).weights
    assert weights is not None
    heads = 64 * (8 + 2 + 2 + 8) * 8
    assert weights.layers[0].sharded == 2 * (heads + 3 * 64 * 128)
    assert weights.layers[0].replicated == 2 * 2 * 64
    assert weights.layers[0].experts == 0
    assert weights.final_norm == 2 * 64
    mixture = read(MIXTRAL).weights
    assert mixture is not None
    assert mixture.layers[0].experts == 2 * 4 * 3 * 64 * 128
    assert mixture.layers[0].replicated == 2 * (2 * 64 + 4 * 64)
    parts = mixture.embedding + mixture.lm_head + mixture.final_norm
    assert mixture.total == parts + sum(layer.total for layer in mixture.layers)


def test_latent_projections_down_lie_on_every_rank() -> None:
    weights = read(DEEPSEEK).weights
    assert weights is not None
    down = (512 + 64) * 64 + 1536 * 64
    norms = 512 + 1536 + 2 * 64
    assert weights.layers[0].replicated == 2 * (down + norms)
    assert weights.layers[0].experts == 0
    assert weights.layers[3].experts == 2 * 8 * 3 * 64 * 2048
    straight = read(DEEPSEEK | {"q_lora_rank": None}).weights
    assert straight is not None
    assert straight.layers[0].replicated == 2 * ((512 + 64) * 64 + 512 + 2 * 64)


@pytest.mark.parametrize(
    ("more", "local", "window"),
    [
        ({"sliding_window": 16}, 0, None),  # all layers have it, as in Mistral 7B v0.1
        ({"sliding_window": 16, "sliding_window_pattern": 2}, 2, 16),
        ({"sliding_window": 16, "sliding_window_pattern": 2, "use_sliding_window": False}, 0, None),
        (
            {
                "sliding_window": 16,
                "layer_types": ["sliding_attention"] * 3 + ["full_attention"],
            },
            3,
            16,
        ),
        ({"layer_types": ["sliding_attention"] * 3 + ["full_attention"]}, 0, None),
        (
            {
                "sliding_window": 16,
                "layer_types_count": {"sliding_attention": 3, "full_attention": 1},
            },
            3,
            16,
        ),
        ({"sliding_window_size": 16, "hybrid_layer_pattern": [1, 0, 1, 1]}, 3, 16),
    ],
)
def test_windows(more: dict[str, Any], local: int, window: int | None) -> None:
    found = read(LLAMA | more)
    assert (found.local_attention.layers if found.local_attention else 0) == local
    assert (found.local_attention.window if found.local_attention else None) == window
    assert found.full_attention_layers == 4 - local
    assert found.attention.sliding_window == (
        16 if "sliding_window" in more and len(more) == 1 else None
    )


def test_a_window_that_no_context_reaches_is_none() -> None:
    assert read(LLAMA | {"sliding_window": 131072}).attention.sliding_window is None


def test_heads_without_a_number_of_kv_heads() -> None:
    unsaid = LLAMA | {"num_key_value_heads": None}
    assert read(unsaid).attention.kind == "MHA"
    assert read(unsaid | {"multi_query": True}).attention.kind == "MQA"


def test_layers_with_a_window_may_have_heads_of_their_own() -> None:
    more = {
        "sliding_window": 16,
        "hybrid_layer_pattern": [0, 1, 1, 1],
        "swa_num_attention_heads": 8,
        "swa_num_key_value_heads": 4,
        "v_head_dim": 4,
    }
    mimo = read(LLAMA | {"architectures": ["MiMoV2FlashForCausalLM"]} | more)
    assert mimo.attention.kv_heads == 2
    assert mimo.attention.cached_elements() == 2 * (8 + 4)
    assert mimo.local_attention is not None
    assert mimo.local_attention.attention.kv_heads == 4
    step = read(
        LLAMA
        | {
            "architectures": ["Step3p5ForCausalLM"],
            "sliding_window": 16,
            "attention_other_setting": {
                "num_attention_heads": 16,
                "num_attention_groups": 8,
                "head_dim": 8,
            },
        }
    )
    assert step.local_attention is not None
    assert step.local_attention.attention.kv_heads == 8
    assert step.local_attention.window == 16
    gemma = read(PRESETS["gemma-4-26b-a4b-it"][0])
    assert (gemma.attention.head_dim, gemma.attention.kv_heads) == (512, 2)


def test_chunks_are_told_from_windows() -> None:
    text = LLAMA | {
        "attention_chunk_size": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 1,
        "interleave_moe_layer_step": 2,
        "intermediate_size_mlp": 256,
    }
    found = read(nested("Llama4ForConditionalGeneration", text))
    assert found.local_attention is not None
    assert found.local_attention.chunked
    assert found.local_attention.layers == 3
    assert found.experts is not None
    assert (found.experts.layers, found.experts.intermediate_size) == (2, 128)
    assert found.intermediate_size == 256


def test_the_last_blocks_of_gemma_4_use_the_cache_of_earlier_ones() -> None:
    text = GEMMA4["text_config"] | {
        "num_kv_shared_layers": 20,
        "hidden_size_per_layer_input": 16,
        "use_double_wide_mlp": True,
    }
    found = read(GEMMA4 | {"text_config": text})
    plain = read(GEMMA4)
    assert found.cacheless_layers == 20
    assert found.weights is not None
    assert plain.weights is not None
    assert found.weights.layers[-1].sharded > 1.5 * plain.weights.layers[-1].sharded
    per_layer = 262144 * 60 * 16 + 60 * 16 * 5376 + 16
    assert found.weights.embedding == plain.weights.embedding + 2 * per_layer
    only_full = text | {"layer_types_count": {"full_attention": 60}}
    assert read(GEMMA4 | {"text_config": only_full}).local_attention is None


def test_states_of_hybrids() -> None:
    kimi = read(KIMI_LINEAR)
    assert kimi.recurrent is not None
    assert kimi.recurrent.layers == 3
    assert kimi.recurrent.state_bytes == 3 * 64 * 3 * 2 + 4 * 16 * 16 * 4
    assert kimi.attention.kind == "MLA"
    linear = KIMI_LINEAR["linear_attn_config"] | {"use_full_rank_gate": True}
    assert read(KIMI_LINEAR | {"linear_attn_config": linear}).parameters > kimi.parameters
    half = NEMOTRON | {"mamba_ssm_cache_dtype": "bfloat16"}
    assert read(NEMOTRON | {"mamba_ssm_cache_dtype": None}) == read(NEMOTRON)  # float32 by default
    small, large = read(half).recurrent, read(NEMOTRON).recurrent
    assert small is not None
    assert large is not None
    assert large.state_bytes - small.state_bytes == 64 * 64 * 128 * 2
    counted = QWEN["text_config"] | {
        "layer_types_count": {"linear_attention": 24, "full_attention": 8}
    }
    assert read(QWEN | {"text_config": counted}).recurrent == read(QWEN).recurrent


def test_nemotrons_blocks_by_letter_by_name_and_by_number() -> None:
    pattern = NEMOTRON["hybrid_override_pattern"]
    names = {"M": "mamba", "E": "moe", "*": "attention", "-": "mlp"}
    listed = NEMOTRON | {
        "hybrid_override_pattern": None,
        "layers_block_type": [names[letter] for letter in pattern],
    }
    assert read(listed) == read(NEMOTRON)
    counts = {name: pattern.count(letter) for letter, name in names.items()}
    folded = listed | {"layers_block_type": counts, "num_hidden_layers": None}
    assert read(folded).parameters == read(NEMOTRON).parameters
    dense = NEMOTRON | {
        "hybrid_override_pattern": "*-",
        "num_hidden_layers": 2,
        "intermediate_size": 8,
        "n_routed_experts": None,
    }
    found = read(dense)
    assert (found.recurrent, found.experts, found.cacheless_layers) == (None, None, 1)
    assert found.intermediate_size == 8


def test_granite_4() -> None:
    config = LLAMA | {
        "architectures": ["GraniteMoeHybridForCausalLM"],
        "layer_types": ["mamba", "mamba", "mamba", "attention"],
        "mamba_n_heads": 8,
        "mamba_d_head": 16,
        "mamba_n_groups": 1,
        "mamba_d_state": 32,
        "mamba_d_conv": 4,
        "mamba_conv_bias": True,
        "shared_intermediate_size": 128,
    }
    dense = read(config)
    assert dense.recurrent is not None
    assert dense.recurrent.state_bytes == (128 + 64) * 3 * 2 + 128 * 32 * 2
    # One group of B and C, which every rank holds.
    assert dense.recurrent.whole_bytes == 64 * 3 * 2
    assert dense.recurrent.bytes_per_gpu(4) == 64 * 3 * 2 + (128 * 3 * 2 + 128 * 32 * 2) // 4
    assert dense.experts is None
    assert dense.weights is not None
    assert dense.weights.rotary == 0
    mixed = config | {"num_local_experts": 4, "num_experts_per_tok": 2, "intermediate_size": 32}
    experts = read(mixed).experts
    assert experts is not None
    assert (experts.count, experts.intermediate_size) == (4, 32)


def test_sparse_attention_has_an_indexer() -> None:
    sparse = {
        "use_sparse_attention": True,
        "sparse_index_dim": 128,
        "sparse_num_index_heads": 4,
        "sparse_attention_freq": [0, 1, 1, 1],
    }
    config = MIXTRAL | {"architectures": ["MiniMaxM3ForCausalLM"]}
    found = read(config | {"sparse_attention_config": sparse})
    assert found.indexer is not None
    assert found.indexer.layers == 3
    assert found.indexer.cached_bytes == 2 * 128
    off = sparse | {"use_sparse_attention": False}
    assert read(config | {"sparse_attention_config": off}).indexer is None


def test_where_experts_are() -> None:
    listed = read(MIXTRAL | {"moe_layer_freq": [0, 0, 1, 1]}).experts
    assert listed is not None
    assert listed.layers == 2
    second = read(MIXTRAL | {"decoder_sparse_step": 2, "mlp_only_layers": [1]}).experts
    assert second is not None
    assert second.layers == 1
    assert read(MIXTRAL | {"mlp_only_layers": [0, 1, 2, 3]}).experts is None


def test_shared_experts() -> None:
    plain = read(MIXTRAL).parameters
    one = read(MIXTRAL | {"n_shared_experts": 1}).parameters
    assert one - plain == 4 * 3 * 64 * 128
    sized = read(MIXTRAL | {"n_shared_experts": 2, "shared_intermediate_size": 32}).parameters
    assert sized - plain == 4 * 3 * 64 * 2 * 32
    stated = MIXTRAL | {"architectures": ["Qwen2MoeForCausalLM"]}
    gated = stated | {"shared_expert_intermediate_size": 32}
    assert read(gated).parameters - read(stated).parameters == 4 * (3 * 64 * 32 + 64)


def test_a_tower_that_is_not_told_is_the_classes_own() -> None:
    """transformers' Llama4VisionConfig: 34 layers of 768, 32 x 32 patches of 14 x 14."""
    found = read(nested("Llama4ForConditionalGeneration", {"model_type": "llama4_text"})).weights
    blocks = 34 * (4 * 768**2 + 2 * 768 * 5632)
    patches = 768 * (3 * 14**2 + 32**2)
    projected = 5632 * 4096 + 4096**2 + 7680 * 5120
    assert found is not None
    assert found.vision == 2 * (blocks + patches + projected)
    assert read(nested("Mistral3ForConditionalGeneration", LLAMA)).weights is not None
    plain = read(nested("KimiK25ForConditionalGeneration", DEEPSEEK)).weights
    assert plain is not None
    assert plain.vision == 0


def test_only_nested_configs_may_leave_out_what_their_class_has() -> None:
    text = {"model_type": "gemma3_text", "num_hidden_layers": 34, "hidden_size": 2560}
    found = read(nested("Gemma3ForConditionalGeneration", text))
    assert (found.attention.heads, found.vocab_size, found.token_limit) == (8, 262208, 131072)
    flat = text | {"architectures": ["Gemma3ForCausalLM"]}
    assert "num_attention_heads: is missing" in message(flat)


def test_a_tower_may_be_of_a_model_that_names_its_language_model() -> None:
    text = LLAMA | {"architectures": ["Qwen2ForCausalLM"]}
    found = read(
        nested("InternVLChatModel", text, vision_config={"hidden_size": 8, "num_hidden_layers": 2})
    )
    assert found.architecture == "InternVLChatModel"
    assert found.weights is not None
    assert found.weights.vision > 0
    unnamed = nested("InternVLChatModel", LLAMA | {"architectures": None})
    assert "how 'InternVLChatModel' is built" in message(unnamed)


@pytest.mark.parametrize(
    ("tower", "parameters"),
    [
        # Elements: blocks, patches, then what projects them.
        ({"model_type": "siglip", "image_size": 28}, 2 * 768 + 8 * (588 + 4) + 8 * 64),
        ({"model_type": "pixtral"}, 2 * 1024 + 8 * 768 + 8 * 64 + 64 * 64 + 4 * 64),
        (
            {
                "model_type": "llama4_vision_model",
                "vision_output_dim": 16,
                "projector_input_dim": 12,
                "projector_output_dim": 10,
            },
            2 * 768 + 8 * 588 + 8 * 32**2 + 16 * 64 + 32 * 12 + 12 * 10,
        ),
        (
            {"model_type": "qwen3_vl", "deepstack_visual_indexes": [1]},
            2 * 768 + 8 * 588 + 2 * (32 * 32 + 32 * 64),
        ),
        ({"model_type": "qwen3_vl"}, 2 * 768 + 8 * 588 + 4 * (32 * 32 + 32 * 64)),
        ({"model_type": "qwen2_vl"}, 2 * 768 + 8 * 588 + 32 * 32 + 32 * 64),
        ({"image_size": 28}, 2 * 768 + 8 * (588 + 4) + 8 * 64 + 64 * 64),
    ],
)
def test_towers(tower: dict[str, Any], parameters: int) -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 32} | tower
    config = nested(
        "Mistral3ForConditionalGeneration", LLAMA, vision_config=sizes, spatial_merge_size=2
    )
    found = read(config).weights
    assert found is not None
    assert found.vision == 2 * parameters


@pytest.mark.parametrize(
    ("more", "elements"),
    [
        ({}, 131072 * 8),
        ({"partial_rotary_factor": 0.5}, 131072 * 4),
        ({"rotary_pct": 0.25}, 131072 * 2),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, 131072 * 4),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}}, 131072 * 8),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, 2 * 131072 * 8),
        (
            {
                "rope_scaling": {
                    "type": "yarn",
                    "factor": 4.0,
                    "original_max_position_embeddings": 4096,
                }
            },
            4 * 4096 * 8,
        ),
        (
            {"rope_scaling": {"type": "longrope", "original_max_position_embeddings": 4096}},
            (131072 + 4096) * 8,
        ),
        ({"rope_scaling": {"type": "longrope"}}, 131072 * 8),
        (
            {
                "sliding_window": 16,
                "sliding_window_pattern": 2,
                "rope_parameters": {
                    "full_attention": {"partial_rotary_factor": 0.5},
                    "sliding_attention": {},
                },
            },
            131072 * (4 + 8),
        ),
        ({"sliding_window": 16, "sliding_window_pattern": 2}, 131072 * 8),
        (
            {"sliding_window": 16, "sliding_window_pattern": 2, "rope_local_base_freq": 1e4},
            131072 * (8 + 8),
        ),
    ],
)
def test_tables_of_positions(more: dict[str, Any], elements: int) -> None:
    weights = read(LLAMA | more).weights
    assert weights is not None
    assert weights.rotary == 2 * elements


@pytest.mark.parametrize(
    ("scaling", "limit"),
    [
        (None, 131072),
        ({"rope_type": "llama3", "factor": 8.0, "original_max_position_embeddings": 8192}, 131072),
        ({"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 65536}, 262144),
        ({"type": "dynamic", "factor": 2.0}, 262144),
        ({"type": "longrope", "original_max_position_embeddings": 4096}, 131072),
    ],
)
def test_how_far_positions_are_stretched(scaling: dict[str, Any] | None, limit: int) -> None:
    assert read(LLAMA | {"rope_scaling": scaling}).token_limit == limit


def test_limits_by_other_names() -> None:
    """model_max_length goes before (Command R); Falcon's files state none."""
    assert read(LLAMA | {"model_max_length": 4096}).token_limit == 4096
    falcon = LLAMA | {"architectures": ["FalconForCausalLM"], "model_type": "falcon"}
    found = read(falcon | {"max_position_embeddings": None, "intermediate_size": None})
    assert found.token_limit == 2048
    assert found.intermediate_size == 4 * 64


def test_gemma_3_states_positions_that_are_stretched_already() -> None:
    """The full layers' table is that of stretched positions, the windows' that of plain ones."""
    gemma = LLAMA | {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        "sliding_window": 16,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }
    found = read(gemma | {"layer_types": ["full_attention", *["sliding_attention"] * 3]})
    assert found.token_limit == 131072
    assert found.weights is not None
    assert found.weights.rotary == 2 * (8 + 1) * 131072 * 8


def test_tables_of_latent_attention_videos_and_gemma_4() -> None:
    latent, video, gemma = read(DEEPSEEK).weights, read(QWEN).weights, read(GEMMA4).weights
    assert latent is not None
    assert video is not None
    assert gemma is not None
    assert latent.rotary == 2 * 131072 * 64
    assert video.rotary == 2 * 4 * 131072 * 256
    assert gemma.rotary == 2 * 131072 * (512 + 256)
