"""Events: one for each thing that happened, in the order in which it did."""

from itertools import count

import pytest

from kaito.adapters.fake.events import EventRecorder
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import EVENT, NODE, KubeObject, name_of

NOW_S = 1_767_225_600.0


@pytest.fixture
def api() -> ObjectStore:
    uids = count(1)
    return ObjectStore(now_s=lambda: NOW_S, new_uid=lambda: f"uid-{next(uids)}")


@pytest.fixture
def node(api: ObjectStore) -> KubeObject:
    return api.create(NODE, {"metadata": {"name": "one"}})


def listed(api: ObjectStore) -> list[tuple[str, int]]:
    return [(event["reason"], event["count"]) for event in api.list(EVENT).items]


def test_events_are_listed_in_their_order(api: ObjectStore, node: KubeObject) -> None:
    recorder = EventRecorder(api, "test")
    for after_s, reason in enumerate(["Zero", "Alpha", "Middle"]):
        recorder.record(NODE, node, "Normal", reason, "", NOW_S + after_s / 10)
    recorder.record(NODE, node, "Normal", "Last", "at the same instant", NOW_S + 0.2)
    assert listed(api) == [("Zero", 1), ("Alpha", 1), ("Middle", 1), ("Last", 1)]
    assert name_of(api.list(EVENT).items[0]).startswith("one.")


def test_a_repeated_event_counts_up(api: ObjectStore, node: KubeObject) -> None:
    recorder = EventRecorder(api, "test")
    for after_s in range(3):
        recorder.record(NODE, node, "Warning", "Sick", "of it", NOW_S + after_s)
    (event,) = api.list(EVENT).items
    assert (event["count"], event["firstTimestamp"]) == (3, "2026-01-01T00:00:00Z")
    assert event["lastTimestamp"] == "2026-01-01T00:00:02Z"
    api.delete(EVENT, name_of(event), "default")
    recorder.record(NODE, node, "Warning", "Sick", "of it", NOW_S + 9)
    assert listed(api) == [("Sick", 1)], "the earlier one has expired"


def test_an_event_that_cannot_be_written_is_dropped(api: ObjectStore) -> None:
    stray = {"metadata": {"name": "one", "namespace": "gone", "uid": "u"}}
    EventRecorder(api, "test").record(NODE, stray, "Normal", "Any", "", NOW_S)
    assert listed(api) == []
