"""`python -m sim run --seeds N`: from the command line's values to a printed result."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from kaito.domain.errors import InvalidInput, Problem
from sim.seeds import OnSeeds, SeedsResult, load_each, run_seeds
from sim.seeds_report import print_seeds


@dataclass(frozen=True, slots=True)
class ManySeeds:
    """What to run: each file by itself, under `seeds` seeds from `first_seed` on."""

    files: Sequence[str]
    seeds: int
    first_seed: int
    jobs: int | None
    until_s: float | None
    models: Path | None = None

    def refuse_events(self, events: str | None) -> None:
        """Raises: InvalidInput (`events` is given, which is for a single run)."""
        if events is not None:
            message = "is the log of one run, and --seeds makes many"
            remedy = "Leave it out, or replay one seed with --seed and --events"
            raise InvalidInput([Problem(field="--events", message=message, remedy=remedy)])

    def run(self, console: Any, *, quiet: bool) -> SeedsResult:
        """Load and run; `console` is stderr's, where progress is shown.

        Raises: InvalidInput with every problem of every file.
        """
        scenarios = load_each(self.files, self.models)
        with _progress(console, shown=not quiet) as on_progress:
            return run_seeds(
                scenarios,
                seeds=self.seeds,
                first_seed=self.first_seed,
                until_s=self.until_s,
                jobs=self.jobs,
                on_progress=on_progress,
            )

    def print(self, console: Any, result: SeedsResult, *, quiet: bool) -> None:
        """The result for people, on stdout's console."""
        print_seeds(console, result, quiet=quiet)


@contextmanager
def _progress(console: Any, *, shown: bool) -> Iterator[OnSeeds]:
    """One line that is kept up to date on a terminal; elsewhere one for each tenth of the runs."""
    if not shown:
        yield lambda _done, _total, _failed: None
        return
    if sys.stderr.isatty():
        with console.status("starting") as status:
            yield lambda done, total, failed: status.update(_told(done, total, failed))
        return
    tenths = 0

    def tell(done: int, total: int, failed: int) -> None:
        nonlocal tenths
        if done * 10 // total > tenths:
            tenths = done * 10 // total
            typer.echo(_told(done, total, failed), err=True)

    yield tell


def _told(done: int, total: int, failed: int) -> str:
    return f"{done:,} of {total:,} runs, {failed} failed"
