"""Azure Resource Manager for unit tests: answers below the real SDK's transport, one by one."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from azure.core.credentials import AccessToken
from azure.mgmt.containerservice import ContainerServiceClient
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from kaito.adapters.azure.client import make_client, make_transport
from kaito.adapters.azure.cloud import AksMachineCloud
from kaito.adapters.azure.settings import AzureSettings
from kaito.domain.machine import CapacityType, MachineOrder, NodeView, Owner

SUBSCRIPTION = "0a1b2c3d-1111-4222-8333-944444444444"
TENANT = "1a1b2c3d-1111-4222-8333-944444444444"
CLIENT = "2a1b2c3d-1111-4222-8333-944444444444"
TOKEN = "eyJhbGciOiJub25lIn0.c2VjcmV0LWNhbmFyeQ.c2lnbmF0dXJl"
NOW_S = 1_767_225_600.0
GIB = 1024**3
POOLS = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/group/providers"
    "/Microsoft.ContainerService/managedClusters/cluster/agentPools"
)
Json = dict[str, Any]


def settings(**changes: Any) -> AzureSettings:
    given: Json = {
        "subscription_id": SUBSCRIPTION,
        "resource_group": "group",
        "cluster_name": "cluster",
        "location": "eastus",
    }
    return AzureSettings(**(given | changes))


def order(name: str = "ws0123456ab", **changes: Any) -> MachineOrder:
    given: Json = {
        "name": name,
        "claim_name": "wsclaim",
        "owner": Owner(uid="uid-1", namespace="default", name="phi"),
        "instance_type": "Standard_NC24ads_A100_v4",
        "disk_bytes": 87 * GIB,
        "labels": {"apps": "phi", "kaito.sh/workspace-uid": "uid-1", "kaito.sh/slot": "0"},
    }
    return MachineOrder(**(given | changes))


def spot(name: str = "ws0123456ab") -> MachineOrder:
    return order(name, capacity_type=CapacityType.SPOT)


def node(pool: str, *, zone: str = "eastus-1", ready: bool = True) -> NodeView:
    provider_id = (
        f"azure:///subscriptions/{SUBSCRIPTION}/resourceGroups/mc/providers/Microsoft.Compute"
        f"/virtualMachineScaleSets/aks-{pool}-12345678-vmss/virtualMachines/0"
    )
    return NodeView(
        name=f"aks-{pool}-12345678-vmss000000",
        provider_id=provider_id,
        ready=ready,
        gpus=1,
        labels={"topology.kubernetes.io/zone": zone} if zone else {},
    )


def error(code: str, message: str = "", details: list[Json] | None = None) -> Json:
    """As Azure Resource Manager writes it."""
    return {"error": {"code": code, "message": message, "details": details or []}}


@dataclass
class Answer:
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Token:
    """A credential that has its token already."""

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        return AccessToken(TOKEN, 4_000_000_000)


class ArmStub(BaseAdapter):
    """Keeps the agent pools of one cluster, and what it was asked.

    `answers` come first, one each; an exception among them is raised as the network's.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pools: dict[str, Json] = {}
        self.answers: list[Answer | Exception] = []
        self.requests: list[requests.PreparedRequest] = []
        self.timeouts: list[Any] = []
        self.verified: list[Any] = []
        self.page_size = 100

    @property
    def methods(self) -> list[str]:
        return [str(request.method) for request in self.requests]

    def add(self, name: str, state: str = "Succeeded", **properties: Any) -> Json:
        """A pool that is there, whoever made it."""
        pool = {
            "id": f"{POOLS}/{name}",
            "name": name,
            "properties": {"vmSize": "Standard_D4s_v3", "provisioningState": state, **properties},
        }
        self.pools[name] = pool
        return pool

    def set_state(self, name: str, state: str) -> None:
        self.pools[name]["properties"]["provisioningState"] = state

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        self.requests.append(request)
        self.timeouts.append(options["timeout"])
        self.verified.append(options["verify"])
        answer = self.answers.pop(0) if self.answers else self._answer(request)
        if isinstance(answer, Exception):
            raise answer
        response = requests.Response()
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        body = b"" if answer.body is None else text.encode()
        headers = {"Content-Type": "application/json", **answer.headers}
        response.status_code = answer.status
        response.headers.update(headers)
        response.url = str(request.url)
        response.request = request
        response.raw = HTTPResponse(
            body=io.BytesIO(body), headers=headers, status=answer.status, preload_content=False
        )
        return response

    def close(self) -> None:
        """There is no connection."""

    def _answer(self, request: requests.PreparedRequest) -> Answer:
        path, _, query = (
            str(request.url).removeprefix("https://management.azure.com").partition("?")
        )
        name = path.removeprefix(POOLS).lstrip("/")
        if request.method == "GET":
            start = int(dict(part.split("=", 1) for part in query.split("&")).get("skip", "0"))
            names = sorted(self.pools)
            page: Json = {"value": [self.pools[name] for name in names[start:][: self.page_size]]}
            if start + self.page_size < len(names):
                link = f"https://management.azure.com{POOLS}?skip={start + self.page_size}"
                page["nextLink"] = link
            return Answer(200, page)
        if request.method == "DELETE":
            if name not in self.pools:
                return Answer(404, error("NotFound", f"agent pool {name} was not found"))
            self.set_state(name, "Deleting")
            return Answer(202)
        if name in self.pools and request.headers.get("If-None-Match") == "*":
            return Answer(412, error("PreconditionFailed", "there is one"))
        sent = json.loads(request.body or "{}")
        made = self.add(name, "Creating", **sent["properties"])
        return Answer(201, made, {"Azure-AsyncOperation": "https://management.azure.com/x"})


@dataclass
class World:
    """A cloud over a stub, on clocks that the test sets. An unmapped code fails the test."""

    arm: ArmStub
    cloud: AksMachineCloud
    nodes: dict[str, NodeView]
    time: "Time"

    def names(self) -> list[str]:
        return [machine.name for machine in self.cloud.list_machines()]


@dataclass
class Time:
    now: float = NOW_S

    def now_s(self) -> float:
        return self.now


def client_of(arm: ArmStub, wanted: AzureSettings) -> ContainerServiceClient:
    session = requests.Session()
    session.mount("https://", arm)
    transport = make_transport(wanted, session=session, session_owner=False)
    return make_client(wanted, Token(), transport)


def make_world(on_unmapped: Callable[[str, str], None] | None = None, **changes: Any) -> World:
    arm, time, nodes = ArmStub(), Time(), {}
    wanted = settings(**changes)

    def unmapped(code: str, text: str) -> None:
        raise AssertionError(f"{code} is not in the table: {text}")

    cloud = AksMachineCloud(
        client_of(arm, wanted),
        wanted,
        clock=time,
        steady_s=time.now_s,
        node_of=nodes.get,
        on_unmapped=on_unmapped or unmapped,
    )
    return World(arm, cloud, nodes, time)
