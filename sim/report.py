"""Results and problems for people: plain text that also reads well in a pipe or a log."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.style import Style
from rich.text import Text

from kaito.domain.durations import duration_text
from kaito.domain.errors import InvalidInput
from sim.columns import columns
from sim.gantt import Glyphs, chart, glyphs_for
from sim.result import (
    Calibration,
    EventResult,
    Expectation,
    MachineResult,
    PhaseSpread,
    RunResult,
    WorkspaceResult,
)

PROBLEM_LIMIT: Final = 20
_WARNING_LIMIT: Final = 20
_MACHINE_LIMIT: Final = 50
_FIELD_CHARS: Final = 200
_MESSAGE_CHARS: Final = 400
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]")
_GOOD: Final = Style(color="green")
_BAD: Final = Style(color="red", bold=True)
_WARN: Final = Style(color="yellow")
_DIM: Final = Style(dim=True)
_HEAD: Final = Style(bold=True)
_PLAIN: Final = Style()
_YEAR_S: Final = 365 * 86_400


def print_run(console: Console, result: RunResult, *, replay: str, quiet: bool = False) -> None:
    """The whole result; with `quiet` only the expectations that failed.

    `replay` is the command that runs the same again.
    """
    glyphs = glyphs_for(console.encoding)
    failed = [expectation for expectation in result.expectations if not expectation.ok]
    if quiet:
        _print_expectations(console, failed, glyphs)
        _print_violations(console, result.violations, glyphs)
        return
    living = [one for one in result.workspaces if one.deleted_at_s is None]
    _print_lines(console, workspace_table(living, now_s=result.simulated_s))
    for workspace in result.workspaces:
        _print_timeline(console, workspace, result.simulated_s, glyphs)
    _print_machines(console, result)
    _print_pending(console, living)
    _print_warnings(console, result.warnings)
    if result.assumed_secrets:
        named = ", ".join(result.assumed_secrets)
        _section(console, "Assumed to exist")
        _print(console, f"  Secret {named} (named by a manifest, provided by none)", _WARN)
    if result.expectations:
        _section(console, "Expectations")
        _print_expectations(console, result.expectations, glyphs)
    if result.violations:
        _section(console, "Violated")
        _print_violations(console, result.violations, glyphs)
    _print(console, "")
    _print(console, _closing(result), _DIM)
    _print(console, f"seed {result.seed}; the same again: {replay}", _DIM)


def print_problems(console: Console, error: InvalidInput) -> None:
    """Everything that is wrong with an input, on one screen: the field, what, and what to do."""
    problems = error.problems
    noun = "problem" if len(problems) == 1 else "problems"
    _print(console, f"{len(problems)} {noun} in the input; nothing was run.", _BAD)
    for problem in problems[:PROBLEM_LIMIT]:
        field = f"{_clean(problem.field, _FIELD_CHARS)}: " if problem.field else ""
        line = Text(f"  {field}", style=_HEAD)
        line.append(_clean(problem.message, _MESSAGE_CHARS), style="not bold")
        console.print(line, soft_wrap=True, highlight=False)
        if problem.remedy:
            _print(console, f"      {_clean(problem.remedy, _MESSAGE_CHARS)}")
    if len(problems) > PROBLEM_LIMIT:
        _print(console, f"  ... and {len(problems) - PROBLEM_LIMIT} more")


def print_calibration(console: Console, calibration: Calibration) -> None:
    """Median and p95 of each phase beside the published range."""
    rows: list[tuple[str, ...]] = [("PHASE", "MEDIAN", "P95", "PUBLISHED", "", "SOURCE")]
    rows += [_spread_row(phase) for phase in calibration.phases]
    _print_lines(console, columns(rows))
    _print(console, "")
    _print(
        console,
        f"{calibration.seeds:,} seeds of {calibration.scenario} in {calibration.wall_s:.1f} s",
        _DIM,
    )


def workspace_table(workspaces: Sequence[WorkspaceResult], *, now_s: float) -> list[str]:
    """The lines that `kubectl get workspaces` prints; with namespaces if there are several."""
    if not workspaces:
        return ["No Workspaces are left."]
    header = ("NAME", "INSTANCE", "RESOURCEREADY", "INFERENCEREADY", "JOBSTARTED")
    rows: list[tuple[str, ...]] = [("NAMESPACE", *header, "WORKSPACEREADY", "AGE")]
    rows += [
        (
            one.namespace,
            one.name,
            one.instance_type,
            one.resource_ready,
            one.inference_ready,
            one.job_started,
            one.workspace_ready,
            age_text(now_s - one.created_at_s),
        )
        for one in workspaces
    ]
    if len({one.namespace for one in workspaces}) == 1:
        rows = [row[1:] for row in rows]
    return columns(rows)


def age_text(seconds: float) -> str:
    """An age as kubectl shows it.

    Source: kubernetes/apimachinery pkg/util/duration/duration.go, HumanDuration.
    """
    whole = max(0, int(seconds))
    minutes, hours, days = whole // 60, whole // 3_600, whole // 86_400
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return _two(minutes, "m", whole % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return _two(days, "d", hours % 24, "h")
    if days < 2 * 365:
        return f"{days}d"
    if days < 8 * 365:
        return _two(days // 365, "y", days % 365, "d")
    return f"{whole // _YEAR_S}y"


def _two(large: int, large_unit: str, small: int, small_unit: str) -> str:
    return f"{large}{large_unit}{f'{small}{small_unit}' if small else ''}"


def _print_timeline(
    console: Console, workspace: WorkspaceResult, now_s: float, glyphs: Glyphs
) -> None:
    title = Text(f"\n{workspace.name}", style=_HEAD)
    title.append(f"  {_outcome(workspace)}", style=_outcome_style(workspace))
    console.print(title, soft_wrap=True, highlight=False)
    if workspace.phases:
        lines = chart(workspace, now_s=now_s, width=console.width, glyphs=glyphs)
        _print_lines(console, lines)


def _outcome(workspace: WorkspaceResult) -> str:
    if workspace.deleted_at_s is not None:
        return f"gone at {duration_text(workspace.deleted_at_s)}"
    if workspace.ready and workspace.ready_at_s is not None:
        took = duration_text(workspace.ready_at_s - workspace.created_at_s)
        return f"READY {took} after it was applied"
    return f"not READY{f': {workspace.reason}' if workspace.reason else ''}"


def _outcome_style(workspace: WorkspaceResult) -> Style:
    if workspace.deleted_at_s is not None:
        return _PLAIN
    return _GOOD if workspace.ready else _BAD


def _print_machines(console: Console, result: RunResult) -> None:
    if not result.machines:
        return
    _section(console, f"Machines and cost: {_usd(result.cost_usd)}")
    rows: list[tuple[str, ...]] = [
        ("  NAME", "WORKSPACE", "INSTANCE", "ZONE", "ORDERED", "READY", "RELEASED", "COST")
    ]
    rows += [_machine_row(machine) for machine in result.machines[:_MACHINE_LIMIT]]
    _print_lines(console, columns(rows))
    if len(result.machines) > _MACHINE_LIMIT:
        _print(console, f"  ... and {len(result.machines) - _MACHINE_LIMIT} more")


def _machine_row(machine: MachineResult) -> tuple[str, ...]:
    return (
        f"  {machine.name}",
        machine.workspace,
        machine.instance_type,
        machine.zone or "-",
        duration_text(machine.ordered_at_s),
        _time_or(machine.ready_at_s, "never" if machine.released_at_s is not None else "not yet"),
        _time_or(machine.released_at_s, "-"),
        _usd(machine.cost_usd),
    )


def _print_pending(console: Console, workspaces: Iterable[WorkspaceResult]) -> None:
    waiting = [one for one in workspaces if one.pending or not one.ready]
    if not waiting:
        return
    _section(console, "Still pending")
    for one in waiting:
        why = one.pending or one.message or one.reason or "no reason was given"
        _print(console, f"  {one.key}: {_clean(why, _MESSAGE_CHARS)}", _WARN)


def _print_warnings(console: Console, warnings: Sequence[EventResult]) -> None:
    if not warnings:
        return
    _section(console, "Warning events")
    for event in warnings[:_WARNING_LIMIT]:
        often = f" (x{event.count})" if event.count > 1 else ""
        place = f"{event.kind}/{event.name}"
        message = _clean(event.message, _MESSAGE_CHARS)
        text = f"  {duration_text(event.at_s)}  {event.reason}  {place}{often}: {message}"
        _print(console, text, _WARN)
    if len(warnings) > _WARNING_LIMIT:
        _print(console, f"  ... and {len(warnings) - _WARNING_LIMIT} more (see --events)")


def _print_expectations(
    console: Console, expectations: Iterable[Expectation], glyphs: Glyphs
) -> None:
    for one in expectations:
        mark = glyphs.passed if one.ok else glyphs.failed
        detail = f": {one.detail}" if one.detail else ""
        _print(console, f"  {mark} {one.text}{detail}", _GOOD if one.ok else _BAD)


def _print_violations(console: Console, violations: Iterable[str], glyphs: Glyphs) -> None:
    for violation in violations:
        _print(console, f"  {glyphs.failed} {_clean(violation, _MESSAGE_CHARS)}", _BAD)


def _closing(result: RunResult) -> str:
    return (
        f"{duration_text(result.simulated_s)} simulated in {result.wall_s:.2f} s, "
        f"{result.events:,} events, {_usd(result.cost_usd)}"
    )


def _spread_row(phase: PhaseSpread) -> tuple[str, ...]:
    low, high = phase.cited_min_s, phase.cited_max_s
    if low is not None and high is not None:
        published = f"{duration_text(low)} to {duration_text(high)}"
    elif high is not None:
        published = f"up to {duration_text(high)}"
    else:
        published = "-"
    verdict = {True: "inside", False: "OUTSIDE", None: ""}[phase.inside]
    median, p95 = duration_text(phase.median_s), duration_text(phase.p95_s)
    return (phase.name, median, p95, published, verdict, phase.source or "prior")


def _time_or(seconds: float | None, otherwise: str) -> str:
    return otherwise if seconds is None else duration_text(seconds)


def _usd(amount: float) -> str:
    return f"${amount:,.2f}"


def _section(console: Console, title: str) -> None:
    _print(console, "")
    _print(console, title, _HEAD)


def _print_lines(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        _print(console, line)


def _print(console: Console, text: str, style: Style = _PLAIN) -> None:
    """One line, as it is: no wrapping, no markup."""
    console.print(Text(text, style=style), soft_wrap=True, highlight=False)


def _clean(text: str, limit: int) -> str:
    """`text` on one line, without control characters, cut to `limit` characters."""
    one_line = _UNPRINTABLE.sub("?", " ".join(text.splitlines()))
    return one_line if len(one_line) <= limit else f"{one_line[: limit - 3]}..."
