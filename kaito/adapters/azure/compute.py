"""What Azure sells in a location, and how much of it the subscription may have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kaito.adapters.azure.arm_reads import JsonReader

_SIZES_VERSION: Final = "2021-07-01"
_QUOTAS_VERSION: Final = "2023-07-01"
_VIRTUAL_MACHINES: Final = "virtualmachines"

# Quotas that are not of a family. Source: the answers of `az vm list-usage`.
ALL_FAMILIES: Final = "cores"
SPOT: Final = "lowPriorityCores"


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A size as it is sold in one location. `family` names its quota; `barred` is why the
    subscription may not have it there, `barred_zones` where else it may not; `spot`: whether it is
    sold as spot, None where Azure does not say."""

    name: str
    family: str
    vcpus: int
    zones: tuple[str, ...] = ()
    barred_zones: tuple[str, ...] = ()
    barred: str = ""
    spot: bool | None = None

    @property
    def open_zones(self) -> tuple[str, ...]:
        """The zones where the subscription may have it."""
        return tuple(zone for zone in self.zones if zone not in self.barred_zones)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """vCPUs in use and the limit; `title` is what the portal calls it."""

    name: str
    title: str
    used: int
    limit: int

    @property
    def left(self) -> int:
        return max(self.limit - self.used, 0)


def read_sizes(reader: JsonReader, subscription_id: str, location: str) -> Mapping[str, Size]:
    """The sizes of virtual machines that are sold there, by case-folded name. Raises: Unread.

    Source: https://learn.microsoft.com/rest/api/compute/resource-skus/list
    """
    found = reader.items(
        f"/subscriptions/{subscription_id}/providers/Microsoft.Compute/skus",
        next_link="nextLink",
        field="value",
        **{"api-version": _SIZES_VERSION, "$filter": f"location eq '{location}'"},
    )
    sizes = [
        _size(each, location)
        for each in found
        if _text(each, "resourceType").casefold() == _VIRTUAL_MACHINES and _is_in(each, location)
    ]
    return {size.name.casefold(): size for size in sizes}


def read_quotas(reader: JsonReader, subscription_id: str, location: str) -> Mapping[str, Quota]:
    """The quotas of vCPUs there, by case-folded name. Raises: Unread.

    Source: https://learn.microsoft.com/rest/api/compute/usage/list
    """
    found = reader.items(
        f"/subscriptions/{subscription_id}/providers/Microsoft.Compute/locations/{location}/usages",
        next_link="nextLink",
        field="value",
        **{"api-version": _QUOTAS_VERSION},
    )
    quotas = {}
    for each in found:
        names = _mapping(each.get("name"))
        name = _text(names, "value")
        if name:
            quotas[name.casefold()] = Quota(
                name=name,
                title=_text(names, "localizedValue") or name,
                used=_number(each.get("currentValue")),
                limit=_number(each.get("limit")),
            )
    return quotas


def _size(body: Mapping[str, Any], location: str) -> Size:
    capabilities = {
        _text(each, "name"): _text(each, "value") for each in _maps(body, "capabilities")
    }
    zones = {
        zone
        for info in _maps(body, "locationInfo")
        if _same(_text(info, "location"), location)
        for zone in _texts(info.get("zones"))
    }
    barred, barred_zones = "", set[str]()
    for restriction in _maps(body, "restrictions"):
        info = _mapping(restriction.get("restrictionInfo"))
        places = _texts(info.get("locations")) or _texts(restriction.get("values"))
        if not any(_same(place, location) for place in places):
            continue
        if _text(restriction, "type").casefold() == "zone":
            barred_zones.update(_texts(info.get("zones")))
        else:
            barred = _text(restriction, "reasonCode") or "restricted"
    spot = capabilities.get("LowPriorityCapable", "").casefold()
    return Size(
        name=_text(body, "name"),
        family=_text(body, "family"),
        vcpus=_number(capabilities.get("vCPUs")),
        zones=tuple(sorted(zones)),
        barred_zones=tuple(sorted(barred_zones)),
        barred=barred,
        spot=spot == "true" if spot else None,
    )


def _is_in(body: Mapping[str, Any], location: str) -> bool:
    return any(_same(place, location) for place in _texts(body.get("locations")))


def _same(place: str, location: str) -> bool:
    return place.replace(" ", "").casefold() == location.casefold()


def _maps(body: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
    return [each for each in body.get(key) or () if isinstance(each, dict)]


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""


def _number(value: object) -> int:
    try:
        return int(float(str(value)))
    except (ValueError, OverflowError):
        return 0
