"""Whether the machines that are wished for can be bought: sizes, quotas, prices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kaito.adapters.azure.arm_reads import Unread
from kaito.adapters.azure.compute import ALL_FAMILIES, SPOT, Quota, Size
from kaito.adapters.azure.findings import Area, Finding, ForShell, Status, command
from kaito.adapters.azure.retail_prices import FoundPrice
from kaito.adapters.azure.settings import AzureSettings
from kaito.domain.machine import CapacityType

_SUBSCRIPTION: Final = "$(az account show --query id --output tsv)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Machines that may be ordered, bought in one of `capacity_types`, best first; `fallback`: only
    where something else cannot be had."""

    instance_type: str
    machines: int = 1
    capacity_types: tuple[CapacityType, ...] = (CapacityType.ON_DEMAND,)
    fallback: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """One way to buy what is wished for, and the quotas that it takes vCPUs of."""

    wish: Wish
    vcpus: int
    quotas: tuple[str, ...]


def machines_of(wishes: Sequence[Wish]) -> int:
    """How many are ordered at most, if nothing has to be fallen back to."""
    return sum(wish.machines for wish in wishes if not wish.fallback)


def size_findings(
    wishes: Sequence[Wish], sizes: Mapping[str, Size] | Unread, settings: AzureSettings
) -> Iterator[Finding]:
    """Whether each type is sold to the subscription where the cluster is."""
    for name, of_type in by_type(wishes).items():
        if isinstance(sizes, Unread):
            yield Finding(
                area=Area.INSTANCE_TYPE,
                subject=name,
                status=Status.NOT_CHECKED,
                message=f"whether it is sold in {settings.location} could not be read: {sizes}",
            )
            continue
        lacking = Status.WARNING if all(wish.fallback for wish in of_type) else Status.MISSING
        yield _size_finding(name, of_type, sizes.get(name.casefold()), settings, lacking)


def quota_findings(
    wishes: Sequence[Wish],
    sizes: Mapping[str, Size] | Unread,
    quotas: Mapping[str, Quota] | Unread,
    settings: AzureSettings,
) -> Iterator[Finding]:
    """Whether the vCPUs of all wishes together are within what is left of each quota."""
    unread = next((each for each in (quotas, sizes) if isinstance(each, Unread)), None)
    if isinstance(quotas, Unread) or isinstance(sizes, Unread):
        for name in by_type(wishes):
            yield Finding(
                area=Area.QUOTA,
                subject=name,
                status=Status.NOT_CHECKED,
                message=f"could not be read: {unread}",
            )
        return
    ways = list(_ways(wishes, sizes))
    needs = _needs(ways)
    short = {
        name
        for name, need in needs.items()
        if name.casefold() in quotas and quotas[name.casefold()].left < need
    }
    stuck = _quotas_without_another_way(ways, short)
    for name, need in needs.items():
        quota = quotas.get(name.casefold())
        if quota is None:
            yield Finding(
                area=Area.QUOTA,
                subject=name,
                status=Status.NOT_CHECKED,
                message=f"Azure lists no quota of this name in {settings.location}",
            )
            continue
        text = f"{quota.left} of {quota.limit} vCPUs are left"
        if name not in short:
            text, status, remedy = f"{text}, and {need} are needed", Status.OK, ""
        else:
            status = Status.MISSING if name in stuck else Status.WARNING
            text = f"{text}, and {need} are needed"
            remedy = _raise_quota(quota, quota.used + need, settings)
        yield Finding(
            area=Area.QUOTA, subject=quota.title, status=status, message=text, remedy=remedy
        )


def price_finding(name: str, wishes: Sequence[Wish], price: FoundPrice | None) -> Finding:
    """What one machine costs."""
    if price is None:
        return Finding(
            area=Area.PRICE,
            subject=name,
            status=Status.NOT_CHECKED,
            message="neither Azure's retail prices nor kaito's presets have one",
        )
    wants_spot = any(CapacityType.SPOT in wish.capacity_types for wish in wishes)
    parts = [f"{_usd(price.of(spot=False))} on demand"]
    if wants_spot or price.of(spot=True) is not None:
        parts.append(f"{_usd(price.of(spot=True))} as spot")
    return Finding(
        area=Area.PRICE,
        subject=name,
        status=Status.OK,
        message=f"{', '.join(parts)}, per hour in USD",
        source=price.source + (f", of {price.as_of}" if price.as_of else ", of a day not told"),
    )


