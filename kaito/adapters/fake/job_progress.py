"""How far a Job is, computed from its status and its pods. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kaito.adapters.fake.job_failures import fatal_message, has_failed, is_counted, waits_for_end
from kaito.adapters.fake.pods import is_deleting, is_ready, is_terminal, phase_of, with_condition
from kaito.adapters.kube_api import KubeObject, condition_of
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

_BACKOFF_LIMIT: Final = 6  # the API server's default


@dataclass(slots=True, kw_only=True)
class Progress:
    """A Job's pods, sorted by what became of them."""

    active: list[KubeObject]
    terminating: int
    pods: Sequence[KubeObject] = ()
    uncounted: list[KubeObject] = field(default_factory=list)
    """Finished pods that the Job's finalizer still holds."""
    uncounted_uids: dict[str, list[str]] = field(default_factory=dict)
    succeeded: int = 0
    """Counted in the status for good; `total_*` adds those that are not yet."""
    failed: int = 0
    wanted: int = 0
    waits: int = 0
    """Pods being deleted whose end is waited for."""
    failed_at_s: dict[str, float] = field(default_factory=dict)
    """When each pod that is still there failed, by its uid; those that do not count are among
    them."""
    last_success_s: float = 0.0

    @property
    def total_succeeded(self) -> int:
        return self.succeeded + len(self.uncounted_uids["succeeded"])

    @property
    def total_failed(self) -> int:
        return self.failed + len(self.uncounted_uids["failed"])


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a Job ends."""

    condition: Literal["Complete", "Failed"]
    reason: str
    message: str


def progress_of(job: KubeObject, pods: Sequence[KubeObject], finalizer: str) -> Progress:
    """Count `pods`, all of them this Job's. A pod being deleted counts as failed at once, unless
    the Job has a pod failure policy. One that such a policy ignores is let go uncounted.

    A uid stands in `status.uncountedTerminatedPods` from before its finalizer goes until after,
    so that no crash in between counts it twice or not at all.
    """
    status = job.get("status") or {}
    held = [pod for pod in pods if finalizer in (pod["metadata"].get("finalizers") or ())]
    held_uids = {pod["metadata"]["uid"] for pod in held}
    progress = Progress(
        active=[pod for pod in pods if not is_terminal(pod) and not is_deleting(pod)],
        terminating=sum(1 for pod in pods if is_deleting(pod) and not is_terminal(pod)),
        pods=pods,
    )
    failed = [pod for pod in held if has_failed(job, pod)]
    ended = {
        "succeeded": [pod for pod in held if phase_of(pod) == "Succeeded"],
        "failed": [pod for pod in failed if is_counted(job, pod)],
    }
    progress.uncounted = [pod for pod in failed if not is_counted(job, pod)]
    listed: Mapping[str, Any] = status.get("uncountedTerminatedPods") or {}
    counts = {}
    for outcome, found in ended.items():
        known = list(listed.get(outcome) or ())
        let_go = [uid for uid in known if uid not in held_uids]
        fresh = [pod["metadata"]["uid"] for pod in found if pod["metadata"]["uid"] not in known]
        counts[outcome] = int(status.get(outcome) or 0) + len(let_go)
        progress.uncounted_uids[outcome] = [uid for uid in known if uid in held_uids] + fresh
        progress.uncounted += found
    progress.succeeded, progress.failed = counts["succeeded"], counts["failed"]
    progress.waits = progress.terminating if waits_for_end(job) else 0
    progress.wanted = _wanted(job, progress)
    progress.failed_at_s = {
        pod["metadata"]["uid"]: _finished_s(pod) for pod in pods if has_failed(job, pod)
    }
    progress.last_success_s = max(
        (_finished_s(pod) for pod in pods if phase_of(pod) == "Succeeded"), default=0.0
    )
    return progress


def verdict_on(
    job: KubeObject, progress: Progress, now_s: float
) -> tuple[Verdict | None, float | None]:
    """How the Job ends, if it does now; and the deadline to look at it again."""
    spec = job["spec"]
    target = condition_of(job, "FailureTarget")
    if target is not None:
        return Verdict("Failed", target["reason"], target["message"]), None
    fatal = next(filter(None, (fatal_message(job, pod) for pod in progress.pods)), "")
    if fatal:
        return Verdict("Failed", "PodFailurePolicy", fatal), None
    limit = spec.get("backoffLimit")
    if progress.total_failed > (_BACKOFF_LIMIT if limit is None else int(limit)):
        message = "Job has reached the specified backoff limit"
        return Verdict("Failed", "BackoffLimitExceeded", message), None
    deadline_s = None
    if spec.get("activeDeadlineSeconds") is not None:
        start = (job.get("status") or {}).get("startTime")
        start_s = from_rfc3339(start) if start else now_s
        deadline_s = start_s + float(spec["activeDeadlineSeconds"])
        if deadline_s <= now_s:
            message = "Job was active longer than specified deadline"
            return Verdict("Failed", "DeadlineExceeded", message), None
    completions = spec.get("completions")
    if completions is None:
        done = progress.total_succeeded > 0 and not progress.active
    else:
        done = progress.total_succeeded >= int(completions)
    if done:
        message = "Reached expected number of succeeded pods"
        return Verdict("Complete", "CompletionsReached", message), None
    return None, deadline_s


def status_of(
    job: KubeObject,
    progress: Progress,
    verdict: Verdict | None,
    now_s: float,
    *,
    finished: bool,
) -> dict[str, Any]:
    """The status to write, once the `verdict` is carried out with `finished`. As in the real one,
    counts of zero are left out."""
    before = job.get("status") or {}
    active = [] if finished else progress.active
    counts = {
        "active": len(active),
        "succeeded": progress.succeeded,
        "failed": progress.failed,
    }
    status: dict[str, Any] = {name: count for name, count in counts.items() if count}
    status["ready"] = sum(1 for pod in active if is_ready(pod))
    status["terminating"] = progress.terminating
    status["startTime"] = before.get("startTime") or to_rfc3339(now_s)
    status["uncountedTerminatedPods"] = {
        outcome: uids for outcome, uids in progress.uncounted_uids.items() if uids
    }
    conditions = list(before.get("conditions") or ())
    said: list[str] = [] if verdict is None or not finished else [verdict.condition]
    if verdict is not None and verdict.condition == "Failed":
        said.insert(0, "FailureTarget")  # stands from when its pods are stopped
    for kind in said:
        assert verdict is not None, "it is what is said"
        conditions = with_condition(
            conditions, kind, "True", now_s, reason=verdict.reason, message=verdict.message
        )
    if "Complete" in said:
        status["completionTime"] = to_rfc3339(now_s)
    if conditions:
        status["conditions"] = conditions
    return status


def _wanted(job: KubeObject, progress: Progress) -> int:
    """How many pods should run at once."""
    spec = job["spec"]
    parallelism = spec.get("parallelism")
    most = 1 if parallelism is None else int(parallelism)
    if spec.get("completions") is None:
        return len(progress.active) if progress.total_succeeded else most
    return min(most, max(0, int(spec["completions"]) - progress.total_succeeded))


def _finished_s(pod: KubeObject) -> float:
    """When its last container ended; else when its deletion was asked for, or it was created."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    ends = [
        ended["finishedAt"]
        for one in statuses
        if (ended := (one.get("state") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    meta = pod["metadata"]
    if ends:
        return from_rfc3339(max(ends))
    if is_deleting(pod):
        asked_s = from_rfc3339(meta["deletionTimestamp"])
        return asked_s - float(meta.get("deletionGracePeriodSeconds") or 0)
    return from_rfc3339(meta["creationTimestamp"])
