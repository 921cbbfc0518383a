"""Dense MLPs and mixtures of experts of a config.json.

Names and splits: vllm-project/vllm vllm/model_executor/models/{llama,qwen3_moe,deepseek_v2}.py.
"""

from dataclasses import dataclass, replace
from typing import Final

from kaito.domain.hf_config.config import Config, invalid
from kaito.domain.hf_config.parts import Part, Share, below, matrix, router, vector, whole
from kaito.domain.model import Experts

_COUNT: Final = ("num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts")
_PER_TOKEN: Final = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "experts_per_token",
    "top_k_experts",
    "moe_k",
    "moe_top_k",
)
_SIZE: Final = ("moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size")
_SHARED_COUNT: Final = ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts")
_SHARED_SIZE: Final = (
    "shared_expert_intermediate_size",
    "moe_shared_expert_intermediate_size",
    "share_expert_dim",
)


def dense_parts(hidden: int, size: int, *, gated: bool = True, bias: bool = False) -> list[Part]:
    """gate, up and down; without a gate, up and down."""
    gate = [matrix("gate_proj", size, hidden, bias=bias)] if gated else []
    return [
        *gate,
        matrix("up_proj", size, hidden, bias=bias),
        matrix("down_proj", hidden, size, bias=bias),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """Routed experts as a config tells them; sizes are elements."""

    where: tuple[bool, ...]  # for each block, whether it has experts
    count: int
    per_token: int
    size: int
    input_size: int
    gated: bool = True
    bias: bool = False
    shared: int = 0  # size of the shared expert
    shared_gate: bool = False
    router_bias: bool = False
    correction: bool = False  # a float32 bias per expert that only routing sees
    name: str = "mlp"

    def parts(self, hidden: int) -> tuple[Part, ...]:
        """Of one block."""
        gate = "router" if self.bias else "gate"
        parts = [router(gate, self.count, hidden, bias=self.router_bias)]
        if self.correction:
            parts.append(vector(f"{gate}.e_score_correction_bias", self.count, element_bytes=4))
        matrices = dense_parts(self.input_size, self.size, gated=self.gated, bias=self.bias)
        experts = [replace(one, share=Share.EXPERTS, copies=self.count) for one in matrices]
        parts += below("experts", experts)
        if self.shared:
            name = "shared_expert" if self.shared_gate else "shared_experts"
            parts += below(name, dense_parts(hidden, self.shared, gated=self.gated))
        if self.shared_gate:
            parts.append(router("shared_expert_gate", 1, hidden))
        if self.input_size != hidden:
            parts.append(whole("fc1_latent_proj", self.input_size, hidden))
            parts.append(whole("fc2_latent_proj", hidden, self.input_size))
        return below(self.name, parts)

    def experts(self, hidden: int) -> Experts:
        return Experts(
            layers=sum(self.where),
            count=self.count,
            per_token=self.per_token,
            intermediate_size=self.size,
            input_size=None if self.input_size == hidden else self.input_size,
            gated=self.gated,
        )


def mixture_of(
    config: Config,
    hidden: int,
    where: tuple[bool, ...],
    *,
    name: str = "mlp",
    bias: bool = False,
    shared_gate: bool = False,
    shared_as_routed: bool = False,
    correction: bool = False,
    gated: bool = True,
) -> Mixture | None:
    """None where the config has no experts, or no block with them.

    Raises: InvalidModel (more experts per token than there are, and what `Config` refuses).
    """
    if not any(where) or not any(key in config for key in _COUNT):
        return None
    count = config.integer(*_COUNT)
    per_token = config.integer(*_PER_TOKEN)
    if per_token > count:
        key = next(key for key in _PER_TOKEN if key in config)
        raise invalid(config.field(key), f"{per_token} experts per token of {count} in all")
    size = config.integer(*_SIZE)
    shared = config.integer(*_SHARED_SIZE, default=0, least=0)
    if shared_as_routed:
        shared = size
    elif not shared:
        each = config.optional("shared_intermediate_size", least=0)
        shared = config.integer(*_SHARED_COUNT, default=0 if each is None else 1, least=0) * (
            size if each is None else each
        )
    return Mixture(
        where=where,
        count=count,
        per_token=per_token,
        size=size,
        input_size=config.integer("moe_latent_size", "routed_expert_hidden_size", default=hidden),
        gated=gated,
        bias=bias,
        shared=shared,
        shared_gate=shared_gate and shared > 0,
        router_bias=bias,
        correction=correction,
        name=name,
    )


def blocks_with_experts(config: Config, layers: int) -> tuple[bool, ...]:
    """For each block, whether it has routed experts, by the keys that families use.

    Raises: InvalidModel (a list of another length than the layers, more dense layers than layers).
    """
    frequency = config.values.get("moe_layer_freq")
    if isinstance(frequency, list):
        listed = config.integers("moe_layer_freq") or ()
        return tuple(one > 0 for one in of_length(config, "moe_layer_freq", listed, layers))
    dense = config.integer("first_k_dense_replace", "moe_layer_start_index", default=0, least=0)
    if dense > layers:
        raise invalid(
            config.field("first_k_dense_replace"), f"{dense} dense layers of {layers} in all"
        )
    step = config.integer(
        "decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq", default=1
    )
    without = frozenset(config.integers("mlp_only_layers") or ())
    dense_first = "moe_layer_freq" in config
    return tuple(
        layer >= dense
        and layer not in without
        and (layer % step == 0 if dense_first else (layer + 1) % step == 0)
        for layer in range(layers)
    )


def of_length(config: Config, key: str, values: tuple[int, ...], layers: int) -> tuple[int, ...]:
    """The list, if it has an entry for each layer (more are of prediction layers)."""
    if len(values) < layers:
        raise invalid(
            config.field(key), f"has {len(values)} entries for {layers} layers (num_hidden_layers)"
        )
    return values[:layers]
