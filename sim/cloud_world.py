"""What a scenario says of the cloud, as the twin's cloud takes it."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.cloud_limits import (
    AKS_OTHER_RATE,
    AKS_PUT_RATE,
    CloudLimits,
    Place,
    Rate,
)
from kaito.domain.catalogue import Catalogue
from kaito.domain.machine_budget import MachineGuards
from kaito.domain.machine_limits import MachineLimits
from sim.cloud_file import (
    ZONES,
    CloudChange,
    CloudPart,
    CloudSupply,
    GuardsPart,
    RateOf,
    StockOf,
    TimeoutsPart,
)

if TYPE_CHECKING:
    from kaito.adapters.fake.arm.endpoint import ArmEndpoint

_MINUTE_S: Final = 60.0
# At real speed; a client that looks less often sees the end of an operation later.
_POLL_AFTER_S: Final = 10.0
_STOP_S: Final = 120.0


def limits_of(part: CloudPart) -> CloudLimits:
    """The cloud at the start of the run."""
    put_rate, other_rate = None, None
    if part.throttling == "aks":
        put_rate, other_rate = AKS_PUT_RATE, AKS_OTHER_RATE
    elif part.throttling is not None:
        put_rate, other_rate = _rate(part.throttling.put), _rate(part.throttling.other)
    return CloudLimits(put_rate=put_rate, other_rate=other_rate, **_given(part))


def change_cloud(cloud: FakeGpuCloud, change: CloudChange) -> None:
    """Let it have more or less to sell, from now on."""
    given = _given(change)
    cloud.change_limits(CloudLimits(**given), set(given))
    if change.lose_zone is not None:
        cloud.lose_zone(change.lose_zone.zone, change.lose_zone.for_s)
    if change.evict_spot is not None:
        cloud.evict_spot(change.evict_spot)


def azure_of(
    cloud: FakeGpuCloud,
    *,
    catalogue: Catalogue,
    region: str,
    speed: float,
    now_s: Callable[[], float],
    port: int,
    catch_up: Callable[[], None],
    wake: Callable[[], None],
) -> "ArmEndpoint":
    """The cloud behind Azure Resource Manager: from now on its machines are named as AKS names
    them, and a stock-out shows only after the order.

    Raises: InvalidInput (nobody can listen there).
    """
    from kaito.adapters.fake.arm.app import ArmFront
    from kaito.adapters.fake.arm.endpoint import ArmEndpoint
    from kaito.adapters.fake.arm.place import Place

    place = Place(region=region)
    cloud.names = place.node_names
    cloud.change_limits(CloudLimits(late_shortages=True), {"late_shortages"})
    front = ArmFront(
        cloud,
        catalogue=catalogue,
        place=place,
        now_s=now_s,
        poll_after_s=max(round(_POLL_AFTER_S / speed), 1),
        stop_s=_STOP_S / speed,
        catch_up=catch_up,
        wake=wake,
    )
    return ArmEndpoint(front, port=port)


def guards_of(part: GuardsPart, region: str) -> MachineGuards:
    """The operator's guards, with the region's prices."""
    return MachineGuards(
        max_machines=part.max_machines, max_usd_per_hour=part.max_cost_per_hour, region=region
    )


def timeouts_of(part: TimeoutsPart) -> MachineLimits:
    """The operator's time-outs: those that the part sets, the others as in production."""
    return MachineLimits(**part.model_dump(exclude_none=True))


def _given(part: CloudSupply) -> dict[str, Any]:
    """The fields of `CloudLimits` that the part sets."""
    values: dict[str, Any] = {
        "quota_vcpus": None if part.quota is None else dict(part.quota),
        "stock": None if part.stock is None else _places(part.stock),
        "machines": part.machine_limit,
        "create_failure_rate": part.create_failure_rate,
        "evictions_per_hour": part.evictions_per_hour,
    }
    return {name: value for name, value in values.items() if value is not None}


def _rate(part: RateOf | None) -> Rate | None:
    if part is None:
        return None
    return Rate(burst=part.burst, per_second=part.per_minute / _MINUTE_S)


def _places(stock: Iterable[StockOf]) -> dict[Place, int]:
    return {
        (one.instance_type.lower(), zone): one.machines
        for one in stock
        for zone in ([one.zone] if one.zone is not None else range(1, ZONES + 1))
    }
