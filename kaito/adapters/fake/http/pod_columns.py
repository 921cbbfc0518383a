"""The cells of `kubectl get pods`: one word for what a pod's many statuses add up to."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.fake.http.ages import between
from kaito.adapters.kube_api import KubeObject, is_true

NONE: Final = "<none>"
_Status = Mapping[str, Any]


def pod_ready(pod: KubeObject, _now_s: float) -> str:
    """Ready containers of all, as `1/2`."""
    ready = sum(1 for one in _statuses(pod, "containerStatuses") if one.get("ready"))
    return f"{ready}/{len(pod['spec'].get('containers') or ())}"


def pod_status(pod: KubeObject, _now_s: float) -> str:
    """The phase, or the reason why a container does not run."""
    status = pod.get("status") or {}
    reason = str(status.get("reason") or status.get("phase") or "Unknown")
    if _is_gated(pod):
        reason = "SchedulingGated"
    initialising = _init_reason(pod)
    reason = initialising or _container_reason(pod, reason)
    if "deletionTimestamp" not in pod["metadata"]:
        return reason
    if status.get("reason") == "NodeLost":
        return "Unknown"
    return reason if status.get("phase") in {"Failed", "Succeeded"} else "Terminating"


def pod_restarts(pod: KubeObject, now_s: float) -> str:
    """How often containers were started again, and when the last time was."""
    init = [] if _init_reason(pod) == "" else _statuses(pod, "initContainerStatuses")
    counted = [*init] if init else _statuses(pod, "containerStatuses")
    total = sum(int(one.get("restartCount", 0)) for one in counted)
    ends = [
        one["lastState"]["terminated"]["finishedAt"]
        for one in counted
        if ((one.get("lastState") or {}).get("terminated") or {}).get("finishedAt")
    ]
    return f"{total} ({between(max(ends), now_s)} ago)" if total and ends else str(total)


def pod_ip(pod: KubeObject, _now_s: float) -> str:
    return str((pod.get("status") or {}).get("podIP") or NONE)


def pod_node(pod: KubeObject, _now_s: float) -> str:
    return str(pod["spec"].get("nodeName") or NONE)


def pod_nominated_node(pod: KubeObject, _now_s: float) -> str:
    return str((pod.get("status") or {}).get("nominatedNodeName") or NONE)


def pod_readiness_gates(pod: KubeObject, _now_s: float) -> str:
    gates = pod["spec"].get("readinessGates") or ()
    if not gates:
        return NONE
    return f"{sum(1 for gate in gates if is_true(pod, gate['conditionType']))}/{len(gates)}"


def _statuses(pod: KubeObject, key: str) -> Sequence[_Status]:
    found: Sequence[_Status] = (pod.get("status") or {}).get(key) or ()
    return found


def _is_gated(pod: KubeObject) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(
        one.get("type") == "PodScheduled" and one.get("reason") == "SchedulingGated"
        for one in conditions
    )


def _init_reason(pod: KubeObject) -> str:
    """`Init:0/1` and the like; empty once all init containers have succeeded."""
    statuses = _statuses(pod, "initContainerStatuses")
    count = len(pod["spec"].get("initContainers") or ())
    for done, status in enumerate(statuses):
        state = status.get("state") or {}
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if terminated is not None and terminated.get("exitCode", 0) == 0:
            continue
        if terminated is not None:
            return f"Init:{_ended(terminated)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{done}/{count}"
    return ""


def _container_reason(pod: KubeObject, reason: str) -> str:
    running = False
    for status in reversed(_statuses(pod, "containerStatuses")):
        state = status.get("state") or {}
        waiting, terminated = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif terminated is not None:
            reason = _ended(terminated)
        elif status.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running" if is_true(pod, "Ready") else "NotReady"
    return reason


def _ended(terminated: _Status) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"
