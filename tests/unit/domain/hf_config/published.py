"""The sizes that the config.json of well-known models state, as far as they are needed.

Written down for these tests; what they add up to is held against the sizes of the published weight
files, which the catalogue has from KAITO's (`weights` in presets/models).
"""

from typing import Any

Config = dict[str, Any]

FP8_BLOCKS: Config = {"quant_method": "fp8", "weight_block_size": [128, 128]}
MXFP4: Config = {
    "quant_method": "mxfp4",
    "modules_to_not_convert": ["model.layers.*.self_attn", "model.embed_tokens", "lm_head"],
}


def decoder(
    architecture: str,
    layers: int,
    hidden: int,
    heads: tuple[int, int],
    mlp: int,
    vocabulary: int,
    **more: Any,
) -> Config:
    """`heads` are query and KV heads."""
    return {
        "architectures": [architecture],
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "num_attention_heads": heads[0],
        "num_key_value_heads": heads[1],
        **({"intermediate_size": mlp} if mlp else {}),
        "vocab_size": vocabulary,
        "max_position_embeddings": 131072,
        "torch_dtype": "bfloat16",
        "tie_word_embeddings": False,
        **more,
    }


def nested(architecture: str, text: Config, **more: Any) -> Config:
    """A multi-modal model around a language model."""
    return {"architectures": [architecture], "text_config": text, **more}


def qwen_tower(out: int, hidden: int = 1152, depth: int = 27, mlp: int = 4304) -> Config:
    return {
        "model_type": "qwen3_5",
        "depth": depth,
        "hidden_size": hidden,
        **({"intermediate_size": mlp} if mlp else {}),
        "num_position_embeddings": 2304,
        "out_hidden_size": out,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    }


def qwen35(
    layers: int,
    hidden: int,
    heads: tuple[int, int],
    value_heads: int,
    tower: Config,
    tied: bool = False,
    **more: Any,
) -> Config:
    text = decoder(
        "",
        layers,
        hidden,
        heads,
        more.pop("mlp", 0),
        248320,
        head_dim=256,
        full_attention_interval=4,
        linear_conv_kernel_dim=4,
        linear_key_head_dim=128,
        linear_num_key_heads=16,
        linear_num_value_heads=value_heads,
        linear_value_head_dim=128,
        mamba_ssm_dtype="float32",
        tie_word_embeddings=tied,
        **more,
    )
    name = (
        "Qwen3_5MoeForConditionalGeneration"
        if "num_experts" in more
        else "Qwen3_5ForConditionalGeneration"
    )
    return nested(name, text, vision_config=tower)


def deepseek(
    architecture: str,
    layers: int,
    hidden: int,
    heads: int,
    experts: int,
    vocabulary: int,
    **more: Any,
) -> Config:
    return decoder(
        architecture,
        layers,
        hidden,
        (heads, heads),
        18432,
        vocabulary,
        **{
            "first_k_dense_replace": 3,
            "kv_lora_rank": 512,
            "q_lora_rank": 1536,
            "qk_nope_head_dim": 128,
            "qk_rope_head_dim": 64,
            "v_head_dim": 128,
            "moe_intermediate_size": 2048,
            "n_routed_experts": experts,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            **more,
        },
    )


SIGLIP: Config = {
    "model_type": "siglip_vision_model",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "patch_size": 14,
    "image_size": 896,
}
GEMMA4_TOWER: Config = {
    "model_type": "gemma4_vision",
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "num_hidden_layers": 27,
    "patch_size": 16,
    "position_embedding_size": 10240,
}
MOON_VIT: Config = {
    "vt_hidden_size": 1152,
    "vt_intermediate_size": 4304,
    "vt_num_hidden_layers": 27,
    "patch_size": 14,
}


def gemma3(layers: int, hidden: int, heads: tuple[int, int], head_dim: int, mlp: int) -> Config:
    text = decoder(
        "",
        layers,
        hidden,
        heads,
        mlp,
        262208,
        head_dim=head_dim,
        sliding_window=1024,
        model_type="gemma3_text",
        tie_word_embeddings=True,
    )
    return nested("Gemma3ForConditionalGeneration", text, vision_config=SIGLIP)


def gemma4(
    layers: int, hidden: int, heads: tuple[int, int], mlp: int, full: int, **more: Any
) -> Config:
    text = decoder(
        "",
        layers,
        hidden,
        heads,
        mlp,
        262144,
        head_dim=256,
        global_head_dim=512,
        sliding_window=1024,
        layer_types_count={"sliding_attention": layers - full, "full_attention": full},
        model_type="gemma4_text",
        tie_word_embeddings=True,
        **more,
    )
    return nested("Gemma4ForConditionalGeneration", text, vision_config=GEMMA4_TOWER)


