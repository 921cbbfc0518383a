"""What the operator tells Prometheus. Names that KAITO v0.12 has keep their meaning, but a
Workspace that is merely starting counts as pending, not as an error."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from kaito.adapters.k8s.controller import Key
from kaito.adapters.kube_api import KubeObject, condition_of
from kaito.domain import status as st
from kaito.reconcile import Outcome

PHASES: Final = ("succeeded", "error", "pending", "deleting")
_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class _Counted(NamedTuple):
    phase: str
    preset: str


class _ArmRequests(Collector):
    def __init__(self, requests: Callable[[], Mapping[str, int]]) -> None:
        self._requests = requests

    def collect(self) -> Iterator[CounterMetricFamily]:
        found = CounterMetricFamily(
            "kaito_arm_requests", "Requests to Azure Resource Manager", labels=["call"]
        )
        for call, count in sorted(self._requests().items()):
            found.add_metric([call], count)
        yield found


class OperatorMetrics:
    """The operator's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._workspaces = Gauge(
            "kaito_workspace_count", "Workspaces by phase", ["phase"], registry=self.registry
        )
        for phase in PHASES:
            self._workspaces.labels(phase).set(0)
        self._presets = Gauge(
            "kaito_workspace_preset_count",
            "Workspaces by preset",
            ["preset_name"],
            registry=self.registry,
        )
        self._counted: dict[str, _Counted] = {}
        self._duration = Histogram(
            "kaito_reconcile_duration_seconds",
            "How long a round took",
            ["kind"],
            buckets=_BUCKETS_S,
            registry=self.registry,
        )
        self._errors = Counter(
            "kaito_reconcile_errors",
            "Rounds that failed",
            ["kind", "error"],
            registry=self.registry,
        )
        self._queue = Gauge("kaito_queue_length", "Keys that wait", registry=self.registry)
        self._leading = Gauge(
            "kaito_leader", "1 while this operator does the work", registry=self.registry
        )
        self._leading.set(0)

    def round_ended(self, key: Key, outcome: Outcome, took_s: float) -> None:
        """Count a round."""
        self._duration.labels(key.kind).observe(took_s)
        if outcome.error is not None:
            self._errors.labels(key.kind, type(outcome.error).__name__).inc()

    def queue_is(self, length: int) -> None:
        """How many keys wait."""
        self._queue.set(length)

    def count_arm_requests(self, requests: Callable[[], Mapping[str, int]]) -> None:
        """Tell how many requests went to Azure Resource Manager, by kind, as `requests` has it
        whenever somebody looks."""
        self.registry.register(_ArmRequests(requests))

    def leads(self, leading: bool) -> None:
        """Whether this operator does the work."""
        self._leading.set(1 if leading else 0)

    def workspace_is(self, uid: str, workspace: KubeObject | None) -> None:
        """Count a Workspace as it is now; None: it is gone."""
        before = self._counted.pop(uid, None)
        if before is not None:
            self._workspaces.labels(before.phase).dec()
            self._presets.labels(before.preset).dec()
        if workspace is not None:
            now = self._counted[uid] = _Counted(phase_of(workspace), preset_of(workspace))
            self._workspaces.labels(now.phase).inc()
            self._presets.labels(now.preset).inc()


def phase_of(workspace: KubeObject) -> str:
    """deleting, succeeded, error (a human must act) or pending (the operator is at it)."""
    if "deletionTimestamp" in workspace["metadata"]:
        return "deleting"
    done = condition_of(workspace, st.SUCCEEDED)
    if done is None:
        return "pending"
    if done["status"] == "True":
        return "succeeded"
    blocked = st.BLOCKED_REASONS - {st.PAUSED}  # that is nobody's error
    return "error" if done.get("reason") in blocked else "pending"


def preset_of(workspace: KubeObject) -> str:
    """The model's name; empty when the object names none."""
    part = workspace.get("inference") or workspace.get("tuning") or {}
    preset = part.get("preset") or {}
    return str(preset.get("name") or "")
