"""The domain's `MachineCloud` on AKS: each machine is an agent pool with one node."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock
from typing import Final, NamedTuple

from azure.core import MatchConditions
from azure.core.exceptions import AzureError
from azure.core.paging import PageIterator
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool

from kaito.adapters.azure.agent_pools import (
    deleting,
    is_deleting,
    is_of_kaito,
    is_settled_spot,
    other_zones,
    shared_subnet,
    to_agent_pool,
    to_machine,
    with_node,
    zone_for,
)
from kaito.adapters.azure.error_table import Reaction
from kaito.adapters.azure.errors import AzureErrors, Refusal, port_error
from kaito.adapters.azure.pool_list import PoolList
from kaito.adapters.azure.rate_limits import ArmGate
from kaito.adapters.azure.redaction import Redactor
from kaito.adapters.azure.settings import AzureSettings
from kaito.domain.errors import MachineLimitReached, Rejected, Unavailable
from kaito.domain.machine import CloudMachine, MachineOrder, NodeView
from kaito.domain.ports import Clock

# Where Azure asks for a pause and does not say how long: one token of the slower bucket.
_PAUSE_S: Final = 60.0
# A spot pool that is complete has its Node. One that is missed for so long was evicted.
EVICTED_AFTER_S: Final = 60.0

PUT, DELETE, LIST = "put", "delete", "list"


class _Seen(NamedTuple):
    """A pool of kaito's as it was listed, and what it says."""

    pool: AgentPool
    machine: CloudMachine
    is_settled_spot: bool


