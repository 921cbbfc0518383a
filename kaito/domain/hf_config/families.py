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

_STYLES: Final[Mapping[str, Style]] = {
    "AquilaForCausalLM": _LLAMA,
    "AquilaModel": _LLAMA,
    "CwmForCausalLM": _LLAMA,
    "DeepseekV2ForCausalLM": _LLAMA,
    "DeepseekV3ForCausalLM": _DEEPSEEK,
    "DeepseekV32ForCausalLM": _DEEPSEEK,
    "FalconForCausalLM": Style(norm_bias=True, gated_mlp=False),
    "Gemma2ForCausalLM": Style(norms=4, full_every=2),
    "Gemma3ForCausalLM": Style(norm="head", norms=4, full_every=6),
    "GemmaForCausalLM": _LLAMA,
    "Glm4MoeForCausalLM": Style(output_bias=False, correction=True),
    "GlmMoeDsaForCausalLM": _DEEPSEEK,
    "GptOssForCausalLM": Style(
        qkv_bias=True, output_bias=True, full_every=2, sinks=True, expert_bias=True
    ),
    "GraniteForCausalLM": _LLAMA,
    "GraniteMoeForCausalLM": Style(experts_name="block_sparse_moe"),
    "LLaMAForCausalLM": _LLAMA,
    "LlamaForCausalLM": _LLAMA,
    "Llama4ForCausalLM": Style(
        full_every=4, chunked=True, shared_as_routed=True, experts_name="feed_forward"
    ),
    "MiMoForCausalLM": Style(output_bias=False),
    "MiMoV2FlashForCausalLM": Style(output_bias=False, correction=True),
    "MiniMaxM2ForCausalLM": Style(norm="layer", experts_name="block_sparse_moe", correction=True),
    "MiniMaxM3ForCausalLM": Style(norm="head", experts_name="block_sparse_moe", correction=True),
    "Ministral3ForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "MistralLarge3ForCausalLM": _LLAMA,
    "MixtralForCausalLM": Style(experts_name="block_sparse_moe"),
    "Olmo2ForCausalLM": Style(norm="layer"),
    "Olmo3ForCausalLM": Style(norm="layer", full_every=4),
    "OlmoeForCausalLM": Style(norm="layer"),
    "Phi3ForCausalLM": _LLAMA,
    "PhiForCausalLM": _PHI,
    "Qwen2ForCausalLM": _QWEN2,
    "Qwen2MoeForCausalLM": Style(qkv_bias=True, output_bias=False, shared_gate=True),
    "Qwen3ForCausalLM": _QWEN3,
    "Qwen3MoeForCausalLM": _QWEN3,
    "SeedOssForCausalLM": Style(output_bias=False),
    "SmolLM3ForCausalLM": _LLAMA,
    "Step3p7FlashForCausalLM": Style(norm="head", full_every=4, correction=True),
}

READERS: Final[Mapping[str, Reader]] = {
    **{name: partial(read_decoder, style=style) for name, style in _STYLES.items()},
    "Gemma4ForCausalLM": read_gemma4,
    "KimiLinearForCausalLM": read_kimi_linear,
    "NemotronHForCausalLM": read_nemotron_h,
    "Qwen3NextForCausalLM": read_qwen_next,
    "Qwen3_5ForCausalLM": read_qwen_next,
    "Qwen3_5MoeForCausalLM": read_qwen_next,
}
"""By the class name in `architectures`."""

TEXT_MODELS: Final[Mapping[str, str]] = {
    "Gemma3ForConditionalGeneration": "Gemma3ForCausalLM",
    "Gemma4ForConditionalGeneration": "Gemma4ForCausalLM",
    "KimiK25ForConditionalGeneration": "DeepseekV3ForCausalLM",
    "KimiK3ForConditionalGeneration": "KimiLinearForCausalLM",
    "Llama4ForConditionalGeneration": "Llama4ForCausalLM",
    "MiniMaxM3SparseForConditionalGeneration": "MiniMaxM3ForCausalLM",
    "Mistral3ForConditionalGeneration": "MistralForCausalLM",
    "Qwen3VLForConditionalGeneration": "Qwen3ForCausalLM",
    "Qwen3VLMoeForConditionalGeneration": "Qwen3MoeForCausalLM",
    "Qwen3_5ForConditionalGeneration": "Qwen3_5ForCausalLM",
    "Qwen3_5MoeForConditionalGeneration": "Qwen3_5MoeForCausalLM",
}
"""The language model inside a multi-modal architecture."""
