"""Sizes and quotas as Azure lists them."""

from typing import Any

from kaito.adapters.azure.compute import Quota, Size, read_quotas, read_sizes
from tests.unit.adapters.azure.arm_documents import FAMILY, SIZE, DocumentArm, reader, sku, usage
from tests.unit.adapters.azure.arm_stub import SUBSCRIPTION


def size_of(*skus: dict[str, Any]) -> Size:
    arm = DocumentArm({"/skus": {"value": list(skus)}})
    return read_sizes(reader(arm), SUBSCRIPTION, "eastus")[SIZE.casefold()]


def test_a_size() -> None:
    found = size_of({"resourceType": "disks", "name": SIZE}, sku(), sku("Standard_D4s_v3"))
    assert found == Size(name=SIZE, family=FAMILY, vcpus=24, zones=("1", "2", "3"), spot=True)


def test_a_size_of_another_location_is_none_of_this_one() -> None:
    arm = DocumentArm({"/skus": {"value": [sku(locations=["westus"])]}})
    assert read_sizes(reader(arm), SUBSCRIPTION, "eastus") == {}


def test_locations_are_compared_as_azure_does() -> None:
    found = size_of(
        sku(locations=["East US"], locationInfo=[{"location": "EastUS", "zones": ["1"]}])
    )
    assert found.zones == ("1",)


def test_restrictions() -> None:
    zonal = {
        "type": "Zone",
        "reasonCode": "NotAvailableForSubscription",
        "restrictionInfo": {"locations": ["eastus"], "zones": ["1", "3"]},
    }
    whole = {"type": "Location", "reasonCode": "QuotaId", "values": ["eastus"]}
    elsewhere = {"type": "Location", "reasonCode": "QuotaId", "values": ["westus"]}
    assert size_of(sku(restrictions=[zonal, elsewhere])).open_zones == ("2",)
    assert size_of(sku(restrictions=[zonal, elsewhere])).barred == ""
    assert size_of(sku(restrictions=[whole])).barred == "QuotaId"


def test_what_is_not_said_is_not_made_up() -> None:
    found = size_of(sku(capabilities=None, locationInfo=None, family=None, restrictions=None))
    assert found == Size(name=SIZE, family="", vcpus=0)


def test_quotas() -> None:
    odd = {"currentValue": None, "limit": "x", "name": {"value": "odd"}}
    arm = DocumentArm({"/locations/eastus/usages": {"value": [usage(used=30), odd, {"name": 3}]}})
    assert read_quotas(reader(arm), SUBSCRIPTION, "eastus") == {
        FAMILY.casefold(): Quota(name=FAMILY, title=FAMILY, used=30, limit=100),
        "odd": Quota(name="odd", title="odd", used=0, limit=0),
    }


def test_nothing_is_left_of_a_quota_that_was_lowered() -> None:
    assert Quota(name="x", title="x", used=30, limit=10).left == 0
