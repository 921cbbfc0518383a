"""The simulated world, put together: the one place in `sim` that knows adapters by name."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

import simpy

from kaito.adapters.fake import cloud, container_phases
from kaito.adapters.fake.active_faults import ActiveFaults
from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.cloud_faults import CloudVerb, FaultyMachineCloud
from kaito.adapters.fake.container_faults import FaultyContainers
from kaito.adapters.fake.disruption import DisruptionController
from kaito.adapters.fake.endpoint_slices import EndpointSliceController
from kaito.adapters.fake.engine import Engine
from kaito.adapters.fake.ephemeral_volumes import EphemeralVolumeController
from kaito.adapters.fake.faults import Fault, FaultyKubeApi, Verb
from kaito.adapters.fake.garbage_collector import GarbageCollector
from kaito.adapters.fake.http.kinds import FOR_CLIENTS
from kaito.adapters.fake.image_faults import FaultyImages
from kaito.adapters.fake.job import JobController
from kaito.adapters.fake.jumping_clock import JumpingClock
from kaito.adapters.fake.kubelet import Kubelet
from kaito.adapters.fake.latencies import Latencies, load_latencies
from kaito.adapters.fake.local_disks import LocalDisks
from kaito.adapters.fake.machine_life import MACHINE_ORDER, MachineLife
from kaito.adapters.fake.namespaces import NamespaceController
from kaito.adapters.fake.node_faults import NodeFaults
from kaito.adapters.fake.node_heartbeat import LEASE_NAMESPACE, NodeHeartbeat
from kaito.adapters.fake.node_lifecycle import NodeLifecycleController
from kaito.adapters.fake.pod_gc import PodGarbageCollector
from kaito.adapters.fake.scheduler import Scheduler
from kaito.adapters.fake.stateful_set import StatefulSetController
from kaito.adapters.fake.store import SERVED, ObjectStore
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import default_directory
from kaito.adapters.k8s import workspaces
from kaito.adapters.k8s.admission import WorkspaceAdmission
from kaito.adapters.k8s.controller import Controller
from kaito.adapters.k8s.crds import node_claim_crd, workspace_crd
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    JOB,
    NAMESPACE,
    NODE,
    NODE_CLAIM,
    POD,
    RESOURCES,
    SERVICE,
    STATEFUL_SET,
    STORAGE_CLASS,
    WORKSPACE,
    AlreadyExists,
    KubeApi,
    KubeObject,
    ObjectNotFound,
    Resource,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.bootstrap import kubernetes_ports
from kaito.domain import labels
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.decision import Wanted
from kaito.domain.machine_policy import LONGEST_RETRY_S
from kaito.domain.machine_record import RECHECK_S
from kaito.domain.model import ModelProfile
from kaito.domain.names import DEFAULT_STORAGE_CLASS
from kaito.domain.sizing import Sizing
from kaito.domain.timestamps import from_rfc3339
from sim.clockwork import EPOCH_S, Slot, VirtualClock
from sim.cloud_file import CloudChange
from sim.cloud_world import change_cloud, guards_of, limits_of, timeouts_of
from sim.event_log import EventLog
from sim.injection import inject
from sim.operator import Operator
from sim.recorder import Recorder
from sim.result import Phase
from sim.scenario import AnyFault
from sim.scenario import World as WorldSettings

if TYPE_CHECKING:
    from kaito.adapters.fake.http.endpoint import Endpoint
    from kaito.adapters.fake.http.page import Page
    from kaito.adapters.fake.http.page_state import PageSources, Story
    from kaito.adapters.fake.http.pod_logs import Span

_READ_BY_OPERATOR: Final = (
    WORKSPACE,
    NODE_CLAIM,
    NODE,
    STATEFUL_SET,
    JOB,
    POD,
    SERVICE,
    CONFIG_MAP,
    STORAGE_CLASS,
    CONTROLLER_REVISION,
)

# Which latency a phase of the timeline is drawn from, on one GPU.
_LATENCY_OF: Final = {
    MACHINE_ORDER: "machine_launch",
    cloud.NODE_PROVISION: "node_provision",
    cloud.GPU_DRIVER: "gpu_driver",
    cloud.MACHINE_RELEASE: "machine_release",
    container_phases.IMAGE_PULL: "image_pull",
    container_phases.WEIGHTS_DOWNLOAD: "weights_download",
    container_phases.WEIGHTS_LOAD: "weights_load",
    container_phases.TORCH_COMPILE: "torch_compile",
    container_phases.MEMORY_PROFILING: "memory_profiling",
    container_phases.CUDA_GRAPHS: "cuda_graph_capture",
    container_phases.ENGINE_INIT: "engine_init",
    container_phases.RAY_START: "ray_start",
    container_phases.TRAINING: "training",
    container_phases.RESULTS_PUSH: "results_push",
}


class World:
    """A cluster, a cloud and an operator on one virtual clock; start the operator to begin.

    Virtual time begins at `epoch_s`. `webhook` False: nothing is refused at admission, as in a
    cluster whose webhook is away.
    `kube_fault` and `cloud_fault` name what goes wrong with the operator's next call, or raise
    `ProcessDied`. `stale_reads`: whether its reads may be made stale; it costs memory for history.
    """

    def __init__(
        self,
        *,
        seed: int,
        catalogue: Catalogue,
        settings: WorldSettings,
        log: EventLog,
        stale_reads: bool = False,
        webhook: bool = True,
        epoch_s: float = EPOCH_S,
    ) -> None:
        self.epoch_s = epoch_s
        self.env = simpy.Environment(initial_time=epoch_s)
        self.clock = VirtualClock(self.env)
        self.region = settings.region
        self.recorder = Recorder(log, epoch_s)
        streams = Streams(seed)
        uids = streams.get("uids")
        self.store = ObjectStore(
            now_s=self.clock.now_s,
            new_uid=lambda: str(uuid.UUID(int=uids.getrandbits(128), version=4)),
            resources=(*SERVED, *FOR_CLIENTS),
            crds=(workspace_crd(), node_claim_crd()),
            admission=(WorkspaceAdmission(catalogue, settings.provisioner),) if webhook else (),
        )
        self._plug_in(RESOURCES)
        latencies = latencies_of(settings)
        cloud_slot = Slot(self.env)
        self.cloud = FakeGpuCloud(
            api=self.store,
            catalogue=catalogue,
            latencies=latencies,
            streams=streams,
            region=settings.region,
            now_s=self.clock.now_s,
            wake=cloud_slot.wake,
            recorder=self.recorder,
            limits=limits_of(settings.cloud),
        )
        self.unsettled_until_s = 0.0  # what was refused before may be tried again until then
        cloud_slot.attach(self.cloud.step)
        nodes_slot = Slot(self.env)
        self.node_faults = NodeFaults(
            self.store,
            nodes_slot.wake,
            now_s=self.clock.now_s,
            lost=self.cloud.lose,
            changed=lambda name: self._kubelet.look_again(name),
        )
        nodes_slot.attach(self.node_faults.step)
        self._start_cluster(catalogue, latencies, streams)
        self.faults = ActiveFaults(self.clock.now_s)
        self.operator_clock = JumpingClock(self.clock.now_s)
        self.kube_fault: Callable[[Verb], Fault | None] = lambda _verb: None
        self.cloud_fault: Callable[[CloudVerb], Fault | None] = lambda _verb: None
        history_slot = Slot(self.env)
        self.api = api = FaultyKubeApi(
            self.store,
            now_s=self.clock.now_s,
            choose=lambda verb: self.faults.of_kube_call(verb) or self.kube_fault(verb),
            wake=history_slot.wake,
            remembered=_READ_BY_OPERATOR if stale_reads else (),
        )
        history_slot.attach(api.step)
        faulty_cloud = FaultyMachineCloud(
            self.cloud,
            now_s=self.clock.now_s,
            choose=lambda verb: self.faults.of_cloud_call(verb) or self.cloud_fault(verb),
            remembers=stale_reads,
        )
        self.ports = kubernetes_ports(
            api,
            live=self.store,
            cloud=faulty_cloud,
            clock=self.operator_clock,
            catalogue=catalogue,
            provisioner=settings.provisioner,
            guards=guards_of(settings.guards, settings.region),
            limits=timeouts_of(settings.timeouts),
            weights_class=DEFAULT_STORAGE_CLASS,
        )
        self.operator = Operator(
            self.env,
            streams.get("operator"),
            lambda wake: Controller(api, self.ports, wake),
            on_error=lambda key, error: log.write(
                self.now_s(), "ROUND_FAILED", key=key, error=type(error).__name__, why=str(error)
            ),
        )

    def now_s(self) -> float:
        """Seconds since the start of the run."""
        return self.clock.now_s() - self.epoch_s

    def inject(self, fault: AnyFault) -> None:
        """Make something go wrong, from now on."""
        inject(self, fault)

    def change_cloud(self, change: CloudChange) -> None:
        """Let the cloud have more or less to sell, from now on."""
        again_s = self.now_s() + LONGEST_RETRY_S + RECHECK_S
        self.unsettled_until_s = max(self.unsettled_until_s, again_s)
        change_cloud(self.cloud, change)

    def costs_usd(self) -> Mapping[str, float]:
        """What each machine has cost so far, by its name in the cloud."""
        now_s = self.clock.now_s()
        return {life.order.name: life.cost_usd(self.region, now_s) for life in self.cloud.lives}

    def running_machines(self) -> list[MachineLife]:
        """The machines that the cloud still has."""
        return [life for life in self.cloud.lives if life.released_at_s is None]

    def objects(self, resource: Resource) -> tuple[KubeObject, ...]:
        """Every object of a kind, now."""
        return self.store.list(resource).items

    def endpoint(
        self,
        *,
        host: str,
        port: int,
        catch_up: Callable[[], None],
        wake: Callable[[], None],
        page_url: str = "",
    ) -> "Endpoint":
        """The world behind the Kubernetes protocol; see `kubernetes_app`.

        Raises: InvalidInput (nobody can listen there).
        """
        from kaito.adapters.fake.http.endpoint import Endpoint

        self._start_what_people_look_at()
        return Endpoint(
            self.store,
            now_s=self.clock.now_s,
            crds=(workspace_crd(), node_claim_crd()),
            timeline=lambda namespace, name: self._spans(
                self.recorder.phases_of_pod(namespace, name)
            ),
            host=host,
            port=port,
            catch_up=catch_up,
            wake=wake,
            page_url=page_url,
        )

    def page(
        self, *, port: int, speed: float, commands: Sequence[str], catch_up: Callable[[], None]
    ) -> "Page":
        """The world as a live page for a browser; `commands` are what to type first.

        Raises: InvalidInput (nobody can listen there).
        """
        from kaito.adapters.fake.http.page import Page

        return Page(self.page_sources(speed, commands), port=port, catch_up=catch_up)

    def page_sources(self, speed: float, commands: Sequence[str]) -> "PageSources":
        """What the page shows of the world."""
        from kaito.adapters.fake.http.page_state import PageSources

        return PageSources(
            api=self.store,
            now_s=self.clock.now_s,
            lives=lambda: self.cloud.lives,
            region=self.region,
            story_of=self._story_of,
            sizing_of=self._sizing_of,
            speed=speed,
            commands=commands,
        )

    def _story_of(self, workspace: KubeObject) -> "Story":
        from kaito.adapters.fake.http.page_state import Story

        metadata = workspace["metadata"]
        key = (namespace_of(workspace), name_of(workspace))
        track = self.recorder.workspaces.get((*key, metadata["uid"]))
        if track is None:  # made in this instant: the recorder's turn has not come
            return Story(created_at_s=from_rfc3339(metadata["creationTimestamp"]))
        return Story(
            created_at_s=track.created_at_s + self.epoch_s,
            ready_at_s=None if track.ready_at_s is None else track.ready_at_s + self.epoch_s,
            phases=self._spans(self.recorder.phases_of(*key)),
        )

    def _sizing_of(self, workspace: KubeObject) -> Sizing | None:
        """What the operator decides on it; read past the faults that are meant for the operator."""
        view = workspaces.to_view(workspace)
        if view.problems or "deletionTimestamp" in workspace["metadata"]:
            return None
        decisions = self.ports.decisions
        store = KubeWorkspaceStore(self.store, self.clock, decisions.provisioner)
        cluster = store.observe(view.workspace)
        own = decisions.own_nodes(view.workspace, cluster)
        decided = decisions.of(view.workspace, cluster.config, own)
        sizing = decided.sizing if isinstance(decided, Wanted) else None
        return sizing if isinstance(sizing, Sizing) else None

    def _spans(self, phases: Sequence[Phase]) -> "list[Span]":
        """Phases with their times as seconds since the epoch."""
        from kaito.adapters.fake.http.pod_logs import Span

        return [
            Span(
                phase.name,
                phase.start_s + self.epoch_s,
                None if phase.end_s is None else phase.end_s + self.epoch_s,
                phase.detail,
            )
            for phase in phases
        ]

    def _plug_in(self, resources: tuple[Resource, ...]) -> None:
        slot = Slot(self.env)
        slot.attach(self.recorder.step)
        self.recorder.follow(self.store, resources, slot.wake)

    def _start_cluster(self, catalogue: Catalogue, latencies: Latencies, streams: Streams) -> None:
        engine = Engine(
            latencies=latencies,
            streams=streams,
            weight_bytes={model.hf_id: model.weight_bytes for model in catalogue.models},
        )
        self.containers = FaultyContainers(engine)
        self.images = FaultyImages(self.containers, self.clock.now_s)
        makers: list[Callable[[Callable[[], None]], Any]] = [
            lambda wake: GarbageCollector(self.store, wake=wake),
            lambda wake: NamespaceController(self.store, wake=wake),
            lambda wake: PodGarbageCollector(self.store, wake),
            lambda wake: StatefulSetController(self.store, wake),
            lambda wake: JobController(self.store, wake),
            lambda wake: NodeLifecycleController(self.store, wake),
            lambda wake: EphemeralVolumeController(self.store, wake),
            lambda wake: LocalDisks(
                self.store,
                wake,
                latencies=latencies,
                streams=streams,
                has_disks=lambda name: has_local_disks(self.store, name, catalogue),
            ),
            lambda wake: Scheduler(self.store, wake),
            lambda wake: DisruptionController(self.store, wake),
        ]
        for make in makers:
            slot = Slot(self.env)
            slot.attach(make(slot.wake).step)
        slot = Slot(self.env)
        self._kubelet = Kubelet(
            self.store,
            slot.wake,
            phases=self.images,
            recorder=self.recorder,
            serves=lambda node: self._is_running(name_of(node)),
        )
        slot.attach(self._kubelet.step)

    def _start_what_people_look_at(self) -> None:
        """Leases of nodes and EndpointSlices: a run that nobody looks into does without."""
        with suppress(AlreadyExists):
            self.store.create(NAMESPACE, {"metadata": {"name": LEASE_NAMESPACE}})
        slot = Slot(self.env)
        heartbeat = NodeHeartbeat(
            self.store, slot.wake, serves=lambda node: self._is_alive(name_of(node))
        )
        slot.attach(heartbeat.step)
        slot = Slot(self.env)
        slot.attach(EndpointSliceController(self.store, slot.wake).step)

    def _is_alive(self, node_name: str) -> bool:
        return self.cloud.has_node(node_name) and self._is_running(node_name)

    def _is_running(self, node_name: str) -> bool:
        """Whether nothing has happened to what is behind the Node, a machine of the twin or not."""
        return not self.cloud.is_lost(node_name) and not self.node_faults.is_down(node_name)


def has_local_disks(api: KubeApi, node_name: str, catalogue: Catalogue) -> bool:
    """Whether the Node's machine has local NVMe disks, from the instance type that it says."""
    try:
        node = api.get(NODE, node_name)
        return catalogue.instance_type(labels_of(node).get(labels.INSTANCE_TYPE, "")).nvme
    except (ObjectNotFound, UnknownInstanceType):
        return False


def published_range(
    phase: str, *, model: ModelProfile, gpus: int, is_vllm: bool
) -> tuple[float | None, float | None, str]:
    """The published range of a phase in seconds, from least to most, and its source."""
    names = dict(_LATENCY_OF)
    if gpus > 1:
        names[container_phases.WEIGHTS_LOAD] = "weights_load_multi_gpu"
    if is_vllm:
        multi = "_multi_gpu" if gpus > 1 else ""
        names[container_phases.ENGINE_INIT] = f"engine_init_vllm{multi}"
    if phase not in names:
        return None, None, "follows from the manifest"
    timing = _latencies().timing(names[phase])
    share = gpus if phase == container_phases.WEIGHTS_LOAD else 1
    least_s, most_s = timing.cited_s(model.weight_bytes // share)
    return least_s, most_s, timing.source or "prior"


def latencies_of(settings: WorldSettings) -> Latencies:
    """The world's latencies. Raises: InvalidInput (a phase that does not exist)."""
    return _latencies().adjusted(scale=settings.latency_scale, fixed_s=settings.latencies_s)


@cache
def _latencies() -> Latencies:
    """Read once: they are immutable, and reading them takes as long as half a run."""
    return load_latencies(default_directory() / "latencies.yaml")
