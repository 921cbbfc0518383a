"""The contract of `MachineStore`: every statement of its docstrings, for every implementation."""

from dataclasses import replace

import pytest

from kaito.adapters.kube_api import NODE, NODE_CLAIM, POD, WORKSPACE, labels_of
from kaito.domain import labels
from kaito.domain.conditions import Condition
from kaito.domain.errors import Conflict, NotFound
from kaito.domain.machine import Attempt, Machine, Taint
from kaito.domain.machine_release import DISRUPTED
from kaito.domain.plan import Note, WriteMachine
from tests.contract.store_world import StoreWorld

NO_UID = "00000000-0000-0000-0000-000000000000"
RECORD = WriteMachine(
    attempt=Attempt(
        number=2,
        instance_type="Standard_NC6s_v3",
        started_at_s=1_767_225_600.0,
        not_before_s=1_767_225_570.0,
        zone="eastus-1",
    ),
    conditions=(
        Condition(
            type="Launched",
            status="True",
            reason="Launched",
            message="it is on its way",
            observed_generation=1,
            since_s=1_767_225_601.0,
        ),
    ),
    provider_id="test:///machine",
    node_name="node-a",
)
SOLD_OUT = Note(type="Warning", reason="InsufficientCapacity", message="sold out")


def release(world: StoreWorld, machine: Machine) -> None:
    """Take the record away, going round the code under test."""
    world.kube.api.delete(NODE_CLAIM, machine.claim_name)
    world.patch(NODE_CLAIM, machine.claim_name, {"metadata": {"finalizers": None}})


