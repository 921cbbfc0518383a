"""The operator of a simulated world on AKS: the real adapter and SDK, over TLS to the twin's Azure.

Time stays virtual: a request takes none, and while one is answered the world stands still.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

from azure.core.pipeline.transport import RequestsTransport

from kaito.adapters.azure.client import make_client
from kaito.adapters.azure.cloud import AksMachineCloud
from kaito.adapters.azure.credentials import make_credential
from kaito.adapters.azure.settings import AzureSettings
from kaito.adapters.fake.arm.endpoint import ArmEndpoint
from kaito.adapters.fake.http.app import nothing
from kaito.adapters.k8s.node_lookup import PoolNodes
from kaito.bootstrap import kubernetes_ports
from kaito.domain.catalogue import Catalogue
from kaito.domain.names import DEFAULT_STORAGE_CLASS
from sim.cloud_world import azure_of
from sim.operator import ProcessDied
from sim.world import World

_LIMIT_S: Final = 20.0
_GOODBYE_S: Final = 0.05
_TOKEN_LIFE_S: Final = 30 * 86_400.0
Send: TypeAlias = Callable[[], Any]


class Deaths:
    """Ends the operator's process at one of its requests to Azure Resource Manager: before it is
    sent, or `after` it took effect, so that nobody hears the answer."""

    def __init__(self, at_request: int = 0, *, after: bool = False) -> None:
        self._at_request, self._after = at_request, after
        self.requests: list[str] = []
        self.died_at = ""

    def carry(self, send: Send, request: str) -> Any:
        """Let `send` carry the request out. Raises: ProcessDied."""
        self.requests.append(request)
        dies = len(self.requests) == self._at_request
        if dies:
            self.died_at = request
        if dies and not self._after:
            raise ProcessDied
        answer = send()
        if dies:
            raise ProcessDied
        return answer


class AksOperator:
    """A world's operator on AKS; each of its processes has an adapter of its own."""

    def __init__(
        self,
        world: World,
        catalogue: Catalogue,
        endpoint: ArmEndpoint,
        access: Path,
        deaths: Deaths,
    ) -> None:
        self._world, self._catalogue, self._endpoint = world, catalogue, endpoint
        self._environment = endpoint.write_access(access)
        self._deaths = deaths
        self._opened: list[Any] = []
        self.unmapped: list[str] = []

    def start(self) -> None:
        """In place of the world's own operator, which has not done anything yet."""
        self._new_process()
        self._world.operator.crash(0.0)

    def close(self) -> None:
        """Let go of every process's connections."""
        for each in self._opened:
            each.close()

    def pools(self) -> list[str]:
        """The pools that the cluster has, those without a machine among them."""
        place = self._endpoint.front.place
        listed = self._client.agent_pools.list(place.group, place.cluster)
        return sorted(str(pool.name) for pool in listed)

    def _carry(self, send: Send, request: str) -> Any:
        try:
            return self._deaths.carry(send, request)
        except ProcessDied:
            self._new_process()
            raise

    def _new_process(self) -> None:
        """What the next process will begin with: nothing of what the last one knew."""
        world, place = self._world, self._endpoint.front.place
        settings = AzureSettings(
            subscription_id=place.subscription,
            resource_group=place.group,
            cluster_name=place.cluster,
            location=place.region,
            tenant_id=place.tenant,
            client_id=self._endpoint.identity.client_id,
            arm_endpoint=self._endpoint.url,
            ca_file=Path(self._environment["REQUESTS_CA_BUNDLE"]),
        )
        credential = make_credential(settings, self._environment)
        transport = _Transport(str(settings.ca_file), self._carry)
        self._client = client = make_client(settings, credential, transport)
        self._opened += [client, credential]
        cloud = AksMachineCloud(
            client,
            settings,
            clock=world.operator_clock,
            steady_s=world.clock.now_s,
            node_of=PoolNodes(world.api).node_of,
            on_unmapped=lambda code, message: self.unmapped.append(f"{code}: {message}"),
        )
        world.ports = kubernetes_ports(
            world.api,
            live=world.store,
            cloud=cloud,
            clock=world.operator_clock,
            catalogue=self._catalogue,
            weights_class=DEFAULT_STORAGE_CLASS,
        )


class _Transport(RequestsTransport):
    """The adapter's transport, whose requests go through `carry`."""

    def __init__(self, ca_file: str, carry: Callable[[Send, str], Any]) -> None:
        super().__init__(connection_verify=ca_file)
        self._carry = carry

    def send(self, request: Any, **options: Any) -> Any:
        send = super().send
        about = request.url.partition("/agentPools/")[2].partition("?")[0]
        return self._carry(lambda: send(request, **options), f"{request.method} {about}".strip())


@contextmanager
def on_aks(
    world: World, catalogue: Catalogue, access: Path, deaths: Deaths
) -> Iterator[AksOperator]:
    """Serve the world's cloud as Azure, for an operator that orders its machines there."""
    endpoint = azure_of(
        world.cloud,
        catalogue=catalogue,
        region=world.region,
        speed=1.0,
        now_s=world.clock.now_s,
        port=0,
        catch_up=nothing,
        wake=nothing,
    )
    # The SDK counts the lives of its tokens on the clock on the wall.
    endpoint.front.entra.token_life_s = _TOKEN_LIFE_S
    thread = threading.Thread(target=lambda: asyncio.run(endpoint.run()), daemon=True)
    thread.start()
    operator = AksOperator(world, catalogue, endpoint, access, deaths)
    try:
        yield operator
    finally:
        operator.close()
        thread.join(_GOODBYE_S)  # or the server waits longer for clients that have left
        endpoint.stop()
        thread.join(_LIMIT_S)
        assert not thread.is_alive(), "Azure is closed"
