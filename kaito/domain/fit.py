"""How a model is laid out on an instance type, how long a context fits, and why not otherwise."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from typing import Final

from kaito.domain.candidate import (
    Candidate,
    DoesNotFit,
    Layout,
    budget_text,
    context_text,
    layout_text,
    longest_within,
    refusal,
)
from kaito.domain.engine import Engine, EngineChoice, NoEngine, choose_engine
from kaito.domain.errors import InvalidConfig, InvalidInput, Problem
from kaito.domain.gpu import Gpu, InstanceType
from kaito.domain.layouts import asked_layouts, layout_problems
from kaito.domain.memory import (
    KV_BLOCK_TOKENS,
    PRIORS,
    MemoryBreakdown,
    ServerSettings,
    budget_bytes,
    default_max_num_seqs,
    kv_cache_tokens,
    memory_by_context,
    vllm_ranks,
)
from kaito.domain.model import EngineName, ModelProfile
from kaito.domain.server_request import NOTHING_ASKED, ServerRequest
from kaito.domain.tuning_memory import TUNING_LORA_RANK, TUNING_SEQUENCE_TOKENS, tuning_memory
from kaito.domain.tuning_method import TuningMethod

__all__ = [
    "DoesNotFit",
    "FitPlan",
    "candidates",
    "concurrency_at",
    "fit_inference",
    "fit_tuning",
    "what_would_fit",
]

DEFAULT_CONTEXT_TOKENS: Final = 2048
"""Least context to plan for when none is asked; a model of a shorter limit gets its limit.
Source: kaito-project/kaito@056b8280b pkg/workspace/estimator/nodesestimator/estimator.go."""

DEFAULT_NODE_LIMIT: Final = 8
_KEPT_PLANS: Final = 4096
_KEPT_LAYOUTS: Final = 1 << 15  # the whole catalogue on every GPU


@dataclass(frozen=True, slots=True, kw_only=True)
class FitPlan:
    """A layout that fits. Bytes are per GPU, on the fullest one.

    `pipeline_parallel` counts stages: over nodes with vLLM, over the GPUs of the one node with
    transformers. `max_model_len` is the context asked for, or the longest that fits; for tuning it
    is the longest sequence that fits. `memory` is with one sequence of that context (tuning: of the
    sequence asked for), `kv_cache_tokens` what one replica caches in all, and `headroom_bytes` what
    is left of the engine's budget. `asked` are the settings of vLLM that it was made for.
    """

    instance_type: str
    engine: Engine
    dtype: str
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    data_parallel: int = 1
    nodes: int = 1
    max_model_len: int
    kv_cache_tokens: int = 0
    memory: MemoryBreakdown
    headroom_bytes: int
    explanation: tuple[str, ...]
    asked: ServerRequest = NOTHING_ASKED

    @property
    def max_concurrency(self) -> int:
        """Sequences of the whole context that are cached at once, over all replicas."""
        return self.data_parallel * (self.kv_cache_tokens // self.max_model_len)


def fit_inference(
    model: ModelProfile,
    instance_type: InstanceType,
    choice: EngineChoice,
    *,
    max_model_len: int | None = None,
    adapters: int = 0,
    node_limit: int = DEFAULT_NODE_LIMIT,
    asked: ServerRequest = NOTHING_ASKED,
) -> FitPlan:
    """The layout on the fewest nodes that holds the context asked for, with the settings that are
    `asked` of vLLM; other engines know none of them.

    When none is asked, that is the model's token limit; where no layout on one number of nodes
    holds it, the one with the longest context wins, from `DEFAULT_CONTEXT_TOKENS` up.

    Raises: DoesNotFit; InvalidInput when `max_model_len` is outside what the model can do;
    InvalidConfig when vLLM cannot start with the parallel sizes that are asked for.
    """
    if choice.engine.name is not EngineName.VLLM:
        asked = NOTHING_ASKED
    return _fit_inference(model, instance_type, choice, max_model_len, adapters, node_limit, asked)


@lru_cache(maxsize=_KEPT_PLANS)  # many Workspaces ask for the same
def _fit_inference(
    model: ModelProfile,
    instance_type: InstanceType,
    choice: EngineChoice,
    max_model_len: int | None,
    adapters: int,
    node_limit: int,
    asked: ServerRequest,
) -> FitPlan:
    assert node_limit >= 1, node_limit
    if max_model_len is not None and not 1 <= max_model_len <= model.token_limit:
        raise InvalidInput(
            [
                Problem(
                    field="inference.config[vllm.max-model-len]",
                    message=f"must be within 1..{model.token_limit} for {model.name}, "
                    f"got {max_model_len}",
                    rule="context-limit",
                )
            ]
        )
    impossible = tuple(layout_problems(model, instance_type, asked, node_limit))
    if impossible:
        raise InvalidConfig(impossible)
    target = max_model_len or model.token_limit
    least = max_model_len or min(model.token_limit, DEFAULT_CONTEXT_TOKENS)
    refused: list[Candidate] = []
    for nodes in range(1, node_limit + 1):
        fitting: list[Candidate] = []
        for candidate in candidates(
            model, instance_type, choice, nodes=nodes, adapters=adapters, asked=asked
        ):
            if candidate.longest >= target:
                return _inference_plan(candidate, max_model_len, adapters, asked)
            (fitting if candidate.longest >= least else refused).append(candidate)
        if fitting:
            longest = max(fitting, key=lambda one: one.longest)
            return _inference_plan(longest, max_model_len, adapters, asked)
    raise refusal(min(refused, key=lambda one: one.memory_of(least).total), least)


def candidates(
    model: ModelProfile,
    instance_type: InstanceType,
    choice: EngineChoice,
    *,
    nodes: int = 1,
    adapters: int = 0,
    asked: ServerRequest = NOTHING_ASKED,
) -> Iterator[Candidate]:
    """The layouts on so many nodes that `fit_inference` looks at, in that order: the first that
    holds the context is taken."""
    served = asked.applied_to(model)
    for layout in _layouts(model, instance_type, choice.engine.name, nodes, asked):
        settings = _settings(layout, adapters, asked)
        memory_of, longest = _measured(
            served, instance_type.gpu, choice.engine, settings, asked.utilization
        )
        yield Candidate(
            model=served,
            instance_type=instance_type,
            choice=choice,
            layout=layout,
            memory_of=memory_of,
            longest=longest,
            utilization=asked.utilization,
        )


@lru_cache(maxsize=_KEPT_LAYOUTS)  # many instance types have the same GPU
def _measured(
    model: ModelProfile,
    gpu: Gpu,
    engine: Engine,
    settings: ServerSettings,
    utilization: Fraction | None,
) -> tuple[Callable[[int], MemoryBreakdown], int]:
    memory_of = memory_by_context(model, gpu, engine, settings)
    budget = budget_bytes(gpu, engine.name, utilization)
    return memory_of, longest_within(memory_of, budget, model.token_limit)


def _layouts(
    model: ModelProfile,
    instance_type: InstanceType,
    engine: EngineName,
    nodes: int,
    asked: ServerRequest,
) -> Iterator[Layout]:
    """Layouts on so many nodes, most replicas first; with the parallel sizes that are asked for,
    where any is."""
    if asked.parallel_sizes:
        yield from asked_layouts(model, instance_type, asked, nodes)
        return
    gpus = instance_type.gpu_count
    if engine is EngineName.TRANSFORMERS:  # device_map=auto uses every GPU of its one node
        if nodes == 1:
            yield Layout(pipeline_parallel=min(gpus, model.layers))
        return
    shards = max(n for n in range(1, gpus + 1) if gpus % n == 0 and model.attention.splits_into(n))
    stages = nodes * (gpus // shards)
    if nodes == 1:
        if shards > 1 and 2 * model.weight_bytes < instance_type.gpu.memory_bytes:
            yield Layout(data_parallel=gpus)
        yield Layout(tensor_parallel=shards, data_parallel=gpus // shards)
    if 1 < stages <= model.layers:
        yield Layout(tensor_parallel=shards, pipeline_parallel=stages, nodes=nodes)


def _settings(layout: Layout, adapters: int, asked: ServerRequest) -> ServerSettings:
    """With the transformers engine nothing is asked, and every adapter counts."""
    return ServerSettings(
        tensor_parallel=layout.tensor_parallel,
        pipeline_parallel=layout.pipeline_parallel,
        max_num_seqs=asked.max_num_seqs,
        max_num_batched_tokens=asked.max_num_batched_tokens,
        adapters=asked.lora_slots(adapters),
        lora_rank=asked.lora_rank,
        block_tokens=asked.block_tokens or KV_BLOCK_TOKENS,
        enforce_eager=asked.enforce_eager,
        cpu_offload_bytes=asked.cpu_offload_bytes,
    )


def _inference_plan(
    candidate: Candidate, max_model_len: int | None, adapters: int, asked: ServerRequest
) -> FitPlan:
    context = max_model_len or candidate.longest
    cached = _cached_tokens(candidate, context, _settings(candidate.layout, adapters, asked))
    explanation = (
        *layout_text(candidate),
        budget_text(candidate, candidate.memory_of(0)),
        context_text(candidate, cached),
    )
    plan = _fit_plan(candidate, context, candidate.memory_of(context), cached, explanation)
    return replace(plan, asked=asked)


def _cached_tokens(candidate: Candidate, context: int, settings: ServerSettings) -> int:
    """Tokens that one replica caches: vLLM fills its budget, transformers holds one sequence.

    Where layers have a window or a state, it depends on how long the sequences are: of `context`
    tokens here, as in vLLM's own log.
    """
    choice, gpu = candidate.choice, candidate.instance_type.gpu
    if choice.engine.name is not EngineName.VLLM:
        return candidate.longest
    return _vllm_tokens(candidate.model, gpu, choice.engine, settings, candidate.budget, context)


@lru_cache(maxsize=_KEPT_LAYOUTS)
def _vllm_tokens(
    model: ModelProfile,
    gpu: Gpu,
    engine: Engine,
    settings: ServerSettings,
    budget: int,
    context: int,
) -> int:
    return kv_cache_tokens(vllm_ranks(model, gpu, engine.version, settings), budget, context)


def concurrency_at(
    model: ModelProfile, gpu: Gpu, plan: FitPlan, tokens: int, *, adapters: int = 0
) -> int:
    """Sequences of so many tokens that run at once, over all replicas of the plan on this GPU.

    vLLM caches what its room holds and runs --max-num-seqs at most; transformers has one.
    """
    assert tokens >= 1, tokens
    if plan.engine.name is not EngineName.VLLM:
        return int(plan.max_model_len >= tokens)
    layout = Layout(tensor_parallel=plan.tensor_parallel, pipeline_parallel=plan.pipeline_parallel)
    settings = _settings(layout, adapters, plan.asked)
    budget = budget_bytes(gpu, plan.engine.name, plan.asked.utilization)
    served = plan.asked.applied_to(model)
    cached = _vllm_tokens(served, gpu, plan.engine, settings, budget, tokens)
    at_once = plan.asked.max_num_seqs or default_max_num_seqs(gpu)
    return plan.data_parallel * min(cached // tokens, at_once)


def _fit_plan(
    candidate: Candidate,
    max_model_len: int,
    memory: MemoryBreakdown,
    kv_cache_tokens: int,
    explanation: tuple[str, ...],
) -> FitPlan:
    assert memory.total <= candidate.budget, (memory, candidate.budget)
    layout = candidate.layout
    return FitPlan(
        instance_type=candidate.instance_type.name,
        engine=candidate.choice.engine,
        dtype=candidate.choice.dtype,
        tensor_parallel=layout.tensor_parallel,
        pipeline_parallel=layout.pipeline_parallel,
        data_parallel=layout.data_parallel,
        nodes=layout.nodes,
        max_model_len=max_model_len,
        kv_cache_tokens=kv_cache_tokens,
        memory=memory,
        headroom_bytes=candidate.budget - memory.total,
        explanation=(*explanation, *(f"assumed: {PRIORS[key]}" for key in memory.priors)),
    )


def fit_tuning(
    model: ModelProfile,
    instance_type: InstanceType,
    method: TuningMethod,
    choice: EngineChoice,
    *,
    sequence_tokens: int = TUNING_SEQUENCE_TOKENS,
    batch_size: int = 1,
    lora_rank: int = TUNING_LORA_RANK,
    gradient_checkpointing: bool = True,
) -> FitPlan:
    """One node, one whole copy of the model on each of its GPUs.

    Raises: DoesNotFit; InvalidInput when the model cannot be tuned so.
    """
    if choice.engine.name is not EngineName.TRANSFORMERS:
        raise ValueError(f"tuning runs on transformers, not on {choice.engine.name}")
    if model.tuning is None:
        problem = Problem(
            field="tuning.preset.name",
            message=f"{model.name} cannot be tuned",
            remedy="Choose a model whose file has the key tuning, such as phi-4-mini-instruct",
            rule="tuning-supported",
        )
        raise InvalidInput([problem])
    if method not in model.tuning.methods:
        methods = ", ".join(model.tuning.methods)
        problem = Problem(
            field="tuning.method",
            message=f"{model.name} cannot be tuned with {method}, but with {methods}",
            remedy="Choose another method or model",
            rule="tuning-supported",
        )
        raise InvalidInput([problem])

    def memory_of(tokens: int) -> MemoryBreakdown:
        return tuning_memory(
            model,
            instance_type.gpu,
            method,
            sequence_tokens=tokens,
            batch_size=batch_size,
            lora_rank=lora_rank,
            gradient_checkpointing=gradient_checkpointing,
        )

    budget = budget_bytes(instance_type.gpu, choice.engine.name)
    candidate = Candidate(
        model=model,
        instance_type=instance_type,
        choice=choice,
        layout=Layout(data_parallel=instance_type.gpu_count),
        memory_of=memory_of,
        longest=longest_within(memory_of, budget, model.token_limit),
    )
    wanted = min(sequence_tokens, model.token_limit)
    if candidate.longest < wanted:
        raise refusal(candidate, wanted)
    memory = memory_of(wanted)
    explanation = (
        *layout_text(candidate),
        budget_text(candidate, memory),
        f"sequences of up to {candidate.longest} tokens fit at batch size {batch_size}",
    )
    return _fit_plan(candidate, candidate.longest, memory, 0, explanation)


def what_would_fit(
    model: ModelProfile,
    instance_types: Iterable[InstanceType],
    engines: Iterable[Engine],
    *,
    cloud: str | None = None,
    region: str | None = None,
    requested: EngineName | None = None,
    max_model_len: int | None = None,
    adapters: int = 0,
    node_limit: int = 1,
    tuning: TuningMethod | None = None,
    include_legacy: bool = False,
    asked: ServerRequest = NOTHING_ASKED,
) -> tuple[InstanceType, ...]:
    """Instance types that the model fits, cheapest on demand first, unknown prices last.

    `cloud` None is any cloud, `region` None prices each type where it is cheapest; the price
    counts all nodes of the plan. `tuning` None asks about inference; a method asks about tuning
    with the defaults of `fit_tuning`. Types whose GPUs do not make up the parallel sizes `asked`
    are left out.

    Raises: InvalidInput when no instance type could help: the model cannot be tuned so, or has no
    such context.
    """
    known_engines = tuple(engines)
    found: list[tuple[float, str, InstanceType]] = []
    for one in instance_types:
        if (cloud and one.cloud != cloud) or (one.legacy and not include_legacy):
            continue
        try:
            if tuning is not None:
                choice = choose_engine(known_engines, one.gpu, model, EngineName.TRANSFORMERS)
                plan = fit_tuning(model, one, tuning, choice)
            else:
                choice = choose_engine(known_engines, one.gpu, model, requested)
                plan = fit_inference(
                    model,
                    one,
                    choice,
                    max_model_len=max_model_len,
                    adapters=adapters,
                    node_limit=node_limit,
                    asked=asked,
                )
        except (NoEngine, DoesNotFit, InvalidConfig):
            continue
        price = one.price(region) if region else one.lowest_price()
        hourly = price.on_demand_usd_per_hour * plan.nodes if price else float("inf")
        found.append((hourly, one.name, one))
    return tuple(one for _, _, one in sorted(found, key=lambda entry: entry[:2]))
