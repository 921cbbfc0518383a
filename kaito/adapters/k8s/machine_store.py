"""The domain's `MachineStore` over a Kubernetes API: machines are NodeClaims."""

from collections.abc import Collection, Sequence
from contextlib import suppress

from kaito.adapters.k8s import event_recorder, node_claims
from kaito.adapters.k8s.errors import as_port_errors
from kaito.adapters.k8s.node_lookup import NodeLookup
from kaito.adapters.k8s.parsed import Parsed
from kaito.adapters.k8s.pods import to_node_pod
from kaito.adapters.k8s.workspace_store import delete_claim
from kaito.adapters.kube_api import (
    NODE,
    NODE_CLAIM,
    POD,
    WORKSPACE,
    KubeApi,
    ObjectConflict,
    ObjectNotFound,
    name_of,
)
from kaito.domain import labels
from kaito.domain.errors import NotFound
from kaito.domain.machine import Machine, NodePod, NodeView, Taint
from kaito.domain.plan import Note, WriteMachine
from kaito.domain.ports import Clock


class KubeMachineStore:
    """Machines' records and Nodes, through the Kubernetes API.

    `live` is asked where a cached answer could buy a machine for nobody, or give one back that is
    wanted; it may be `api` itself.
    `namespace`: the machines of other namespaces' Workspaces are somebody else's; empty: of all.
    """

    def __init__(self, api: KubeApi, clock: Clock, *, live: KubeApi, namespace: str = "") -> None:
        self._api = api
        self._namespace = namespace or None
        self._owned = {labels.WORKSPACE_NAMESPACE: namespace} if namespace else None
        self._clock = clock
        self._live = live
        self._nodes = NodeLookup(api)
        self._machine = Parsed(node_claims.to_machine)
        self._node_view = Parsed(node_claims.to_node_view)

    def forget_unused(self) -> None:
        self._machine.forget_unused()
        self._node_view.forget_unused()

    def read_machine(self, claim_name: str) -> Machine | None:
        with as_port_errors():
            try:
                claim = self._api.get(NODE_CLAIM, claim_name)
            except ObjectNotFound:
                return None
        return self._machine(claim)

    def list_machines(self) -> Sequence[Machine]:
        with as_port_errors():
            claims = self._api.list(NODE_CLAIM, labels=self._owned).items
        return [machine for claim in claims if (machine := self._machine(claim))]

    def claim_names(self) -> Collection[str]:
        with as_port_errors():
            return {name_of(claim) for claim in self._api.list(NODE_CLAIM).items}

    def record_exists(self, claim_name: str) -> bool:
        with as_port_errors():
            try:
                self._live.get(NODE_CLAIM, claim_name)
            except ObjectNotFound:
                return False
        return True

    def workspace_uids(self) -> Collection[str]:
        with as_port_errors():
            return {one["metadata"]["uid"] for one in self._api.list(WORKSPACE).items}

    def workspace_exists(self, namespace: str, name: str, uid: str) -> bool:
        with as_port_errors():
            try:
                stored = self._live.get(WORKSPACE, name, namespace)
            except ObjectNotFound:
                return False
        return bool(stored["metadata"]["uid"] == uid)

    def node_of(self, machine: Machine, provider_id: str) -> NodeView | None:
        owned = {
            labels.WORKSPACE_UID: machine.spec.owner.uid,
            labels.SLOT: str(machine.spec.slot),
        }
        with as_port_errors():
            for node in map(self._node_view, self._api.list(NODE, labels=owned).items):
                if node.provider_id == provider_id:
                    return node
            unlabelled = self._nodes.find(provider_id)  # somebody may have taken the labels off
        return None if unlabelled is None else self._node_view(unlabelled)

    def write_machine(self, machine: Machine, record: WriteMachine) -> Machine:
        """Two writes, each at the version before it: the status, which is the fence, then the
        attempt's annotations and labels when they change."""
        body = {
            "apiVersion": NODE_CLAIM.api_version,
            "kind": NODE_CLAIM.kind,
            "metadata": {
                "name": machine.claim_name,
                "uid": machine.uid,
                "resourceVersion": machine.version,
            },
            "status": node_claims.status_of(record),
        }
        with as_port_errors():
            claim = self._api.replace_status(NODE_CLAIM, body)
            if record.attempt != machine.attempt:
                patch = {
                    "metadata": {
                        "annotations": node_claims.attempt_annotations(record.attempt),
                        "labels": node_claims.attempt_labels(record.attempt),
                        "resourceVersion": claim["metadata"]["resourceVersion"],
                    }
                }
                claim = self._api.patch(NODE_CLAIM, machine.claim_name, None, patch)
        stored = self._machine(claim)
        if stored is None:
            raise NotFound(f"NodeClaim {machine.claim_name} lost kaito's labels")
        return stored

    def label_node(self, node_name: str, added: Sequence[tuple[str, str]]) -> None:
        with as_port_errors():
            self._api.patch(NODE, node_name, None, {"metadata": {"labels": dict(added)}})

    def pods_on(self, node_name: str) -> Sequence[NodePod]:
        """Of one namespace only, where kaito may list no others. By Node, no cache is asked."""
        with as_port_errors():
            on_node = {"spec.nodeName": node_name}
            found = self._api.list(POD, self._namespace, fields=on_node).items
        return [to_node_pod(pod) for pod in found]

    def taint_node(self, node_name: str, taint: Taint) -> None:
        with as_port_errors():
            node = self._api.get(NODE, node_name)
            present = (node.get("spec") or {}).get("taints") or ()
            added = {"key": taint.key, "effect": taint.effect}
            if taint.value:
                added["value"] = taint.value
            if any((one["key"], one["effect"]) == (taint.key, taint.effect) for one in present):
                return
            patch = {
                "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
                "spec": {"taints": [*present, added]},
            }
            self._api.patch(NODE, node_name, None, patch)

    def evict_pod(self, pod: NodePod) -> None:
        with as_port_errors(), suppress(ObjectNotFound, ObjectConflict):
            self._api.evict(pod.name, pod.namespace, uid=pod.uid)

    def remove_machine_finalizer(self, machine: Machine) -> None:
        with as_port_errors():
            try:
                claim = self._api.get(NODE_CLAIM, machine.claim_name)
                present = claim["metadata"].get("finalizers") or ()
                if claim["metadata"]["uid"] != machine.uid:
                    return
                if labels.MACHINE_FINALIZER not in present:
                    return
                left = [found for found in present if found != labels.MACHINE_FINALIZER]
                patch = {"metadata": {"finalizers": left, "resourceVersion": machine.version}}
                self._api.patch(NODE_CLAIM, machine.claim_name, None, patch)
            except ObjectNotFound:
                return

    def delete_record(self, claim_name: str, uid: str) -> None:
        delete_claim(self._api, claim_name, uid)

    def note_machine(self, machine: Machine, note: Note) -> None:
        about = {
            "apiVersion": NODE_CLAIM.api_version,
            "kind": NODE_CLAIM.kind,
            "metadata": {
                "name": machine.claim_name,
                "uid": machine.uid,
                "resourceVersion": machine.version,
            },
        }
        with as_port_errors():
            event_recorder.record(self._api, about, note, now_s=self._clock.now_s())
