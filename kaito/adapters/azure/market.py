"""Sizes, quotas and prices of a location, each asked for once in a while."""

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from kaito.adapters.azure.arm_reads import JsonReader, Unread
from kaito.adapters.azure.compute import Quota, Size, read_quotas, read_sizes
from kaito.adapters.azure.retail_prices import FoundPrice, preset_price, read_price
from kaito.adapters.azure.settings import AzureSettings
from kaito.domain.catalogue import Catalogue

T = TypeVar("T")

# Sizes and prices change by the day, quotas with every machine.
SIZES_AGE_S: Final = 3600.0
QUOTAS_AGE_S: Final = 60.0


class Kept(Generic[T]):
    """An answer, or that there was none, for `age_s`. `now_s` is of a clock that never steps
    back."""

    def __init__(self, fetch: Callable[[], T], *, age_s: float, now_s: Callable[[], float]) -> None:
        self._fetch = fetch
        self._age_s = age_s
        self._now_s = now_s
        self._until_s: float | None = None
        self._found: T | Unread | None = None

    def get(self) -> T:
        """Raises: Unread."""
        found, now_s = self._found, self._now_s()
        if found is None or self._until_s is None or now_s >= self._until_s:
            try:
                found = self._fetch()
            except Unread as error:
                found = error
            self._found, self._until_s = found, now_s + self._age_s
        if isinstance(found, Unread):
            raise Unread(found.refusal)
        return found


class AzureMarket:
    """What can be bought in the settings' location. `prices` None: only those of presets/.

    `now_s` is seconds since the epoch, `steady_s` never steps back. For one thread.
    """

    def __init__(
        self,
        settings: AzureSettings,
        catalogue: Catalogue,
        *,
        arm: JsonReader,
        prices: JsonReader | None,
        now_s: Callable[[], float],
        steady_s: Callable[[], float],
    ) -> None:
        self._location = settings.location
        self._catalogue = catalogue
        self._prices = prices
        self._now_s = now_s
        self._steady_s = steady_s
        place = (settings.subscription_id, settings.location)
        self._sizes = Kept(lambda: read_sizes(arm, *place), age_s=SIZES_AGE_S, now_s=steady_s)
        self._quotas = Kept(lambda: read_quotas(arm, *place), age_s=QUOTAS_AGE_S, now_s=steady_s)
        self._asked: dict[str, Kept[tuple[FoundPrice | None]]] = {}

    def sizes(self) -> Mapping[str, Size]:
        """By case-folded name. Raises: Unread."""
        return self._sizes.get()

    def quotas(self) -> Mapping[str, Quota]:
        """By case-folded name. Raises: Unread."""
        return self._quotas.get()

    def price(self, size: str) -> FoundPrice | None:
        """Azure's, or else that of presets/; None where neither has one."""
        try:
            found = self._live_price(size)
        except Unread:
            found = None
        return found or preset_price(self._catalogue, size, self._location)

    def _live_price(self, size: str) -> FoundPrice | None:
        """Raises: Unread."""
        reader = self._prices
        if reader is None:
            return None
        kept = self._asked.get(size)
        if kept is None:
            kept = self._asked[size] = Kept(
                lambda: (read_price(reader, size, self._location, now_s=self._now_s()),),
                age_s=SIZES_AGE_S,
                now_s=self._steady_s,
            )
        (found,) = kept.get()
        return found
