"""The contract of `WorkspaceStore`: every statement of its docstrings, for every implementation."""

from dataclasses import replace
from typing import Any

import pytest

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    JOB,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    Resource,
    thaw,
)
from kaito.domain import labels
from kaito.domain.cluster_view import ConfigView, WorkloadState
from kaito.domain.conditions import Condition
from kaito.domain.errors import Conflict, NotFound, Rejected
from kaito.domain.plan import Note
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workload import Workload
from tests.contract.adoption_contract import AdoptMachineContract, AdoptWorkloadContract
from tests.contract.pod_template_contract import PodTemplateContract
from tests.contract.revision_contract import RevisionContract
from tests.contract.store_world import SPREAD, TUNING, StoreWorld
from tests.contract.weights_volume_contract import WeightsVolumeContract

STATUS = WorkspaceStatus(
    conditions=(
        Condition(
            type="ResourceReady",
            status="False",
            reason="NodeClaimNotReady",
            message="0 of 1 ready",
            observed_generation=1,
            since_s=1_767_225_600.0,
        ),
    ),
    worker_nodes=("node-a", "node-b"),
    target_node_count=2,
    state="Pending",
)
GENTLE = Note(type="Normal", reason="FitDecided", message="one machine will do")
PARTS = ((STATEFUL_SET, "phi"), (SERVICE, "phi"), (SERVICE, "phi-headless"))


def versions(world: StoreWorld) -> list[str]:
    """The version of every part of the workload."""
    return [world.kube.get(kind, name)["metadata"]["resourceVersion"] for kind, name in PARTS]


class ReadContract:
    def test_nothing_there(self, world: StoreWorld) -> None:
        assert world.workspaces.read_workspace(world.namespace, "phi") is None

    def test_what_is_read(self, world: StoreWorld) -> None:
        view = world.workspace(annotations={"example.com/a": "1"})
        stored = world.kube.get(WORKSPACE, "phi")
        assert view.workspace.name == "phi"
        assert view.workspace.namespace == world.namespace
        assert view.workspace.uid == stored["metadata"]["uid"]
        assert view.workspace.annotation("example.com/a") == "1"
        assert view.version == stored["metadata"]["resourceVersion"]
        assert view.problems == ()
        assert view.status == WorkspaceStatus()
        assert not view.workspace.is_deleting

    def test_one_that_is_being_deleted_is_still_read(self, world: StoreWorld) -> None:
        world.workspace(finalizers=["example.com/held"])
        world.kube.api.delete(WORKSPACE, "phi", world.namespace)
        assert world.view().workspace.is_deleting
        world.patch(WORKSPACE, "phi", {"metadata": {"finalizers": None}})

    def test_one_that_does_not_parse_has_problems(self, world: StoreWorld) -> None:
        if not world.stores_anything:
            pytest.skip("this cluster stores no Workspace that does not parse")
        world.store("phi", {"resource": {"instanceTyp": "typo", "labelSelector": {}}})
        view = world.view()
        assert [problem.field for problem in view.problems] == ["resource.instanceTyp"]
        assert view.workspace.uid == world.kube.get(WORKSPACE, "phi")["metadata"]["uid"]


