from collections.abc import Callable
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.event_recorder import record
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.kube_api import (
    EVENT,
    NODE_CLAIM,
    AlreadyExists,
    Forbidden,
    KubeObject,
    Resource,
)
from kaito.domain.plan import Note
from tests.unit.adapters.k8s.conftest import Clock
from tests.unit.domain.builders import machine_spec

NOTE = Note(type="Warning", reason="OldGpu", message="no kernels")


def events(store: ObjectStore) -> tuple[KubeObject, ...]:
    return store.list(EVENT).items


def test_an_event_says_what_about_which_object(
    store: ObjectStore, clock: Clock, apply: Callable[..., KubeObject]
) -> None:
    workspace = apply(metadata={"namespace": "default"})
    record(store, workspace, NOTE, now_s=clock.now_s())
    (event,) = events(store)
    assert event["involvedObject"] == {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "name": "phi",
        "namespace": "default",
        "uid": workspace["metadata"]["uid"],
        "resourceVersion": workspace["metadata"]["resourceVersion"],
    }
    assert (event["type"], event["reason"], event["message"]) == ("Warning", "OldGpu", "no kernels")
    assert event["source"] == {"component": "kaito"}
    assert event["count"] == 1
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-01T00:00:00Z"


def test_a_repetition_raises_the_count(
    store: ObjectStore, clock: Clock, apply: Callable[..., KubeObject]
) -> None:
    workspace = apply()
    for later_s in (0, 60, 120):
        record(store, workspace, NOTE, now_s=clock.now_s() + later_s)
    (event,) = events(store)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["lastTimestamp"] == "2026-01-01T00:02:00Z"


@pytest.mark.parametrize("other", [{"type": "Normal"}, {"reason": "Other"}, {"message": "other"}])
def test_another_note_is_another_event(
    store: ObjectStore,
    clock: Clock,
    apply: Callable[..., KubeObject],
    other: dict[str, Any],
) -> None:
    workspace = apply()
    record(store, workspace, NOTE, now_s=clock.now_s())
    values = {"type": NOTE.type, "reason": NOTE.reason, "message": NOTE.message} | other
    record(store, workspace, Note(**values), now_s=clock.now_s())
    assert [event["count"] for event in events(store)] == [1, 1]


def test_events_of_cluster_scoped_objects_lie_in_default(store: ObjectStore, clock: Clock) -> None:
    claim = store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    record(store, claim, NOTE, now_s=clock.now_s())
    (event,) = events(store)
    assert event["metadata"]["namespace"] == "default"
    assert event["involvedObject"]["namespace"] == ""
    assert event["metadata"]["name"].startswith(claim["metadata"]["name"] + ".")


def test_a_long_name_still_gives_a_valid_event(store: ObjectStore, clock: Clock) -> None:
    about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a" * 253, "uid": "u"}}
    record(store, about, NOTE, now_s=clock.now_s())
    (event,) = events(store)
    assert len(event["metadata"]["name"]) <= 253


class ExpiringStore(ObjectStore):
    """An event that exists is gone as soon as its writer has heard that it exists."""

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        try:
            return super().create(resource, body)
        except AlreadyExists:
            self.delete(resource, body["metadata"]["name"], body["metadata"]["namespace"])
            raise


def test_an_event_that_expires_in_between_is_no_error(clock: Clock) -> None:
    store = ExpiringStore(now_s=clock.now_s, new_uid=lambda: "u")
    about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "u"}}
    record(store, about, NOTE, now_s=clock.now_s())
    assert len(events(store)) == 1
    record(store, about, NOTE, now_s=clock.now_s())
    assert events(store) == ()


class SealedStore(ObjectStore):
    """Nothing may be created."""

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        if resource is EVENT:
            raise Forbidden("events are forbidden")
        return super().create(resource, body)


def test_other_errors_are_the_callers(clock: Clock) -> None:
    about = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "uid": "u"}}
    store = SealedStore(now_s=clock.now_s, new_uid=lambda: "u")
    with pytest.raises(Forbidden):
        record(store, about, NOTE, now_s=clock.now_s())
