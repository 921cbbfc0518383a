"""A cloud that sells GPU machines, each with its Node: stands in for AKS agent pools."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from kaito.adapters.fake.aks_node import address_of, aks_node, internal_address
from kaito.adapters.fake.container_phases import Recorder
from kaito.adapters.fake.latencies import Latencies
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
    annotations_of,
    labels_of,
    name_of,
)
from kaito.domain import labels
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.errors import PortError, Rejected
from kaito.domain.gpu import InstanceType
from kaito.domain.machine import CloudMachine, CloudState, MachineOrder, Owner
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

MACHINE_ORDER: Final = "machine order"
NODE_PROVISION: Final = "node provision"
GPU_DRIVER: Final = "GPU driver"
MACHINE_RELEASE: Final = "machine release"

ZONES: Final = 3  # as Azure's larger regions have
_RETRY_S: Final = 1.0
_NODE_PREFIX, _NODE_SUFFIX = "aks-", "-vmss000000"  # of the first VM of an AKS agent pool
# A Node says which machine it is, for a cloud that was restarted and remembers nothing.
_CLAIM: Final = "twin.kaito.sh/nodeclaim"
_ORDERED_AT: Final = "twin.kaito.sh/ordered-at"


@dataclass(slots=True, kw_only=True)
class MachineLife:
    """What became of one order. Times are epoch seconds; `ready_at_s` is when its GPUs came."""

    order: MachineOrder
    instance_type: InstanceType
    zone: str
    ordered_at_s: float
    address: str = ""  # the internal one of its Node
    state: CloudState = CloudState.CREATING
    visible: bool = False
    node_at_s: float | None = None
    ready_at_s: float | None = None
    registered: bool = False  # its Node was written
    released_at_s: float | None = None
    phase: str = MACHINE_ORDER
    phase_since_s: float = 0.0

    @property
    def node_name(self) -> str:
        return f"{_NODE_PREFIX}{self.order.name}{_NODE_SUFFIX}"

    @property
    def provider_id(self) -> str:
        return (
            "azure:///subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/twin"
            "/providers/Microsoft.Compute/virtualMachineScaleSets"
            f"/aks-{self.order.name}-vmss/virtualMachines/0"
        )

    def cost_usd(self, region: str, now_s: float) -> float:
        """On-demand price from the order to the release; 0 where the price is unknown."""
        price = self.instance_type.price(region)
        end_s = self.released_at_s if self.released_at_s is not None else now_s
        hours = (end_s - self.ordered_at_s) / 3600.0
        return price.on_demand_usd_per_hour * hours if price else 0.0


class FakeGpuCloud:
    """The domain's `MachineCloud`, and the state machine behind it.

    Unlimited stock; refusals are injected with `refuse`. Every duration comes from the machine's
    own stream, so that one machine's draws do not shift another's.
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
        self._timers: Timers[str] = Timers()
        self._stale_nodes: dict[str, MachineLife] = {}  # Nodes that are to be written, by name
        self._refusals: list[PortError] = []

    @property
    def lives(self) -> Sequence[MachineLife]:
        """Every machine that was ever ordered, in order of their orders."""
        return self._lives

    def refuse(self, errors: Iterable[PortError]) -> None:
        """Answer the next orders for new machines with these errors, one each."""
        self._refusals.extend(errors)

    def launch(self, order: MachineOrder) -> None:
        if order.name in self._live:
            return
        if self._refusals:
            raise self._refusals.pop(0)
        try:
            instance_type = self._catalogue.instance_type(order.instance_type)
        except UnknownInstanceType as error:
            raise Rejected(f"VM size {order.instance_type} is not offered") from error
        now_s = self._now_s()
        zone = self._streams.get(f"cloud/{order.name}").randint(1, ZONES)
        life = MachineLife(
            order=order,
            instance_type=instance_type,
            zone=f"{self._region}-{zone}",
            address=self._free_address(),
            ordered_at_s=now_s,
        )
        self._keep(life)
        self._enter(life, MACHINE_ORDER, "machine_launch", now_s)
        self._wake()

    def terminate(self, cloud_name: str) -> None:
        life = self._live.get(cloud_name)
        if life is None or life.state is CloudState.DELETING:
            return
        now_s = self._now_s()
        self._leave(life, now_s, "given back")
        life.state = CloudState.DELETING
        self._enter(life, MACHINE_RELEASE, "machine_release", now_s)
        self._wake()

    def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
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
            life = _life_of(node, self._catalogue)
            if life is None or life.order.name in self._live:
                continue
            life.visible, life.registered, life.state = True, True, CloudState.RUNNING
            self._keep(life)
            if life.ready_at_s is None:
                self._enter(life, GPU_DRIVER, "gpu_driver", self._now_s())
            adopted.append(life.node_name)
        self._wake()
        return adopted

    def has_node(self, node_name: str) -> bool:
        """Whether a machine of this cloud stands behind the Node."""
        return node_name.removeprefix(_NODE_PREFIX).removesuffix(_NODE_SUFFIX) in self._live

    def step(self, now_s: float) -> float | None:
        """Do what is due; the next time something will be."""
        for name in self._timers.pop_due(now_s):
            life = self._live.get(name)
            if life is not None:
                self._advance(life, now_s)
        for life in list(self._stale_nodes.values()):
            try:
                self._write_node(life, now_s)
            except (ServerUnavailable, ObjectConflict):
                due_s = self._timers.next_s()
                return now_s + _RETRY_S if due_s is None else min(due_s, now_s + _RETRY_S)
            del self._stale_nodes[life.node_name]
        return self._timers.next_s()

    def _keep(self, life: MachineLife) -> None:
        self._live[life.order.name] = life
        self._lives.append(life)
        self._names_of.setdefault(life.order.claim_name, {})[life.order.name] = None

    def _advance(self, life: MachineLife, now_s: float) -> None:
        ended = life.phase
        self._leave(life, now_s, life.instance_type.name)
        if ended == MACHINE_ORDER:
            life.visible = True
            self._enter(life, NODE_PROVISION, "node_provision", now_s)
        elif ended == NODE_PROVISION:
            life.state = CloudState.RUNNING
            life.node_at_s = now_s
            self._enter(life, GPU_DRIVER, "gpu_driver", now_s)
        elif ended == GPU_DRIVER:
            life.ready_at_s = now_s
        else:
            life.released_at_s = now_s
            del self._live[life.order.name]
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
        if life.ready_at_s is not None:
            # Somebody may have deleted the Node object; the machine itself goes on.
            with suppress(ObjectNotFound):
                self._offer_gpus(life)

    def _node(self, life: MachineLife, now_s: float) -> KubeObject:
        return aks_node(
            name=life.node_name,
            pool=life.order.name,
            given_labels=life.order.labels,
            annotations={
                _CLAIM: life.order.claim_name,
                _ORDERED_AT: to_rfc3339(life.ordered_at_s),
            },
            instance_type=life.instance_type,
            disk_bytes=life.order.disk_bytes,
            zone=life.zone,
            region=self._region,
            provider_id=life.provider_id,
            address=life.address,
            now_s=now_s,
        )

    def _free_address(self) -> str:
        """Each machine's own, one after the other, as long as the subnet has any left."""
        taken = {life.address for life in self._live.values()}
        number = len(self._lives)
        while internal_address(number) in taken:
            number += 1
        return internal_address(number)

    def _offer_gpus(self, life: MachineLife) -> None:
        gpus = {labels.GPU_RESOURCE: str(life.instance_type.gpu_count)}
        patch = {"status": {"capacity": gpus, "allocatable": gpus}}
        self._api.patch(NODE, life.node_name, None, patch, subresource="status")


