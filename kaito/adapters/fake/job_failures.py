"""What a Job makes of a pod that failed: its `podFailurePolicy` (kube-controller-manager's,
pkg/controller/job/pod_failure_policy.go). Pure."""

from collections.abc import Iterable, Mapping
from typing import Any

from kaito.adapters.fake.pods import is_deleting, phase_of
from kaito.adapters.kube_api import KubeObject, name_of, namespace_of


def waits_for_end(job: KubeObject) -> bool:
    """Whether a pod that is being deleted is followed only once it has ended."""
    spec = job["spec"]
    return bool(spec.get("podFailurePolicy")) or spec.get("podReplacementPolicy") == "Failed"


def has_failed(job: KubeObject, pod: KubeObject) -> bool:
    """Whether the pod is done without success; one being deleted may count as that already."""
    if phase_of(pod) == "Failed":
        return True
    return not waits_for_end(job) and is_deleting(pod) and phase_of(pod) != "Succeeded"


def is_counted(job: KubeObject, pod: KubeObject) -> bool:
    """Whether a pod that failed counts against `backoffLimit`."""
    return _judged(job, pod)[0] != "Ignore"


def fatal_message(job: KubeObject, pod: KubeObject) -> str:
    """Why the whole Job fails with this pod; empty when it does not."""
    if not has_failed(job, pod):
        return ""
    action, message = _judged(job, pod)
    return message if action == "FailJob" else ""


def _judged(job: KubeObject, pod: KubeObject) -> tuple[str, str]:
    """The action of the first rule that fits, and what fits; Count where none does."""
    policy = job["spec"].get("podFailurePolicy") or {}
    for index, rule in enumerate(policy.get("rules") or ()):
        found = _fitting(rule, pod)
        if found:
            action = rule["action"]
            return action, f"{found} matching {action} rule at index {index}"
    return "Count", ""


def _fitting(rule: Mapping[str, Any], pod: KubeObject) -> str:
    status: Mapping[str, Any] = pod.get("status") or {}
    where = f"{namespace_of(pod)}/{name_of(pod)}"
    codes = rule.get("onExitCodes")
    if codes:
        for name, code in _exits(status):
            named = codes.get("containerName")
            listed = code in codes["values"]
            if named in {None, name} and listed == (codes["operator"] == "In"):
                return f"Container {name} for pod {where} failed with exit code {code}"
        return ""
    wanted = {(one["type"], one["status"]) for one in rule.get("onPodConditions") or ()}
    for condition in status.get("conditions") or ():
        if (condition["type"], condition["status"]) in wanted:
            return f"Pod {where} has condition {condition['type']}"
    return ""


def _exits(status: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """The containers that ended with an error; init containers last."""
    for one in (
        *(status.get("containerStatuses") or ()),
        *(status.get("initContainerStatuses") or ()),
    ):
        code = ((one.get("state") or {}).get("terminated") or {}).get("exitCode")
        if code:
            yield one["name"], code
