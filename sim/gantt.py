"""A Workspace's phases as bars over time, in text."""

from dataclasses import dataclass
from typing import Final

from kaito.domain.durations import duration_text
from sim.result import Phase, WorkspaceResult

_LEAST_BAR_CELLS: Final = 10
_MOST_BAR_CELLS: Final = 60
_LEAST_DETAIL_CHARS: Final = 12
_MARGIN: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Glyphs:
    """The signs to draw with. `ends` are the last cell of a bar, from nearly empty to full."""

    full: str
    ends: str
    running: str
    passed: str
    failed: str


UNICODE: Final = Glyphs(full="█", ends="▏▎▍▌▋▊▉█", running="░", passed="✓", failed="✗")
ASCII: Final = Glyphs(full="#", ends="#", running=".", passed="ok  ", failed="FAIL")


def glyphs_for(encoding: str) -> Glyphs:
    """Blocks where the output can show them."""
    return UNICODE if "utf" in encoding.lower() else ASCII


def chart(
    workspace: WorkspaceResult, *, now_s: float, width: int, glyphs: Glyphs = UNICODE
) -> list[str]:
    """A header, and a line for each phase: start after creation, duration, bar, detail.

    `now_s` is the end of the run, until which running phases are drawn; `width` counts cells.
    """
    phases = workspace.phases
    origin_s = min([workspace.created_at_s, *(phase.start_s for phase in phases)])
    ends_s = [now_s if phase.end_s is None else phase.end_s for phase in phases]
    span_s = max([end_s - origin_s for end_s in ends_s], default=0.0)
    texts = [("PHASE", "AT", "TOOK")]
    texts += [
        (phase.name, f"+{duration_text(phase.start_s - origin_s)}", _length(phase, end_s))
        for phase, end_s in zip(phases, ends_s, strict=True)
    ]
    widths = [max(len(text[column]) for text in texts) for column in range(3)]
    heads = [
        f"{' ' * _MARGIN}{name.ljust(widths[0])}  {at.rjust(widths[1])}  {took.rjust(widths[2])}"
        for name, at, took in texts
    ]
    room = width - len(heads[0]) - 2
    cells = _cells(room, max((len(phase.detail) for phase in phases), default=0))
    lines = [heads[0]]
    for phase, end_s, head in zip(phases, ends_s, heads[1:], strict=True):
        start, end = phase.start_s - origin_s, end_s - origin_s
        bar = _bar(start, end, span_s, cells, glyphs, running=phase.end_s is None)
        detail = _cut(phase.detail, room - cells - 2)
        lines.append(f"{head}  {bar.ljust(cells)}  {detail}".rstrip())
    return lines


def _cells(room: int, longest_detail: int) -> int:
    """How wide bars are: up to half of the room is left to what is said beside them."""
    detail = min(longest_detail + 2, room // 2) if longest_detail else 0
    return max(_LEAST_BAR_CELLS, min(_MOST_BAR_CELLS, room - detail))


def _length(phase: Phase, end_s: float) -> str:
    text = duration_text(end_s - phase.start_s)
    return f"{text}..." if phase.end_s is None else text


def _bar(
    start_s: float, end_s: float, span_s: float, cells: int, glyphs: Glyphs, *, running: bool
) -> str:
    """Blanks up to the start, then the bar; it is never invisible and never leaves its cells."""
    steps = len(glyphs.ends)
    scale = cells * steps / span_s if span_s > 0 else 0.0
    first = min(round(start_s * scale) // steps, cells - 1)
    last = min(max(round(end_s * scale), first * steps + 1), cells * steps)
    whole, part = divmod(last - first * steps, steps)
    if running:
        return " " * first + glyphs.running * (whole + (1 if part else 0))
    return " " * first + glyphs.full * whole + (glyphs.ends[part - 1] if part else "")


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    return f"{text[: limit - 3]}..." if limit >= _LEAST_DETAIL_CHARS else ""
