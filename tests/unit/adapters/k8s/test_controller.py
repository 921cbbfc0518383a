"""From watched changes to the rounds that they concern."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.k8s.controller import (
    FORGET_S,
    ORPHANS,
    ORPHANS_EVERY_S,
    PUT_BACK_S,
    UNSEEN_S,
    Controller,
    Key,
)
from kaito.adapters.k8s.machine_mirror import MachineMirror
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.k8s.runner import drain
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    MACHINE,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STORAGE_CLASS,
    WORKSPACE,
    KubeObject,
    ObjectList,
    Resource,
    ServerUnavailable,
    name_of,
)
from kaito.bootstrap import kubernetes_ports
from kaito.domain import labels
from kaito.domain.machine import CloudMachine, MachineOrder
from kaito.reconcile import RESYNC_S, Outcome
from tests.unit.adapters.k8s.conftest import Clock
from tests.unit.domain.builders import CATALOGUE, MINI, UID, machine_spec

PHI = Key("Workspace", "default", "phi")
READY: dict[str, Any] = {"conditions": [{"type": "Ready", "status": "True"}]}
CLAIM = Key("NodeClaim", "", machine_spec().name)


class NoCloud:
    """A cloud that has nothing and sells nothing."""

    def launch(self, order: MachineOrder) -> None:
        raise AssertionError(order)

    def terminate(self, cloud_name: str) -> None:
        raise AssertionError(cloud_name)

    def list_machines(self, claim_name: str | None = None) -> list[CloudMachine]:
        return []


@dataclass
class Woken:
    count: int = 0

    def __call__(self) -> None:
        self.count += 1


class Moody(ObjectStore):
    """A store whose lists of one resource can fail."""

    broken: Resource | None = None

    def list(self, resource: Resource, *args: Any, **kwargs: Any) -> ObjectList:
        if resource is self.broken:
            raise ServerUnavailable("not now")
        return super().list(resource, *args, **kwargs)


@dataclass
class World:
    store: Moody
    clock: Clock
    woken: Woken = field(default_factory=Woken)
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = kubernetes_ports(
            self.store, live=self.store, cloud=NoCloud(), clock=self.clock, catalogue=CATALOGUE
        )
        self.controller = Controller(self.store, self.ports, self.woken, **self.more)

    def polled(self) -> list[Key]:
        """What the changes since the last call concern."""
        self.controller.poll(self.clock.now_s())
        found = []
        while (taken := self.controller.take(self.clock.now_s())) is not None:
            key, steps = taken
            steps.close()
            found.append(key)
            self.controller.done(key, self.clock.now_s(), Outcome())
        return found


@pytest.fixture
def make_store(clock: Clock) -> Callable[..., Moody]:
    numbers = iter(range(10**6))
    return lambda **more: Moody(now_s=clock.now_s, new_uid=lambda: f"uid-{next(numbers)}", **more)


@pytest.fixture
def store(make_store: Callable[..., Moody]) -> Moody:
    return make_store()


@pytest.fixture
def world(store: Moody, clock: Clock) -> Iterator[World]:
    world = World(store, clock)
    yield world
    world.controller.close()


Apply = Callable[..., KubeObject]
OURS = {labels.WORKSPACE: "phi", labels.WORKSPACE_NAMESPACE: "default"}


def test_what_is_there_at_the_start_is_looked_at(world: World, apply: Apply) -> None:
    apply()
    apply(name="other")
    world.store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    assert set(world.polled()) == {PHI, Key("Workspace", "default", "other"), CLAIM}
    assert world.polled() == []


def test_a_change_wakes_the_owner_and_is_found_once(world: World, apply: Apply) -> None:
    assert world.polled() == []
    apply()
    assert world.woken.count > 0
    assert world.polled() == [PHI]
    assert world.polled() == []


def test_a_round_that_found_nothing_of_what_is_there_is_repeated(
    world: World, apply: Apply
) -> None:
    apply()
    world.store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    theirs = {"metadata": {"name": "theirs"}, "spec": {}}
    world.store.create(NODE_CLAIM, theirs)
    world.polled()
    world.clock.seconds += UNSEEN_S
    assert set(world.polled()) == {PHI, CLAIM}
    world.store.delete(WORKSPACE, "phi", "default")
    world.polled()
    world.clock.seconds += UNSEEN_S
    assert world.polled() == [CLAIM]


def test_from_time_to_time_what_no_round_asks_for_is_let_go(
    world: World, apply: Apply, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []
    forget = world.ports.workspaces.forget_unused

    def forget_unused() -> None:
        asked.append(world.clock.now_s())
        forget()

    monkeypatch.setattr(world.ports.workspaces, "forget_unused", forget_unused)
    began_s = world.clock.now_s()
    for number in range(5):
        apply(name=f"phi-{number}")
        world.polled()
        world.clock.seconds += FORGET_S / 2
    assert asked == [began_s, began_s + FORGET_S, began_s + 2 * FORGET_S]


def test_what_is_followed_is_watched_and_wakes_no_round(
    make_store: Callable[..., Moody], clock: Clock
) -> None:
    world = World(make_store(), clock, more={"followed": [STORAGE_CLASS]})
    made = {
        "metadata": {"name": "disks", "labels": dict(machine_spec().labels)},
        "provisioner": "p",
    }
    world.store.create(STORAGE_CLASS, made)
    assert world.polled() == []
    before = world.woken.count
    world.store.delete(STORAGE_CLASS, "disks")
    assert world.woken.count == before + 1
    assert world.polled() == []


def test_a_burst_of_changes_is_one_round(world: World, apply: Apply) -> None:
    apply()
    for number in range(5):
        patch = {"metadata": {"labels": {"n": str(number)}}}
        world.store.patch(WORKSPACE, "phi", "default", patch)
    assert world.polled() == [PHI]


@pytest.mark.parametrize(
    ("resource", "body", "keys"),
    [
        (NODE_CLAIM, to_node_claim(machine_spec()), {CLAIM, PHI}),
        (
            NODE_CLAIM,
            {"metadata": {"name": "theirs"}, "spec": {}},
            {Key("NodeClaim", "", "theirs")},
        ),
        (
            NODE,
            {"metadata": {"name": "n", "labels": dict(machine_spec().labels)}, "status": READY},
            {CLAIM, PHI},
        ),
        (
            NODE,  # the Workspace hears of it by its NodeClaim until it is ready
            {"metadata": {"name": "n", "labels": dict(machine_spec().labels)}},
            {CLAIM},
        ),
        (NODE, {"metadata": {"name": "n", "labels": {labels.WORKSPACE_UID: UID}}}, set()),
        (NODE, {"metadata": {"name": "n"}}, set()),
        (
            POD,
            {
                "metadata": {"name": "p", "namespace": "default", "labels": OURS},
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            },
            {PHI},
        ),
        (
            POD,  # of KAITO v0.12
            {
                "metadata": {
                    "name": "p",
                    "namespace": "default",
                    "labels": {labels.WORKSPACE: "phi"},
                },
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            },
            {PHI},
        ),
        (
            SERVICE,
            {
                "metadata": {
                    "name": "phi",
                    "namespace": "default",
                    "ownerReferences": [
                        {
                            "apiVersion": "kaito.sh/v1beta1",
                            "kind": "Workspace",
                            "name": "phi",
                            "uid": UID,
                        }
                    ],
                },
                "spec": {"ports": [{"port": 80}]},
            },
            {PHI},
        ),
        (
            SERVICE,
            {
                "metadata": {"name": "theirs", "namespace": "default"},
                "spec": {"ports": [{"port": 80}]},
            },
            set(),
        ),
        (CONFIG_MAP, {"metadata": {"name": "theirs", "namespace": "default"}}, set()),
    ],
)
def test_whom_a_change_concerns(
    world: World, resource: Resource, body: dict[str, Any], keys: set[Key]
) -> None:
    world.polled()
    created = world.store.create(resource, body)
    if resource is POD:  # until it runs, or cannot, there is nothing to say of it
        assert world.polled() == []
        status = {"phase": "Running"}
        patch = {"status": status}
        world.store.patch(POD, name_of(created), "default", patch, subresource="status")
    assert set(world.polled()) == keys


def test_a_node_wakes_the_machine_that_kaito_named(world: World) -> None:
    adopted = to_node_claim(machine_spec())
    adopted["metadata"]["name"] = "ws123456789"
    theirs = Key("NodeClaim", "", "ws123456789")
    world.store.create(NODE_CLAIM, adopted)
    assert set(world.polled()) == {theirs, PHI}
    node = {"metadata": {"name": "n", "labels": dict(machine_spec().labels)}}
    world.store.create(NODE, node)
    assert theirs in world.polled()


def test_a_deletion_is_a_change(world: World, apply: Apply) -> None:
    apply()
    world.polled()
    world.store.delete(WORKSPACE, "phi", "default")
    assert world.polled() == [PHI]


def test_a_config_map_wakes_those_that_read_it_now(world: World, apply: Apply) -> None:
    apply(inference={"preset": {"name": MINI}, "config": "one"})
    apply(name="other", inference={"preset": {"name": MINI}, "config": "two"})
    world.polled()
    other = Key("Workspace", "default", "other")

    def change(name: str) -> list[Key]:
        body = {"metadata": {"name": name, "namespace": "default"}}
        world.store.create(CONFIG_MAP, body)
        found = world.polled()
        world.store.delete(CONFIG_MAP, name, "default")
        assert world.polled() == found, "a deletion concerns the same"
        return found

    assert (change("one"), change("two"), change("three")) == ([PHI], [other], [])
    world.store.patch(WORKSPACE, "phi", "default", {"inference": {"config": "two"}})
    world.polled()
    assert (change("one"), change("two")) == ([], [other, PHI])
    world.store.patch(WORKSPACE, "phi", "default", {"inference": {"config": None}})
    world.polled()
    assert change("two") == [other]


def test_a_config_map_does_not_wake_those_that_leave(world: World, apply: Apply) -> None:
    parts = {"inference": {"preset": {"name": MINI}, "config": "one"}}
    apply(metadata={"finalizers": ["a.io/b"]}, **parts)
    world.polled()
    world.store.delete(WORKSPACE, "phi", "default")
    world.polled()
    world.store.create(CONFIG_MAP, {"metadata": {"name": "one", "namespace": "default"}})
    assert world.polled() == []


def test_after_a_gap_everything_is_looked_at(
    make_store: Callable[..., Moody], clock: Clock, apply: Apply
) -> None:
    """A Node was deleted where no watch could tell: its machine and its Workspace must be
    looked at again although nothing of them changed."""
    store = make_store(history=3)
    world = World(store, clock)
    store.create(
        WORKSPACE,
        {
            "metadata": {"name": "phi", "namespace": "default"},
            "resource": {"labelSelector": {}},
        },
    )
    store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    store.create(NODE, {"metadata": {"name": "node", "labels": dict(machine_spec().labels)}})
    world.polled()
    store.delete(NODE, "node")
    for number in range(10):
        store.create(NODE, {"metadata": {"name": f"noise-{number}"}})
    assert set(world.polled()) == {PHI, CLAIM}
    assert world.polled() == []
    patch = {"metadata": {"labels": dict(machine_spec().labels)}, "status": READY}
    store.patch(NODE, "noise-1", None, patch, subresource="status")
    assert set(world.polled()) == {PHI, CLAIM}, "and it watches again"


def test_a_server_that_fails_loses_nothing(world: World, apply: Apply) -> None:
    world.store.broken = NODE_CLAIM
    apply()
    with pytest.raises(ServerUnavailable):
        world.controller.poll(world.clock.now_s())
    world.store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    world.store.broken = None
    assert set(world.polled()) == {PHI, CLAIM}


def test_who_acts_on_machines_may_be_somebody_else(store: Moody, clock: Clock) -> None:
    world = World(store, clock, more={"runs_machines": False})
    store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    store.create(NODE, {"metadata": {"name": "n", "labels": dict(machine_spec().labels)}})
    assert world.polled() == [PHI], "but its Workspace looks at it"


def test_orphans_are_collected_every_two_minutes(world: World) -> None:
    assert world.polled() == []
    assert world.controller.next_due_s() == world.clock.now_s() + ORPHANS_EVERY_S
    world.clock.seconds += ORPHANS_EVERY_S
    taken = world.controller.take(world.clock.now_s())
    assert taken is not None
    key, steps = taken
    assert key == ORPHANS
    assert str(key) == "orphans"
    assert drained(steps) == Outcome(again_after_s=ORPHANS_EVERY_S)
    assert not world.controller.is_idle(world.clock.now_s())
    now_s = world.clock.now_s()
    world.controller.done(key, now_s, Outcome(ORPHANS_EVERY_S))
    assert world.controller.next_due_s() == now_s + ORPHANS_EVERY_S
    assert world.controller.is_idle(now_s)


def drained(steps: Any) -> Outcome:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            outcome: Outcome = stop.value
            return outcome


def test_each_key_gets_its_round(world: World, apply: Apply) -> None:
    apply()
    world.store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    world.controller.poll(world.clock.now_s())
    assert world.controller.queue_length() == 3
    outcomes = {}
    while (taken := world.controller.take(world.clock.now_s())) is not None:
        outcomes[str(taken[0])] = drained(taken[1])
    assert outcomes == {
        "Workspace/default/phi": Outcome(again_after_s=0.0),
        f"NodeClaim/{machine_spec().name}": Outcome(RESYNC_S),  # for nobody: released
    }
    view = world.store.get(WORKSPACE, "phi", "default")
    assert view["metadata"]["finalizers"] == [labels.WORKSPACE_FINALIZER]
    claim = world.store.get(NODE_CLAIM, machine_spec().name)
    assert "deletionTimestamp" in claim["metadata"]


def test_a_closed_controller_is_not_woken(world: World, apply: Apply) -> None:
    world.polled()
    world.controller.close()
    before = world.woken.count
    apply()
    assert world.woken.count == before


MIRROR = Key("Machine", "", CLAIM.name)


@pytest.fixture
def mirrored(make_store: Callable[..., Moody], clock: Clock) -> World:
    """A NodeClaim of kaito's, mirrored, in an operator that leaves machines to others."""
    store = make_store(resources=(*SERVED, MACHINE))
    store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    mirror = MachineMirror(store)
    world = World(store, clock, more={"mirror": mirror, "runs_machines": False})
    assert MIRROR in world.polled()
    drain(mirror.round(MIRROR.name))
    return world


