"""The front of a cloud, called without a socket, on a clock that the test sets."""

import asyncio
import itertools
import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from kaito.adapters.fake.arm.app import ArmFront
from kaito.adapters.fake.arm.identity import Identity
from kaito.adapters.fake.arm.place import Place
from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.cloud_limits import CloudLimits
from kaito.adapters.fake.latencies import load_latencies
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import default_directory, load_catalogue
from kaito.domain.machine import CloudState

SIZE = "Standard_NC24ads_A100_v4"
CLIENT_ID, SECRET, ASSERTION = "c-1", "s-1", "a-1"
BASE = "https://arm.test"
VERSION = "2026-08-01"


class NoRecorder:
    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        return

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        return


class Arm:
    """Requests to a front; `now_s` may be set, and the cloud steps before each of them."""

    def __init__(self, limits: CloudLimits | None = None) -> None:
        numbers = itertools.count(1)
        self.now_s = 1_800_000_000.0
        self.store = ObjectStore(now_s=lambda: self.now_s, new_uid=lambda: f"uid-{next(numbers)}")
        catalogue = load_catalogue()
        self.cloud = FakeGpuCloud(
            api=self.store,
            catalogue=catalogue,
            latencies=load_latencies(default_directory() / "latencies.yaml"),
            streams=Streams(0),
            region="eastus",
            now_s=lambda: self.now_s,
            wake=lambda: None,
            recorder=NoRecorder(),
            limits=limits or CloudLimits(late_shortages=True),
        )
        self.place = Place(region="eastus")
        self.front = ArmFront(
            self.cloud,
            catalogue=catalogue,
            place=self.place,
            now_s=lambda: self.now_s,
            catch_up=self.catch_up,
        )
        self.front.entra.register(Identity(client_id=CLIENT_ID, secret=SECRET, assertion=ASSERTION))
        self._app = self.front.app(lambda _request: None)
        self.token = ""

    def catch_up(self) -> None:
        """Everything that is due by now."""
        due_s = self.cloud.step(self.now_s)
        while due_s is not None and due_s <= self.now_s:
            due_s = self.cloud.step(self.now_s)

    def settle(self) -> None:
        """Let time pass until nothing is under way."""
        while (due_s := self.cloud.step(self.now_s)) is not None:
            self.now_s = max(self.now_s, due_s)

    def sign_in(self, **form: str) -> httpx.Response:
        content = {
            "grant_type": "client_credentials",
            "client_id": CLIENT_ID,
            "client_secret": SECRET,
            "scope": "https://management.azure.com/.default",
            **form,
        }
        return self._send("POST", f"/{self.place.tenant}/oauth2/v2.0/token", data=content)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: str = VERSION,
        headers: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """A request with a good token, unless `headers` say otherwise."""
        if not self.token:
            self.token = self.sign_in().json()["access_token"]
        given = dict(query or {})
        if version and "?" not in path:
            given["api-version"] = version
        return self._send(
            method,
            path,
            params=given or None,
            headers={"Authorization": f"Bearer {self.token}", **(headers or {})},
            content=None if body is None else json.dumps(body),
        )

    def pool(self, name: str = "ws1") -> str:
        return self.place.pool_id(name)

    def put(self, name: str = "ws1", **properties: Any) -> httpx.Response:
        asked = {"vmSize": SIZE, **properties}
        return self.call("PUT", self.pool(name), {"properties": asked})

    def state(self, name: str = "ws1") -> str:
        return str(self.call("GET", self.pool(name)).json()["properties"]["provisioningState"])

    def cloud_state(self, name: str = "ws1") -> CloudState:
        return self.cloud.live[name].state

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def sent() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
                return await client.request(method, path, **options)

        return asyncio.run(sent())


@pytest.fixture
def arm() -> Arm:
    return Arm()
