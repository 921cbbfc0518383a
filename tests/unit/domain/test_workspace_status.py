"""Conditions and state: what a user is told about each thing that can be in the way."""

from dataclasses import replace
from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView, WorkloadState, WorkloadView, WorkspaceView
from kaito.domain.conditions import Condition, cut_message, find
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace_resources import machine_resources
from kaito.domain.workspace_status import conditions_of, is_done, status_of
from tests.unit.domain.builders import (
    MISSING,
    NOW_S,
    SERVING,
    TUNING,
    cluster,
    condition,
    machine,
    machines_of,
    node,
    pod,
    seen,
    wanted,
    with_condition,
    workspace,
)

SAME = WorkloadView(state=WorkloadState.SAME, settled=True)


def told(
    around: ClusterView, live: WorkloadView, view: WorkspaceView | None = None
) -> dict[str, Condition]:
    """Each condition by its type; every machine of the view counts as kept."""
    view = view or seen()
    decided = wanted(view.workspace)
    resources = machine_resources(around.machines, around, decided.sizing.nodes)
    found = conditions_of(view, around, resources, decided, live)
    assert [one.type for one in found][:3] == ["NodeClaimReady", "NodesReady", "ResourceReady"]
    by_type = {one.type: one for one in found}
    mirrored = replace(by_type[st.SUCCEEDED], type=st.READY)
    assert by_type[st.READY] == mirrored, "WorkspaceReady mirrors WorkspaceSucceeded"
    return by_type


def ready_cluster(view: WorkspaceView | None = None, **more: Any) -> ClusterView:
    view = view or seen()
    return cluster(machines_of(view, wanted(view.workspace)), **more)


# --- machines and nodes ---


def test_which_machine_is_waited_for_and_why() -> None:
    view = seen(workspace(resource={"count": 3}, annotations={labels.RUNTIME: "transformers"}))
    one, two, _ = machines_of(view, wanted(view.workspace))
    late = with_condition(two, "Registered", "False", "NodeNotFound", "waiting for the Node")
    found = told(cluster([one, late]), MISSING, view)
    claim = found["NodeClaimReady"]
    assert (claim.status, claim.reason) == ("False", "NodeNotFound")
    assert claim.message == (f"1 of 3 machines ready; {two.claim_name}: waiting for the Node")
    assert found["ResourceReady"].message == claim.message
    assert found["WorkspaceSucceeded"].message == claim.message
    assert found["InferenceReady"].message == "waiting for the machines"


def test_a_machine_without_a_message_is_explained_by_its_reason() -> None:
    (there,) = machines_of(seen(), wanted(workspace()))
    late = with_condition(there, "Initialized", "False", "ResourceNotRegistered", "")
    assert told(cluster([late]), MISSING)["NodeClaimReady"].message.endswith(
        f"{there.claim_name}: ResourceNotRegistered"
    )


def test_a_machine_whose_node_has_failed_is_explained_by_that() -> None:
    (there,) = machines_of(seen(), wanted(workspace()))
    text = "Node n offers 0 of 1 GPUs"
    failed = with_condition(there, "Ready", "False", "ResourceNotRegistered", text)
    claim = told(cluster([failed]), MISSING)["NodeClaimReady"]
    assert claim.reason == "ResourceNotRegistered"
    assert claim.message == f"0 of 1 machines ready; {there.claim_name}: {text}"


def test_a_machine_that_says_nothing_is_counted() -> None:
    found = told(cluster([machine(conditions=())]), MISSING)["NodeClaimReady"]
    assert (found.reason, found.message) == (
        "NodeClaimNotReady",
        "0 of 1 machines ready",
    )


def test_machines_that_do_not_exist_yet() -> None:
    found = told(cluster(), MISSING)
    assert found["NodeClaimReady"].message == "0 of 1 machines ready"
    assert found["NodesReady"].message == "1 not created yet"


def test_a_node_that_is_not_ready_or_not_there() -> None:
    around = ready_cluster()
    (there,) = around.machines
    for nodes in ((), (node(there, ready=False),)):
        found = told(replace(around, nodes=nodes), SERVING)
        assert (found["NodesReady"].status, found["NodesReady"].reason) == ("False", "NodeNotReady")
        assert found["NodesReady"].message == "waiting for node-0"
        assert found["ResourceReady"].message == "waiting for node-0"
        assert found["InferenceReady"].is_true, "the pods still answer"
        assert not found["WorkspaceSucceeded"].is_true
    nameless = replace(there, node_name="")
    assert told(cluster([nameless]), MISSING)["NodesReady"].message == (
        f"waiting for {there.claim_name}"
    )


