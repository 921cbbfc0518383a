"""Every way to lay a model out on one instance type: what each holds, and why it is not taken."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kaito.domain.candidate import Candidate, Layout
from kaito.domain.engine import Engine, EngineChoice, EngineName, NoEngine, choose_engine
from kaito.domain.fit import DEFAULT_NODE_LIMIT, candidates, other_candidates
from kaito.domain.fit_offer import Offer
from kaito.domain.fit_request import FitRequest
from kaito.domain.gpu import USABLE_SHARE_PRIOR, InstanceType
from kaito.domain.known_error import Verdict, verdict_of
from kaito.domain.model import ModelProfile
from kaito.domain.partition import mig_slices
from kaito.domain.quantity import gib_text

__all__ = ["LayoutOption", "layout_options"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutOption:
    """One layout, by a name for people. `reason` says why it is not the one that kaito takes, and
    is empty for that one. `headroom_bytes` is per GPU, at the context of the plan (of a slice: the
    least that is of use); None where the layout is impossible whatever the memory. `replicas` are
    those of one machine or group."""

    name: str
    verdict: Verdict
    replicas: int
    nodes: int
    longest: int
    headroom_bytes: int | None
    reason: str


def layout_options(
    model: ModelProfile,
    offer: Offer,
    engines: Sequence[Engine],
    request: FitRequest,
    *,
    node_limit: int = DEFAULT_NODE_LIMIT,
) -> tuple[LayoutOption, ...]:
    """The layouts that were looked at for an offer up to the one taken, those that the model's
    shape rules out, and slices of its GPUs (MIG). None where no engine runs on the GPU."""
    instance_type = offer.instance_type
    try:
        choice = choose_engine(engines, instance_type.gpu, model, request.engine)
    except NoEngine:
        return ()
    most = offer.plan.nodes if offer.plan else node_limit
    return (
        *_considered(model, offer, choice, request, most),
        *_ruled_out(model, instance_type, choice),
        *_slices(model, instance_type, choice, request),
    )


def _considered(
    model: ModelProfile, offer: Offer, choice: EngineChoice, request: FitRequest, most: int
) -> Iterator[LayoutOption]:
    plan = offer.plan
    context = plan.max_model_len if plan else request.least_context(model)
    taken = plan and Layout(
        tensor_parallel=plan.tensor_parallel,
        pipeline_parallel=plan.pipeline_parallel,
        data_parallel=plan.data_parallel,
        nodes=plan.nodes,
    )
    for among in (candidates, other_candidates):
        found = [
            one
            for nodes in range(1, most + 1)
            for one in among(
                model, offer.instance_type, choice, nodes=nodes, adapters=request.adapters
            )
        ]
        for one in found:
            reason = "" if one.layout == taken else "it fits as well; the first that fits is taken"
            replicas = one.layout.data_parallel
            yield _option(one, _name(one), context, replicas=replicas, reason=reason)
        if taken in [one.layout for one in found]:
            return


def _option(
    candidate: Candidate, name: str, context: int, *, replicas: int, reason: str
) -> LayoutOption:
    """With one sequence of `context` tokens; `reason` is told where it fits."""
    left = candidate.budget - candidate.memory_of(context).total
    if candidate.longest < context:
        least = gib_text(-left)
        held = "not even an empty context fits"
        if candidate.longest >= 0:
            held = f"it holds {candidate.longest}"
        reason = f"{least} per GPU too much for {context} tokens: {held}"
    return LayoutOption(
        name=name,
        verdict=verdict_of(left, candidate.error),
        replicas=replicas,
        nodes=candidate.layout.nodes,
        longest=max(0, candidate.longest),
        headroom_bytes=left,
        reason=reason,
    )


def _name(candidate: Candidate) -> str:
    layout = candidate.layout
    parts = [
        f"{kind} {size}"
        for kind, size in (
            ("TP", layout.tensor_parallel),
            ("PP", layout.pipeline_parallel),
            ("DP", layout.data_parallel),
        )
        if size > 1
    ]
    name = " x ".join(parts) or "one GPU"
    return f"{name} on {layout.nodes} nodes" if layout.nodes > 1 else name


def _ruled_out(
    model: ModelProfile, instance_type: InstanceType, choice: EngineChoice
) -> Iterator[LayoutOption]:
    """Sizes of tensor parallelism that the heads do not allow."""
    if choice.engine.name is not EngineName.VLLM:
        return
    heads = model.attention
    for size in range(2, instance_type.gpu_count + 1):
        if instance_type.gpu_count % size or heads.splits_into(size):
            continue
        yield LayoutOption(
            name=f"TP {size}",
            verdict=Verdict.DOES_NOT_FIT,
            replicas=instance_type.gpu_count // size,
            nodes=1,
            longest=0,
            headroom_bytes=None,
            reason=f"{heads.heads} heads and {heads.kv_heads} KV heads do not split {size} ways",
        )


def _slices(
    model: ModelProfile, instance_type: InstanceType, choice: EngineChoice, request: FitRequest
) -> Iterator[LayoutOption]:
    """A replica in each MIG slice, on Nodes that users bring (`resource.partition`), as slices
    cannot work together. How much memory a slice reports is assumed."""
    context = request.least_context(model)
    for profile, count, gpu in mig_slices(instance_type.gpu, USABLE_SHARE_PRIOR):
        machine = replace(instance_type, gpu=gpu, gpu_count=1, prices={})
        for one in candidates(model, machine, choice, adapters=request.adapters):
            yield _option(
                one,
                f"MIG {profile}",
                context,
                replicas=count * instance_type.gpu_count,
                reason="cut by hand, on Nodes that you bring: a Workspace for each slice",
            )
