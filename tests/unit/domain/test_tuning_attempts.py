"""Attempts of a tuning job: how many there may be, what is told of them, and when it runs again."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.cluster_view import PodEnd, PodView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.conditions import MESSAGE_LIMIT_CHARS
from kaito.domain.errors import InvalidInput
from kaito.domain.plan import ApplyWorkload, Note, WorkspacePlan, WriteStatus
from kaito.domain.tuning_attempts import (
    FATAL_EXIT_CODES,
    ExitCode,
    attempt_notes,
    end_text,
    job_condition,
    tuning_retries,
    wants_new_job,
)
from kaito.domain.workspace_plan import plan_workspace
from tests.unit.domain.builders import (
    MISSING,
    NOW_S,
    TUNING,
    cluster,
    condition,
    machines_of,
    pod,
    seen,
    wanted,
    workspace,
)

JOB = WorkloadView(state=WorkloadState.SAME, retries=3)
RUNNING = replace(JOB, active=True)
FAILED = replace(JOB, failed=True, failed_pods=1, message="Container trainer failed")
LOST = PodEnd(finished_at_s=5.0, disruption="PodGC: node no longer exists")


def ended(name: str = "phi-a", at_s: float = 1.0, **end: Any) -> PodView:
    """A pod whose trainer has exited with 1, or as said."""
    given_: dict[str, Any] = {"container": "phi", "exit_code": 1, "reason": "Error", **end}
    found = PodEnd(finished_at_s=at_s, **given_)
    return pod(name, phase="Failed", ready=False, end=found)


def tuned(wish: str = "", told: str = "", **parts: Any) -> WorkspaceView:
    """A tuning Workspace, with the message of a Job that failed in its status."""
    found = workspace(tuning=TUNING, annotations={labels.RETRY: wish} if wish else {}, **parts)
    view = seen(found)
    if not told:
        return view
    failed = condition(st.JOB_STARTED, "False", "WorkspaceTuningJobStatusFailed", message=told)
    return replace(view, status=replace(view.status, conditions=(failed,)))


# --- how often ---


@pytest.mark.parametrize(("text", "retries"), [(None, 3), ("0", 0), ("7", 7), ("10", 10)])
def test_how_often_an_attempt_is_repeated(text: str | None, retries: int) -> None:
    annotations = {} if text is None else {labels.TUNING_RETRIES: text}
    found = workspace(tuning=TUNING, annotations=annotations)
    assert tuning_retries(found) == retries
    data = wanted(found).workload.tuning
    assert data is not None
    assert data.retries == retries


@pytest.mark.parametrize("text", ["", "11", "-1", "1.5", "many", "\u0663", "0" * 5000])
def test_what_is_no_number_of_retries(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        tuning_retries(workspace(tuning=TUNING, annotations={labels.TUNING_RETRIES: text}))
    (problem,) = caught.value.problems
    assert problem.rule == "tuning-retries-known"
    assert repr(text) in problem.message


# --- what is told ---


@pytest.mark.parametrize(
    ("live", "pods", "message"),
    [
        (JOB, (), "attempt 1 of 4: waiting for its pod to run"),
        (RUNNING, (pod(phase="Pending", ready=False),), "attempt 1 of 4: waiting for its pod"),
        (RUNNING, (pod(),), "attempt 1 of 4 is running"),
        (JOB, (pod(phase="Succeeded", ready=False),), "attempt 1 of 4 is running"),
        (
            replace(JOB, failed_pods=1),
            (ended(),),
            "attempt 2 of 4: it begins after a pause; before: pod phi-a: container phi exited",
        ),
        (
            replace(RUNNING, failed_pods=1),
            (ended(), pod("phi-b")),
            "attempt 2 of 4 is running; before: pod phi-a: container phi exited with 1",
        ),
        (
            RUNNING,
            (pod("phi-a", end=LOST), pod("phi-b", phase="Pending", ready=False)),
            "attempt 1 of 4: waiting for its pod to run; before: pod phi-a was interrupted, which "
            "does not count: PodGC: node no longer exists",
        ),
        (
            replace(RUNNING, failed_pods=2),
            (ended("phi-z", 1.0), ended("phi-a", 2.0, message="the last"), pod("phi-c")),
            "attempt 3 of 4 is running; before: pod phi-a: container phi exited with 1: the last",
        ),
    ],
)
def test_which_attempt_runs(live: WorkloadView, pods: tuple[PodView, ...], message: str) -> None:
    found = job_condition(tuned(), pods, live, None)
    assert found.message.startswith(message)
    assert found.is_true == ("is running" in message)


def test_a_pod_that_cannot_start_says_why() -> None:
    found = job_condition(tuned(), (), RUNNING, ("Unschedulable", "phi-b: no node"))
    assert (found.reason, found.message) == ("Unschedulable", "attempt 1 of 4: phi-b: no node")


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ({"exit_code": 66, "message": "a\n  b"}, "exited with 66 (the data set is not there): a b"),
        ({"exit_code": 137, "reason": "OOMKilled"}, "ran out of memory (exit code 137)"),
        ({"exit_code": 137}, "container phi exited with 137"),
        ({"container": "", "exit_code": 0}, "pod phi-a failed: no container says why"),
        ({"container": "", "message": "deadline"}, "pod phi-a failed: deadline"),
    ],
)
def test_how_an_attempt_ended(end: dict[str, Any], text: str) -> None:
    assert end_text(ended(**end)).endswith(text)


def test_of_a_long_message_the_end_is_told() -> None:
    text = end_text(ended(message="Traceback " * 1000 + "ValueError: no such column"))
    assert text.endswith("ValueError: no such column")
    assert len(text) < 500


@pytest.mark.parametrize(
    ("end", "remedy"),
    [
        ({"reason": "OOMKilled", "exit_code": 137}, "instance type with more memory"),
        ({"container": "pusher", "exit_code": 77}, "tuning.output.imagePushSecret"),
        ({"container": "data-puller", "exit_code": 77}, "tuning.input.imagePullSecrets"),
        ({"container": "data-downloader", "exit_code": 77}, "tuning.input.urls"),
        ({"container": "data-downloader", "exit_code": 66}, "Correct tuning.input"),
        ({"container": "data-puller", "exit_code": 65}, "Correct tuning.input"),
        ({"exit_code": 1}, "See kubectl logs phi-a -c phi"),
        ({"container": "", "exit_code": 0}, "See its events"),
    ],
)
def test_what_to_do_about_a_job_that_failed(end: dict[str, Any], remedy: str) -> None:
    found = job_condition(tuned(), (ended(**end),), FAILED, None)
    assert found.reason == "WorkspaceTuningJobStatusFailed"
    assert found.message.startswith("Container trainer failed; ")
    assert remedy in found.message
    assert "kubectl annotate workspace phi -n default kaito.sh/retry=" in found.message


def test_an_interruption_is_not_why_a_job_failed() -> None:
    pods = (ended(message="bad column"), pod("phi-b", end=LOST))
    assert "bad column" in job_condition(tuned(), pods, FAILED, None).message


def test_why_a_job_failed_is_told_on_when_its_pods_are_gone() -> None:
    told = job_condition(tuned(), (ended(message="bad column"),), FAILED, None).message
    assert job_condition(tuned(told=told), (), FAILED, None).message == told
    assert job_condition(tuned(), (), replace(FAILED, message=""), None).message.startswith(
        "the job failed. To run it again"
    )


@given(some.sampled_from(list(ExitCode)), some.text(max_size=3000))
def test_every_message_fits_a_condition(code: ExitCode, said: str) -> None:
    pods = (ended(exit_code=int(code), message=said),)
    for live in (FAILED, JOB, RUNNING):
        assert len(job_condition(tuned(), pods, live, None).message) <= MESSAGE_LIMIT_CHARS
    assert (code in FATAL_EXIT_CODES) == (code is not ExitCode.TRY_AGAIN)


# --- events ---


def noted(told: str | None, pods: tuple[PodView, ...], live: WorkloadView) -> list[str]:
    before = None
    if told is not None:
        truth = "True" if "is running" in told else "False"
        before = condition(st.JOB_STARTED, truth, message=told)
    now = job_condition(tuned(), pods, live, None)
    return [note.reason for note in attempt_notes(before, now, pods, live)]


def test_the_end_of_an_attempt_is_told_once() -> None:
    live = replace(JOB, failed_pods=1)
    assert noted(None, (ended(),), live) == ["TuningAttemptFailed"]
    assert noted("attempt 1 of 4 is running", (ended(),), live) == ["TuningAttemptFailed"]
    told = job_condition(tuned(), (ended(),), live, None).message
    assert noted(told, (ended(),), live) == []
    assert noted(told, (ended(), pod("phi-b", end=LOST)), live) == ["TuningInterrupted"]


def test_a_pod_that_went_with_its_node_is_told_of() -> None:
    assert noted("attempt 1 of 4 is running", (), JOB) == ["TuningInterrupted"]
    assert noted("attempt 1 of 4: waiting", (), JOB) == []
    assert noted("attempt 1 of 4 is running", (pod(),), RUNNING) == []


def test_the_end_of_the_job_is_told_by_others() -> None:
    assert noted("attempt 1 of 1 is running", (ended(),), FAILED) == []
    assert noted("attempt 1 of 1 is running", (), replace(JOB, succeeded=True)) == []


# --- once more ---


@pytest.mark.parametrize(
    ("wish", "live", "runs"),
    [
        ("1", FAILED, True),
        ("2", replace(FAILED, retry="1"), True),
        ("1", replace(FAILED, retry="1"), False),
        ("", replace(FAILED, retry="1"), False),
        ("1", RUNNING, False),
        ("1", replace(FAILED, state=WorkloadState.DELETING), False),
        ("1", replace(FAILED, state=WorkloadState.DIFFERENT, older_spec=True), False),
        ("1", replace(FAILED, state=WorkloadState.DIFFERENT), True),
    ],
)
def test_when_a_job_is_run_again(wish: str, live: WorkloadView, runs: bool) -> None:
    assert wants_new_job(tuned(wish), live) is runs


def test_only_tuning_is_run_again() -> None:
    assert not wants_new_job(seen(workspace(annotations={labels.RETRY: "1"})), FAILED)


def planned(view: WorkspaceView, live: WorkloadView, *pods: PodView) -> WorkspacePlan:
    asked = wanted(view.workspace)
    around = cluster(machines_of(view, asked), pods=pods)
    around = replace(
        around,
        machines=tuple(
            replace(one, spec=replace(one.spec, retry=view.workspace.annotation(labels.RETRY)))
            for one in around.machines
        ),
    )
    return plan_workspace(view, around, asked, live, now_s=NOW_S)


def settled(view: WorkspaceView, live: WorkloadView, *pods: PodView) -> WorkspaceView:
    """The Workspace once its status says how its job stands."""
    steps = planned(view, live, *pods).steps
    (written,) = [step for step in steps if isinstance(step, WriteStatus)]
    return replace(view, status=written.status)


def test_a_wish_replaces_the_job_behind_the_fence_and_then_is_granted() -> None:
    view = replace(tuned("1"), status=settled(tuned(), FAILED).status)
    different = replace(FAILED, state=WorkloadState.DIFFERENT, differences=("x",))
    fence, note, applied = planned(view, different).steps[-3:]
    assert isinstance(fence, WriteStatus)
    assert isinstance(note, Note)
    assert note.reason == "TuningRetried"
    assert isinstance(applied, ApplyWorkload)
    assert applied.replace
    assert applied.workload.tuning is not None
    assert applied.workload.tuning.retry == "1"
    again = replace(FAILED, retry="1")
    assert planned(view, again).steps == (), "each wish once"
    made = planned(view, MISSING).steps[-1]
    assert made == ApplyWorkload(workload=applied.workload)


def test_a_wish_during_a_run_is_noted_on_the_job_and_does_nothing() -> None:
    live = replace(RUNNING, state=WorkloadState.DIFFERENT, differences=("retry",))
    view = settled(tuned("1"), live, pod())
    (_, _, step) = planned(view, live, pod()).steps
    assert step == ApplyWorkload(workload=wanted(view.workspace).workload)


def test_nothing_is_run_again_once_it_has_succeeded() -> None:
    view = settled(tuned("1"), replace(JOB, succeeded=True, retry="1"))
    assert planned(view, FAILED).steps == ()


def test_an_attempt_that_is_lost_is_told_once_in_a_plan() -> None:
    view = settled(tuned(), RUNNING, pod())
    waiting = replace(JOB, failed_pods=1)
    notes = [
        step.reason for step in planned(view, waiting, ended()).steps if isinstance(step, Note)
    ]
    assert notes == ["TuningAttemptFailed"]
