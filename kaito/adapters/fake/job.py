"""The twin's Job controller (kube-controller-manager's, pkg/controller/job)."""

from collections.abc import Callable
from typing import Final

from kaito.adapters.fake.events import EventKind, EventRecorder
from kaito.adapters.fake.job_progress import Progress, Verdict, progress_of, status_of, verdict_on
from kaito.adapters.fake.object_meta import generated_name
from kaito.adapters.fake.pods import controller_uid, is_deleting, owner_reference, pod_from_template
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    JOB,
    POD,
    AlreadyExists,
    Forbidden,
    InvalidObject,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
    is_true,
    name_of,
    namespace_of,
)
from kaito.adapters.object_cache import Index, Key, ObjectCache, key_of
from kaito.domain.timestamps import from_rfc3339

TRACKING_FINALIZER: Final = "batch.kubernetes.io/job-tracking"
RETRY_S: Final = 1.0
# Back-off between failed pods (kubernetes.io/docs/concepts/workloads/controllers/job).
FIRST_BACKOFF_S: Final = 10.0
LAST_BACKOFF_S: Final = 360.0
_NAME_ATTEMPTS: Final = 20


class JobController:
    """Runs the pods of Jobs to completion, and writes their status. For `restartPolicy: Never`.

    As the real one it holds each pod by a finalizer until the pod's end is counted in the Job's
    status, so that a pod that vanishes with its node still counts as failed.
    """

    def __init__(self, api: KubeApi, wake: Callable[[], None]) -> None:
        self._api = api
        self._events = EventRecorder(api, "job-controller")
        self._due: Timers[Key] = Timers()
        self._dirty: dict[Key, None] = {}
        self._held_due: Timers[Key] = Timers()
        self._failed_at_s: dict[str, dict[str, float]] = {}  # by Job and pod
        self._jobs = ObjectCache(api, JOB, wake)
        self._by_uid = Index(self._jobs, lambda job: [job["metadata"]["uid"]])
        self._pods = ObjectCache(api, POD, wake)
        self._pods_of = Index(self._pods, lambda pod: filter(None, [controller_uid(pod)]))
        self._jobs.on_change(self._job_changed)
        self._pods.on_change(self._pod_changed)

    def step(self, now_s: float) -> float | None:
        """Do what is due for every Job that changed; the next time something is due."""
        try:
            self._jobs.refresh()
            self._pods.refresh()
        except ServerUnavailable:
            return now_s + RETRY_S
        for key in self._due.pop_due(now_s):
            self._dirty[key] = None
        while self._dirty:
            key = next(iter(self._dirty))
            del self._dirty[key]
            job = self._jobs.get(key)
            if job is None or is_deleting(job):
                continue
            try:
                self._sync(job, now_s)
                self._pods.refresh()  # a second pass must see what this one deleted
            except (ObjectConflict, ObjectNotFound, ServerUnavailable):
                self._due.hasten(key, now_s + RETRY_S)
        self._let_go(now_s)
        return min(
            (due_s for due_s in (self._due.next_s(), self._held_due.next_s()) if due_s is not None),
            default=None,
        )

    def _job_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if after is not None:
            self._dirty[key_of(after)] = None
        if before is not None and (after is None or is_deleting(after)):
            uid = before["metadata"]["uid"]
            self._failed_at_s.pop(uid, None)
            for key in self._pods_of.get(uid):
                self._held_due.hasten(key, 0.0)

    def _pod_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if after is not None and _is_held(after):
            self._held_due.hasten(key_of(after), 0.0)
        for pod in (before, after):
            uid = controller_uid(pod) if pod is not None else ""
            for key in self._by_uid.get(uid) if uid else ():
                self._dirty[key] = None

    def _let_go(self, now_s: float) -> None:
        """Take the finalizer off pods whose Job is gone or going: nobody counts them any more."""
        for key in self._held_due.pop_due(now_s):
            pod = self._pods.get(key)
            if pod is None or not _is_held(pod):
                continue
            owners = [self._jobs.get(owner) for owner in self._by_uid.get(controller_uid(pod))]
            if not all(job is None or is_deleting(job) for job in owners):
                continue
            try:
                self._release(pod)
            except ObjectNotFound:
                continue
            except (ObjectConflict, ServerUnavailable):
                self._held_due.set(key, now_s + RETRY_S)

    def _release(self, pod: KubeObject) -> None:
        if not _is_held(pod):
            return
        kept = [name for name in pod["metadata"]["finalizers"] if name != TRACKING_FINALIZER]
        patch = {
            "metadata": {
                "resourceVersion": pod["metadata"]["resourceVersion"],
                "finalizers": kept or None,
            }
        }
        self._api.patch(POD, name_of(pod), namespace_of(pod), patch)

    def _sync(self, job: KubeObject, now_s: float) -> None:
        """One pass over a Job. Raises: as `KubeApi`."""
        keys = self._pods_of.get(job["metadata"]["uid"])
        pods = [pod for key in keys if (pod := self._pods.get(key)) is not None]
        if is_true(job, "Complete") or is_true(job, "Failed"):
            for pod in pods:
                self._release(pod)
            self._expire(job, now_s)
            return
        progress = progress_of(job, pods, TRACKING_FINALIZER)
        verdict, deadline_s = verdict_on(job, progress, now_s)
        if deadline_s is not None:
            self._due.hasten(key_of(job), deadline_s)
        if verdict is not None:
            self._stop(job, progress.active, now_s)
        else:
            self._run(job, progress, now_s)
        # Only what is counted in the status may be let go, and only then is the Job finished.
        ends = not progress.uncounted and not progress.active and not progress.waits
        self._write_status(job, progress, verdict, now_s, finished=verdict is not None and ends)
        for pod in progress.uncounted:
            self._release(pod)
        if progress.uncounted:
            self._dirty[key_of(job)] = None

    def _run(self, job: KubeObject, progress: Progress, now_s: float) -> None:
        """Start pods up to the parallelism, once the back-off after a failure is over."""
        missing = progress.wanted - len(progress.active) - progress.waits
        if len(progress.active) > progress.wanted:
            self._stop(job, progress.active[progress.wanted :], now_s)
            return
        if missing <= 0:
            return
        start_s = self._not_before_s(job, progress)
        if start_s > now_s:
            self._due.hasten(key_of(job), start_s)
            return
        failed = len(self._failed_at_s[job["metadata"]["uid"]])
        made = len(progress.active) + progress.waits + progress.total_succeeded + failed
        for number in range(made, made + missing):
            self._create(job, number, now_s)

    def _not_before_s(self, job: KubeObject, progress: Progress) -> float:
        """When the next pod may start: 10 s after the first failure, doubling up to 6 minutes.
        Pods that a failure policy ignores, and those that are gone, make it longer too."""
        known = self._failed_at_s.setdefault(job["metadata"]["uid"], {})
        known.update(progress.failed_at_s)
        in_a_row = [moment for moment in known.values() if moment >= progress.last_success_s]
        if not in_a_row:
            return 0.0
        backoff_s = FIRST_BACKOFF_S * 2.0 ** min(len(in_a_row) - 1, 10)
        return max(in_a_row) + min(backoff_s, LAST_BACKOFF_S)

    def _create(self, job: KubeObject, number: int, now_s: float) -> None:
        namespace, job_name = key_of(job)
        for attempt in range(number, number + _NAME_ATTEMPTS):
            name = generated_name(f"{job_name}-", f"{namespace}/{job_name}", attempt)
            pod = pod_from_template(
                job["spec"]["template"],
                namespace=namespace,
                name=name,
                labels={},
                owner=owner_reference(JOB, job),
                finalizers=[TRACKING_FINALIZER],
            )
            try:
                self._pods.put(self._api.create(POD, pod))
            except AlreadyExists:
                continue
            except (Forbidden, InvalidObject) as error:
                self._tell(job, "Warning", "FailedCreate", f"Error creating: {error}", now_s)
                self._due.hasten(key_of(job), now_s + LAST_BACKOFF_S)
                return
            self._tell(job, "Normal", "SuccessfulCreate", f"Created pod: {name}", now_s)
            return
        self._due.hasten(key_of(job), now_s + RETRY_S)

    def _stop(self, job: KubeObject, pods: list[KubeObject], now_s: float) -> None:
        for pod in pods:
            try:
                self._api.delete(POD, name_of(pod), namespace_of(pod), uid=pod["metadata"]["uid"])
            except ObjectNotFound:
                continue
            self._tell(job, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}", now_s)

    def _write_status(
        self,
        job: KubeObject,
        progress: Progress,
        verdict: Verdict | None,
        now_s: float,
        *,
        finished: bool,
    ) -> None:
        status = status_of(job, progress, verdict, now_s, finished=finished)
        if status == job.get("status"):
            return
        self._jobs.put(self._api.replace_status(JOB, {**job, "status": status}))
        if verdict is not None and finished:
            kind: EventKind = "Normal" if verdict.condition == "Complete" else "Warning"
            reason = "Completed" if verdict.condition == "Complete" else verdict.reason
            message = "Job completed" if verdict.condition == "Complete" else verdict.message
            self._tell(job, kind, reason, message, now_s)

    def _expire(self, job: KubeObject, now_s: float) -> None:
        """Delete a finished Job when its `ttlSecondsAfterFinished` is over."""
        ttl_s = job["spec"].get("ttlSecondsAfterFinished")
        if ttl_s is None:
            return
        finished_s = max(
            from_rfc3339(condition["lastTransitionTime"])
            for condition in job["status"]["conditions"]
            if condition["type"] in {"Complete", "Failed"}
        )
        if finished_s + ttl_s > now_s:
            self._due.hasten(key_of(job), finished_s + ttl_s)
            return
        uid = job["metadata"]["uid"]
        self._api.delete(JOB, name_of(job), namespace_of(job), uid=uid, propagation="Foreground")

    def _tell(
        self, job: KubeObject, kind: EventKind, reason: str, message: str, now_s: float
    ) -> None:
        self._events.record(JOB, job, kind, reason, message, now_s)


def _is_held(pod: KubeObject) -> bool:
    return TRACKING_FINALIZER in (pod["metadata"].get("finalizers") or ())
