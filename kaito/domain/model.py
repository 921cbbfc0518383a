"""What a language model is made of, as far as memory, disk and engines care."""

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from kaito.domain.workspace import TuningMethod

BYTES_PER_PARAMETER: Final = {
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8_e4m3fn": 1,
    "int8": 1,
}


class EngineName(StrEnum):
    VLLM = "vllm"
    TRANSFORMERS = "transformers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The shape of one attention layer; head_dim and ranks count elements.

    Multi-head (kv_heads == heads), grouped-query and multi-query attention cache
    2 x kv_heads x head_dim elements per token. Multi-head latent attention (DeepSeek) caches one
    compressed vector of kv_lora_rank + qk_rope_head_dim elements, on every GPU in full.
    `sliding_window` is recorded, not used: neither engine frees what lies outside the window of a
    model whose layers all have one.
    """

    heads: int
    kv_heads: int
    head_dim: int
    sliding_window: int | None = None  # tokens
    kv_lora_rank: int | None = None
    qk_rope_head_dim: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.kv_heads <= self.heads or self.heads % self.kv_heads:
            raise ValueError(f"{self.kv_heads} KV heads do not divide {self.heads} heads")
        if (self.kv_lora_rank is None) != (self.qk_rope_head_dim is None):
            raise ValueError("kv_lora_rank and qk_rope_head_dim are given together or not at all")

    @property
    def kind(self) -> str:
        """ "MLA", "MHA", "MQA" or "GQA"."""
        if self.kv_lora_rank is not None:
            return "MLA"
        if self.kv_heads == self.heads:
            return "MHA"
        return "MQA" if self.kv_heads == 1 else "GQA"

    def cached_elements(self, tensor_parallel: int = 1) -> int:
        """Elements that one layer caches per token on each GPU.

        A rank holds at least one KV head, and all of a latent vector (vLLM shards heads only).
        """
        if self.kv_lora_rank is not None and self.qk_rope_head_dim is not None:
            return self.kv_lora_rank + self.qk_rope_head_dim
        return 2 * max(1, self.kv_heads // tensor_parallel) * self.head_dim

    def splits_into(self, tensor_parallel: int) -> bool:
        """Whether vLLM can shard the heads over so many GPUs: query heads must divide evenly, KV
        heads must divide or be replicated evenly.
        Source: vllm-project/vllm vllm/config/model.py, verify_with_parallel_config.
        """
        if self.heads % tensor_parallel:
            return False
        if self.kv_lora_rank is not None:
            return True
        return self.kv_heads % tensor_parallel == 0 or tensor_parallel % self.kv_heads == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningSupport:
    """How a model can be fine-tuned. `disk_bytes` holds image, weights, data and results."""

    methods: tuple[TuningMethod, ...]
    target_modules: tuple[str, ...]  # names of the linear layers that get an adapter
    disk_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One linear layer by the name that adapters target; sizes are elements."""

    name: str
    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """One servable model. Sizes of layers count elements; weights, cache and disk are bytes."""

    name: str
    hf_id: str
    revision: str | None  # commit on Hugging Face; None: whatever is newest
    license: str
    architecture: str  # class name in transformers, such as Phi3ForCausalLM
    layers: int
    hidden_size: int
    intermediate_size: int
    attention: Attention
    vocab_size: int
    tied_embeddings: bool  # lm_head shares the embedding's weights
    token_limit: int  # longest context the model was trained for, in tokens
    weight_bytes: int  # of all weight files together
    dtype: str
    quantization: str | None
    disk_bytes: int
    runtimes: tuple[EngineName, ...]
    requires_auth: bool = False  # Hugging Face asks for a token
    aliases: tuple[str, ...] = ()
    tool_call_parser: str | None = None
    reasoning_parser: str | None = None
    chat_template: str | None = None  # file name below /workspace/chat_templates of the image
    tuning: TuningSupport | None = None
    source: str

    def __post_init__(self) -> None:
        for name in ("layers", "hidden_size", "intermediate_size", "vocab_size", "token_limit"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"ModelProfile {self.name!r}: {name} must be >= 1, got {value}")
        if self.dtype not in BYTES_PER_PARAMETER:
            raise ValueError(
                f"ModelProfile {self.name!r}: dtype must be one of "
                f"{', '.join(BYTES_PER_PARAMETER)}, got {self.dtype!r}"
            )

    def kv_bytes_per_token(self, dtype_bytes: int = 2, *, tensor_parallel: int = 1) -> int:
        """Bytes of KV cache per token of context, over all layers, on each GPU of a
        tensor-parallel group."""
        return self.layers * self.attention.cached_elements(tensor_parallel) * dtype_bytes

    @property
    def parameters(self) -> int:
        """Number of parameters, derived from the weight files (quantised models excepted)."""
        return round(Fraction(self.weight_bytes, BYTES_PER_PARAMETER[self.dtype]))

    @property
    def embedding_parameters(self) -> int:
        """Parameters of the embedding and, unless it shares them, of lm_head."""
        return self.vocab_size * self.hidden_size * (1 if self.tied_embeddings else 2)

    @property
    def linear_parameters(self) -> int:
        """Parameters that are neither embedding nor lm_head (norms, a few in a million, count)."""
        return max(0, self.parameters - self.embedding_parameters)

    @property
    def linears(self) -> tuple[Linear, ...]:
        """The linear layers of one decoder block.

        Phi-3 fuses the projections: huggingface/transformers
        src/transformers/models/phi3/modeling_phi3.py (qkv_proj, o_proj, gate_up_proj, down_proj).
        """
        attention, hidden, wide = self.attention, self.hidden_size, self.intermediate_size
        query, key = attention.heads * attention.head_dim, attention.kv_heads * attention.head_dim
        output = Linear(name="o_proj", inputs=query, outputs=hidden)
        down = Linear(name="down_proj", inputs=wide, outputs=hidden)
        if self.architecture == "Phi3ForCausalLM":
            return (
                Linear(name="qkv_proj", inputs=hidden, outputs=query + 2 * key),
                output,
                Linear(name="gate_up_proj", inputs=hidden, outputs=2 * wide),
                down,
            )
        return (
            Linear(name="q_proj", inputs=hidden, outputs=query),
            Linear(name="k_proj", inputs=hidden, outputs=key),
            Linear(name="v_proj", inputs=hidden, outputs=key),
            output,
            Linear(name="gate_proj", inputs=hidden, outputs=wide),
            Linear(name="up_proj", inputs=hidden, outputs=wide),
            down,
        )
