"""Bad settings are named, all at once, with what to do."""

from pathlib import Path
from typing import Any

import pytest

from kaito.adapters.azure.settings import AzureSettings
from kaito.domain.errors import InvalidInput
from tests.unit.adapters.azure.arm_stub import SUBSCRIPTION, settings


def told(**changes: Any) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        settings(**changes)
    for problem in caught.value.problems:
        assert problem.field
        assert problem.message
    return [str(problem) for problem in caught.value.problems]


def test_every_value_that_is_missing_is_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        AzureSettings(subscription_id="", resource_group="", cluster_name="", location="")
    assert [problem.remedy for problem in caught.value.problems] == [
        "Give it, or set ARM_SUBSCRIPTION_ID",
        "Give it, or set ARM_RESOURCE_GROUP",
        "Give it, or set AZURE_CLUSTER_NAME",
        "Give it, or set LOCATION",
    ]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("resource_group", "a/b", "--azure-resource-group: 'a/b' cannot be a name"),
        ("resource_group", "ends.", "--azure-resource-group"),
        ("subnet_id", "my-subnet", "--azure-subnet-id: is not the id of a subnet"),
        ("cluster_name", "-x", "--azure-cluster-name"),
        ("location", "east/us", "--azure-location"),
        ("arm_endpoint", "http://arm", "--azure-arm-endpoint: 'http://arm' is not the https"),
        ("arm_endpoint", "https://arm/path", "--azure-arm-endpoint"),
        ("ca_file", Path("/nowhere/ca.pem"), "--azure-ca-file: /nowhere/ca.pem is not a file"),
        ("zones", ("1", "1"), "--azure-zones: '1,1' are not zones"),
        ("zones", ("eastus-1",), "--azure-zones"),
        ("spot_max_price_usd", -1.0, "--azure-spot-max-price: -1 is no price"),
        ("spot_max_price_usd", float("nan"), "--azure-spot-max-price"),
        ("read_s", 0.0, "read_s: must be more than 0 s"),
    ],
)
def test_a_value_that_cannot_be(name: str, value: Any, expected: str) -> None:
    (text,) = told(**{name: value})
    assert text.startswith(expected)


@pytest.mark.parametrize("name", ["subscription_id", "tenant_id", "client_id"])
def test_an_id_is_not_repeated(name: str) -> None:
    (text,) = told(**{name: "not-a-guid-canary"})
    assert "is not a GUID" in text
    assert "canary" not in text


def test_what_is_written_in_another_way() -> None:
    found = settings(location="East US", arm_endpoint="https://management.azure.com/")
    assert found.location == "eastus"
    assert found.arm_endpoint == "https://management.azure.com"
    assert found.zone_name("2") == "eastus-2"
    assert found.secrets == (SUBSCRIPTION,)


def test_a_client_secret_is_not_shown() -> None:
    found = settings(client_secret="opaque-canary")
    assert "opaque-canary" in found.secrets
    assert "canary" not in repr(found)
