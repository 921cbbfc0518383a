"""Agent pools: each is one machine of the twin's cloud, and what AKS remembers of it."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kaito.adapters.fake.aks_node import IMAGE_VERSION
from kaito.adapters.fake.arm import pool_properties
from kaito.adapters.fake.arm.errors import ArmError, in_progress, precondition_failed
from kaito.adapters.fake.arm.operations import RUNNING, SUCCEEDED, Operation, Operations, Outcome
from kaito.adapters.fake.arm.place import Place
from kaito.adapters.fake.arm.refusals import (
    call_refused,
    failure_of,
    order_refused,
    too_many_pools,
)
from kaito.adapters.fake.cloud import NODE_PROVISION, FakeGpuCloud
from kaito.adapters.fake.kubernetes_version import VERSION
from kaito.adapters.fake.machine_life import MachineLife
from kaito.domain import labels, names
from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import PortError, Unavailable
from kaito.domain.machine import CapacityType, CloudState, MachineOrder, Owner

POOL_TYPE: Final = "Microsoft.ContainerService/managedClusters/agentPools"
_SPOT: Final = f"{labels.AZURE_SPOT}={labels.AZURE_SPOT_VALUE}"


@dataclass(slots=True, kw_only=True)
class Pool:
    """What AKS remembers of a pool. `life` is its machine, which an eviction may have ended."""

    name: str
    properties: dict[str, Any]
    life: MachineLife

    @property
    def is_empty(self) -> bool:
        """Its machine is gone, and nobody has deleted the pool."""
        return self.life.released_at_s is not None

    @property
    def has_failed(self) -> bool:
        """Its machine was never made. One that was, and broke, does not make the pool fail."""
        return self.life.state is CloudState.FAILED and self.life.node_at_s is None

    @property
    def state(self) -> str:
        """Its provisioningState."""
        if self.is_empty:
            return "Succeeded"
        if self.has_failed:
            return "Failed"
        if self.life.state in {CloudState.CREATING, CloudState.DELETING}:
            return self.life.state.value
        return "Starting" if self.life.phase == NODE_PROVISION else "Succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The answer to a PUT: the pool as it is now, and what is being done."""

    status: int
    body: dict[str, Any]
    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The request's If-Match and If-None-Match; empty: none."""

    match: str = ""
    none_match: str = ""


