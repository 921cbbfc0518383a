"""Microsoft.Compute, as far as one buys machines by it: quotas in use, and what is on sale."""

from typing import Any, Final

from kaito.adapters.fake.arm.families import localized_name, quota_name
from kaito.adapters.fake.cloud_stock import ZONES
from kaito.adapters.fake.cloud_supply import CloudSupply
from kaito.domain.catalogue import Catalogue
from kaito.domain.gpu import InstanceType
from kaito.domain.vm_family import SPOT_QUOTA, vm_family

AZURE: Final = "azure"
# What Azure grants without limit is a very high one.
_PLENTY: Final = 100_000


def usages(catalogue: Catalogue, supply: CloudSupply) -> list[dict[str, Any]]:
    """vCPUs in use and the limit: of the region, of spot machines, of every family.

    Source: https://learn.microsoft.com/rest/api/compute/usage/list
    """
    families = sorted({vm_family(one.name) for one in _on_sale(catalogue)})
    used = {family: supply.used_vcpus(family) for family in (*families, SPOT_QUOTA)}
    total = sum(used[family] for family in families)
    return [
        _usage("cores", "Total Regional vCPUs", total, _PLENTY),
        *(
            _usage(
                quota_name(family),
                localized_name(family),
                used[family],
                supply.limits.quota_vcpus.get(family, _PLENTY),
            )
            for family in (SPOT_QUOTA, *families)
        ),
    ]


def skus(catalogue: Catalogue, supply: CloudSupply, region: str) -> list[dict[str, Any]]:
    """The sizes of the region, and where the subscription may not have them.

    Source: https://learn.microsoft.com/rest/api/compute/resource-skus/list
    """
    return [_sku(one, supply, region) for one in _on_sale(catalogue)]


def _on_sale(catalogue: Catalogue) -> list[InstanceType]:
    return [one for one in catalogue.instance_types if one.cloud == AZURE]


def _usage(name: str, localized: str, used: int, limit: int) -> dict[str, Any]:
    return {
        "unit": "Count",
        "currentValue": used,
        "limit": limit,
        "name": {"value": name, "localizedValue": localized},
    }


def _sku(instance_type: InstanceType, supply: CloudSupply, region: str) -> dict[str, Any]:
    name = instance_type.name
    zones = [str(zone) for zone in range(1, ZONES + 1)]
    allowed = {str(zone) for zone in supply.zones_of(name)}
    barred = [zone for zone in zones if zone not in allowed]
    capabilities = {
        "vCPUs": instance_type.vcpus,
        "MemoryGB": f"{instance_type.memory_bytes / (1 << 30):g}",
        "GPUs": instance_type.gpu_count,
        "CpuArchitectureType": "x64",
        "LowPriorityCapable": any(
            price.spot_usd_per_hour is not None for price in instance_type.prices.values()
        ),
    }
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "tier": "Standard",
        "size": name.removeprefix("Standard_"),
        "family": quota_name(vm_family(name)),
        "locations": [region],
        "locationInfo": [{"location": region, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": key, "value": str(value)} for key, value in capabilities.items()],
        "restrictions": _restrictions(region, barred, everywhere=not allowed),
    }


def _restrictions(region: str, barred: list[str], *, everywhere: bool) -> list[dict[str, Any]]:
    if not barred:
        return []
    info: dict[str, Any] = {"locations": [region]}
    if not everywhere:
        info["zones"] = barred
    return [
        {
            "type": "Location" if everywhere else "Zone",
            "values": [region],
            "restrictionInfo": info,
            "reasonCode": "NotAvailableForSubscription",
        }
    ]
