"""What `MachineMirror` makes of NodeClaims, on any Kubernetes API that serves Machines."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from kaito.adapters.k8s.machine_mirror import MachineMirror
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.k8s.runner import drain
from kaito.adapters.kube_api import (
    MACHINE,
    NODE,
    NODE_CLAIM,
    KubeObject,
    annotations_of,
    condition_of,
    labels_of,
    name_of,
    thaw,
)
from kaito.domain import labels
from kaito.domain.machine import MachineSpec, Owner
from tests.contract.kube_api_world import World

LAUNCHED = {
    "type": "Launched",
    "status": "True",
    "reason": "Launched",
    "message": "",
    "observedGeneration": 1,
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
SOLD_OUT = LAUNCHED | {"status": "False", "reason": "InsufficientCapacity", "message": "none left"}


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorWorld:
    """A mirror on the cluster that `kube` reaches by another way."""

    kube: World
    mirror: MachineMirror
    numbers: Iterator[int] = field(default_factory=count)

    def uid(self) -> str:
        """One that nothing has."""
        return str(uuid5(NAMESPACE_URL, f"{self.kube.namespace}/{next(self.numbers)}"))

    def claim(self) -> KubeObject:
        """A NodeClaim of kaito's, of a Workspace of its own."""
        owner = Owner(uid=self.uid(), namespace=self.kube.namespace, name="phi")
        spec = MachineSpec(
            owner=owner,
            slot=0,
            instance_type="Standard_NV36ads_A10_v5",
            gpus=1,
            disk_bytes=87 << 30,
            labels={
                labels.WORKSPACE: owner.name,
                labels.WORKSPACE_NAMESPACE: owner.namespace,
                labels.WORKSPACE_UID: owner.uid,
                labels.SLOT: "0",
                labels.NODE_POOL: labels.NODE_POOL_KAITO,
            },
        )
        return self.kube.api.create(NODE_CLAIM, to_node_claim(spec))

    def tell(self, claim: KubeObject, **status: Any) -> None:
        """What acts on NodeClaims writes the status of this one."""
        patch = {"status": status}
        self.kube.api.patch(NODE_CLAIM, name_of(claim), None, patch, subresource="status")

    def release(self, claim: KubeObject) -> None:
        self.kube.api.delete(NODE_CLAIM, name_of(claim))
        nobody = {"metadata": {"finalizers": None}}
        self.kube.api.patch(NODE_CLAIM, name_of(claim), None, nobody)

    def mirrored(self, claim: KubeObject) -> KubeObject:
        """The Machine after a round, which did not fail."""
        self.round(claim)
        return self.kube.get(MACHINE, name_of(claim))

    def round(self, claim: KubeObject) -> None:
        assert drain(self.mirror.round(name_of(claim))).error is None

    def edit(self, machine: KubeObject, patch: Mapping[str, Any], **how: Any) -> None:
        self.kube.api.patch(MACHINE, name_of(machine), None, dict(patch), **how)


