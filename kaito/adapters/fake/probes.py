"""When a kubelet's probes notice that a container is healthy, or give up on it. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOutcome:
    """Moments of one life of a container, in epoch seconds; None: never."""

    started_s: float | None
    """The startup probe passed, or there is none."""
    ready_s: float | None
    killed_s: float | None = None
    killed_by: str = ""
    """Which probe: `startup` or `liveness`."""
    unready_s: float | None = None


def probe_outcome(
    container: Mapping[str, Any], start_s: float, healthy_s: float | None
) -> ProbeOutcome:
    """What the probes of a container that started at `start_s` will make of it.

    It answers probes well from `healthy_s` on; None: not in this life. A probe looks at
    `initialDelaySeconds` after the start and every `periodSeconds` from there on. Readiness is
    looked at as soon as the startup probe has passed (kubelet, pkg/kubelet/prober).
    """
    startup = container.get("startupProbe")
    started_s: float | None = start_s
    if startup:
        killed_s = _given_up_s(startup, start_s, start_s, healthy_s)
        if killed_s is not None:
            return ProbeOutcome(
                started_s=None, ready_s=None, killed_s=killed_s, killed_by="startup"
            )
        started_s = None if healthy_s is None else _next_look_s(startup, start_s, healthy_s)
    if started_s is None:
        return ProbeOutcome(started_s=None, ready_s=None)
    ready_s = _ready_s(container, start_s, started_s, healthy_s)
    liveness = container.get("livenessProbe")
    killed_s = _given_up_s(liveness, start_s, started_s, healthy_s) if liveness else None
    if killed_s is not None:
        ready_s = ready_s if ready_s is not None and ready_s < killed_s else None
        return ProbeOutcome(
            started_s=started_s, ready_s=ready_s, killed_s=killed_s, killed_by="liveness"
        )
    return ProbeOutcome(started_s=started_s, ready_s=ready_s)


def outcome_from_now(
    container: Mapping[str, Any],
    start_s: float,
    *,
    started: bool,
    answers_s: float | None,
    silent_s: float | None,
    dead_s: float | None,
) -> ProbeOutcome:
    """What the probes will find of a container that depends on others, as things are.

    Startup and readiness have found it well since `answers_s`, or not since `silent_s`; liveness
    has found nothing wrong, or has since `dead_s`. What follows from before comes again.
    """
    if started:
        probed_s, ready_s = start_s, None
        if answers_s is not None:
            ready_s = _ready_s({**container, "startupProbe": None}, start_s, answers_s, answers_s)
    else:
        outcome = probe_outcome({**container, "livenessProbe": None}, start_s, answers_s)
        if outcome.started_s is None:
            return outcome
        probed_s, ready_s = outcome.started_s, outcome.ready_s
    readiness, liveness = container.get("readinessProbe"), container.get("livenessProbe")
    unready_s = killed_s = None
    if readiness and silent_s is not None:
        unready_s = _given_up_s(readiness, start_s, silent_s, None)
    if liveness and dead_s is not None:
        killed_s = _given_up_s(liveness, start_s, max(dead_s, probed_s), None)
    return ProbeOutcome(
        started_s=probed_s,
        ready_s=ready_s,
        unready_s=unready_s,
        killed_s=killed_s,
        killed_by="" if killed_s is None else "liveness",
    )


def grace_s(pod: Mapping[str, Any], container: Mapping[str, Any], probe: str) -> float:
    """How long a container that a probe has given up on may take to end: the probe's own, else
    the pod's."""
    own = (container.get(f"{probe}Probe") or {}).get("terminationGracePeriodSeconds")
    return float(own or pod["spec"].get("terminationGracePeriodSeconds") or 0)


def _ready_s(
    container: Mapping[str, Any], start_s: float, started_s: float, healthy_s: float | None
) -> float | None:
    probe = container.get("readinessProbe")
    if not probe:
        return started_s
    if healthy_s is None:
        return None
    first_s = start_s + _seconds(probe, "initialDelaySeconds", 0)
    if container.get("startupProbe") and started_s >= first_s:
        passed_s = started_s
    else:
        passed_s = _next_look_s(probe, start_s, max(started_s, healthy_s))
    return passed_s + (_count(probe, "successThreshold", 1) - 1) * _period_s(probe)


def _next_look_s(probe: Mapping[str, Any], start_s: float, since_s: float) -> float:
    """The first look at or after `since_s`."""
    first_s = start_s + _seconds(probe, "initialDelaySeconds", 0)
    looks = max(0, math.ceil((since_s - first_s) / _period_s(probe) - 1e-9))
    return max(since_s, first_s + looks * _period_s(probe))


def _given_up_s(
    probe: Mapping[str, Any], start_s: float, since_s: float, healthy_s: float | None
) -> float | None:
    """When `failureThreshold` looks in a row have failed; None when one passes before."""
    first_s = _next_look_s(probe, start_s, since_s)
    last_s = first_s + (_count(probe, "failureThreshold", 3) - 1) * _period_s(probe)
    return last_s if healthy_s is None or last_s < healthy_s else None


def _period_s(probe: Mapping[str, Any]) -> float:
    return _seconds(probe, "periodSeconds", 10)


def _seconds(probe: Mapping[str, Any], key: str, default: float) -> float:
    value = probe.get(key)
    return default if value is None else float(value)


def _count(probe: Mapping[str, Any], key: str, default: int) -> int:
    value = probe.get(key)
    return default if value is None else int(value)
