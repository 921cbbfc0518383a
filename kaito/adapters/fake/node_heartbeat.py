"""What a kubelet does for its node besides running pods: says that it is alive.

A control plane whose node-lifecycle controller hears nothing from a node for 40 s or so calls it
unreachable and evicts its pods. The twin's own control plane has no such controller.
"""

from collections.abc import Callable
from typing import Any, Final

from kaito.adapters.fake.pods import with_condition
from kaito.adapters.fake.timers import Timers
from kaito.adapters.kube_api import (
    LEASE,
    NODE,
    KubeApi,
    KubeApiError,
    KubeObject,
    ObjectNotFound,
    is_true,
    name_of,
)
from kaito.adapters.object_cache import ObjectCache
from kaito.domain.timestamps import to_rfc3339_micro

LEASE_NAMESPACE: Final = "kube-node-lease"
# The kubelet's defaults: nodeLeaseDurationSeconds, and a quarter of it between renewals.
LEASE_DURATION_S: Final = 40
RENEW_S: Final = 10.0
_RETRY_S: Final = 1.0


class NodeHeartbeat:
    """Renews the Lease of every node that `serves` names, and keeps it Ready."""

    def __init__(
        self, api: KubeApi, wake: Callable[[], None], *, serves: Callable[[KubeObject], bool]
    ) -> None:
        self._api = api
        self._serves = serves
        self._due: Timers[str] = Timers()
        self._nodes = ObjectCache(api, NODE, wake)
        self._nodes.on_change(self._node_changed)

    def step(self, now_s: float) -> float | None:
        """Do all that is due; the next time something is."""
        try:
            self._nodes.refresh()
        except KubeApiError:
            return now_s + _RETRY_S
        for name in self._due.pop_due(now_s):
            node = self._nodes.get(("", name))
            if node is None:
                continue
            try:
                self._renew(node, now_s)
                if not is_true(node, "Ready"):
                    self._say_ready(node, now_s)
            except ObjectNotFound:
                continue  # the event of its removal is on the way
            except KubeApiError:  # one Node's trouble must not keep the others from being alive
                self._due.set(name, now_s + _RETRY_S)
            else:
                self._due.set(name, now_s + RENEW_S)
        return self._due.next_s()

    def _node_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        if after is None:
            assert before is not None, "a change has a before or an after"
            self._due.set(name_of(before), None)
        elif self._serves(after) and (before is None or not is_true(after, "Ready")):
            self._due.hasten(name_of(after), 0.0)

    def _renew(self, node: KubeObject, now_s: float) -> None:
        now = to_rfc3339_micro(now_s)
        try:
            self._api.patch(LEASE, name_of(node), LEASE_NAMESPACE, {"spec": {"renewTime": now}})
        except ObjectNotFound:
            self._api.create(LEASE, _lease(node, now))

    def _say_ready(self, node: KubeObject, now_s: float) -> None:
        conditions = with_condition(
            (node.get("status") or {}).get("conditions") or (),
            "Ready",
            "True",
            now_s,
            reason="KubeletReady",
            message="kubelet is posting ready status",
        )
        patch = {
            "metadata": {"resourceVersion": node["metadata"]["resourceVersion"]},
            "status": {"conditions": conditions},
        }
        self._api.patch(NODE, name_of(node), None, patch, subresource="status")


def _lease(node: KubeObject, now: str) -> dict[str, Any]:
    owner = {
        "apiVersion": NODE.api_version,
        "kind": NODE.kind,
        "name": name_of(node),
        "uid": node["metadata"]["uid"],
    }
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": {
            "namespace": LEASE_NAMESPACE,
            "name": name_of(node),
            "ownerReferences": [owner],
        },
        "spec": {
            "holderIdentity": name_of(node),
            "leaseDurationSeconds": LEASE_DURATION_S,
            "renewTime": now,
        },
    }
