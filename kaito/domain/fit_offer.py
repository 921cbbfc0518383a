"""One instance type as an answer to what is asked: how the model runs on it, what that costs, and
why it is no answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import ceil
from typing import Final

from kaito.domain.candidate import Layout
from kaito.domain.engine import Engine, EngineName, NoEngine, choose_engine
from kaito.domain.fit import (
    DoesNotFit,
    FitPlan,
    candidates,
    concurrency_at,
    fit_inference,
    other_candidates,
)
from kaito.domain.fit_request import FitRequest
from kaito.domain.fit_speed import Speed, speed_of
from kaito.domain.gpu import InstanceType
from kaito.domain.known_error import Verdict
from kaito.domain.model import ModelProfile
from kaito.domain.throughput import cost_per_million_tokens
from kaito.domain.tuning_fit import TuningRequest, fit_tuning

__all__ = ["MACHINE_LIMIT", "Cost", "Offer", "offer_on", "tuning_offer_on"]

_KEPT_PLANS: Final = 1 << 15

MACHINE_LIMIT: Final = 5000
"""Machines of one cluster. Source: https://kubernetes.io/docs/setup/best-practices/cluster-large/,
"No more than 5,000 nodes"; AKS has the same limit,
https://learn.microsoft.com/azure/aks/quotas-skus-regions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """US dollars per hour of one machine in a region; `spot` where that is a spot price."""

    usd_per_hour: float
    region: str
    spot: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """How an instance type answers a request; `reason` says why it does not, and is empty where it
    does.

    `tokens` are those of one sequence that it is planned for, `longest` the most that the plan's
    layout holds, `concurrency` how many sequences of
    that length one copy runs at once (tuning: 0), `copies` how many Workspaces the demand takes,
    `binds` what keeps it from more: a part of memory, the model's limit, the engine, a time or the
    number of machines. `plan` is None where memory or engine refuse.
    """

    instance_type: InstanceType
    verdict: Verdict
    binds: str
    reason: str = ""
    plan: FitPlan | None = None
    tokens: int = 0
    longest: int = 0
    concurrency: int = 0
    copies: int = 0
    speed: Speed | None = None
    cost: Cost | None = None
    whole_context: bool = False  # all that is demanded: where nothing is, the model's limit

    @property
    def accepted(self) -> bool:
        return not self.reason

    @property
    def machines(self) -> int:
        """Machines of all copies."""
        return self.copies * self.plan.nodes if self.plan else 0

    @property
    def usd_per_hour(self) -> float | None:
        """Of all machines; None: the price is unknown."""
        return self.cost.usd_per_hour * self.machines if self.cost else None

    @property
    def usd_per_million_tokens(self) -> float | None:
        """For output tokens, with the load that was asked about."""
        usd, speed = self.usd_per_hour, self.speed
        if usd is None or speed is None:
            return None
        return cost_per_million_tokens(usd, speed.tokens_per_s)

    @property
    def headroom_multiples(self) -> float | None:
        """What is left on each GPU, in multiples of the known error."""
        if self.plan is None:
            return None
        return self.plan.error.multiples(self.plan.headroom_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    binds: str
    reason: str

    def offer(self, instance_type: InstanceType) -> Offer:
        return Offer(
            instance_type=instance_type,
            verdict=Verdict.DOES_NOT_FIT,
            binds=self.binds,
            reason=self.reason,
        )


def tuning_offer_on(
    model: ModelProfile,
    instance_type: InstanceType,
    engines: Sequence[Engine],
    request: TuningRequest,
    *,
    region: str | None = None,
    spot: bool = False,
) -> Offer:
    """The answer of one instance type to a tuning job, which takes one machine; `region` None
    prices it where it is cheapest.

    The request must have passed `TuningRequest.check`. Raises nothing for what does not fit: the
    offer says so.
    """
    try:
        choice = choose_engine(engines, instance_type.gpu, model, EngineName.TRANSFORMERS)
        plan = fit_tuning(model, instance_type, request, choice)
    except (NoEngine, DoesNotFit) as error:
        return _refused(error).offer(instance_type)
    whole = plan.max_model_len == model.token_limit
    return Offer(
        instance_type=instance_type,
        verdict=plan.verdict,
        binds="model's limit" if whole else "activations",
        plan=plan,
        tokens=request.sequence_tokens,
        longest=plan.max_model_len,
        copies=1,
        cost=_cost(instance_type, region, spot),
        whole_context=True,
    )


def _refused(error: NoEngine | DoesNotFit) -> _Refused:
    binds = "engine" if isinstance(error, NoEngine) else error.binds.replace("_", " ")
    return _Refused(binds=binds, reason=error.message)


def offer_on(
    model: ModelProfile,
    instance_type: InstanceType,
    engines: Sequence[Engine],
    request: FitRequest,
    *,
    region: str | None = None,
    spot: bool = False,
) -> Offer:
    """The answer of one instance type; `region` None prices it where it is cheapest.

    The request must have passed `FitRequest.check`. Raises nothing for what does not fit: the
    offer says so.
    """
    found = _planned(
        model,
        instance_type,
        tuple(engines),
        request.engine,
        request.context,
        request.least_context(model),
        request.adapters,
    )
    if isinstance(found, _Refused):
        return found.offer(instance_type)
    plan, longest = found
    concurrency = concurrency_at(
        model, instance_type.gpu, plan, plan.max_model_len, adapters=request.adapters
    )
    copies = ceil((request.concurrency or 1) / concurrency)
    speed = speed_of(model, instance_type.gpu, plan, request, copies)
    reached = longest if request.context else plan.max_model_len
    binds = "model's limit" if reached == model.token_limit else "kv cache"
    reason = _too_slow(request, plan, speed)
    if reason:
        binds = speed.missed if speed else "engine"
    copies = speed.copies if speed else copies
    if not reason and copies * plan.nodes > MACHINE_LIMIT:
        binds = "machines"
        reason = (
            f"it takes {copies * plan.nodes:,} machines, and a cluster has at most "
            f"{MACHINE_LIMIT:,}"
        )
    return Offer(
        instance_type=instance_type,
        verdict=plan.verdict,
        binds=binds,
        reason=reason,
        plan=plan,
        tokens=plan.max_model_len,
        longest=longest,
        concurrency=concurrency,
        copies=copies,
        speed=speed,
        cost=_cost(instance_type, region, spot),
        whole_context=plan.max_model_len >= request.wished_context(model),
    )


@lru_cache(maxsize=_KEPT_PLANS)
def _planned(
    model: ModelProfile,
    instance_type: InstanceType,
    engines: tuple[Engine, ...],
    engine: EngineName | None,
    context: int | None,
    least: int,
    adapters: int,
) -> tuple[FitPlan, int] | _Refused:
    """The plan that the operator makes, where it chooses no shorter context than is of use, and the
    longest context of its layout; or why there is none."""

    def fitted(tokens: int | None) -> FitPlan:
        return fit_inference(model, instance_type, choice, max_model_len=tokens, adapters=adapters)

    try:
        choice = choose_engine(engines, instance_type.gpu, model, engine)
        plan = fitted(context)
        if plan.max_model_len < least:
            plan = fitted(least)
    except (NoEngine, DoesNotFit) as error:
        return _refused(error)
    taken = Layout(
        tensor_parallel=plan.tensor_parallel,
        pipeline_parallel=plan.pipeline_parallel,
        data_parallel=plan.data_parallel,
        nodes=plan.nodes,
    )
    looked_at = chain.from_iterable(
        among(model, instance_type, choice, nodes=plan.nodes, adapters=adapters)
        for among in (candidates, other_candidates)
    )
    return plan, next(one.longest for one in looked_at if one.layout == taken)


def _too_slow(request: FitRequest, plan: FitPlan, speed: Speed | None) -> str:
    """Why the demanded load cannot be served, empty where it can."""
    if not request.needs_speed:
        return ""
    if speed is None:
        return f"{plan.engine.name} answers one request at a time, and its speed is not modelled"
    if not speed.missed:
        return ""
    best = speed.each
    return (
        f"even a request that is alone has its first token after {best.ttft_s * 1000:.0f} ms and "
        f"each further one after {best.tpot_s * 1000:.1f} ms"
    )


def _cost(instance_type: InstanceType, region: str | None, spot: bool) -> Cost | None:
    """Of one machine in the region, None: where it is cheapest. None: unknown."""
    known = [
        Cost(
            usd_per_hour=price.of(spot),
            region=name,
            spot=spot and price.spot_usd_per_hour is not None,
        )
        for name, price in instance_type.prices.items()
        if region in (None, name)
    ]
    return min(known, key=lambda one: (one.usd_per_hour, one.region), default=None)
