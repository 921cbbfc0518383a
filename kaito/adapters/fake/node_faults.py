"""Nodes that are lost: the machine vanishes, hangs, or keeps its GPUs to itself."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from kaito.adapters.fake.pods import with_condition
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    NODE,
    KubeApi,
    KubeObject,
    ObjectConflict,
    ObjectNotFound,
    ServerUnavailable,
)
from kaito.domain import labels

# kube-controller-manager's --node-monitor-grace-period, up to Kubernetes 1.31.
MONITOR_GRACE_S: Final = 40.0
# How often the cloud's node life-cycle controller asks after Nodes that are not Ready
# (cloud-controller-manager's --node-monitor-period).
CLOUD_MONITOR_S: Final = 5.0
_RETRY_S: Final = 1.0

Act = Callable[[str, float], None]


class NodeFaults:
    """What happens to Nodes by itself, each thing in its time.

    `lost` is told of a machine that vanishes, `changed` of a Node whose machine begins or ceases to
    answer.
    """

    def __init__(
        self,
        api: KubeApi,
        wake: Callable[[], None],
        *,
        now_s: Callable[[], float],
        lost: Callable[[str], None],
        changed: Callable[[str], None],
    ) -> None:
        self._api, self._wake, self._now_s = api, wake, now_s
        self._lost, self._changed = lost, changed
        self._down: set[str] = set()
        self._due: Timers[tuple[str, Act]] = Timers()

    def is_down(self, node_name: str) -> bool:
        """Whether no kubelet answers for the Node."""
        return node_name in self._down

    def vanish(self, node_name: str, cloud_name: str) -> None:
        """The machine is gone; its Node follows once the control plane has noticed."""
        self._lost(cloud_name)
        self._go_down(node_name)
        self._after(MONITOR_GRACE_S + CLOUD_MONITOR_S, node_name, self._delete)

    def hang(self, node_name: str, *, for_s: float | None) -> None:
        """The machine does not answer, until it is rebooted after `for_s`."""
        self._go_down(node_name)
        if for_s is not None:
            self._after(for_s, node_name, self._come_back)

    def take_gpus(self, node_name: str, *, for_s: float | None) -> None:
        """The Node offers no GPUs, until after `for_s`. What runs goes on."""
        self._after(0.0, node_name, self._withdraw_gpus)
        if for_s is not None:
            self._after(for_s, node_name, self._offer_gpus)

    def step(self, now_s: float) -> float | None:
        """Do what is due; the next time something is."""
        for name, act in self._due.pop_due(now_s):
            try:
                act(name, now_s)
            except ObjectNotFound:
                self._down.discard(name)
            except (ObjectConflict, ServerUnavailable):
                self._due.set((name, act), now_s + _RETRY_S)
        return self._due.next_s()

    def _after(self, seconds: float, node_name: str, act: Act) -> None:
        self._due.set((node_name, act), self._now_s() + seconds)
        self._wake()

    def _go_down(self, node_name: str) -> None:
        self._down.add(node_name)
        self._changed(node_name)
        self._after(MONITOR_GRACE_S, node_name, self._call_unknown)

    def _call_unknown(self, node_name: str, now_s: float) -> None:
        if node_name in self._down:
            text = "Kubelet stopped posting node status."
            self._say_ready(node_name, "Unknown", "NodeStatusUnknown", text, now_s)

    def _come_back(self, node_name: str, now_s: float) -> None:
        text = "kubelet is posting ready status"
        self._say_ready(node_name, "True", "KubeletReady", text, now_s)
        self._down.discard(node_name)
        self._changed(node_name)

    def _delete(self, node_name: str, _now_s: float) -> None:
        with suppress(ObjectNotFound):
            self._api.delete(NODE, node_name)
        self._down.discard(node_name)

    def _withdraw_gpus(self, node_name: str, _now_s: float) -> None:
        self._allocate(node_name, "0")

    def _offer_gpus(self, node_name: str, _now_s: float) -> None:
        capacity = self._node(node_name)["status"]["capacity"]
        self._allocate(node_name, capacity.get(labels.GPU_RESOURCE, "0"))

    def _allocate(self, node_name: str, gpus: str) -> None:
        patch = {"status": {"allocatable": {labels.GPU_RESOURCE: gpus}}}
        self._api.patch(NODE, node_name, None, patch, subresource="status")

    def _say_ready(
        self, node_name: str, status: str, reason: str, message: str, now_s: float
    ) -> None:
        node = self._node(node_name)
        conditions = with_condition(
            (node.get("status") or {}).get("conditions") or (),
            "Ready",
            status,
            now_s,
            reason=reason,
            message=message,
        )
        patch = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "status": {"conditions": conditions},
        }
        self._api.patch(NODE, node_name, None, patch, subresource="status")

    def _node(self, node_name: str) -> KubeObject:
        return self._api.get(NODE, node_name)
