"""Bytes that one GPU holds while it serves a model.

vLLM takes a share of the card, loads the weights, measures one step, and gives the rest to the KV
cache: cache = utilization x total - weights - activations - what grew outside of torch - CUDA
graphs (these since 0.21; before, they came on top). Each part has its module: `rank_weights`,
`vllm_profile_run`, `kv_cache`; `engine_constants` are the few that were read off logs. Tuning is in
`tuning_memory`. docs/gpu-fit.md has the formulas.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from fractions import Fraction
from math import ceil
from typing import Final

from kaito.domain.engine import Engine
from kaito.domain.engine_constants import MEASURED, EngineConstants
from kaito.domain.gpu import Gpu
from kaito.domain.kv_cache import KvCache, kv_cache_of, states_held
from kaito.domain.model import EngineName, ModelProfile
from kaito.domain.quantity import GIB
from kaito.domain.rank_weights import block_weights, rank_weights, rotary_table_bytes
from kaito.domain.vllm_defaults import (
    KV_BLOCK_TOKENS,
    VLLM_LORA_RANK,
    default_max_num_seqs,
    gpu_memory_utilization,
    in_flight_tokens,
    max_num_batched_tokens,
    release,
    stage_layers,
)
from kaito.domain.vllm_profile_run import TRITON_KERNELS, Step, profile_run_bytes

__all__ = [
    "FRAGMENTATION_SHARE",
    "KV_BLOCK_TOKENS",
    "PRIORS",
    "TORCH_RUNTIME_BYTES",
    "MemoryBreakdown",
    "Rank",
    "ServerSettings",
    "budget_bytes",
    "budget_share",
    "default_max_num_seqs",
    "gpu_memory_utilization",
    "graphs_within_budget",
    "inference_memory",
    "kv_bytes_per_token",
    "kv_cache_bytes",
    "kv_cache_tokens",
    "max_num_batched_tokens",
    "memory_by_context",
    "outside_budget_bytes",
    "priors",
    "routings",
    "vllm_ranks",
]

PRIORS: Final[Mapping[str, str]] = {
    "gpu": "the memory that this GPU reports is assumed",
    "vllm.activations": "activations and CUDA graphs follow vLLM 0.17 to 0.19 on 80 GiB cards",
    "vllm.adapters": "adapters are computed from the shapes of vLLM's buffers",
    "transformers.budget": "5 % of the card is set aside for fragmentation",
    "transformers.runtime": "CUDA context and libraries are taken as 0.6 GiB",
    "transformers.activations": (
        "activations are counted from the tensors of one layer, with attention that keeps no "
        "matrix of scores (torch's scaled_dot_product_attention)"
    ),
    "tuning.activations": (
        "activations are counted from the tensors of one layer, with attention that keeps no "
        "matrix of scores (torch's scaled_dot_product_attention)"
    ),
}
"""Parts of a breakdown that no published measurement backs, and why."""

_BYTES_16_BIT: Final = 2
_ADAPTER_BYTES: Final = 4  # peft keeps adapters in float32
FRAGMENTATION_SHARE: Final = Fraction(5, 100)
TORCH_RUNTIME_BYTES: Final = int(0.6 * GIB)
_GRAPHS_IN_BUDGET: Final = (0, 21)
"""First release that takes CUDA graphs from the KV cache. Source: vllm-project/vllm
vllm/v1/worker/gpu_worker.py, determine_available_memory ("default since v0.21.0")."""


_LEAST_ACTIVATIONS_BYTES: Final = int(0.80 * GIB)
"""No start-up log shows less than 0.75 GiB, and an RTX 4090 took 0.87 where its tensors are 0.6
(casys-kaist/LLMServingSim@5daddb2 bench/examples/RTX4090/Llama-3.1-8B/vllm/meta.json)."""
_MXFP4_WARM_UP_BYTES: Final = int(3.7 * GIB)
"""CUDA graphs, and what else stays allocated when triton_kernels multiply mxfp4 experts, from one
failure: gpt-oss-20b on an H100 with a share of 0.95 has 6.3 GiB left beside weights, cache and
runtime, is 2.1 GiB into its sampler, and 0.55 GiB are free (llm-d-incubation/llm-d-planner pull
request 205). 3.7 is what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryBreakdown:
    """Bytes on the fullest GPU, by what they are for; `priors` are keys of `PRIORS`."""

    weights: int = 0
    kv_cache: int = 0
    activations: int = 0
    cuda_graphs: int = 0
    runtime: int = 0  # CUDA context, libraries, NCCL
    adapters: int = 0
    optimizer: int = 0
    gradients: int = 0
    priors: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, int]:
        """Bytes by name, in the order of the fields."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "priors"}

    @property
    def total(self) -> int:
        """All parts together; spelled out, because planning asks for it thousands of times."""
        return (
            self.weights
            + self.kv_cache
            + self.activations
            + self.cuda_graphs
            + self.runtime
            + self.adapters
            + self.optimizer
            + self.gradients
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """What a server is told beside the model, as far as memory depends on it.

    None is vLLM's default on that GPU. `adapters` counts LoRA slots of `lora_rank`;
    `cpu_offload_bytes` of each GPU's weights stay in the host's memory. With the transformers
    engine `pipeline_parallel` counts the GPUs that layers are spread over.
    """

    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    adapters: int = 0
    lora_rank: int = VLLM_LORA_RANK
    block_tokens: int = KV_BLOCK_TOKENS
    enforce_eager: bool = False
    cpu_offload_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank:
    """One GPU of a vLLM server. `fixed` is what it holds before the cache, `step_tokens` the tokens
    that are computed before blocks are freed."""

    fixed: MemoryBreakdown
    cache: KvCache
    step_tokens: int

    def kv_room(self, budget: int, *, graphs_within: bool = True) -> int:
        """Bytes left for the cache; below 0 where the rest is already too much."""
        outside = 0 if graphs_within else self.fixed.cuda_graphs
        return budget - self.fixed.total + outside

    def with_context(self, tokens: int) -> MemoryBreakdown:
        """With one sequence of so many tokens."""
        before = self.fixed
        return MemoryBreakdown(
            weights=before.weights,
            kv_cache=self.cache.bytes_of(tokens, self.step_tokens),
            activations=before.activations,
            cuda_graphs=before.cuda_graphs,
            runtime=before.runtime,
            adapters=before.adapters,
            priors=before.priors,
        )


def budget_share(gpu: Gpu, engine: EngineName, utilization: Fraction | None = None) -> Fraction:
    """Share of the reported memory that an engine may fill; `utilization` is vLLM's, None its
    setting for this GPU."""
    if engine is EngineName.VLLM:
        return gpu_memory_utilization(gpu) if utilization is None else utilization
    return 1 - FRAGMENTATION_SHARE


def budget_bytes(gpu: Gpu, engine: EngineName, utilization: Fraction | None = None) -> int:
    """Bytes that an engine may fill on one GPU, everything included."""
    return int(gpu.usable_bytes * budget_share(gpu, engine, utilization))


def graphs_within_budget(version: str) -> bool:
    """Whether this vLLM takes the CUDA graphs out of its share of the card."""
    return release(version) >= _GRAPHS_IN_BUDGET


def outside_budget_bytes(model: ModelProfile, gpu: Gpu, version: str, rank: Rank) -> int:
    """Bytes that vLLM takes of the card once its share is filled: CUDA graphs where the share does
    not hold them, with what mxfp4 experts need to warm up."""
    if graphs_within_budget(version):
        return 0
    if model.quantization == "mxfp4" and gpu.compute_capability == TRITON_KERNELS:
        return max(rank.fixed.cuda_graphs, _MXFP4_WARM_UP_BYTES)
    return rank.fixed.cuda_graphs


def kv_bytes_per_token(
    model: ModelProfile, *, tensor_parallel: int = 1, pipeline_parallel: int = 1
) -> int:
    """Bytes of KV cache that each further token takes on the GPU that holds the most layers."""
    return model.kv_bytes_per_token(
        tensor_parallel=tensor_parallel, pipeline_parallel=pipeline_parallel
    )


def kv_cache_bytes(
    model: ModelProfile,
    gpu: Gpu,
    context_tokens: int,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    step_tokens: int | None = None,
) -> int:
    """Bytes that vLLM caches for one sequence on the GPU that holds the most layers.

    `step_tokens` is --max-num-batched-tokens; None is vLLM's default on this GPU.
    """
    most = max(stage_layers(model.layers, pipeline_parallel))
    cache = kv_cache_of(model, layers=most, tensor_parallel=tensor_parallel)
    return cache.bytes_of(context_tokens, step_tokens or max_num_batched_tokens(gpu))


def kv_cache_tokens(
    ranks: tuple[Rank, ...], budget: int, context_tokens: int, *, graphs_within: bool = True
) -> int:
    """Tokens that a replica caches in all, in sequences of `context_tokens`: what the rank with the
    least room for them holds."""
    return min(
        rank.cache.tokens_within(
            rank.kv_room(budget, graphs_within=graphs_within), context_tokens, rank.step_tokens
        )
        for rank in ranks
        if rank.cache.block_bytes
    )


def inference_memory(
    model: ModelProfile,
    gpu: Gpu,
    engine: Engine,
    *,
    context_tokens: int,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    adapters: int = 0,
    lora_rank: int = VLLM_LORA_RANK,
    max_num_seqs: int | None = None,
    max_num_batched_tokens: int | None = None,
) -> MemoryBreakdown:
    """Memory to serve one sequence of `context_tokens`; grows with `context_tokens`.

    The keywords are those of `ServerSettings`.
    """
    assert context_tokens >= 0, context_tokens
    settings = ServerSettings(
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        adapters=adapters,
        lora_rank=lora_rank,
    )
    return memory_by_context(model, gpu, engine, settings)(context_tokens)


def memory_by_context(
    model: ModelProfile, gpu: Gpu, engine: Engine, settings: ServerSettings
) -> Callable[[int], MemoryBreakdown]:
    """Memory on the fullest GPU as a function of the tokens of one sequence; it never falls."""
    if engine.name is EngineName.VLLM:
        ranks = vllm_ranks(model, gpu, engine.version, settings)
        fixed = [(rank, rank.fixed.total) for rank in ranks]

        def fullest(tokens: int) -> MemoryBreakdown:
            rank, _ = max(
                fixed, key=lambda one: one[1] + one[0].cache.bytes_of(tokens, one[0].step_tokens)
            )
            return rank.with_context(tokens)

        return fullest
    assert settings.tensor_parallel == 1, "transformers splits layers over GPUs, not heads"
    return lambda tokens: _transformers_memory(model, gpu, tokens, settings)


def vllm_ranks(
    model: ModelProfile,
    gpu: Gpu,
    version: str,
    settings: ServerSettings,
    constants: EngineConstants = MEASURED,
) -> tuple[Rank, ...]:
    """The GPUs of one replica, one for each pipeline rank that differs: first, middle, last.

    Tensor-parallel GPUs of a rank are alike. Of the middle ranks the one with most weights stands
    for all.
    """
    assert settings.adapters >= 0, settings.adapters
    shards, stages = settings.tensor_parallel, settings.pipeline_parallel
    step = Step(
        tokens=settings.max_num_batched_tokens or max_num_batched_tokens(gpu),
        sequences=settings.max_num_seqs or default_max_num_seqs(gpu),
        release=release(version),
        tensor_parallel=shards,
        pipeline_parallel=stages,
    )
    held = stage_layers(model.layers, stages)
    weights = rank_weights(model, tensor_parallel=shards, pipeline_parallel=stages)
    elsewhere = _offloaded(model, settings)
    states = states_held(model, step.release)
    table = rotary_table_bytes(model)
    slot = sum(one.inputs + ceil(one.outputs / shards) for one in model.linears) * _BYTES_16_BIT
    assumed = priors(gpu, "vllm.activations", *(["vllm.adapters"] if settings.adapters else []))
    middle = max(range(1, stages - 1), key=lambda rank: (weights[rank], held[rank]), default=0)

    def one(rank: int) -> Rank:
        layers = held[rank]
        peak = profile_run_bytes(model, gpu, step, last=rank == stages - 1)
        return Rank(
            fixed=MemoryBreakdown(
                weights=weights[rank] - elsewhere[rank] + table,
                activations=max(_LEAST_ACTIVATIONS_BYTES, peak),
                cuda_graphs=0 if settings.enforce_eager else _graphs(model, layers, constants),
                runtime=_runtime(settings, constants),
                adapters=settings.adapters * settings.lora_rank * slot * layers,
                priors=assumed,
            ),
            cache=kv_cache_of(
                model,
                layers=layers,
                tensor_parallel=shards,
                states=states,
                block_tokens=settings.block_tokens,
            ),
            step_tokens=in_flight_tokens(step.tokens, step.release, stages),
        )

    return tuple(one(rank) for rank in sorted({0, middle, stages - 1}))


def _offloaded(model: ModelProfile, settings: ServerSettings) -> tuple[int, ...]:
    """Bytes of weights on each pipeline rank that stay in the host's memory."""
    shards, stages = settings.tensor_parallel, settings.pipeline_parallel
    if not settings.cpu_offload_bytes:
        return (0,) * stages
    blocks = block_weights(model, tensor_parallel=shards, pipeline_parallel=stages)
    return tuple(min(settings.cpu_offload_bytes, size) for size in blocks)