class AksMachineCloud:
    """Orders agent pools, and lists them all at once. No call waits for what it has asked for.

    `clock` tells what time is written onto a pool, `steady_s` never steps back; `node_of` finds the
    Node of a pool. `on_unmapped`: as for `AzureErrors`.
    """

    def __init__(
        self,
        client: ContainerServiceClient,
        settings: AzureSettings,
        *,
        clock: Clock,
        steady_s: Callable[[], float],
        node_of: Callable[[str], NodeView | None],
        on_unmapped: Callable[[str, str], None] | None = None,
    ) -> None:
        self._pools_api = client.agent_pools
        self._settings = settings
        self._clock = clock
        self._steady_s = steady_s
        self._node_of = node_of
        redact = Redactor(settings.secrets)
        self._errors = AzureErrors(redact, now_s=clock.now_s, on_unmapped=on_unmapped)
        self._gate = ArmGate(settings.limits, steady_s)
        self._list = PoolList(
            self._fetch,
            now_s=steady_s,
            age_s=settings.list_age_s,
            wait_s=settings.connect_s + settings.read_s,
        )
        self._lock = Lock()
        self._calls: Counter[str] = Counter()
        self._seen: Mapping[str, _Seen] = {}
        self._seen_of: Mapping[str, AgentPool] | None = None
        self._missed_since_s: dict[str, float] = {}

    @property
    def calls(self) -> Mapping[str, int]:
        """Requests to Azure Resource Manager so far, by kind: put, delete, list (each page)."""
        with self._lock:
            return dict(self._calls)

    def launch(self, order: MachineOrder) -> None:
        """One PUT that Azure refuses where there is a pool of that name, so that it changes none.

        Raises: as `MachineCloud.launch`.
        """
        there = self._list.get()
        subnet = shared_subnet(there.values())
        body = to_agent_pool(order, self._settings, now_s=self._clock.now_s(), subnet=subnet)
        limit = self._settings.limits.pools
        if order.name not in there and len(there) >= limit:
            raise MachineLimitReached(f"the cluster has {limit} agent pools, which is the most")
        self._gate.admit_put(order.name)
        try:
            with self._counted(PUT):
                poller = self._pools_api.begin_create_or_update(
                    self._settings.resource_group,
                    self._settings.cluster_name,
                    order.name,
                    body,
                    match_condition=MatchConditions.IfMissing,
                    polling=False,
                )
                made = poller.result()
        except AzureError as error:
            self._not_launched(order, self._errors.read(error))
            return
        self._list.note(order.name, made)

    def terminate(self, cloud_name: str) -> None:
        """One DELETE; a pool without any of kaito's marks is left alone.

        Raises: Unavailable, Rejected.
        """
        pool = self._list.get().get(cloud_name)
        if pool is not None and not is_of_kaito(pool):
            raise Rejected(
                f"agent pool {cloud_name} has neither tags nor labels of kaito. If they were taken "
                "off, delete it by hand: az aks nodepool delete"
            )
        self._gate.admit_other()
        try:
            with self._counted(DELETE):
                self._pools_api.begin_delete(
                    self._settings.resource_group,
                    self._settings.cluster_name,
                    cloud_name,
                    ignore_pod_disruption_budget=self._settings.ignore_disruption_budgets or None,
                    polling=False,
                )
        except AzureError as error:
            refusal = self._errors.read(error)
            if refusal.reaction is Reaction.GONE:
                return
            self._pause(refusal, pool="")
            raise port_error(refusal, f"agent pool {cloud_name} is not deleted") from None
        if pool is not None:
            self._list.note(cloud_name, deleting(pool))

    def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
        """Raises: Unavailable, Rejected."""
        pools = self._list.get()
        seen = self._see(pools)
        return [
            self._machine(seen[name])
            for name in sorted(seen)
            if claim_name in (None, seen[name].machine.claim_name)
        ]

    def _not_launched(self, order: MachineOrder, refusal: Refusal) -> None:
        """Nothing, where there is such a pool already. Raises: why there is none."""
        if refusal.reaction is Reaction.EXISTS:
            known = self._list.known(order.name)
            if known is not None and is_deleting(known):
                text = f"agent pool {order.name} is still being deleted"
                raise Unavailable(text, retry_after_s=_PAUSE_S) from None
            return
        self._pause(refusal, pool=order.name)
        zone = zone_for(order, self._settings)
        raise port_error(
            refusal,
            f"agent pool {order.name} ({order.instance_type}) is not created",
            zone=self._settings.zone_name(zone) if zone else "",
            other_zones=other_zones(self._settings, [zone]),
        ) from None

    def _pause(self, refusal: Refusal, *, pool: str) -> None:
        """Close the gate where Azure throttles: to PUTs of the pool if it was one."""
        if refusal.reaction is not Reaction.THROTTLED:
            return
        for_s = _PAUSE_S if refusal.retry_after_s is None else refusal.retry_after_s
        if pool:
            self._gate.close_put(pool, for_s)
        if not pool or refusal.everywhere:
            self._gate.close_all(for_s)

    def _fetch(self) -> Iterator[AgentPool]:
        """Every pool of the cluster, page by page. Raises: Unavailable, Rejected."""
        pages = self._pools_api.list(
            self._settings.resource_group, self._settings.cluster_name
        ).by_page()
        assert isinstance(pages, PageIterator), type(pages)
        while True:
            self._gate.admit_other()
            try:
                with self._counted(LIST):
                    page = next(pages)
            except AzureError as error:
                refusal = self._errors.read(error)
                self._pause(refusal, pool="")
                raise port_error(refusal, "agent pools are not listed") from None
            yield from page
            if pages.continuation_token is None:
                return

    def _see(self, pools: Mapping[str, AgentPool]) -> Mapping[str, _Seen]:
        """Kaito's pools, each read once: a list serves many."""
        with self._lock:
            if pools is self._seen_of:  # a list that has changed is another one
                return self._seen
            before, now_s = self._seen, self._clock.now_s()
            found: dict[str, _Seen] = {}
            for name, pool in pools.items():
                known = before.get(name)
                if known is None or known.pool is not pool:
                    machine = to_machine(
                        pool, settings=self._settings, errors=self._errors, now_s=now_s
                    )
                    known = _Seen(pool, machine, is_settled_spot(pool)) if machine else None
                if known is not None:
                    found[name] = known
            for name in self._missed_since_s.keys() - found.keys():
                del self._missed_since_s[name]
            self._seen_of, self._seen = pools, found
            return found

    def _machine(self, seen: _Seen) -> CloudMachine:
        node = self._node_of(seen.machine.name)
        if node is not None:
            with self._lock:
                self._missed_since_s.pop(seen.machine.name, None)
            return with_node(seen.machine, node)
        return replace(seen.machine, evicted=self._is_evicted(seen))

    def _is_evicted(self, seen: _Seen) -> bool:
        """Whether the spot machine of a pool without a Node is gone: AKS keeps the pool."""
        name, now_s = seen.machine.name, self._steady_s()
        with self._lock:
            if not seen.is_settled_spot:
                self._missed_since_s.pop(name, None)
                return False
            return now_s - self._missed_since_s.setdefault(name, now_s) > EVICTED_AFTER_S

    @contextmanager
    def _counted(self, kind: str) -> Iterator[None]:
        """Count a request. Raises: Unavailable (the answer is not what the SDK understands)."""
        with self._lock:
            self._calls[kind] += 1
        try:
            yield
        except ValueError as error:
            text = f"Azure's answer to a {kind} cannot be read: {type(error).__name__}"
            raise Unavailable(text) from None
