"""What a machine costs: Azure's retail prices, or those of presets/ where they cannot be asked.

No credential goes to the price API: it takes none.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from azure.core import PipelineClient
from azure.core.pipeline.policies import (
    ContentDecodePolicy,
    ProxyPolicy,
    RequestIdPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport

from kaito import __version__
from kaito.adapters.azure.arm_reads import JsonReader
from kaito.adapters.azure.client import make_transport
from kaito.adapters.azure.settings import AzureSettings
from kaito.domain.catalogue import Catalogue, UnknownInstanceType

# https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
_PATH: Final = "/api/retail/prices"
_NAME: Final = re.compile(r"[\w-]{1,64}")
# The same machines, sold otherwise: with Windows, for a service that is retired, or at the price of
# the spot market's predecessor.
_OTHER: Final = ("windows", "cloud services", "low priority", "dedicated host")
_PER_HOUR: Final = "1 hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPrice:
    """US dollars per hour of one machine, None where it is not known, and where that is from:
    `source` with the day, `as_of`, from which it holds (empty: the source tells none)."""

    on_demand_usd: float | None
    spot_usd: float | None
    source: str
    as_of: str = ""

    def of(self, *, spot: bool) -> float | None:
        return self.spot_usd if spot else self.on_demand_usd


def make_price_client(
    settings: AzureSettings, endpoint: str, transport: RequestsTransport | None = None
) -> PipelineClient[Any, Any]:
    """A client without a credential; every call is one request, as those of `make_client`."""
    return PipelineClient(
        endpoint,
        policies=[
            RequestIdPolicy(),
            UserAgentPolicy(base_user_agent=f"kaito/{__version__}"),
            ProxyPolicy(),
            ContentDecodePolicy(),
        ],
        transport=transport or make_transport(settings),
    )


def read_price(reader: JsonReader, size: str, location: str, *, now_s: float) -> FoundPrice | None:
    """Today's price; None where Azure lists none. Raises: Unread."""
    if not _NAME.fullmatch(size):
        return None
    wanted = (
        f"serviceName eq 'Virtual Machines' and armRegionName eq '{location}' "
        f"and armSkuName eq '{size}' and priceType eq 'Consumption'"
    )
    items = reader.items(_PATH, next_link="NextPageLink", field="Items", **{"$filter": wanted})
    today = datetime.fromtimestamp(now_s, UTC).date().isoformat()
    valid = [each for each in items if _is_valid(each, today)]
    on_demand = _latest(each for each in valid if not _is_spot(each))
    spot = _latest(each for each in valid if _is_spot(each))
    if on_demand is None and spot is None:
        return None
    return FoundPrice(
        on_demand_usd=on_demand["retailPrice"] if on_demand else None,
        spot_usd=spot["retailPrice"] if spot else None,
        source="Azure's retail prices",
        as_of=_day(on_demand or spot or {}),
    )


def preset_price(catalogue: Catalogue, size: str, location: str) -> FoundPrice | None:
    """The price in presets/; None where it is not there."""
    try:
        found = catalogue.instance_type(size)
    except UnknownInstanceType:
        return None
    price = found.price(location)
    if price is None:
        return None
    return FoundPrice(
        on_demand_usd=price.on_demand_usd_per_hour,
        spot_usd=price.spot_usd_per_hour,
        source="kaito's presets",
        as_of=found.prices_as_of,
    )


def _is_valid(item: Mapping[str, Any], today: str) -> bool:
    said = " ".join(str(item.get(key, "")) for key in ("productName", "skuName", "meterName"))
    price = item.get("retailPrice")
    return (
        not any(word in said.casefold() for word in _OTHER)
        and str(item.get("unitOfMeasure", "")).casefold() == _PER_HOUR
        and item.get("currencyCode") == "USD"
        and isinstance(price, int | float)
        and price > 0
        and _day(item) <= today
    )


def _is_spot(item: Mapping[str, Any]) -> bool:
    names = (str(item.get(key, "")).casefold() for key in ("skuName", "meterName"))
    return any(name.endswith(" spot") for name in names)


def _latest(items: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return max(
        items, key=lambda item: (_day(item), bool(item.get("isPrimaryMeterRegion"))), default=None
    )


def _day(item: Mapping[str, Any]) -> str:
    return str(item.get("effectiveStartDate") or "")[:10]
