"""A plan for the terminal."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from kaito.plan_report.cells import (
    OPTION_COLUMNS,
    columns,
    offer_cells,
    option_cells,
    text_columns,
)
from kaito.plan_report.report import (
    PlanReport,
    asked_text,
    close_looks,
    groups,
    model_text,
    notes,
    recommendation,
)

__all__ = ["table_lines"]

_WIDTH: Final = 110
_OPTION_TEXTS: Final = 2


def table_lines(report: PlanReport) -> Iterator[str]:
    """Lines for people; wide ones only in the table itself."""
    yield model_text(report.model)
    yield from _wrapped(f"Asked: {asked_text(report)}")
    offers = report.ranking.offers
    if offers:
        yield ""
        rows = [offer_cells(one, report) for one in offers]
        yield from _columns(columns(report), rows, text_columns(report))
    yield ""
    yield from _wrapped(f"Recommended: {recommendation(report)}")
    for title, options in close_looks(report):
        yield ""
        yield title
        rows = [option_cells(one) for one in options]
        yield from _columns(OPTION_COLUMNS, rows, _OPTION_TEXTS)
    if report.ranking.rejected:
        yield ""
        yield "Not these"
        for names, reason in groups(report):
            yield from _wrapped(f"{names}: {reason}", "- ")
    found = list(notes(report))
    if found:
        yield ""
        for note in found:
            yield from _wrapped(note, "  ")


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> Iterator[str]:
    """Aligned: the first `texts` columns to the left, numbers to the right, what comes last and is
    no number as it is."""
    whole = [tuple(one.upper() for one in head), *rows]
    widths = [max(len(row[index]) for row in whole) for index in range(len(head))]
    last_is_text = head[-1] == "reason"
    for row in whole:
        cells = []
        for index, (cell, width) in enumerate(zip(row, widths, strict=True)):
            left = index < texts or (last_is_text and index == len(head) - 1)
            cells.append(cell.ljust(width) if left else cell.rjust(width))
        yield "  ".join(cells).rstrip()


def _wrapped(text: str, bullet: str = "") -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=bullet,
        subsequent_indent=" " * len(bullet),
        break_long_words=False,
        break_on_hyphens=False,
    )