@pytest.mark.parametrize(
    ("reason", "blocked"),
    [("QuotaExceeded", "QuotaExceeded"), ("LaunchRejected", "MachineRejected")],
)
def test_a_machine_that_waits_for_a_human_blocks_the_workspace(reason: str, blocked: str) -> None:
    (there,) = machines_of(seen(), wanted(workspace()))
    stuck = with_condition(there, "Launched", "False", reason, "raise the limit")
    found = told(cluster([stuck]), MISSING)["WorkspaceSucceeded"]
    assert (found.reason, found.message) == (blocked, f"{there.claim_name}: raise the limit")
    retried = with_condition(there, "Launched", "False", "InsufficientCapacity", "sold out")
    assert told(cluster([retried]), MISSING)["WorkspaceSucceeded"].reason == "workspacePending"


# --- serving ---


def test_serving() -> None:
    found = told(ready_cluster(), SERVING)
    assert found["InferenceReady"].message == "1 of 1 pods ready"
    assert found["NodesReady"].message == "node-0"
    assert (found["WorkspaceSucceeded"].reason, found["WorkspaceSucceeded"].message) == (
        "workspaceSucceeded",
        "serving",
    )


def test_a_pod_whose_node_is_gone_does_not_serve_whatever_it_still_says() -> None:
    around = ready_cluster(pods=(pod(node_name="node-0"), pod("phi-1", node_name="node-9")))
    found = told(around, SERVING)["InferenceReady"]
    assert (found.status, found.message) == (
        "False",
        "phi-1 ran on Node node-9, which is gone",
    )
    waiting = ready_cluster(pods=(pod(node_name="node-9", ready=False),))
    assert told(waiting, SERVING)["InferenceReady"].is_true


@pytest.mark.parametrize(
    ("live", "pods", "reason", "message"),
    [
        (MISSING, (), "WorkspaceInferenceStatusPending", "the workload starts next"),
        (
            WorkloadView(state=WorkloadState.DELETING),
            (),
            "WorkspaceInferenceStatusPending",
            "waiting for the old workload to go",
        ),
        (
            WorkloadView(state=WorkloadState.DIFFERENT, settled=True, ready_replicas=1),
            (pod(),),
            "WorkspaceInferenceStatusPending",
            "rolling out a change",
        ),
        (
            replace(SAME, settled=False, ready_replicas=1),
            (pod(),),
            "WorkspaceInferenceStatusPending",
            "rolling out a change",
        ),
        (
            SAME,
            (pod(ready=False),),
            "WorkspaceInferenceStatusPending",
            "waiting for the pods to become ready",
        ),
        (
            SAME,
            (pod(ready=False, reason="ImagePullError", message="no such image"),),
            "ImagePullError",
            "phi-0: no such image",
        ),
        (
            SAME,
            (pod(reason="ContainerOOMKilled"), pod("phi-1", ready=False, reason="Unschedulable")),
            "Unschedulable",
            "phi-1: ",
        ),
    ],
)
def test_why_it_does_not_serve_yet(
    live: WorkloadView, pods: tuple[Any, ...], reason: str, message: str
) -> None:
    found = told(ready_cluster(pods=pods), live)
    assert (found["InferenceReady"].status, found["InferenceReady"].reason) == ("False", reason)
    assert found["InferenceReady"].message == message
    assert found["WorkspaceSucceeded"].message == message


# --- tuning ---


