"""The page stands alone, is well-formed, and shows names as text."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from kaito.domain.fit_options import layout_options
from kaito.domain.fit_ranking import instance_types_of, rank
from kaito.domain.fit_request import FitRequest
from kaito.domain.known_error import Verdict
from kaito.plan_report.markdown import markdown_lines
from kaito.plan_report.page import page
from kaito.plan_report.plots import concurrency_plot, cost_plot, memory_plot
from kaito.plan_report.report import PlanReport
from tests.unit.domain.builders import A100, CATALOGUE, MINI, TWO_A10, V100

VOID = {"meta", "br", "rect", "line", "circle", "polyline"}
MISCHIEF = "<script>alert(1)</script>&\"'|*"


def report(
    name: str = "phi-4", *, types: tuple[str, ...] = (), called: str = "", **asked: Any
) -> PlanReport:
    model = CATALOGUE.model(name)
    if called:
        model = replace(model, name=called)
    request = FitRequest(**asked)
    chosen = instance_types_of(CATALOGUE.instance_types, clouds=["azure"], names=types)
    ranking = rank(model, chosen, CATALOGUE.engines, request)
    found = (*ranking.offers, *ranking.rejected) if types else ()
    return PlanReport(
        model=model,
        request=request,
        ranking=ranking,
        clouds=("azure",),
        options={
            one.instance_type.name: layout_options(model, one, CATALOGUE.engines, request)
            for one in found
        },
    )


class Nesting(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        if tag not in VOID or (tag in {"rect", "circle", "line"} and self.get_starttag_text()):
            text = self.get_starttag_text() or ""
            if not text.endswith("/>") and tag != "meta":
                self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID or (self.open and self.open[-1] == tag):
            assert self.open.pop() == tag


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"name": MINI, "rate": 5.0, "ttft_s": 1.0},
        {"types": (TWO_A10, A100)},
        {"types": (V100,)},
        {"name": MINI, "types": (V100,)},
    ],
)
def test_the_page_is_whole_and_asks_nobody(asked: dict[str, Any]) -> None:
    text = page(report(**asked))
    parser = Nesting()
    parser.feed(text)
    assert parser.open == []
    assert parser.scripts == 0
    sources = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?[^\s)]*""", text)
    assert sources == []
    assert "@import" not in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_names_are_text() -> None:
    text = page(report(called=MISCHIEF))
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    lines = list(markdown_lines(report(called=MISCHIEF)))
    assert lines[0] == "## \\<script\\>alert(1)\\</script\\>&\"'\\|\\*"


def test_the_memory_of_a_gpu_adds_up() -> None:
    found = report(types=(A100,))
    (offer,) = found.ranking.offers
    assert offer.plan is not None
    svg = memory_plot(found)
    widths = [float(one) for one in re.findall(r'<rect [^>]*width="([\d.]+)"', svg)]
    pixels_per_byte = sum(widths) / offer.instance_type.gpu.usable_bytes
    weights = float(re.findall(r'class="p-weights"[^>]*width="([\d.]+)"', svg)[0])
    assert weights / pixels_per_byte == pytest.approx(offer.plan.memory.weights, rel=0.01)
    assert 'class="error"' in svg


def test_longer_sequences_are_fewer() -> None:
    svg = concurrency_plot(report(types=(A100,)))
    points = [
        (float(x), float(y))
        for x, y in re.findall(r'<circle class="d-0" cx="([\d.]+)" cy="([\d.]+)"', svg)
    ]
    assert len(points) >= 4
    assert points == sorted(points)  # further right is never higher up, where y is less


def test_the_dashed_line_never_falls() -> None:
    svg = cost_plot(report())
    (line,) = re.findall(r'class="front" points="([^"]+)"', svg)
    points = [tuple(map(float, one.split(","))) for one in line.split()]
    assert len(points) >= 2
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    assert [y for _, y in points] == sorted((y for _, y in points), reverse=True)


def test_plots_without_anything_to_show_are_left_out() -> None:
    nothing = report(types=(V100,))
    assert nothing.ranking.rejected[0].verdict is Verdict.DOES_NOT_FIT
    assert memory_plot(nothing) == concurrency_plot(nothing) == cost_plot(nothing) == ""
    transformers = report(MINI, types=(V100,))
    assert memory_plot(transformers)
    assert concurrency_plot(transformers) == cost_plot(transformers) == ""
