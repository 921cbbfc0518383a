"""What a plan found, and the words and numbers that every way to print it shares."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kaito.domain.fit_offer import Offer
from kaito.domain.fit_ranking import Ranking
from kaito.domain.fit_request import FitRequest
from kaito.domain.known_error import Verdict
from kaito.domain.labels import FALLBACK_INSTANCE_TYPES
from kaito.domain.model import ModelProfile
from kaito.domain.quantity import gib_text
from kaito.domain.tuning_fit import TuningRequest

if TYPE_CHECKING:
    from kaito.domain.fit_options import LayoutOption

__all__ = [
    "PlanReport",
    "asked_text",
    "close_looks",
    "gpus_text",
    "groups",
    "layout_text",
    "machines_text",
    "model_text",
    "most_text",
    "notes",
    "recommendation",
    "seconds_text",
    "speed_load_text",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanReport:
    """`tuning` is the job that is planned; None: the model is served, as `request` says. `options`
    are the layouts on each instance type that was looked at closely, by its name; `remarks` what
    the reader should know of the input."""

    model: ModelProfile
    request: FitRequest = field(default_factory=FitRequest)
    tuning: TuningRequest | None = None
    ranking: Ranking
    clouds: tuple[str, ...]  # empty: whatever was named
    region: str | None = None
    spot: bool = False
    options: Mapping[str, tuple["LayoutOption", ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def model_text(model: ModelProfile) -> str:
    """The model in one line."""
    size = f"{model.parameters / 1e9:.1f} billion parameters"
    held = model.quantization or model.dtype
    return (
        f"{model.name}: {size}, {gib_text(model.loaded_bytes or model.weight_bytes)} of weights in "
        f"{held}, up to {model.token_limit:,} tokens of context"
    )


def asked_text(report: PlanReport) -> str:
    """The demand in one line."""
    parts = _tuning_parts(report.tuning) if report.tuning else _serving_parts(report.request)
    where = f"in {report.region}" if report.region else "each type where it is cheapest"
    market = "spot" if report.spot else "on demand"
    clouds = f"{', '.join(report.clouds)}; " if report.clouds else ""
    return f"{'; '.join(parts)}. Machines: {clouds}{market}, {where}"


def _tuning_parts(request: TuningRequest) -> list[str]:
    kept = "with" if request.gradient_checkpointing else "without"
    each = f"{request.batch_size:,} at a time on each GPU"
    return [
        f"tuning with {request.method}, rank {request.lora_rank:,}",
        f"sequences of {request.sequence_tokens:,} tokens, {each}",
        f"{kept} gradient checkpointing",
    ]


def _serving_parts(request: FitRequest) -> list[str]:
    parts = [
        f"a context of {request.context:,} tokens"
        if request.context
        else "as much of the model's context as fits"
    ]
    if request.concurrency:
        parts.append(f"{request.concurrency:,} sequences of it at once")
    if request.rate:
        parts.append(f"{request.rate:g} requests per second")
    if request.ttft_s:
        parts.append(f"first token within {seconds_text(request.ttft_s)} on average")
    if request.tpot_s:
        parts.append(f"each further one within {seconds_text(request.tpot_s)}")
    if request.adapters:
        parts.append(f"{request.adapters} adapter{'s' if request.adapters > 1 else ''}")
    return parts


def gpus_text(offer: Offer) -> str:
    """ "2 x A100 80GB"."""
    gpu = offer.instance_type.gpu
    return f"{offer.instance_type.gpu_count} x {gpu.name.removeprefix(f'{gpu.vendor} ')}"


def layout_text(offer: Offer) -> str:
    """ "TP 2 x PP 3", or "-" for a replica on one GPU."""
    plan = offer.plan
    if plan is None:
        return "-"
    sizes = (
        ("TP", plan.tensor_parallel),
        ("PP", plan.pipeline_parallel),
        ("DP", plan.data_parallel),
    )
    return " x ".join(f"{kind} {size}" for kind, size in sizes if size > 1) or "-"


def machines_text(offer: Offer) -> str:
    """ "2", or "3 x 2" for three copies on two machines each."""
    nodes = offer.plan.nodes if offer.plan else 0
    return f"{offer.copies} x {nodes}" if offer.copies > 1 else str(nodes)


def seconds_text(seconds: float) -> str:
    """ "46 ms", "1.25 s"."""
    if seconds < 0.1:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.3g} s"


def recommendation(report: PlanReport) -> str:
    """What to take, in a few sentences."""
    best = report.ranking.recommended
    if best is None or best.plan is None or best.cost is None or best.usd_per_hour is None:
        if not report.ranking.offers:
            return "nothing, as none does what is asked."
        return (
            "none of these without a doubt: they are tight, no longer listed by KAITO, or without "
            "a known price."
        )
    machines = f"{best.machines} x {best.instance_type.name}"
    held = f"{best.tokens:,} tokens of context"
    if report.tuning:
        held = f"sequences of {best.tokens:,} tokens"
    text = (
        f"{machines}{_copies_text(best)}: {held}, "
        f"{gib_text(best.plan.headroom_bytes)} per GPU to spare, "
        f"{best.usd_per_hour:.2f} USD per hour in {best.cost.region}."
    )
    others = report.ranking.fallbacks
    if others:
        names = ",".join(one.name for one in others)
        text += f" Where that is sold out: {FALLBACK_INSTANCE_TYPES}: {names}"
    return text


def _copies_text(offer: Offer) -> str:
    if offer.copies == 1:
        return ""
    nodes = offer.plan.nodes if offer.plan else 0
    each = f"of {nodes} machines each" if nodes > 1 else "on a machine each"
    return f" ({offer.copies:,} copies {each}, as one does not carry it)"


def groups(report: PlanReport) -> Iterator[tuple[str, str]]:
    """Rejected types with their reason, those of one reason together."""
    by_reason: dict[str, list[str]] = {}
    for one in report.ranking.rejected:
        name = one.instance_type.name
        reason = one.reason.replace(f"does not fit {name}: ", "does not fit: ")
        reason = reason.replace(f" x {name}: ", " machines: ")
        by_reason.setdefault(reason, []).append(name)
    for reason, names in by_reason.items():
        yield ", ".join(names), reason


def speed_load_text(report: PlanReport) -> str:
    """Under which load speeds are told."""
    request = report.request
    shape = request.shape(report.model)
    each = f"requests of {shape.input_tokens:,} tokens in and {shape.output_tokens:,} out"
    if request.rate:
        return f"at {request.rate:g} requests per second in all, {each}"
    if request.has_slo:
        return f"at the largest load that keeps the times, {each}"
    if request.concurrency:
        return f"with {request.concurrency:,} requests at a time, {each}"
    return f"with as many requests at a time as the cache holds, {each}"


def close_looks(report: PlanReport) -> Iterator[tuple[str, tuple["LayoutOption", ...]]]:
    """A title and the layouts of each instance type that was looked at closely."""
    for one in (*report.ranking.offers, *report.ranking.rejected):
        name = one.instance_type.name
        options = report.options.get(name, ())
        if options:
            yield f"Layouts on {name}, bound by the {one.binds}", options


def most_text(report: PlanReport) -> str:
    """Under which conditions the most tokens are told."""
    shape = report.request.shape(report.model)
    each = f"requests of {shape.input_tokens:,} tokens in and {shape.output_tokens:,} out"
    return f"{each}, within the times asked for" if report.request.has_slo else each


def notes(report: PlanReport) -> Iterator[str]:
    """What the figures rest on."""
    yield from report.remarks
    offers = report.ranking.offers
    errors = dict.fromkeys(one.plan.error for one in offers if one.plan is not None)
    for error in errors:
        yield f"known error of memory: {gib_text(error.size)} per GPU ({error.source})"
    if any(one.verdict is Verdict.TIGHT for one in offers):
        safer = (
            "a smaller batch or shorter sequences are" if report.tuning else "a shorter context is"
        )
        yield f"tight: it fits, and less is free than the known error; {safer} safer"
    yield from _tuning_notes() if report.tuning else _speed_notes(report)
    if any(one.instance_type.legacy for one in offers):
        yield "*: KAITO no longer lists this type; it may not be sold to new users"
    yield from _price_notes(report)


def _tuning_notes() -> Iterator[str]:
    yield "memory is per GPU, in GiB: each holds the whole model, and trains on batches of its own"
    yield "longest: tokens of the longest sequence that fits with this batch"
    yield "how long the job takes is not modelled: it depends on the data"


def _speed_notes(report: PlanReport) -> Iterator[str]:
    offers = report.ranking.offers
    speeds = [one.speed for one in offers if one.speed is not None]
    if speeds:
        yield f"speed: means, {speed_load_text(report)}"
    if any(one.prior for one in speeds):
        yield "~: no such card or layout was measured; its speed follows from other cards"
    if any(one.speed is None for one in offers):
        yield "no speed: transformers answers one request at a time, and is not modelled"


def _price_notes(report: PlanReport) -> Iterator[str]:
    offers = report.ranking.offers
    priced = [one for one in offers if one.cost is not None]
    days = {one.instance_type.prices_as_of for one in priced}
    if not priced:
        if offers:
            yield "price unknown: kaito has no price of these types there"
        return
    told = ", ".join(
        f"{one.instance_type.name} of {one.instance_type.prices_as_of}"
        for one in priced
        if one.instance_type.prices_as_of
    )
    if "" in days:
        beside = f"; {told}" if told else ""
        yield f"prices: US dollars, list prices whose source has no date: check them{beside}"
    else:
        yield f"prices: US dollars, {told}"
    if report.spot and any(one.cost and not one.cost.spot for one in offers):
        yield "+: no spot price is known, the price on demand stands in for it"
    if len(priced) < len(offers):
        yield "price unknown: listed last, whatever they cost"
