"""What the twin's cloud says no with, in Azure's words.

The cloud decides; here is only which code, status and text that has in Azure.
"""

import re
from typing import Any, Final

from kaito.adapters.fake.arm.errors import ArmError, error_body, throttled
from kaito.adapters.fake.arm.families import quota_name
from kaito.adapters.fake.arm.place import Place
from kaito.adapters.fake.cloud_limits import quota_family
from kaito.adapters.fake.cloud_supply import CloudSupply
from kaito.adapters.fake.machine_life import MachineLife
from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Unavailable,
)
from kaito.domain.machine import MachineOrder, Shortage

_CODE: Final = re.compile(r"(?P<code>[A-Za-z]\w+): (?P<message>.+)", re.DOTALL)
_HELP: Final = (
    "Read more about improving likelihood of allocation success at "
    "http://aka.ms/allocation-guidance"
)


def order_refused(
    error: PortError, order: MachineOrder, place: Place, supply: CloudSupply, catalogue: Catalogue
) -> ArmError:
    """The answer to a PUT whose order the cloud refused."""
    if isinstance(error, QuotaExceeded):
        return _quota(order, place, supply, catalogue)
    if isinstance(error, MachineLimitReached):
        return too_many_pools(supply.limits.machines or 0)
    if isinstance(error, CapacityUnavailable):
        return _not_available(order, place)
    # Source of code and text: https://github.com/Azure/karpenter-provider-azure, the design of its
    # client of AKS machines.
    return ArmError(
        400,
        "VMSizeNotSupported",
        f"Virtual Machine size: '{order.instance_type}' is not supported for subscription "
        f"{place.subscription} in location '{place.region}'.",
    )


def too_many_pools(limit: int) -> ArmError:
    """The cluster is full. AKS documents the limit (100), not the words of the refusal.

    Source of the limit: https://learn.microsoft.com/azure/aks/quotas-skus-regions; of the code:
    https://github.com/GoogleCloudPlatform/PerfKitBenchmarker, its benchmark of node pools on AKS.
    """
    return ArmError(
        400,
        "MaxAgentPoolCountReached",
        f"The number of agent pools exceeds the maximum of agent pools per cluster ({limit}).",
        target="agentPoolProfiles",
    )


def call_refused(error: Unavailable, handler: str, scope: str) -> ArmError:
    """The answer to a call for which there is no token left."""
    return throttled(handler, scope, error.retry_after_s or 0.0)


def failure_of(life: MachineLife) -> dict[str, Any]:
    """The error of an agent pool's operation whose machine was not made."""
    if life.shortage is Shortage.CAPACITY:
        code, where = "AllocationFailed", "region"
        if life.order.zone:
            code, where = "ZonalAllocationFailed", "zone"
        message = (
            "Allocation failed. We do not have sufficient capacity for the requested VM size in "
            f"this {where}. {_HELP}"
        )
    else:
        found = _CODE.fullmatch(life.error)
        code = found["code"] if found else "InternalOperationError"
        message = found["message"] if found else life.error
    detail = {"code": code, "message": message, "target": "0"}
    text = f'original error: Code="{code}" Message="{message}" Target="0"'
    return error_body(code, text, details=[detail])


def _quota(
    order: MachineOrder, place: Place, supply: CloudSupply, catalogue: Catalogue
) -> ArmError:
    """Source of code and text: https://github.com/1ChristianAlex/motordesk/issues/14"""
    instance_type = catalogue.instance_type(order.instance_type)
    family = quota_family(instance_type, order.capacity_type)
    limit = supply.limits.quota_vcpus.get(family, 0)
    remaining = max(limit - supply.used_vcpus(family), 0)
    return ArmError(
        400,
        "ErrCode_InsufficientVCPUQuota",
        f"Insufficient vcpu quota requested {instance_type.vcpus}, remaining {remaining} for "
        f"family {quota_name(family)} for region {place.region}. If you want to increase the "
        "quota, please follow this instruction: "
        "https://learn.microsoft.com/en-us/azure/quotas/view-quotas.",
    )


def _not_available(order: MachineOrder, place: Place) -> ArmError:
    """Source of code and text: https://learn.microsoft.com/azure/azure-resource-manager/
    troubleshooting/error-sku-not-available"""
    zone = order.zone.removeprefix(f"{place.region}-")
    zones = f" zones '{zone}'" if zone else ""
    return ArmError(
        409,
        "SkuNotAvailable",
        f"The requested size for resource '{place.pool_id(order.name)}' is currently not available "
        f"in location '{place.region}'{zones} for subscription '{place.subscription}'. Please try "
        "another size or deploy to a different location or zones. See "
        "https://aka.ms/azureskunotavailable for details.",
    )
