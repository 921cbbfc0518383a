"""Time of one step of the engine: a roofline for each kind of work, and what hardware cannot help.

One step runs every layer over a batch: some tokens of prompts (prefill) and one token of each
sequence that is being continued (decode). Each kind of work takes the longer of moving its bytes
and doing its arithmetic (a smooth maximum); the kinds follow one another. docs/throughput.md
derives each term. What is fitted is `Efficiency`; everything else comes from the model's shape and
the card's data sheet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import exp, log1p, log2
from typing import Final

from kaito.domain.gpu import Gpu
from kaito.domain.model import BYTES_PER_PARAMETER, Attention, ModelProfile
from kaito.domain.quantization import QUANTIZATIONS

__all__ = [
    "Efficiency",
    "Layout",
    "StepModel",
    "link_bytes_per_s",
    "peak_flops",
    "requantized",
    "step_model",
]

_UNPACKED: Final = ((0, 0), 1)
_NATIVE: Final[Mapping[str | None, tuple[tuple[int, int], int]]] = {
    "fp8": ((8, 9), 2),
    "mxfp4": ((10, 0), 2),
    "nvfp4": ((10, 0), 4),
}
"""Formats that tensor cores multiply as they are: first compute capability, and how many times the
16-bit rate."""
_ACTIVATION_BYTES: Final = 2
_PCIE_BYTES_PER_S: Final = {7: 15.75e9, 8: 31.5e9}  # x16, one way: PCIe 3.0 and 4.0
_PCIE_5_BYTES_PER_S: Final = 63.0e9  # from Hopper on
LINK: Final = 0.80
"""Share of a link's rate that carries data: about 20 % is protocol.
Source: NVIDIA/nccl-tests issue 212, answer of 2024-05-06."""
PASSES: Final = 10
"""Times that a layer moves a token's hidden vector through HBM: two norms read and write it and the
residual (8), the results of attention and MLP are written (2)."""
_SHARPNESS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one replica of a model lies on GPUs.

    `data_parallel` counts attention replicas of `tensor_parallel` GPUs each that share one set of
    routed experts, whether each GPU holds whole experts or a slice of all. `eager` means that
    kernels are launched one by one, not replayed from a CUDA graph.
    """

    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    eager: bool = False

    def __post_init__(self) -> None:
        for name in ("tensor_parallel", "pipeline_parallel", "data_parallel"):
            if getattr(self, name) < 1:
                raise ValueError(f"Layout: {name} must be >= 1, got {getattr(self, name)}")

    @property
    def gpus(self) -> int:
        return self.tensor_parallel * self.pipeline_parallel * self.data_parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Efficiency:
    """Shares of the data sheet's rates, and times (seconds) that no data sheet has.

    The defaults are where fitting starts and what it is drawn to; `LINK` and `PASSES` are not
    fitted. Routed experts are multiplied in many small groups, whose rate hardly gains from a
    narrower format: theirs is a share of the 16-bit rate.
    """

    weight_read: float = 0.80  # of HBM bandwidth, reading dense weights
    cache_read: float = 0.60  # of HBM bandwidth, reading the KV cache
    expert_read: float = 0.60  # of HBM bandwidth, reading routed experts
    gemm: float = 0.60  # of the tensor cores' rate, dense layers
    expert_gemm: float = 0.30  # of their 16-bit rate, routed experts
    attention: float = 0.40  # of their 16-bit rate, attention over a prompt
    all_reduce_s: float = 8e-6  # one all-reduce of few bytes between two GPUs
    layer_s: float = 40e-6  # one layer's kernels, however little they do
    expert_layer_s: float = 40e-6  # more of that where a layer routes to experts
    step_s: float = 0.5e-3  # scheduling, sampling and answering, per step
    sequence_s: float = 20e-6  # the same per sequence of a step
    request_s: float = 10e-3  # between the client and the scheduler, per request
    expert_passes: float = 10.0  # times that a routed copy of a token moves through HBM
    prompt_layer_s: float = 500e-6  # the host launches one layer of a step with prompts
    eager_layer_s: float = 375e-6  # the same in a step without prompts, where no graph is replayed
    """375 us: 12 ms per token of 32 layers (vllm-project/vllm pull request 1440, Llama 2 7B)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepModel:
    """One (model, GPU, layout), worked out so far that a step costs a few microseconds to time.

    Fields are seconds: per step (`*_read_s`, `reduce_s`, `fixed_s`, `*floor_s`), per token
    (`*_token_s`), per token and token of context within and beyond windows (`*_context_s`,
    `*_window_s`), per sequence (`state_s`, `sequence_s`), per request (`request_s`).
    """

    dense_read_s: float
    dense_token_s: float
    head_read_s: float
    head_token_s: float
    expert_read_s: float  # all experts of all layers
    expert_token_s: float
    idle_log: float  # log of an expert's probability not to be among one token's
    expert_sharers: int  # attention replicas that send tokens to the same experts
    cache_context_s: float  # decode, all layers that see the whole context
    cache_window_s: float  # decode, all layers with a window
    attend_context_s: float  # prefill
    attend_window_s: float
    window: int
    state_s: float  # recurrent state of one sequence, read and written
    move_token_s: float
    reduce_s: float
    reduce_token_s: float
    fixed_s: float
    sequence_s: float
    request_s: float
    floor_s: float
    prompt_floor_s: float
    pipeline_parallel: int

    def seconds(
        self,
        *,
        prefill_tokens: float = 0.0,
        prefill_context: float = 0.0,
        prefills: float = 0.0,
        decodes: float = 0.0,
        context: float = 0.0,
    ) -> float:
        """Seconds of one step, smooth and rising in every argument.

        `prefill_tokens` in all, that each look back over `prefill_context` tokens on average;
        `prefills` prompts end in this step; `decodes` sequences of `context` tokens on average.
        """
        tokens = prefill_tokens + decodes
        sequences = prefills + decodes
        time = _larger(self.dense_read_s, tokens * self.dense_token_s)
        time += _larger(self.head_read_s, sequences * self.head_token_s)
        if self.expert_token_s:
            touched = 1.0 - exp(tokens * self.expert_sharers * self.idle_log)
            time += _larger(self.expert_read_s * touched, tokens * self.expert_token_s)
        window = self.window
        time += decodes * (
            context * self.cache_context_s
            + min(context, window) * self.cache_window_s
            + self.state_s
        )
        time += prefill_tokens * (
            prefill_context * self.attend_context_s
            + min(prefill_context, window) * self.attend_window_s
        )
        time += self.reduce_s + tokens * (self.reduce_token_s + self.move_token_s)
        time += self.fixed_s + sequences * self.sequence_s
        return _larger(time, self.prompt_floor_s if prefill_tokens else self.floor_s)


def step_model(model: ModelProfile, gpu: Gpu, layout: Layout, efficiency: Efficiency) -> StepModel:
    """Everything about a step that does not depend on the batch."""
    eff = efficiency
    split = layout.tensor_parallel
    bandwidth = float(gpu.memory_bandwidth_bytes_per_s)
    dense_bytes, dense_format = _dense_bytes(model), _dense_format(model)
    dense_rate = peak_flops(gpu, dense_format) * eff.gemm
    dense_parameters = dense_bytes * 8 / _bits(model, dense_format)
    head = model.vocab_size * model.hidden_size
    experts = model.experts
    expert_bytes = _expert_bytes(model)
    expert_ways = split * layout.data_parallel
    expert_rate = peak_flops(gpu) * eff.expert_gemm
    active = 0.0
    if experts is not None:
        one = experts.parameters(model.hidden_size)
        active = float(experts.layers * experts.per_token * one)
    moe_layers = experts.layers if experts is not None else 0
    full, local = model.full_attention_layers, model.local_attention
    local_layers = local.layers if local else 0
    attend_rate = peak_flops(gpu) * eff.attention
    reductions = 2 * model.layers if split > 1 else 0
    message = model.hidden_size * _ACTIVATION_BYTES
    routed = experts.layers * experts.per_token if experts else 0
    ring = 2 * (split - 1) / split * message / (link_bytes_per_s(gpu) * LINK)
    hops = (layout.pipeline_parallel - 1) * message / (link_bytes_per_s(gpu) * LINK)
    recurrent = model.recurrent
    state = 2 * recurrent.layers * recurrent.state_bytes / split if recurrent else 0.0
    floor = eff.eager_layer_s * model.layers if layout.eager else 0.0
    fixed = eff.step_s + model.layers * eff.layer_s + moe_layers * eff.expert_layer_s
    return StepModel(
        dense_read_s=dense_bytes / split / (bandwidth * eff.weight_read),
        dense_token_s=2 * dense_parameters / split / dense_rate,
        head_read_s=head * BYTES_PER_PARAMETER[model.dtype] / split / (bandwidth * eff.weight_read),
        head_token_s=2 * head / split / (peak_flops(gpu) * eff.gemm),
        expert_read_s=expert_bytes / expert_ways / (bandwidth * eff.expert_read),
        expert_token_s=2 * active * layout.data_parallel / expert_ways / expert_rate,
        idle_log=_idle_log(model),
        expert_sharers=layout.data_parallel,
        cache_context_s=full * _decode_attention_s(model, model.attention, gpu, split, eff),
        cache_window_s=local_layers * _decode_attention_s(model, local.attention, gpu, split, eff)
        if local
        else 0.0,
        attend_context_s=full * _attention_flops(model.attention) / split / attend_rate,
        attend_window_s=local_layers * _attention_flops(local.attention) / split / attend_rate
        if local
        else 0.0,
        window=local.window if local else 0,
        state_s=state / (bandwidth * eff.cache_read),
        move_token_s=(PASSES * model.layers + eff.expert_passes * routed) * message / bandwidth,
        reduce_s=reductions * eff.all_reduce_s * log2(split),
        reduce_token_s=reductions * ring + hops,
        fixed_s=fixed,
        sequence_s=eff.sequence_s,
        request_s=eff.request_s,
        floor_s=floor,
        prompt_floor_s=max(floor, eff.prompt_layer_s * model.layers),
        pipeline_parallel=layout.pipeline_parallel,
    )


def peak_flops(gpu: Gpu, quantization: str | None = None) -> float:
    """Dense FLOP/s of the tensor cores on weights in a format (a key of QUANTIZATIONS, None for 16
    bits).

    fp8 runs at twice the 16-bit rate from Ada on, nvfp4 at four times and mxfp4 (with fp8
    activations) at twice from Blackwell on. Everything else is unpacked to 16 bits first.
    Source: NVIDIA's data sheets of L4, H100 and B200 (without sparsity);
    https://docs.vllm.ai/en/latest/features/quantization/supported_hardware/
    """
    first, factor = _NATIVE.get(quantization, _UNPACKED)
    return gpu.fp16_flops * (factor if (gpu.compute_capability or (0, 0)) >= first else 1)


def link_bytes_per_s(gpu: Gpu) -> float:
    """Bytes per second, one way, from one GPU to the others of its machine: NVLink or PCIe."""
    if gpu.nvlink_bytes_per_s is not None:
        return gpu.nvlink_bytes_per_s
    major = (gpu.compute_capability or (7, 0))[0]
    return _PCIE_BYTES_PER_S.get(major, _PCIE_5_BYTES_PER_S)


def _larger(a: float, b: float) -> float:
    """A smooth maximum of two times: the 3-norm."""
    if a < b:
        a, b = b, a
    return a * (1.0 + (b / a) ** _SHARPNESS) ** (1 / _SHARPNESS) if b else a


def _bits(model: ModelProfile, quantization: str | None) -> float:
    """Bits of a parameter in a format, scales included."""
    if quantization is None:
        return 8.0 * BYTES_PER_PARAMETER[model.dtype]
    return float(QUANTIZATIONS[quantization].bits)


def _dense_format(model: ModelProfile) -> str | None:
    """The format outside the routed experts: checkpoints that pack experts into 4 bits keep
    everything else in 16."""
    packed = model.quantized is not None and model.quantized.bits < 8
    return None if model.experts is not None and packed else model.quantization


def requantized(model: ModelProfile, quantization: str | None) -> ModelProfile:
    """The same shape with its linear layers in another format (a key of QUANTIZATIONS, or None)."""
    if quantization == model.quantization:
        return model
    dense = _dense_bytes(model) * 8 / _bits(model, _dense_format(model))
    routed = _expert_bytes(model) * 8 / _bits(model, model.quantization)
    other = replace(model, quantization=quantization, weights=None, loaded_bytes=None)
    size = dense * _bits(other, _dense_format(other)) + routed * _bits(other, quantization)
    return replace(other, weight_bytes=other.embedding_bytes + round(size / 8))


def _expert_bytes(model: ModelProfile) -> float:
    experts = model.experts
    if experts is None:
        return 0.0
    if model.weights is not None:
        return float(sum(layer.experts for layer in model.weights.layers))
    count = experts.layers * experts.count
    return count * experts.parameters(model.hidden_size) * _bits(model, model.quantization) / 8


def _dense_bytes(model: ModelProfile) -> float:
    """Bytes of what every token passes through, embedding and lm_head left out."""
    if model.weights is not None:
        return float(sum(one.sharded + one.replicated for one in model.weights.layers))
    return max(0.0, model.weight_bytes - model.embedding_bytes - _expert_bytes(model))


def _idle_log(model: ModelProfile) -> float:
    experts = model.experts
    if experts is None or experts.per_token == experts.count:
        return -1e3
    return log1p(-experts.per_token / experts.count)


def _attention_flops(attention: Attention) -> float:
    """FLOP of one prompt token and token of context, all heads: scores and their use."""
    values = attention.v_head_dim or attention.head_dim
    return 2.0 * attention.heads * (attention.head_dim + values)


def _decode_attention_s(
    model: ModelProfile, attention: Attention, gpu: Gpu, split: int, eff: Efficiency
) -> float:
    """Seconds of one layer per sequence and token of its context: the cache is read, and latent
    attention does each head's arithmetic on the whole latent vector."""
    read = model.cached_bytes(attention, split) / (
        gpu.memory_bandwidth_bytes_per_s * eff.cache_read
    )
    rank, rope = attention.kv_lora_rank, attention.qk_rope_head_dim
    if rank is None or rope is None:
        return read
    flops = 2.0 * attention.heads / split * (2 * rank + rope)
    return _larger(read, flops / (peak_flops(gpu) * eff.attention))
