"""A plan as Markdown, for tickets and pull requests."""

from collections.abc import Iterator, Sequence

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

__all__ = ["markdown_lines"]

_OPTION_TEXTS = 2


def markdown_lines(report: PlanReport) -> Iterator[str]:
    """GitHub-flavoured; what a name or path holds is escaped."""
    yield f"## {_plain(report.model.name)}"
    yield ""
    yield _plain(model_text(report.model)) + "."
    yield ""
    yield f"Asked: {_plain(asked_text(report))}."
    yield ""
    yield f"**Recommended:** {_plain(recommendation(report))}"
    offers = report.ranking.offers
    if offers:
        yield ""
        rows = [offer_cells(one, report) for one in offers]
        head = columns(report)
        yield from _table(head, rows, range(text_columns(report), len(head)))
    for title, options in close_looks(report):
        yield ""
        yield f"### {_plain(title)}"
        yield ""
        rows = [option_cells(one) for one in options]
        yield from _table(OPTION_COLUMNS, rows, range(_OPTION_TEXTS, len(OPTION_COLUMNS) - 1))
    if report.ranking.rejected:
        yield ""
        yield "### Not these"
        yield ""
        for names, reason in groups(report):
            yield f"- {_plain(names)}: {_plain(reason)}"
    found = list(notes(report))
    if found:
        yield ""
        yield "### Notes"
        yield ""
        for note in found:
            yield f"- {_plain(note)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: range) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "|".join("--:" if index in numbers else "---" for index in range(len(head))) + "|"
    for row in rows:
        yield f"| {' | '.join(_plain(cell) for cell in row)} |"


def _plain(text: str) -> str:
    """As text, not as markup."""
    for character in "\\`*_{}[]<>|~":
        text = text.replace(character, f"\\{character}")
    return text
