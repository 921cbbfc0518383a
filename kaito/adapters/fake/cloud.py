"""A cloud that sells GPU machines, each with its Node: stands in for AKS agent pools."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Final

from kaito.adapters.fake.aks_node import GPU_TAINT, internal_address
from kaito.adapters.fake.cloud_limits import CloudLimits, with_changes
from kaito.adapters.fake.cloud_nodes import CloudNodes
from kaito.adapters.fake.cloud_supply import CloudSupply
from kaito.adapters.fake.container_phases import Recorder
from kaito.adapters.fake.latencies import Latencies
from kaito.adapters.fake.machine_life import (
    MACHINE_ORDER,
    MachineLife,
    NodeNames,
    life_of,
)
from kaito.adapters.fake.streams import Streams
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    KubeApi,
    KubeObject,
    ObjectConflict,
    ServerUnavailable,
)
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.errors import CapacityUnavailable, PortError, Rejected
from kaito.domain.machine import (
    CapacityType,
    CloudMachine,
    CloudState,
    MachineOrder,
    Shortage,
    Taint,
)

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
        self._nodes = CloudNodes(api, region)
        self._catalogue = catalogue
        self._latencies = latencies
        self._streams = streams
        self._now_s = now_s
        self._wake = wake
        self._recorder = recorder
        self._live: dict[str, MachineLife] = {}
        self._by_node: dict[str, MachineLife] = {}
        self.names = NodeNames()  # of the Nodes of machines that are ordered from now on
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

    @property
    def live(self) -> Mapping[str, MachineLife]:
        """The machines that there are, by name, those that do not show yet among them."""
        return self._live

    @property
    def supply(self) -> CloudSupply:
        """What stands between an order and a machine."""
        return self._supply

    def refuse(self, errors: Iterable[PortError]) -> None:
        """Answer the next orders for new machines with these errors, one each."""
        self._refusals.extend(errors)

    def change_limits(self, changes: CloudLimits, changed: set[str]) -> None:
        """Set the limits that `changed` names, from now on; see `with_changes`."""
        limits = with_changes(self._supply.limits, changes, changed)
        self._supply.change(limits, changes.stock if "stock" in changed else {})
        if "evictions_per_hour" in changed:
            for life in self._running():
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
            life for life in self._running() if life.order.capacity_type is CapacityType.SPOT
        ]
        for life in running[: ceil(len(running) * share)]:
            self._supply.market.evict(life.order.name, self._now_s())
        self._wake()

    def launch(self, order: MachineOrder) -> None:
        self._supply.write(order.name)
        if order.name not in self._live:
            self.order(order)

    def order(self, order: MachineOrder, taints: Sequence[Taint] = (GPU_TAINT,)) -> None:
        """Sell a machine under a name that no other has; no call is counted.

        Raises: Rejected, MachineLimitReached, QuotaExceeded, CapacityUnavailable.
        """
        if self._refusals:
            raise self._refusals.pop(0)
        try:
            instance_type = self._catalogue.instance_type(order.instance_type)
        except UnknownInstanceType as error:
            raise Rejected(f"VM size {order.instance_type} is not offered") from error
        now_s = self._now_s()
        zone = self._supply.zone_for(order)
        late = self._supply.limits.late_shortages
        if late:
            self._supply.reserve(instance_type, order.capacity_type)
        else:
            self._supply.sell(instance_type, order.capacity_type, zone)
        life = MachineLife(
            order=order,
            instance_type=instance_type,
            zone=self._supply.stock.name_of(zone),
            sold_in=None if late else zone,
            address=self._free_address(),
            ordered_at_s=now_s,
            names=self.names,
            taints=tuple(taints),
        )
        self._keep(life)
        self._enter(life, MACHINE_ORDER, "machine_launch", now_s)
        self._wake()

    def terminate(self, cloud_name: str) -> None:
        self._supply.read()
        self.give_back(cloud_name)

    def give_back(self, cloud_name: str) -> None:
        """As `terminate`; no call is counted."""
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
                state=life.listed_state,
                provider_id=life.provider_id,
                created_at_s=life.ordered_at_s,
                error=life.error,
                shortage=life.shortage,
                other_zones=life.other_zones,
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

    def _running(self) -> list[MachineLife]:
        return [
            life
            for life in self._live.values()
            if life.state is CloudState.RUNNING and life.stopped_at_s is None
        ]

    def has_node(self, node_name: str) -> bool:
        """Whether a machine of this cloud that works stands behind the Node."""
        return self._behind(node_name) is not None and not self.is_lost(node_name)

    def is_lost(self, node_name: str) -> bool:
        """Whether the Node's machine has failed."""
        life = self._behind(node_name)
        return life is not None and bool(life.error)

    def _behind(self, node_name: str) -> MachineLife | None:
        return self._by_node.get(node_name)

    def let_fail(self, cloud_name: str, why: str) -> None:
        """The machine, whose order has just been taken, will fail half-way."""
        self._live[cloud_name].fails_with = why

    def try_again(self, cloud_name: str) -> None:
        """Begin anew with a machine that failed before it had a Node."""
        life, now_s = self._live[cloud_name], self._now_s()
        life.state, life.error, life.fails_with = CloudState.CREATING, "", ""
        life.shortage, life.other_zones = None, ()
        self._enter(life, MACHINE_ORDER, "machine_launch", now_s)
        self._wake()

    def relabel(
        self, cloud_name: str, given_labels: Mapping[str, str], taints: Sequence[Taint]
    ) -> None:
        """Give the machine's Node other labels of its own, and other taints."""
        life = self._live[cloud_name]
        gone = dict.fromkeys(life.order.labels.keys() - given_labels.keys())
        life.order = replace(life.order, labels=dict(given_labels))
        life.taints = tuple(taints)
        life.relabel = {**(life.relabel or {}), **gone, **given_labels}
        if life.registered:
            self._stale_nodes[life.node_name] = life
        self._wake()

    def stop(self) -> None:
        """Deallocate every machine, as `az aks stop` does: the Nodes go, what was ordered stays."""
        now_s = self._now_s()
        for life in self._live.values():
            if life.stopped_at_s is not None or life.state is CloudState.DELETING or life.error:
                continue
            self._leave(life, now_s, "stopped")
            self._timers.set(life.order.name, None)
            self._supply.market.leave(life.order.name)
            life.stopped_at_s, life.registered, life.ready_at_s = now_s, False, None
            self._stale_nodes[life.node_name] = life
        self._wake()

    def start(self) -> None:
        """Bring every machine back that `stop` has deallocated, each with a new Node."""
        now_s = self._now_s()
        for life in self._live.values():
            if life.stopped_at_s is None or life.state is CloudState.DELETING:
                continue
            life.stopped_s += now_s - life.stopped_at_s
            life.stopped_at_s = None
            if life.visible:
                self._enter(life, NODE_PROVISION, "node_provision", now_s)
            else:
                self._enter(life, MACHINE_ORDER, "machine_launch", now_s)
        self._wake()

    def step(self, now_s: float) -> float | None:
        """Do what is due; the next time something will be."""
        self._step_market(now_s)
        for name in self._timers.pop_due(now_s):
            life = self._live.get(name)
            if life is not None:
                self._advance(life, now_s)
        for life in list(self._stale_nodes.values()):
            try:
                self._nodes.write(life, now_s)
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
        del self._by_node[life.node_name]
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
        self._by_node[life.node_name] = life
        self._addresses.add(life.address)
        self._lives.append(life)
        self._names_of.setdefault(life.order.claim_name, {})[life.order.name] = None

    def _advance(self, life: MachineLife, now_s: float) -> None:
        ended = life.phase
        self._leave(life, now_s, life.instance_type.name)
        if ended == MACHINE_ORDER:
            life.visible = True
            if not self._allocate(life):
                return
            life.fails_with = life.fails_with or self._supply.why_it_fails(life.order.name)
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

    def _allocate(self, life: MachineLife) -> bool:
        """Whether there is a machine for the order after all; else it has failed."""
        if life.sold_in is not None:
            return True
        first = self._supply.stock.number_of(life.zone)
        others = [] if life.order.zone else self._supply.zones_of(life.order.instance_type)
        try:
            life.sold_in = self._supply.allocate(
                life.instance_type, [first, *(zone for zone in others if zone != first)]
            )
        except CapacityUnavailable as error:
            life.shortage, life.other_zones = Shortage.CAPACITY, error.other_zones
            self._fail(life, str(error))
            return False
        life.zone = self._supply.stock.name_of(life.sold_in)
        return True

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

    def _free_address(self) -> str:
        """Each machine's own, one after the other, as long as the subnet has any left."""
        number = len(self._lives)
        while internal_address(number) in self._addresses:
            number += 1
        return internal_address(number)
