"""Domain objects for tests: everything has a sensible default, a test names what it is about."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from kaito.adapters.files import load_catalogue
from kaito.domain import labels
from kaito.domain import machine as states
from kaito.domain.cluster_view import (
    ClusterView,
    ConfigView,
    PodView,
    WorkloadState,
    WorkloadView,
    WorkspaceView,
)
from kaito.domain.conditions import Condition, Truth
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.machine import (
    Attempt,
    CloudMachine,
    CloudState,
    Machine,
    MachineSpec,
    NodeView,
    Owner,
)
from kaito.domain.status import WorkspaceStatus
from kaito.domain.workspace import Workspace, parse_workspace
from kaito.domain.workspace_plan import machine_specs

CATALOGUE: Final = load_catalogue()
NOW_S: Final = 1_767_225_600.0  # 2026-01-01T00:00:00Z
UID: Final = "11111111-2222-4333-8444-555555555555"

V100: Final = "Standard_NC6s_v3"  # one card without vLLM kernels
T4: Final = "Standard_NC4as_T4_v3"  # one small card
FOUR_T4: Final = "Standard_NC64as_T4_v3"
A10: Final = "Standard_NV36ads_A10_v5"
TWO_A10: Final = "Standard_NV72ads_A10_v5"
A100: Final = "Standard_NC24ads_A100_v4"
TWO_A100: Final = "Standard_NC48ads_A100_v4"
H100: Final = "Standard_NC40ads_H100_v5"

MINI: Final = "phi-3-mini-4k-instruct"
LONG: Final = "phi-3-mini-128k-instruct"
LLAMA_70B: Final = "llama-3.3-70b-instruct"  # more than one machine, on most of them
GATED: Final[Mapping[str, Any]] = {
    "name": LLAMA_70B,
    "presetOptions": {"modelAccessSecret": "hugging-face"},
}

TUNING: Final[Mapping[str, Any]] = {
    "preset": {"name": LONG},
    "method": "qlora",
    "input": {"urls": ["https://example.com/data.parquet?download=true"]},
    "output": {"image": "registry.test/result:1", "imagePushSecret": "push"},
}
TRAINING: Final[Mapping[str, Any]] = {
    "training_config": {"QuantizationConfig": {"load_in_4bit": True}}
}


def manifest(
    *,
    version: str = "v1beta1",
    name: str = "phi",
    instance_type: str = A10,
    metadata: Mapping[str, Any] | None = None,
    resource: Mapping[str, Any] | None = None,
    **parts: Any,
) -> dict[str, Any]:
    """A valid Workspace manifest that serves `MINI`; `parts` replace or add top-level keys."""
    if "inference" not in parts and "tuning" not in parts:
        parts["inference"] = {"preset": {"name": MINI}}
    return {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "Workspace",
        "metadata": {"name": name, **(metadata or {})},
        "resource": {
            "instanceType": instance_type,
            "labelSelector": {"matchLabels": {"apps": "phi"}},
            **(resource or {}),
        },
        **parts,
    }


def workspace(
    *,
    uid: str = UID,
    generation: int = 1,
    finalizers: Iterable[str] = (labels.WORKSPACE_FINALIZER,),
    annotations: Mapping[str, str] | None = None,
    deleting: bool = False,
    **parts: Any,
) -> Workspace:
    """A stored Workspace with kaito's finalizer; `parts` as for `manifest`."""
    metadata: dict[str, Any] = {
        "uid": uid,
        "generation": generation,
        "finalizers": list(finalizers),
        "annotations": dict(annotations or {}),
    }
    if deleting:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return parse_workspace(manifest(metadata=metadata, **parts))


def seen(found: Workspace | None = None, status: WorkspaceStatus | None = None) -> WorkspaceView:
    """The Workspace as read from the cluster."""
    return WorkspaceView(
        workspace=found or workspace(), status=status or WorkspaceStatus(), version="1"
    )


def wanted(found: Workspace, config: ConfigView | None = None) -> Wanted:
    """What the Workspace asks for; it must be one that can be planned."""
    decided = decide(found, CATALOGUE, config)
    assert isinstance(decided, Wanted), decided
    return decided


def refusal(found: Workspace, config: ConfigView | None = None) -> Refusal:
    """Why the Workspace cannot be planned; it must be such a one."""
    decided = decide(found, CATALOGUE, config)
    assert isinstance(decided, Refusal), decided
    return decided


def condition(kind: str, status: Truth = "True", reason: str = "Reason", **more: Any) -> Condition:
    return Condition(type=kind, status=status, reason=reason, **more)


def machine_spec(slot: int = 0, **more: Any) -> MachineSpec:
    """One A10 machine of the Workspace `phi`."""
    values: dict[str, Any] = {
        "owner": Owner(uid=UID, namespace="default", name="phi"),
        "slot": slot,
        "instance_type": A10,
        "gpus": 1,
        "disk_bytes": 87 << 30,
        "labels": {
            "apps": "phi",
            labels.WORKSPACE: "phi",
            labels.WORKSPACE_NAMESPACE: "default",
            labels.WORKSPACE_UID: UID,
            labels.SLOT: str(slot),
        },
    }
    return MachineSpec(**(values | more))


READY_CONDITIONS: Final = tuple(
    condition(kind, reason=kind, observed_generation=1, since_s=NOW_S)
    for kind in (states.LAUNCHED, states.REGISTERED, states.INITIALIZED, states.READY)
)


