"""How far a Job is, computed from its status and its pods. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from kaito.adapters.fake.pods import is_deleting, is_ready, is_terminal, phase_of, with_condition
from kaito.adapters.kube_api import KubeObject
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

_BACKOFF_LIMIT: Final = 6  # the API server's default


@dataclass(slots=True, kw_only=True)
class Progress:
    """A Job's pods, sorted by what became of them."""

    active: list[KubeObject]
    terminating: int
    uncounted: list[KubeObject] = field(default_factory=list)
    """Finished pods that the Job's finalizer still holds."""
    uncounted_uids: dict[str, list[str]] = field(default_factory=dict)
    succeeded: int = 0
    """Counted in the status for good; `total_*` adds those that are not yet."""
    failed: int = 0
    wanted: int = 0
    failures_in_a_row: int = 0
    last_failure_s: float = 0.0

    @property
    def total_succeeded(self) -> int:
        return self.succeeded + len(self.uncounted_uids["succeeded"])

    @property
    def total_failed(self) -> int:
        return self.failed + len(self.uncounted_uids["failed"])

    @property
    def created(self) -> int:
        """How many pods there have been."""
        going = [pod for pod in self.active if not is_terminal(pod)]
        return self.total_succeeded + self.total_failed + len(going)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a Job ends."""

    condition: Literal["Complete", "Failed"]
    reason: str
    message: str


def progress_of(job: KubeObject, pods: Sequence[KubeObject], finalizer: str) -> Progress:
    """Count `pods`, all of them this Job's. A pod being deleted counts as failed at once.

    A uid stands in `status.uncountedTerminatedPods` from before its finalizer goes until after,
    so that no crash in between counts it twice or not at all.
    """
    status = job.get("status") or {}
    held = [pod for pod in pods if finalizer in (pod["metadata"].get("finalizers") or ())]
    held_uids = {pod["metadata"]["uid"] for pod in held}
    progress = Progress(
        active=[pod for pod in pods if not is_terminal(pod) and not is_deleting(pod)],
        terminating=sum(1 for pod in pods if is_deleting(pod) and not is_terminal(pod)),
    )
    ended = {
        "succeeded": [pod for pod in held if phase_of(pod) == "Succeeded"],
        "failed": [
            pod
            for pod in held
            if phase_of(pod) == "Failed" or (is_deleting(pod) and phase_of(pod) != "Succeeded")
        ],
    }
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
    progress.wanted = _wanted(job, progress)
    _note_failures(progress, pods)
    return progress


def verdict_on(
    job: KubeObject, progress: Progress, now_s: float
) -> tuple[Verdict | None, float | None]:
    """How the Job ends, if it does now; and the deadline to look at it again."""
    spec = job["spec"]
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
    job: KubeObject, progress: Progress, finished: Verdict | None, now_s: float
) -> dict[str, Any]:
    """The status to write. As in the real one, counts of zero are left out."""
    before = job.get("status") or {}
    active = [] if finished is not None else progress.active
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
    if finished is not None:
        conditions = with_condition(
            conditions,
            finished.condition,
            "True",
            now_s,
            reason=finished.reason,
            message=finished.message,
        )
        if finished.condition == "Complete":
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


def _note_failures(progress: Progress, pods: Sequence[KubeObject]) -> None:
    """When the last failure was, and how many there were since the last success."""
    success_s = max((_finished_s(pod) for pod in pods if phase_of(pod) == "Succeeded"), default=0.0)
    failures = [
        _finished_s(pod)
        for pod in pods
        if phase_of(pod) == "Failed" or (is_deleting(pod) and phase_of(pod) != "Succeeded")
    ]
    progress.last_failure_s = max(failures, default=0.0)
    # Failed pods that are gone are known by number only.
    gone = max(0, progress.total_failed - len(failures)) if not success_s else 0
    progress.failures_in_a_row = gone + sum(1 for moment in failures if moment >= success_s)


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
