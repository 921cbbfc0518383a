"""A simulated world whose operator has its machines through the real Azure SDK, over TLS.

Time is virtual: it stands while a request is under way, so that a run is exact and quick.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from kaito.adapters.fake.arm.app import ArmFront
from kaito.adapters.fake.arm.endpoint import ArmEndpoint
from kaito.adapters.fake.arm.place import Place
from kaito.adapters.fake.cloud_limits import CloudLimits
from kaito.adapters.files import load_catalogue
from kaito.adapters.k8s.node_lookup import PoolNodes
from kaito.adapters.kube_api import EVENT, NODE, NODE_CLAIM, WORKSPACE, KubeObject, is_true
from sim.cloud_file import CloudPart
from sim.event_log import EventLog
from sim.invariants import Invariants
from sim.scenario import World as WorldSettings
from sim.world import World
from tests.contract.aks_world import Aks, Overheard
from tests.unit.domain.builders import A100, manifest

NAMESPACE: Final = "default"
RESTART_S: Final = 10.0
_LOOK_S: Final = 5.0
_STOP_LIMIT_S: Final = 20.0


class WorldOnAzure:
    """Start its operator to begin. `cloud` is as in a scenario file."""

    def __init__(self, directory: Path, *, seed: int, cloud: Mapping[str, Any]) -> None:
        catalogue = load_catalogue()
        settings = WorldSettings(cloud=CloudPart.model_validate(cloud))
        self.world = world = World(
            seed=seed, catalogue=catalogue, settings=settings, log=EventLog(None)
        )
        place = Place(region=world.region)
        world.cloud.names = place.node_names
        world.cloud.change_limits(CloudLimits(late_shortages=True), {"late_shortages"})
        self.front = ArmFront(
            world.cloud, catalogue=catalogue, place=place, now_s=world.clock.now_s
        )
        self.front.entra.token_life_s = 1e6  # more than passes: the SDK counts real seconds
        self.endpoint = ArmEndpoint(self.front)
        self.aks = Aks(
            self.endpoint,
            directory,
            now_s=world.clock.now_s,
            node_of=PoolNodes(world.api).node_of,
            zones=("1", "2", "3"),
        )
        self._adapter = self.aks.adapter()
        self._calls: Counter[str] = Counter()
        self._cloud = Overheard(self._adapter, self.aks.told)
        world.ports = replace(world.ports, cloud=self._cloud)
        self.invariants = Invariants(world)
        self.most_pools = 0
        world.operator.start()

    @property
    def calls(self) -> Mapping[str, int]:
        """Requests of all the adapters so far, by kind."""
        return self._calls + Counter(self._adapter.calls)

    def order(self, name: str) -> None:
        """A user applies a Workspace of one machine."""
        selector = {"labelSelector": {"matchLabels": {"apps": name}}}
        document = manifest(
            name=name,
            metadata={"namespace": NAMESPACE},
            instance_type=A100,
            resource=selector,
        )
        self.world.store.create(WORKSPACE, document)

    def delete(self, name: str) -> None:
        self.world.store.delete(WORKSPACE, name, NAMESPACE)

    def restart(self) -> None:
        """The operator's process dies, and comes back with nothing in memory."""
        self.world.operator.crash(RESTART_S)
        self._calls += Counter(self._adapter.calls)
        self.aks.close()
        self._cloud.inner = self._adapter = self.aks.adapter()

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, until that is so; the invariants are looked at meanwhile."""
        env = self.world.env
        end_s = env.now + seconds
        while env.now < end_s and not until():
            env.run(until=min(env.now + _LOOK_S, end_s))
            assert self.invariants.check() == []
            self.most_pools = max(self.most_pools, len(self.world.cloud.live))

    def ready_claims(self) -> int:
        """NodeClaims that are Ready."""
        return sum(is_true(claim, "Ready") for claim in self.claims())

    def claims(self) -> tuple[KubeObject, ...]:
        return self.world.objects(NODE_CLAIM)

    def listed_pools(self) -> list[str]:
        """The agent pools that Azure has, whosever."""
        place, pools = self.front.place, self.aks.client().agent_pools
        return [str(pool.name) for pool in pools.list(place.group, place.cluster)]

    def said(self) -> list[str]:
        """Every text that users read: events, conditions, and all else but provider ids."""
        found = []
        for resource in (EVENT, NODE_CLAIM, WORKSPACE, NODE):
            for obj in self.world.objects(resource):
                found += list(_texts(obj))
        return found

    def close(self) -> None:
        self.aks.close()


@contextmanager
def world_on_azure(
    directory: Path, *, seed: int, cloud: Mapping[str, Any]
) -> Iterator[WorldOnAzure]:
    """In the end nothing secret was logged, raised, or told to users."""
    made = WorldOnAzure(directory, seed=seed, cloud=cloud)
    served = threading.Thread(target=lambda: asyncio.run(made.endpoint.run()), daemon=True)
    served.start()
    try:
        with made.aks.listening() as records:
            yield made
        made.aks.check_silence(records, *made.said())
    finally:
        made.close()
        made.endpoint.stop()
        served.join(_STOP_LIMIT_S)
    assert not served.is_alive()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key not in {"providerID", "managedFields"}:
                yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
