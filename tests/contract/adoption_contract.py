"""The contract of `WorkspaceStore` where KAITO v0.12 was there before."""

from dataclasses import replace

import pytest

from kaito.adapters.kube_api import (
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    annotations_of,
    labels_of,
    name_of,
    thaw,
)
from kaito.domain import labels
from kaito.domain.cluster_view import ConfigView, WorkloadState, WorkspaceView
from kaito.domain.errors import Conflict, NotFound
from kaito.domain.machine import NO_SLOT, Machine
from kaito.domain.workload import Workload
from kaito.domain.workspace_plan import machine_labels, owner_of
from tests.contract import kaito_v012 as kaito
from tests.contract.store_world import StoreWorld
from tests.unit.domain.builders import TRAINING

CONFIGURED = {
    "tuning": {**kaito.TUNING["tuning"], "config": "settings"},
}


def installed(world: StoreWorld, parts: object = None) -> WorkspaceView:
    """KAITO's Workspace."""
    chosen = kaito.SERVING if parts is None else parts
    assert isinstance(chosen, dict)
    world.kube.api.create(WORKSPACE, kaito.workspace(world.namespace, chosen))
    return world.view(kaito.NAME)


def stored(world: StoreWorld) -> KubeObject:
    return world.kube.get(WORKSPACE, kaito.NAME)


def claimed(world: StoreWorld, suffix: str = "") -> str:
    """KAITO's NodeClaim with its Node, ready; the claim's name."""
    name = f"{world.namespace}{suffix}"
    claim = world.kube.api.create(NODE_CLAIM, kaito.node_claim(stored(world), name))
    provider_id = f"azure:///{name}"
    node = world.kube.node(
        f"node{suffix}", spec={"providerID": provider_id}, labels=dict(labels_of(claim))
    )
    status = kaito.node_claim_status(name_of(node), provider_id)
    world.patch(NODE_CLAIM, name, {"status": status}, subresource="status")
    return name


def adoptable(world: StoreWorld, view: WorkspaceView) -> tuple[Machine, ...]:
    return world.workspaces.observe(view.workspace).adoptable


def slotted(view: WorkspaceView, machine: Machine, slot: int = 0) -> Machine:
    """The machine as the plan would have it adopted."""
    found = {**machine.spec.labels, **machine_labels(view, slot)}
    spec = replace(machine.spec, owner=owner_of(view), slot=slot, labels=found)
    return replace(machine, spec=spec)


def serving(world: StoreWorld, *, replicas: int = 1) -> tuple[WorkspaceView, Workload]:
    """KAITO's StatefulSet and Services, and the workload that kaito wants instead."""
    view = installed(world)
    for service in kaito.services(stored(world)):
        world.kube.api.create(SERVICE, service)
    world.kube.api.create(STATEFUL_SET, kaito.stateful_set(stored(world), replicas=replicas))
    return view, world.workload(view)


def objects(world: StoreWorld) -> list[KubeObject]:
    """Services and StatefulSet, without what their own controllers write."""
    names = ((SERVICE, ""), (SERVICE, "-headless"), (STATEFUL_SET, ""))
    found = []
    for kind, suffix in names:
        obj = thaw(world.kube.get(kind, f"{kaito.NAME}{suffix}"))
        obj.pop("status", None)
        for key in ("resourceVersion", "managedFields"):
            obj["metadata"].pop(key, None)
        found.append(obj)
    return found


