"""Names of the labels, annotations, taints and finalizers that kaito reads and writes.

Those under `kaito.sh/` that KAITO v0.12 knows keep its meaning (api/v1beta1/labels.go,
pkg/utils/consts/consts.go); the others are ours and are marked so.
"""

from typing import Final

PREFIX: Final = "kaito.sh/"
# Of the ControllerRevisions that are a Workspace's history, as KAITO v0.12 labels them. Not
# `kaito.sh/workspace`: those of its StatefulSet have that, from the pods.
HISTORY_OF: Final = "workspace.kaito.io/name"
WORKSPACE: Final = "kaito.sh/workspace"
WORKSPACE_NAMESPACE: Final = "kaito.sh/workspacenamespace"
WORKSPACE_UID: Final = "kaito.sh/workspace-uid"  # ours: a machine belongs to one Workspace by UID
SLOT: Final = "kaito.sh/slot"  # ours: which of the Workspace's machines, from 0
NODE_POOL: Final = "karpenter.sh/nodepool"
NODE_POOL_KAITO: Final = "kaito"
PROVISIONER: Final = "karpenter.sh/provisioner-name"  # of Machines, as NODE_POOL of NodeClaims
PROVISIONER_DEFAULT: Final = "default"
MACHINE_TYPE: Final = "kaito.sh/machine-type"
MACHINE_TYPE_GPU: Final = "gpu"
ACCELERATOR: Final = "accelerator"  # selected by the NVIDIA device plugin's DaemonSet
INSTANCE_TYPE: Final = "node.kubernetes.io/instance-type"
OPERATING_SYSTEM: Final = "kubernetes.io/os"
ARCHITECTURE: Final = "kubernetes.io/arch"
HOSTNAME: Final = "kubernetes.io/hostname"
ZONE: Final = "topology.kubernetes.io/zone"
CAPACITY_TYPE: Final = "karpenter.sh/capacity-type"
CAPACITY_ON_DEMAND: Final = "on-demand"
CAPACITY_SPOT: Final = "spot"
AZURE_SKU_NAME: Final = "karpenter.azure.com/sku-name"
AZURE_AGENT_POOL: Final = "kubernetes.azure.com/agentpool"
AZURE_SPOT: Final = "kubernetes.azure.com/scalesetpriority"  # label and taint of spot Nodes
AZURE_SPOT_VALUE: Final = "spot"

ENABLE_LOAD_BALANCER: Final = "kaito.sh/enablelb"
RUNTIME: Final = "kaito.sh/runtime"
ROLLOUT: Final = "kaito.sh/rollout"  # ours: in-place or surge
PAUSED: Final = "kaito.sh/paused"  # ours: "true" keeps kaito from changing anything
NODE_IMAGE_FAMILY: Final = "kaito.sh/node-image-family"
FALLBACK_INSTANCE_TYPES: Final = "kaito.sh/fallback-instance-types"  # ours: see machine_policy
CAPACITY_CHOICE: Final = "kaito.sh/capacity-type"  # ours: see machine_policy
RETRY: Final = "kaito.sh/retry"  # ours: a new value orders at once what waits for its next attempt
TUNING_RETRIES: Final = "kaito.sh/tuning-retries"  # ours: see tuning_attempts
DO_NOT_DISRUPT: Final = "karpenter.sh/do-not-disrupt"
TEMPLATE_HASH: Final = "kaito.sh/template-hash"  # ours: of the pod template and its config
CONFIG_HASH: Final = "kaito.sh/config-hash"  # ours: of the ConfigMap the pods were started with
NODE_SHAPE: Final = "kaito.sh/node-shape"  # ours: of the Nodes that a workload was sized for
GENERATION: Final = "kaito.sh/generation"  # ours: of the Workspace that a Job was made for

# The machine's record of what was ordered, written before the cloud is called (ours).
ATTEMPT: Final = "kaito.sh/attempt"
ATTEMPT_STARTED_AT: Final = "kaito.sh/attempt-started-at"
ATTEMPT_NOT_BEFORE: Final = "kaito.sh/attempt-not-before"
ATTEMPT_INSTANCE_TYPE: Final = "kaito.sh/attempt-instance-type"
ATTEMPT_CAPACITY_TYPE: Final = "kaito.sh/attempt-capacity-type"
ATTEMPT_ZONE: Final = "kaito.sh/attempt-zone"
ATTEMPT_REFUSED_ZONES: Final = "kaito.sh/attempt-refused-zones"
ATTEMPT_HOPS: Final = "kaito.sh/attempt-hops"
ATTEMPT_RETRY: Final = "kaito.sh/attempt-retry"
# Ours: the StorageClass of the local disks for weights, for which the OS disk has no room.
WEIGHTS_CLASS: Final = "kaito.sh/weights-storage-class"
OFFERED_GPUS: Final = "kaito.sh/offered-gpus"  # ours: of each instance type of a NodeClaim

WORKSPACE_FINALIZER: Final = "workspace.finalizer.kaito.sh"
MACHINE_FINALIZER: Final = "karpenter.sh/termination"

DISRUPTED_TAINT: Final = "karpenter.sh/disrupted"  # of a Node whose machine is given back
GPU_TAINT_KEY: Final = "sku"
GPU_TAINT_VALUE: Final = "gpu"
GPU_RESOURCE: Final = "nvidia.com/gpu"
MIG_PREFIX: Final = "nvidia.com/mig-"  # of resources and Node labels; a profile follows

# What NVIDIA's GPU feature discovery says of a Node; memory is of one GPU, in MiB.
GPU_PRODUCT: Final = "nvidia.com/gpu.product"
GPU_COUNT: Final = "nvidia.com/gpu.count"
GPU_MEMORY: Final = "nvidia.com/gpu.memory"

# What each Node says of itself.
SET_BY_KUBELET: Final = frozenset({INSTANCE_TYPE, OPERATING_SYSTEM, ARCHITECTURE})

# Keys that a user's labelSelector cannot claim: they say whose a node is.
RESERVED: Final = frozenset({WORKSPACE, WORKSPACE_NAMESPACE, WORKSPACE_UID, SLOT, NODE_POOL})
