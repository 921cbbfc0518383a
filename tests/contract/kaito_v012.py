"""What KAITO v0.12 and its gpu-provisioner leave in a cluster, as they write it.

From kaito-project/kaito@056b8280b: pkg/utils/nodeclaim/nodeclaim.go:134-262 (NodeClaims),
pkg/workspace/manifests/manifests.go (StatefulSet and Services), pkg/workspace/inference/
preset_inferences.go (the serving pod) and pkg/workspace/tuning/preset_tuning.go (the Job).
"""

from collections.abc import Mapping
from typing import Any, Final

from kaito.adapters.kube_api import KubeObject, name_of, namespace_of

NAME: Final = "phi-3"
CLAIM: Final = "ws1f2e3d4c5"  # `ws` and 9 hex digits of a hash that has the time in it
INSTANCE_TYPE: Final = "Standard_NC24ads_A100_v4"
BASE_IMAGE: Final = "mcr.microsoft.com/aks/kaito/kaito-base:0.5.0"
FINALIZER: Final = "workspace.finalizer.kaito.sh"
REVISION: Final = "workspace.kaito.io/revision"
SERVING: Final[Mapping[str, Any]] = {"inference": {"preset": {"name": "phi-3-mini-4k-instruct"}}}
TUNING: Final[Mapping[str, Any]] = {
    "tuning": {
        "preset": {"name": "phi-3-mini-128k-instruct"},
        "method": "qlora",
        "input": {"urls": ["https://example.com/data.parquet"]},
        "output": {"volumeSource": {"persistentVolumeClaim": {"claimName": "results"}}},
    }
}

Body = dict[str, Any]


def workspace(
    namespace: str, parts: Mapping[str, Any] = SERVING, *, instance_type: str = INSTANCE_TYPE
) -> Body:
    """A Workspace of `parts` with what KAITO adds to its metadata."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "finalizers": [FINALIZER],
            "annotations": {"workspace.kaito.io/hash": "0123456789abcdef", REVISION: "1"},
        },
        "resource": {
            "instanceType": instance_type,
            "labelSelector": {"matchLabels": {"apps": "phi-3"}},
        },
        **parts,
    }


def workspace_status(stored: KubeObject, node_name: str, *, done: bool = True) -> Body:
    """The status of a Workspace that serves, or whose tuning has finished; not `done`: of one
    whose tuning still runs."""
    generation = stored["metadata"]["generation"]
    work = ("JobStarted", "WorkspaceTuningJobStatusStarted")
    if "inference" in stored:
        work = ("InferenceReady", "WorkspaceInferenceStatusSuccess")
    found = [
        ("NodeClaimReady", "NodeClaimsReady", True),
        ("NodesReady", "NodesReady", True),
        ("ResourceReady", "workspaceResourceStatusSuccess", True),
        (*work, True),
        ("WorkspaceSucceeded", "workspaceSucceeded" if done else "workspacePending", done),
    ]
    state = "Ready" if "inference" in stored else "Succeeded"
    return {
        "conditions": [
            _condition(kind, reason, generation, is_true=is_true) for kind, reason, is_true in found
        ],
        "workerNodes": [node_name],
        "targetNodeCount": 1,
        "state": state if done else "Running",
    }


def revision(stored: KubeObject) -> Body:
    """The ControllerRevision of the Workspace's spec, as Go writes it: what is not there is null
    (workspace_controller.go, marshalSelectedFields)."""
    name = name_of(stored)
    body = _owned(stored, "apps/v1", "ControllerRevision", f"{name}-01234", spec={})
    del body["spec"]
    body["metadata"] |= {
        "labels": {"workspace.kaito.io/name": name},
        "annotations": {"workspace.kaito.io/hash": "0123456789abcdef"},
    }
    parts = ("resource", "inference", "tuning")
    return body | {"data": {part: stored.get(part) for part in parts}, "revision": 1}


def node_claim(
    stored: KubeObject, name: str = CLAIM, *, instance_type: str = INSTANCE_TYPE
) -> Body:
    """The NodeClaim of one of the Workspace's machines, with gpu-provisioner's finalizer."""
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodeClaim",
        "metadata": {
            "name": name,
            "labels": {
                "karpenter.sh/nodepool": "kaito",
                **_identity(stored),
                "kaito.sh/workspacenamespace": namespace_of(stored),
                "apps": "phi-3",
            },
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
            "finalizers": ["karpenter.sh/termination"],
        },
        "spec": {
            "nodeClassRef": {"group": "kaito.sh", "kind": "KaitoNodeClass", "name": "default"},
            "taints": [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}],
            "requirements": [
                _requirement("karpenter.sh/nodepool", "kaito"),
                _requirement("node.kubernetes.io/instance-type", instance_type),
                _requirement("kubernetes.io/os", "linux"),
                _requirement("karpenter.azure.com/sku-name", instance_type),
            ],
            "resources": {"requests": {"storage": "87Gi"}},
        },
    }


def node_claim_status(node_name: str, provider_id: str) -> Body:
    """The status of a NodeClaim whose machine is ready."""
    kinds = ("Launched", "Registered", "Initialized", "Ready")
    return {
        "conditions": [_condition(kind, kind, 1, is_true=True) for kind in kinds],
        "nodeName": node_name,
        "providerID": provider_id,
    }


def services(stored: KubeObject) -> tuple[Body, Body]:
    """The Service of the first pod, and the headless one of all pods."""
    selector = _identity(stored)
    ports = (("http", 80, 5000), ("ray", 6379, 6379), ("dashboard", 8265, 8265))
    front = {
        "type": "ClusterIP",
        "publishNotReadyAddresses": True,
        "selector": selector | {"statefulset.kubernetes.io/pod-name": f"{name_of(stored)}-0"},
        "ports": [
            {"name": name, "port": port, "targetPort": target, "protocol": "TCP"}
            for name, port, target in ports
        ],
    }
    headless = {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": selector}
    return (
        _owned(stored, "v1", "Service", name_of(stored), spec=front),
        _owned(stored, "v1", "Service", f"{name_of(stored)}-headless", spec=headless),
    )


def stateful_set(stored: KubeObject, *, replicas: int = 1) -> Body:
    """The StatefulSet that serves with vLLM; its command is a shell's."""
    name, identity = name_of(stored), _identity(stored)
    command = (
        "python3 /workspace/vllm/inference_api.py --served-model-name=phi-3-mini-4k-instruct"
        " --model=microsoft/Phi-3-mini-4k-instruct --download-dir=/workspace/weights"
        " --max-model-len=auto --gpu-memory-utilization=0.84 --tensor-parallel-size=1"
    )
    container = _container(stored, command) | {
        "ports": [{"containerPort": 5000, "protocol": "TCP"}],
        "startupProbe": _probe(periodSeconds=10, failureThreshold=180),
        "livenessProbe": _probe(periodSeconds=10, failureThreshold=3),
        "readinessProbe": _probe(initialDelaySeconds=30, periodSeconds=10),
    }
    spec = {
        "replicas": replicas,
        "podManagementPolicy": "Parallel",
        "serviceName": f"{name}-headless",
        "selector": {"matchLabels": identity},
        "template": {"metadata": {"labels": identity}, "spec": _pod(stored, container)},
    }
    return _owned(stored, "apps/v1", "StatefulSet", name, spec=spec)


