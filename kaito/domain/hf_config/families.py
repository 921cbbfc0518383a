"""Which architecture is read how.

Biases, norms and windows that a config does not tell: the families' modules in
vllm-project/vllm vllm/model_executor/models and huggingface/transformers src/transformers/models.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from kaito.domain.hf_config.config import Config
from kaito.domain.hf_config.decoder import Style, read_decoder
from kaito.domain.hf_config.gemma4 import read_gemma4
from kaito.domain.hf_config.parts import Decoder
from kaito.domain.hf_config.recurrent import (
    read_granite_hybrid,
    read_kimi_linear,
    read_nemotron_h,
    read_qwen_next,
)

Reader = Callable[[Config], Decoder]

_LLAMA: Final = Style()
_QWEN2: Final = Style(qkv_bias=True, output_bias=False)
_QWEN3: Final = Style(norm="head")
_PHI: Final = Style(
    qkv_bias=True, mlp_bias=True, norms=1, norm_bias=True, gated_mlp=False, head_bias=True
)
_DEEPSEEK: Final = Style(correction=True)
_STEP: Final = Style(norm="head", full_every=4, correction=True)

_STYLES: Final[Mapping[str, Style]] = {
    "ApertusForCausalLM": Style(norm="head", gated_mlp=False),
    "AquilaForCausalLM": _LLAMA,
    "AquilaModel": _LLAMA,
    "ArceeForCausalLM": Style(gated_mlp=False),
    "BaichuanForCausalLM": _LLAMA,
    "Cohere2ForCausalLM": Style(norms=1, full_every=4),
    "CohereForCausalLM": Style(norms=1),
    "CwmForCausalLM": _LLAMA,
    "DeepseekForCausalLM": _LLAMA,
    "DeepseekV2ForCausalLM": _LLAMA,
    "DeepseekV3ForCausalLM": _DEEPSEEK,
    "DeepseekV32ForCausalLM": _DEEPSEEK,
    "Dots1ForCausalLM": Style(norm="head", correction=True),
    "Ernie4_5ForCausalLM": _LLAMA,
    "Ernie4_5_MoeForCausalLM": _DEEPSEEK,
    "Exaone4ForCausalLM": Style(norm="head"),
    "ExaoneForCausalLM": _LLAMA,
    "FalconForCausalLM": Style(norm_bias=True, gated_mlp=False),
    "GPTNeoXForCausalLM": Style(qkv_bias=True, mlp_bias=True, norm_bias=True, gated_mlp=False),
    "Gemma2ForCausalLM": Style(norms=4, full_every=2),
    "Gemma3ForCausalLM": Style(norm="head", norms=4, full_every=6),
    "GemmaForCausalLM": _LLAMA,
    "Glm4ForCausalLM": Style(output_bias=False, norms=4),
    "Glm4MoeForCausalLM": Style(output_bias=False, correction=True),
    "Glm4MoeLiteForCausalLM": _DEEPSEEK,
    "GlmForCausalLM": Style(output_bias=False),
    "GlmMoeDsaForCausalLM": _DEEPSEEK,
    "GptOssForCausalLM": Style(
        qkv_bias=True, output_bias=True, full_every=2, sinks=True, expert_bias=True
    ),
    "GraniteForCausalLM": _LLAMA,
    "GraniteMoeForCausalLM": Style(experts_name="block_sparse_moe"),
    "GraniteMoeSharedForCausalLM": Style(experts_name="block_sparse_moe"),
    "HunYuanDenseV1ForCausalLM": _QWEN3,
    "InternLM2ForCausalLM": _LLAMA,
    "InternLM3ForCausalLM": _LLAMA,
    "InternLMForCausalLM": _LLAMA,
    "LLaMAForCausalLM": _LLAMA,
    "Llama4ForCausalLM": Style(
        full_every=4, chunked=True, shared_as_routed=True, experts_name="feed_forward"
    ),
    "LlamaForCausalLM": _LLAMA,
    "MiMoForCausalLM": Style(output_bias=False),
    "MiMoV2FlashForCausalLM": Style(output_bias=False, correction=True),
    "MiMoV2ForCausalLM": Style(output_bias=False, correction=True),
    "MiniCPMForCausalLM": _LLAMA,
    "MiniMaxM2ForCausalLM": Style(norm="layer", experts_name="block_sparse_moe", correction=True),
    "MiniMaxM3ForCausalLM": Style(norm="head", experts_name="block_sparse_moe", correction=True),
    "Ministral3ForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "MistralLarge3ForCausalLM": _LLAMA,
    "MixtralForCausalLM": Style(experts_name="block_sparse_moe"),
    "NemotronForCausalLM": Style(norm_bias=True, gated_mlp=False),
    "Olmo2ForCausalLM": Style(norm="layer"),
    "Olmo3ForCausalLM": Style(norm="layer", full_every=4),
    "OlmoForCausalLM": Style(norms=0),
    "OlmoeForCausalLM": Style(norm="layer"),
    "Phi3ForCausalLM": _LLAMA,
    "PhiForCausalLM": _PHI,
    "PhiMoEForCausalLM": Style(norm_bias=True, head_bias=True, experts_name="block_sparse_moe"),
    "Qwen2ForCausalLM": _QWEN2,
    "Qwen2MoeForCausalLM": Style(qkv_bias=True, output_bias=False, shared_gate=True),
    "Qwen3ForCausalLM": _QWEN3,
    "Qwen3MoeForCausalLM": _QWEN3,
    "SeedOssForCausalLM": Style(output_bias=False),
    "SmolLM3ForCausalLM": _LLAMA,
    "SolarForCausalLM": _LLAMA,
    "StableLmForCausalLM": Style(output_bias=False, norm_bias=True),
    "Starcoder2ForCausalLM": Style(qkv_bias=True, mlp_bias=True, norm_bias=True, gated_mlp=False),
    "Step3p5ForCausalLM": _STEP,
    "Step3p7FlashForCausalLM": _STEP,
}

READERS: Final[Mapping[str, Reader]] = {
    **{name: partial(read_decoder, style=style) for name, style in _STYLES.items()},
    "Gemma4ForCausalLM": read_gemma4,
    "GraniteMoeHybridForCausalLM": read_granite_hybrid,
    "KimiLinearForCausalLM": read_kimi_linear,
    "NemotronHForCausalLM": read_nemotron_h,
    "Qwen3NextForCausalLM": read_qwen_next,
    "Qwen3_5ForCausalLM": read_qwen_next,
    "Qwen3_5MoeForCausalLM": read_qwen_next,
}
"""By the class name in `architectures`."""

HEAD_EVERYWHERE: Final = frozenset(
    {
        "FalconForCausalLM",
        "Gemma3ForCausalLM",
        "Gemma4ForCausalLM",
        "GemmaForCausalLM",
        "GptOssForCausalLM",
        "GraniteMoeForCausalLM",
        "GraniteMoeHybridForCausalLM",
        "GraniteMoeSharedForCausalLM",
        "InternLM2ForCausalLM",
        "MixtralForCausalLM",
        "NemotronHForCausalLM",
        "OlmoeForCausalLM",
        "PhiMoEForCausalLM",
        "Qwen2MoeForCausalLM",
        "Qwen3MoeForCausalLM",
        "Qwen3NextForCausalLM",
        "StableLmForCausalLM",
    }
)
"""Language models whose modules make embedding and lm_head on every pipeline rank, needed there or
not."""

EMBEDDING_EVERYWHERE: Final = HEAD_EVERYWHERE | {
    "Cohere2ForCausalLM",
    "CohereForCausalLM",
    "Gemma2ForCausalLM",
    "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForCausalLM",
}
"""Those, and some that make only the embedding so."""

TEXT_MODELS: Final[Mapping[str, str]] = {
    "Gemma3ForConditionalGeneration": "Gemma3ForCausalLM",
    "Gemma4ForConditionalGeneration": "Gemma4ForCausalLM",
    "KimiK25ForConditionalGeneration": "DeepseekV3ForCausalLM",
    "KimiK3ForConditionalGeneration": "KimiLinearForCausalLM",
    "Llama4ForConditionalGeneration": "Llama4ForCausalLM",
    "MiniMaxM3SparseForConditionalGeneration": "MiniMaxM3ForCausalLM",
    "Mistral3ForConditionalGeneration": "MistralForCausalLM",
    "Qwen2VLForConditionalGeneration": "Qwen2ForCausalLM",
    "Qwen2_5_VLForConditionalGeneration": "Qwen2ForCausalLM",
    "Qwen3VLForConditionalGeneration": "Qwen3ForCausalLM",
    "Qwen3VLMoeForConditionalGeneration": "Qwen3MoeForCausalLM",
    "Qwen3_5ForConditionalGeneration": "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForConditionalGeneration": "Qwen3_5MoeForCausalLM",
}
"""The language model inside a multi-modal architecture; others name it in their inner config."""
