"""How long each step of a machine's life may take, and how people say so."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from kaito.domain.durations import EXAMPLES, parse_duration
from kaito.domain.errors import InvalidInput, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLimits:
    """Limits in seconds, each from the moment that the step before was done.

    Launch and registration: Karpenter's liveness limits (pkg/controllers/nodeclaim/lifecycle/
    liveness.go). GPUs: cluster-autoscaler waits up to 15 min for them after the Node is ready. A
    Node that was ready and is not any more: Karpenter's node repair waits 10 min. The drain of a
    Node before its machine is given back: ten times the grace period that pods have by default.
    """

    launch_s: float = 300.0
    register_s: float = 900.0
    initialize_s: float = 1200.0
    unhealthy_s: float = 600.0
    drain_s: float = 300.0


FLAGS: Final[Mapping[str, str]] = {
    "launch_s": "--launch-timeout",
    "register_s": "--registration-timeout",
    "initialize_s": "--initialization-timeout",
    "unhealthy_s": "--unhealthy-timeout",
    "drain_s": "--drain-timeout",
}


def limits_from(given: Mapping[str, str]) -> MachineLimits:
    """The limits as flags give them: lengths of time by the name of the limit, those that are not
    given as they are by default. Raises: InvalidInput."""
    problems: list[Problem] = []
    seconds: dict[str, float] = {}
    for name, text in given.items():
        try:
            seconds[name] = parse_duration(text)
            if not seconds[name]:
                raise ValueError("must not be zero")
        except ValueError as error:
            problems.append(
                Problem(
                    field=FLAGS[name],
                    message=f"{error}, got {text!r}",
                    remedy=f"Give a length of time above zero, such as {EXAMPLES}",
                )
            )
    if problems:
        raise InvalidInput(problems)
    return MachineLimits(**seconds)