def machine(spec: MachineSpec | None = None, **more: Any) -> Machine:
    """A machine that was recorded and not ordered yet."""
    spec = spec or machine_spec()
    values: dict[str, Any] = {
        "spec": spec,
        "claim_name": spec.name,
        "uid": f"uid-of-{spec.name}",
        "version": "1",
        "generation": 1,
        "created_at_s": NOW_S,
        "deleting": False,
        "has_finalizer": True,
        "attempt": Attempt(),
    }
    return Machine(**(values | more))


def ready_machine(spec: MachineSpec | None = None, **more: Any) -> Machine:
    """A machine with its Node and its GPUs."""
    spec = spec or machine_spec()
    values: dict[str, Any] = {
        "attempt": Attempt(instance_type=spec.instance_type, started_at_s=NOW_S, zone="1"),
        "conditions": READY_CONDITIONS,
        "provider_id": f"azure://{spec.name}",
        "node_name": f"node-{spec.slot}",
    }
    return machine(spec, **(values | more))


def machines_of(view: WorkspaceView, found: Wanted) -> tuple[Machine, ...]:
    """Every machine of the fit, ready."""
    return tuple(ready_machine(spec) for spec in machine_specs(view, found.sizing))


def node(found: Machine, **more: Any) -> NodeView:
    """The Node of a machine, ready and with all its GPUs and labels."""
    values: dict[str, Any] = {
        "name": found.node_name or f"node-{found.spec.slot}",
        "provider_id": f"azure://{found.cloud_name}",
        "ready": True,
        "gpus": found.spec.gpus,
        "labels": dict(found.spec.labels),
    }
    return NodeView(**(values | more))


def cloud_machine(found: Machine, **more: Any) -> CloudMachine:
    """What the cloud runs for the machine's current attempt."""
    values: dict[str, Any] = {
        "name": found.cloud_name,
        "claim_name": found.claim_name,
        "owner_uid": found.spec.owner.uid,
        "instance_type": found.spec.instance_type,
        "zone": "1",
        "state": CloudState.RUNNING,
        "provider_id": f"azure://{found.cloud_name}",
        "created_at_s": NOW_S,
    }
    return CloudMachine(**(values | more))


def cluster(machines: Iterable[Machine] = (), **more: Any) -> ClusterView:
    """A cluster with these machines, and a ready Node for each that has one."""
    found = tuple(machines)
    nodes = tuple(node(one) for one in found if one.node_name)
    values: dict[str, Any] = {"machines": found, "nodes": nodes}
    return ClusterView(**(values | more))


MISSING: Final = WorkloadView(state=WorkloadState.MISSING)
SERVING: Final = WorkloadView(state=WorkloadState.SAME, settled=True, ready_replicas=1, active=True)


def pod(name: str = "phi-0", **more: Any) -> PodView:
    values: dict[str, Any] = {
        "name": name,
        "node_name": "node-0",
        "phase": "Running",
        "ready": True,
        "deleting": False,
    }
    return PodView(**(values | more))


def config(values: Mapping[str, Any] | None = None, **more: Any) -> ConfigView:
    """A ConfigMap that can be used."""
    given: dict[str, Any] = {"name": "settings", "content_hash": "abc", "values": values or {}}
    return ConfigView(**(given | more))


def with_condition(found: Machine, kind: str, status: Truth, reason: str, message: str) -> Machine:
    """The machine with that condition and without Ready."""
    kept = tuple(one for one in found.conditions if one.type not in {kind, states.READY})
    added = condition(kind, status, reason, message=message, since_s=NOW_S)
    return replace(found, conditions=(*kept, added))


A10_LABELS: Final[Mapping[str, str]] = {
    labels.GPU_PRODUCT: "NVIDIA-A10",
    labels.GPU_COUNT: "1",
    labels.GPU_MEMORY: "23028",
}
FOUR_T4_LABELS: Final[Mapping[str, str]] = {
    labels.GPU_PRODUCT: "Tesla-T4",
    labels.GPU_COUNT: "4",
    labels.GPU_MEMORY: "15360",
}


def own_node(name: str = "gpu-0", gpus: Mapping[str, str] = A10_LABELS, **more: Any) -> NodeView:
    """A Node that a user brings, ready and with all GPUs that its labels speak of."""
    values: dict[str, Any] = {
        "name": name,
        "provider_id": "",
        "ready": True,
        "gpus": int(gpus.get(labels.GPU_COUNT, "1")),
        "labels": {"apps": "phi", **gpus},
    }
    return NodeView(**(values | more))


def template(**spec: Any) -> dict[str, Any]:
    """A pod template of the user's, with one server on one GPU; `spec` replaces or adds fields."""
    limits = {"limits": {labels.GPU_RESOURCE: 1}}
    server = {"name": "server", "image": "registry.test/server:1", "resources": limits}
    return {"spec": {"containers": [server], **spec}}


def templated(found: Mapping[str, Any] | None = None, **parts: Any) -> Workspace:
    """A stored Workspace that serves a pod template; `parts` as for `workspace`."""
    return workspace(inference={"template": found or template()}, **parts)


def byo(resource: Mapping[str, Any] | None = None, **parts: Any) -> Workspace:
    """A stored Workspace that asks for no instance type."""
    return workspace(instance_type="", resource=resource, finalizers=(), **parts)
