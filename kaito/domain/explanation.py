"""What the operator would do for a Workspace, and why, as one JSON document.

Nothing is decided here: `decision.decide` is what the operator asks, and `kaito_v0_12` what the
comparison is made with. Keys that end in `_bytes` and `_tokens` are whole numbers of those units;
memory is per GPU, on the fullest one.
"""

from collections.abc import Iterator
from typing import Any, Final

from kaito.domain.catalogue import Catalogue
from kaito.domain.cluster_view import ConfigView
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.engine import EngineName
from kaito.domain.engine_config import max_model_len
from kaito.domain.gpu import InstanceType
from kaito.domain.kaito_v0_12 import (
    GPU_MEMORY_UTILIZATION,
    KaitoEstimate,
    KaitoRefuses,
    kaito_model,
    kaito_node,
    kaito_v0_12_estimate,
)
from kaito.domain.machine import CapacityType
from kaito.domain.machine_policy import MachinePolicy
from kaito.domain.memory import PRIORS, budget_share, kv_bytes_per_token
from kaito.domain.quantity import gib_text
from kaito.domain.sizing import Sizing, requested_engine
from kaito.domain.template_sizing import TemplateSizing
from kaito.domain.workload import Workload
from kaito.domain.workspace import Workspace

__all__ = ["DOES_NOT_FIT", "explain"]

DOES_NOT_FIT: Final = "ModelDoesNotFit"
"""The reason of a refusal that no mistake in the manifest is the cause of."""


def explain(
    workspace: Workspace,
    catalogue: Catalogue,
    config: ConfigView | None = None,
    *,
    region: str = "",
) -> dict[str, Any]:
    """The document: `workspace`, `verdict` ("runs" or "refused"), and `refusal`, or what follows
    from the decision; `kaito_v0_12` where a model of the catalogue is served or tuned.

    `config` is the ConfigMap that the Workspace names, None if it names none. Prices are those of
    `region`; empty: of the region where each type is cheapest.
    """
    decided = decide(workspace, catalogue, config)
    document: dict[str, Any] = {"workspace": _subject(workspace)}
    if isinstance(decided, Refusal):
        document |= {"verdict": "refused", "refusal": _refusal(decided)}
    else:
        document |= {"verdict": "runs", **_decision(decided, region)}
    upstream = _upstream(workspace, catalogue, config, decided)
    return document | ({"kaito_v0_12": upstream} if upstream else {})


