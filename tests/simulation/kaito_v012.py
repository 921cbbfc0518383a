"""A world in which KAITO v0.12 and its gpu-provisioner have been at work, and then were stopped."""

from collections.abc import Mapping
from typing import Any

from kaito.adapters.fake.cloud_faults import CloudVerb
from kaito.adapters.fake.faults import Fault, Verb
from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import (
    CONTROLLER_REVISION,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    KubeObject,
    Resource,
    labels_of,
)
from kaito.domain.machine import MachineOrder, Owner
from sim.event_log import EventLog
from sim.invariants import Invariants
from sim.operator import ProcessDied
from sim.scenario import World as WorldSettings
from sim.world import World
from tests.contract import kaito_v012 as kaito
from tests.simulation.interleaving import LATENCIES_S

NAMESPACE = "default"
NAME = kaito.NAME
CATALOGUE = load_catalogue()
READS = {"get", "list", "watch", "list_machines"}


class Migration:
    """KAITO's world; `start` puts kaito's operator in its place. Counts that operator's writes,
    and fails once an invariant is broken."""

    def __init__(
        self, parts: Mapping[str, Any] = kaito.SERVING, *, instance_type: str = kaito.INSTANCE_TYPE
    ) -> None:
        self.world = World(
            seed=1,
            catalogue=CATALOGUE,
            settings=WorldSettings(latencies_s=LATENCIES_S | {"training": 1000.0}),
            log=EventLog(None),
            stale_reads=True,
            webhook=False,  # what KAITO stored was admitted by KAITO's
        )
        self.store = self.world.store
        self.writes = 0
        self._invariants: Invariants | None = None
        self.world.kube_fault = self.world.cloud_fault = self._count
        body = kaito.workspace(NAMESPACE, parts, instance_type=instance_type)
        self.stored = self.store.create(WORKSPACE, body)
        self.store.create(CONTROLLER_REVISION, kaito.revision(self.stored))
        self.run(1.0)

    def order(self, claim_name: str = kaito.CLAIM, instance_type: str = "") -> None:
        """KAITO makes a NodeClaim, and gpu-provisioner its agent pool, until the Node is ready."""
        instance_type = instance_type or kaito.INSTANCE_TYPE
        claim = self.store.create(
            NODE_CLAIM, kaito.node_claim(self.stored, claim_name, instance_type=instance_type)
        )
        order = MachineOrder(
            name=claim_name,
            claim_name=claim_name,
            owner=Owner(uid=self.stored["metadata"]["uid"], namespace=NAMESPACE, name=NAME),
            instance_type=instance_type,
            disk_bytes=87 << 30,
            labels=labels_of(claim),
        )
        self.world.cloud.launch(order)
        self.run(60.0)
        life = next(one for one in self.world.cloud.lives if one.order is order)
        accelerator = {"metadata": {"labels": {"accelerator": "nvidia"}}}
        self.store.patch(NODE, life.node_name, None, accelerator)
        status = {"status": kaito.node_claim_status(life.node_name, life.provider_id)}
        self.store.patch(NODE_CLAIM, claim_name, None, status, subresource="status")

    def serve(self) -> None:
        """KAITO makes Services and StatefulSet; the pod becomes ready, and so the Workspace."""
        for service in kaito.services(self.stored):
            self.store.create(SERVICE, service)
        self.store.create(STATEFUL_SET, kaito.stateful_set(self.stored))
        self.run(120.0)
        self._write_status(done=True)

    def tune(self, *, seconds: float) -> None:
        """KAITO makes the Job, which runs for so long before KAITO is stopped."""
        self.store.create(JOB, kaito.job(self.stored))
        self.run(seconds)
        self._write_status(done=seconds > 1000.0)

    def start(self, *, calm_from_s: float = 0.0) -> None:
        """kaito's operator starts where KAITO's was stopped. `calm_from_s`: see `Invariants`."""
        self._invariants = Invariants(self.world, calm_from_s=calm_from_s)
        self.world.operator.start()

    def run(self, seconds: float) -> None:
        """Let time pass, with the invariants looked at every few seconds."""
        end_s = self.world.env.now + seconds
        while self.world.env.now < end_s:
            self.world.env.run(until=min(self.world.env.now + 5.0, end_s))
            if self._invariants is not None:
                assert self._invariants.check() == []

    def get(self, resource: Resource, name: str = NAME) -> KubeObject:
        return self.store.get(resource, name, NAMESPACE if resource.namespaced else None)

    def uids(self, *resources: Resource) -> dict[str, list[str]]:
        """The UIDs of all objects of these kinds."""
        return {
            kind.kind: [str(obj["metadata"]["uid"]) for obj in self.world.objects(kind)]
            for kind in resources
        }

    def leftovers(self) -> list[str]:
        """What is left of the Workspace after it was deleted."""
        assert self._invariants is not None
        left = [
            f"{kind.kind}/{obj['metadata']['name']}"
            for kind in (WORKSPACE, NODE_CLAIM, NODE, STATEFUL_SET, JOB, SERVICE, POD)
            for obj in self.world.objects(kind)
        ]
        return left + self._invariants.leftovers()

    def _write_status(self, *, done: bool) -> None:
        (node,) = self.world.objects(NODE)
        status = kaito.workspace_status(self.stored, node["metadata"]["name"], done=done)
        patch = {"status": status}
        self.store.patch(WORKSPACE, NAME, NAMESPACE, patch, subresource="status")
        self.run(1.0)

    def _count(self, verb: str) -> None:
        self.writes += verb not in READS


class Death:
    """Ends the operator's process at one of its writes, or loses the answer to it."""

    def __init__(self, play: Migration, at_write: int, fault: Fault | None) -> None:
        self._play, self._at_write, self._fault = play, at_write, fault
        play.world.kube_fault = self._kube
        play.world.cloud_fault = self._cloud

    def _kube(self, verb: Verb) -> Fault | None:
        return self._count(verb)

    def _cloud(self, verb: CloudVerb) -> Fault | None:
        return self._count(verb)

    def _count(self, verb: str) -> Fault | None:
        if verb in READS:
            return None
        self._play.writes += 1
        if self._play.writes != self._at_write:
            return None
        if self._fault is None:
            raise ProcessDied
        return self._fault
