"""What each error code of Azure means for a machine: one table, the first row that matches counts.

Azure wraps errors in errors: the outer code is often one of a class (`BadRequest`, `Conflict`,
`ReconcileVMSSAgentPoolFailed`), and the reason stands inside, in `details` or in a message's text.
So the innermost code that is not generic decides, and a generic one only where there is no other.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from kaito.adapters.azure.error_bodies import ErrorNode


class Reaction(StrEnum):
    """What the caller does next."""

    CAPACITY = "capacity"  # try another zone or type
    QUOTA = "quota"  # a human raises a limit, or another type does
    MACHINE_LIMIT = "machine limit"  # some machines must go first
    REJECTED = "rejected"  # a human must act
    BUSY = "busy"  # another operation goes on: repeat it later
    EXISTS = "exists"  # there is such a pool already
    GONE = "gone"  # there is no such pool (any more)
    THROTTLED = "throttled"  # no call before a time that is told
    TRANSIENT = "transient"  # repeat it later


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Codes that mean the same, with where that is documented.

    A code that ends with `*` stands for all that begin so. `text`: only where the message matches,
    whatever its case. `generic`: any other row within the same error says more. `zonal`: it is
    about the zone that was asked for. `everywhere`: not only this kind of call is throttled.
    """

    codes: tuple[str, ...]
    reaction: Reaction
    source: str
    remedy: str = ""
    text: str = ""
    generic: bool = False
    zonal: bool = False
    everywhere: bool = False

    def matches(self, node: ErrorNode) -> bool:
        code = node.code.casefold()
        if not any(_is(code, each.casefold()) for each in self.codes):
            return False
        return not self.text or re.search(self.text, node.message, re.IGNORECASE) is not None


# Documentation of AKS and of Azure Resource Manager; what other clients of theirs rely on.
_AKS: Final = "https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/error-codes"
_ARM: Final = "https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting"
_COMMON: Final = f"{_ARM}/common-deployment-errors"
_KARPENTER: Final = "https://github.com/Azure/karpenter-provider-azure (pkg/providers/instance)"
_AUTH: Final = "https://learn.microsoft.com/rest/api/azure/#authentication"