def by_type(wishes: Sequence[Wish]) -> Mapping[str, Sequence[Wish]]:
    """The wishes of each instance type, in order of their first."""
    found: dict[str, list[Wish]] = {}
    for wish in wishes:
        found.setdefault(wish.instance_type, []).append(wish)
    return found


def _size_finding(
    name: str,
    wishes: Sequence[Wish],
    size: Size | None,
    settings: AzureSettings,
    lacking: Status,
) -> Finding:
    where = settings.location
    look = ("az", "vm", "list-skus", "--resource-type", "virtualMachines", "--all")
    elsewhere = command(*look, "--size", name, "--output", "table")
    others = command(*look, "--location", where, "--size", "Standard_N", "--output", "table")
    status, remedy = Status.OK, ""
    if size is None:
        status, text, remedy = lacking, f"is not sold in {where}", elsewhere
    elif size.barred:
        status, remedy = lacking, others
        text = f"may not be bought by this subscription in {where}: {size.barred}"
    elif size.zones and not size.open_zones:
        status, remedy = lacking, others
        text = f"may not be bought by this subscription in any zone of {where}"
    elif settings.zones and not set(settings.zones) & set(size.open_zones):
        status, remedy = lacking, elsewhere
        text = f"is sold in {_zones(size)} of {where}, and --azure-zones names none of them"
    elif size.spot is False and any(_only_spot(wish) for wish in wishes):
        status, text = lacking, "is not sold as spot"
    elif set(settings.zones) - set(size.open_zones):
        status, text = Status.WARNING, f"is sold only in {_zones(size)} of {where}"
    else:
        text = f"is sold in {where}, {_zones(size)}"
    return Finding(
        area=Area.INSTANCE_TYPE, subject=name, status=status, message=text, remedy=remedy
    )


def _only_spot(wish: Wish) -> bool:
    return set(wish.capacity_types) == {CapacityType.SPOT}


def _zones(size: Size) -> str:
    return f"zones {', '.join(size.open_zones)}" if size.open_zones else "without zones"


def _ways(wishes: Sequence[Wish], sizes: Mapping[str, Size]) -> Iterator[_Way]:
    for wish in wishes:
        size = sizes.get(wish.instance_type.casefold())
        if size is None or not size.family:
            continue
        for capacity in wish.capacity_types:
            spot = capacity is CapacityType.SPOT
            quotas = (SPOT,) if spot else (size.family, ALL_FAMILIES)
            yield _Way(wish=wish, vcpus=size.vcpus * wish.machines, quotas=quotas)


def _needs(ways: Sequence[_Way]) -> dict[str, int]:
    """vCPUs by quota: of all first wishes together; where there are none, of the largest
    fallback."""
    needs: dict[str, int] = {}
    first: set[str] = set()
    for way in sorted(ways, key=lambda way: way.wish.fallback):
        for quota in way.quotas:
            if not way.wish.fallback:
                needs[quota] = needs.get(quota, 0) + way.vcpus
                first.add(quota)
            elif quota not in first:
                needs[quota] = max(needs.get(quota, 0), way.vcpus)
    return needs


def _quotas_without_another_way(ways: Sequence[_Way], short: set[str]) -> set[str]:
    """The quotas too small that a first wish hangs on: no way to buy it goes round all of them."""
    stuck: set[str] = set()
    for wish in {id(way.wish): way.wish for way in ways if not way.wish.fallback}.values():
        of_wish = [way for way in ways if way.wish is wish]
        if all(short & set(way.quotas) for way in of_wish):
            stuck.update(quota for way in of_wish for quota in way.quotas if quota in short)
    return stuck


def _raise_quota(quota: Quota, limit: int, settings: AzureSettings) -> str:
    """Source: https://learn.microsoft.com/cli/azure/quota (an extension of the Azure CLI)."""
    scope = (
        f"/subscriptions/{_SUBSCRIPTION}/providers/Microsoft.Compute/locations/{settings.location}"
    )
    kind = "lowPriority" if quota.name == SPOT else "dedicated"
    return command(
        *("az", "quota", "update", "--resource-name", quota.name, "--resource-type", kind),
        *("--limit-object", f"value={limit}", "--scope", ForShell(scope)),
    )


def _usd(amount: float | None) -> str:
    return "unknown" if amount is None else f"{amount:.2f}"
