"""What a language model is made of, as far as memory, disk and engines care."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from math import ceil
from typing import Final

from kaito.domain.linear import Linear, linears_of
from kaito.domain.quantization import QUANTIZATIONS, Quantization
from kaito.domain.tuning_method import TuningMethod
from kaito.domain.weights import WeightLayout

__all__ = [
    "BYTES_PER_PARAMETER",
    "Attention",
    "EngineName",
    "Experts",
    "Indexer",
    "Linear",
    "LocalAttention",
    "ModelProfile",
    "RecurrentLayers",
    "TuningSupport",
]

BYTES_PER_PARAMETER: Final = {
    "float32": 4,
    "bfloat16": 2,
    "float16": 2,
    "float8_e4m3fn": 1,
    "int8": 1,
}
_CACHE_BYTES: Final = {"fp8": 1}  # bytes of one cached element by kv_cache_dtype
_SCALE_GROUP: Final = 128  # elements of an fp8 vector that share one float32 scale


class EngineName(StrEnum):
    VLLM = "vllm"
    TRANSFORMERS = "transformers"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """The shape of one attention layer; head_dim and ranks count elements.

    Multi-head (kv_heads == heads), grouped-query and multi-query attention cache
    2 x kv_heads x head_dim elements per token, or kv_heads x (head_dim + v_head_dim) where values
    have a size of their own (MiMo). Multi-head latent attention (DeepSeek) caches one
    compressed vector of kv_lora_rank + qk_rope_head_dim elements, on every GPU in full; its
    head_dim is that of queries, rotated part included, and v_head_dim that of values.
    `sliding_window` is that of a model whose layers all have one; vLLM frees what lies outside it,
    the transformers engine does not. Where only some layers have one, see `LocalAttention`.
    """

    heads: int
    kv_heads: int
    head_dim: int
    sliding_window: int | None = None  # tokens
    kv_lora_rank: int | None = None
    qk_rope_head_dim: int | None = None
    q_lora_rank: int | None = None
    v_head_dim: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.kv_heads <= self.heads or self.heads % self.kv_heads:
            raise ValueError(f"{self.kv_heads} KV heads do not divide {self.heads} heads")
        if (self.kv_lora_rank is None) != (self.qk_rope_head_dim is None):
            raise ValueError("kv_lora_rank and qk_rope_head_dim are given together or not at all")

    @property
    def output_size(self) -> int:
        """Elements that all heads together put out."""
        return self.heads * (self.v_head_dim or self.head_dim)

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
        heads = max(1, self.kv_heads // tensor_parallel)
        return heads * (self.head_dim + (self.v_head_dim or self.head_dim))

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
class LocalAttention:
    """Layers that look back over `window` tokens only, beside others that see the whole context.

    vLLM's hybrid cache manager frees what lies outside the window of such layers. `chunked` layers
    (Llama 4) see the tokens of their own chunk of `window` tokens.
    """

    layers: int
    window: int  # tokens
    attention: Attention
    chunked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentLayers:
    """State-space or linear-attention layers: a state of fixed size per sequence, shared out over
    the GPUs of a tensor-parallel group."""

    layers: int
    state_bytes: int  # of one layer and sequence
    whole_bytes: int = 0  # the part of it that every GPU holds in full

    def bytes_per_gpu(self, tensor_parallel: int) -> int:
        """Bytes of one layer and sequence on each of so many GPUs."""
        return self.whole_bytes + ceil((self.state_bytes - self.whole_bytes) / tensor_parallel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer:
    """Layers of sparse attention that also cache an fp8 key of `head_dim` elements per token, with
    a float32 scale per 128 of them, on every GPU in full.

    Source: vllm-project/vllm vllm/model_executor/models/deepseek_v2.py, DeepseekV32IndexerCache.
    """

    layers: int
    head_dim: int
    element_bytes: int = 1  # 2: 16 bits without scales (MiniMax-M3)

    @property
    def block_tokens(self) -> int:
        """Tokens of a block, which the kernels of sparse attention fix.

        Source: vllm-project/vllm, get_supported_kernel_block_sizes in
        vllm/v1/attention/backends/mla/indexer.py and vllm/models/minimax_m3/common/indexer.py.
        """
        return 128 if self.element_bytes > 1 else 64

    @property
    def cached_bytes(self) -> int:
        """Bytes that one layer caches per token."""
        if self.element_bytes > 1:
            return self.element_bytes * self.head_dim
        return self.head_dim + 4 * self.head_dim // _SCALE_GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """The routed experts in each of `layers`; sizes count elements.

    `gated` experts have three matrices, others two. `input_size` None is the model's hidden size;
    Nemotron 3 Super and Ultra feed their experts a smaller latent vector.
    """

    layers: int
    count: int
    per_token: int
    intermediate_size: int
    input_size: int | None = None
    gated: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.per_token <= self.count:
            raise ValueError(f"{self.per_token} experts per token of {self.count} in all")

    def parameters(self, hidden_size: int) -> int:
        """Parameters of one expert of one layer."""
        matrices = 3 if self.gated else 2
        return matrices * (self.input_size or hidden_size) * self.intermediate_size


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """One servable model. Sizes of layers count elements; weights, cache and disk are bytes.

    `layers` counts all decoder blocks. Those that are neither local nor recurrent nor among
    `cacheless_layers` (MLP or experts alone, or another layer's cache) cache the whole context.
    """

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
    weight_bytes: int  # of all weight files that are loaded, together
    dtype: str  # of what is not quantised
    quantization: str | None  # of the linear layers, or most of them: a key of QUANTIZATIONS
    disk_bytes: int
    runtimes: tuple[EngineName, ...]
    local_attention: LocalAttention | None = None
    recurrent: RecurrentLayers | None = None
    cacheless_layers: int = 0
    indexer: Indexer | None = None
    experts: Experts | None = None
    kv_cache_dtype: str | None = None  # None: that of the model
    weights: WeightLayout | None = None  # None: only weight_bytes is known
    loaded_bytes: int | None = None  # of the weights on GPUs, where padding makes them larger
    stated_parameters: int | None = None  # where the weight files cannot tell how many
    least_compute_capability: tuple[int, int] | None = None  # where the engines' do not suffice
    vllm_arguments: Mapping[str, str] = field(default_factory=dict, hash=False)
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
        if self.quantization is not None and self.quantization not in QUANTIZATIONS:
            raise ValueError(
                f"ModelProfile {self.name!r}: quantization must be one of "
                f"{', '.join(QUANTIZATIONS)}, got {self.quantization!r}"
            )
        if self.kv_cache_dtype not in (None, *_CACHE_BYTES):
            raise ValueError(
                f"ModelProfile {self.name!r}: kv_cache_dtype must be fp8 or left out, "
                f"got {self.kv_cache_dtype!r}"
            )
        if self.full_attention_layers < 0:
            raise ValueError(
                f"ModelProfile {self.name!r}: local, recurrent and cacheless layers are more than "
                f"the {self.layers} layers"
            )

    @property
    def quantized(self) -> Quantization | None:
        """The format of the linear layers; None when they are in `dtype`."""
        return QUANTIZATIONS[self.quantization] if self.quantization else None

    @property
    def min_compute_capability(self) -> tuple[int, int]:
        """The oldest GPUs whose kernels read this model's weights; (0, 0) for any."""
        needs = [self.least_compute_capability or (0, 0)]
        if self.quantized is not None:
            needs.append(self.quantized.min_compute_capability)
        return max(needs)

    @property
    def full_attention_layers(self) -> int:
        """Layers that cache every token of the context."""
        local = self.local_attention.layers if self.local_attention else 0
        recurrent = self.recurrent.layers if self.recurrent else 0
        return self.layers - local - recurrent - self.cacheless_layers

    @property
    def caches_evenly(self) -> bool:
        """Whether every token takes the same cache: no layer has a window or a state."""
        return self.local_attention is None and self.recurrent is None

    def cached_bytes(self, attention: Attention, tensor_parallel: int = 1) -> int:
        """Bytes that one layer of this shape caches per token on each GPU.

        Sparse latent attention keeps the rotated part in 16 bits and scales beside an fp8 vector
        (vLLM's fp8_ds_mla layout, vllm/v1/attention/backends/mla/flashmla_sparse.py).
        """
        rank, rope = attention.kv_lora_rank, attention.qk_rope_head_dim
        if self.indexer and self.kv_cache_dtype == "fp8" and rank is not None and rope is not None:
            return rank + 4 * rank // _SCALE_GROUP + 2 * rope
        width = 4 if self.dtype == "float32" else 2
        if self.kv_cache_dtype is not None:
            width = _CACHE_BYTES[self.kv_cache_dtype]
        return attention.cached_elements(tensor_parallel) * width

    def kv_bytes_per_token(self, *, tensor_parallel: int = 1, pipeline_parallel: int = 1) -> int:
        """Bytes of cache that each token of context adds, on the GPU that holds the most layers.

        Layers with a window add theirs only up to its length, and are not counted.
        """
        layers = ceil(self.full_attention_layers / pipeline_parallel)
        size = layers * self.cached_bytes(self.attention, tensor_parallel)
        if self.indexer is not None:
            size += ceil(self.indexer.layers / pipeline_parallel) * self.indexer.cached_bytes
        return size

    @property
    def embedding_bytes(self) -> int:
        """Bytes of the embedding and, unless it shares them, of lm_head: never quantised."""
        return self.embedding_parameters * BYTES_PER_PARAMETER[self.dtype]

    @property
    def parameters(self) -> int:
        """Number of parameters: stated, or derived from the weight files.

        Of quantised models everything but the embeddings is taken as quantised, which is a few
        percent too many.
        """
        if self.stated_parameters is not None:
            return self.stated_parameters
        if self.quantized is None:
            return round(Fraction(self.weight_bytes, BYTES_PER_PARAMETER[self.dtype]))
        rest = max(0, self.weight_bytes - self.embedding_bytes)
        return self.embedding_parameters + round(rest / self.quantized.bytes_per_parameter)

    @property
    def active_parameters(self) -> int:
        """Parameters that one token passes through, embeddings included."""
        if self.experts is None:
            return self.parameters
        idle = self.experts.layers * (self.experts.count - self.experts.per_token)
        return self.parameters - idle * self.experts.parameters(self.hidden_size)

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
        """The linear layers of one attention block and its dense or shared MLP."""
        return linears_of(self)
