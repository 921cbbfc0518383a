"""Plots of a plan as inline SVG; colours are classes that the page's style sheet fills."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

from kaito.domain.fit import concurrency_at
from kaito.domain.fit_offer import Offer
from kaito.domain.memory import budget_bytes
from kaito.domain.quantity import GIB, gib_text
from kaito.plan_report.report import PlanReport, gpus_text, layout_text

__all__ = ["concurrency_plot", "cost_plot", "legend", "memory_plot"]

_WIDTH: Final = 760
_NAMES: Final = 215  # to the left of bars
_BAR: Final = 18
_ROW: Final = 26
_MARGIN: Final = 56
_HEIGHT: Final = 340
_MOST_BARS: Final = 14
_MOST_LINES: Final = 6
_SHORTEST_CONTEXT: Final = 1024
_CHARACTER: Final = 7.5  # width of a character of a label, of wide fonts too

_PARTS: Final = (
    ("weights", "weights"),
    ("kv_cache", "KV cache of one sequence"),
    ("activations", "activations"),
    ("cuda_graphs", "CUDA graphs"),
    ("runtime", "CUDA context, libraries, NCCL"),
    ("adapters", "adapters"),
)
_TUNING_PARTS: Final = (
    ("weights", "weights"),
    ("activations", "activations"),
    ("optimizer", "optimizer"),
    ("gradients", "gradients"),
    ("adapters", "adapter"),
    ("runtime", "CUDA context, libraries"),
)
"""Parts of memory in the order of the stack: field, and name for people."""


def _parts(report: PlanReport) -> tuple[tuple[str, str], ...]:
    """With those that no kind of job but this one has."""
    return _TUNING_PARTS if report.tuning else _PARTS


def _free(report: PlanReport) -> str:
    return "free" if report.tuning else "free for more sequences"


def memory_plot(report: PlanReport) -> str:
    """What one GPU of each offer holds, up to what CUDA reports; empty without an offer."""
    offers = [one for one in report.ranking.offers if one.plan is not None][:_MOST_BARS]
    if not offers:
        return ""
    most = max(one.instance_type.gpu.usable_bytes for one in offers)
    width = _WIDTH - _NAMES - 70
    height = len(offers) * _ROW + 34
    body = "".join(
        _stack(report, one, _ROW * index + 4, width / most) for index, one in enumerate(offers)
    )
    base = len(offers) * _ROW + 6
    body += _scale(most / GIB, width, base)
    return _svg(height, body, "Memory of one GPU on each instance type, by what it is for")


def _stack(report: PlanReport, offer: Offer, top: float, pixels: float) -> str:
    plan = offer.plan
    assert plan is not None
    gpu = offer.instance_type.gpu
    budget = budget_bytes(gpu, plan.engine.name)
    sizes = [(part, name, plan.memory.parts[part]) for part, name in _parts(report)]
    sizes.append(("free", _free(report), plan.headroom_bytes))
    sizes.append(("outside", "not the engine's", gpu.usable_bytes - budget))
    text = _text(_NAMES - 8, top + 13, offer.instance_type.name, "end")
    left = float(_NAMES)
    for part, name, size in sizes:
        wide = size * pixels
        if wide > 0:
            text += (
                f'<rect class="p-{part}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" '
                f'height="{_BAR}"><title>{escape(offer.instance_type.name)}: {escape(name)} '
                f"{gib_text(size)}</title></rect>"
            )
        left += wide
    mark = _NAMES + (plan.memory.total + plan.error.size) * pixels
    return text + (
        f'<line class="error" x1="{mark:.1f}" x2="{mark:.1f}" y1="{top - 2:.1f}" '
        f'y2="{top + _BAR + 2:.1f}"><title>known error: {gib_text(plan.error.size)}</title></line>'
    )


def _scale(most_gib: float, width: float, top: float) -> str:
    step = next(one for one in (2, 5, 10, 20, 50) if most_gib / one <= 12)
    ticks = ""
    for value in range(0, floor(most_gib) + 1, step):
        x = _NAMES + value / most_gib * width
        ticks += _line(x, top, x, top + 5, "axis") + _text(x, top + 18, str(value), "middle")
    return ticks + _text(_NAMES + width + 12, top + 18, "GiB", "start")


def concurrency_plot(report: PlanReport) -> str:
    """How many sequences of each length one copy holds at once, for the first offers whose GPUs
    or layouts differ; empty where none batches."""
    series: dict[str, list[tuple[float, float]]] = {}
    for offer in report.ranking.offers:
        plan = offer.plan
        assert plan is not None
        name = f"{gpus_text(offer)}, {layout_text(offer)}" + (
            f", {plan.nodes} nodes" if plan.nodes > 1 else ""
        )
        if offer.speed is None or name in series or len(series) == _MOST_LINES:
            continue
        lengths = [_SHORTEST_CONTEXT << n for n in range(24)]
        within = [one for one in lengths if one < offer.longest] + [offer.longest]
        points = [
            (
                float(tokens),
                float(
                    concurrency_at(
                        report.model,
                        offer.instance_type.gpu,
                        plan,
                        tokens,
                        adapters=report.request.adapters,
                    )
                ),
            )
            for tokens in within
        ]
        series[name] = [point for point in points if point[1] >= 1]
    drawn = {name: points for name, points in series.items() if points}
    if not drawn:
        return ""
    frame = _frame([point for points in drawn.values() for point in points])
    body = _axes(frame, "context of each sequence, tokens", "sequences at once")
    for index, (name, points) in enumerate(drawn.items()):
        path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
        body += f'<polyline class="l-{index}" points="{path}"/>'
        for x, y in points:
            body += _dot(frame, (x, y), f"d-{index}", f"{name}: {y:,.0f} x {x:,.0f} tokens")
    body += "".join(
        f'<rect class="d-{index}" x="{_MARGIN}" y="{_HEIGHT + 4 + 18 * index}" width="12" '
        f'height="12"/>' + _text(_MARGIN + 18, _HEIGHT + 14 + 18 * index, name, "start")
        for index, name in enumerate(drawn)
    )
    height = _HEIGHT + 18 * len(drawn) + 8
    return _svg(height, body, "Sequences held at once against the context of each")


def cost_plot(report: PlanReport) -> str:
    """Output tokens per second against cost, and those that nothing beats in both; empty where
    fewer than two have a price and a speed."""
    priced = [
        (one.usd_per_hour, one.speed.most_tokens_per_s, one)
        for one in report.ranking.offers
        if one.usd_per_hour is not None and one.speed is not None
    ]
    if len(priced) < 2:
        return ""
    frame = _frame([(usd, speed) for usd, speed, _ in priced])
    body = _axes(frame, "US dollars per hour", "output tokens per second")
    front = [point for point in sorted(priced, key=_cheapest) if _is_best(point, priced)]
    path = " ".join(f"{frame.x(usd):.1f},{frame.y(speed):.1f}" for usd, speed, _ in front)
    body += f'<polyline class="front" points="{path}"/>'
    taken: list[tuple[float, float, float]] = []
    for usd, speed, one in priced:
        best = any(one is other for _, _, other in front)
        name = one.instance_type.name
        body += _dot(
            frame,
            (usd, speed),
            "d-0" if best else "d-other",
            f"{name}: {usd:,.2f} USD per hour, {speed:,.0f} tokens per second",
        )
        if best:
            body += _label(frame, usd, speed, name, taken)
    return _svg(_HEIGHT, body, "Output tokens per second against cost per hour")


def _cheapest(point: tuple[float, float, Offer]) -> tuple[float, float]:
    return point[0], -point[1]


def _is_best(
    point: tuple[float, float, Offer], others: Sequence[tuple[float, float, Offer]]
) -> bool:
    """Whether none is as cheap and faster, or as fast and cheaper."""
    usd, speed, _ = point
    return not any(
        (cost <= usd and fast > speed) or (cost < usd and fast >= speed) for cost, fast, _ in others
    )


@dataclass(frozen=True, slots=True)
class _Frame:
    """Logarithmic axes over whole decades of halves; `x` and `y` are positions of values."""

    x_ticks: list[float]
    y_ticks: list[float]
    x: Callable[[float], float]
    y: Callable[[float], float]


def _frame(points: Sequence[tuple[float, float]]) -> _Frame:
    x_ticks = _ticks([x for x, _ in points])
    y_ticks = _ticks([y for _, y in points])
    right, bottom = _WIDTH - 30, _HEIGHT - 46

    def x(value: float) -> float:
        return _MARGIN + _share(value, x_ticks) * (right - _MARGIN)

    def y(value: float) -> float:
        return bottom - _share(value, y_ticks) * (bottom - 14)

    return _Frame(x_ticks, y_ticks, x, y)


def _share(value: float, ticks: Sequence[float]) -> float:
    return (log10(value) - log10(ticks[0])) / (log10(ticks[-1]) - log10(ticks[0]))


def _ticks(values: Sequence[float]) -> list[float]:
    """1, 2, 5, 10, ... from below the least to above the most."""
    low, high = min(values), max(values)
    all_ticks = [
        factor * 10.0**power
        for power in range(floor(log10(low)) - 1, ceil(log10(high)) + 2)
        for factor in (1, 2, 5)
    ]
    first = max(index for index, tick in enumerate(all_ticks) if tick <= low)
    last = min(index for index, tick in enumerate(all_ticks) if tick >= high)
    return all_ticks[first : max(last, first + 1) + 1]


def _axes(frame: _Frame, across: str, up: str) -> str:
    left, right = frame.x(frame.x_ticks[0]), frame.x(frame.x_ticks[-1])
    bottom, top = frame.y(frame.y_ticks[0]), frame.y(frame.y_ticks[-1])
    body = ""
    for tick in frame.x_ticks:
        x = frame.x(tick)
        body += _line(x, top, x, bottom, "grid") + _text(x, bottom + 16, _short(tick), "middle")
    for tick in frame.y_ticks:
        y = frame.y(tick)
        body += _line(left, y, right, y, "grid") + _text(left - 6, y + 4, _short(tick), "end")
    middle = (top + bottom) / 2
    return (
        body
        + _text((left + right) / 2, bottom + 36, across, "middle")
        + f'<text class="label" text-anchor="middle" transform="translate(12 {middle:.0f}) '
        f'rotate(-90)">{escape(up)}</text>'
    )


def _short(value: float) -> str:
    """ "200", "20k", "0.5"."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.999:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def _label(
    frame: _Frame, usd: float, speed: float, name: str, taken: list[tuple[float, float, float]]
) -> str:
    """A name beside a point, left of it where there is no room to the right, and left out where it
    would cover another."""
    width = len(name) * _CHARACTER
    x, y = frame.x(usd) + 8, frame.y(speed) + 16
    anchor = "start"
    if x + width > _WIDTH:
        x, anchor = x - 16, "end"
    start = x if anchor == "start" else x - width
    if any(start < b and a < start + width and abs(y - c) < 13 for a, b, c in taken):
        return ""
    taken.append((start, start + width, y))
    return _text(x, y, name, anchor)


def _dot(frame: _Frame, point: tuple[float, float], css: str, title: str) -> str:
    return (
        f'<circle class="{css}" cx="{frame.x(point[0]):.1f}" cy="{frame.y(point[1]):.1f}" r="4">'
        f"<title>{escape(title)}</title></circle>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> str:
    return f'<line class="{css}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return (
        f'<text class="label" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _svg(height: float, body: str, name: str) -> str:
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height:.0f}" role="img" aria-label="{escape(name)}">'
        f"{body}</svg>"
    )


def legend(report: PlanReport) -> Iterator[tuple[str, str]]:
    """Class and name of everything that the memory plot draws."""
    for part, name in _parts(report):
        yield f"p-{part}", name
    yield "p-free", _free(report)
    yield "p-outside", "not the engine's"