def _life_of(node: KubeObject, catalogue: Catalogue) -> MachineLife | None:
    """The machine behind a Node that `_node` made; None for any other Node."""
    found, noted = labels_of(node), annotations_of(node)
    name, owner_uid = found.get(labels.AZURE_AGENT_POOL), found.get(labels.WORKSPACE_UID)
    if not name or not owner_uid or _CLAIM not in noted or _ORDERED_AT not in noted:
        return None
    try:
        instance_type = catalogue.instance_type(found.get(labels.INSTANCE_TYPE, ""))
        ordered_at_s = from_rfc3339(noted[_ORDERED_AT])
    except (UnknownInstanceType, ValueError):
        return None
    owner = Owner(
        uid=owner_uid,
        namespace=found.get(labels.WORKSPACE_NAMESPACE, ""),
        name=found.get(labels.WORKSPACE, ""),
    )
    order = MachineOrder(
        name=name,
        claim_name=noted[_CLAIM],
        owner=owner,
        instance_type=instance_type.name,
        disk_bytes=0,  # no Node says it, and nothing asks a running machine
        labels=found,
    )
    life = MachineLife(
        order=order,
        instance_type=instance_type,
        zone=found.get(labels.ZONE, ""),
        address=address_of(node),
        ordered_at_s=ordered_at_s,
        node_at_s=from_rfc3339(node["metadata"]["creationTimestamp"]),
    )
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    if labels.GPU_RESOURCE in allocatable:
        life.ready_at_s = life.node_at_s
    return life if life.node_name == name_of(node) else None