class AdoptMachineContract:
    def test_it_is_observed_apart_with_its_node(self, world: StoreWorld) -> None:
        view = installed(world)
        name = claimed(world)
        seen = world.workspaces.observe(view.workspace)
        assert seen.machines == ()
        (machine,) = seen.adoptable
        assert (machine.claim_name, machine.spec.slot) == (name, NO_SLOT)
        assert machine.spec.owner == owner_of(view)
        assert machine.spec.instance_type == kaito.INSTANCE_TYPE
        assert machine.is_ready
        assert machine.has_finalizer
        assert machine.cloud_name == name
        assert [node.name for node in seen.nodes] == [machine.node_name]

    @pytest.mark.parametrize(
        "changed",
        [
            {labels.WORKSPACE: "other"},
            {labels.WORKSPACE_NAMESPACE: "other"},
            {labels.NODE_POOL: "default-phi-3"},
            {labels.WORKSPACE_UID: "00000000-0000-4000-8000-000000000000"},
        ],
        ids=["name", "namespace", "node pool", "uid"],
    )
    def test_somebody_elses_is_not(self, world: StoreWorld, changed: dict[str, str]) -> None:
        view = installed(world)
        world.patch(NODE_CLAIM, claimed(world), {"metadata": {"labels": changed}})
        seen = world.workspaces.observe(view.workspace)
        assert (seen.machines, seen.adoptable) == ((), ())

    def test_adopt(self, world: StoreWorld) -> None:
        view = installed(world)
        name = claimed(world)
        (before,) = adoptable(world, view)
        world.workspaces.adopt_machine(slotted(view, before))
        seen = world.workspaces.observe(view.workspace)
        assert seen.adoptable == ()
        (machine,) = seen.machines
        assert machine == replace(slotted(view, before), version=machine.version)
        assert machine == world.machines.read_machine(name)
        node = world.kube.api.get(NODE, machine.node_name)
        assert machine.spec.labels.items() <= labels_of(node).items()
        found = world.machines.node_of(machine, machine.provider_id)
        assert found is not None
        assert found.name == machine.node_name

    def test_a_stale_one_is_not_adopted(self, world: StoreWorld) -> None:
        view = installed(world)
        name = claimed(world)
        (stale,) = adoptable(world, view)
        world.touch(NODE_CLAIM, name)
        with pytest.raises(Conflict):
            world.workspaces.adopt_machine(slotted(view, stale))
        (current,) = adoptable(world, view)
        world.workspaces.adopt_machine(slotted(view, current))

    def test_one_whose_node_is_gone(self, world: StoreWorld) -> None:
        view = installed(world)
        claimed(world)
        (machine,) = adoptable(world, view)
        world.kube.api.delete(NODE, machine.node_name)
        world.workspaces.adopt_machine(slotted(view, machine))
        assert len(world.workspaces.observe(view.workspace).machines) == 1

    def test_one_that_is_gone(self, world: StoreWorld) -> None:
        view = installed(world)
        name = claimed(world)
        (machine,) = adoptable(world, view)
        world.patch(NODE_CLAIM, name, {"metadata": {"finalizers": None}})
        world.kube.api.delete(NODE_CLAIM, name)
        with pytest.raises((Conflict, NotFound)):
            world.workspaces.adopt_machine(slotted(view, machine))

    def test_one_that_has_no_finalizer_yet_gets_it(self, world: StoreWorld) -> None:
        """Without it, its record could go before its machine."""
        view = installed(world)
        name = claimed(world)
        world.patch(NODE_CLAIM, name, {"metadata": {"finalizers": ["example.com/held"]}})
        (machine,) = adoptable(world, view)
        world.workspaces.adopt_machine(slotted(view, machine))
        finalizers = world.kube.get(NODE_CLAIM, name)["metadata"]["finalizers"]
        assert finalizers == ["example.com/held", labels.MACHINE_FINALIZER]

    def test_one_that_is_being_released(self, world: StoreWorld) -> None:
        view = installed(world)
        name = claimed(world)
        world.patch(NODE_CLAIM, name, {"metadata": {"finalizers": ["example.com/held"]}})
        world.kube.api.delete(NODE_CLAIM, name)
        (machine,) = adoptable(world, view)
        assert machine.deleting
        world.workspaces.adopt_machine(slotted(view, machine))
        (found,) = world.workspaces.observe(view.workspace).machines
        assert found.deleting
        world.patch(NODE_CLAIM, name, {"metadata": {"finalizers": None}})