def test_a_claim_that_changes_wakes_its_mirror_at_once(mirrored: World) -> None:
    mirrored.store.patch(NODE_CLAIM, CLAIM.name, None, {"status": READY}, subresource="status")
    assert MIRROR in mirrored.polled()
    theirs = {"metadata": {"name": "theirs"}, "spec": {}}
    mirrored.store.create(NODE_CLAIM, theirs)
    assert mirrored.polled() == []


def test_what_others_do_to_a_mirror_is_undone_after_a_while(mirrored: World) -> None:
    """And a Machine wakes no Workspace, whatever labels it has."""
    for _ in range(3):
        mirrored.store.patch(MACHINE, MIRROR.name, None, {"spec": {"taints": None}})
        assert mirrored.polled() == []
    mirrored.clock.seconds += PUT_BACK_S
    assert mirrored.polled() == [MIRROR]
    mirrored.store.delete(MACHINE, MIRROR.name)
    assert mirrored.polled() == []
    mirrored.clock.seconds += PUT_BACK_S
    assert mirrored.polled() == [MIRROR]


def test_a_round_of_a_mirror(mirrored: World) -> None:
    mirrored.store.delete(MACHINE, MIRROR.name)
    assert mirrored.polled() == []
    mirrored.clock.seconds += PUT_BACK_S
    rounds = {}
    while (taken := mirrored.controller.take(mirrored.clock.now_s())) is not None:
        rounds[taken[0]] = drain(taken[1])
    assert rounds[MIRROR] == Outcome(RESYNC_S, resting=True)
    assert mirrored.store.get(MACHINE, MIRROR.name)


def test_deletions_that_were_missed_are_made_up_for(mirrored: World) -> None:
    mirrored.store.delete(MACHINE, MIRROR.name)
    mirrored.store.compact()
    assert MIRROR in mirrored.polled()
