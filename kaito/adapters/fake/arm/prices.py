"""The retail price API: the catalogue's prices, found by an OData filter.

Source: https://learn.microsoft.com/rest/api/cost-management/retail-prices/azure-retail-prices
"""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kaito.adapters.fake.arm.compute import AZURE
from kaito.adapters.fake.arm.errors import ArmError
from kaito.domain.catalogue import Catalogue
from kaito.domain.gpu import InstanceType

PAGE_SIZE: Final = 1_000
_VIRTUAL_MACHINES: Final = "DZH313Z7MMC8"  # Azure's id of the service
_FILTER_NAMES: Final = {"priceType": "type"}  # in filters; items call it otherwise
_TOKEN: Final = re.compile(r"\s*(\(|\)|'(?:[^']|'')*'|[A-Za-z]\w*|,|[\d.]+)")

Item: TypeAlias = Mapping[str, Any]
Test: TypeAlias = Callable[[Item], bool]


def items(catalogue: Catalogue) -> list[dict[str, Any]]:
    """Every price known: of each size and region on demand, and as spot."""
    found = []
    for instance_type in catalogue.instance_types:
        if instance_type.cloud != AZURE:
            continue
        for region, price in sorted(instance_type.prices.items()):
            found.append(_item(instance_type, region, price.on_demand_usd_per_hour, spot=False))
            if price.spot_usd_per_hour is not None:
                found.append(_item(instance_type, region, price.spot_usd_per_hour, spot=True))
    return found


def page(found: list[dict[str, Any]], query: str, skip: int, url: str, size: int) -> dict[str, Any]:
    """One page of the items that the filter lets through; `url` with `$skip` is the next.

    Raises: ArmError (the filter is not understood).
    """
    passes = parse_filter(query)
    matching = [item for item in found if passes(item)]
    shown = matching[skip : skip + size]
    more = skip + size < len(matching)
    return {
        "BillingCurrency": "USD",
        "CustomerEntityId": "Default",
        "CustomerEntityType": "Retail",
        "Items": shown,
        "NextPageLink": f"{url}{'&' if '?' in url else '?'}$skip={skip + size}" if more else None,
        "Count": len(shown),
    }


def parse_filter(text: str) -> Test:
    """`eq` and `ne` of fields and texts, `contains(field, 'text')`, `and`, `or`, brackets. Texts
    are compared with regard to case, as the API does. Raises: ArmError."""
    if not text.strip():
        return lambda _item: True
    parser = _Parser(text)
    test = parser.either()
    parser.end()
    return test


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        if "".join(self._tokens) != re.sub(r"\s(?=(?:[^']*'[^']*')*[^']*$)", "", text):
            raise _bad_filter(text)
        self._text, self._at = text, 0

    def either(self) -> Test:
        tests = [self._both()]
        while self._takes("or"):
            tests.append(self._both())
        return lambda item: any(test(item) for test in tests)

    def end(self) -> None:
        if self._at != len(self._tokens):
            raise _bad_filter(self._text)

    def _both(self) -> Test:
        tests = [self._one()]
        while self._takes("and"):
            tests.append(self._one())
        return lambda item: all(test(item) for test in tests)

    def _one(self) -> Test:
        if self._takes("("):
            test = self.either()
            self._expect(")")
            return test
        if self._takes("contains"):
            self._expect("(")
            field = self._field()
            self._expect(",")
            part = self._value()
            self._expect(")")
            return lambda item: part in str(item.get(field, ""))
        field, operator, value = self._field(), self._next(), self._value()
        if operator == "eq":
            return lambda item: _text(item.get(field)) == value
        if operator == "ne":
            return lambda item: _text(item.get(field)) != value
        raise _bad_filter(self._text)

    def _field(self) -> str:
        name = self._next()
        return _FILTER_NAMES.get(name, name)

    def _value(self) -> str:
        token = self._next()
        return token[1:-1].replace("''", "'") if token.startswith("'") else token

    def _next(self) -> str:
        if self._at >= len(self._tokens):
            raise _bad_filter(self._text)
        self._at += 1
        return str(self._tokens[self._at - 1])

    def _takes(self, token: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at].lower() == token:
            self._at += 1
            return True
        return False

    def _expect(self, token: str) -> None:
        if not self._takes(token):
            raise _bad_filter(self._text)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _bad_filter(text: str) -> ArmError:
    message = f"Invalid OData parameters supplied: {text}"
    return ArmError(400, "BadRequest", message, layer="arm")


def _item(
    instance_type: InstanceType, region: str, usd_per_hour: float, *, spot: bool
) -> dict[str, Any]:
    name = instance_type.name
    short = name.removeprefix("Standard_").replace("_", " ")
    meter = f"{short} Spot" if spot else short
    meter_id = uuid.uuid5(uuid.NAMESPACE_URL, f"https://prices.azure.com/{region}/{meter}")
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": usd_per_hour,
        "unitPrice": usd_per_hour,
        "armRegionName": region,
        "location": region,
        "effectiveStartDate": f"{instance_type.prices_as_of or '2026-01-01'}T00:00:00Z",
        "meterId": str(meter_id),
        "meterName": meter,
        "productName": f"Virtual Machines {name} Series",
        "skuName": meter,
        "serviceName": "Virtual Machines",
        "serviceId": _VIRTUAL_MACHINES,
        "serviceFamily": "Compute",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": name,
    }
