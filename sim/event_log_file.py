"""The file that a run's events are written to."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from kaito.domain.errors import InvalidInput, Problem


@contextmanager
def event_log(path: str | None, inputs: list[str]) -> Iterator[TextIO | None]:
    """The file for events, opened before anything runs; `inputs` are not to be overwritten.

    Raises: InvalidInput (it is one of them, or cannot be written).
    """
    if path is None:
        yield None
        return
    if any(_same_file(path, one) for one in inputs):
        raise InvalidInput([_log_problem(path, "is an input and would be overwritten")])
    with ExitStack() as stack:
        try:
            log = stack.enter_context(Path(path).open("w", encoding="utf-8", newline="\n"))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InvalidInput([_log_problem(path, f"cannot be written: {reason}")]) from error
        yield log


def _same_file(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False  # one of them is not there


def _log_problem(path: str, message: str) -> Problem:
    return Problem(field=f"--events {path}", message=message, remedy="Name another file")
