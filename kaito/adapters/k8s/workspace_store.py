"""The domain's `WorkspaceStore` over a Kubernetes API."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from kaito.adapters.config_view import to_config_view
from kaito.adapters.k8s import adoption, event_recorder, history, node_claims, workspaces
from kaito.adapters.k8s.errors import as_port_errors
from kaito.adapters.k8s.live_workload import (
    address,
    is_left_behind,
    is_owned,
    to_workload_view,
    updated,
)
from kaito.adapters.k8s.manifests import Desired
from kaito.adapters.k8s.parsed import Parsed
from kaito.adapters.k8s.pods import to_pod_view
from kaito.adapters.k8s.weights_volume import available_class
from kaito.adapters.k8s.workload_differences import WorkloadDifferences
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    AlreadyExists,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    Resource,
    annotations_of,
)
from kaito.domain import labels
from kaito.domain.cluster_view import (
    ClusterView,
    ConfigView,
    PodView,
    WorkloadView,
    WorkspaceView,
)
from kaito.domain.errors import Conflict, Rejected
from kaito.domain.machine import Machine, MachineSpec, Owner
from kaito.domain.plan import Note
from kaito.domain.ports import Clock
from kaito.domain.provisioner import Provisioner
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workload import Workload
from kaito.domain.workload_plan import INFERENCE_CONFIG_KEY, TRAINING_CONFIG_KEY
from kaito.domain.workspace import Workspace


class KubeWorkspaceStore:
    """Workspaces and what belongs to them, through the Kubernetes API. Where users bring their
    Nodes, NodeClaims are not read: the cluster may not even have such a kind. `weights_class` names
    the StorageClass for weights on local disks; empty for none."""

    def __init__(
        self,
        api: KubeApi,
        clock: Clock,
        provisioner: Provisioner = Provisioner.KARPENTER,
        weights_class: str = "",
    ) -> None:
        self._api = api
        self._clock = clock
        self._provisioner = provisioner
        self._weights_class = weights_class
        self._view = Parsed(workspaces.to_view)
        self._machine = Parsed(node_claims.to_machine)
        self._node_view = Parsed(node_claims.to_node_view)
        self._pod_view = Parsed(to_pod_view)
        self._revision = Parsed(history.to_revision)
        self._differences = WorkloadDifferences()

    def forget_unused(self) -> None:
        for kept in (self._view, self._machine, self._node_view, self._pod_view, self._revision):
            kept.forget_unused()
        self._differences.forget_unused()

    def read_workspace(self, namespace: str, name: str) -> WorkspaceView | None:
        with as_port_errors():
            try:
                stored = self._api.get(WORKSPACE, name, namespace)
            except ObjectNotFound:
                return None
        return self._view(stored)

    def observe(self, workspace: Workspace) -> ClusterView:
        pods = {labels.WORKSPACE: workspace.name}
        with as_port_errors():
            found_pods = [
                self._pod_view(pod)
                for pod in self._api.list(POD, workspace.namespace, labels=pods).items
            ]
            workloads = [
                live
                for resource in (STATEFUL_SET, JOB)
                if (live := self._find(resource, workspace.name, workspace.namespace))
                and is_owned(live, workspace.uid)
            ]
            storage_class = available_class(self._api, self._weights_class)
        standing = [live for live in workloads if "deletionTimestamp" not in live["metadata"]]
        shapes = [annotations_of(live).get(labels.NODE_SHAPE, "") for live in standing]
        machines: list[Machine] = []
        adoptable: list[Machine] = []
        if self._provisioner is Provisioner.BYO:
            nodes = self._own_nodes(workspace, found_pods)
        else:
            machines, adoptable, nodes = self._ordered(workspace)
        return ClusterView(
            machines=tuple(machines),
            adoptable=tuple(adoptable),
            nodes=tuple(self._node_view(node) for node in nodes),
            pods=tuple(found_pods),
            config=self._config(workspace),
            has_workload=bool(standing),
            made_for=next(filter(None, shapes), ""),
            storage_class=storage_class,
            revisions=tuple(
                self._revision(kept) for kept in history.revisions_of(self._api, workspace)
            ),
        )

    def compare(self, workload: Workload) -> WorkloadView:
        desired = self._differences.desired(workload)
        changed: list[str] = []
        taken, left_behind = "", False
        main = self._find_main(workload, desired[-1])
        inherited = main is not None and adoption.is_inherited(desired[-1], main)
        with as_port_errors():
            for want in desired:
                live = main if main and want is desired[-1] else self._find_desired(want)
                if live is None:
                    if not inherited or want.resource is SERVICE:
                        changed.append(address(want))
                elif is_owned(live, workload.owner.uid):
                    paths = [] if inherited else self._differences.deviations(want, live)
                    changed += [f"{address(want)} {path}" for path in paths]
                elif is_left_behind(live, workload.owner):
                    left_behind = True
                else:
                    taken = address(want)
        return to_workload_view(
            desired[-1], main, changed=changed, taken=taken, left_behind=left_behind
        )

    def add_finalizer(self, view: WorkspaceView) -> WorkspaceView:
        present = view.workspace.metadata.finalizers
        finalizers = list(dict.fromkeys((*present, labels.WORKSPACE_FINALIZER)))
        return self._patch_finalizers(view, finalizers)

    def remove_finalizer(self, view: WorkspaceView) -> None:
        present = view.workspace.metadata.finalizers
        if labels.WORKSPACE_FINALIZER not in present:
            return
        left = [found for found in present if found != labels.WORKSPACE_FINALIZER]
        with as_port_errors():
            try:
                self._patch(view, {"metadata": {"finalizers": left}})
            except ObjectNotFound:
                return

    def write_status(self, view: WorkspaceView, status: WorkspaceStatus) -> WorkspaceView:
        metadata = view.workspace.metadata
        body = {
            "apiVersion": WORKSPACE.api_version,
            "kind": WORKSPACE.kind,
            "metadata": {
                "name": metadata.name,
                "namespace": metadata.namespace,
                "uid": metadata.uid,
                "resourceVersion": view.version,
            },
            "status": workspaces.status_to_json(status),
        }
        with as_port_errors():
            stored = self._api.replace_status(WORKSPACE, body)
        return self._view(stored)

    def apply_workload(self, workload: Workload, *, replace: bool) -> None:
        desired = self._differences.desired(workload)
        main = self._find_main(workload, desired[-1])
        inherited = main is not None and adoption.is_inherited(desired[-1], main)
        with as_port_errors():
            for want in desired:
                again = replace and want is desired[-1]
                if inherited and want.resource is not SERVICE and not again:
                    continue
                live = self._find_desired(want)
                if live is None:
                    self._create(want)
                    continue
                if is_left_behind(live, workload.owner):
                    raise Conflict(f"{address(want)} of an earlier Workspace is not collected yet")
                if not is_owned(live, workload.owner.uid):
                    raise Rejected(
                        f"{address(want)} exists and does not belong to Workspace "
                        f"{workload.owner.name}: delete or rename it"
                    )
                differs = not inherited and bool(self._differences.deviations(want, live))
                if again and (differs or inherited):
                    self._delete(want.resource, live, "Foreground")
                elif differs:
                    self._api.replace(want.resource, updated(want, live))

    def adopt_workload(self, workload: Workload) -> None:
        want = self._differences.desired(workload)[-1]
        live = self._find_main(workload, want)
        if live is None or not adoption.is_unmarked(live):
            return
        with as_port_errors():
            self._api.patch(
                want.resource,
                live["metadata"]["name"],
                live["metadata"]["namespace"],
                adoption.adoption_patch(want, live),
            )

    def delete_workload(self, workspace: Workspace) -> None:
        with as_port_errors():
            for resource in (STATEFUL_SET, JOB):
                live = self._find(resource, workspace.name, workspace.namespace)
                if live is not None and is_owned(live, workspace.uid):
                    self._delete(resource, live, "Background")

    def create_revision(self, workspace: Workspace, number: int) -> None:
        history.create(self._api, workspace, number)

    def delete_revision(self, workspace: Workspace, name: str, uid: str) -> None:
        with as_port_errors(), suppress(ObjectNotFound, ObjectConflict):
            self._api.delete(CONTROLLER_REVISION, name, workspace.namespace, uid=uid)

    def create_machine(self, spec: MachineSpec) -> None:
        with as_port_errors():
            try:
                self._api.create(NODE_CLAIM, node_claims.to_node_claim(spec))
            except AlreadyExists:
                return

    def adopt_machine(self, machine: Machine) -> None:
        added = dict(machine.spec.labels)
        metadata: dict[str, Any] = {"labels": added, "resourceVersion": machine.version}
        with as_port_errors():
            # The Node first: what is cut short here is found again as long as the claim is KAITO's.
            if machine.node_name:
                with suppress(ObjectNotFound):
                    patch = {"metadata": {"labels": added}}
                    self._api.patch(NODE, machine.node_name, None, patch)
            if not machine.has_finalizer and not machine.deleting:
                claim = self._api.get(NODE_CLAIM, machine.claim_name)
                present = claim["metadata"].get("finalizers") or ()
                metadata["finalizers"] = [*present, labels.MACHINE_FINALIZER]
            self._api.patch(NODE_CLAIM, machine.claim_name, None, {"metadata": metadata})

    def delete_machine(self, claim_name: str, uid: str) -> None:
        delete_claim(self._api, claim_name, uid)

    def retry_machine(self, claim_name: str, uid: str, wish: str) -> None:
        with as_port_errors(), suppress(ObjectNotFound):
            found = self._api.get(NODE_CLAIM, claim_name)["metadata"]
            if found["uid"] != uid:
                return
            annotations = {labels.RETRY: wish or None}
            patch = {
                "metadata": {
                    "annotations": annotations,
                    "resourceVersion": found["resourceVersion"],
                }
            }
            self._api.patch(NODE_CLAIM, claim_name, None, patch)

    def note(self, view: WorkspaceView, note: Note) -> None:
        workspace = view.workspace
        about = {
            "apiVersion": WORKSPACE.api_version,
            "kind": WORKSPACE.kind,
            "metadata": {
                "name": workspace.name,
                "namespace": workspace.namespace,
                "uid": workspace.uid,
                "resourceVersion": view.version,
            },
        }
        with as_port_errors():
            event_recorder.record(self._api, about, note, now_s=self._clock.now_s())

    def _ordered(
        self, workspace: Workspace
    ) -> tuple[list[Machine], list[Machine], list[KubeObject]]:
        """The Workspace's machines, those to adopt, and the Nodes of both."""
        owner = Owner(uid=workspace.uid, namespace=workspace.namespace, name=workspace.name)
        owned = {labels.WORKSPACE_UID: workspace.uid}
        adoptable_labels = node_claims.adoptable_labels(owner)
        with as_port_errors():
            claims = self._api.list(NODE_CLAIM, labels=owned).items
            others = self._api.list(NODE_CLAIM, labels=adoptable_labels).items
            nodes = self._api.list(NODE, labels=owned).items
        machines = [machine for claim in claims if (machine := self._machine(claim))]
        adoptable = [
            machine for claim in others if (machine := node_claims.to_adoptable(claim, owner))
        ]
        names = [machine.node_name for machine in (*machines, *adoptable)]
        return machines, adoptable, self._with_named(nodes, names)

    def _own_nodes(self, workspace: Workspace, pods: Iterable[PodView]) -> list[KubeObject]:
        """The Nodes that the user's labels select; what expressions leave out is in it."""
        selector = workspace.resource.label_selector
        found: Sequence[KubeObject] = ()
        if selector.match_labels or selector.match_expressions:
            with as_port_errors():
                found = self._api.list(NODE, labels=dict(selector.match_labels)).items
        return self._with_named(found, [pod.node_name for pod in pods])

    def _with_named(self, found: Iterable[KubeObject], names: Iterable[str]) -> list[KubeObject]:
        """`found` and the Nodes of these names, whose labels somebody may have taken off."""
        nodes = {node["metadata"]["name"]: node for node in found}
        for name in names:
            if name and name not in nodes:
                with as_port_errors(), suppress(ObjectNotFound):
                    nodes[name] = self._api.get(NODE, name)
        return [nodes[name] for name in sorted(nodes)]

    def _find(self, resource: Resource, name: str, namespace: str) -> KubeObject | None:
        try:
            return self._api.get(resource, name, namespace)
        except ObjectNotFound:
            return None

    def _find_main(self, workload: Workload, want: Desired) -> KubeObject | None:
        """The live StatefulSet or Job, if it is the Workspace's."""
        with as_port_errors():
            live = self._find_desired(want)
        return live if live is not None and is_owned(live, workload.owner.uid) else None

    def _find_desired(self, want: Desired) -> KubeObject | None:
        metadata = want.body["metadata"]
        return self._find(want.resource, metadata["name"], metadata["namespace"])

    def _create(self, want: Desired) -> None:
        try:
            self._api.create(want.resource, want.body)
        except AlreadyExists:
            return  # a read that lagged; the next plan compares it

    def _delete(self, resource: Resource, live: KubeObject, propagation: Any) -> None:
        metadata = live["metadata"]
        try:
            self._api.delete(
                resource,
                metadata["name"],
                metadata["namespace"],
                uid=metadata["uid"],
                propagation=propagation,
            )
        except (ObjectNotFound, ObjectConflict):
            return  # gone, or another one under its name

    def _patch(self, view: WorkspaceView, patch: dict[str, Any]) -> KubeObject:
        """Merge-patch the Workspace at the version that was read."""
        metadata = view.workspace.metadata
        patch["metadata"] = {**patch.get("metadata", {}), "resourceVersion": view.version}
        return self._api.patch(WORKSPACE, metadata.name, metadata.namespace, patch)

    def _patch_finalizers(self, view: WorkspaceView, finalizers: list[str]) -> WorkspaceView:
        with as_port_errors():
            stored = self._patch(view, {"metadata": {"finalizers": finalizers}})
        return self._view(stored)

    def _config(self, workspace: Workspace) -> ConfigView | None:
        if workspace.inference is not None:
            name, key = workspace.inference.config, INFERENCE_CONFIG_KEY
        elif workspace.tuning is not None:
            name, key = workspace.tuning.config, TRAINING_CONFIG_KEY
        else:
            return None
        if not name:
            return None
        with as_port_errors():
            stored = self._find(CONFIG_MAP, name, workspace.namespace)
        return to_config_view(name, key, stored)


def delete_claim(api: KubeApi, claim_name: str, uid: str) -> None:
    """Ask for a machine's release; gone, released or another `uid` is success."""
    with as_port_errors():
        try:
            api.delete(NODE_CLAIM, claim_name, uid=uid)
        except (ObjectNotFound, ObjectConflict):
            return
