"""The front of a store, called without a socket."""

import asyncio
import itertools
import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import httpx
import pytest

from kaito.adapters.fake.http.app import kubernetes_app
from kaito.adapters.fake.http.kinds import FOR_CLIENTS
from kaito.adapters.fake.http.pod_logs import Span
from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.k8s.crds import node_claim_crd, workspace_crd
from kaito.adapters.kube_api import KubeObject

START_S = 1_800_000_000.0
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


@cache
def _crds() -> tuple[KubeObject, ...]:
    return workspace_crd(), node_claim_crd()


class Client:
    """Requests to a front; `now_s` and `spans` may be set."""

    def __init__(self, token: str = "") -> None:
        numbers = itertools.count(1)
        self.now_s = START_S
        self.spans: list[Span] = []
        self.raises = True  # what goes wrong in the front itself
        self.store = ObjectStore(
            now_s=lambda: self.now_s,
            new_uid=lambda: f"uid-{next(numbers)}",
            resources=(*SERVED, *FOR_CLIENTS),
        )
        self._app = kubernetes_app(
            self.store,
            now_s=lambda: self.now_s,
            crds=_crds(),
            token=token,
            timeline=lambda _namespace, _name: self.spans,
        )

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app, raise_app_exceptions=self.raises)
            async with httpx.AsyncClient(transport=transport, base_url="http://twin") as client:
                return await client.request(
                    method,
                    path,
                    content=body if isinstance(body, bytes) or body is None else json.dumps(body),
                    headers={"content-type": content_type, "accept": accept, **(headers or {})},
                )

        return asyncio.run(send())

    def json(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The body of an answer that must be a success."""
        response = self.call(method, path, body, **more)
        assert response.is_success, response.text
        return response.json()

    def refused(self, code: int, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """The Status of an answer that must be a refusal."""
        response = self.call(method, path, body, **more)
        assert response.status_code == code, response.text
        found = response.json()
        assert (found["kind"], found["status"], found["code"]) == ("Status", "Failure", code)
        return found


@pytest.fixture
def client() -> Client:
    return Client()


CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
WORKSPACES = "/apis/kaito.sh/v1beta1/namespaces/default/workspaces"


def config_map(name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, **more}


def workspace(name: str = "one", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"apps": "a"}},
        },
        "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
        **more,
    }


def pod(name: str = "one", node: str = "") -> dict[str, Any]:
    container = {
        "name": "main",
        "image": "registry.test/main:1",
        "ports": [{"containerPort": 5000}],
    }
    spec: dict[str, Any] = {"containers": [container]}
    if node:
        spec["nodeName"] = node
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
