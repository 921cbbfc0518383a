"""How fast a plan serves requests, and how many copies of it a load needs."""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, floor
from typing import Final

from kaito.domain.calibrated_speed import CALIBRATED
from kaito.domain.fit import FitPlan, concurrency_at
from kaito.domain.fit_request import FitRequest, RequestShape
from kaito.domain.gpu import Gpu
from kaito.domain.memory import default_max_num_seqs, max_num_batched_tokens
from kaito.domain.model import EngineName, ModelProfile
from kaito.domain.step_time import Layout, StepModel, step_model
from kaito.domain.throughput import (
    Demand,
    Performance,
    closed_loop,
    largest_rate,
    open_loop,
)

__all__ = ["Speed", "speed_of"]

_KEPT: Final = 1 << 15
_ALONE: Final = 1e-3  # requests at a time: a request that meets no other


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What `copies` of a plan do under the load that was asked about.

    `each` is one replica's share of it, `tokens_per_s` the output tokens of all together, and
    `most_tokens_per_s` what they could do within the bounds on time, if any. `prior`:
    no such card, or no such layout, was measured. `missed` says which bound cannot be kept by any
    number of copies; `each` is then the best that one replica does, and `excess` how many times the
    bound that is.
    """

    each: Performance
    copies: int
    tokens_per_s: float
    most_tokens_per_s: float
    prior: bool
    missed: str = ""
    excess: float = 0.0


def speed_of(
    model: ModelProfile, gpu: Gpu, plan: FitPlan, request: FitRequest, copies: int
) -> Speed | None:
    """At least `copies` of the plan, and as many more as the load needs; None for an engine whose
    speed is not known.

    With a rate: the mean times at that rate. With bounds alone: at the largest rate that keeps
    them. With neither: with as many requests at a time as `request.concurrency` says, or without
    one as many as the cache holds.
    """
    if plan.engine.name is not EngineName.VLLM:
        return None
    shape = request.shape(model)
    slots = concurrency_at(
        model, gpu, plan, min(shape.total, plan.max_model_len), adapters=request.adapters
    )
    replicas = plan.data_parallel
    step, demand = _engine(
        model,
        gpu,
        Layout(tensor_parallel=plan.tensor_parallel, pipeline_parallel=plan.pipeline_parallel),
        shape,
        max(1, slots // replicas),
    )
    prior = CALIBRATED.is_prior(gpu) or plan.pipeline_parallel > 1
    if request.rate is None and not request.has_slo:
        at_once = demand.slots
        if request.concurrency is not None:
            at_once = min(at_once, max(1.0, request.concurrency / copies / replicas))
        each, best = _at_once(step, demand, at_once), _at_once(step, demand, demand.slots)
    else:
        kept = _best(step, demand, request.ttft_s, request.tpot_s)
        if kept is None:
            return _missed(step, demand, request, prior)
        each = best = kept
        if request.rate is not None:
            copies = max(copies, _copies(best.requests_per_s * replicas, request))
            share = request.rate / copies / replicas
            each = open_loop(step, demand, share) or best
    return Speed(
        each=each,
        copies=copies,
        tokens_per_s=each.tokens_per_s * copies * replicas,
        most_tokens_per_s=best.tokens_per_s * copies * replicas,
        prior=prior,
    )


def _copies(most: float, request: FitRequest) -> int:
    """Copies for the rate, each of which answers `most` requests per second; without bounds, a
    copy must have more room than it needs, or its queue never ends."""
    assert request.rate is not None
    needed = request.rate / most
    return ceil(needed) if request.has_slo else floor(needed) + 1


def _missed(step: StepModel, demand: Demand, request: FitRequest, prior: bool) -> Speed:
    alone = _at_once(step, demand, _ALONE)
    ratios = {
        "time to first token": (alone.ttft_s, request.ttft_s),
        "time per output token": (alone.tpot_s, request.tpot_s),
    }
    excess = {name: got / most for name, (got, most) in ratios.items() if most is not None}
    worst = max(excess, key=excess.__getitem__)
    return Speed(
        each=alone,
        copies=1,
        tokens_per_s=alone.tokens_per_s,
        most_tokens_per_s=alone.tokens_per_s,
        prior=prior,
        missed=worst,
        excess=excess[worst],
    )


@lru_cache(maxsize=_KEPT)
def _engine(
    model: ModelProfile, gpu: Gpu, layout: Layout, shape: RequestShape, slots: int
) -> tuple[StepModel, Demand]:
    demand = Demand(
        input_tokens=shape.input_tokens,
        output_tokens=shape.output_tokens,
        batched_tokens=max_num_batched_tokens(gpu),
        max_sequences=min(slots, default_max_num_seqs(gpu)),
    )
    return step_model(model, gpu, layout, CALIBRATED.efficiency(gpu)), demand


_at_once = lru_cache(maxsize=_KEPT)(closed_loop)


@lru_cache(maxsize=_KEPT)
def _best(
    step: StepModel, demand: Demand, ttft_s: float | None, tpot_s: float | None
) -> Performance | None:
    """The largest rate within the bounds; None where even a single request breaks them."""
    return largest_rate(step, demand, ttft_s=ttft_s, tpot_s=tpot_s)
