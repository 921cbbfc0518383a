"""The linear layers of one decoder block, by the names that adapters target."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kaito.domain.model import Attention, ModelProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One linear layer by the name that adapters target; sizes are elements."""

    name: str
    inputs: int
    outputs: int

    @property
    def parameters(self) -> int:
        return self.inputs * self.outputs


def linears_of(model: "ModelProfile") -> tuple[Linear, ...]:
    """The linear layers of one attention block and its dense or shared MLP; routed experts are not
    among them.

    Names and fusions: huggingface/transformers src/transformers/models/{phi3,phi,falcon,llama,
    deepseek_v3}/modeling_*.py.
    """
    hidden, wide = model.hidden_size, model.intermediate_size
    query = model.attention.heads * model.attention.head_dim
    key = model.attention.kv_heads * model.attention.head_dim
    if model.architecture == "Phi3ForCausalLM":
        return (
            Linear(name="qkv_proj", inputs=hidden, outputs=query + 2 * key),
            Linear(name="o_proj", inputs=query, outputs=hidden),
            Linear(name="gate_up_proj", inputs=hidden, outputs=2 * wide),
            Linear(name="down_proj", inputs=wide, outputs=hidden),
        )
    if model.architecture == "PhiForCausalLM":
        return (
            *_query_key_value(hidden, query, key),
            Linear(name="dense", inputs=query, outputs=hidden),
            Linear(name="fc1", inputs=hidden, outputs=wide),
            Linear(name="fc2", inputs=wide, outputs=hidden),
        )
    if model.architecture == "FalconForCausalLM":
        return (
            Linear(name="query_key_value", inputs=hidden, outputs=query + 2 * key),
            Linear(name="dense", inputs=query, outputs=hidden),
            Linear(name="dense_h_to_4h", inputs=hidden, outputs=wide),
            Linear(name="dense_4h_to_h", inputs=wide, outputs=hidden),
        )
    return (
        *(_latent(hidden, model.attention) or _query_key_value(hidden, query, key)),
        Linear(name="o_proj", inputs=model.attention.output_size, outputs=hidden),
        Linear(name="gate_proj", inputs=hidden, outputs=wide),
        Linear(name="up_proj", inputs=hidden, outputs=wide),
        Linear(name="down_proj", inputs=wide, outputs=hidden),
    )


def _query_key_value(hidden: int, query: int, key: int) -> tuple[Linear, ...]:
    return (
        Linear(name="q_proj", inputs=hidden, outputs=query),
        Linear(name="k_proj", inputs=hidden, outputs=key),
        Linear(name="v_proj", inputs=hidden, outputs=key),
    )


def _latent(hidden: int, attention: "Attention") -> tuple[Linear, ...]:
    """The projections of multi-head latent attention; empty for every other kind."""
    rank, rope = attention.kv_lora_rank, attention.qk_rope_head_dim
    if rank is None or rope is None:
        return ()
    query = attention.heads * attention.head_dim
    unrotated = attention.heads * (attention.head_dim - rope)
    queries: tuple[Linear, ...] = (Linear(name="q_proj", inputs=hidden, outputs=query),)
    if attention.q_lora_rank is not None:
        queries = (
            Linear(name="q_a_proj", inputs=hidden, outputs=attention.q_lora_rank),
            Linear(name="q_b_proj", inputs=attention.q_lora_rank, outputs=query),
        )
    return (
        *queries,
        Linear(name="kv_a_proj_with_mqa", inputs=hidden, outputs=rank + rope),
        Linear(name="kv_b_proj", inputs=rank, outputs=unrotated + attention.output_size),
    )