ROWS: Final = (
    # Sold out.
    Row(
        codes=("ZonalAllocationFailed", "OverconstrainedZonalAllocationRequest"),
        reaction=Reaction.CAPACITY,
        source=f"{_AKS}/zonalallocation-allocationfailed-error; {_KARPENTER}",
        zonal=True,
    ),
    Row(
        codes=("AvailabilityZoneNotSupported",),
        reaction=Reaction.CAPACITY,
        source=f"{_AKS}/availabilityzonenotsupported-error",
        zonal=True,
    ),
    Row(
        codes=("AllocationFailed", "OverconstrainedAllocationRequest"),
        reaction=Reaction.CAPACITY,
        source=f"{_AKS}/zonalallocation-allocationfailed-error; {_KARPENTER}",
    ),
    Row(
        codes=("SkuNotAvailable", "NotAvailableForSubscription"),
        reaction=Reaction.CAPACITY,
        source=f"{_ARM}/error-sku-not-available",
    ),
    Row(
        codes=("AksCapacityHeavyUsage", "AKSCapacityError"),
        reaction=Reaction.CAPACITY,
        source=f"{_AKS}/akscapacityheavyusage-error",
    ),
    # Limits that a human can have raised.
    Row(
        codes=("QuotaExceeded", "ResourceQuotaExceeded"),
        reaction=Reaction.QUOTA,
        source=f"{_AKS}/quota-exceeded-error; {_COMMON}",
        remedy="Ask Azure for more quota of this VM family, or name other instance types",
    ),
    Row(
        codes=("ErrCode_InsufficientVCPUQuota", "InsufficientVCPUQuota"),
        reaction=Reaction.QUOTA,
        source="https://learn.microsoft.com/azure/quotas/view-quotas",
        remedy="Ask Azure for more quota of this VM family, or name other instance types",
    ),
    Row(
        codes=("OperationNotAllowed",),
        text=r"\bquota\b",
        reaction=Reaction.QUOTA,
        source=f"{_ARM}/error-resource-quota; {_KARPENTER}",
        remedy="Ask Azure for more quota of this VM family, or name other instance types",
    ),
    # The cluster is full.
    Row(
        codes=("MaxAgentPoolCountReached",),
        reaction=Reaction.MACHINE_LIMIT,
        source="https://github.com/GoogleCloudPlatform/PerfKitBenchmarker (its benchmark of AKS)",
    ),
    Row(
        codes=("BadRequest", "InvalidParameter", "OperationNotAllowed"),
        text=r"\b(?:number|maximum|limit) of (?:\d+ )?(?:agent|node) ?pools\b",
        reaction=Reaction.MACHINE_LIMIT,
        source="https://learn.microsoft.com/azure/aks/quotas-skus-regions (node pools per cluster)",
    ),
    Row(
        codes=("SubnetIsFull", "InsufficientSubnetSize"),
        reaction=Reaction.MACHINE_LIMIT,
        source=f"{_AKS}/subnetisfull-error",
        remedy="The cluster's subnet has no addresses left: free some, or use a larger one",
    ),
    Row(
        codes=("KubenetNodeCountTotalExceedsLimit",),
        reaction=Reaction.MACHINE_LIMIT,
        source="https://github.com/kubernetes-sigs/cloud-provider-azure/pull/4158",
    ),
    # Throttled.
    Row(
        codes=("SubscriptionRequestsThrottled", "TooManyRequestsReceived"),
        reaction=Reaction.THROTTLED,
        source=f"{_AKS}/toomanyrequestsreceived-error; {_AKS}/subscriptionrequeststhrottled",
        everywhere=True,
    ),
    Row(
        codes=("Throttled", "TooManyRequests", "OperationThrottled"),
        reaction=Reaction.THROTTLED,
        source=f"{_AKS}/throttled-error",
    ),
    Row(
        codes=("OperationNotAllowed",),
        text=r"too many requests",
        reaction=Reaction.THROTTLED,
        source=f"{_AKS}/toomanyrequestsreceived-error",
        everywhere=True,
    ),
    # Something else goes on.
    Row(
        codes=("OperationNotAllowed", "Conflict", "BadRequest"),
        text=r"in progress|another (?:\w+ )?operation|aks-pending-operation",
        reaction=Reaction.BUSY,
        source="https://aka.ms/aks-pending-operation",
    ),
    Row(
        codes=("AnotherOperationInProgress", "DeploymentActiveAndUneditable"),
        reaction=Reaction.BUSY,
        source=_COMMON,
    ),
    Row(
        codes=("AKSOperationPreempted", "AKSOperationPreemptedByDelete", "OperationPreempted"),
        reaction=Reaction.BUSY,
        source=f"{_AKS}/aksoperationpreempted-error",
    ),
    Row(
        codes=("VirtualNetworkNotInSucceededState",),
        reaction=Reaction.BUSY,
        source=f"{_AKS}/virtualnetworknotinsucceededstate-error",
    ),
    Row(
        codes=("Canceled",),
        reaction=Reaction.BUSY,
        source="https://github.com/hashicorp/terraform-provider-azurerm/issues/8260",
    ),
    Row(
        codes=("EtagMismatch", "PreconditionFailed"),
        reaction=Reaction.EXISTS,
        source="https://learn.microsoft.com/azure/aks/use-etags",
    ),
    # Not allowed, not possible, not there.
    Row(
        codes=("AuthorizationFailed", "LinkedAuthorizationFailed"),
        reaction=Reaction.REJECTED,
        source=f"{_COMMON}; {_AKS}/linkedauthorizationfailed-error",
        remedy="Give kaito's identity a role that may read, write and delete the cluster's agent "
        "pools",
    ),
    Row(
        codes=("ScopeLocked",),
        reaction=Reaction.REJECTED,
        source="https://learn.microsoft.com/azure/azure-resource-manager/management/lock-resources",
        remedy="Remove the lock from the cluster, its resource group or the subscription",
    ),
    Row(
        codes=("InvalidAuthenticationTokenTenant", "InvalidClientSecret"),
        reaction=Reaction.REJECTED,
        source=f"{_COMMON}; {_AKS}/bad-request-or-invalid-client-secret-error",
        remedy="Give kaito an identity of the subscription's tenant",
    ),
    Row(
        codes=("ServicePrincipalValidationClientError",),
        reaction=Reaction.REJECTED,
        source=f"{_AKS}/serviceprincipalvalidationclienterror-error",
        remedy="Renew the credentials of the cluster's own service principal",
    ),
    Row(
        codes=("RequestDisallowedByPolicy", "RequestDisallowedByAzure"),
        reaction=Reaction.REJECTED,
        source=f"{_AKS}/requestdisallowedbypolicy-error",
        remedy="Except the cluster's agent pools from the policy",
    ),
    Row(
        codes=(
            "MissingSubscriptionRegistration",
            "SubscriptionNotRegistered",
            "NoRegisteredProviderFound",
            "MissingRegistrationForLocation",
        ),
        reaction=Reaction.REJECTED,
        source=f"{_AKS}/missingsubscriptionregistration-error; {_COMMON}",
        remedy="Register the resource provider Microsoft.ContainerService in the subscription",
    ),
    Row(
        codes=("RegionDoesNotAllowProvisioning", "ReadOnlyDisabledSubscription"),
        reaction=Reaction.REJECTED,
        source=_COMMON,
    ),
    Row(
        codes=("SubscriptionNotFound", "ResourceGroupNotFound", "ParentResourceNotFound"),
        reaction=Reaction.REJECTED,
        source=f"{_COMMON}; {_ARM}/error-parent-resource",
        remedy="Check --azure-subscription-id, --azure-resource-group and --azure-cluster-name",
    ),
    Row(
        codes=("ResourceNotFound", "NotFound"),
        text=r"managedClusters/[^/'\"\s]+['\"]?(?![^'\"\s]*/agentPools)",
        reaction=Reaction.REJECTED,
        source=f"{_ARM}/error-not-found",
        remedy="Check --azure-resource-group and --azure-cluster-name",
    ),
    Row(
        codes=("VMSizeNotSupported",),
        reaction=Reaction.REJECTED,
        source=f"https://aka.ms/aks/vm-size-selector; {_KARPENTER}",
        remedy="Name an instance type that Azure sells to this subscription in this location",
    ),
    Row(
        codes=("BadRequest", "InvalidParameter"),
        text=r"not allowed in your subscription",
        reaction=Reaction.CAPACITY,
        source="https://github.com/MicrosoftDocs/azure-docs/issues/45485",
        remedy="Name an instance type that Azure sells to this subscription in this location",
    ),
    Row(
        codes=("BadRequest", "InvalidParameter"),
        text=r"not supported for subscription",
        reaction=Reaction.REJECTED,
        source=_KARPENTER,
        remedy="Name an instance type that Azure sells to this subscription in this location",
    ),
    Row(
        codes=("PropertyChangeNotAllowed", "PublicIPCountLimitReached"),
        reaction=Reaction.REJECTED,
        source=f"{_COMMON}; {_AKS}/publicipcountlimitreached-error",
    ),
    Row(
        codes=("InvalidResourceReference", "LinkedInvalidPropertyId"),
        reaction=Reaction.REJECTED,
        source=f"{_AKS}/invalidresourcereference-error; {_COMMON}",
    ),
    Row(
        codes=("NodePoolMcVersionIncompatible",),
        reaction=Reaction.REJECTED,
        source=f"{_AKS}/nodepoolmcversionincompatible-error",
        remedy="Upgrade the cluster's control plane",
    ),
    Row(
        codes=("AgentPoolNotFound",),
        reaction=Reaction.GONE,
        source="https://github.com/Azure/gpu-provisioner (pkg/providers/instance)",
    ),
    # A machine that fails while it starts.
    Row(
        codes=("VMExtensionProvisioningError", "VMExtensionProvisioningTimeout"),
        reaction=Reaction.TRANSIENT,
        source=f"{_AKS}/vmextensionerror-provisioningtimeout",
    ),
    Row(
        codes=("VMExtensionError*",),
        reaction=Reaction.TRANSIENT,
        source=f"{_AKS}/vmextensionerror-outboundconnfail",
    ),
    Row(
        codes=("VHDFileNotFound", "UpgradeFailed"),
        reaction=Reaction.TRANSIENT,
        source=f"{_AKS}/vhdfilenotfound; {_AKS}/upgradefailed-error",
    ),
    Row(
        codes=("OSProvisioningTimedOut", "NetworkingInternalOperationError"),
        reaction=Reaction.TRANSIENT,
        source="https://github.com/Azure/AKS/issues/4553",
    ),
    # Trouble on Azure's side.
    Row(
        codes=("ExpiredAuthenticationToken", "InvalidAuthenticationToken", "AuthenticationFailed"),
        reaction=Reaction.TRANSIENT,
        source=_AUTH,
    ),
    Row(
        codes=(
            "InternalServerError",
            "InternalOperationError",
            "ServiceUnavailable",
            "ServerTimeout",
            "GatewayTimeout",
            "RetryableError",
            "ProvisioningInternalError",
        ),
        reaction=Reaction.TRANSIENT,
        source=_COMMON,
        generic=True,
    ),
    # Codes of a class: the reason stands inside, where there is one.
    Row(
        codes=(
            "CreateVMSSAgentPoolFailed",
            "ReconcileVMSSAgentPoolFailed",
            "UpdateVMSSAgentPoolFailed",
            "UpgradeVMSSAgentPoolFailed",
            "ResourceDeploymentFailure",
            "ProvisioningFailed",
        ),
        reaction=Reaction.TRANSIENT,
        source="https://github.com/hashicorp/terraform-provider-azurerm/issues/13625",
        generic=True,
    ),
    Row(
        codes=("NotFound", "ResourceNotFound"),
        reaction=Reaction.GONE,
        source=f"{_ARM}/error-not-found",
        generic=True,
    ),
    Row(codes=("Conflict",), reaction=Reaction.BUSY, source=_COMMON, generic=True),
    Row(
        codes=(
            "BadRequest",
            "InvalidParameter",
            "InvalidRequestContent",
            "InvalidRequestFormat",
            "ValidationError",
            "OperationNotAllowed",
        ),
        reaction=Reaction.REJECTED,
        source=f"{_AKS}/invalidparameter-error; {_COMMON}",
        generic=True,
    ),
)

