"""Attention of a config.json: its shape, and the parts of its block.

Names and splits: vllm-project/vllm vllm/model_executor/models/{llama,qwen3,deepseek_v2}.py.
"""

from kaito.domain.hf_config.config import Config, invalid
from kaito.domain.hf_config.parts import Part, Share, matrix, router, vector, whole
from kaito.domain.model import Attention, Indexer


def grouped_attention(config: Config, hidden: int, *, prefix: str = "") -> Attention:
    """Multi-head, grouped-query or multi-query attention; `prefix` is that of keys for layers with
    a window (swa_), which fall back to the others'.

    Raises: InvalidModel (heads that do not divide, a head size that nothing tells).
    """

    def keys(*names: str) -> tuple[str, ...]:
        return tuple(f"{prefix}{name}" for name in names) + (names if prefix else ())

    heads = config.integer(*keys("num_attention_heads", "n_head", "num_heads"))
    kv_heads = config.optional(*keys("num_key_value_heads", "num_kv_heads", "num_attention_groups"))
    if kv_heads is None:
        kv_heads = 1 if config.switch("multi_query") else heads
    head_dim = config.optional(*keys("head_dim", "attention_head_dim"))
    if head_dim is None:
        if hidden % heads:
            raise invalid(
                config.field("num_attention_heads"),
                f"{heads} heads do not divide the hidden size {hidden}, and head_dim is missing",
            )
        head_dim = hidden // heads
    if kv_heads > heads or heads % kv_heads:
        raise invalid(
            config.field("num_key_value_heads"), f"{kv_heads} KV heads do not divide {heads} heads"
        )
    values = config.optional(*keys("v_head_dim"))
    return Attention(
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        v_head_dim=values if values != head_dim else None,
        sliding_window=sliding_window(config),
    )


def sliding_window(config: Config) -> int | None:
    """Tokens that layers with a window look back over; None without one."""
    if not config.switch("use_sliding_window", default=True):
        return None
    return config.optional("sliding_window", "sliding_window_size", "attention_chunk_size")


def grouped_parts(
    attention: Attention,
    hidden: int,
    *,
    bias: bool = False,
    output_bias: bool = False,
    norm: str = "",
    gated: bool = False,
    sinks: bool = False,
) -> tuple[Part, ...]:
    """Projections and norms. `norm` is "" (none), "head" (one for all heads) or "layer"; `gated`
    queries carry a gate of their size; `sinks` are a number per head."""
    query = attention.heads * attention.head_dim
    key = attention.kv_heads * attention.head_dim
    value = attention.kv_heads * (attention.v_head_dim or attention.head_dim)
    parts = [
        matrix("q_proj", query * (2 if gated else 1), hidden, bias=bias),
        matrix("k_proj", key, hidden, bias=bias),
        matrix("v_proj", value, hidden, bias=bias),
        matrix("o_proj", hidden, attention.output_size, bias=output_bias),
    ]
    if norm:
        sizes = (attention.head_dim,) * 2 if norm == "head" else (query, key)
        parts += [
            vector(name, size) for name, size in zip(("q_norm", "k_norm"), sizes, strict=True)
        ]
    if sinks:
        parts.append(vector("sinks", attention.heads, share=Share.SPLIT))
    return tuple(parts)


def latent_attention(config: Config) -> Attention:
    """Multi-head latent attention (DeepSeek). Raises: InvalidModel."""
    heads = config.integer("num_attention_heads")
    rope = config.integer("qk_rope_head_dim")
    nope = config.integer("qk_nope_head_dim")
    return Attention(
        heads=heads,
        kv_heads=heads,
        head_dim=nope + rope,
        kv_lora_rank=config.integer("kv_lora_rank"),
        qk_rope_head_dim=rope,
        q_lora_rank=config.optional("q_lora_rank"),
        v_head_dim=config.integer("v_head_dim"),
    )


def latent_parts(attention: Attention, hidden: int) -> list[Part]:
    """The projections down are on every rank, those up are split by heads."""
    rank, rope = attention.kv_lora_rank, attention.qk_rope_head_dim
    assert rank is not None
    assert rope is not None
    query = attention.heads * attention.head_dim
    values = attention.v_head_dim or 0
    low = attention.q_lora_rank
    parts = [
        whole("kv_a_proj_with_mqa", rank + rope, hidden),
        vector("kv_a_layernorm", rank),
        matrix("kv_b_proj", attention.heads * (attention.head_dim - rope + values), rank),
        matrix("o_proj", hidden, attention.heads * values),
    ]
    if low is None:
        parts.append(matrix("q_proj", query, hidden))
    else:
        parts += [
            whole("q_a_proj", low, hidden),
            vector("q_a_layernorm", low),
            matrix("q_b_proj", query, low),
        ]
    return parts


class LatentIndexer:
    """The lightning indexer of sparse latent attention: all of it is on every rank. GLM 5.2 has one
    in every few layers, whose choice the next ones take over."""

    def __init__(self, config: Config, layers: int) -> None:
        self.heads = config.integer("index_n_heads")
        self.query = config.optional("q_lora_rank")
        self.head_dim = config.integer("index_head_dim")
        period = config.integer("index_topk_freq", default=1)
        offset = config.integer("index_skip_topk_offset", default=2, least=0)
        self.where = tuple(max(layer - offset + 1, 0) % period == 0 for layer in range(layers))

    def parts(self, hidden: int) -> list[Part]:
        """Of one layer."""
        return [
            whole("indexer.wq_b", self.heads * self.head_dim, self.query or hidden),
            whole("indexer.wk", self.head_dim, hidden),
            vector("indexer.k_norm", 2 * self.head_dim),
            router("indexer.weights_proj", self.heads, hidden),
        ]

    @property
    def cached(self) -> Indexer:
        return Indexer(layers=sum(self.where), head_dim=self.head_dim)


class BlockIndexer:
    """The indexer of block-sparse attention (MiniMax-M3); its keys are cached in 16 bits."""

    def __init__(self, config: Config, layers: int) -> None:
        self.heads = config.integer("sparse_num_index_heads")
        self.head_dim = config.integer("sparse_index_dim")
        marks = config.integers("sparse_attention_freq") or (1,) * layers
        self.where = tuple(mark > 0 for mark in marks[:layers])

    def parts(self, hidden: int) -> list[Part]:
        """Of one layer."""
        return [
            whole("index_q_proj", self.heads * self.head_dim, hidden),
            whole("index_k_proj", self.head_dim, hidden),
            vector("index_norms", 2 * self.head_dim),
        ]

    @property
    def cached(self) -> Indexer:
        return Indexer(layers=sum(self.where), head_dim=self.head_dim, element_bytes=2)
