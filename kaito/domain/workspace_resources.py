"""What a Workspace runs on, and what to say of it: machines that kaito orders, or Nodes that users
bring."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from kaito.domain import status as st
from kaito.domain.cluster_view import ClusterView
from kaito.domain.conditions import Condition, condition, cut_message, find
from kaito.domain.machine import LAUNCHED, Machine
from kaito.domain.machine import READY as MACHINE_READY
from kaito.domain.own_nodes import OwnNodes

# Machine reasons that no retry of ours can cure.
_MACHINE_BLOCKS: Final = {
    "QuotaExceeded": "QuotaExceeded",
    "MachineLimitReached": "MachineLimitReached",
    "LaunchRejected": "MachineRejected",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What is there for the pods. `conditions` end with ResourceReady; `retired` are the types
    that have nothing to say any more. `complete`: enough for the workload to be made, unless some
    are `leaving`, on which a pod could still land. `waits_for` is what a workload that is not made
    yet waits for; `blocked` says why a human must act first."""

    conditions: tuple[Condition, ...]
    nodes: tuple[str, ...]
    complete: bool
    waits_for: str
    blocked: Condition | None = None
    retired: tuple[str, ...] = ()
    leaving: bool = False

    @property
    def ready(self) -> Condition:
        """ResourceReady."""
        return self.conditions[-1]


def machine_resources(kept: Sequence[Machine], cluster: ClusterView, count: int) -> Resources:
    """Of `count` machines to have, those that there are and that stay."""
    machines = _machines_condition(kept, count)
    nodes = _nodes_condition(kept, cluster, count)
    told = nodes if machines.is_true else machines
    resource = condition(
        st.RESOURCE_READY,
        told.status,
        "workspaceResourceStatusSuccess" if told.is_true else "workspaceResourceStatusNotReady",
        told.message,
    )
    return Resources(
        conditions=(machines, nodes, resource),
        nodes=tuple(sorted(machine.node_name for machine in kept if machine.node_name)),
        complete=len(kept) == count and all(machine.is_ready for machine in kept),
        waits_for="the machines",
        blocked=_blocked_by_machine(kept),
        leaving=len(kept) < len(cluster.machines),
    )


def own_resources(own: OwnNodes, cluster: ClusterView, count: int) -> Resources:
    """Of `count` Nodes to run on, those that users have brought and that can be used."""
    serving = {pod.node_name for pod in cluster.pods if pod.node_name and not pod.deleting}
    nodes = sorted(serving) or sorted(own.usable[:count])
    complete = own.shape is not None and len(own.usable) >= count
    if complete:
        told = condition(st.NODES_READY, "True", "NodesReady", ", ".join(nodes))
    else:
        text = str(replace(own.missing.problem, field=""))
        if own.shape is not None:
            text = f"{len(own.usable)} of {count} Nodes with {own.shape} can be used: {text}"
        told = condition(st.NODES_READY, "False", own.missing.reason, cut_message(text))
    reason = "workspaceResourceStatusSuccess" if complete else told.reason
    return Resources(
        conditions=(told, condition(st.RESOURCE_READY, told.status, reason, told.message)),
        nodes=tuple(nodes),
        complete=complete,
        waits_for="the Nodes",
        retired=(st.NODE_CLAIM_READY,),
    )


def _machines_condition(kept: Sequence[Machine], count: int) -> Condition:
    if len(kept) == count and all(machine.is_ready for machine in kept):
        return condition(st.NODE_CLAIM_READY, "True", "NodeClaimsReady", f"{count} of {count}")
    ready = sum(machine.is_ready for machine in kept)
    waiting = next((machine for machine in kept if not machine.is_ready), None)
    text = f"{ready} of {count} machines ready"
    if waiting is None:
        return condition(st.NODE_CLAIM_READY, "False", "NodeClaimNotReady", text)
    blocking = next(
        (
            found
            for found in waiting.conditions
            if found.type != MACHINE_READY and not found.is_true
        ),
        find(waiting.conditions, MACHINE_READY),  # it was initialised, and its Node has failed
    )
    if blocking is None:
        return condition(st.NODE_CLAIM_READY, "False", "NodeClaimNotReady", text)
    detail = f"{text}; {waiting.claim_name}: {blocking.message or blocking.reason}"
    return condition(st.NODE_CLAIM_READY, "False", blocking.reason, cut_message(detail))


def _nodes_condition(kept: Sequence[Machine], cluster: ClusterView, count: int) -> Condition:
    by_name = {node.name: node for node in cluster.nodes}
    unready = [
        machine.node_name or machine.claim_name
        for machine in kept
        if (node := by_name.get(machine.node_name)) is None or not node.ready
    ]
    missing = count - len(kept)
    if not unready and missing <= 0:
        return condition(st.NODES_READY, "True", "NodesReady", ", ".join(sorted(by_name)))
    text = f"waiting for {', '.join(unready)}" if unready else f"{missing} not created yet"
    return condition(st.NODES_READY, "False", "NodeNotReady", cut_message(text))


def _blocked_by_machine(kept: Sequence[Machine]) -> Condition | None:
    for machine in kept:
        launched = find(machine.conditions, LAUNCHED)
        if launched is not None and launched.reason in _MACHINE_BLOCKS:
            text = cut_message(f"{machine.claim_name}: {launched.message}")
            return condition(st.SUCCEEDED, "False", _MACHINE_BLOCKS[launched.reason], text)
    return None