def _graphs(model: ModelProfile, layers: int, constants: EngineConstants) -> int:
    return (
        constants.graphs_base
        + layers * constants.graphs_per_layer
        + routings(model, layers) * constants.graphs_per_routing
    )


def routings(model: ModelProfile, layers: int) -> int:
    """Experts that a token goes to in so many layers, one after the other."""
    if model.experts is None:
        return 0
    return ceil(model.experts.layers * layers / model.layers) * model.experts.per_token


def _runtime(settings: ServerSettings, constants: EngineConstants) -> int:
    if settings.tensor_parallel > 1:
        return constants.runtime_tensor
    return constants.runtime_alone


def _transformers_memory(
    model: ModelProfile, gpu: Gpu, tokens: int, settings: ServerSettings
) -> MemoryBreakdown:
    """One sequence, layers spread over GPUs (device_map=auto).

    The cache of a layer is extended by concatenation (DynamicCache.update in
    huggingface/transformers src/transformers/cache_utils.py), so one layer exists twice. Layers
    with a window are counted as if they had none.
    """
    stages = settings.pipeline_parallel
    stage = ceil(model.layers / stages)
    layer_kv = model.attention.cached_elements() * _BYTES_16_BIT
    local, recurrent = model.local_attention, model.recurrent
    cached = kv_bytes_per_token(model, pipeline_parallel=stages) + layer_kv
    if local is not None:
        cached += ceil(local.layers / stages) * local.attention.cached_elements() * _BYTES_16_BIT
    states = ceil(recurrent.layers / stages) * recurrent.state_bytes if recurrent else 0
    # Prefill: residual, float32 norm, its result, and the four wide tensors of the gated MLP.
    prefill_elements = 5 * model.hidden_size + 4 * model.intermediate_size
    # The server merges all adapters into one, of the same rank.
    edges = sum(one.inputs + one.outputs for one in model.linears)
    merged = min(settings.adapters, 1) * settings.lora_rank * stage * edges
    return MemoryBreakdown(
        weights=max(rank_weights(model, pipeline_parallel=stages)),
        kv_cache=tokens * cached + min(1, tokens) * states,
        activations=tokens * prefill_elements * _BYTES_16_BIT + model.vocab_size * 4,
        runtime=TORCH_RUNTIME_BYTES,
        adapters=merged * _ADAPTER_BYTES,
        priors=priors(
            gpu, "transformers.budget", "transformers.runtime", "transformers.activations"
        ),
    )


def priors(gpu: Gpu, *keys: str) -> tuple[str, ...]:
    """Keys of `PRIORS`, with that of the card where its memory is assumed."""
    return ("gpu", *keys) if gpu.usable_is_prior else keys