class ObserveContract:
    def test_nothing_yet(self, world: StoreWorld) -> None:
        view = world.workspace()
        seen = world.workspaces.observe(view.workspace)
        assert (seen.machines, seen.nodes, seen.pods) == ((), (), ())
        assert not seen.has_workload
        assert seen.config is None

    def test_machines_are_the_workspaces_own(self, world: StoreWorld) -> None:
        """The user's labels are the same, and so is the name of an earlier Workspace."""
        before = world.workspace()
        world.machine(before)
        view = world.again()
        other = world.workspace("other")
        world.machine(other)
        mine = [world.machine(view, slot) for slot in (1, 0)]
        seen = world.workspaces.observe(view.workspace).machines
        assert list(seen) == sorted(mine, key=lambda machine: machine.claim_name)

    def test_nodes_are_the_workspaces_own_in_order(self, world: StoreWorld) -> None:
        view, other = world.workspace(), world.workspace("other")
        world.node("other", world.spec(other), "test:///other")
        names = [world.node(name, world.spec(view), f"test:///{name}") for name in ("b", "a")]
        world.unready(names[0])
        seen = world.workspaces.observe(view.workspace).nodes
        assert [node.name for node in seen] == sorted(names)
        assert [node.provider_id for node in seen] == ["test:///a", "test:///b"]
        assert not any(node.ready for node in seen)

    def test_pods_in_order(self, world: StoreWorld) -> None:
        view = world.workspace()
        own = {labels.WORKSPACE: "phi", labels.WORKSPACE_NAMESPACE: world.namespace}
        for name, found in (("phi-1", own), ("phi-0", own), ("other", {"apps": "phi"})):
            world.kube.pod(name, labels=found)
        assert [pod.name for pod in world.workspaces.observe(view.workspace).pods] == [
            "phi-0",
            "phi-1",
        ]

    def test_a_workload_counts_until_it_goes(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.workspaces.apply_workload(world.workload(view), replace=False)
        assert world.workspaces.observe(view.workspace).has_workload
        world.patch(STATEFUL_SET, "phi", {"metadata": {"finalizers": ["example.com/held"]}})
        world.kube.api.delete(STATEFUL_SET, "phi", world.namespace)
        assert not world.workspaces.observe(view.workspace).has_workload
        world.patch(STATEFUL_SET, "phi", {"metadata": {"finalizers": None}})

    def test_somebody_elses_workload_does_not_count(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.kube.stateful_set("phi")
        assert not world.workspaces.observe(view.workspace).has_workload

    def test_the_config(self, world: StoreWorld) -> None:
        inference = {"preset": {"name": "phi-4-mini-instruct"}, "config": "settings"}
        view = world.workspace(parts={"inference": inference})

        def seen() -> ConfigView:
            found = world.workspaces.observe(view.workspace).config
            assert found is not None
            return found

        assert seen().missing
        assert seen().problem
        world.kube.config_map("settings", data={"other.yaml": "a: 1"})
        assert not seen().missing
        assert "inference_config.yaml" in seen().problem
        text = {"data": {"inference_config.yaml": "vllm:\n  max-model-len: 4096\n"}}
        world.patch(CONFIG_MAP, "settings", text)
        assert seen().problem == ""
        assert seen().values == {"vllm": {"max-model-len": 4096}}
        before = seen().content_hash
        world.patch(CONFIG_MAP, "settings", {"data": {"unrelated": "x"}})
        assert seen().content_hash == before
        world.patch(CONFIG_MAP, "settings", {"data": {"inference_config.yaml": "vllm: {}"}})
        assert seen().content_hash != before


class CompareContract:
    def test_missing_then_the_same(self, world: StoreWorld) -> None:
        """What the API server fills in is no difference."""
        workload = world.workload(world.workspace())
        assert world.workspaces.compare(workload).state is WorkloadState.MISSING
        world.workspaces.apply_workload(workload, replace=False)
        live = world.kube.get(STATEFUL_SET, "phi")
        assert live["spec"]["updateStrategy"], "the server fills in what is not set"
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.differences) == (WorkloadState.SAME, ())

    @pytest.mark.parametrize(
        ("kind", "name", "patch", "path"),
        [
            (STATEFUL_SET, "phi", {"spec": {"replicas": 3}}, "spec.replicas"),
            (SERVICE, "phi", {"spec": {"type": "NodePort"}}, "spec.type"),
            (
                SERVICE,
                "phi-headless",
                {"spec": {"publishNotReadyAddresses": False}},
                "spec.publishNotReadyAddresses",
            ),
            (
                STATEFUL_SET,
                "phi",
                {"metadata": {"labels": {labels.WORKSPACE: None}}},
                f"metadata.labels.{labels.WORKSPACE}",
            ),
        ],
    )
    def test_an_edit_by_hand(
        self, world: StoreWorld, kind: Resource, name: str, patch: Any, path: str
    ) -> None:
        workload = world.workload(world.workspace())
        world.workspaces.apply_workload(workload, replace=False)
        world.patch(kind, name, patch)
        seen = world.workspaces.compare(workload)
        assert seen.state is WorkloadState.DIFFERENT
        assert seen.differences == (f"{kind.kind}/{name} {path}",)
        assert not seen.must_replace
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME

    def test_an_edit_of_the_pod_template(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace())
        world.workspaces.apply_workload(workload, replace=False)
        live = thaw(world.kube.get(STATEFUL_SET, "phi"))
        live["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/other:1"
        world.kube.api.replace(STATEFUL_SET, live)
        assert world.workspaces.compare(workload).state is WorkloadState.DIFFERENT
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME

    def test_what_others_add_is_no_difference(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace())
        world.workspaces.apply_workload(workload, replace=False)
        for kind, name in PARTS:
            extra = {"labels": {"example.com/team": "a"}, "annotations": {"example.com/note": "b"}}
            world.patch(kind, name, {"metadata": extra})
        assert world.workspaces.compare(workload).state is WorkloadState.SAME

    def test_a_part_that_is_gone(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace())
        world.workspaces.apply_workload(workload, replace=False)
        world.kube.api.delete(SERVICE, "phi", world.namespace)
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.differences) == (WorkloadState.DIFFERENT, ("Service/phi",))

    def test_a_field_that_is_wanted_no_more(self, world: StoreWorld) -> None:
        """The hash of the template finds what a comparison of the wanted fields cannot."""
        workload = world.workload(world.workspace())
        more = replace(workload, access_secret="token", environment=(("EXTRA", "1"),))
        world.workspaces.apply_workload(more, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.DIFFERENT
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME
        (main,) = world.kube.get(STATEFUL_SET, "phi")["spec"]["template"]["spec"]["containers"]
        assert "EXTRA" not in [variable["name"] for variable in main.get("env") or ()]

    def test_new_content_of_the_config(self, world: StoreWorld) -> None:
        inference = {"preset": {"name": "phi-4-mini-instruct"}, "config": "settings"}
        view = world.workspace(parts={"inference": inference})
        old, new = (
            world.workload(view, ConfigView(name="settings", content_hash=text, values={}))
            for text in ("aaaa", "bbbb")
        )
        world.workspaces.apply_workload(old, replace=False)
        seen = world.workspaces.compare(new)
        assert seen.state is WorkloadState.DIFFERENT
        assert seen.older_config

    def test_one_that_is_on_its_way_out(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace())
        world.workspaces.apply_workload(workload, replace=False)
        world.patch(STATEFUL_SET, "phi", {"metadata": {"finalizers": ["example.com/held"]}})
        world.kube.api.delete(STATEFUL_SET, "phi", world.namespace)
        assert world.workspaces.compare(workload).state is WorkloadState.DELETING
        world.patch(STATEFUL_SET, "phi", {"metadata": {"finalizers": None}})
        assert world.workspaces.compare(workload).state is WorkloadState.MISSING

    def test_how_the_stateful_set_stands(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace())
        world.workspaces.apply_workload(workload, replace=False)
        assert not world.workspaces.compare(workload).settled
        generation = world.kube.get(STATEFUL_SET, "phi")["metadata"]["generation"]
        status = {
            "observedGeneration": generation,
            "replicas": 1,
            "updatedReplicas": 1,
            "readyReplicas": 1,
        }
        world.patch(STATEFUL_SET, "phi", {"status": status}, subresource="status")
        seen = world.workspaces.compare(workload)
        assert (seen.settled, seen.ready_replicas) == (True, 1)
        status = {"observedGeneration": generation - 1}
        world.patch(STATEFUL_SET, "phi", {"status": status}, subresource="status")
        assert not world.workspaces.compare(workload).settled

    @pytest.mark.parametrize(("kind", "name"), PARTS)
    def test_somebody_elses(self, world: StoreWorld, kind: Resource, name: str) -> None:
        workload = world.workload(world.workspace())
        foreign = self._foreign(world, kind, name)
        assert world.workspaces.compare(workload).taken == f"{kind.kind}/{name}"
        with pytest.raises(Rejected, match=name):
            world.workspaces.apply_workload(workload, replace=False)
        with pytest.raises(Rejected, match=name):
            world.workspaces.apply_workload(workload, replace=True)
        assert world.kube.get(kind, name) == foreign

    @staticmethod
    def _foreign(world: StoreWorld, kind: Resource, name: str) -> KubeObject:
        if kind is STATEFUL_SET:
            return world.kube.stateful_set(name)
        spec = {"selector": {"app": "mine"}, "ports": [{"port": 80}]}
        return world.kube.api.create(kind, world.kube.body(kind, name, spec=spec))


class ApplyContract:
    def test_repeating_it_writes_nothing(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace())
        for step in (False, True):
            world.workspaces.apply_workload(workload, replace=step)
            before = versions(world)
            world.workspaces.apply_workload(workload, replace=step)
            assert versions(world) == before

    def test_it_belongs_to_the_workspace(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.workspaces.apply_workload(world.workload(view), replace=False)
        for kind, name in PARTS:
            (owner,) = world.kube.get(kind, name)["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["uid"]) == ("Workspace", view.workspace.uid)
        world.kube.api.delete(WORKSPACE, "phi", world.namespace)
        for kind, name in PARTS:
            assert world.kube.collected(kind, name)

    def test_a_change_in_place_keeps_the_object(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace())
        world.workspaces.apply_workload(workload, replace=False)
        before = world.kube.get(STATEFUL_SET, "phi")
        changed = replace(workload, arguments=(*workload.arguments, "--seed=1"))
        world.workspaces.apply_workload(changed, replace=False)
        after = world.kube.get(STATEFUL_SET, "phi")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["metadata"]["generation"] == before["metadata"]["generation"] + 1
        assert "--seed=1" in after["spec"]["template"]["spec"]["containers"][0]["args"]
        assert world.workspaces.compare(changed).state is WorkloadState.SAME

    def test_a_job_that_must_be_replaced(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace(parts=TUNING))
        world.workspaces.apply_workload(workload, replace=False)
        assert world.workspaces.compare(workload).state is WorkloadState.SAME
        first = world.kube.get(JOB, "phi")["metadata"]["uid"]
        changed = replace(workload, image="registry.test/tuning:2")
        seen = world.workspaces.compare(changed)
        assert (seen.state, seen.must_replace) == (WorkloadState.DIFFERENT, True)
        with pytest.raises(Rejected):
            world.workspaces.apply_workload(changed, replace=False)
        world.workspaces.apply_workload(changed, replace=True)
        assert world.kube.collected(JOB, "phi")
        assert world.workspaces.compare(changed).state is WorkloadState.MISSING
        world.workspaces.apply_workload(changed, replace=True)
        assert world.workspaces.compare(changed).state is WorkloadState.SAME
        assert world.kube.get(JOB, "phi")["metadata"]["uid"] != first


class TuningContract:
    """A Job, and how often it is tried."""

    def job(self, world: StoreWorld, *, retries: int = 3, retry: str = "") -> Workload:
        """The workload of a tuning Workspace that is there, or made here."""
        parts = world.workspaces.read_workspace(world.namespace, "phi")
        found = world.workload(parts or world.workspace(parts=TUNING))
        assert found.tuning is not None
        return replace(found, tuning=replace(found.tuning, retries=retries, retry=retry))

    def test_how_it_is_tried_is_written_in_place(self, world: StoreWorld) -> None:
        world.workspaces.apply_workload(self.job(world), replace=False)
        before = world.kube.get(JOB, "phi")
        changed = self.job(world, retries=1, retry="again")
        seen = world.workspaces.compare(changed)
        assert (seen.state, seen.must_replace) == (WorkloadState.DIFFERENT, False)
        assert (seen.retries, seen.retry) == (3, "")
        world.workspaces.apply_workload(changed, replace=False)
        after = world.kube.get(JOB, "phi")
        assert after["metadata"]["uid"] == before["metadata"]["uid"]
        assert after["spec"] == {**before["spec"], "backoffLimit": 1}
        seen = world.workspaces.compare(changed)
        assert (seen.state, seen.retries, seen.retry) == (WorkloadState.SAME, 1, "again")

    def test_no_wish_is_no_difference(self, world: StoreWorld) -> None:
        world.workspaces.apply_workload(self.job(world, retry="again"), replace=False)
        assert world.workspaces.compare(self.job(world)).state is WorkloadState.SAME

    def test_a_wish_replaces_it_once(self, world: StoreWorld) -> None:
        world.workspaces.apply_workload(self.job(world), replace=False)
        first = world.kube.get(JOB, "phi")["metadata"]["uid"]
        again = self.job(world, retry="again")
        world.workspaces.apply_workload(again, replace=True)
        assert world.kube.collected(JOB, "phi")
        for _ in range(2):
            world.workspaces.apply_workload(again, replace=True)
        second = world.kube.get(JOB, "phi")["metadata"]["uid"]
        world.workspaces.apply_workload(again, replace=True)
        assert first != second == world.kube.get(JOB, "phi")["metadata"]["uid"]

    def test_its_failures_are_seen(self, world: StoreWorld) -> None:
        job = self.job(world)
        world.workspaces.apply_workload(job, replace=False)
        world.patch(JOB, "phi", {"status": {"failed": 2, "active": 1}}, subresource="status")
        seen = world.workspaces.compare(job)
        assert (seen.failed_pods, seen.retries, seen.active) == (2, 3, True)


class GroupContract:
    """A model that is spread over machines."""

    def test_it_is_taken_as_it_is(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace(parts=SPREAD))
        assert workload.group is not None
        world.workspaces.apply_workload(workload, replace=False)
        seen = world.workspaces.compare(workload)
        assert (seen.state, seen.differences) == (WorkloadState.SAME, ())
        assert seen.replicas == workload.replicas == workload.group.size

    def test_it_is_replaced_as_a_whole(self, world: StoreWorld) -> None:
        workload = world.workload(world.workspace(parts=SPREAD))
        world.workspaces.apply_workload(workload, replace=False)
        first = world.kube.get(STATEFUL_SET, "phi")["metadata"]["uid"]
        changed = replace(workload, arguments=(*workload.arguments, "--seed=1"))
        seen = world.workspaces.compare(changed)
        assert (seen.must_replace, seen.restarts_group) == (True, True)
        world.workspaces.apply_workload(changed, replace=True)
        assert world.kube.collected(STATEFUL_SET, "phi")
        assert world.workspaces.compare(changed).state is WorkloadState.MISSING
        world.workspaces.apply_workload(changed, replace=True)
        assert world.workspaces.compare(changed).state is WorkloadState.SAME
        assert world.kube.get(STATEFUL_SET, "phi")["metadata"]["uid"] != first


class DeleteWorkloadContract:
    def test_none_is_success(self, world: StoreWorld) -> None:
        world.workspaces.delete_workload(world.workspace().workspace)

    @pytest.mark.parametrize("parts", [None, TUNING], ids=["inference", "tuning"])
    def test_it_goes_with_its_pods(self, world: StoreWorld, parts: Any) -> None:
        view = world.workspace(parts=parts) if parts else world.workspace()
        world.workspaces.apply_workload(world.workload(view), replace=False)
        kind = JOB if parts else STATEFUL_SET
        live = world.kube.get(kind, "phi")
        owner = {
            "apiVersion": live["apiVersion"],
            "kind": live["kind"],
            "name": "phi",
            "uid": live["metadata"]["uid"],
        }
        world.kube.pod("phi-0", ownerReferences=[owner])
        world.workspaces.delete_workload(view.workspace)
        world.workspaces.delete_workload(view.workspace)
        assert world.kube.collected(kind, "phi")
        assert world.kube.collected(POD, "phi-0")

    def test_somebody_elses_stays(self, world: StoreWorld) -> None:
        view = world.workspace()
        foreign = world.kube.stateful_set("phi")
        world.workspaces.delete_workload(view.workspace)
        assert world.kube.get(STATEFUL_SET, "phi") == foreign

    def test_a_later_workspaces_stays(self, world: StoreWorld) -> None:
        before = world.workspace()
        view = world.again()
        world.workspaces.apply_workload(world.workload(view), replace=False)
        world.workspaces.delete_workload(before.workspace)
        assert world.kube.kept(STATEFUL_SET, "phi")


class FinalizerContract:
    def test_add(self, world: StoreWorld) -> None:
        view = world.workspace(finalizers=["example.com/held"])
        added = world.workspaces.add_finalizer(view)
        stored = world.kube.get(WORKSPACE, "phi")["metadata"]
        assert stored["finalizers"] == ["example.com/held", labels.WORKSPACE_FINALIZER]
        assert added == world.view()
        assert added.version == stored["resourceVersion"] != view.version

    def test_add_where_it_is(self, world: StoreWorld) -> None:
        view = world.workspaces.add_finalizer(world.workspace())
        assert world.workspaces.add_finalizer(view) == view
        assert world.kube.get(WORKSPACE, "phi")["metadata"]["finalizers"] == [
            labels.WORKSPACE_FINALIZER
        ]

    def test_add_to_what_has_changed(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.touch(WORKSPACE, "phi")
        with pytest.raises(Conflict):
            world.workspaces.add_finalizer(view)
        assert "finalizers" not in world.kube.get(WORKSPACE, "phi")["metadata"]

    def test_add_to_what_is_gone(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.kube.api.delete(WORKSPACE, "phi", world.namespace)
        with pytest.raises(NotFound):
            world.workspaces.add_finalizer(view)

    def test_remove(self, world: StoreWorld) -> None:
        view = world.workspaces.add_finalizer(world.workspace(finalizers=["example.com/held"]))
        world.workspaces.remove_finalizer(view)
        stored = world.kube.get(WORKSPACE, "phi")["metadata"]
        assert stored["finalizers"] == ["example.com/held"]

    def test_remove_lets_a_deleted_one_go(self, world: StoreWorld) -> None:
        world.workspaces.add_finalizer(world.workspace())
        world.kube.api.delete(WORKSPACE, "phi", world.namespace)
        view = world.view()
        world.workspaces.remove_finalizer(view)
        assert not world.kube.exists(WORKSPACE, "phi")
        world.workspaces.remove_finalizer(view)

    def test_remove_where_there_is_none(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.touch(WORKSPACE, "phi")
        world.workspaces.remove_finalizer(view)

    def test_remove_from_what_has_changed(self, world: StoreWorld) -> None:
        view = world.workspaces.add_finalizer(world.workspace())
        world.touch(WORKSPACE, "phi")
        with pytest.raises(Conflict):
            world.workspaces.remove_finalizer(view)
        assert world.kube.get(WORKSPACE, "phi")["metadata"]["finalizers"]


class StatusContract:
    def test_write(self, world: StoreWorld) -> None:
        view = world.workspace()
        written = world.workspaces.write_status(view, STATUS)
        assert written.status == STATUS
        assert written == world.view()
        stored = world.kube.get(WORKSPACE, "phi")
        assert stored["metadata"]["generation"] == view.workspace.metadata.generation
        assert stored["status"]["conditions"][0]["lastTransitionTime"] == "2026-01-01T00:00:00Z"

    def test_a_status_replaces_the_one_before(self, world: StoreWorld) -> None:
        first = world.workspaces.write_status(world.workspace(), STATUS)
        less = WorkspaceStatus(conditions=STATUS.conditions)
        assert world.workspaces.write_status(first, less).status == less

    def test_the_same_status_changes_nothing(self, world: StoreWorld) -> None:
        first = world.workspaces.write_status(world.workspace(), STATUS)
        assert world.workspaces.write_status(first, STATUS) == first

    def test_a_stale_view_fails_even_if_nothing_changes(self, world: StoreWorld) -> None:
        """It is the fence before anything is bought."""
        stale = world.workspaces.write_status(world.workspace(), STATUS)
        world.touch(WORKSPACE, "phi")
        with pytest.raises(Conflict):
            world.workspaces.write_status(stale, stale.status)
        assert world.workspaces.write_status(world.view(), STATUS).status == STATUS

    def test_another_workspace_of_the_same_name(self, world: StoreWorld) -> None:
        before = world.workspace()
        world.again()
        with pytest.raises(Conflict):
            world.workspaces.write_status(before, STATUS)
        assert world.view().status == WorkspaceStatus()

    def test_one_that_is_gone(self, world: StoreWorld) -> None:
        """To an API server it is not the one with this UID; either way: observe again."""
        view = world.workspace()
        world.kube.api.delete(WORKSPACE, "phi", world.namespace)
        with pytest.raises((Conflict, NotFound)):
            world.workspaces.write_status(view, STATUS)


class MachineRecordContract:
    def test_create(self, world: StoreWorld) -> None:
        view = world.workspace()
        spec = world.spec(view)
        world.workspaces.create_machine(spec)
        found = world.machines.read_machine(spec.name)
        assert found is not None
        assert found.spec == spec
        assert found.has_finalizer, "the machine is released before its record goes"
        assert world.claims_of(view.workspace.uid) == [spec.name]

    def test_create_twice(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.workspaces.create_machine(world.spec(view))
        before = world.kube.get(NODE_CLAIM, world.spec(view).name)
        world.workspaces.create_machine(world.spec(view))
        world.workspaces.create_machine(replace(world.spec(view), instance_type="another"))
        assert world.kube.get(NODE_CLAIM, world.spec(view).name) == before
        assert len(world.claims_of(view.workspace.uid)) == 1

    def test_create_what_cannot_be(self, world: StoreWorld) -> None:
        view = world.workspace()
        spec = world.spec(view)
        with pytest.raises(Rejected):
            world.workspaces.create_machine(replace(spec, labels={**spec.labels, "a b": "c"}))
        assert world.claims_of(view.workspace.uid) == []

    def test_delete(self, world: StoreWorld) -> None:
        view = world.workspace()
        machine = world.machine(view)
        world.workspaces.delete_machine(machine.claim_name, machine.uid)
        world.workspaces.delete_machine(machine.claim_name, machine.uid)
        left = world.machines.read_machine(machine.claim_name)
        assert left is not None, "it waits for its finalizer"
        assert left.deleting

    def test_delete_another_of_the_same_name(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        other = "00000000-0000-0000-0000-000000000000"
        world.workspaces.delete_machine(machine.claim_name, other)
        assert world.machines.read_machine(machine.claim_name) == machine

    def test_delete_what_is_gone(self, world: StoreWorld) -> None:
        spec = world.spec(world.workspace())
        world.workspaces.delete_machine(spec.name, "00000000-0000-0000-0000-000000000000")

    def test_a_wish_to_retry(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        for wish in ("1", "1", "2"):
            world.workspaces.retry_machine(machine.claim_name, machine.uid, wish)
            found = world.machines.read_machine(machine.claim_name)
            assert found is not None
            assert found.spec.retry == wish
        world.workspaces.retry_machine(machine.claim_name, machine.uid, "")
        found = world.machines.read_machine(machine.claim_name)
        assert found is not None
        assert found.spec.retry == ""

    def test_a_wish_to_retry_another_of_the_same_name(self, world: StoreWorld) -> None:
        machine = world.machine(world.workspace())
        other = "00000000-0000-0000-0000-000000000000"
        world.workspaces.retry_machine(machine.claim_name, other, "1")
        world.workspaces.retry_machine("ws000000000", other, "1")
        assert world.machines.read_machine(machine.claim_name) == machine


class NoteContract:
    def test_an_event_is_counted(self, world: StoreWorld) -> None:
        view = world.workspace()
        for _ in range(3):
            world.workspaces.note(view, GENTLE)
        uid = view.workspace.uid
        assert world.events(uid) == [("Normal", "FitDecided", "one machine will do", 3)]

    def test_another_message_is_another_event(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.workspaces.note(view, GENTLE)
        world.workspaces.note(view, replace(GENTLE, message="two machines will do"))
        world.workspaces.note(view, replace(GENTLE, type="Warning"))
        assert [count for *_, count in world.events(view.workspace.uid)] == [1, 1, 1]

    def test_another_workspace_of_the_same_name(self, world: StoreWorld) -> None:
        before = world.workspace()
        world.workspaces.note(before, GENTLE)
        after = world.again()
        world.workspaces.note(after, GENTLE)
        assert [count for *_, count in world.events(after.workspace.uid)] == [1]

    def test_on_what_has_changed_or_is_gone(self, world: StoreWorld) -> None:
        view = world.workspace()
        world.touch(WORKSPACE, "phi")
        world.workspaces.note(view, GENTLE)
        world.kube.api.delete(WORKSPACE, "phi", world.namespace)
        world.workspaces.note(view, GENTLE)
        assert [count for *_, count in world.events(view.workspace.uid)] == [2]


class WorkspaceStoreContract(
    ReadContract,
    ObserveContract,
    CompareContract,
    ApplyContract,
    TuningContract,
    GroupContract,
    DeleteWorkloadContract,
    FinalizerContract,
    StatusContract,
    MachineRecordContract,
    AdoptMachineContract,
    AdoptWorkloadContract,
    RevisionContract,
    PodTemplateContract,
    WeightsVolumeContract,
    NoteContract,
):
    """Has no Test prefix: runs only through its subclasses, which give a `world` fixture."""