class AdoptWorkloadContract:
    def test_kaitos_pods_are_found(self, world: StoreWorld) -> None:
        view = installed(world)
        world.kube.pod(f"{kaito.NAME}-0", labels={labels.WORKSPACE: kaito.NAME})
        world.kube.pod("other-0", labels={labels.WORKSPACE: "other"})
        pods = world.workspaces.observe(view.workspace).pods
        assert [pod.name for pod in pods] == [f"{kaito.NAME}-0"]

    def test_what_kaito_made_is_the_same_before_and_after_adoption(self, world: StoreWorld) -> None:
        _, workload = serving(world, replicas=2)
        found = world.workspaces.compare(workload)
        assert (found.state, found.inherited, found.to_adopt) == (WorkloadState.SAME, True, True)
        assert (found.replicas, found.outdated) == (2, False)
        before = objects(world)
        world.workspaces.adopt_workload(workload)
        adopted = world.workspaces.compare(workload)
        assert (adopted.state, adopted.inherited) == (WorkloadState.SAME, True)
        assert not adopted.to_adopt
        *services, stateful_set = objects(world)
        assert services == before[:2]
        assert stateful_set["spec"] == before[2]["spec"]
        assert stateful_set["metadata"]["generation"] == before[2]["metadata"]["generation"]
        assert annotations_of(stateful_set)[kaito.REVISION] == "1"

    def test_repeating_it_writes_nothing(self, world: StoreWorld) -> None:
        _, workload = serving(world)
        world.workspaces.adopt_workload(workload)
        after = objects(world)
        world.workspaces.adopt_workload(workload)
        changed = replace(workload, arguments=(*workload.arguments, "--seed=1"))
        world.workspaces.adopt_workload(changed)
        for step in (False, True):
            world.workspaces.apply_workload(workload, replace=step)
        assert objects(world) == after

    def test_nothing_to_adopt(self, world: StoreWorld) -> None:
        view = installed(world)
        workload = world.workload(view)
        world.workspaces.adopt_workload(workload)
        assert world.workspaces.compare(workload).state is WorkloadState.MISSING
        world.workspaces.apply_workload(workload, replace=False)
        before = objects(world)
        world.workspaces.adopt_workload(workload)
        assert objects(world) == before

    def test_somebody_elses_is_not_adopted(self, world: StoreWorld) -> None:
        view = installed(world)
        foreign = world.kube.stateful_set(kaito.NAME)
        workload = world.workload(view)
        assert world.workspaces.compare(workload).taken == f"StatefulSet/{kaito.NAME}"
        world.workspaces.adopt_workload(workload)
        assert world.kube.get(STATEFUL_SET, kaito.NAME) == foreign

    def test_ours_that_lost_its_hash_is_put_right_and_not_adopted(self, world: StoreWorld) -> None:
        workload = world.workload(installed(world))
        world.workspaces.apply_workload(workload, replace=False)
        bare = {"metadata": {"annotations": {labels.TEMPLATE_HASH: None}}}
        world.patch(STATEFUL_SET, kaito.NAME, bare)
        found = world.workspaces.compare(workload)
        assert (found.state, found.inherited) == (WorkloadState.DIFFERENT, False)

    def test_another_spec_is_rolled_out_in_place(self, world: StoreWorld) -> None:
        _, workload = serving(world)
        world.workspaces.adopt_workload(workload)
        before = objects(world)
        changed = replace(workload, arguments=(*workload.arguments, "--seed=1"))
        found = world.workspaces.compare(changed)
        assert (found.state, found.inherited) == (WorkloadState.DIFFERENT, False)
        assert (found.must_replace, found.older_spec) == (False, True)
        world.workspaces.apply_workload(changed, replace=False)
        assert world.workspaces.compare(changed).state is WorkloadState.SAME
        after = objects(world)
        uids = [obj["metadata"]["uid"] for obj in before]
        assert [obj["metadata"]["uid"] for obj in after] == uids
        front = after[0]["spec"]
        assert front["selector"] == {labels.WORKSPACE: kaito.NAME}
        assert not front.get("publishNotReadyAddresses", False)
        # What was asked for first is now a change like any other.
        assert world.workspaces.compare(workload).state is WorkloadState.DIFFERENT

    def test_its_pods_keep_the_labels_that_it_selects_them_by(self, world: StoreWorld) -> None:
        """A Workspace of an InferenceSet has one label more."""
        view = installed(world)
        made_by = {"inferenceset.kaito.sh/created-by": "many"}
        body = kaito.stateful_set(stored(world))
        body["spec"]["selector"]["matchLabels"] |= made_by
        body["spec"]["template"]["metadata"]["labels"] |= made_by
        world.kube.api.create(STATEFUL_SET, body)
        workload = world.workload(view)
        world.workspaces.adopt_workload(workload)
        changed = replace(workload, arguments=(*workload.arguments, "--seed=1"))
        world.workspaces.apply_workload(changed, replace=False)
        template = world.kube.get(STATEFUL_SET, kaito.NAME)["spec"]["template"]
        assert made_by.items() <= template["metadata"]["labels"].items()
        assert world.workspaces.compare(changed).state is WorkloadState.SAME

    def test_a_service_that_is_missing_is_created(self, world: StoreWorld) -> None:
        _, workload = serving(world)
        world.workspaces.adopt_workload(workload)
        kept = objects(world)[1:]
        world.kube.api.delete(SERVICE, kaito.NAME, world.namespace)
        found = world.workspaces.compare(workload)
        assert found.differences == (f"Service/{kaito.NAME}",)
        assert (found.state, found.inherited) == (WorkloadState.DIFFERENT, True)
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME
        assert objects(world)[1:] == kept

    def test_a_job_stands_for_its_generation_and_config(self, world: StoreWorld) -> None:
        view = installed(world, CONFIGURED)
        old, new = (
            world.workload(view, ConfigView(name="settings", content_hash=text, values=TRAINING))
            for text in ("aaaa", "bbbb")
        )
        world.kube.api.create(JOB, kaito.job(stored(world)))
        assert world.workspaces.compare(old).to_adopt
        before = world.kube.get(JOB, kaito.NAME)
        world.workspaces.adopt_workload(old)
        found = world.workspaces.compare(old)
        assert (found.state, found.inherited, found.to_adopt) == (WorkloadState.SAME, True, False)
        assert world.kube.get(JOB, kaito.NAME)["spec"] == before["spec"]
        found = world.workspaces.compare(new)
        assert (found.older_spec, found.older_config, found.must_replace) == (False, True, True)
        found = world.workspaces.compare(replace(old, generation=9, image="registry.test/new:1"))
        assert (found.older_spec, found.older_config) == (True, False)
        found = world.workspaces.compare(replace(old, image="registry.test/new:1"))
        assert (found.state, found.outdated) == (WorkloadState.DIFFERENT, False)
        world.workspaces.apply_workload(new, replace=True)
        assert world.kube.collected(JOB, kaito.NAME)

    def test_a_job_is_run_again_on_wish(self, world: StoreWorld) -> None:
        view = installed(world, kaito.TUNING)
        workload = world.workload(view)
        world.kube.api.create(JOB, kaito.job(stored(world)))
        world.workspaces.adopt_workload(workload)
        assert world.workspaces.compare(workload).retry == ""
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME
        world.workspaces.apply_workload(workload, replace=True)
        assert world.kube.collected(JOB, kaito.NAME)

    def test_it_goes_with_its_workspace(self, world: StoreWorld) -> None:
        view, workload = serving(world)
        world.workspaces.adopt_workload(workload)
        assert world.workspaces.observe(view.workspace).has_workload
        world.workspaces.delete_workload(view.workspace)
        assert world.kube.collected(STATEFUL_SET, kaito.NAME)
        assert world.kube.names(POD) == []
