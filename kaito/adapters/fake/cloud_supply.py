"""All that stands between an order and a machine: throttling, quota, stock, failures, evictions."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

from kaito.adapters.fake.cloud_limits import CloudLimits, Place, Quota, Throttle
from kaito.adapters.fake.cloud_stock import ZONES, CloudStock
from kaito.adapters.fake.spot_market import SpotMarket
from kaito.adapters.fake.streams import Streams
from kaito.domain.errors import CapacityUnavailable, PortError, Rejected
from kaito.domain.gpu import InstanceType
from kaito.domain.machine import CapacityType, MachineOrder

# How a machine fails half-way.
# Source: https://learn.microsoft.com/troubleshoot/azure/azure-kubernetes/error-codes
_CREATE_FAILURES: Final = (
    "OSProvisioningTimedOut: the VM did not finish in the allotted time",
    "VMExtensionProvisioningError: the VM has reported a failure when processing its extension",
    "NetworkingInternalOperationError: an unexpected error occurred",
)


class CloudSupply:
    """What a cloud has to sell, within its limits. Every draw is from the machine's own stream."""

    def __init__(
        self, region: str, limits: CloudLimits, streams: Streams, now_s: Callable[[], float]
    ) -> None:
        self._limits = limits
        self._streams = streams
        self._now_s = now_s
        self._throttle = Throttle(limits.put_rate, limits.other_rate)
        self._quota = Quota(region)
        self.stock = CloudStock(region, limits.stock)
        self.market = SpotMarket(streams)

    @property
    def limits(self) -> CloudLimits:
        """As they are now, but for the stock, of which some is sold."""
        return self._limits

    def change(self, limits: CloudLimits, stock: Mapping[Place, int]) -> None:
        """New limits from now on; `stock` counts anew at the places that it names."""
        self._limits = limits
        self.stock.set(stock)

    def read(self) -> None:
        """Count a call that creates nothing. Raises: Unavailable (throttled)."""
        self._throttle.admit("other", "", self._now_s())

    def write(self, name: str) -> None:
        """Count a call that creates this machine. Raises: Unavailable (throttled)."""
        self._throttle.admit("put", name, self._now_s())

    def zone_for(self, order: MachineOrder) -> int:
        """The zone that is asked for, or one drawn.

        Raises: Rejected (there is no such zone), CapacityUnavailable (it is restricted).
        """
        if order.zone:
            try:
                zone = self.stock.number_of(order.zone)
            except ValueError as error:
                raise Rejected(str(error)) from error
        else:
            zone = self._streams.get(f"cloud/{order.name}").randint(1, ZONES)
        allowed = self.zones_of(order.instance_type)
        if zone in allowed:
            return zone
        if allowed and not order.zone:
            return allowed[zone % len(allowed)]
        raise CapacityUnavailable(
            f"{order.instance_type} is not available to this subscription in {order.zone}".rstrip(),
            zone=order.zone,
            other_zones=[self.stock.name_of(other) for other in allowed],
        )

    def zones_of(self, instance_type: str) -> list[int]:
        """Where the type is not restricted."""
        places = ((instance_type.lower(), zone) for zone in range(1, ZONES + 1))
        return [place[1] for place in places if place not in self._limits.restricted]

    def used_vcpus(self, family: str) -> int:
        """vCPUs of the family, or of `SPOT_QUOTA`, that machines have now."""
        return self._quota.used(family)

    def sell(self, instance_type: InstanceType, capacity_type: CapacityType, zone: int) -> None:
        """Take a machine out of quota and stock, or out of neither.

        Raises: MachineLimitReached, QuotaExceeded, CapacityUnavailable.
        """
        self.reserve(instance_type, capacity_type)
        try:
            self.stock.take(instance_type.name, zone, self._now_s())
        except PortError:
            self._quota.give_back(instance_type, capacity_type)
            raise

    def reserve(self, instance_type: InstanceType, capacity_type: CapacityType) -> None:
        """Take a machine out of the quota only. Raises: MachineLimitReached, QuotaExceeded."""
        self._quota.take(instance_type, capacity_type, self._limits)

    def allocate(self, instance_type: InstanceType, zones: Sequence[int]) -> int:
        """Take a machine out of the stock of the first zone that has one.

        Raises: CapacityUnavailable (none has; it names the zone if only one was asked).
        """
        for zone in zones[:-1]:
            with suppress(CapacityUnavailable):
                self.stock.take(instance_type.name, zone, self._now_s())
                return zone
        try:
            self.stock.take(instance_type.name, zones[-1], self._now_s())
        except CapacityUnavailable as error:
            if len(zones) == 1:
                raise
            raise CapacityUnavailable(f"no zone has a {instance_type.name} left") from error
        return zones[-1]

    def count(self, instance_type: InstanceType, capacity_type: CapacityType) -> None:
        """Count a machine that is there already against the quota, whatever its limit."""
        self._quota.take(instance_type, capacity_type, CloudLimits())

    def take_back(
        self, instance_type: InstanceType, capacity_type: CapacityType, zone: int | None
    ) -> None:
        """The machine is gone. `zone` None: it was not sold here, and only counted."""
        self._quota.give_back(instance_type, capacity_type)
        if zone is not None:
            self.stock.give_back(instance_type.name, zone)

    def why_it_fails(self, name: str) -> str:
        """Why this machine will fail half-way, or an empty text."""
        if self._limits.create_failure_rate <= 0.0:
            return ""
        rng = self._streams.fresh(f"cloud/{name}/failure")
        if rng.random() >= self._limits.create_failure_rate:
            return ""
        return rng.choice(_CREATE_FAILURES)

    def starts(self, name: str, capacity_type: CapacityType, now_s: float) -> None:
        """The machine runs: if it is a spot machine, it may be evicted from now on."""
        if capacity_type is CapacityType.SPOT:
            self.market.enter(name, self._limits.evictions_per_hour, now_s)
