from typing import Any

import pytest

from kaito.adapters.k8s import news
from kaito.adapters.kube_api import (
    CONTROLLER_REVISION,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    Resource,
    freeze,
)
from kaito.domain import labels


def body(**more: Any) -> dict[str, Any]:
    metadata = {"name": "one", "uid": "uid-1", "resourceVersion": "1", "generation": 1}
    return {"metadata": {**metadata, **more.pop("metadata", {})}, **more}


def is_news(
    of: news.News, resource: Resource, before: dict[str, Any], after: dict[str, Any]
) -> bool:
    of.note(resource, freeze(before), gone=False)
    return of.note(resource, freeze(after), gone=False)


WAITING: dict[str, Any] = {"status": {"phase": "Pending"}, "spec": {}}
RUNNING: dict[str, Any] = {"status": {"phase": "Running"}, "spec": {}}
READY: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}
UNSCHEDULABLE: dict[str, Any] = {
    "phase": "Pending",
    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
}


@pytest.mark.parametrize(
    ("resource", "before", "after", "expected"),
    [
        (WORKSPACE, body(), body(status={"state": "Ready"}), False),
        (WORKSPACE, body(), body(metadata={"generation": 2}), True),
        (WORKSPACE, body(), body(metadata={"annotations": {"kaito.sh/paused": "true"}}), True),
        (WORKSPACE, body(), body(metadata={"labels": {"team": "a"}}), True),
        (WORKSPACE, body(), body(metadata={"finalizers": ["x"]}), True),
        (WORKSPACE, body(), body(metadata={"deletionTimestamp": "now"}), True),
        (NODE, body(), body(status={"images": [{"sizeBytes": 1}]}), False),
        (NODE, body(), body(status={"allocatable": {labels.GPU_RESOURCE: "1"}}), False),
        (NODE, body(), body(status=READY), True),
        (NODE, body(status=READY), body(), True),
        (POD, body(**WAITING), body(**WAITING, metadata={"resourceVersion": "2"}), False),
        (POD, body(**WAITING), body(status={"phase": "Running"}, spec={}), True),
        (POD, body(**WAITING), body(status=UNSCHEDULABLE, spec={}), True),
        (POD, body(**WAITING), body(**WAITING, metadata={"deletionTimestamp": "now"}), True),
        (POD, body(**RUNNING), body(**RUNNING, metadata={"labels": {"a": "b"}}), True),
        (STATEFUL_SET, body(), body(status={"currentReplicas": 1}), False),
        (STATEFUL_SET, body(), body(status={"readyReplicas": 1}), True),
        (STATEFUL_SET, body(), body(metadata={"generation": 2}), True),
        (JOB, body(), body(status={"startTime": "now"}), False),
        (JOB, body(), body(status={"active": 1}), True),
        (NODE_CLAIM, body(), body(status={"providerID": "azure://one"}), True),
        (SERVICE, body(), body(), True),
        (CONTROLLER_REVISION, body(revision=1), body(revision=2), False),
    ],
)
def test_what_concerns_a_workspace(
    resource: Resource, before: dict[str, Any], after: dict[str, Any], *, expected: bool
) -> None:
    assert is_news(news.for_workspaces(), resource, before, after) is expected


ENDING: dict[str, Any] = {"deletionTimestamp": "now"}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (body(), body(status={"providerID": "azure://one"}), False),
        (body(), body(metadata={"annotations": {labels.ATTEMPT: "1"}}), False),
        (body(), body(metadata={"labels": {labels.ZONE: "eastus-1"}}), False),
        (body(), body(metadata={"labels": {labels.WORKSPACE_UID: "uid"}}), True),
        (body(), body(metadata={"annotations": {labels.RETRY: "now"}}), True),
        (body(), body(metadata=ENDING), True),
        (body(metadata=ENDING), body(metadata=ENDING, status={"conditions": []}), True),
    ],
)
def test_what_concerns_a_machine(
    before: dict[str, Any], after: dict[str, Any], *, expected: bool
) -> None:
    assert is_news(news.for_machines(), NODE_CLAIM, before, after) is expected


def test_a_condition_of_its_node_concerns_a_machine() -> None:
    def node(status: str, beat: str) -> dict[str, Any]:
        told = {"type": "PreemptScheduled", "status": status, "lastHeartbeatTime": beat}
        return body(status={"conditions": [told]})

    assert is_news(news.for_machines(), NODE, node("False", "1"), node("True", "1"))
    assert not is_news(news.for_machines(), NODE, node("False", "1"), node("False", "2"))


@pytest.mark.parametrize(
    ("resource", "obj", "expected"),
    [
        (WORKSPACE, body(), True),
        (NODE, body(), False),
        (NODE, body(status=READY), True),
        (POD, body(**WAITING), False),
        (POD, body(**RUNNING), True),
        (STATEFUL_SET, body(), True),
    ],
)
def test_what_is_there_for_the_first_time_is_news_unless_it_is_only_on_its_way(
    resource: Resource, obj: dict[str, Any], *, expected: bool
) -> None:
    assert news.for_workspaces().note(resource, freeze(obj), gone=False) is expected


def test_what_is_gone_is_news_and_so_is_what_comes_after_a_gap() -> None:
    of, obj = news.for_workspaces(), freeze(body())
    assert of.note(WORKSPACE, obj, gone=False)
    assert not of.note(WORKSPACE, obj, gone=False)
    assert of.note(WORKSPACE, obj, gone=True)
    assert of.note(WORKSPACE, obj, gone=False)
    assert of.note(CONTROLLER_REVISION, obj, gone=True)
    of.forget(SERVICE)
    assert not of.note(WORKSPACE, obj, gone=False)
    of.forget(WORKSPACE)
    assert of.note(WORKSPACE, obj, gone=False)
