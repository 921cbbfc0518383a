"""A plan as JSON. docs/plan.md has every key."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kaito.domain.fit_offer import Offer
from kaito.domain.quantity import GIB
from kaito.domain.tuning_fit import TuningRequest
from kaito.plan_report.report import PlanReport, notes, recommendation

if TYPE_CHECKING:
    from kaito.domain.fit_options import LayoutOption

__all__ = ["document"]

_VERSION = 1


def document(report: PlanReport) -> dict[str, Any]:
    """Plain values; keys are never renamed or dropped within one `version`. Sizes end in the unit
    they are in; null is "not known" or "no demand"."""
    ranking, model = report.ranking, report.model
    best = ranking.recommended
    return {
        "version": _VERSION,
        "mode": "tuning" if report.tuning else "serving",
        "model": {
            "name": model.name,
            "hugging_face_id": model.hf_id,
            "architecture": model.architecture,
            "parameters": model.parameters,
            "weights_gib": _gib(model.loaded_bytes or model.weight_bytes),
            "dtype": model.dtype,
            "quantization": model.quantization,
            "token_limit": model.token_limit,
        },
        "asked": {
            **(_tuning_asked(report.tuning) if report.tuning else _serving_asked(report)),
            "clouds": list(report.clouds),
            "region": report.region,
            "spot": report.spot,
        },
        "recommended": best.instance_type.name if best else None,
        "recommendation": recommendation(report),
        "fallbacks": [one.name for one in ranking.fallbacks],
        "offers": [
            _tuning_offer(one) if report.tuning else _offer(one, report.options)
            for one in ranking.offers
        ],
        "rejected": [
            {**_machine(one), "verdict": one.verdict, "binds": one.binds, "reason": one.reason}
            | {"options": _options(one, report.options)}
            for one in ranking.rejected
        ],
        "notes": list(notes(report)),
    }


def _serving_asked(report: PlanReport) -> dict[str, Any]:
    request = report.request
    shape = request.shape(report.model)
    return {
        "context": request.context,
        "concurrency": request.concurrency,
        "rate_per_s": request.rate,
        "input_tokens": shape.input_tokens,
        "output_tokens": shape.output_tokens,
        "ttft_s": request.ttft_s,
        "tpot_s": request.tpot_s,
        "adapters": request.adapters,
    }


def _tuning_asked(request: TuningRequest) -> dict[str, Any]:
    return {
        "method": request.method.value,
        "sequence_tokens": request.sequence_tokens,
        "batch_size": request.batch_size,
        "rank": request.lora_rank,
        "gradient_checkpointing": request.gradient_checkpointing,
    }


def _tuning_offer(offer: Offer) -> dict[str, Any]:
    plan = offer.plan
    assert plan is not None, offer
    return {
        **_machine(offer),
        "verdict": offer.verdict,
        "binds": offer.binds,
        "engine": plan.engine.name,
        "engine_version": plan.engine.version,
        "dtype": plan.dtype,
        "data_parallel": plan.data_parallel,
        "machines": offer.machines,
        "sequence_tokens": offer.tokens,
        "longest_sequence": offer.longest,
        **_memory(offer),
        **_costs(offer),
        "explanation": list(plan.explanation),
    }


def _memory(offer: Offer) -> dict[str, Any]:
    plan = offer.plan
    assert plan is not None, offer
    return {
        "memory_gib": {name: _gib(size) for name, size in plan.memory.parts.items() if size},
        "headroom_gib": _gib(plan.headroom_bytes),
        "known_error_gib": _gib(plan.error.size),
        "known_error_start_ups": plan.error.start_ups,
        "headroom_errors": round(offer.headroom_multiples or 0.0, 2),
    }


def _costs(offer: Offer) -> dict[str, Any]:
    cost = offer.cost
    price = cost and {
        "usd_per_machine_hour": cost.usd_per_hour,
        "region": cost.region,
        "spot": cost.spot,
        "as_of": offer.instance_type.prices_as_of or None,
    }
    return {"usd_per_hour": _rounded(offer.usd_per_hour), "price": price}


def _offer(offer: Offer, options: Mapping[str, tuple["LayoutOption", ...]]) -> dict[str, Any]:
    plan, speed = offer.plan, offer.speed
    assert plan is not None, offer
    return {
        **_machine(offer),
        "verdict": offer.verdict,
        "binds": offer.binds,
        "engine": plan.engine.name,
        "engine_version": plan.engine.version,
        "dtype": plan.dtype,
        "tensor_parallel": plan.tensor_parallel,
        "pipeline_parallel": plan.pipeline_parallel,
        "data_parallel": plan.data_parallel,
        "nodes": plan.nodes,
        "copies": offer.copies,
        "machines": offer.machines,
        "context": plan.max_model_len,
        "longest_context": offer.longest,
        "concurrency": offer.concurrency * offer.copies,
        "kv_cache_tokens_per_replica": plan.kv_cache_tokens,
        **_memory(offer),
        "ttft_s": _rounded(speed.each.ttft_s) if speed else None,
        "tpot_s": _rounded(speed.each.tpot_s) if speed else None,
        "requests_per_s": _rounded(speed.each.requests_per_s * offer.copies * plan.data_parallel)
        if speed
        else None,
        "tokens_per_s": _rounded(speed.tokens_per_s) if speed else None,
        "most_tokens_per_s": _rounded(speed.most_tokens_per_s) if speed else None,
        "speed_is_prior": speed.prior if speed else None,
        **_costs(offer),
        "usd_per_million_output_tokens": _rounded(offer.usd_per_million_tokens),
        "explanation": list(plan.explanation),
        "options": _options(offer, options),
    }


def _machine(offer: Offer) -> dict[str, Any]:
    one = offer.instance_type
    return {
        "instance_type": one.name,
        "cloud": one.cloud,
        "gpu": one.gpu.name,
        "gpus": one.gpu_count,
        "legacy": one.legacy,
        "caveats": list(one.caveats),
    }


def _options(
    offer: Offer, options: Mapping[str, tuple["LayoutOption", ...]]
) -> list[dict[str, Any]]:
    return [
        {
            "layout": one.name,
            "verdict": one.verdict,
            "replicas": one.replicas,
            "nodes": one.nodes,
            "longest_context": one.longest,
            "headroom_gib": None if one.headroom_bytes is None else _gib(one.headroom_bytes),
            "taken": not one.reason,
            "reason": one.reason,
        }
        for one in options.get(offer.instance_type.name, ())
    ]


def _gib(size: int) -> float:
    return round(size / GIB, 3)


def _rounded(value: float | None) -> float | None:
    """To six significant digits."""
    return None if value is None else float(f"{value:.6g}")
