import pytest

from sim.expectations import AnyExpect, judge
from sim.result import EventResult, Expectation, Phase, WorkspaceResult
from sim.scenario_file import (
    ExpectEvent,
    ExpectMachines,
    ExpectPods,
    ExpectWorkspace,
    ScenarioFile,
)

READY = WorkspaceResult(
    namespace="default",
    name="ready",
    instance_type="type",
    ready=True,
    created_at_s=60.0,
    ready_at_s=660.0,
    reason="workspaceSucceeded",
)
STUCK = WorkspaceResult(
    namespace="default",
    name="stuck",
    instance_type="type",
    ready=False,
    reason="QuotaExceeded",
    phases=(Phase(name="machine_launch", start_s=1.0),),
)
GONE = WorkspaceResult(
    namespace="default", name="gone", instance_type="type", ready=False, deleted_at_s=180.0
)
UPDATED = EventResult(
    at_s=1.0,
    kind="Workspace",
    namespace="default",
    name="ready",
    type="Normal",
    reason="WorkloadUpdated",
    message="",
    count=2,
)


def verdict(expected: AnyExpect) -> Expectation:
    (one,) = judge(
        [expected], workspaces=[READY, STUCK, GONE], machines=1, pods=0, events=[UPDATED]
    )
    return one


def within(name: str, limit: str) -> ExpectWorkspace:
    content = {"expect": [{"workspace": name, "within": limit}]}
    (found,) = ScenarioFile.model_validate(content).expect
    assert isinstance(found, ExpectWorkspace)
    return found


@pytest.mark.parametrize(
    "expected",
    [
        ExpectWorkspace(workspace="ready", ready=True),
        ExpectWorkspace(workspace="ready", absent=False, reason="workspaceSucceeded"),
        within("ready", "10m"),
        ExpectWorkspace(workspace="stuck", ready=False, reason="QuotaExceeded"),
        ExpectWorkspace(workspace="stuck", phase="machine_launch"),
        ExpectWorkspace(workspace="gone", absent=True),
        ExpectWorkspace(workspace="never", absent=True, ready=False),
        ExpectMachines(machines=1),
        ExpectPods(pods=0),
        ExpectEvent(event="WorkloadUpdated"),
        ExpectEvent(event="WorkloadUpdated", workspace="ready", at_least=2),
    ],
)
def test_what_came_true(expected: AnyExpect) -> None:
    assert verdict(expected).ok


@pytest.mark.parametrize(
    ("expected", "text", "detail"),
    [
        (
            ExpectWorkspace(workspace="stuck", ready=True),
            "Workspace default/stuck is READY",
            "it is not READY (QuotaExceeded)",
        ),
        (
            ExpectWorkspace(workspace="ready", ready=False),
            "Workspace default/ready is not READY",
            "READY 10m after its creation",
        ),
        (
            within("ready", "9m"),
            "Workspace default/ready is READY within 9m of its creation",
            "it took 10m",
        ),
        (
            within("stuck", "9m"),
            "Workspace default/stuck is READY within 9m of its creation",
            "it is not READY (QuotaExceeded)",
        ),
        (
            ExpectWorkspace(workspace="ready", reason="other", phase="load"),
            "Workspace default/ready has the reason other and is in phase load",
            "its reason is workspaceSucceeded; no phase is running",
        ),
        (
            ExpectWorkspace(workspace="ready", absent=True),
            "Workspace default/ready is gone",
            "it still exists",
        ),
        (
            ExpectWorkspace(workspace="gone", ready=True),
            "Workspace default/gone is READY",
            "it is gone since 3m",
        ),
        (
            ExpectWorkspace(workspace="gone", ready=False),
            "Workspace default/gone is not READY",
            "it is gone since 3m",
        ),
        (ExpectMachines(machines=0), "no machines at the end", "there are 1"),
        (ExpectPods(pods=1), "1 pod at the end", "there are 0"),
        (
            ExpectEvent(event="WorkloadUpdated", workspace="stuck"),
            "event WorkloadUpdated about Workspace default/stuck at least once",
            "it happened 0 times",
        ),
    ],
)
def test_what_did_not_come_true_says_what_was_found(
    expected: AnyExpect, text: str, detail: str
) -> None:
    assert verdict(expected) == Expectation(text=text, ok=False, detail=detail)
