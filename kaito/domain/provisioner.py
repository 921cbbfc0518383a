"""Who brings the Nodes that Workspaces run on."""

from enum import StrEnum


class Provisioner(StrEnum):
    """`KARPENTER`: kaito orders machines as NodeClaims, on which somebody else acts.
    `AKS`: kaito acts on them itself, and makes agent pools of Azure Kubernetes Service.
    `BYO`, bring your own: kaito uses the Nodes that are there and orders none."""

    KARPENTER = "karpenter"
    AKS = "aks"
    BYO = "byo"
