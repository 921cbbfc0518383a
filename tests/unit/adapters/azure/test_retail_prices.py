"""The price of a machine, out of everything that is sold under its name."""

from typing import Any

import pytest

from kaito.adapters.azure.arm_reads import Unread
from kaito.adapters.azure.retail_prices import FoundPrice, preset_price, read_price
from kaito.adapters.files import load_catalogue
from tests.unit.adapters.azure.arm_documents import SIZE, DocumentArm, price, price_reader
from tests.unit.adapters.azure.arm_stub import NOW_S, Answer

LINUX, SPOT = price(3.67), price(0.73, "NC24ads A100 v4 Spot")


def read(*items: Any, size: str = SIZE) -> FoundPrice | None:
    arm = DocumentArm({"/api/retail/prices": {"Items": list(items)}})
    return read_price(price_reader(arm), size, "eastus", now_s=NOW_S)


def test_on_demand_and_spot() -> None:
    assert read(SPOT, LINUX) == FoundPrice(
        on_demand_usd=3.67, spot_usd=0.73, source="Azure's retail prices", as_of="2025-06-01"
    )


@pytest.mark.parametrize(
    "other",
    [
        price(5.7, productName="Virtual Machines NCadsA100v4 Series Windows"),
        price(1.1, "NC24ads A100 v4 Low Priority"),
        price(4.2, productName="NCadsA100v4 Series Cloud Services"),
        price(9.9, currencyCode="EUR"),
        price(9.9, unitOfMeasure="1 GB"),
        price(0.0, effectiveStartDate="2025-12-01T00:00:00Z"),
        price(9.9, effectiveStartDate="2026-12-01T00:00:00Z"),
        price(9.9, effectiveStartDate="2024-12-01T00:00:00Z"),
        price(9.9, isPrimaryMeterRegion=False),
    ],
)
def test_what_is_another_thing_or_of_another_day(other: dict[str, Any]) -> None:
    for items in ([other, LINUX, SPOT], [LINUX, SPOT, other]):
        found = read(*items)
        assert found is not None
        assert (found.of(spot=False), found.of(spot=True)) == (3.67, 0.73)


def test_nothing_is_listed() -> None:
    assert read() is None


def test_only_as_spot() -> None:
    found = read(SPOT)
    assert found is not None
    assert (found.on_demand_usd, found.spot_usd, found.as_of) == (None, 0.73, "2025-06-01")


def test_a_name_cannot_change_the_filter() -> None:
    assert read(LINUX, size="x' or armSkuName ne 'x") is None


def test_pages_are_followed_and_errors_told() -> None:
    arm = DocumentArm({})
    link = "https://prices.azure.com:443/api/retail/prices?$skip=1"
    arm.answers = [
        Answer(200, {"Items": [LINUX], "NextPageLink": link}),
        Answer(200, {"Items": [SPOT], "NextPageLink": None}),
    ]
    found = read_price(price_reader(arm), SIZE, "eastus", now_s=NOW_S)
    assert found is not None
    assert found.spot_usd == 0.73
    for answer in (Answer(503, None), Answer(400, "<html>")):
        arm.answers = [answer]
        with pytest.raises(Unread):
            read_price(price_reader(arm), SIZE, "eastus", now_s=NOW_S)


def test_of_presets_with_their_day() -> None:
    catalogue = load_catalogue()
    known = catalogue.instance_type(SIZE)
    found = preset_price(catalogue, SIZE, "eastus")
    assert found is not None
    assert found.on_demand_usd == known.prices["eastus"].on_demand_usd_per_hour
    assert (found.source, found.as_of) == ("kaito's presets", known.prices_as_of)
    assert preset_price(catalogue, SIZE, "nowhere") is None
    assert preset_price(catalogue, "Standard_X1", "eastus") is None
