"""Many seeds for people: a table, and each failure with the command that repeats it."""

from typing import Final

from rich.console import Console
from rich.text import Text

from kaito.domain.durations import duration_text
from sim.columns import columns
from sim.seeds import ScenarioSeeds, SeedsResult

_FAILURE_LIMIT: Final = 5  # of each scenario
_GOOD, _BAD, _DIM = "green", "bold red", "dim"


def print_seeds(console: Console, result: SeedsResult, *, quiet: bool = False) -> None:
    """The whole result; with `quiet` only the failures."""
    if not quiet:
        header = ("SCENARIO", "SEEDS", "FAILED", "SIMULATED", "COST", "AT MOST")
        lines = columns([header, *(_row(scenario) for scenario in result.scenarios)])
        _print(console, lines[0])
        for line, scenario in zip(lines[1:], result.scenarios, strict=True):
            _print(console, line, _BAD if scenario.failed else _GOOD)
    for scenario in result.scenarios:
        _print_failures(console, scenario)
    if not quiet:
        count = sum(len(scenario.runs) for scenario in result.scenarios)
        _print(console, "")
        _print(console, f"{count:,} runs in {result.wall_s:.1f} s; times and costs: medians", _DIM)


def _row(scenario: ScenarioSeeds) -> tuple[str, ...]:
    return (
        scenario.file,
        str(len(scenario.runs)),
        str(len(scenario.failed)),
        duration_text(scenario.median_simulated_s),
        f"${scenario.median_cost_usd:,.2f}",
        f"${scenario.most_cost_usd:,.2f}",
    )


def _print_failures(console: Console, scenario: ScenarioSeeds) -> None:
    for run in scenario.failed[:_FAILURE_LIMIT]:
        _print(console, "")
        _print(console, f"seed {run.seed}: {scenario.replay(run)}", _BAD)
        for why in run.why:
            _print(console, f"  {why}")
    more = len(scenario.failed) - _FAILURE_LIMIT
    if more > 0:
        _print(console, f"  ... and {more} more seeds of {scenario.file} (all of them: -o json)")


def _print(console: Console, text: str, style: str = "") -> None:
    """One line, as it is: no wrapping, no markup."""
    console.print(Text(text, style=style), soft_wrap=True, highlight=False)
