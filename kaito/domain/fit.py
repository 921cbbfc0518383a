"""How a model is laid out on an instance type, how long a context fits, and why not otherwise."""

from collections.abc import Callable, Iterable, Iterator
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
    spare_text,
)
from kaito.domain.engine import Engine, EngineChoice, NoEngine, choose_engine
from kaito.domain.errors import InvalidConfig, InvalidInput, Problem
from kaito.domain.fit_plan import FitPlan, fit_plan
from kaito.domain.gpu import Gpu, InstanceType
from kaito.domain.known_error import known_error
from kaito.domain.layouts import layout_problems, other_layouts, usual_layouts
from kaito.domain.memory import (
    KV_BLOCK_TOKENS,
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
from kaito.domain.tuning_fit import TuningRequest, fit_tuning

__all__ = [
    "DoesNotFit",
    "FitPlan",
    "candidates",
    "concurrency_at",
    "fit_inference",
    "other_candidates",
    "what_would_fit",
]

DEFAULT_CONTEXT_TOKENS: Final = 2048
"""Least context to plan for when none is asked; a model of a shorter limit gets its limit.
Source: kaito-project/kaito@056b8280b pkg/workspace/estimator/nodesestimator/estimator.go."""

DEFAULT_NODE_LIMIT: Final = 8
_KEPT_PLANS: Final = 4096
_KEPT_LAYOUTS: Final = 1 << 15  # the whole catalogue on every GPU


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

    When none is asked, that is the model's token limit. Where no layout on one number of nodes
    holds it, the longest context that leaves the known error of memory free is planned, on the
    layout with the longest; where not even `DEFAULT_CONTEXT_TOKENS` leave it free and still fit,
    those. Other layouts than the usual are looked at where no usual one fits at all.

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
    least = max_model_len or min(model.token_limit, DEFAULT_CONTEXT_TOKENS)
    refused: list[Candidate] = []
    for among in (candidates, other_candidates):
        for nodes in range(1, node_limit + 1):
            found = among(model, instance_type, choice, nodes=nodes, adapters=adapters, asked=asked)
            taken = _taken(found, max_model_len, least, refused)
            if taken is not None:
                return _inference_plan(taken, max_model_len, least, adapters, asked)
    raise refusal(min(refused, key=lambda one: one.memory_of(least).total), least)


def _taken(
    found: Iterable[Candidate], asked: int | None, least: int, refused: list[Candidate]
) -> Candidate | None:
    """The first that holds the context asked for, or without one the model's limit; else the one
    with most room. Those that do not hold `least` tokens are added to `refused`."""
    fitting: list[Candidate] = []
    for one in found:
        if one.longest < least:
            refused.append(one)
        elif asked is not None or one.holds_all:
            return one
        else:
            fitting.append(one)

    def room(one: Candidate) -> tuple[int, int]:
        return one.safe, one.budget - one.memory_of(least).total

    return max(fitting, key=room, default=None)


def candidates(
    model: ModelProfile,
    instance_type: InstanceType,
    choice: EngineChoice,
    *,
    nodes: int = 1,
    adapters: int = 0,
    asked: ServerRequest = NOTHING_ASKED,
) -> Iterator[Candidate]:
    """The usual layouts on so many nodes, in the order in which `fit_inference` looks at them."""
    layouts = usual_layouts(model, instance_type, choice.engine.name, nodes, asked)
    return _measured_layouts(layouts, model, instance_type, choice, adapters, asked)


def other_candidates(
    model: ModelProfile,
    instance_type: InstanceType,
    choice: EngineChoice,
    *,
    nodes: int = 1,
    adapters: int = 0,
    asked: ServerRequest = NOTHING_ASKED,
) -> Iterator[Candidate]:
    """The other layouts on so many nodes, which are looked at where no usual one fits."""
    layouts = other_layouts(model, instance_type, choice.engine.name, nodes, asked)
    return _measured_layouts(layouts, model, instance_type, choice, adapters, asked)


def _measured_layouts(
    layouts: Iterable[Layout],
    model: ModelProfile,
    instance_type: InstanceType,
    choice: EngineChoice,
    adapters: int,
    asked: ServerRequest,
) -> Iterator[Candidate]:
    served = asked.applied_to(model)
    error = known_error(model.architecture, choice.engine.name)
    for layout in layouts:
        settings = _settings(layout, adapters, asked)
        memory_of, longest, safe = _measured(
            served, instance_type.gpu, choice.engine, settings, asked.utilization, error.size
        )
        yield Candidate(
            model=served,
            instance_type=instance_type,
            choice=choice,
            layout=layout,
            memory_of=memory_of,
            longest=longest,
            safe=safe,
            error=error,
            utilization=asked.utilization,
        )


@lru_cache(maxsize=_KEPT_LAYOUTS)  # many instance types have the same GPU
def _measured(
    model: ModelProfile,
    gpu: Gpu,
    engine: Engine,
    settings: ServerSettings,
    utilization: Fraction | None,
    error_bytes: int,
) -> tuple[Callable[[int], MemoryBreakdown], int, int]:
    """Memory by context, the longest context, and the longest that leaves the error free."""
    memory_of = memory_by_context(model, gpu, engine, settings)
    budget = budget_bytes(gpu, engine.name, utilization)
    longest = longest_within(memory_of, budget, model.token_limit)
    return memory_of, longest, longest_within(memory_of, budget - error_bytes, longest)


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
    candidate: Candidate, asked_len: int | None, least: int, adapters: int, asked: ServerRequest
) -> FitPlan:
    longest = candidate.model.token_limit if candidate.holds_all else max(candidate.safe, least)
    context = asked_len or longest
    cached = _cached_tokens(candidate, context, _settings(candidate.layout, adapters, asked))
    spare = "" if asked_len else spare_text(candidate, context)
    explanation = (
        *layout_text(candidate),
        budget_text(candidate, candidate.memory_of(0)),
        context_text(candidate, cached),
        *([spare] if spare else []),
    )
    return fit_plan(
        candidate,
        context,
        candidate.memory_of(context),
        explanation,
        max_num_seqs=_sequences_at_once(candidate, asked),
        kv_cache_tokens=cached,
        asked=asked,
    )


def _sequences_at_once(candidate: Candidate, asked: ServerRequest) -> int:
    """That one replica runs: --max-num-seqs with vLLM; transformers answers one at a time."""
    if candidate.choice.engine.name is not EngineName.VLLM:
        return 1
    return asked.max_num_seqs or default_max_num_seqs(candidate.instance_type.gpu)


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
    served = plan.asked.applied_to(model)
    cached = _vllm_tokens(served, gpu, plan.engine, settings, plan.budget_bytes, tokens)
    return plan.data_parallel * min(cached // tokens, plan.max_num_seqs)


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
    tuning: TuningRequest | None = None,
    include_legacy: bool = False,
    asked: ServerRequest = NOTHING_ASKED,
) -> tuple[InstanceType, ...]:
    """Instance types that the model fits, cheapest on demand first, unknown prices last.

    `cloud` None is any cloud, `region` None prices each type where it is cheapest; the price
    counts all nodes of the plan. `tuning` None asks about inference. Types whose GPUs do not make
    up the parallel sizes `asked` are left out.

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