# What a status says, where no code says more: RFC 9110, and RFC 6585 for 429.
_BY_STATUS: Final = {
    401: Reaction.TRANSIENT,
    404: Reaction.GONE,
    408: Reaction.TRANSIENT,
    412: Reaction.EXISTS,
    429: Reaction.THROTTLED,
}


def row_of(nodes: Sequence[ErrorNode]) -> tuple[Row, ErrorNode] | None:
    """The row that says most about an error, and where in the error it was found."""
    best: tuple[Row, ErrorNode] | None = None
    for node in nodes:
        row = next((each for each in ROWS if each.matches(node)), None)
        if row is not None and (best is None or _rank(row, node) > _rank(*best)):
            best = (row, node)
    return best


def reaction_to_status(status: int | None) -> Reaction | None:
    """What a status alone means; None where it does not say enough."""
    if status is not None and status >= 500:
        return Reaction.TRANSIENT
    return _BY_STATUS.get(status or 0)


def known_codes() -> Iterable[str]:
    """Every code of the table, as it is written there."""
    return (code for row in ROWS for code in row.codes)


def _rank(row: Row, node: ErrorNode) -> tuple[bool, int]:
    return (not row.generic, node.depth)


def _is(code: str, pattern: str) -> bool:
    return code.startswith(pattern[:-1]) if pattern.endswith("*") else code == pattern