def job(stored: KubeObject) -> Body:
    """The Job that tunes."""
    command = (
        "cd /workspace/tfs/ && python3 metrics_server.py & accelerate launch --num_processes=1"
        " --num_machines=1 --machine_rank=0 --gpu_ids=all /workspace/tfs/fine_tuning.py"
        " --pretrained_model_name_or_path=microsoft/Phi-3-mini-128k-instruct"
    )
    pod = _pod(stored, _container(stored, command)) | {"restartPolicy": "Never"}
    template = {"metadata": {"labels": _identity(stored)}, "spec": pod}
    spec = {"parallelism": 1, "completions": 1, "backoffLimit": 3, "template": template}
    return _owned(stored, "batch/v1", "Job", name_of(stored), spec=spec)


def _owned(stored: KubeObject, api_version: str, kind: str, name: str, *, spec: Body) -> Body:
    owner = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "name": name_of(stored),
        "uid": stored["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata: Body = {
        "name": name,
        "namespace": namespace_of(stored),
        "ownerReferences": [owner],
    }
    if kind != "Service":
        metadata |= {"labels": _identity(stored), "annotations": {REVISION: "1"}}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def _identity(stored: KubeObject) -> dict[str, str]:
    return {"kaito.sh/workspace": name_of(stored)}


def _pod(stored: KubeObject, container: Body) -> Body:
    wanted = {
        "apps": "phi-3",
        **_identity(stored),
        "kaito.sh/workspacenamespace": namespace_of(stored),
    }
    terms = [{"key": key, "operator": "In", "values": [value]} for key, value in wanted.items()]
    affinity = {"nodeSelectorTerms": [{"matchExpressions": terms}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": affinity}},
        "tolerations": [
            {"key": "nvidia.com/gpu", "operator": "Exists"},
            {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
        ],
        "containers": [container],
        "volumes": [
            {"name": "dshm", "emptyDir": {"medium": "Memory"}},
            {"name": "model-weights-volume", "emptyDir": {}},
        ],
    }


def _container(stored: KubeObject, command: str) -> Body:
    return {
        "name": name_of(stored),
        "image": BASE_IMAGE,
        "command": ["/bin/sh", "-c", command],
        "env": [{"name": "VLLM_USE_FLASHINFER_SAMPLER", "value": "0"}],
        "resources": {"requests": {"nvidia.com/gpu": "1"}, "limits": {"nvidia.com/gpu": "1"}},
        "volumeMounts": [
            {"name": "dshm", "mountPath": "/dev/shm"},
            {"name": "model-weights-volume", "mountPath": "/workspace/weights"},
        ],
    }


def _probe(**settings: int) -> Body:
    return {"httpGet": {"path": "/health", "port": 5000}, **settings}


def _requirement(key: str, value: str) -> Body:
    return {"key": key, "operator": "In", "values": [value]}


def _condition(kind: str, reason: str, generation: int, *, is_true: bool) -> Body:
    return {
        "type": kind,
        "status": "True" if is_true else "False",
        "reason": reason,
        "message": reason,
        "observedGeneration": generation,
        "lastTransitionTime": "2025-12-31T12:00:00Z",
    }
