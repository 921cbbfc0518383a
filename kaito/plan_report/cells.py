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

__all__ = ["COLUMNS", "OPTION_COLUMNS", "TEXT_COLUMNS", "offer_cells", "option_cells"]

COLUMNS: Final = (
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
TEXT_COLUMNS: Final = 5  # the first columns; the others are numbers
OPTION_COLUMNS: Final = ("layout", "verdict", "replicas", "longest", "GiB free", "reason")
UNKNOWN: Final = "unknown"


def offer_cells(offer: Offer, report: PlanReport) -> tuple[str, ...]:
    """One row under `COLUMNS`; free memory is per GPU, in GiB and in known errors, USD/M is for a
    million output tokens."""
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
    usd, million = offer.usd_per_hour, offer.usd_per_million_tokens
    stands_in = "+" if report.spot and offer.cost is not None and not offer.cost.spot else ""
    return (
        offer.instance_type.name + ("*" if offer.instance_type.legacy else ""),
        gpus_text(offer),
        machines_text(offer),
        layout_text(offer),
        offer.verdict,
        f"{plan.max_model_len:,}",
        f"{offer.concurrency * offer.copies:,}",
        f"{plan.headroom_bytes / GIB:.2f}",
        f"{offer.headroom_multiples or 0:.1f}",
        *times,
        UNKNOWN if usd is None else f"{usd:,.2f}{stands_in}",
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