class AgentPools:
    """The pools of one cluster. Machines that were ordered past ARM are pools too."""

    def __init__(
        self,
        cloud: FakeGpuCloud,
        catalogue: Catalogue,
        place: Place,
        operations: Operations,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._cloud, self._catalogue, self._place = cloud, catalogue, place
        self._operations, self._is_stopped = operations, is_stopped
        self._pools: dict[str, Pool] = {}

    def all(self) -> list[Pool]:
        """Every pool, in order of name."""
        for name, life in self._cloud.live.items():
            known = self._pools.get(name)
            if known is None or known.life is not life:
                self._pools[name] = Pool(name=name, properties=_properties(life), life=life)
        gone = [
            name
            for name, pool in self._pools.items()
            if pool.is_empty and pool.life.state is CloudState.DELETING
        ]
        for name in gone:
            del self._pools[name]
        return [self._pools[name] for name in sorted(self._pools)]

    def find(self, name: str) -> Pool | None:
        self.all()
        return self._pools.get(name.lower())

    def get(self, name: str) -> Pool:
        """Raises: ArmError (404)."""
        pool = self.find(name)
        if pool is None:
            # Source of the text: Azure/gpu-provisioner pkg/providers/instance/armutils.go
            message = f"Agent Pool not found: {self._place.pool_id(name)}"
            raise ArmError(404, "NotFound", message)
        return pool

    def body(self, pool: Pool) -> dict[str, Any]:
        """The pool as a resource."""
        properties: dict[str, Any] = {
            **pool.properties,
            "count": 0 if pool.is_empty else 1,
            "orchestratorVersion": VERSION,
            "currentOrchestratorVersion": VERSION,
            "nodeImageVersion": IMAGE_VERSION,
            "powerState": {"code": "Stopped" if self._is_stopped() else "Running"},
            "provisioningState": pool.state,
        }
        if pool.has_failed:
            properties["status"] = {"provisioningError": failure_of(pool.life)}
        if pool_properties.is_spot(pool.properties):
            given_labels = properties.get("nodeLabels") or {}
            properties["nodeLabels"] = {labels.AZURE_SPOT: labels.AZURE_SPOT_VALUE, **given_labels}
            taints = [one for one in properties.get("nodeTaints") or () if not _is_spot_taint(one)]
            properties["nodeTaints"] = [f"{_SPOT}:NoSchedule", *taints]
        text = json.dumps(properties, sort_keys=True)
        properties["eTag"] = hashlib.sha256(text.encode()).hexdigest()[:32]
        return {
            "id": self._place.pool_id(pool.name),
            "name": pool.name,
            "type": POOL_TYPE,
            "properties": properties,
        }

    def put(self, name: str, content: object, conditions: Conditions) -> Accepted:
        """Create or update a pool. Raises: ArmError."""
        self._count_put(name)
        pool_properties.check_name(name)
        asked = pool_properties.properties_of(content)
        pool = self.find(name)
        self._check(pool, conditions)
        if pool is None:
            return self._create(name, asked)
        if pool.state not in {"Succeeded", "Failed"}:
            raise in_progress(name, pool.state)
        return self._update(pool, asked)

    def delete(self, name: str, conditions: Conditions) -> Operation | None:
        """Begin to delete a pool; None: there is none. Raises: ArmError."""
        pool = self.find(name)
        if pool is None:
            return None
        self._check(pool, conditions)
        if pool.is_empty:
            del self._pools[pool.name]
            return self._operations.begin(lambda: SUCCEEDED)
        life = pool.life
        self._cloud.give_back(pool.name)
        return self._operations.begin(lambda: _deletion(life))

    def count_read(self, handler: str) -> None:
        """Count a call that is no PUT of a pool. Raises: ArmError (429)."""
        try:
            self._cloud.supply.read()
        except Unavailable as error:
            scope = f"SubID='{self._place.subscription}'"
            raise call_refused(error, handler, scope) from error

    def _count_put(self, name: str) -> None:
        try:
            self._cloud.supply.write(name)
        except Unavailable as error:
            scope = f"agentpool {self._place.pool_id(name)}"
            raise call_refused(error, "PutAgentPoolHandler.PUT", scope) from error

    def _check(self, pool: Pool | None, conditions: Conditions) -> None:
        """Raises: ArmError (412)."""
        if pool is None:
            if conditions.match:
                raise precondition_failed(
                    "Resource not found but ETag header is provided. If this is a request to "
                    "create, please do not provide ETag."
                )
            return
        etag = self.body(pool)["properties"]["eTag"]
        if conditions.match and not _names(conditions.match, etag):
            raise precondition_failed(f"The ETag {conditions.match} is not the pool's: {etag}.")
        if conditions.none_match and _names(conditions.none_match, etag):
            raise precondition_failed(f"The pool exists, with the ETag {etag}.")

    def _create(self, name: str, asked: Mapping[str, Any]) -> Accepted:
        properties = pool_properties.complete(asked)
        limit = self._cloud.supply.limits.machines
        if limit is not None and len(self._pools) >= limit:  # empty pools count as well
            raise too_many_pools(limit)
        order = self._order(name, properties)
        self._sell(order, properties)
        life = self._cloud.live[name]
        pool = self._pools[name] = Pool(name=name, properties=properties, life=life)
        operation = self._operations.begin(lambda: _creation(life))
        return Accepted(status=201, body=self.body(pool), operation=operation)

    def _update(self, pool: Pool, asked: Mapping[str, Any]) -> Accepted:
        properties = pool_properties.changed(pool.properties, asked)
        taints = pool_properties.taints_of(properties)
        if pool.is_empty:  # the pool is brought up to its count again
            self._sell(self._order(pool.name, properties), properties)
            pool.life = self._cloud.live[pool.name]
        elif _of_nodes(properties) != _of_nodes(pool.properties):
            self._cloud.relabel(pool.name, properties.get("nodeLabels") or {}, taints)
        if pool.has_failed:
            self._cloud.try_again(pool.name)
        pool.properties, life = properties, pool.life
        if pool.state == "Succeeded":
            operation = self._operations.begin(lambda: SUCCEEDED)
        else:
            operation = self._operations.begin(lambda: _creation(life))
        return Accepted(status=200, body=self.body(pool), operation=operation)

    def _sell(self, order: MachineOrder, properties: Mapping[str, Any]) -> None:
        try:
            self._cloud.order(order, pool_properties.taints_of(properties))
        except PortError as error:
            raise order_refused(
                error, order, self._place, self._cloud.supply, self._catalogue
            ) from error

    def _order(self, name: str, properties: Mapping[str, Any]) -> MachineOrder:
        node_labels: Mapping[str, str] = properties.get("nodeLabels") or {}
        zone = pool_properties.zone_number(properties)
        return MachineOrder(
            name=name,
            claim_name=_claim_of(name, node_labels),
            owner=Owner(
                uid=node_labels.get(labels.WORKSPACE_UID, ""),
                namespace=node_labels.get(labels.WORKSPACE_NAMESPACE, ""),
                name=node_labels.get(labels.WORKSPACE, ""),
            ),
            instance_type=properties["vmSize"],
            disk_bytes=properties["osDiskSizeGB"] * pool_properties.GIB,
            labels=dict(node_labels),
            image_family=properties["osSKU"],
            zone="" if zone is None else self._cloud.supply.stock.name_of(zone),
            capacity_type=pool_properties.capacity_type(properties),
        )


def _properties(life: MachineLife) -> dict[str, Any]:
    """Those of a pool that was ordered past ARM."""
    asked: dict[str, Any] = {
        "vmSize": life.instance_type.name,
        "nodeLabels": dict(life.order.labels),
        "nodeTaints": [str(taint) for taint in life.taints],
    }
    if life.order.disk_bytes:
        asked["osDiskSizeGB"] = -(-life.order.disk_bytes // pool_properties.GIB)
    if life.order.capacity_type is CapacityType.SPOT:
        asked["scaleSetPriority"] = "Spot"
    return pool_properties.complete(asked)


def _claim_of(name: str, node_labels: Mapping[str, str]) -> str:
    """The NodeClaim that the pool is for, from its labels; all attempts are for the same one."""
    uid, slot = node_labels.get(labels.WORKSPACE_UID, ""), node_labels.get(labels.SLOT, "")
    known = uid and slot.isascii() and slot.isdigit()
    return names.machine_name(uid, int(slot), 0) if known else name


def _creation(life: MachineLife) -> Outcome:
    if life.state is CloudState.FAILED:
        return Outcome(state="Failed", error=failure_of(life))
    if life.state is CloudState.RUNNING and life.phase != NODE_PROVISION:
        return SUCCEEDED
    if life.state is CloudState.DELETING or life.released_at_s is not None:
        # Source: https://github.com/kaito-project/kaito/issues/2075
        message = "This operation has been preempted by Deleting operation."
        return Outcome(state="Canceled", error={"code": "OperationPreempted", "message": message})
    return RUNNING


def _deletion(life: MachineLife) -> Outcome:
    return RUNNING if life.released_at_s is None else SUCCEEDED


def _of_nodes(properties: Mapping[str, Any]) -> Sequence[Any]:
    return properties.get("nodeLabels") or {}, properties.get("nodeTaints") or []


def _names(condition: str, etag: str) -> bool:
    return condition == "*" or etag in {one.strip().strip('"') for one in condition.split(",")}


def _is_spot_taint(text: str) -> bool:
    return text.startswith(f"{_SPOT}:")