@pytest.mark.parametrize(
    ("live", "pods", "started", "done"),
    [
        (
            MISSING,
            (),
            ("False", "WorkspaceInferenceStatusPending", "the workload starts next"),
            "workspacePending",
        ),
        (
            replace(SAME, active=True),
            (pod(phase="Pending", ready=False, reason="Unschedulable", message="no node"),),
            ("False", "Unschedulable", "attempt 1 of 1: phi-0: no node"),
            "workspacePending",
        ),
        (
            replace(SAME, state=WorkloadState.DIFFERENT, older_spec=True),
            (pod(phase="Pending", ready=False, reason="Unschedulable", message="no node"),),
            ("False", "Unschedulable", "phi-0: no node"),
            "workspacePending",
        ),
        (
            replace(SAME, active=True),
            (pod(ready=False),),
            ("True", "WorkspaceTuningJobStatusStarted", "attempt 1 of 1 is running"),
            "workspacePending",
        ),
        (
            replace(SAME, succeeded=True),
            (),
            ("True", "WorkspaceTuningJobStatusStarted", "finished"),
            "workspaceSucceeded",
        ),
        (
            replace(SAME, failed=True),
            (),
            (
                "False",
                "WorkspaceTuningJobStatusFailed",
                "the job failed. To run it again: kubectl annotate workspace phi -n default "
                "kaito.sh/retry=$(date +%s) --overwrite",
            ),
            "WorkspaceTuningJobStatusFailed",
        ),
    ],
)
def test_how_tuning_stands(
    live: WorkloadView, pods: tuple[Any, ...], started: tuple[str, str, str], done: str
) -> None:
    view = seen(workspace(tuning=TUNING))
    found = told(ready_cluster(view, pods=pods), live, view)
    job = found["JobStarted"]
    wanted_reason = started[1].replace("Inference", "TuningJob")
    assert (job.status, job.reason, job.message) == (started[0], wanted_reason, started[2])
    assert found["WorkspaceSucceeded"].reason == done


def test_only_a_tuning_job_of_this_generation_is_done() -> None:
    done = (condition(st.SUCCEEDED, "True", observed_generation=1),)
    status = WorkspaceStatus(conditions=done)
    tuned = workspace(tuning=TUNING)
    assert is_done(seen(tuned, status))
    assert not is_done(seen(workspace(tuning=TUNING, generation=2), status))
    assert not is_done(seen(workspace(), status))
    assert not is_done(seen(tuned))
    failed = (condition(st.SUCCEEDED, "False", observed_generation=1),)
    assert not is_done(seen(tuned, WorkspaceStatus(conditions=failed)))


# --- state ---

PENDING, DONE = condition(st.SUCCEEDED, "False"), condition(st.SUCCEEDED, "True")
FAILED = condition(st.SUCCEEDED, "False", "WorkspaceTuningJobStatusFailed")
STARTED = condition(st.JOB_STARTED, "True")


@pytest.mark.parametrize(
    ("tuning", "before", "conditions", "after"),
    [
        (False, "", [PENDING], "Pending"),
        (False, "Pending", [PENDING], "Pending"),
        (False, "Pending", [DONE], "Ready"),
        (False, "Ready", [PENDING], "NotReady"),
        (False, "NotReady", [PENDING], "NotReady"),
        (False, "NotReady", [DONE], "Ready"),
        (True, "", [PENDING], "Pending"),
        (True, "Pending", [STARTED, PENDING], "Running"),
        (True, "Running", [STARTED, DONE], "Succeeded"),
        (True, "Running", [STARTED, FAILED], "Failed"),
    ],
)
def test_the_state(tuning: bool, before: str, conditions: list[Condition], after: str) -> None:
    found = workspace(tuning=TUNING) if tuning else workspace()
    view = seen(found, WorkspaceStatus(state=before))
    nothing = machine_resources([], cluster(), 1)
    assert status_of(view, nothing, wanted(found), conditions, NOW_S).state == after


def test_the_status_names_the_nodes_and_keeps_what_it_does_not_speak_of() -> None:
    found = workspace(generation=4)
    other = condition("BenchmarkCompleted", "True", since_s=1.0)
    view = seen(found, WorkspaceStatus(conditions=(other,)))
    machines = machines_of(view, wanted(found))
    nameless = replace(machines[0], node_name="")
    there = machine_resources([*machines, nameless], cluster(), 2)
    status = status_of(view, there, wanted(found), [DONE], NOW_S)
    assert status.worker_nodes == ("node-0",)
    assert status.target_node_count == 1
    assert find(status.conditions, "BenchmarkCompleted") == other
    done = find(status.conditions, st.SUCCEEDED)
    assert done is not None
    assert (done.observed_generation, done.since_s) == (4, NOW_S)


def test_a_status_is_blocked_only_by_reasons_that_wait_for_a_human() -> None:
    def blocked(*conditions: Condition) -> str:
        return WorkspaceStatus(conditions=conditions).blocked_reason

    assert blocked() == ""
    assert blocked(PENDING) == ""
    assert blocked(condition(st.SUCCEEDED, "True", "InvalidSpec")) == ""
    for reason in st.BLOCKED_REASONS:
        assert blocked(condition(st.SUCCEEDED, "False", reason)) == reason


def test_messages_fit_a_condition() -> None:
    assert cut_message("x" * 1024) == "x" * 1024
    cut = cut_message("x" * 1025)
    assert len(cut) == 1024
    assert cut.endswith("x…")
