"""The twin's machines and pods on somebody else's cluster: the second composition root of `sim`.

The cluster's own API server, scheduler, workload controllers and garbage collector do their work;
the twin stands in for what needs hardware: the cloud, the kubelets and the engine.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import simpy

from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.container_phases import Recorder
from kaito.adapters.fake.engine import Engine
from kaito.adapters.fake.kubelet import Kubelet
from kaito.adapters.fake.node_heartbeat import NodeHeartbeat
from kaito.adapters.fake.streams import Streams
from kaito.adapters.k8s.client import ClientSettings, KubernetesClientApi
from kaito.adapters.k8s.client_configuration import load_configuration
from kaito.adapters.k8s.client_retry import RetryPolicy
from kaito.adapters.k8s.controller import Controller
from kaito.adapters.k8s.informer import InformerCache
from kaito.adapters.kube_api import NODE, NODE_CLAIM, WORKSPACE, KubeObject, name_of
from kaito.bootstrap import kubernetes_ports
from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import PortError
from sim.clockwork import Slot, VirtualClock
from sim.cloud_world import limits_of
from sim.operator import Operator
from sim.scenario import World as WorldSettings
from sim.wall_clock import StepThread
from sim.world import latencies_of

_READ: Final = (WORKSPACE, NODE_CLAIM, NODE)
_STOP_LIMIT_S: Final = 5.0
# Each component tries again by itself; waiting here would hold up all the others.
_ONE_ATTEMPT: Final = RetryPolicy(attempts=1)

FromThread = Callable[[Callable[[], None]], Callable[[], None]]


class AttachedWorld:
    """Machines for a cluster's NodeClaims, and what runs on them.

    One thread steps everything but the Nodes' heartbeats, which must be in time. `from_thread`
    makes a wake-up safe to call from a watch's thread. Without `machines` it acts on no NodeClaims.
    """

    def __init__(
        self,
        *,
        kubeconfig: Path,
        seed: int,
        catalogue: Catalogue,
        settings: WorldSettings,
        now_s: Callable[[], float],
        recorder: Recorder,
        from_thread: FromThread,
        on_error: Callable[[str, PortError], None],
        machines: bool = True,
    ) -> None:
        self.env = simpy.Environment(initial_time=now_s())
        self.clock = clock = VirtualClock(self.env)
        self._acts_on_claims = machines
        streams = Streams(seed)
        latencies = latencies_of(settings)
        configuration = load_configuration(kubeconfig)
        self.url: str = configuration.host
        self.api = KubernetesClientApi(configuration, ClientSettings(retry=_ONE_ATTEMPT))
        self._from_thread = from_thread
        slot = Slot(self.env)
        self.cloud = FakeGpuCloud(
            api=self.api,
            catalogue=catalogue,
            latencies=latencies,
            streams=streams,
            region=settings.region,
            now_s=clock.now_s,
            wake=slot.wake,
            recorder=recorder,
            limits=limits_of(settings.cloud),
        )
        slot.attach(self.cloud.step)
        phases = Engine(
            latencies=latencies,
            streams=streams,
            weight_bytes={model.hf_id: model.weight_bytes for model in catalogue.models},
        )
        self._heart = StepThread("heartbeat", now_s)
        self._heartbeat = NodeHeartbeat(self.api, self._heart.wake, serves=self._serves)
        self._plug_in(
            lambda wake: Kubelet(
                self.api, wake, phases=phases, recorder=recorder, serves=self._serves
            )
        )
        self._cache = InformerCache(self.api, _READ)
        ports = kubernetes_ports(
            self._cache, live=self.api, cloud=self.cloud, clock=clock, catalogue=catalogue
        )
        self.machines = Operator(
            self.env,
            streams.get("operator"),
            lambda wake: Controller(self._cache, ports, from_thread(wake), runs_workspaces=False),
            on_error,
        )

    def start(self) -> list[str]:
        """Take up the machines of an earlier run, whose Nodes' names are returned, and begin.

        Raises: KubeApiError (the cluster does not answer, or does not allow it).
        """
        found = self.cloud.adopt(self.api.list(NODE).items)
        self.api.list(NODE_CLAIM, limit=1)
        if self._acts_on_claims:
            self.machines.start()
        self._heart.start(self._heartbeat.step)
        return found

    def nodes(self) -> list[str]:
        """Names of the Nodes whose machines this world plays."""
        return [
            name_of(node)
            for node in self.api.list(NODE).items
            if self.cloud.has_node(name_of(node))
        ]

    def close(self) -> None:
        """Stop watching and let go of the connections."""
        self._heart.stop(_STOP_LIMIT_S)
        self._cache.close()
        self.api.close()

    def _serves(self, node: KubeObject) -> bool:
        return self.cloud.has_node(name_of(node))

    def _plug_in(self, make: Callable[[Callable[[], None]], Any]) -> None:
        slot = Slot(self.env)
        slot.attach(make(self._from_thread(slot.wake)).step)
