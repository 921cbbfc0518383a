"""Machines' records and Nodes on an API server."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.machine_store import KubeMachineStore
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.kube_api import EVENT, NODE, NODE_CLAIM, KubeObject, Resource
from kaito.domain import labels
from kaito.domain.errors import Conflict, NotFound
from kaito.domain.machine import Attempt, Machine
from kaito.domain.plan import Note, WriteMachine
from tests.unit.adapters.k8s.conftest import Clock
from tests.unit.domain.builders import A10, NOW_S, READY_CONDITIONS, machine_spec

ORDERED = Attempt(instance_type=A10, started_at_s=NOW_S)


@pytest.fixture
def port(store: ObjectStore, clock: Clock) -> KubeMachineStore:
    return KubeMachineStore(store, clock, live=store)


@pytest.fixture
def found(store: ObjectStore, port: KubeMachineStore) -> Machine:
    """A machine that was just recorded."""
    store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    read = port.read_machine(machine_spec().name)
    assert read is not None
    return read


def record(found: Machine, attempt: Attempt | None = None, **more: object) -> WriteMachine:
    values = {
        "attempt": attempt or found.attempt,
        "conditions": found.conditions,
        "provider_id": found.provider_id,
        "node_name": found.node_name,
    }
    return WriteMachine(**(values | more))  # type: ignore[arg-type]


def test_machines_are_read(port: KubeMachineStore, store: ObjectStore, found: Machine) -> None:
    assert found.spec == machine_spec()
    store.create(NODE_CLAIM, to_node_claim(machine_spec(1)))
    store.create(NODE_CLAIM, {"metadata": {"name": "karpenters"}, "spec": {}})
    assert [one.spec.slot for one in port.list_machines()] == sorted(
        (0, 1), key=lambda slot: machine_spec(slot).name
    )
    assert port.read_machine("karpenters") is None
    assert port.read_machine("nothing") is None


def test_a_record_is_written_and_read(port: KubeMachineStore, found: Machine) -> None:
    written = port.write_machine(
        found,
        record(
            found,
            ORDERED,
            conditions=READY_CONDITIONS,
            provider_id="azure://x",
            node_name="node",
        ),
    )
    assert (written.attempt, written.provider_id, written.node_name) == (
        ORDERED,
        "azure://x",
        "node",
    )
    assert written.is_ready
    assert written == port.read_machine(found.claim_name)
    assert written.generation == found.generation
    # A new attempt forgets what the last one had.
    again = port.write_machine(written, WriteMachine(attempt=Attempt(number=1), conditions=()))
    assert (again.attempt, again.provider_id, again.node_name) == (Attempt(number=1), "", "")


@pytest.mark.parametrize("attempt", [ORDERED, None])
def test_a_stale_record_is_not_written_even_if_it_says_the_same(
    port: KubeMachineStore, store: ObjectStore, found: Machine, attempt: Attempt | None
) -> None:
    store.patch(NODE_CLAIM, found.claim_name, None, {"metadata": {"annotations": {"a": "b"}}})
    with pytest.raises(Conflict):
        port.write_machine(found, record(found, attempt))
    now = port.read_machine(found.claim_name)
    assert now is not None
    assert now.attempt == Attempt()


def test_of_two_writers_one_wins(port: KubeMachineStore, found: Machine) -> None:
    port.write_machine(found, record(found, ORDERED))
    with pytest.raises(Conflict):
        port.write_machine(found, record(found, replace(ORDERED, instance_type="Other")))


class BusyStore(ObjectStore):
    """Somebody else writes to an object right after its status was written."""

    def replace_status(self, resource: Resource, body: KubeObject) -> KubeObject:
        written = super().replace_status(resource, body)
        patch = {"metadata": {"annotations": {"somebody": "else"}}}
        self.patch(resource, body["metadata"]["name"], None, patch)
        return written


def test_nobody_may_write_between_the_status_and_the_attempt(clock: Clock) -> None:
    store = BusyStore(now_s=clock.now_s, new_uid=lambda: "uid")
    port = KubeMachineStore(store, clock, live=store)
    store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    found = port.read_machine(machine_spec().name)
    assert found is not None
    with pytest.raises(Conflict):
        port.write_machine(found, record(found, ORDERED))
    now = port.read_machine(machine_spec().name)
    assert now is not None
    assert now.attempt == Attempt()


def test_a_record_that_is_gone_or_made_again(
    port: KubeMachineStore, store: ObjectStore, found: Machine
) -> None:
    def remove() -> None:
        store.patch(NODE_CLAIM, found.claim_name, None, {"metadata": {"finalizers": []}})
        store.delete(NODE_CLAIM, found.claim_name)

    remove()
    with pytest.raises(Conflict, match="UID in precondition"):
        port.write_machine(found, record(found))
    store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    with pytest.raises(Conflict):
        port.write_machine(found, record(found))


def test_a_record_that_lost_its_labels(
    port: KubeMachineStore, store: ObjectStore, found: Machine
) -> None:
    patch = {"metadata": {"labels": {labels.WORKSPACE_UID: None}}}
    version = store.patch(NODE_CLAIM, found.claim_name, None, patch)["metadata"]["resourceVersion"]
    with pytest.raises(NotFound, match="lost kaito's labels"):
        port.write_machine(replace(found, version=version), record(found, ORDERED))


def test_whether_the_workspace_exists(
    port: KubeMachineStore, apply: Callable[..., KubeObject]
) -> None:
    uid = apply()["metadata"]["uid"]
    assert port.workspace_exists("default", "phi", uid)
    assert not port.workspace_exists("default", "phi", "another")
    assert not port.workspace_exists("default", "other", uid)


def test_that_is_asked_past_any_cache(
    store: ObjectStore, clock: Clock, apply: Callable[..., KubeObject]
) -> None:
    stale = ObjectStore(now_s=clock.now_s, new_uid=lambda: "u")
    uid = apply()["metadata"]["uid"]
    assert KubeMachineStore(stale, clock, live=store).workspace_exists("default", "phi", uid)


def test_its_node_has_its_labels_and_its_provider_id(
    port: KubeMachineStore, store: ObjectStore, found: Machine
) -> None:
    own = {labels.WORKSPACE_UID: found.spec.owner.uid, labels.SLOT: "0"}
    for name, node_labels, provider_id in (
        ("earlier", own, "azure://earlier"),
        ("current", own, "azure://current"),
        ("stranger", {}, "azure://current"),
    ):
        store.create(
            NODE,
            {
                "metadata": {"name": name, "labels": node_labels},
                "spec": {"providerID": provider_id},
            },
        )
    view = port.node_of(found, "azure://current")
    assert view is not None
    assert view.name == "current"
    assert port.node_of(found, "azure://later") is None
    store.patch(NODE, "current", None, {"metadata": {"labels": dict.fromkeys(own)}})
    unlabelled = port.node_of(found, "azure://current")
    assert unlabelled is not None
    assert unlabelled.provider_id == "azure://current", "even without its labels"
    store.patch(NODE, "current", None, {"metadata": {"labels": own}})
    port.label_node("current", [("apps", "phi")])
    assert store.get(NODE, "current")["metadata"]["labels"] == {**own, "apps": "phi"}
    with pytest.raises(NotFound):
        port.label_node("gone", [("a", "b")])


def test_the_finalizer_is_removed_at_the_version_that_was_read(
    port: KubeMachineStore, store: ObjectStore, found: Machine
) -> None:
    store.patch(
        NODE_CLAIM,
        found.claim_name,
        None,
        {"metadata": {"finalizers": [labels.MACHINE_FINALIZER, "other.io/keep"]}},
    )
    with pytest.raises(Conflict):
        port.remove_machine_finalizer(found)
    current = port.read_machine(found.claim_name)
    assert current is not None
    port.remove_machine_finalizer(current)
    claim = store.get(NODE_CLAIM, found.claim_name)
    assert claim["metadata"]["finalizers"] == ["other.io/keep"]


def test_removing_the_finalizer_of_what_is_gone_or_another_is_no_error(
    port: KubeMachineStore, store: ObjectStore, found: Machine
) -> None:
    port.remove_machine_finalizer(replace(found, uid="another"))
    assert store.get(NODE_CLAIM, found.claim_name)["metadata"]["finalizers"]
    store.delete(NODE_CLAIM, found.claim_name)
    leaving = port.read_machine(found.claim_name)
    assert leaving is not None
    port.remove_machine_finalizer(leaving)
    assert store.list(NODE_CLAIM).items == ()
    port.remove_machine_finalizer(leaving)


def test_a_record_is_deleted_by_name_and_uid(
    port: KubeMachineStore, store: ObjectStore, found: Machine
) -> None:
    port.delete_record(found.claim_name, "another")
    assert "deletionTimestamp" not in store.get(NODE_CLAIM, found.claim_name)["metadata"]
    port.delete_record(found.claim_name, found.uid)
    assert "deletionTimestamp" in store.get(NODE_CLAIM, found.claim_name)["metadata"]
    port.delete_record("gone", "uid")


def test_an_event_is_recorded_on_it(
    port: KubeMachineStore, store: ObjectStore, found: Machine
) -> None:
    port.note_machine(found, Note(type="Warning", reason="LaunchFailed", message="why"))
    (event,) = store.list(EVENT).items
    assert event["involvedObject"]["uid"] == found.uid
    assert event["involvedObject"]["kind"] == "NodeClaim"
    assert event["metadata"]["namespace"] == "default"
