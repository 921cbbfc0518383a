"""A plan as one HTML page that asks nobody for anything: styles and plots are inside."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import Final

from kaito.plan_report.cells import (
    OPTION_COLUMNS,
    columns,
    offer_cells,
    option_cells,
    text_columns,
)
from kaito.plan_report.plots import concurrency_plot, cost_plot, legend, memory_plot
from kaito.plan_report.report import (
    PlanReport,
    asked_text,
    close_looks,
    groups,
    model_text,
    most_text,
    notes,
    recommendation,
)

__all__ = ["page"]

_OPTION_TEXTS: Final = 2

# Colours that people tell apart whatever they see: Okabe and Ito, https://jfly.uni-koeln.de/color/
_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --faint: #57606a;
  --rule: #d0d7de; --free: #dfe7ef; --outside: #f6f8fa; --good: #1a7f37; --warn: #9a6700;
  --bad: #b42318; --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #e69f00;
  --c5: #56b4e9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; --faint: #9da7b1;
  --rule: #30363d; --free: #2b3540; --outside: #161b22; --good: #3fb950; --warn: #d29922;
  --bad: #ff7b72; --c0: #58a6e8; --c5: #f0e442; } }
@media print { :root { color-scheme: light; --ink: #000000; --paper: #ffffff; --faint: #444444;
  --rule: #bbbbbb; --free: #dfe7ef; --outside: #f6f8fa; --good: #1a7f37; --warn: #9a6700;
  --bad: #b42318; --c0: #0072b2; --c5: #56b4e9; }
  figure, tr, li { break-inside: avoid; } body { max-width: none; font-size: 10pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } @page { size: landscape; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 1360px; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.faint, figcaption, li.note { color: var(--faint); }
p.best { border-left: 4px solid var(--good); padding: .4rem .9rem; font-size: 1.05rem; }
div.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .5rem; border-bottom: 1px solid var(--rule); text-align: left;
  white-space: nowrap; }
th.n, td.n { text-align: right; } td.wrap { white-space: normal; }
td.fits { color: var(--good); } td.tight { color: var(--warn); }
td.does-not-fit { color: var(--bad); }
figure { margin: 1rem 0; max-width: 860px; } svg { width: 100%; height: auto; }
svg .label { font-size: 12px; fill: var(--ink); }
svg .grid { stroke: var(--rule); stroke-width: .7; } svg .axis { stroke: var(--ink); }
svg .error { stroke: var(--bad); stroke-width: 2; }
svg polyline { fill: none; stroke-width: 2; } svg .front { stroke: var(--c0); stroke-width: 1.5;
  stroke-dasharray: 5 4; }
.p-weights, .d-0 { fill: var(--c0); background: var(--c0); } .l-0 { stroke: var(--c0); }
.p-kv_cache, .d-1 { fill: var(--c1); background: var(--c1); } .l-1 { stroke: var(--c1); }
.p-activations, .d-2 { fill: var(--c2); background: var(--c2); } .l-2 { stroke: var(--c2); }
.p-cuda_graphs, .d-3 { fill: var(--c3); background: var(--c3); } .l-3 { stroke: var(--c3); }
.p-runtime, .d-4 { fill: var(--c4); background: var(--c4); } .l-4 { stroke: var(--c4); }
.p-adapters, .d-5 { fill: var(--c5); background: var(--c5); } .l-5 { stroke: var(--c5); }
.p-gradients { fill: var(--c3); background: var(--c3); }
.p-optimizer { fill: var(--c1); background: var(--c1); }
.p-free { fill: var(--free); background: var(--free); }
.p-outside { fill: var(--outside); background: var(--outside); stroke: var(--rule); }
.d-other { fill: var(--faint); }
ul.legend { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; }
ul.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem;
  border: 1px solid var(--rule); } ul.legend i.mark { width: 2px; background: var(--bad);
  border: 0; }
"""


def page(report: PlanReport) -> str:
    """The whole document. What a name or path holds is text, never markup."""
    return "\n".join(_lines(report))


def _lines(report: PlanReport) -> Iterator[str]:
    title = f"Plan for {report.model.name}"
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
    yield f"<h1>{escape(title)}</h1>"
    yield f"<p>{escape(model_text(report.model))}</p>"
    yield f'<p class="faint">Asked: {escape(asked_text(report))}</p>'
    yield f'<p class="best">{escape(recommendation(report))}</p>'
    offers = report.ranking.offers
    if offers:
        yield "<h2>Instance types, best first</h2>"
        rows = [offer_cells(one, report) for one in offers]
        head = columns(report)
        yield from _table(head, rows, range(text_columns(report), len(head)))
    yield from _figures(report)
    for heading, options in close_looks(report):
        yield f"<h2>{escape(heading)}</h2>"
        cells = [option_cells(one) for one in options]
        yield from _table(OPTION_COLUMNS, cells, range(_OPTION_TEXTS, len(OPTION_COLUMNS) - 1))
    if report.ranking.rejected:
        yield "<h2>Not these</h2><ul>"
        for names, reason in groups(report):
            yield f"<li><strong>{escape(names)}</strong>: {escape(reason)}</li>"
        yield "</ul>"
    found = list(notes(report))
    if found:
        yield "<h2>What this rests on</h2><ul>"
        for note in found:
            yield f'<li class="note">{escape(note)}</li>'
        yield "</ul>"
    yield "</body></html>"


def _figures(report: PlanReport) -> Iterator[str]:
    memory = memory_plot(report)
    if memory:
        yield "<h2>Memory of one GPU</h2>"
        keys = "".join(
            f'<li><i class="{css}"></i>{escape(name)}</li>' for css, name in legend(report)
        )
        mark = '<li><i class="mark"></i>as far as memory may be off</li>'
        yield f'<figure>{memory}<ul class="legend">{keys}{mark}</ul></figure>'
    lines = concurrency_plot(report)
    if lines:
        yield "<h2>Context against concurrency</h2>"
        yield f"<figure>{lines}<figcaption>One copy of each plan.</figcaption></figure>"
    cost = cost_plot(report)
    if cost:
        yield "<h2>Cost against throughput</h2>"
        caption = f"The most that all copies do; {most_text(report)}. Along the dashed line"
        yield f"<figure>{cost}<figcaption>{escape(caption)} nothing is both cheaper and faster."
        yield "</figcaption></figure>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: range) -> Iterator[str]:
    def cell(kind: str, index: int, text: str) -> str:
        names = [
            *(["n"] if index in numbers else []),
            *([text.replace(" ", "-")] if head[index] == "verdict" and kind == "td" else []),
            *(["wrap"] if head[index] == "reason" else []),
        ]
        css = f' class="{escape(" ".join(names))}"' if names else ""
        return f"<{kind}{css}>{escape(text)}</{kind}>"

    yield '<div class="wide"><table><thead><tr>'
    yield "".join(cell("th", index, text) for index, text in enumerate(head))
    yield "</tr></thead><tbody>"
    for row in rows:
        yield "<tr>" + "".join(cell("td", index, text) for index, text in enumerate(row)) + "</tr>"
    yield "</tbody></table></div>"
