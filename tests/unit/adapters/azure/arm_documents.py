"""Azure Resource Manager and the price API for unit tests: documents by the end of their path."""

from typing import Any
from urllib.parse import urlsplit

import requests

from kaito.adapters.azure.arm_reads import JsonReader
from kaito.adapters.azure.client import make_transport
from kaito.adapters.azure.errors import AzureErrors
from kaito.adapters.azure.redaction import Redactor
from kaito.adapters.azure.retail_prices import make_price_client
from tests.unit.adapters.azure.arm_stub import (
    NOW_S,
    Answer,
    ArmStub,
    client_of,
    error,
    settings,
)

SIZE = "Standard_NC24ads_A100_v4"
FAMILY = "standardNCADSA100v4Family"
ROLE = {
    "actions": [
        "Microsoft.ContainerService/managedClusters/agentPools/*",
        "Microsoft.ContainerService/managedClusters/read",
        "Microsoft.Authorization/permissions/read",
    ],
    "notActions": [],
}
ARM = "https://management.azure.com"
PRICES = "https://prices.azure.com"


class DocumentArm(ArmStub):
    """Answers GETs with documents; what it has not, is not found."""

    def __init__(self, documents: dict[str, Any]) -> None:
        super().__init__()
        self.documents = documents

    def paths(self) -> list[str]:
        return [urlsplit(str(request.url)).path for request in self.requests]

    def _answer(self, request: requests.PreparedRequest) -> Answer:
        assert request.method == "GET"
        path = urlsplit(str(request.url)).path
        for end, found in self.documents.items():
            if path.endswith(end):
                return found if isinstance(found, Answer) else Answer(200, found)
        return Answer(404, error("ResourceNotFound", f"nothing at {path}"))


def unmapped(code: str, text: str) -> None:
    raise AssertionError(f"{code} is not in the table: {text}")


def errors() -> AzureErrors:
    redact = Redactor(settings().secrets)
    return AzureErrors(redact, now_s=lambda: NOW_S, on_unmapped=unmapped)


def reader(arm: ArmStub) -> JsonReader:
    return JsonReader(client_of(arm, settings()), ARM, errors())


def price_reader(arm: ArmStub) -> JsonReader:
    session = requests.Session()
    session.mount("https://", arm)
    wanted = settings()
    transport = make_transport(wanted, session=session, session_owner=False)
    return JsonReader(make_price_client(wanted, PRICES, transport), PRICES, errors())


def cluster(**properties: Any) -> dict[str, Any]:
    return {
        "name": "cluster",
        "location": "eastus",
        "properties": {
            "provisioningState": "Succeeded",
            "powerState": {"code": "Running"},
            "currentKubernetesVersion": "1.33.2",
            "oidcIssuerProfile": {"enabled": True},
            "securityProfile": {"workloadIdentity": {"enabled": True}},
            **properties,
        },
    }


def sku(name: str = SIZE, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "resourceType": "virtualMachines",
        "name": name,
        "family": FAMILY,
        "locations": ["eastus"],
        "locationInfo": [{"location": "eastus", "zones": ["2", "1", "3"]}],
        "capabilities": [
            {"name": "vCPUs", "value": "24"},
            {"name": "LowPriorityCapable", "value": "True"},
        ],
        "restrictions": [],
    }
    return given | changes


def usage(name: str = FAMILY, used: int = 0, limit: int = 100, title: str = "") -> dict[str, Any]:
    return {
        "unit": "Count",
        "currentValue": used,
        "limit": limit,
        "name": {"value": name, "localizedValue": title or name},
    }


def price(amount: float, name: str = "NC24ads A100 v4", **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "currencyCode": "USD",
        "retailPrice": amount,
        "armRegionName": "eastus",
        "effectiveStartDate": "2025-06-01T00:00:00Z",
        "productName": "Virtual Machines NCadsA100v4 Series",
        "skuName": name,
        "meterName": name,
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": SIZE,
    }
    return given | changes


def documents(**changes: Any) -> dict[str, Any]:
    """Where nothing is missing."""
    given: dict[str, Any] = {
        "/managedClusters/cluster": cluster(),
        "/agentPools": {"value": []},
        "/permissions": {"value": [ROLE]},
        "/skus": {"value": [sku()]},
        "/usages": {
            "value": [usage(), usage("cores", limit=500), usage("lowPriorityCores", limit=100)]
        },
        "/prices": {"Items": [price(3.67), price(0.73, "NC24ads A100 v4 Spot")]},
    }
    return given | changes
