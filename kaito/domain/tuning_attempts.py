"""How often a tuning job is tried, which errors end it at once, and what to tell of its attempts.

An attempt starts from the beginning: the data is loaded again, and the training begins anew. One
that was ended from outside (a Node is lost, a spot machine is taken back, a drain) does not count.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final

from kaito.domain import labels, names
from kaito.domain import status as st
from kaito.domain.cluster_view import PodEnd, PodView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.conditions import Condition, condition, cut_message, find
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.plan import Note
from kaito.domain.workspace import Workspace

# An attempt costs the GPUs for as long as it lasts, and the scripts repeat what may go wrong on the
# way by themselves: so fewer than the 6 of Kubernetes, whose pods cost next to nothing.
DEFAULT_RETRIES: Final = 3
MOST_RETRIES: Final = 10

_MESSAGE_CHARS: Final = 400  # of what a container left behind: its end, where the error stands
# A pod that has succeeded stands for its Job, until the Job's controller has seen it.
_GOES: Final = frozenset({"Running", "Succeeded"})
_OUT_OF_MEMORY: Final = "OOMKilled"


class ExitCode(IntEnum):
    """How the containers end whose scripts are kaito's own (`adapters/k8s/pod_scripts.py`).

    The numbers are those of BSD's sysexits.h (EX_DATAERR, EX_NOINPUT, EX_TEMPFAIL, EX_NOPERM), and
    POSIX's for a shell whose command cannot be run (Shell and Utilities, 2.8.2).
    """

    DATA_INVALID = 65
    DATA_NOT_FOUND = 66
    TRY_AGAIN = 75
    NOT_PERMITTED = 77
    CANNOT_BE_RUN = 126
    COMMAND_NOT_FOUND = 127


# What will fail again however often it is tried. Not among them is 137: SIGKILL, by which a
# container that runs out of memory ends, but others too.
FATAL_EXIT_CODES: Final[Mapping[ExitCode, str]] = {
    ExitCode.DATA_INVALID: "the data set cannot be read",
    ExitCode.DATA_NOT_FOUND: "the data set is not there",
    ExitCode.NOT_PERMITTED: "not permitted",
    ExitCode.CANNOT_BE_RUN: "a command of its image cannot be run",
    ExitCode.COMMAND_NOT_FOUND: "its image lacks a command",
}

_MEANINGS: Final[Mapping[int, str]] = {int(code): text for code, text in FATAL_EXIT_CODES.items()}


def tuning_retries(workspace: Workspace) -> int:
    """How often a failed attempt is repeated, as the annotation kaito.sh/tuning-retries says.
    Raises: InvalidInput."""
    text = workspace.metadata.annotations.get(labels.TUNING_RETRIES)
    if text is None:
        return DEFAULT_RETRIES
    if text.isascii() and text.isdigit() and len(text) <= 2 and int(text) <= MOST_RETRIES:
        return int(text)
    problem = Problem(
        field=f"metadata.annotations[{labels.TUNING_RETRIES}]",
        message=f"must be a whole number from 0 to {MOST_RETRIES}, got {text!r}",
        remedy=f"Remove it, for {DEFAULT_RETRIES} retries",
        rule="tuning-retries-known",
    )
    raise InvalidInput([problem])


def wants_new_job(view: WorkspaceView, live: WorkloadView) -> bool:
    """Whether a tuning job has failed for good, and its user has asked for another since: the wish
    that a Job was made or told of stands on it, so that each is granted once."""
    wish = view.workspace.annotation(labels.RETRY)
    there = live.state in {WorkloadState.SAME, WorkloadState.DIFFERENT}
    failed = view.workspace.tuning is not None and there and live.failed and not live.outdated
    return failed and bool(wish) and live.retry != wish


def last_end(pods: Sequence[PodView]) -> PodView | None:
    """The attempt that ended last, of those whose pods are still there."""
    ended = [(pod.end.finished_at_s, pod.name, pod) for pod in pods if pod.end is not None]
    return max(ended)[-1] if ended else None


def job_condition(
    view: WorkspaceView,
    pods: Sequence[PodView],
    live: WorkloadView,
    stuck: tuple[str, str] | None,
) -> Condition:
    """JobStarted of a Job that is as wanted and has not succeeded: which attempt runs, or why none
    does, and how the last one ended. `stuck`: reason and message of a pod that cannot start."""
    if live.failed:
        text = _failed(view, pods, live)
        return condition(st.JOB_STARTED, "False", "WorkspaceTuningJobStatusFailed", text)
    ended = last_end(pods)
    before = f"; before: {end_text(ended)}" if ended is not None else ""
    attempt = _attempt(live)
    if any(pod.phase in _GOES and pod.end is None for pod in pods):
        text = cut_message(f"{attempt} is running{before}")
        return condition(st.JOB_STARTED, "True", "WorkspaceTuningJobStatusStarted", text)
    pause = ended is not None and not live.active
    pending = "it begins after a pause" if pause else "waiting for its pod to run"
    reason, why = stuck or ("WorkspaceTuningJobStatusPending", pending)
    return condition(st.JOB_STARTED, "False", reason, cut_message(f"{attempt}: {why}{before}"))


def attempt_notes(
    told: Condition | None, now: Condition, pods: Sequence[PodView], live: WorkloadView
) -> list[Note]:
    """The event of an attempt that ended and is followed by another, where JobStarted was `told`
    before and is so `now`. Of a pod that went with its Node nothing may be left to see."""
    if live.failed or live.succeeded:
        return []
    ended = last_end(pods)
    if ended is not None and (told is None or end_text(ended) not in told.message):
        assert ended.end is not None, "it has ended"
        reason = "TuningInterrupted" if ended.end.disruption else "TuningAttemptFailed"
        return [Note(type="Warning", reason=reason, message=cut_message(end_text(ended)))]
    if told is not None and told.is_true and not now.is_true:
        text = f"the pod that ran is gone, with its Node or by hand; {_attempt(live)} follows"
        return [Note(type="Warning", reason="TuningInterrupted", message=text)]
    return []


def end_text(pod: PodView) -> str:
    """How an attempt ended, such as `pod phi-x2x4z: container phi exited with 1: ...`."""
    end = pod.end
    assert end is not None, "it has ended"
    if end.disruption:
        return f"pod {pod.name} was interrupted, which does not count: {_short(end.disruption)}"
    if not end.container:
        return f"pod {pod.name} failed: {_short(end.message) or 'no container says why'}"
    container = f"pod {pod.name}: container {end.container}"
    if end.reason == _OUT_OF_MEMORY:
        return f"{container} ran out of memory (exit code {end.exit_code})"
    meaning = _MEANINGS.get(end.exit_code)
    named = f" ({meaning})" if meaning else ""
    said = _short(end.message)
    return f"{container} exited with {end.exit_code}{named}{': ' if said else ''}{said}"


def _attempt(live: WorkloadView) -> str:
    return f"attempt {live.failed_pods + 1} of {live.retries + 1}"


def _failed(view: WorkspaceView, pods: Sequence[PodView], live: WorkloadView) -> str:
    """Why the Job failed for good, and what to do. Once its pods are gone, with their Node for
    example, what was told of them stays."""
    counted = [pod for pod in pods if pod.end is not None and not pod.end.disruption]
    ended = last_end(counted)
    told = find(view.status.conditions, st.JOB_STARTED)
    if ended is None and told is not None and told.reason == "WorkspaceTuningJobStatusFailed":
        return told.message
    why = live.message or "the job failed"
    if ended is not None:
        assert ended.end is not None, "it has ended"
        why += f"; {end_text(ended)}. {_remedy(ended.name, ended.end)}"
    return cut_message(
        f"{why}. To run it again: kubectl annotate workspace {view.workspace.name} "
        f"-n {view.workspace.namespace} {labels.RETRY}=$(date +%s) --overwrite"
    )


def _remedy(pod_name: str, end: PodEnd) -> str:
    if end.reason == _OUT_OF_MEMORY:
        return "Choose an instance type with more memory, or make the job smaller in tuning.config"
    if end.exit_code == ExitCode.NOT_PERMITTED:
        if end.container == names.RESULTS_PUSHER:
            return "Make sure that tuning.output.imagePushSecret may push to tuning.output.image"
        if end.container == names.DATA_PULLER:
            return "Make sure that tuning.input.imagePullSecrets may pull tuning.input.image"
        return "Name URLs in tuning.input.urls that can be read without signing in"
    if end.exit_code in {ExitCode.DATA_INVALID, ExitCode.DATA_NOT_FOUND}:
        return "Correct tuning.input, or what it names"
    return f"See kubectl logs {pod_name} -c {end.container}" if end.container else "See its events"


def _short(text: str) -> str:
    """In one line; of a long text its end."""
    line = " ".join(text.split())
    return line if len(line) <= _MESSAGE_CHARS else f"…{line[-_MESSAGE_CHARS:]}"
