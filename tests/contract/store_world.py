"""What a test of the stores' contracts needs: the ports, and the way round them to the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import (
    EVENT,
    NODE,
    NODE_CLAIM,
    WORKSPACE,
    KubeObject,
    Resource,
    labels_of,
    name_of,
)
from kaito.domain import labels
from kaito.domain.cluster_view import ConfigView, WorkspaceView
from kaito.domain.decision import Wanted, decide
from kaito.domain.machine import Machine, MachineSpec, Owner
from kaito.domain.ports import MachineStore, WorkspaceStore
from kaito.domain.workload import Workload
from tests.contract.kube_api_world import World

CATALOGUE = load_catalogue()
INSTANCE_TYPE = "Standard_NC24ads_A100_v4"
SERVING: Mapping[str, Any] = {"inference": {"preset": {"name": "phi-4-mini-instruct"}}}
SPREAD: Mapping[str, Any] = {
    "inference": {
        "preset": {
            "name": "llama-3.3-70b-instruct",
            "presetOptions": {"modelAccessSecret": "hugging-face"},
        }
    }
}
TUNING: Mapping[str, Any] = {
    "tuning": {
        "preset": {"name": "phi-3-mini-128k-instruct"},
        "method": "qlora",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"image": "registry.test/result:1", "imagePushSecret": "push"},
    }
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreWorld:
    """The ports under test, on the cluster that `kube` reaches by another way.

    `stores_anything`: whether the cluster takes a Workspace that does not parse, as one without the
    CRD's schema does.
    """

    kube: World
    workspaces: WorkspaceStore
    machines: MachineStore
    stores_anything: bool

    @property
    def namespace(self) -> str:
        return self.kube.namespace

    def workspace(
        self, name: str = "phi", *, parts: Mapping[str, Any] = SERVING, **metadata: Any
    ) -> WorkspaceView:
        """A user's Workspace, as read."""
        resource = {
            "instanceType": INSTANCE_TYPE,
            "labelSelector": {"matchLabels": {"apps": "phi"}},
        }
        self.store(name, {"resource": resource, **parts}, **metadata)
        return self.view(name)

    def store(self, name: str, parts: Mapping[str, Any], **metadata: Any) -> None:
        """A Workspace of these top-level keys."""
        body = {**self.kube.body(WORKSPACE, name, **metadata), **parts}
        self.kube.api.create(WORKSPACE, body)

    def view(self, name: str = "phi") -> WorkspaceView:
        found = self.workspaces.read_workspace(self.namespace, name)
        assert found is not None
        return found

    def again(self, name: str = "phi") -> WorkspaceView:
        """Another Workspace under the name of one that is deleted."""
        self.kube.api.delete(WORKSPACE, name, self.namespace)
        return self.workspace(name)

    def touch(self, resource: Resource, name: str) -> KubeObject:
        """Somebody else changes the object, in a way that nobody minds."""
        current = self.kube.get(resource, name)["metadata"]
        count = (current.get("annotations") or {}).get("example.com/touched", "")
        patch = {"metadata": {"annotations": {"example.com/touched": f"{count}x"}}}
        return self.patch(resource, name, patch)

    def patch(self, resource: Resource, name: str, patch: Any, **how: Any) -> KubeObject:
        namespace = self.namespace if resource.namespaced else None
        return self.kube.api.patch(resource, name, namespace, patch, **how)

    def wanted(self, view: WorkspaceView, config: ConfigView | None = None) -> Wanted:
        decided = decide(view.workspace, CATALOGUE, config)
        assert isinstance(decided, Wanted), decided
        return decided

    def workload(self, view: WorkspaceView, config: ConfigView | None = None) -> Workload:
        """The workload that the Workspace asks for."""
        return self.wanted(view, config).workload

    def spec(self, view: WorkspaceView, slot: int = 0) -> MachineSpec:
        """A machine for the Workspace."""
        owner = owner_of(view)
        return MachineSpec(
            owner=owner,
            slot=slot,
            instance_type=INSTANCE_TYPE,
            gpus=1,
            disk_bytes=64 * 1024**3,
            labels={
                "apps": "phi",
                labels.WORKSPACE: owner.name,
                labels.WORKSPACE_NAMESPACE: owner.namespace,
                labels.WORKSPACE_UID: owner.uid,
                labels.SLOT: str(slot),
                labels.NODE_POOL: labels.NODE_POOL_KAITO,
            },
            image_family="ubuntu",
        )

    def machine(self, view: WorkspaceView, slot: int = 0) -> Machine:
        """A machine that is recorded for the Workspace, as read."""
        spec = self.spec(view, slot)
        self.workspaces.create_machine(spec)
        found = self.machines.read_machine(spec.name)
        assert found is not None
        return found

    def node(self, name: str, spec: MachineSpec, provider_id: str) -> str:
        """The Node of a machine; its name in the cluster."""
        made = self.kube.node(name, spec={"providerID": provider_id}, labels=dict(spec.labels))
        return name_of(made)

    def events(self, uid: str) -> list[tuple[str, str, str, int]]:
        """Type, reason, message and count of every event about the object of this UID."""
        return sorted(
            (event["type"], event["reason"], event["message"], event["count"])
            for event in self.kube.api.list(EVENT).items
            if event["involvedObject"].get("uid") == uid
        )

    def claims_of(self, uid: str) -> list[str]:
        """Names of the NodeClaims of a Workspace that are not on their way out."""
        return [
            name_of(claim)
            for claim in self.kube.api.list(NODE_CLAIM).items
            if labels_of(claim).get(labels.WORKSPACE_UID) == uid
            and "deletionTimestamp" not in claim["metadata"]
        ]

    def unready(self, node_name: str) -> None:
        """The kubelet says that the Node is not ready."""
        status = {"conditions": [{"type": "Ready", "status": "False", "reason": "Test"}]}
        self.kube.api.patch(NODE, node_name, None, {"status": status}, subresource="status")


def owner_of(view: WorkspaceView) -> Owner:
    workspace = view.workspace
    return Owner(uid=workspace.uid, namespace=workspace.namespace, name=workspace.name)
