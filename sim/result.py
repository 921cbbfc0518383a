"""What came of a run, as plain values.

Times are seconds since the start of the run, in virtual time unless they say otherwise; money is US
dollars.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

_DECIMALS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is: how many Workspaces are READY, and what goes on now."""

    now_s: float
    ready: int
    total: int
    current: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One step of a Workspace's life. `end_s` is None while it goes on."""

    name: str
    start_s: float
    end_s: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceResult:
    """How a Workspace stood at the end.

    `resource_ready` and the three after it are the texts of the conditions: True, False, Unknown
    or empty. `ready_at_s` is when it last became READY. `pending` says what it still waits for, and
    why; None if nothing. `deleted_at_s` is when it was gone.
    """

    namespace: str
    name: str
    instance_type: str
    ready: bool
    ready_at_s: float | None = None
    resource_ready: str = ""
    inference_ready: str = ""
    job_started: str = ""
    workspace_ready: str = ""
    reason: str = ""
    message: str = ""
    created_at_s: float = 0.0
    deleted_at_s: float | None = None
    phases: tuple[Phase, ...] = ()
    pending: str | None = None

    @property
    def key(self) -> str:
        """`namespace/name`."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineResult:
    """One machine that was ordered. `workspace` is `namespace/name`; it costs until released."""

    name: str
    workspace: str
    instance_type: str
    zone: str
    ordered_at_s: float
    ready_at_s: float | None = None
    released_at_s: float | None = None
    cost_usd: float = 0.0
    capacity_type: str = "on-demand"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventResult:
    """An event that the operator recorded about an object; `count` times, first at `at_s`."""

    at_s: float
    kind: str
    namespace: str
    name: str
    type: str
    reason: str
    message: str
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """One thing that was expected, and whether it came true; `detail` says what was found."""

    text: str
    ok: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A whole run. `wall_s` is real time; `events` counts the lines of the event log.

    `assumed_secrets` are the `namespace/name` of Secrets that no document provided. `violations`
    are of the invariants, each with the time at which it was found.
    """

    seed: int
    simulated_s: float
    wall_s: float
    events: int
    cost_usd: float
    workspaces: tuple[WorkspaceResult, ...] = ()
    machines: tuple[MachineResult, ...] = ()
    expectations: tuple[Expectation, ...] = ()
    assumed_secrets: tuple[str, ...] = ()
    warnings: tuple[EventResult, ...] = ()
    violations: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether every expectation came true, and every invariant held."""
        return not self.violations and all(expectation.ok for expectation in self.expectations)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, keys as the fields are called, and `ok`."""
        values: dict[str, Any] = _rounded(asdict(self))
        return {"ok": self.ok, **values}


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseSpread:
    """How long a phase took over many seeds, against the published range; None: unpublished."""

    name: str
    median_s: float
    p95_s: float
    cited_min_s: float | None = None
    cited_max_s: float | None = None
    source: str = ""

    @property
    def inside(self) -> bool | None:
        """Whether median and 95th percentile lie in the cited range; None without one."""
        if self.cited_min_s is None and self.cited_max_s is None:
            return None
        least_s = 0.0 if self.cited_min_s is None else self.cited_min_s
        most_s = math.inf if self.cited_max_s is None else self.cited_max_s
        return least_s <= self.median_s <= self.p95_s <= most_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The spread of every phase of one scenario over `seeds` runs."""

    scenario: str
    seeds: int
    wall_s: float
    phases: tuple[PhaseSpread, ...]

    @property
    def ok(self) -> bool:
        """Whether no phase lies outside what is published."""
        return all(phase.inside is not False for phase in self.phases)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, keys as the fields are called, with `inside` of each phase."""
        values: dict[str, Any] = _rounded(asdict(self))
        for phase, written in zip(self.phases, values["phases"], strict=True):
            written["inside"] = phase.inside
        return {"ok": self.ok, **values}


def _rounded(value: Any) -> Any:
    """Floats without the noise of their last digits, tuples as lists."""
    if isinstance(value, float):
        return round(value, _DECIMALS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
