"""What kaito says a sequence holds in the KV cache, and GPUs of weights, held against vLLM itself.

One small config for each way of caching; sizes that the cache does not hang on are made small.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import pytest

from kaito.adapters.files import load_catalogue
from kaito.domain.hf_config import profile_from_config
from kaito.domain.memory import Rank, ServerSettings, vllm_ranks
from kaito.domain.model import ModelProfile
from kaito.domain.rank_weights import rank_weights
from tests.integration.vllm_python import ask_vllm

Config = dict[str, Any]

STEP_TOKENS: Final = 2048
LIMIT: Final = 32768


def decoder(architecture: str, model_type: str, layers: int = 8, **more: Any) -> Config:
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "num_hidden_layers": layers,
        "hidden_size": 256,
        "intermediate_size": 256,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 512,
        "max_position_embeddings": LIMIT,
        "torch_dtype": "bfloat16",
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
        **more,
    }


def experts(**more: Any) -> Config:
    return {"num_experts_per_tok": 2, "moe_intermediate_size": 128, **more}


def deepseek(architecture: str, model_type: str, **more: Any) -> Config:
    return decoder(
        architecture,
        model_type,
        num_key_value_heads=8,
        head_dim=None,
        kv_lora_rank=512,
        q_lora_rank=128,
        qk_nope_head_dim=128,
        qk_rope_head_dim=64,
        v_head_dim=128,
        first_k_dense_replace=1,
        moe_layer_freq=1,
        n_group=1,
        topk_group=1,
        topk_method="noaux_tc",
        scoring_func="sigmoid",
        norm_topk_prob=True,
        routed_scaling_factor=2.5,
        **experts(n_routed_experts=4, n_shared_experts=1),
        **more,
    )


def gemma(architecture: str, model_type: str, layers: int, **more: Any) -> Config:
    return decoder(
        architecture,
        model_type,
        layers,
        hidden_activation="gelu_pytorch_tanh",
        query_pre_attn_scalar=64,
        tie_word_embeddings=True,
        **more,
    )


def gpt_oss(layers: int) -> Config:
    """Its experts unquantised: vLLM has no mxfp4 kernels for CPUs."""
    return decoder(
        "GptOssForCausalLM",
        "gpt_oss",
        layers,
        sliding_window=128,
        num_local_experts=4,
        num_experts_per_tok=2,
        swiglu_limit=7.0,
    )


MAMBA: Final = {"mamba_proj_bias": False, "mamba_expand": 2, "expand": 2}
CASES: Final[dict[str, Config]] = {
    "multi-head": decoder("LlamaForCausalLM", "llama", num_key_value_heads=8),
    "grouped-query": decoder("LlamaForCausalLM", "llama"),
    "multi-query": decoder("LlamaForCausalLM", "llama", num_key_value_heads=1),
    "latent": deepseek("DeepseekV3ForCausalLM", "deepseek_v3"),
    "latent, sparse": deepseek(
        "DeepseekV32ForCausalLM",
        "deepseek_v32",
        index_head_dim=128,
        index_n_heads=4,
        index_topk=2048,
    ),
    "a window in all layers (Mistral 7B)": decoder(
        "MistralForCausalLM", "mistral", sliding_window=4096
    ),
    "half the limit as window (Phi-3 mini)": decoder(
        "Phi3ForCausalLM",
        "phi3",
        sliding_window=2047,
        max_position_embeddings=4096,
        original_max_position_embeddings=4096,
        pad_token_id=0,
    ),
    "a window in every other layer (Gemma 2)": gemma(
        "Gemma2ForCausalLM",
        "gemma2",
        10,
        sliding_window=4096,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
    ),
    "windows in 22 of 26 layers (Gemma 3)": gemma(
        "Gemma3ForCausalLM", "gemma3_text", 26, sliding_window=512, sliding_window_pattern=6
    ),
    "windows of larger heads (Gemma 4)": gemma(
        "Gemma4ForCausalLM",
        "gemma4_text",
        12,
        sliding_window=512,
        global_head_dim=128,
        num_global_key_value_heads=1,
        attention_k_eq_v=True,
        num_kv_shared_layers=0,
        hidden_size_per_layer_input=0,
        layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 2,
    ),
    "windows of other heads, values of their own size (MiMo V2)": decoder(
        "MiMoV2FlashForCausalLM",
        "mimo_v2_flash",
        12,
        head_dim=192,
        v_head_dim=128,
        hybrid_layer_pattern=([0] + [1] * 5) * 2,
        sliding_window=128,
        sliding_window_size=128,
        swa_num_attention_heads=8,
        swa_num_key_value_heads=4,
        swa_head_dim=192,
        swa_v_head_dim=128,
        swa_rope_theta=10000,
        rope_theta=5000000,
        partial_rotary_factor=0.334,
        add_swa_attention_sink_bias=True,
        add_full_attention_sink_bias=False,
        attention_bias=False,
        attention_value_scale=0.707,
        layernorm_epsilon=1e-5,
        moe_layer_freq=[0] + [1] * 11,
        scoring_func="sigmoid",
        topk_method="noaux_tc",
        n_group=1,
        topk_group=1,
        norm_topk_prob=True,
        n_shared_experts=None,
        routed_scaling_factor=None,
        **experts(n_routed_experts=4),
    ),
    "a narrow window in every other layer (gpt-oss)": gpt_oss(8),
    "nearly as many windows as full layers (gpt-oss)": gpt_oss(7),
    "windows in three of four layers (Command R7B)": decoder(
        "Cohere2ForCausalLM",
        "cohere2",
        sliding_window=4096,
        sliding_window_pattern=4,
        layer_norm_eps=1e-5,
        logit_scale=0.25,
        tie_word_embeddings=True,
        eos_token_id=1,
    ),
    "chunks (Llama 4)": decoder(
        "Llama4ForCausalLM",
        "llama4_text",
        12,
        attention_chunk_size=8192,
        num_local_experts=4,
        num_experts_per_tok=1,
        interleave_moe_layer_step=1,
        intermediate_size_mlp=256,
        use_qk_norm=True,
    ),
    "Mamba-2, no MLP beside it (Nemotron-H)": decoder(
        "NemotronHForCausalLM",
        "nemotron_h",
        11,
        hybrid_override_pattern="M-M-M*-M-M*",
        mamba_num_heads=16,
        mamba_head_dim=64,
        ssm_state_size=128,
        n_groups=8,
        conv_kernel=4,
        chunk_size=128,
        mamba_hidden_act="silu",
        mlp_hidden_act="relu2",
        use_conv_bias=True,
        layer_norm_epsilon=1e-5,
        **MAMBA,
    ),
    "Mamba-2 (Granite 4)": decoder(
        "GraniteMoeHybridForCausalLM",
        "granitemoehybrid",
        head_dim=32,
        layer_types=(["mamba"] * 3 + ["attention"]) * 2,
        mamba_n_heads=16,
        mamba_d_head=32,
        mamba_d_state=128,
        mamba_n_groups=1,
        mamba_d_conv=4,
        mamba_chunk_size=256,
        mamba_conv_bias=True,
        num_local_experts=4,
        num_experts_per_tok=2,
        shared_intermediate_size=128,
        embedding_multiplier=12,
        attention_multiplier=0.0078125,
        residual_multiplier=0.22,
        logits_scaling=8,
        position_embedding_type="nope",
        **MAMBA,
    ),
    "gated delta networks (Qwen3-Next)": decoder(
        "Qwen3NextForCausalLM",
        "qwen3_next",
        full_attention_interval=4,
        linear_conv_kernel_dim=4,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        linear_num_key_heads=4,
        linear_num_value_heads=8,
        num_experts=4,
        shared_expert_intermediate_size=128,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        norm_topk_prob=True,
        **experts(),
    ),
    # Caches like those above; their modules hold embedding and lm_head on every pipeline rank.
    "a mixture (Mixtral)": decoder(
        "MixtralForCausalLM", "mixtral", num_local_experts=4, num_experts_per_tok=2
    ),
    "a mixture (Qwen3)": decoder(
        "Qwen3MoeForCausalLM",
        "qwen3_moe",
        num_experts=4,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        norm_topk_prob=True,
        **experts(),
    ),
    "a mixture (Qwen2)": decoder(
        "Qwen2MoeForCausalLM",
        "qwen2_moe",
        head_dim=32,
        num_experts=4,
        shared_expert_intermediate_size=128,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        norm_topk_prob=True,
        **experts(),
    ),
    "a mixture (OLMoE)": decoder(
        "OlmoeForCausalLM", "olmoe", head_dim=32, num_experts=4, num_experts_per_tok=2
    ),
    "a mixture (Phi-3.5)": decoder(
        "PhiMoEForCausalLM",
        "phimoe",
        head_dim=32,
        num_local_experts=4,
        num_experts_per_tok=2,
        attention_bias=True,
        lm_head_bias=True,
        router_jitter_noise=0.01,
        input_jitter_noise=0.01,
    ),
    "norms with biases (StableLM)": decoder(
        "StableLmForCausalLM", "stablelm", head_dim=32, layer_norm_eps=1e-5
    ),
    "a tied embedding (Gemma)": gemma("GemmaForCausalLM", "gemma", 8),
}


LAYOUTS: Final = {  # tensor and pipeline ranks, format of the cache
    "one GPU": (1, 1, "auto"),
    "4 shards": (4, 1, "auto"),
    "2 stages of 2 shards": (2, 2, "auto"),
    "a cache in fp8": (1, 1, "fp8"),
}
UNEVEN: Final = ("nearly as many", "Nemotron-H")
"""Kinds of layers that two stages do not share out evenly."""
ELSEWHERE: Final = {
    # vLLM's code for gpt-oss divides its KV heads by the ranks, and there are 2.
    *((name, "4 shards") for name in CASES if "gpt-oss" in name),
    # GPUs have a layout of their own for it (fp8_ds_mla), CPUs do not.
    ("latent, sparse", "a cache in fp8"),
}
QUESTIONS: Final = [
    (name, layout) for name in CASES for layout in LAYOUTS if (name, layout) not in ELSEWHERE
]


def lengths(config: Config) -> list[int]:
    """A token, a block and one more, the window and one more, the limit."""
    window = config.get("sliding_window") or config.get("attention_chunk_size") or 512
    limit = config["max_position_embeddings"]
    return [1, 16, 17, window, window + 1, window + STEP_TOKENS, limit - 1, limit]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """What vLLM plans for all of them."""
    cases = [
        {
            "name": f"{name}, {layout}",
            "config": CASES[name],
            "lengths": lengths(CASES[name]),
            "step_tokens": STEP_TOKENS,
            "tensor_parallel": LAYOUTS[layout][0],
            "pipeline_parallel": LAYOUTS[layout][1],
            "cache_dtype": LAYOUTS[layout][2],
        }
        for name, layout in QUESTIONS
    ]
    return ask_vllm("vllm_kv_specs.py", cases, tmp_path_factory.mktemp("vllm"))


def model_of(name: str, layout: str) -> ModelProfile:
    model = profile_from_config(CASES[name], name="a test", source="a test")
    cached = LAYOUTS[layout][2]
    return model if cached == "auto" else replace(model, kv_cache_dtype=cached)


def ranks_of(name: str, layout: str, version: str) -> tuple[Rank, ...]:
    gpu = load_catalogue().gpu("NVIDIA H100 SXM 80GB")
    shards, stages, _ = LAYOUTS[layout]
    settings = ServerSettings(
        tensor_parallel=shards, pipeline_parallel=stages, max_num_batched_tokens=STEP_TOKENS
    )
    return vllm_ranks(model_of(name, layout), gpu, version, settings)


@pytest.mark.parametrize(("name", "layout"), QUESTIONS)
def test_a_sequence_holds_what_vllm_plans(answer: Config, name: str, layout: str) -> None:
    plan = answer["plans"][f"{name}, {layout}"]
    ranks = ranks_of(name, layout, answer["version"])
    for rank, planned in zip(ranks, plan["ranks"], strict=True):
        held = {str(tokens): rank.with_context(tokens).kv_cache for tokens in lengths(CASES[name])}
        assert sum(group.lists for group in rank.cache.groups) == plan["groups"]
        if len(ranks) > 1 and any(word in name for word in UNEVEN):
            assert all(held[tokens] >= planned["bytes"][tokens] for tokens in held)
            continue
        assert held == planned["bytes"]
        assert rank.cache.block_bytes == planned["block_bytes"]


@pytest.mark.parametrize(("name", "layout"), QUESTIONS)
def test_a_rank_holds_the_weights_that_vllm_makes(answer: Config, name: str, layout: str) -> None:
    """Within 0.4 %: vLLM keeps some routers in float32, and these models are small."""
    model = model_of(name, layout)
    shards, stages, _ = LAYOUTS[layout]
    made = [rank["weights"] for rank in answer["plans"][f"{name}, {layout}"]["ranks"]]
    held = rank_weights(model, tensor_parallel=shards, pipeline_parallel=stages)
    if model.attention.kv_lora_rank is not None:
        # kv_b_proj once more, which vLLM makes only when the weights are loaded.
        attention = model.attention
        outputs = attention.heads * (attention.head_dim - (attention.qk_rope_head_dim or 0))
        again = 2 * attention.kv_lora_rank * (outputs + attention.output_size) // shards
        held = tuple(size - again * model.layers // stages for size in held)
    assert held == pytest.approx(made, rel=0.004)


def test_what_was_compared(answer: Config, record_property: Callable[[str, object], None]) -> None:
    compared = sum(
        len(rank["bytes"]) for plan in answer["plans"].values() for rank in plan["ranks"]
    )
    record_property(
        "measured",
        f"KV bytes of a sequence, {compared} lengths of {len(CASES)} models on up to 4 GPUs: "
        f"equal to what vLLM {answer['version']} plans",
    )
    assert compared >= sum(len(set(lengths(CASES[name]))) for name, _ in QUESTIONS)