class ReadMachineContract:
    def test_nothing_there(self, world: StoreWorld) -> None:
        assert world.machines.read_machine(world.spec(world.workspace()).name) is None

    def test_what_is_read(self, world: StoreWorld) -> None:
        spec = world.spec(world.workspace(), slot=1)
        world.workspaces.create_machine(spec)
        machine = world.machines.read_machine(spec.name)
        stored = world.kube.get(NODE_CLAIM, spec.name)["metadata"]
        assert machine is not None
        assert machine.spec == spec
        assert (machine.claim_name, machine.uid) == (spec.name, stored["uid"])
        assert machine.version == stored["resourceVersion"]
        assert machine.attempt == Attempt()
        assert machine.conditions == ()
        assert not machine.deleting

    def test_somebody_elses_claim_is_none(self, world: StoreWorld) -> None:
        name = f"{world.namespace}-foreign"
        machine = world.machine(world.workspace())
        stored = world.kube.get(NODE_CLAIM, machine.claim_name)
        body = world.kube.body(NODE_CLAIM, name, spec=stored["spec"], labels={"team": "a"})
        world.kube.api.create(NODE_CLAIM, body)
        assert world.machines.read_machine(name) is None
        assert name not in [found.claim_name for found in world.machines.list_machines()]
        assert name in world.machines.claim_names(), "somebody's record it is all the same"
        world.kube.api.delete(NODE_CLAIM, name)

    def test_whether_there_is_a_record(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        assert world.machines.record_exists(machine.claim_name)
        world.machines.delete_record(machine.claim_name, machine.uid)
        assert world.machines.record_exists(machine.claim_name), "deleted, not gone"
        world.patch(NODE_CLAIM, machine.claim_name, {"metadata": {"finalizers": None}})
        assert not world.machines.record_exists(machine.claim_name)

    def test_list_is_complete_and_in_order(self, world: StoreWorld) -> None:
        first, second = world.workspace("first"), world.workspace("second")
        mine = [world.machine(first, 1), world.machine(second), world.machine(first, 0)]
        listed = world.machines.list_machines()
        names = [machine.claim_name for machine in listed]
        assert names == sorted(names)
        owners = {first.workspace.uid, second.workspace.uid}
        found = [machine for machine in listed if machine.spec.owner.uid in owners]
        assert found == sorted(mine, key=lambda machine: machine.claim_name)


class OwnerContract:
    def test_exists(self, world: StoreWorld) -> None:
        view = world.workspace(finalizers=["example.com/held"])
        uid = view.workspace.uid
        assert world.machines.workspace_exists(world.namespace, "phi", uid)
        world.kube.api.delete(WORKSPACE, "phi", world.namespace)
        assert world.machines.workspace_exists(world.namespace, "phi", uid), "deleted, not gone"
        world.patch(WORKSPACE, "phi", {"metadata": {"finalizers": None}})
        assert not world.machines.workspace_exists(world.namespace, "phi", uid)

    def test_another_of_the_same_name(self, world: StoreWorld) -> None:
        before = world.workspace().workspace.uid
        after = world.again().workspace.uid
        assert not world.machines.workspace_exists(world.namespace, "phi", before)
        assert world.machines.workspace_exists(world.namespace, "phi", after)


class NodeContract:
    def test_the_machines_own(self, world: StoreWorld) -> None:
        view = world.workspace()
        machines = [world.machine(view, slot) for slot in (0, 1)]
        provider_ids = [f"test:///{world.namespace}/{slot}" for slot in (0, 1)]
        nodes = [
            world.node(f"node-{slot}", machine.spec, provider_ids[slot])
            for slot, machine in enumerate(machines)
        ]
        for machine, provider_id, node in zip(machines, provider_ids, nodes, strict=True):
            found = world.machines.node_of(machine, provider_id)
            assert found is not None
            assert (found.name, found.provider_id) == (node, provider_id)
        assert world.machines.node_of(machines[0], f"test:///{world.namespace}/gone") is None

    def test_what_the_kubelet_says(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        provider_id = f"test:///{world.namespace}"
        name = world.node("node", machine.spec, provider_id)
        world.unready(name)
        found = world.machines.node_of(machine, provider_id)
        assert found is not None
        assert (found.ready, found.gpus) == (False, 0)
        amount = {labels.GPU_RESOURCE: "2"}
        ready = [{"type": "Ready", "status": "True", "reason": "Test"}]
        status = {"conditions": ready, "capacity": amount, "allocatable": amount}
        world.patch(NODE, name, {"status": status}, subresource="status")
        found = world.machines.node_of(machine, provider_id)
        assert found is not None
        assert (found.ready, found.gpus) == (True, 2)

    def test_label(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        name = world.node("node", machine.spec, f"test:///{world.namespace}")
        for _ in range(2):
            world.machines.label_node(name, (("example.com/a", "1"), ("apps", "other")))
        found = labels_of(world.kube.api.get(NODE, name))
        assert found == {**machine.spec.labels, "example.com/a": "1", "apps": "other"}

    def test_label_what_is_not_there(self, world: StoreWorld) -> None:
        with pytest.raises(NotFound):
            world.machines.label_node(f"{world.namespace}-gone", (("a", "1"),))


class DrainContract:
    def test_the_pods_on_a_node(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        name = world.node("node", machine.spec, f"test:///{world.namespace}")
        world.kube.pod("other", node=f"{world.namespace}-other")
        stored = [
            world.kube.pod("web", node=name, labels={labels.WORKSPACE: "phi"}),
            world.kube.pod("job", node=name),
        ]
        found = world.machines.pods_on(name)
        assert [(pod.name, pod.workspace, pod.deleting) for pod in found] == [
            ("job", "", False),
            ("web", "phi", False),
        ]
        assert {pod.uid for pod in found} == {one["metadata"]["uid"] for one in stored}
        assert {pod.namespace for pod in found} == {world.namespace}

    def test_a_taint_is_added_once(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        name = world.node("node", machine.spec, f"test:///{world.namespace}")
        other = {"key": "example.com/a", "value": "b", "effect": "NoSchedule"}
        world.patch(NODE, name, {"spec": {"taints": [other]}})
        valued = Taint(key="example.com/a", value="b", effect="PreferNoSchedule")
        for taint in (DISRUPTED, DISRUPTED, valued):
            world.machines.taint_node(name, taint)
        found = list(world.kube.api.get(NODE, name)["spec"]["taints"])
        for each in (
            other,
            {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"},
            other | {"effect": "PreferNoSchedule"},
        ):
            assert found.count(each) == 1, found
        with pytest.raises(NotFound):
            world.machines.taint_node(f"{world.namespace}-gone", DISRUPTED)

    def test_an_eviction(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        name = world.node("node", machine.spec, f"test:///{world.namespace}")
        world.kube.pod("web", node=name)
        (pod,) = world.machines.pods_on(name)
        world.machines.evict_pod(replace(pod, uid=NO_UID))
        assert world.machines.pods_on(name) == [pod], "it is another one"
        world.machines.evict_pod(pod)
        assert world.machines.pods_on(name) == [replace(pod, deleting=True)]
        world.kube.api.delete(POD, "web", world.namespace, grace_period_s=0)
        world.machines.evict_pod(pod)


class WriteMachineContract:
    def test_write(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        written = world.machines.write_machine(machine, RECORD)
        assert written == world.machines.read_machine(machine.claim_name)
        assert written.version != machine.version
        assert (written.attempt, written.conditions) == (RECORD.attempt, RECORD.conditions)
        assert (written.provider_id, written.node_name) == ("test:///machine", "node-a")
        assert (written.spec, written.uid) == (machine.spec, machine.uid)

    def test_a_record_replaces_the_one_before(self, world: StoreWorld) -> None:
        written = world.machines.write_machine(world.machine(world.workspace()), RECORD)
        blank = WriteMachine(attempt=Attempt(number=3), conditions=())
        after = world.machines.write_machine(written, blank)
        assert (after.attempt, after.conditions) == (Attempt(number=3), ())
        assert (after.provider_id, after.node_name) == ("", "")

    def test_the_same_record_comes_to_rest(self, world: StoreWorld) -> None:
        """The version may change once more, where the server notes anew who owns which field."""
        written = world.machines.write_machine(world.machine(world.workspace()), RECORD)
        again = world.machines.write_machine(written, RECORD)
        assert replace(again, version=written.version) == written
        assert world.machines.write_machine(again, RECORD) == again

    def test_a_stale_machine_fails_even_if_nothing_changes(self, world: StoreWorld) -> None:
        """It is the fence before an order and before a machine is given back."""
        stale = world.machines.write_machine(world.machine(world.workspace()), RECORD)
        world.touch(NODE_CLAIM, stale.claim_name)
        with pytest.raises(Conflict):
            world.machines.write_machine(stale, RECORD)
        with pytest.raises(Conflict):
            world.machines.write_machine(stale, replace(RECORD, attempt=Attempt(number=9)))
        current = world.machines.read_machine(stale.claim_name)
        assert current is not None
        assert current.attempt == RECORD.attempt

    def test_one_that_is_gone(self, world: StoreWorld) -> None:
        """To an API server it is not the one with this UID; either way: observe again."""
        machine = world.machine(world.workspace())
        release(world, machine)
        with pytest.raises((Conflict, NotFound)):
            world.machines.write_machine(machine, RECORD)

    def test_another_of_the_same_name(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        release(world, machine)
        world.workspaces.create_machine(machine.spec)
        with pytest.raises(Conflict):
            world.machines.write_machine(machine, RECORD)
        current = world.machines.read_machine(machine.claim_name)
        assert current is not None
        assert current.attempt == Attempt()


class ReleaseContract:
    def test_delete(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        for _ in range(2):
            world.machines.delete_record(machine.claim_name, machine.uid)
        left = world.machines.read_machine(machine.claim_name)
        assert left is not None, "it waits for its finalizer"
        assert left.deleting

    def test_delete_another_of_the_same_name(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        world.machines.delete_record(machine.claim_name, NO_UID)
        assert world.machines.read_machine(machine.claim_name) == machine

    def test_delete_what_is_gone(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        release(world, machine)
        world.machines.delete_record(machine.claim_name, machine.uid)

    def test_a_deleted_one_goes_without_its_finalizer(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        world.machines.delete_record(machine.claim_name, machine.uid)
        machine = self._read(world, machine.claim_name)
        world.machines.remove_machine_finalizer(machine)
        assert not world.kube.exists(NODE_CLAIM, machine.claim_name)
        world.machines.remove_machine_finalizer(machine)

    def test_others_finalizers_stay(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        both = ["example.com/held", labels.MACHINE_FINALIZER]
        world.patch(NODE_CLAIM, machine.claim_name, {"metadata": {"finalizers": both}})
        world.machines.remove_machine_finalizer(self._read(world, machine.claim_name))
        assert world.kube.get(NODE_CLAIM, machine.claim_name)["metadata"]["finalizers"] == [
            "example.com/held"
        ]

    def test_without_finalizer_a_no_op(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        world.patch(NODE_CLAIM, machine.claim_name, {"metadata": {"finalizers": None}})
        world.machines.remove_machine_finalizer(machine)
        world.machines.remove_machine_finalizer(self._read(world, machine.claim_name))

    def test_a_stale_machine_keeps_its_finalizer(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        world.touch(NODE_CLAIM, machine.claim_name)
        with pytest.raises(Conflict):
            world.machines.remove_machine_finalizer(machine)
        assert self._read(world, machine.claim_name).has_finalizer

    def test_another_of_the_same_name_keeps_its_finalizer(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        release(world, machine)
        world.workspaces.create_machine(machine.spec)
        world.machines.remove_machine_finalizer(machine)
        assert self._read(world, machine.claim_name).has_finalizer

    @staticmethod
    def _read(world: StoreWorld, claim_name: str) -> Machine:
        found = world.machines.read_machine(claim_name)
        assert found is not None
        return found


class NoteMachineContract:
    def test_an_event_is_counted(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        for _ in range(3):
            world.machines.note_machine(machine, SOLD_OUT)
        world.machines.note_machine(machine, replace(SOLD_OUT, message="still sold out"))
        assert world.events(machine.uid) == [
            ("Warning", "InsufficientCapacity", "sold out", 3),
            ("Warning", "InsufficientCapacity", "still sold out", 1),
        ]

    def test_on_what_has_changed_or_is_gone(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        world.touch(NODE_CLAIM, machine.claim_name)
        world.machines.note_machine(machine, SOLD_OUT)
        release(world, machine)
        world.machines.note_machine(machine, SOLD_OUT)
        assert [count for *_, count in world.events(machine.uid)] == [2]


class MachineStoreContract(
    ReadMachineContract,
    OwnerContract,
    NodeContract,
    DrainContract,
    WriteMachineContract,
    ReleaseContract,
    NoteMachineContract,
):
    """Has no Test prefix: runs only through its subclasses, which give a `world` fixture."""