def _subject(workspace: Workspace) -> dict[str, Any]:
    mode = "tuning" if workspace.tuning is not None else "inference"
    return {
        "namespace": workspace.namespace,
        "name": workspace.name,
        "mode": mode,
        "model": workspace.preset.name if workspace.preset else "",
        "instance_type": workspace.resource.instance_type,
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    problems = [
        {"rule": one.rule, "field": one.field, "message": one.message, "remedy": one.remedy}
        for one in refusal.problems
    ]
    return {"reason": refusal.reason, "problems": problems}


def _decision(wanted: Wanted, region: str) -> dict[str, Any]:
    sizing = wanted.sizing
    document: dict[str, Any] = {"summary": sizing.summary}
    if not isinstance(sizing, TemplateSizing):
        document |= {
            "reasons": list(sizing.fit.explanation),
            "layout": _layout(sizing),
            "memory_per_gpu": _memory(sizing),
            "serving": _serving(sizing),
        }
    assert wanted.policy is not None, "machines are ordered"
    document["machines"] = _machines(wanted, wanted.policy, region)
    if not isinstance(sizing, TemplateSizing):
        document["engine"] = _engine(sizing, wanted.workload)
    warnings = [{"reason": one.reason, "message": one.message} for one in sizing.warnings]
    return document | {"warnings": warnings}


def _layout(sizing: Sizing) -> dict[str, int]:
    fit = sizing.fit
    return {
        "machines_per_replica": fit.nodes,
        "gpus_per_machine": sizing.instance_type.gpu_count,
        "tensor_parallel": fit.tensor_parallel,
        "pipeline_parallel": fit.pipeline_parallel,
        "data_parallel": fit.data_parallel,
    }


def _memory(sizing: Sizing) -> dict[str, Any]:
    fit, gpu = sizing.fit, sizing.instance_type.gpu
    share = budget_share(gpu, fit.engine.name, fit.asked.utilization)
    budget = fit.budget_bytes
    return {
        "gpu": gpu.name,
        "advertised_bytes": gpu.memory_bytes,
        "reported_bytes": gpu.usable_bytes,
        "reported_is_assumed": gpu.usable_is_prior,
        "share": float(share),
        "budget_bytes": budget,
        "parts_bytes": fit.memory.parts,
        "headroom_bytes": fit.headroom_bytes,
        "known_error_bytes": fit.error.size,
        "verdict": fit.verdict.value,
        "kept_back_bytes": gpu.usable_bytes - budget,
        "assumed": [PRIORS[key] for key in fit.memory.priors],
    }


def _serving(sizing: Sizing) -> dict[str, Any]:
    fit, model = sizing.fit, sizing.model
    stages = fit.pipeline_parallel
    served = fit.asked.applied_to(model)
    document: dict[str, Any] = {
        "context_tokens": fit.max_model_len,
        "model_limit_tokens": model.token_limit,
    }
    if not fit.kv_cache_tokens:  # tuning caches nothing
        return document
    size = kv_bytes_per_token(served, tensor_parallel=fit.tensor_parallel, pipeline_parallel=stages)
    return document | {
        "cache_bytes_per_token": size,
        "cache_grows_evenly": model.caches_evenly,
        "cached_tokens_per_replica": fit.kv_cache_tokens,
        "whole_contexts_at_once": fit.max_concurrency,
    }


def _engine(sizing: Sizing, workload: Workload) -> dict[str, Any]:
    engine = sizing.choice.engine
    return {
        "name": engine.name.value,
        "version": engine.version,
        "dtype": sizing.fit.dtype,
        "image": workload.image,
        "pods": workload.replicas,
        "one_group": workload.group is not None,
        "command": [*workload.command, *workload.arguments],
        "environment": dict(workload.environment),
        "startup_limit_s": workload.startup_limit_s,
    }


def _machines(wanted: Wanted, policy: MachinePolicy, region: str) -> dict[str, Any]:
    sizing = wanted.sizing
    spot = CapacityType.SPOT in policy.capacity_types
    return {
        "count": sizing.nodes,
        **_offer(policy.instance_type, sizing.nodes, region, spot=spot),
        "capacity_types": [one.value for one in policy.capacity_types],
        "fallbacks": [_offer(one, sizing.nodes, region, spot=spot) for one in policy.fallbacks],
        "os_disk_bytes": sizing.disk_bytes,
        "local_nvme": all(one.nvme for one in (policy.instance_type, *policy.fallbacks)),
    }


def _offer(found: InstanceType, count: int, region: str, *, spot: bool) -> dict[str, Any]:
    """A type with the price of all machines; None where it is not known."""
    known = [(name, price) for name, price in found.prices.items() if region in ("", name)]
    name, price = min(known, key=lambda one: one[1].on_demand_usd_per_hour, default=(region, None))
    prices: dict[str, Any] = {
        "region": name,
        "usd_per_hour": price.on_demand_usd_per_hour * count if price else None,
    }
    if spot:
        each = price.spot_usd_per_hour if price else None
        prices["spot_usd_per_hour"] = each * count if each is not None else None
    return {
        "instance_type": found.name,
        "cloud": found.cloud,
        "gpu": found.gpu.name,
        "gpus": found.gpu_count,
        "price": prices,
        "source": found.source,
    }


def _upstream(
    workspace: Workspace,
    catalogue: Catalogue,
    config: ConfigView | None,
    decided: Wanted | Refusal,
) -> dict[str, Any]:
    """What KAITO v0.12's formula says, and in which way it differs; empty where it says nothing, or
    the manifest is not one that it could read."""
    preset = workspace.preset
    if preset is None or (isinstance(decided, Refusal) and decided.reason != DOES_NOT_FIT):
        return {}
    if workspace.tuning is not None:
        text = "KAITO v0.12 takes one machine for tuning and does not ask whether it fits"
        return {"machines": 1, "differences": [text]}
    if requested_engine(workspace) is EngineName.TRANSFORMERS:
        count = workspace.resource.count
        text = "KAITO v0.12 takes resource.count machines with transformers, and asks for no fit"
        return {"machines": count, "differences": [text]}
    model = kaito_model(catalogue.model(preset.name))
    try:
        context = max_model_len(config.values if config else None)
        node = kaito_node(workspace.resource.instance_type, catalogue)
        estimate = kaito_v0_12_estimate(model, node, context)
    except KaitoRefuses as error:
        text = f"KAITO v0.12 refuses: {error}"
        return {"machines": None, "refusal": str(error), "differences": [text]}
    return {
        "machines": estimate.nodes,
        "context_tokens": estimate.context_tokens,
        "memory_per_gpu": {
            "budget_bytes": round(estimate.available),
            "weights_bytes": round(estimate.weights_per_gpu),
            "cache_bytes": round(estimate.cache),
            "overhead_bytes": round(estimate.overhead),
        },
        "differences": list(_differences(estimate, decided)),
    }


def _differences(estimate: KaitoEstimate, decided: Wanted | Refusal) -> Iterator[str]:
    machines = _counted(estimate.nodes, "machine")
    if isinstance(decided, Refusal):
        yield f"KAITO v0.12 takes {machines}, and the model does not fit what kaito may plan"
        return
    sizing = decided.sizing
    assert isinstance(sizing, Sizing), "a preset is sized"
    fit, gpu = sizing.fit, sizing.instance_type.gpu
    if sizing.nodes != estimate.nodes:
        yield f"KAITO v0.12 takes {machines}, kaito {sizing.nodes}"
    if fit.engine.name is not EngineName.VLLM:
        yield f"KAITO v0.12 estimates for vLLM, kaito plans {fit.engine.name}"
    if fit.max_model_len != estimate.context_tokens:
        yield (
            f"KAITO v0.12 plans for {estimate.context_tokens} tokens of context, kaito for "
            f"{fit.max_model_len}"
        )
    share = float(100 * budget_share(gpu, fit.engine.name, fit.asked.utilization))
    theirs_share = 100 * GPU_MEMORY_UTILIZATION
    budget = fit.budget_bytes
    yield (
        f"KAITO v0.12 counts on {theirs_share:g}% of {gib_text(gpu.memory_bytes)} a GPU = "
        f"{gib_text(estimate.available)}, kaito on {share:g}% of the {gib_text(gpu.usable_bytes)} "
        f"that it reports = {gib_text(budget)}"
    )
    gpus = fit.tensor_parallel * fit.pipeline_parallel
    where = "each GPU" if fit.pipeline_parallel == 1 else f"the fullest of {gpus}"
    ours, theirs = fit.memory.weights, estimate.weights_per_gpu
    over = _counted(estimate.nodes * estimate.gpus, "GPU")
    yield (
        f"KAITO v0.12 shares {gib_text(estimate.weights)} of weights out over {over} = "
        f"{gib_text(theirs)} each; kaito counts {gib_text(ours)} on {where}"
    )
    rest = fit.memory.total - ours - fit.memory.kv_cache
    yield (
        f"beside weights and cache KAITO v0.12 sets {gib_text(estimate.overhead)} a GPU aside, "
        f"kaito {gib_text(rest)}"
    )


def _counted(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s"