def gpt_oss(layers: int, experts: int) -> Config:
    return decoder(
        "GptOssForCausalLM",
        layers,
        2880,
        (64, 8),
        2880,
        201088,
        head_dim=64,
        num_local_experts=experts,
        num_experts_per_tok=4,
        sliding_window=128,
        attention_bias=True,
        quantization_config=MXFP4,
    )


def nemotron3(pattern: str, hidden: int, mamba_heads: int, **more: Any) -> Config:
    return decoder(
        "NemotronHForCausalLM",
        len(pattern),
        hidden,
        (32, 2),
        0,
        131072,
        head_dim=128,
        hybrid_override_pattern=pattern,
        conv_kernel=4,
        n_groups=8,
        mamba_head_dim=64,
        mamba_num_heads=mamba_heads,
        ssm_state_size=128,
        mamba_ssm_cache_dtype="float32",
        n_shared_experts=1,
        **more,
    )


EXACT = (-0.1, 0.1)
# Layers that predict further tokens lie in the files, and vLLM does not load them.
PREDICTION = (-3.0, -1.0)
# vLLM loads the keys' projection twice where keys serve as values.
TWICE = (0.0, 0.5)

PRESETS: dict[str, tuple[Config, tuple[float, float]]] = {
    "llama-2-7b": (decoder("LlamaForCausalLM", 32, 4096, (32, 32), 11008, 32000), EXACT),
    "llama-2-70b": (decoder("LlamaForCausalLM", 80, 8192, (64, 8), 28672, 32000), EXACT),
    "llama-3.1-8b-instruct": (decoder("LlamaForCausalLM", 32, 4096, (32, 8), 14336, 128256), EXACT),
    "llama-3.3-70b-instruct": (
        decoder("LlamaForCausalLM", 80, 8192, (64, 8), 28672, 128256),
        EXACT,
    ),
    "mistral-7b-v0.3": (decoder("MistralForCausalLM", 32, 4096, (32, 8), 14336, 32768), EXACT),
    "phi-2": (decoder("PhiForCausalLM", 32, 2560, (32, 32), 10240, 51200), EXACT),
    "phi-3-medium-4k-instruct": (
        decoder("Phi3ForCausalLM", 40, 5120, (40, 10), 17920, 32064),
        EXACT,
    ),
    "phi-4": (decoder("Phi3ForCausalLM", 40, 5120, (40, 10), 17920, 100352), EXACT),
    "phi-4-mini-instruct": (
        decoder("Phi3ForCausalLM", 32, 3072, (24, 8), 8192, 200064, tie_word_embeddings=True),
        EXACT,
    ),
    "falcon-7b": (
        decoder(
            "FalconForCausalLM",
            32,
            4544,
            (71, 1),
            18176,
            65024,
        ),
        EXACT,
    ),
    "falcon-40b": (
        decoder("FalconForCausalLM", 60, 8192, (128, 8), 32768, 65024, head_dim=64),
        EXACT,
    ),
    "qwen2.5-coder-7b-instruct": (
        decoder("Qwen2ForCausalLM", 28, 3584, (28, 4), 18944, 152064),
        EXACT,
    ),
    "qwen2.5-coder-32b-instruct": (
        decoder("Qwen2ForCausalLM", 64, 5120, (40, 8), 27648, 152064),
        EXACT,
    ),
    "qwen3-8b-awq": (
        decoder(
            "Qwen3ForCausalLM",
            36,
            4096,
            (32, 8),
            12288,
            151936,
            head_dim=128,
            quantization_config={
                "quant_method": "awq",
                "bits": 4,
                "group_size": 128,
                "zero_point": True,
            },
        ),
        EXACT,
    ),
    "gemma-3-4b-it": (gemma3(34, 2560, (8, 4), 256, 10240), EXACT),
    "gemma-3-27b-it": (gemma3(62, 5376, (32, 16), 128, 21504), EXACT),
    "gemma-4-26b-a4b-it": (
        gemma4(
            30,
            2816,
            (16, 8),
            2112,
            5,
            num_global_key_value_heads=2,
            enable_moe_block=True,
            num_experts=128,
            top_k_experts=8,
            moe_intermediate_size=704,
        ),
        TWICE,
    ),
    "gemma-4-31b-it": (gemma4(60, 5376, (32, 16), 21504, 10, num_global_key_value_heads=4), TWICE),
    "gpt-oss-20b": (gpt_oss(24, 32), EXACT),
    "gpt-oss-120b": (gpt_oss(36, 128), EXACT),
    "deepseek-r1-0528": (
        deepseek(
            "DeepseekV3ForCausalLM", 61, 7168, 128, 256, 129280, quantization_config=FP8_BLOCKS
        ),
        PREDICTION,
    ),
    "deepseek-v3.2": (
        deepseek(
            "DeepseekV32ForCausalLM",
            61,
            7168,
            128,
            256,
            129280,
            index_n_heads=64,
            index_head_dim=128,
            quantization_config=FP8_BLOCKS,
        ),
        PREDICTION,
    ),
    "glm-5.2-fp8": (
        deepseek(
            "GlmMoeDsaForCausalLM",
            78,
            6144,
            64,
            256,
            154880,
            intermediate_size=12288,
            q_lora_rank=2048,
            qk_nope_head_dim=192,
            v_head_dim=256,
            index_n_heads=32,
            index_head_dim=128,
            index_topk_freq=4,
            index_skip_topk_offset=3,
            quantization_config=FP8_BLOCKS,
        ),
        PREDICTION,
    ),
    "kimi-k2.5": (
        nested(
            "KimiK25ForConditionalGeneration",
            deepseek(
                "DeepseekV3ForCausalLM",
                61,
                7168,
                64,
                384,
                163840,
                first_k_dense_replace=1,
                quantization_config={
                    "quant_method": "compressed-tensors",
                    "config_groups": {
                        "group_0": {
                            "targets": ["Linear"],
                            "weights": {
                                "num_bits": 4,
                                "group_size": 32,
                                "type": "int",
                                "symmetric": True,
                            },
                        }
                    },
                    "ignore": [
                        "lm_head",
                        "re:.*self_attn.*",
                        "re:.*shared_experts.*",
                        "re:.*mlp\\.(gate|up|gate_up|down)_proj.*",
                    ],
                },
            ),
            vision_config=MOON_VIT,
        ),
        EXACT,
    ),
    "minimax-m2.7": (
        decoder(
            "MiniMaxM2ForCausalLM",
            62,
            3072,
            (48, 8),
            1536,
            200064,
            head_dim=128,
            num_local_experts=256,
            num_experts_per_tok=8,
            quantization_config={
                **FP8_BLOCKS,
                "modules_to_not_convert": ["gate", "e_score_correction_bias", "lm_head"],
            },
        ),
        EXACT,
    ),
    "qwen3.5-4b": (
        qwen35(32, 2560, (16, 4), 32, qwen_tower(2560, 1024, 24, 4096), mlp=9216, tied=True),
        PREDICTION,
    ),
    "qwen3.5-122b-a10b": (
        qwen35(
            48,
            3072,
            (32, 2),
            64,
            qwen_tower(3072),
            num_experts=256,
            num_experts_per_tok=8,
            moe_intermediate_size=1024,
            shared_expert_intermediate_size=1024,
        ),
        PREDICTION,
    ),
    "qwen3.6-27b": (qwen35(64, 5120, (24, 4), 48, qwen_tower(5120), mlp=17408), PREDICTION),
    "qwen3.6-35b-a3b": (
        qwen35(
            40,
            2048,
            (16, 2),
            32,
            qwen_tower(2048),
            num_experts=256,
            num_experts_per_tok=8,
            moe_intermediate_size=512,
            shared_expert_intermediate_size=512,
        ),
        PREDICTION,
    ),
    "nvidia-nemotron-3-nano-30b-a3b-bf16": (
        nemotron3(
            "MEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEM*EMEMEMEM*EMEMEMEME",
            2688,
            64,
            n_routed_experts=128,
            num_experts_per_tok=6,
            moe_intermediate_size=1856,
            moe_shared_expert_intermediate_size=3712,
        ),
        EXACT,
    ),
    "nvidia-nemotron-3-super-120b-a12b-bf16": (
        nemotron3(
            "MEMEMEM*EMEMEMEM*EMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEMEM*EMEMEMEM*EMEMEMEME",
            4096,
            128,
            n_routed_experts=512,
            num_experts_per_tok=22,
            moe_intermediate_size=2688,
            moe_shared_expert_intermediate_size=5376,
            moe_latent_size=1024,
        ),
        PREDICTION,
    ),
}
