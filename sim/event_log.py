"""The event log of a run: one JSON object per line, equal byte for byte for equal seeds."""

import json
from typing import Any, TextIO


class EventLog:
    """Counts every event, and writes it where a file was asked for.

    `t` is seconds since the start of the run, to the microsecond.
    """

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self.count = 0

    def write(self, at_s: float, event: str, **fields: Any) -> None:
        """Add one event at `at_s` seconds since the start."""
        self.count += 1
        if self._out is not None:
            line = {"t": round(at_s, 6), "event": event, **fields}
            self._out.write(json.dumps(line, separators=(",", ":"), ensure_ascii=False) + "\n")
