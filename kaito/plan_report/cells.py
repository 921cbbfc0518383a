"""The ranked table, cell by cell: what the terminal, Markdown and the page have in common."""

from typing import TYPE_CHECKING, Final

from kaito.domain.fit_offer import Offer
from kaito.domain.quantity import GIB
from kaito.plan_report.report import (
    PlanReport,
    gpus_text,
    layout_text,
    machines_text,
    seconds_text,
)

if TYPE_CHECKING:
    from kaito.domain.fit_options import LayoutOption

__all__ = ["OPTION_COLUMNS", "columns", "offer_cells", "option_cells", "text_columns"]

_COLUMNS: Final = (
    "instance type",
    "GPUs",
    "machines",
    "layout",
    "verdict",
    "context",
    "at once",
    "GiB free",
    "errors",
    "TTFT",
    "TPOT",
    "tokens/s",
    "USD/h",
    "USD/M",
)
_TEXT_COLUMNS: Final = 5  # the first columns; the others are numbers
_TUNING_COLUMNS: Final = (
    "instance type",
    "GPUs",
    "verdict",
    "longest",
    "weights",
    "adapter",
    "gradients",
    "optimizer",
    "activations",
    "rest",
    "GiB free",
    "errors",
    "USD/h",
)
_TUNING_TEXT_COLUMNS: Final = 3
OPTION_COLUMNS: Final = ("layout", "verdict", "replicas", "longest", "GiB free", "reason")
UNKNOWN: Final = "unknown"


def columns(report: PlanReport) -> tuple[str, ...]:
    """Heads of the ranked table."""
    return _TUNING_COLUMNS if report.tuning else _COLUMNS


def text_columns(report: PlanReport) -> int:
    """How many columns of it, the first, hold texts and no numbers."""
    return _TUNING_TEXT_COLUMNS if report.tuning else _TEXT_COLUMNS


def offer_cells(offer: Offer, report: PlanReport) -> tuple[str, ...]:
    """One row under `columns`; memory is per GPU, in GiB, what is free also in known errors, USD/M
    is for a million output tokens."""
    return _tuning_cells(offer, report) if report.tuning else _serving_cells(offer, report)


def _tuning_cells(offer: Offer, report: PlanReport) -> tuple[str, ...]:
    plan = offer.plan
    assert plan is not None, offer
    parts = ("weights", "adapters", "gradients", "optimizer", "activations", "runtime")
    return (
        _name(offer),
        gpus_text(offer),
        offer.verdict,
        f"{offer.longest:,}",
        *(f"{plan.memory.parts[part] / GIB:.2f}" for part in parts),
        *_free(offer),
        _usd(offer, report),
    )


def _name(offer: Offer) -> str:
    return offer.instance_type.name + ("*" if offer.instance_type.legacy else "")


def _free(offer: Offer) -> tuple[str, str]:
    assert offer.plan is not None, offer
    return f"{offer.plan.headroom_bytes / GIB:.2f}", f"{offer.headroom_multiples or 0:.1f}"


def _usd(offer: Offer, report: PlanReport) -> str:
    usd = offer.usd_per_hour
    stands_in = "+" if report.spot and offer.cost is not None and not offer.cost.spot else ""
    return UNKNOWN if usd is None else f"{usd:,.2f}{stands_in}"


def _serving_cells(offer: Offer, report: PlanReport) -> tuple[str, ...]:
    plan, speed = offer.plan, offer.speed
    assert plan is not None, offer
    times = ("-", "-", "-")
    if speed is not None:
        about = "~" if speed.prior else ""
        times = (
            about + seconds_text(speed.each.ttft_s),
            about + seconds_text(speed.each.tpot_s),
            f"{about}{speed.tokens_per_s:,.0f}",
        )
    million = offer.usd_per_million_tokens
    return (
        _name(offer),
        gpus_text(offer),
        machines_text(offer),
        layout_text(offer),
        offer.verdict,
        f"{plan.max_model_len:,}",
        f"{offer.concurrency * offer.copies:,}",
        *_free(offer),
        *times,
        _usd(offer, report),
        "-" if million is None else f"{million:,.2f}",
    )


def option_cells(option: "LayoutOption") -> tuple[str, ...]:
    """One row under `OPTION_COLUMNS`."""
    free = option.headroom_bytes
    return (
        option.name,
        option.verdict,
        str(option.replicas),
        f"{option.longest:,}",
        "-" if free is None else f"{free / GIB:.2f}",
        option.reason or "taken",
    )