class MachineMirrorContract:
    """Subclasses bring the fixture `world`."""

    def test_a_machine_shows_its_claim(self, world: MirrorWorld) -> None:
        claim = world.claim()
        world.tell(claim, providerID="azure:///a", nodeName="", conditions=[LAUNCHED])
        machine = world.mirrored(claim)
        assert labels_of(machine)[labels.WORKSPACE] == "phi"
        assert machine["spec"]["taints"] == claim["spec"]["taints"]
        assert machine["status"]["providerID"] == "azure:///a"
        launched = condition_of(machine, "MachineLaunched")
        assert launched is not None
        assert launched["reason"] == "Launched"

    def test_what_is_as_it_should_be_is_not_written_again(self, world: MirrorWorld) -> None:
        claim = world.claim()
        first = world.mirrored(claim)
        assert world.mirrored(claim) == first
        world.tell(claim, conditions=[LAUNCHED])
        second = world.mirrored(claim)
        assert second != first
        assert world.mirrored(claim) == second

    def test_it_follows_its_claim(self, world: MirrorWorld) -> None:
        claim = world.claim()
        placed = {"metadata": {"labels": {labels.ZONE: "eastus-1"}}}
        world.kube.api.patch(NODE_CLAIM, name_of(claim), None, placed)
        world.tell(claim, conditions=[LAUNCHED], providerID="azure:///a")
        assert labels_of(world.mirrored(claim))[labels.ZONE] == "eastus-1"
        gone = {"metadata": {"labels": {labels.ZONE: None}}}
        world.kube.api.patch(NODE_CLAIM, name_of(claim), None, gone)
        world.tell(claim, conditions=[SOLD_OUT], providerID=None)
        machine = world.mirrored(claim)
        assert labels.ZONE not in labels_of(machine)
        assert "providerID" not in machine["status"]
        launched = condition_of(machine, "MachineLaunched")
        assert launched is not None
        assert (launched["status"], launched["message"]) == ("False", "none left")

    def test_how_large_the_node_is(self, world: MirrorWorld) -> None:
        claim = world.claim()
        node = world.kube.node("gpu")
        sizes = {"capacity": {"nvidia.com/gpu": "1"}, "allocatable": {"nvidia.com/gpu": "1"}}
        world.kube.api.patch(NODE, name_of(node), None, {"status": sizes}, subresource="status")
        world.tell(claim, nodeName=name_of(node))
        status = world.mirrored(claim)["status"]
        assert status["nodeName"] == name_of(node)
        assert status["capacity"]["nvidia.com/gpu"] == "1"
        assert status["allocatable"]["nvidia.com/gpu"] == "1"
        world.kube.api.delete(NODE, name_of(node))
        assert world.mirrored(claim)["status"] == {"nodeName": name_of(node)}

    def test_edits_by_others_are_put_back(self, world: MirrorWorld) -> None:
        claim = world.claim()
        world.tell(claim, conditions=[LAUNCHED])
        before = world.mirrored(claim)
        node = world.kube.node("other")
        another = {"apiVersion": "v1", "kind": "Node", "name": name_of(node)}
        another["uid"] = node["metadata"]["uid"]
        owners = [*thaw(before["metadata"]["ownerReferences"]), another]
        edits: list[dict[str, Any]] = [
            {"spec": {"taints": None}},
            {"spec": {"kubelet": {"maxPods": 10}}},
            {"metadata": {"labels": {labels.WORKSPACE: None, "mine": "yes"}}},
            {"metadata": {"ownerReferences": owners}},
        ]
        for edit in edits:
            world.edit(before, edit)
            after = world.mirrored(claim)
            assert after["spec"] == before["spec"], edit
            assert labels_of(after) == labels_of(before)
            assert after["metadata"]["ownerReferences"] == before["metadata"]["ownerReferences"]
            assert after["status"] == before["status"]
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        world.edit(before, ready, subresource="status")
        assert world.mirrored(claim)["status"] == before["status"]

    def test_notes_of_others_stay(self, world: MirrorWorld) -> None:
        claim = world.claim()
        machine = world.mirrored(claim)
        held = {"finalizers": ["example.com/held"], "annotations": {"example.com/seen": "yes"}}
        world.edit(machine, {"metadata": held, "spec": {"taints": None}})
        after = world.mirrored(claim)
        assert after["spec"] == machine["spec"]
        assert annotations_of(after) == held["annotations"]
        assert after["metadata"]["finalizers"] == held["finalizers"]
        world.kube.api.delete(MACHINE, name_of(machine))
        marked = world.mirrored(claim)
        assert "deletionTimestamp" in marked["metadata"]
        world.edit(machine, {"metadata": {"finalizers": None}})
        assert world.mirrored(claim)["metadata"]["uid"] != machine["metadata"]["uid"]

    def test_one_that_was_deleted_comes_back(self, world: MirrorWorld) -> None:
        claim = world.claim()
        world.tell(claim, conditions=[LAUNCHED])
        before = world.mirrored(claim)
        world.kube.api.delete(MACHINE, name_of(before))
        after = world.mirrored(claim)
        assert after["metadata"]["uid"] != before["metadata"]["uid"]
        assert after["status"] == before["status"]

    def test_a_machine_of_somebody_else_is_left_alone(self, world: MirrorWorld) -> None:
        claim = world.claim()
        body = world.kube.body(MACHINE, name_of(claim), spec={"theirs": True})
        theirs = world.kube.api.create(MACHINE, body)
        assert world.mirrored(claim) == theirs

    def test_only_claims_of_kaito_are_shown(self, world: MirrorWorld) -> None:
        name = f"{world.kube.namespace}-karpenters"
        claim = world.kube.api.create(NODE_CLAIM, world.kube.body(NODE_CLAIM, name, spec={}))
        world.round(claim)
        assert not world.kube.exists(MACHINE, name)

    def test_a_claim_on_its_way_out_gets_none(self, world: MirrorWorld) -> None:
        claim = world.claim()
        world.kube.api.delete(NODE_CLAIM, name_of(claim))
        world.round(claim)
        assert not world.kube.exists(MACHINE, name_of(claim))

    def test_it_goes_with_its_claim(self, world: MirrorWorld) -> None:
        claim = world.claim()
        world.mirrored(claim)
        world.release(claim)
        world.round(claim)
        assert world.kube.collected(MACHINE, name_of(claim))
