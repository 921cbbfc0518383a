"""A cloud that sells GPU machines, each with its Node: stands in for AKS agent pools."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from math import ceil
from typing import Final

from kaito.adapters.fake.aks_node import aks_node, internal_address, preempted, unreachable
from kaito.adapters.fake.cloud_limits import CloudLimits, with_changes
from kaito.adapters.fake.cloud_supply import CloudSupply
from kaito.adapters.fake.container_phases import Recorder
from kaito.adapters.fake.latencies import Latencies
from kaito.adapters.fake.machine_life import (
    MACHINE_ORDER,
    MachineLife,
    annotations_for,
    life_of,
    pool_of,
)
from kaito.adapters.fake.streams import Streams
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    NODE,
    AlreadyExists,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
)
from kaito.domain import labels
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.errors import PortError, Rejected
from kaito.domain.machine import CapacityType, CloudMachine, CloudState, MachineOrder

NODE_PROVISION: Final = "node provision"
GPU_DRIVER: Final = "GPU driver"
MACHINE_RELEASE: Final = "machine release"

_RETRY_S: Final = 1.0


class FakeGpuCloud:
    """The domain's `MachineCloud`, and the state machine behind it.

    It sells within `limits`, without which there are none; refusals are injected with `refuse`.
    Every duration comes from the machine's own stream, so that one machine's draws do not shift
    another's.
    """

    def __init__(
        self,
        *,
        api: KubeApi,
        catalogue: Catalogue,
        latencies: Latencies,
        streams: Streams,
        region: str,
        now_s: Callable[[], float],
        wake: Callable[[], None],
        recorder: Recorder,
        limits: CloudLimits | None = None,
    ) -> None:
        self._api = api
        self._catalogue = catalogue
        self._latencies = latencies
        self._streams = streams
        self._region = region
        self._now_s = now_s
        self._wake = wake
        self._recorder = recorder
        self._live: dict[str, MachineLife] = {}
        self._names_of: dict[str, dict[str, None]] = {}  # of every order, by claim
        self._lives: list[MachineLife] = []
        self._addresses: set[str] = set()
        self._timers: Timers[str] = Timers()
        self._stale_nodes: dict[str, MachineLife] = {}  # Nodes that are to be written, by name
        self._refusals: list[PortError] = []
        self._supply = CloudSupply(region, limits or CloudLimits(), streams, now_s)

    @property
    def lives(self) -> Sequence[MachineLife]:
        """Every machine that was ever ordered, in order of their orders."""
        return self._lives

    def refuse(self, errors: Iterable[PortError]) -> None:
        """Answer the next orders for new machines with these errors, one each."""
        self._refusals.extend(errors)

    def change_limits(self, changes: CloudLimits, changed: set[str]) -> None:
        """Set the limits that `changed` names, from now on; see `with_changes`."""
        limits = with_changes(self._supply.limits, changes, changed)
        self._supply.change(limits, changes.stock if "stock" in changed else {})
        if "evictions_per_hour" in changed:
            for life in self._live.values():
                if life.state is CloudState.RUNNING:
                    self._supply.starts(life.order.name, life.order.capacity_type, self._now_s())
        self._wake()

    def lose_zone(self, zone: int, for_s: float) -> None:
        """Every machine of the zone is lost for good; it sells none for so long."""
        name = self._supply.stock.name_of(zone)
        self._supply.stock.lose_zone(zone, self._now_s() + for_s)
        for life in self._live.values():
            if life.zone == name and life.state is not CloudState.DELETING:
                self._fail(life, f"zone {name} is down")
        self._wake()

    def evict_spot(self, share: float) -> None:
        """Want back this share of the spot machines, from 0 to 1, rounded up: the oldest first."""
        running = [
            life
            for life in self._live.values()
            if life.order.capacity_type is CapacityType.SPOT and life.state is CloudState.RUNNING
        ]
        for life in running[: ceil(len(running) * share)]:
            self._supply.market.evict(life.order.name, self._now_s())
        self._wake()

    def launch(self, order: MachineOrder) -> None:
        self._supply.write(order.name)
        if order.name in self._live:
            return
        if self._refusals:
            raise self._refusals.pop(0)
        try:
            instance_type = self._catalogue.instance_type(order.instance_type)
        except UnknownInstanceType as error:
            raise Rejected(f"VM size {order.instance_type} is not offered") from error
        now_s = self._now_s()
        zone = self._supply.zone_for(order)
        self._supply.sell(instance_type, order.capacity_type, zone)
        life = MachineLife(
            order=order,
            instance_type=instance_type,
            zone=self._supply.stock.name_of(zone),
            sold_in=zone,
            address=self._free_address(),
            ordered_at_s=now_s,
        )
        self._keep(life)
        self._enter(life, MACHINE_ORDER, "machine_launch", now_s)
        self._wake()

    def terminate(self, cloud_name: str) -> None:
        self._supply.read()
        life = self._live.get(cloud_name)
        if life is None or life.state is CloudState.DELETING:
            return
        now_s = self._now_s()
        if not life.evicted:  # that goes on
            self._supply.market.leave(cloud_name)
        self._leave(life, now_s, "given back")
        life.state = CloudState.DELETING
        self._enter(life, MACHINE_RELEASE, "machine_release", now_s)
        self._wake()

    def lose(self, cloud_name: str) -> None:
        """The machine is gone at once, and nobody asked for it. Its Node is left as it is."""
        life = self._live.get(cloud_name)
        if life is None:
            return
        now_s = self._now_s()
        self._leave(life, now_s, "lost")
        self._timers.set(cloud_name, None)
        self._release(life, now_s)
        self._stale_nodes.pop(life.node_name, None)

    def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
        self._supply.read()
        names = self._live if claim_name is None else self._names_of.get(claim_name, ())
        return [
            CloudMachine(
                name=name,
                claim_name=life.order.claim_name,
                owner_uid=life.order.owner.uid,
                instance_type=life.instance_type.name,
                zone=life.zone,
                state=life.state,
                provider_id=life.provider_id,
                created_at_s=life.ordered_at_s,
                error=life.error,
                evicted=life.evicted,
            )
            for name in sorted(names)
            if (life := self._live.get(name)) is not None and life.visible
        ]

    def adopt(self, nodes: Iterable[KubeObject]) -> list[str]:
        """Take up the machines whose Nodes a cloud before this one left; their Nodes' names.

        Nodes of others are passed over, and so are those of unknown instance types.
        """
        adopted = []
        for node in nodes:
            life = life_of(node, self._catalogue)
            if life is None or life.order.name in self._live:
                continue
            life.visible, life.registered, life.state = True, True, CloudState.RUNNING
            self._keep(life)
            self._supply.count(life.instance_type, life.order.capacity_type)
            self._supply.starts(life.order.name, life.order.capacity_type, self._now_s())
            if life.ready_at_s is None:
                self._enter(life, GPU_DRIVER, "gpu_driver", self._now_s())
            adopted.append(life.node_name)
        self._wake()
        return adopted

    def has_node(self, node_name: str) -> bool:
        """Whether a machine of this cloud that works stands behind the Node."""
        return self._behind(node_name) is not None and not self.is_lost(node_name)

    def is_lost(self, node_name: str) -> bool:
        """Whether the Node's machine has failed."""
        life = self._behind(node_name)
        return life is not None and bool(life.error)

    def _behind(self, node_name: str) -> MachineLife | None:
        return self._live.get(pool_of(node_name))

    def step(self, now_s: float) -> float | None:
        """Do what is due; the next time something will be."""
        self._step_market(now_s)
        for name in self._timers.pop_due(now_s):
            life = self._live.get(name)
            if life is not None:
                self._advance(life, now_s)
        for life in list(self._stale_nodes.values()):
            try:
                self._write_node(life, now_s)
            except (ServerUnavailable, ObjectConflict):
                return self._next_s(now_s + _RETRY_S)
            del self._stale_nodes[life.node_name]
        return self._next_s()

    def _next_s(self, *more: float) -> float | None:
        dues = (self._timers.next_s(), self._supply.market.next_s(), *more)
        return min((due_s for due_s in dues if due_s is not None), default=None)

    def _step_market(self, now_s: float) -> None:
        """Tell spot machines that they are wanted back, and take those whose time is over."""
        notices, over = self._supply.market.pop_due(now_s)
        for name in notices:
            life = self._live[name]
            life.evicted = True
            self._stale_nodes[life.node_name] = life
        for name in over:
            life = self._live[name]
            self._leave(life, now_s, "evicted")
            self._timers.set(name, None)
            self._release(life, now_s)

    def _release(self, life: MachineLife, now_s: float) -> None:
        """The machine is gone; what it took is free again."""
        name, capacity_type = life.order.name, life.order.capacity_type
        life.released_at_s = now_s
        del self._live[name]
        self._addresses.discard(life.address)
        self._supply.market.leave(name)
        self._supply.take_back(life.instance_type, capacity_type, life.sold_in)
        if life.node_at_s is not None:
            self._stale_nodes[life.node_name] = life

    def _fail(self, life: MachineLife, error: str) -> None:
        """It does nothing any more, until it is given back."""
        self._leave(life, self._now_s(), error)
        self._timers.set(life.order.name, None)
        self._supply.market.leave(life.order.name)
        life.state, life.error, life.visible = CloudState.FAILED, error, True
        if life.node_at_s is not None:
            self._stale_nodes[life.node_name] = life

    def _keep(self, life: MachineLife) -> None:
        self._live[life.order.name] = life
        self._addresses.add(life.address)
        self._lives.append(life)
        self._names_of.setdefault(life.order.claim_name, {})[life.order.name] = None

    def _advance(self, life: MachineLife, now_s: float) -> None:
        ended = life.phase
        self._leave(life, now_s, life.instance_type.name)
        if ended == MACHINE_ORDER:
            life.visible = True
            life.fails_with = self._supply.why_it_fails(life.order.name)
            self._enter(life, NODE_PROVISION, "node_provision", now_s)
        elif ended == NODE_PROVISION and life.fails_with:
            self._fail(life, life.fails_with)
        elif ended == NODE_PROVISION:
            self._supply.starts(life.order.name, life.order.capacity_type, now_s)
            life.state = CloudState.RUNNING
            life.node_at_s = now_s
            self._enter(life, GPU_DRIVER, "gpu_driver", now_s)
        elif ended == GPU_DRIVER:
            life.ready_at_s = now_s
        else:
            self._release(life, now_s)
        if life.node_at_s is not None:
            self._stale_nodes[life.node_name] = life

    def _enter(self, life: MachineLife, phase: str, latency: str, now_s: float) -> None:
        life.phase, life.phase_since_s = phase, now_s
        subject = f"Machine/{life.order.claim_name}"
        self._recorder.begin(subject, phase, now_s, life.instance_type.name)
        rng = self._streams.get(f"cloud/{life.order.name}")
        self._timers.set(life.order.name, now_s + self._latencies.sample_s(latency, rng))

    def _leave(self, life: MachineLife, now_s: float, detail: str) -> None:
        if life.phase:
            subject = f"Machine/{life.order.claim_name}"
            self._recorder.phase(subject, life.phase, life.phase_since_s, now_s, detail)
            life.phase = ""

    def _write_node(self, life: MachineLife, now_s: float) -> None:
        """Bring the machine's Node up to date. Raises: as `KubeApi`."""
        if life.released_at_s is not None:
            with suppress(ObjectNotFound):
                self._api.delete(NODE, life.node_name)
            return
        if not life.registered:
            with suppress(AlreadyExists):
                self._api.create(NODE, self._node(life, now_s))
            life.registered = True
        with suppress(ObjectNotFound):
            self._tell_trouble(life, now_s)
        if life.ready_at_s is not None and not life.error:
            # Somebody may have deleted the Node object; the machine itself goes on.
            with suppress(ObjectNotFound):
                self._offer_gpus(life)

    def _node(self, life: MachineLife, now_s: float) -> KubeObject:
        return aks_node(
            name=life.node_name,
            pool=life.order.name,
            given_labels=life.order.labels,
            annotations=annotations_for(life),
            instance_type=life.instance_type,
            disk_bytes=life.order.disk_bytes,
            zone=life.zone,
            region=self._region,
            provider_id=life.provider_id,
            address=life.address,
            now_s=now_s,
            spot=life.order.capacity_type is CapacityType.SPOT,
        )

    def _tell_trouble(self, life: MachineLife, now_s: float) -> None:
        """Say on the Node that its machine has failed, or is about to be evicted."""
        if not life.error and not life.evicted:
            return
        node = self._api.get(NODE, life.node_name)
        say = unreachable if life.error else preempted
        patch = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "status": {"conditions": say(node, now_s)},
        }
        self._api.patch(NODE, life.node_name, None, patch, subresource="status")

    def _free_address(self) -> str:
        """Each machine's own, one after the other, as long as the subnet has any left."""
        number = len(self._lives)
        while internal_address(number) in self._addresses:
            number += 1
        return internal_address(number)

    def _offer_gpus(self, life: MachineLife) -> None:
        gpus = {labels.GPU_RESOURCE: str(life.instance_type.gpu_count)}
        patch = {"status": {"capacity": gpus, "allocatable": gpus}}
        self._api.patch(NODE, life.node_name, None, patch, subresource="status")
