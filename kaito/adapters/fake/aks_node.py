"""The Node of an AKS machine with GPUs, as its kubelet registers it."""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.fake.kubernetes_version import VERSION
from kaito.adapters.fake.pods import with_condition
from kaito.adapters.kube_api import NODE, KubeObject, labels_of
from kaito.domain import labels
from kaito.domain.gpu import InstanceType
from kaito.domain.machine import Taint
from kaito.domain.timestamps import to_rfc3339

# AKS keeps some of a node's memory for itself; the twin takes a round share. Of the disk, the
# kubelet's eviction threshold of 10 % is not allocatable.
_ALLOCATABLE_SHARE: Final = 0.9
_MAX_PODS: Final = "110"
_KUBELET_PORT: Final = 10250
# AKS's default subnet is 10.224.0.0/16, in which Azure keeps the first four addresses.
_FIRST_ADDRESS: Final = 4
_ADDRESSES: Final = 0x10000 - _FIRST_ADDRESS - 1
IMAGE_VERSION: Final = "AKSUbuntu-2204gen2containerd-202609.22.0"
_RUNS: Final[Mapping[str, str]] = {
    "architecture": "amd64",
    "containerRuntimeVersion": "containerd://1.7.28-1",
    "kernelVersion": "5.15.0-1097-azure",
    "kubeProxyVersion": "",
    "kubeletVersion": f"v{VERSION}",
    "operatingSystem": "linux",
    "osImage": "Ubuntu 22.04.5 LTS",
}
GPU_TAINT: Final = Taint(
    key=labels.GPU_TAINT_KEY, value=labels.GPU_TAINT_VALUE, effect="NoSchedule"
)
SPOT_TAINT: Final = Taint(key=labels.AZURE_SPOT, value=labels.AZURE_SPOT_VALUE, effect="NoSchedule")
_CONDITIONS: Final = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "sufficient PID available"),
)


def internal_address(number: int) -> str:
    """The address of the machine with that number, counted from 0."""
    third, fourth = divmod(_FIRST_ADDRESS + number % _ADDRESSES, 256)
    return f"10.224.{third}.{fourth}"


def address_of(node: KubeObject) -> str:
    """A Node's internal address; empty where it has none."""
    for address in (node.get("status") or {}).get("addresses") or ():
        if address.get("type") == "InternalIP":
            return str(address["address"])
    return ""


def aks_node(
    *,
    name: str,
    pool: str,
    given_labels: Mapping[str, str],
    annotations: Mapping[str, str],
    instance_type: InstanceType,
    disk_bytes: int,
    zone: str,
    region: str,
    provider_id: str,
    address: str,
    now_s: float,
    spot: bool = False,
    taints: Sequence[Taint] = (GPU_TAINT,),
) -> dict[str, Any]:
    """A Node that is ready but for its GPUs: the driver makes them known later."""
    own = _labels(name, pool, instance_type.name, zone, region)
    if spot:
        own[labels.AZURE_SPOT] = labels.AZURE_SPOT_VALUE
    return {
        "apiVersion": NODE.api_version,
        "kind": NODE.kind,
        "metadata": {
            "name": name,
            "labels": dict(given_labels) | own,
            "annotations": {
                **annotations,
                "volumes.kubernetes.io/controller-managed-attach-detach": "true",
            },
        },
        "spec": {
            "providerID": provider_id,
            "taints": taints_of_node(taints, spot=spot),
        },
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            "conditions": _conditions(now_s),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": _KUBELET_PORT}},
            "nodeInfo": _node_info(provider_id, now_s),
            **_resources(instance_type, disk_bytes),
        },
    }


def taints_of_node(taints: Sequence[Taint], *, spot: bool) -> list[dict[str, str]]:
    """As a Node's spec has them; AKS taints the Nodes of spot machines itself."""
    if spot and SPOT_TAINT not in taints:
        taints = (*taints, SPOT_TAINT)
    return [{"key": one.key, "value": one.value, "effect": one.effect} for one in taints]


def is_spot(node: KubeObject) -> bool:
    """Whether the Node's machine is a spot machine."""
    return labels_of(node).get(labels.AZURE_SPOT) == labels.AZURE_SPOT_VALUE


def unreachable(node: KubeObject, now_s: float) -> list[dict[str, Any]]:
    """The conditions of a Node whose kubelet is heard of no more, as the control plane's
    node-lifecycle controller writes them."""
    return _with_condition(
        node,
        "Ready",
        "Unknown",
        "NodeStatusUnknown",
        "Kubelet stopped posting node status.",
        now_s,
    )


def preempted(node: KubeObject, now_s: float) -> list[dict[str, Any]]:
    """The conditions of a Node whose spot machine is wanted back, as AKS's node problem detector
    writes them (https://learn.microsoft.com/azure/aks/node-problem-detector)."""
    text = "Spot VM is being preempted"
    return _with_condition(node, "VMEventScheduled", "True", "PreemptScheduled", text, now_s)


def _with_condition(
    node: KubeObject, kind: str, status: str, reason: str, message: str, now_s: float
) -> list[dict[str, Any]]:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return with_condition(conditions, kind, status, now_s, reason=reason, message=message)


def _labels(name: str, pool: str, instance: str, zone: str, region: str) -> dict[str, str]:
    return {
        "agentpool": pool,
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/instance-type": instance,
        "beta.kubernetes.io/os": "linux",
        "failure-domain.beta.kubernetes.io/region": region,
        "failure-domain.beta.kubernetes.io/zone": zone,
        "kubernetes.azure.com/accelerator": "nvidia",
        labels.AZURE_AGENT_POOL: pool,
        "kubernetes.azure.com/mode": "user",
        "kubernetes.azure.com/node-image-version": IMAGE_VERSION,
        "kubernetes.azure.com/os-sku": "Ubuntu",
        "kubernetes.azure.com/role": "agent",
        labels.ARCHITECTURE: "amd64",
        labels.HOSTNAME: name,
        labels.OPERATING_SYSTEM: "linux",
        labels.INSTANCE_TYPE: instance,
        "topology.disk.csi.azure.com/zone": zone,
        "topology.kubernetes.io/region": region,
        labels.ZONE: zone,
    }


def _conditions(now_s: float) -> list[dict[str, str]]:
    now = to_rfc3339(now_s)
    said = [(kind, status, why, f"kubelet has {text}") for kind, status, why, text in _CONDITIONS]
    said.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    return [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        for kind, status, reason, message in said
    ]


def _node_info(provider_id: str, now_s: float) -> dict[str, str]:
    machine = uuid.uuid5(uuid.NAMESPACE_URL, provider_id)
    return {
        **_RUNS,
        "bootID": str(uuid.uuid5(machine, to_rfc3339(now_s))),
        "machineID": machine.hex,
        "systemUUID": str(machine),
    }


def _resources(instance: InstanceType, disk_bytes: int) -> dict[str, dict[str, str]]:
    memory_kib, disk_kib = instance.memory_bytes // 1024, disk_bytes // 1024
    capacity = {
        "cpu": str(instance.vcpus),
        "ephemeral-storage": f"{disk_kib}Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": f"{memory_kib}Ki",
        "pods": _MAX_PODS,
    }
    allocatable = capacity | {
        "ephemeral-storage": str(int(disk_bytes * _ALLOCATABLE_SHARE)),
        "memory": f"{int(memory_kib * _ALLOCATABLE_SHARE)}Ki",
    }
    return {"capacity": capacity, "allocatable": allocatable}
