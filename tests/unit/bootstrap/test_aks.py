"""What the operator is composed of where it makes agent pools itself."""

import sys
from pathlib import Path
from typing import Any

import pytest

from kaito.adapters.azure.cloud import AksMachineCloud
from kaito.adapters.azure.settings import ArmLimits, CredentialKind, Rate
from kaito.adapters.fake.store import ObjectStore
from kaito.bootstrap.aks import aks_cloud, azure_settings
from kaito.domain.errors import InvalidInput

SUBSCRIPTION = "0a1b2c3d-1111-4222-8333-944444444444"


def flags(**changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "subscription_id": SUBSCRIPTION,
        "resource_group": "group",
        "cluster_name": "cluster",
        "location": "eastus",
        "tenant_id": "",
        "client_id": "",
        "credential": "auto",
        "zones": "",
        "subnet_id": "",
        "spot_max_price_usd": None,
        "arm_endpoint": "https://management.azure.com",
        "ca_file": None,
    }
    return given | changes


@pytest.fixture
def store() -> ObjectStore:
    return ObjectStore(now_s=lambda: 0.0, new_uid=lambda: "uid")


def test_flags_become_settings() -> None:
    plain = azure_settings(**flags())
    assert (plain.zones, plain.credential) == ((), CredentialKind.AUTO)
    spread = azure_settings(**flags(zones="1, 3", credential="cli"))
    assert (spread.zones, spread.credential) == (("1", "3"), CredentialKind.CLI)
    assert plain.limits == ArmLimits()
    slower = azure_settings(**flags(put_rate="5,0.5", other_rate="10, 30")).limits
    assert (slower.put, slower.other) == (Rate(burst=5, per_s=0.5 / 60), Rate(burst=10, per_s=0.5))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"credential": "magic"}, "--azure-credential: must be one of auto, workload-identity"),
        ({"zones": "1,,2"}, "--azure-zones: '1,,2' are not zones"),
        ({"location": ""}, "--azure-location: is needed to order machines on AKS. Give it, or set"),
        ({"put_rate": "often"}, "--azure-put-rate: must be a burst and a number a minute, both"),
        ({"put_rate": "20"}, "--azure-put-rate"),
        ({"other_rate": "0,60"}, "--azure-other-rate: must be a burst"),
        ({"other_rate": "60,nan"}, "--azure-other-rate"),
        ({"ca_file": Path("/nowhere")}, "--azure-ca-file: /nowhere is not a file"),
    ],
)
def test_flags_that_cannot_be(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        azure_settings(**flags(**changes))
    assert str(caught.value).startswith(expected)


def test_the_cloud_is_made_without_a_call(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = aks_cloud(azure_settings(**flags(credential="managed-identity")), store)
    assert isinstance(cloud, AksMachineCloud)
    assert cloud.calls == {}


def test_without_the_sdk_it_says_what_to_install(
    store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("kaito.adapters.azure.")]:
        if not name.endswith(".settings"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "azure.mgmt.containerservice", None)
    with pytest.raises(InvalidInput) as caught:
        aks_cloud(azure_settings(**flags()), store)
    assert "pip install 'kaito[operator,azure]'" in str(caught.value)
