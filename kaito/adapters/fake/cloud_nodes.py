"""The Nodes of a cloud's machines: written by what became of the machine."""

from contextlib import suppress
from typing import Any

from kaito.adapters.fake.aks_node import aks_node, preempted, taints_of_node, unreachable
from kaito.adapters.fake.machine_life import MachineLife, annotations_for
from kaito.adapters.kube_api import NODE, AlreadyExists, KubeApi, KubeObject, ObjectNotFound
from kaito.domain import labels
from kaito.domain.machine import CapacityType


class CloudNodes:
    """Brings the Node of a machine up to date, as its kubelet and AKS do."""

    def __init__(self, api: KubeApi, region: str) -> None:
        self._api = api
        self._region = region

    def write(self, life: MachineLife, now_s: float) -> None:
        """Bring the machine's Node up to date. Raises: as `KubeApi`."""
        if life.released_at_s is not None or life.stopped_at_s is not None:
            with suppress(ObjectNotFound):
                self._api.delete(NODE, life.node_name)
            return
        if not life.registered:
            with suppress(AlreadyExists):
                self._api.create(NODE, self._node(life, now_s))
            life.registered, life.relabel = True, None
        elif life.relabel is not None:
            with suppress(ObjectNotFound):
                self._api.patch(NODE, life.node_name, None, _other_labels(life))
            life.relabel = None
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
            taints=life.taints,
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

    def _offer_gpus(self, life: MachineLife) -> None:
        gpus = {labels.GPU_RESOURCE: str(life.instance_type.gpu_count)}
        patch = {"status": {"capacity": gpus, "allocatable": gpus}}
        self._api.patch(NODE, life.node_name, None, patch, subresource="status")


def _other_labels(life: MachineLife) -> dict[str, Any]:
    spot = life.order.capacity_type is CapacityType.SPOT
    return {
        "metadata": {"labels": life.relabel},
        "spec": {"taints": taints_of_node(life.taints, spot=spot)},
    }
