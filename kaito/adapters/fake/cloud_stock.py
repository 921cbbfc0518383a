"""Which machines a cloud has left, where."""

from collections.abc import Mapping
from typing import Final

from kaito.adapters.fake.cloud_limits import Place
from kaito.domain.errors import CapacityUnavailable

ZONES: Final = 3  # as Azure's larger regions have


class CloudStock:
    """Machines by instance type and zone, and the zones that are down. What is not named is not
    limited. Times are epoch seconds."""

    def __init__(self, region: str, stock: Mapping[Place, int]) -> None:
        self._region = region
        self._left = dict(stock)
        self._down_until_s: dict[int, float] = {}

    def set(self, stock: Mapping[Place, int]) -> None:
        """So many are left at these places from now on, whatever is given back later."""
        self._left.update(stock)

    def lose_zone(self, zone: int, until_s: float) -> None:
        """Nothing is sold in the zone until then."""
        self._down_until_s[zone] = until_s

    def is_down(self, zone: int, now_s: float) -> bool:
        """Whether the zone is lost now."""
        return now_s < self._down_until_s.get(zone, 0.0)

    def take(self, instance_type: str, zone: int, now_s: float) -> None:
        """Sell a machine. Raises: CapacityUnavailable."""
        place = (instance_type.lower(), zone)
        if self.is_down(zone, now_s) or self._left.get(place, 1) < 1:
            why = "is down" if self.is_down(zone, now_s) else f"has no {instance_type} left"
            others = [other for other in range(1, ZONES + 1) if other != zone]
            raise CapacityUnavailable(
                f"zone {self.name_of(zone)} {why}",
                zone=self.name_of(zone),
                other_zones=[self.name_of(other) for other in others],
            )
        if place in self._left:
            self._left[place] -= 1

    def give_back(self, instance_type: str, zone: int) -> None:
        """A machine is free again."""
        place = (instance_type.lower(), zone)
        if place in self._left:
            self._left[place] += 1

    def name_of(self, zone: int) -> str:
        """The zone's name in Kubernetes, such as `eastus-1`."""
        return f"{self._region}-{zone}"

    def number_of(self, name: str) -> int:
        """The zone called so. Raises: ValueError (there is none in this region)."""
        for zone in range(1, ZONES + 1):
            if self.name_of(zone) == name:
                return zone
        raise ValueError(f"there is no zone {name!r} in {self._region}")
