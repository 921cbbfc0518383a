"""What the probes find of a container whose health depends on other pods."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from kaito.adapters.fake.probes import ProbeOutcome, outcome_from_now


class Life(NamedTuple):
    """One run of a container, from start to end."""

    pod_uid: str
    restart_count: int


class MemberHealth:
    """Since when a member of a group answers, or does not. A life begins silent and alive."""

    def __init__(self, start_s: float) -> None:
        self._start_s = start_s
        self._answers_s: float | None = None
        self._silent_s: float | None = start_s
        self._dead_s: float | None = None

    def change(self, at_s: float, *, answers: bool, alive: bool) -> bool:
        """Note how it is from now on; whether that is new."""
        known = (self._answers_s is not None, self._dead_s is None)
        if known[0] != answers:
            self._answers_s, self._silent_s = (at_s, None) if answers else (None, at_s)
        if known[1] != alive:
            self._dead_s = None if alive else at_s
        return known != (answers, alive)

    def outcome(self, container: Mapping[str, Any], *, started: bool) -> ProbeOutcome:
        """What the probes make of it if nothing changes any more."""
        return outcome_from_now(
            container,
            self._start_s,
            started=started,
            answers_s=self._answers_s,
            silent_s=self._silent_s,
            dead_s=self._dead_s,
        )
