"""Rounds over a Kubernetes API in memory: what happens between two calls, and when calls fail."""

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from typing import Any

import pytest

from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.k8s.machine_store import KubeMachineStore
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    EVENT,
    NODE,
    NODE_CLAIM,
    POD,
    STATEFUL_SET,
    WORKSPACE,
    Forbidden,
    KubeObject,
    ObjectConflict,
    Resource,
    ServerUnavailable,
    name_of,
)
from kaito.bootstrap import kubernetes_ports
from kaito.domain import labels
from kaito.domain.errors import (
    CapacityUnavailable,
    Conflict,
    PortError,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from kaito.domain.machine import CloudMachine, CloudState, MachineOrder
from kaito.domain.machine_plan import ORPHAN_GRACE_S
from kaito.domain.machine_release import DRAIN_RECHECK_S
from kaito.reconcile import (
    RESYNC_S,
    Decisions,
    Outcome,
    Ports,
    collect_orphans,
    reconcile_machine,
    reconcile_workspace,
)
from tests.unit.domain.builders import (
    CATALOGUE,
    MINI,
    NOW_S,
    cloud_machine,
    config,
    machine,
    machine_spec,
    manifest,
    workspace,
)


class ListedCloud:
    """A cloud that has each machine it was asked for at once; `refusals` answer the next orders."""

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self.machines: dict[str, CloudMachine] = {}
        self.orders: list[MachineOrder] = []
        self.refusals: list[PortError] = []
        self.stuck: set[str] = set()  # names that cannot be given back
        self.locked: set[str] = set()  # names that nobody may give back

    def launch(self, order: MachineOrder) -> None:
        if self.refusals:
            raise self.refusals.pop(0)
        if order.name not in self.machines:
            self.orders.append(order)
            self.machines[order.name] = CloudMachine(
                name=order.name,
                claim_name=order.claim_name,
                owner_uid=order.owner.uid,
                instance_type=order.instance_type,
                zone="1",
                state=CloudState.RUNNING,
                provider_id=f"azure://{order.name}",
                created_at_s=self._clock.now_s(),
            )

    def terminate(self, cloud_name: str) -> None:
        if cloud_name in self.stuck:
            raise Unavailable(f"{cloud_name} is being upgraded")
        if cloud_name in self.locked:
            raise Rejected(f"{cloud_name} is locked")
        self.machines.pop(cloud_name, None)

    def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
        found = [self.machines[name] for name in sorted(self.machines)]
        return [one for one in found if claim_name in {None, one.claim_name}]


@dataclass
class Clock:
    seconds: float = NOW_S

    def now_s(self) -> float:
        return self.seconds


class Counted:
    """A port whose calls are counted, to see what happens between two yields."""

    def __init__(self, inner: Any, calls: list[str]) -> None:
        self._inner = inner
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self._calls.append(name)
            return call(*args, **kwargs)

        return counted


class MoodyStore(ObjectStore):
    """A store that answers the next status with `error`, and creates nothing `sealed`. A budget
    keeps pods that are `guarded` from being evicted."""

    error: Exception | None = None
    sealed: Resource | None = None
    guarded: Collection[str] = ()

    def evict(self, name: str, namespace: str, *, uid: str | None = None) -> None:
        if name in self.guarded:
            raise ServerUnavailable("Cannot evict pod: disruption budget", code=429)
        super().evict(name, namespace, uid=uid)

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        if resource is self.sealed:
            raise Forbidden(f"{resource.plural} are forbidden")
        return super().create(resource, body)

    def replace_status(self, resource: Resource, body: KubeObject) -> KubeObject:
        if self.error is not None:
            error, self.error = self.error, None
            raise error
        return super().replace_status(resource, body)


Steps = Generator[None, None, Outcome]


@dataclass
class World:
    """A cluster without controllers: the test plays the kubelet and the StatefulSet controller."""

    clock: Clock = field(default_factory=Clock)
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        uids = count(1)
        self.store = MoodyStore(
            now_s=self.clock.now_s,
            new_uid=lambda: f"00000000-0000-4000-8000-{next(uids):012d}",
        )
        self.cloud = ListedCloud(self.clock)
        self.ports = kubernetes_ports(
            self.store,
            live=self.store,
            cloud=self.cloud,
            clock=self.clock,
            catalogue=CATALOGUE,
        )

    def counted(self) -> Ports:
        return replace(
            self.ports,
            workspaces=Counted(self.ports.workspaces, self.calls),
            machines=Counted(self.ports.machines, self.calls),
            cloud=Counted(self.ports.cloud, self.calls),
        )

    def apply(self, **parts: Any) -> KubeObject:
        document = manifest(metadata={"namespace": "default"}, **parts)
        return self.store.create(WORKSPACE, document)

    def rounds(self, ports: Ports | None = None) -> list[Callable[[], Steps]]:
        """One round for everything there is."""
        ports = ports or self.ports
        claims = [name_of(claim) for claim in self.store.list(NODE_CLAIM).items]
        return [
            partial(reconcile_workspace, ports, "default", "phi"),
            *(partial(reconcile_machine, ports, name) for name in claims),
        ]

    def settle(self, *, crash_after: int | None = None) -> int:
        """Rounds until none writes anything; the longest round's number of yields.

        `crash_after`: every round of the first time through ends after so many yields.
        """
        longest = 0
        for number in range(40):
            before = self.store.resource_version, dict(self.cloud.machines)
            for begin in self.rounds():
                steps = begin()
                if crash_after is not None and number == 0:
                    longest = max(longest, run(steps, crash_after))
                else:
                    longest = max(longest, run(steps))
            self.play_the_cluster()
            if number and before == (self.store.resource_version, self.cloud.machines):
                return longest
            self.clock.seconds += 60
        raise AssertionError("it does not settle")

    def play_the_cluster(self) -> None:
        nodes = {name_of(node): node for node in self.store.list(NODE).items}
        for found in self.cloud.list_machines():
            if found.name in nodes:
                continue
            order = next(one for one in self.cloud.orders if one.name == found.name)
            node = {
                "metadata": {"name": found.name, "labels": dict(order.labels)},
                "spec": {"providerID": found.provider_id},
            }
            self.store.create(NODE, node)
            status = {
                "conditions": [{"type": "Ready", "status": "True"}],
                "allocatable": {"nvidia.com/gpu": "1"},
            }
            self.store.patch(NODE, found.name, None, {"status": status}, subresource="status")
        for name in nodes:
            if name not in self.cloud.machines:
                self.store.delete(NODE, name)
        for live in self.store.list(STATEFUL_SET).items:
            replicas = live["spec"]["replicas"]
            status = {
                "observedGeneration": live["metadata"]["generation"],
                "replicas": replicas,
                "updatedReplicas": replicas,
                "readyReplicas": replicas,
            }
            self.store.patch(
                STATEFUL_SET, name_of(live), "default", {"status": status}, subresource="status"
            )

    def conditions(self, resource: Resource = WORKSPACE, name: str = "phi") -> dict[str, Any]:
        namespace = "default" if resource.namespaced else None
        found = self.store.get(resource, name, namespace)
        return {one["type"]: one for one in found["status"]["conditions"]}

    def events(self) -> list[str]:
        return sorted(event["reason"] for event in self.store.list(EVENT).items)


def run(steps: Steps, at_most: int | None = None) -> int:
    """Drain a round, or crash in it; the number of yields."""
    yields = 0
    while at_most is None or yields < at_most:
        try:
            next(steps)
        except StopIteration:
            return yields
        yields += 1
    steps.close()
    return yields


def outcome(steps: Steps) -> Outcome:
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            found: Outcome = stop.value
            return found


@pytest.fixture
def world() -> World:
    return World()


# --- from a manifest to a model server, and back ---


def test_from_a_manifest_to_ready_and_back_to_nothing(world: World) -> None:
    world.apply()
    world.settle()
    assert world.conditions()["WorkspaceSucceeded"]["status"] == "True"
    assert [order.instance_type for order in world.cloud.orders] == ["Standard_NV36ads_A10_v5"]
    (claim,) = world.store.list(NODE_CLAIM).items
    assert claim["status"]["nodeName"] == world.cloud.orders[0].name
    assert world.events() == [
        "FitDecided",
        "InferenceReady",
        "Launched",
        "Ready",
        "Registered",
        "ResourceReady",
        "WorkspaceSucceeded",
    ]
    rested = outcome(reconcile_workspace(world.ports, "default", "phi"))
    assert rested == Outcome(RESYNC_S, resting=True), "looked at again, in case a read was stale"
    world.store.delete(WORKSPACE, "phi", "default")
    for _ in range(10):
        for begin in world.rounds():
            run(begin())
        world.clock.seconds += 60
    for resource in (WORKSPACE, NODE_CLAIM):
        assert world.store.list(resource).items == ()
    assert world.cloud.machines == {}


def test_three_replicas_are_three_machines(world: World) -> None:
    world.apply(resource={"count": 3}, inference={"preset": {"name": MINI}})
    world.store.patch(
        WORKSPACE,
        "phi",
        "default",
        {"metadata": {"annotations": {"kaito.sh/runtime": "transformers"}}},
    )
    world.settle()
    assert len(world.cloud.orders) == 3
    assert world.conditions()["WorkspaceSucceeded"]["status"] == "True"


@pytest.mark.parametrize("after", range(12))
def test_a_crash_after_any_call_buys_nothing_twice(world: World, after: int) -> None:
    world.apply()
    world.settle(crash_after=after)
    assert len(world.cloud.orders) == len(world.cloud.machines) == 1
    assert world.conditions()["WorkspaceSucceeded"]["status"] == "True"


def test_a_round_yields_after_every_call(world: World) -> None:
    world.apply(inference={"preset": {"name": MINI}, "config": "settings"})
    data = {"inference_config.yaml": "vllm: {max-model-len: 1024}"}
    world.store.create(
        CONFIG_MAP, {"metadata": {"name": "settings", "namespace": "default"}, "data": data}
    )
    ports = world.counted()
    seen = set()
    for _ in range(8):
        for begin in [*world.rounds(ports), lambda: collect_orphans(ports, every_s=1.0)]:
            steps, before = begin(), len(world.calls)
            while True:
                try:
                    next(steps)
                except StopIteration:
                    assert len(world.calls) == before, world.calls[before:]
                    break
                assert len(world.calls) <= before + 1, world.calls[before:]
                seen.update(world.calls[before:])
                before = len(world.calls)
        world.play_the_cluster()
        world.clock.seconds += 60
    assert {"read_workspace", "observe", "compare", "write_status", "create_machine"} <= seen
    assert {"read_machine", "node_of", "write_machine", "launch", "apply_workload"} <= seen


# --- what cannot be ---


def test_a_workspace_that_is_not_there(world: World) -> None:
    assert outcome(reconcile_workspace(world.ports, "default", "nothing")) == Outcome()
    assert outcome(reconcile_machine(world.ports, "nothing")) == Outcome()


def test_a_workspace_that_does_not_parse_is_told_why(world: World) -> None:
    world.apply(resource={"count": "two"})
    world.settle()
    found = world.conditions()["WorkspaceSucceeded"]
    assert (found["status"], found["reason"]) == ("False", "InvalidSpec")
    assert "resource.count: must be a whole number, got 'two'" in found["message"]
    assert world.cloud.orders == []


def test_a_workspace_that_no_longer_parses_can_be_deleted(world: World) -> None:
    world.apply()
    world.settle()
    world.store.patch(WORKSPACE, "phi", "default", {"resource": {"count": "two"}})
    world.store.delete(WORKSPACE, "phi", "default")
    for _ in range(10):
        for begin in world.rounds():
            run(begin())
        world.clock.seconds += 60
    assert world.store.list(WORKSPACE).items == ()
    assert world.cloud.machines == {}


def test_a_refused_workspace_says_why_and_buys_nothing(world: World) -> None:
    world.apply(instance_type="Standard_NC6s_v3", inference={"preset": {"name": "phi-4"}})
    world.settle()
    found = world.conditions()["WorkspaceSucceeded"]
    assert (found["status"], found["reason"]) == ("False", "ModelDoesNotFit")
    assert "It fits on" in found["message"]
    assert world.events() == ["ModelDoesNotFit"]
    assert world.cloud.orders == []


# --- paused ---


def annotate(world: World, value: str | None) -> None:
    patch = {"metadata": {"annotations": {labels.PAUSED: value}}}
    world.store.patch(WORKSPACE, "phi", "default", patch)


def test_a_paused_workspace_buys_nothing_until_it_goes_on(world: World) -> None:
    world.apply()
    annotate(world, "true")
    world.settle()
    assert world.store.list(NODE_CLAIM).items == ()
    assert world.conditions()["Paused"]["status"] == "True"
    assert {"Paused", "FitDecided"} == set(world.events())
    annotate(world, None)
    world.settle()
    assert world.conditions()["WorkspaceSucceeded"]["status"] == "True"
    assert "Paused" not in world.conditions()


def test_a_machine_is_neither_ordered_nor_replaced_while_its_workspace_is_paused(
    world: World,
) -> None:
    world.apply()
    for _ in range(2):
        run(reconcile_workspace(world.ports, "default", "phi"))
    (claim,) = world.store.list(NODE_CLAIM).items
    annotate(world, "true")
    ended = outcome(reconcile_machine(world.ports, name_of(claim)))
    assert ended == Outcome(again_after_s=60.0)
    assert world.cloud.orders == []
    annotate(world, None)
    world.settle()
    (order,) = world.cloud.orders
    annotate(world, "true")
    del world.cloud.machines[order.name]
    world.settle()
    assert [order] == world.cloud.orders, "what the cloud took away is not replaced"
    assert world.cloud.machines == {}
    annotate(world, "false")
    world.settle()
    assert len(world.cloud.machines) == 1


def test_a_paused_workspace_can_be_deleted(world: World) -> None:
    world.apply()
    world.settle()
    annotate(world, "true")
    world.settle()
    world.store.delete(WORKSPACE, "phi", "default")
    for _ in range(10):
        for begin in world.rounds():
            run(begin())
        world.clock.seconds += 60
    for resource in (WORKSPACE, NODE_CLAIM):
        assert world.store.list(resource).items == ()
    assert world.cloud.machines == {}


# --- when calls fail ---


@pytest.mark.parametrize(
    ("error", "kind", "again_after_s"),
    [
        (ObjectConflict("changed"), Conflict, None),
        (ServerUnavailable("busy", retry_after_s=9), Unavailable, 9),
        (ServerUnavailable("lost"), Unavailable, None),
        (Forbidden("no"), Rejected, None),
    ],
)
def test_a_call_that_fails_ends_the_round_before_anything_is_bought(
    world: World, error: Exception, kind: type[PortError], again_after_s: float | None
) -> None:
    world.apply()
    run(reconcile_workspace(world.ports, "default", "phi"))  # the finalizer
    world.store.error = error
    ended = outcome(reconcile_workspace(world.ports, "default", "phi"))
    assert ended.failed
    assert type(ended.error) is kind
    assert ended.again_after_s == again_after_s
    assert world.store.list(NODE_CLAIM).items == ()
    run(reconcile_workspace(world.ports, "default", "phi"))
    (claim,) = world.store.list(NODE_CLAIM).items
    world.store.error = error
    ended = outcome(reconcile_machine(world.ports, name_of(claim)))
    assert type(ended.error) is kind
    assert world.cloud.orders == [], "the fence failed"
    world.settle()
    assert len(world.cloud.orders) == 1


def test_a_refused_write_reaches_the_user_and_is_tried_again(world: World) -> None:
    world.store.sealed = NODE_CLAIM
    world.apply()
    for _ in range(3):
        ended = outcome(reconcile_workspace(world.ports, "default", "phi"))
    assert type(ended.error) is Rejected
    found = world.conditions()["WorkspaceSucceeded"]
    assert (found["status"], found["reason"]) == ("False", "WriteRejected")
    assert "nodeclaims are forbidden" in found["message"]
    assert world.events().count("WriteRejected") == 1
    world.store.sealed = None
    world.settle()
    assert world.conditions()["WorkspaceSucceeded"]["status"] == "True"


def test_a_history_that_is_refused_is_told_and_the_model_is_served(world: World) -> None:
    world.store.sealed = CONTROLLER_REVISION
    world.apply()
    for _ in range(10):
        for begin in world.rounds():
            run(begin())
        world.play_the_cluster()
    assert world.conditions()["WorkspaceSucceeded"]["status"] == "True"
    assert world.events().count("RevisionRejected") == 1
    told = [each["message"] for each in world.store.list(EVENT).items]
    assert any("controllerrevisions are forbidden" in message for message in told)
    world.store.sealed = None
    world.settle()
    assert [one["revision"] for one in world.store.list(CONTROLLER_REVISION).items] == [1]


def test_a_spec_that_cannot_be_carried_out_is_not_kept(world: World) -> None:
    world.apply(instance_type="Standard_Nothing")
    for _ in range(3):
        run(reconcile_workspace(world.ports, "default", "phi"))
    assert world.conditions()["WorkspaceSucceeded"]["reason"] == "InvalidSpec"
    assert world.store.list(CONTROLLER_REVISION).items == ()


def test_a_change_is_one_write_to_the_history_and_no_change_is_none(world: World) -> None:
    def written() -> list[tuple[int, str]]:
        found = world.store.list(CONTROLLER_REVISION).items
        return sorted((one["revision"], one["metadata"]["resourceVersion"]) for one in found)

    world.apply()
    world.settle()
    (first,) = written()
    changed = {"inference": {"preset": {"presetOptions": {"modelAccessSecret": "token"}}}}
    world.store.patch(WORKSPACE, "phi", "default", changed)
    world.settle()
    assert first in written()
    assert [number for number, _ in written()] == [1, 2]
    world.store.patch(WORKSPACE, "phi", "default", {"metadata": {"labels": {"team": "a"}}})
    before, world.calls[:] = written(), []
    world.settle()
    run(reconcile_workspace(world.counted(), "default", "phi"))
    assert written() == before
    assert world.calls == ["read_workspace", "observe", "compare"]


@pytest.mark.parametrize(
    ("error", "reason", "blocked"),
    [
        (CapacityUnavailable("sold out"), "InsufficientCapacity", "workspacePending"),
        (QuotaExceeded("0 cores left"), "QuotaExceeded", "QuotaExceeded"),
        (Rejected("no such size"), "LaunchRejected", "MachineRejected"),
    ],
)
def test_a_refused_order_reaches_the_user_and_is_tried_again(
    world: World, error: PortError, reason: str, blocked: str
) -> None:
    world.apply()
    world.cloud.refusals = [error]
    for _ in range(2):
        run(reconcile_workspace(world.ports, "default", "phi"))
    (claim,) = world.store.list(NODE_CLAIM).items
    ended = outcome(reconcile_machine(world.ports, name_of(claim)))
    assert not ended.failed
    assert ended.again_after_s is not None
    launched = world.conditions(NODE_CLAIM, name_of(claim))["Launched"]
    assert (launched["status"], launched["reason"]) == ("False", reason)
    assert str(error) in launched["message"]
    run(reconcile_workspace(world.ports, "default", "phi"))
    found = world.conditions()["WorkspaceSucceeded"]
    assert found["reason"] == blocked
    assert str(error) in found["message"]
    assert reason in world.events()
    world.settle()
    assert world.conditions()["WorkspaceSucceeded"]["status"] == "True"
    assert [order.claim_name for order in world.cloud.orders] == [name_of(claim)]
    assert world.cloud.orders[0].name != name_of(claim), "another attempt has another name"


def test_an_order_of_unknown_outcome_is_repeated_under_its_name(world: World) -> None:
    world.apply()
    world.cloud.refusals = [Unavailable("time-out"), Unavailable("time-out")]
    world.settle()
    (order,) = world.cloud.orders
    assert order.name == order.claim_name, "still the first attempt"


def test_a_node_gets_the_labels_that_it_lacks(world: World) -> None:
    world.apply()
    world.settle()
    (node,) = world.store.list(NODE).items
    world.store.patch(NODE, name_of(node), None, {"metadata": {"labels": {"apps": None}}})
    world.settle()
    (again,) = world.store.list(NODE).items
    assert again["metadata"]["labels"]["apps"] == "phi"


def test_a_record_for_nobody_is_released_before_it_is_ordered(world: World) -> None:
    world.store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    name = machine_spec().name
    assert not outcome(reconcile_machine(world.ports, name)).failed
    assert "deletionTimestamp" in world.store.get(NODE_CLAIM, name)["metadata"]
    assert world.cloud.orders == []


# --- drained before it is given back ---


def on_the_machine(world: World, *names: str, **metadata: Any) -> str:
    """Pods of somebody else on the Workspace's machine, whose record is deleted; its name."""
    world.apply()
    world.settle()
    (claim,) = world.store.list(NODE_CLAIM).items
    for name in names:
        spec = {
            "nodeName": claim["status"]["nodeName"],
            "containers": [{"name": "web", "image": "registry.test/web:1"}],
        }
        meta = {"name": name, "namespace": "default", **metadata}
        world.store.create(POD, {"metadata": meta, "spec": spec})
    world.store.delete(NODE_CLAIM, name_of(claim))
    return name_of(claim)


def leaving(world: World) -> list[str]:
    return [
        name_of(pod)
        for pod in world.store.list(POD).items
        if "deletionTimestamp" in pod["metadata"]
    ]


def test_pods_leave_a_node_before_its_machine_does(world: World) -> None:
    name = on_the_machine(world, "web")
    outcome(reconcile_machine(world.ports, name))
    (node,) = world.store.list(NODE).items
    assert node["spec"]["taints"] == [{"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}]
    assert leaving(world) == ["web"]
    drained = world.conditions(NODE_CLAIM, name)["Drained"]
    assert (drained["status"], drained["reason"]) == ("Unknown", "Draining")
    assert "Draining" in world.events()
    before = world.store.resource_version
    world.clock.seconds += 30
    ended = outcome(reconcile_machine(world.ports, name))
    assert (ended.again_after_s, world.store.resource_version) == (DRAIN_RECHECK_S, before)
    assert len(world.cloud.machines) == 1
    world.store.delete(POD, "web", "default", grace_period_s=0)
    outcome(reconcile_machine(world.ports, name))
    assert world.cloud.machines == {}
    assert world.conditions(NODE_CLAIM, name)["Drained"]["status"] == "True"


def test_a_pod_that_may_not_leave_keeps_neither_the_others_nor_the_machine(world: World) -> None:
    name = on_the_machine(world, "a", "b", "c")
    world.store.guarded = {"a", "b"}
    outcome(reconcile_machine(world.ports, name))
    assert leaving(world) == ["c"]
    world.store.delete(POD, "c", "default", grace_period_s=0)
    world.store.guarded = {"b"}
    world.clock.seconds += 30
    outcome(reconcile_machine(world.ports, name))
    assert leaving(world) == ["a"]
    world.clock.seconds += world.ports.limits.drain_s
    outcome(reconcile_machine(world.ports, name))
    assert world.cloud.machines == {}
    drained = world.conditions(NODE_CLAIM, name)["Drained"]
    assert (drained["status"], drained["reason"]) == ("False", "DrainTimeout")
    assert "default/a, default/b are still there" in drained["message"]


def test_the_pods_of_a_deleted_workspace_hold_nothing_up(world: World) -> None:
    name = on_the_machine(world, "phi-0", labels={labels.WORKSPACE: "phi"})
    world.store.delete(WORKSPACE, "phi", "default")
    outcome(reconcile_machine(world.ports, name))
    assert world.cloud.machines == {}
    assert leaving(world) == []
    (node,) = world.store.list(NODE).items
    assert "taints" not in node["spec"]


# --- orphans ---


def orphaned(world: World, slot: int) -> CloudMachine:
    found = cloud_machine(machine(machine_spec(slot)), created_at_s=NOW_S - ORPHAN_GRACE_S - 1)
    world.cloud.machines[found.name] = found
    return found


def test_machines_that_nobody_stands_for_are_given_back(world: World) -> None:
    world.apply()
    world.settle()
    kept = set(world.cloud.machines)
    orphaned(world, 5)
    ended = outcome(collect_orphans(world.ports, every_s=120.0))
    assert ended == Outcome(again_after_s=120.0)
    assert set(world.cloud.machines) == kept


def test_a_machine_that_kaito_recorded_is_no_orphan(world: World) -> None:
    """Nobody has adopted it yet, and perhaps nobody ever will."""
    there = orphaned(world, 5)
    claim = to_node_claim(machine_spec(5))
    claim["metadata"]["name"] = there.claim_name
    for key in (labels.WORKSPACE_UID, labels.SLOT):
        del claim["metadata"]["labels"][key]
    world.store.create(NODE_CLAIM, claim)
    outcome(collect_orphans(world.ports, every_s=120.0))
    assert set(world.cloud.machines) == {there.name}
    assert "deletionTimestamp" not in world.store.get(NODE_CLAIM, there.claim_name)["metadata"]


def test_a_record_that_the_cache_has_not_seen_yet_keeps_its_machine(world: World) -> None:
    class Behind(KubeMachineStore):
        def claim_names(self) -> Collection[str]:
            return ()

    there, gone = orphaned(world, 5), orphaned(world, 6)
    claim = to_node_claim(machine_spec(5))
    claim["metadata"]["name"] = there.claim_name
    world.store.create(NODE_CLAIM, claim)
    ports = replace(world.ports, machines=Behind(world.store, world.clock, live=world.store))
    outcome(collect_orphans(ports, every_s=120.0))
    assert set(world.cloud.machines) == {there.name}, f"not {gone.name}"


def test_a_machine_that_was_just_made_and_one_that_is_stopped(world: World) -> None:
    """The one may still get its record, and nobody has one for the other."""
    new = replace(orphaned(world, 5), created_at_s=NOW_S)
    world.cloud.machines[new.name] = new
    stopped = orphaned(world, 6)
    world.cloud.machines[stopped.name] = replace(stopped, state=CloudState.STOPPED)
    outcome(collect_orphans(world.ports, every_s=120.0))
    assert set(world.cloud.machines) == {new.name}


def test_one_orphan_that_stays_does_not_keep_the_others(world: World) -> None:
    names = [orphaned(world, slot).name for slot in range(3)]
    stuck = min(names)
    world.cloud.stuck = {stuck}
    assert outcome(collect_orphans(world.ports, every_s=120.0)) == Outcome(again_after_s=120.0)
    assert set(world.cloud.machines) == {stuck}


def test_an_orphan_that_the_cloud_keeps_is_the_round_s_error(world: World) -> None:
    names = [orphaned(world, slot).name for slot in range(3)]
    locked = min(names)
    world.cloud.locked = {locked}
    ended = outcome(collect_orphans(world.ports, every_s=120.0))
    assert ended.again_after_s == 120.0
    assert str(ended.error) == f"{locked} is locked"
    assert set(world.cloud.machines) == {locked}


def test_a_machine_that_the_cloud_keeps_is_told(world: World) -> None:
    world.apply()
    world.settle()
    (claim,) = world.store.list(NODE_CLAIM).items
    world.cloud.locked = {name_of(claim)}
    world.store.delete(NODE_CLAIM, name_of(claim))
    for _ in range(3):
        ended = outcome(reconcile_machine(world.ports, name_of(claim)))
    assert type(ended.error) is Rejected
    (told,) = [each for each in world.store.list(EVENT).items if each["reason"] == "NotGivenBack"]
    assert told["message"] == f"{name_of(claim)} cannot be given back: {name_of(claim)} is locked"
    assert told["count"] == 3
    world.cloud.locked.clear()
    run(reconcile_machine(world.ports, name_of(claim)))
    assert name_of(claim) not in world.cloud.machines


def test_what_is_given_back_in_case_holds_nothing_up(world: World) -> None:
    world.apply()
    run(reconcile_workspace(world.ports, "default", "phi"))
    run(reconcile_workspace(world.ports, "default", "phi"))
    (claim,) = world.store.list(NODE_CLAIM).items
    world.cloud.refusals = [QuotaExceeded("no quota")]
    world.cloud.locked = {name_of(claim)}
    run(reconcile_machine(world.ports, name_of(claim)))
    world.clock.seconds += 40.0
    assert not outcome(reconcile_machine(world.ports, name_of(claim))).failed
    (bought,) = world.cloud.machines
    assert bought != name_of(claim)


def test_records_of_a_workspace_that_is_gone_are_released(world: World) -> None:
    world.store.create(NODE_CLAIM, to_node_claim(machine_spec()))
    world.store.create(NODE_CLAIM, to_node_claim(machine_spec(1)))
    world.store.delete(NODE_CLAIM, machine_spec(1).name)
    before = world.store.get(NODE_CLAIM, machine_spec(1).name)
    outcome(collect_orphans(world.ports, every_s=120.0))
    assert "deletionTimestamp" in world.store.get(NODE_CLAIM, machine_spec().name)["metadata"]
    assert world.store.get(NODE_CLAIM, machine_spec(1).name) == before


def test_orphans_wait_while_the_cloud_cannot_be_asked(world: World) -> None:
    class Silent(ListedCloud):
        def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
            raise Unavailable("no answer")

    ports = replace(world.ports, cloud=Silent(world.clock))
    assert outcome(collect_orphans(ports, every_s=120.0)) == Outcome(again_after_s=120.0)


# --- decisions ---


def test_a_decision_is_made_again_only_when_its_basis_changed() -> None:
    decisions = Decisions(CATALOGUE)
    first = decisions.of(workspace(), None)
    assert decisions.of(workspace(), None) is first
    for changed, settings in (
        (workspace(generation=2), None),
        (workspace(annotations={"kaito.sh/runtime": "transformers"}), None),
        (workspace(), config()),
        (workspace(), config(content_hash="other")),
        (workspace(), config(problem="gone")),
    ):
        again = decisions.of(changed, settings)
        assert again is not first
        assert decisions.of(changed, settings) is again
    assert decisions.of(workspace(uid="other"), None) is not first
    known = decisions.of(workspace(), None)
    decisions.forget(workspace())
    decisions.forget(workspace())
    assert decisions.of(workspace(), None) is not known
    assert decisions.of(workspace(), None) == known


def test_decisions_that_nobody_asks_for_are_let_go() -> None:
    decisions = Decisions(CATALOGUE)
    refused = workspace(resource={"labelSelector": {}})  # decided fast

    def of(uid: str) -> object:
        metadata = refused.metadata.model_copy(update={"uid": uid})
        return decisions.of(refused.model_copy(update={"metadata": metadata}), None)

    first, second = of("first"), of("second")
    for _ in range(3):
        decisions.forget_unused()
        assert of("first") is first
    assert of("second") is not second
