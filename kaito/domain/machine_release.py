"""Giving a machine back: first its Node is drained, then the cloud is asked, then its record goes.

A Node that works is made unschedulable and its pods are evicted, as Karpenter does it
(pkg/controllers/node/termination): not those of DaemonSets, not the kubelet's own, and none that
tolerate the taint. After a deadline the machine is given back with what is left. Where nothing is
to be moved, nothing of this is written, and nothing waits.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from kaito.domain import labels
from kaito.domain import machine as states
from kaito.domain.conditions import Condition, condition, cut_message, find, is_true
from kaito.domain.machine import CloudMachine, CloudState, Machine, NodePod, NodeView, Taint
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.machine_record import (
    RECHECK_S,
    MachineView,
    changes,
    fence,
    record,
    same_record,
)
from kaito.domain.plan import (
    EvictPod,
    MachinePlan,
    MachineStep,
    Note,
    RemoveFinalizer,
    TaintNode,
    Terminate,
)

DISRUPTED: Final = Taint(key=labels.DISRUPTED_TAINT, value="", effect="NoSchedule")
DRAIN_RECHECK_S: Final = 5.0  # pods that end wake no machine's round


def may_drain(machine: Machine, node: NodeView | None) -> bool:
    """Whether the pods on the machine's Node are to be looked at. On one that is not ready nobody
    would stop them."""
    return (
        machine.deleting
        and machine.has_finalizer
        and not is_true(machine.conditions, states.INSTANCE_TERMINATING)
        and node is not None
        and node.ready
    )


def plan_release(view: MachineView, limits: MachineLimits, now_s: float) -> MachinePlan:
    """The next steps towards gone of a machine whose record is being deleted."""
    machine = view.machine
    if not machine.has_finalizer:
        return MachinePlan()
    if is_true(machine.conditions, states.INSTANCE_TERMINATING):
        if view.cloud:
            return finish_attempts(machine, view.cloud)
        return MachinePlan(steps=(RemoveFinalizer(),))
    left = _left_to_drain(view)
    begun = find(machine.conditions, states.DRAINED)
    draining = begun is not None and begun.status == "Unknown"
    if not left:
        told = [condition(states.DRAINED, "True", "Drained", "")] if view.node or draining else []
        return _give_back(view, told, now_s)
    if begun is not None and draining and now_s - begun.since_s > limits.drain_s:
        text = cut_message(f"after {limits.drain_s:.0f} s {_named(left)} still there")
        timed_out = condition(states.DRAINED, "False", "DrainTimeout", text)
        note = Note(type="Warning", reason="DrainTimeout", message=f"given back: {text}")
        return _give_back(view, [timed_out], now_s, note)
    return _drain(view, left, now_s)


def finish_attempts(machine: Machine, clouds: Sequence[CloudMachine]) -> MachinePlan:
    """Give back what the cloud still has, and wait for it to be gone."""
    terminations = [
        Terminate(cloud_name=seen.name, reason="given up")
        for seen in clouds
        if seen.state is not CloudState.DELETING
    ]
    fences = [fence(machine)] if terminations else []
    return MachinePlan(steps=(*fences, *terminations), requeue_after_s=RECHECK_S)


def _give_back(
    view: MachineView, told: Sequence[Condition], now_s: float, *notes: Note
) -> MachinePlan:
    machine = view.machine
    terminating = condition(states.INSTANCE_TERMINATING, "True", "Terminating", "")
    names = sorted({seen.name for seen in view.cloud} | {machine.cloud_name})
    terminations = [Terminate(cloud_name=name, reason="released") for name in names]
    # Said only afterwards: who reads it relies on the cloud having been asked.
    asked_for = record(machine, [*told, terminating], now_s)
    return MachinePlan(
        steps=(*notes, fence(machine), *terminations, asked_for), requeue_after_s=RECHECK_S
    )


def _drain(view: MachineView, left: Sequence[NodePod], now_s: float) -> MachinePlan:
    """Move the pods, or wait for those that are on their way. The record is the fence: to whom has
    a stale one, the Node of a new record of the same name looks like this one's."""
    machine, node = view.machine, view.node
    assert node is not None, "pods were found on it"
    steps: list[MachineStep] = []
    if DISRUPTED not in node.taints:
        steps.append(TaintNode(node_name=node.name, taint=DISRUPTED))
    steps += [EvictPod(pod=pod) for pod in left if not pod.deleting]
    draining = condition(states.DRAINED, "Unknown", "Draining", f"moving the pods of {node.name}")
    written = same_record(machine, [draining], now_s)
    if steps or changes(machine, written):
        steps.insert(0, written)
    if find(machine.conditions, states.DRAINED) is None:
        text = cut_message(f"Node {node.name}: {_named(left)} moved before it is given back")
        steps.insert(0, Note(type="Normal", reason="Draining", message=text))
    return MachinePlan(steps=tuple(steps), requeue_after_s=DRAIN_RECHECK_S)


def _left_to_drain(view: MachineView) -> tuple[NodePod, ...]:
    if not may_drain(view.machine, view.node):
        return ()
    return tuple(pod for pod in view.pods if not _may_stay(pod, view))


def _may_stay(pod: NodePod, view: MachineView) -> bool:
    """Whether a pod holds nothing up. Those of a Workspace that is being deleted go with it: their
    workload is deleted already."""
    if pod.daemon or pod.mirror or pod.finished:
        return True
    if any(_tolerates(toleration, DISRUPTED) for toleration in pod.tolerations):
        return True
    owner = view.machine.spec.owner
    return view.owner_leaves and (pod.namespace, pod.workspace) == (owner.namespace, owner.name)


def _tolerates(toleration: Mapping[str, str], taint: Taint) -> bool:
    """As the scheduler has it (k8s.io/api/core/v1, Toleration): what is left out holds for all."""
    key, effect = toleration.get("key", ""), toleration.get("effect", "")
    if effect not in {"", taint.effect} or key not in {"", taint.key}:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(key) and toleration.get("value", "") == taint.value


def _named(pods: Sequence[NodePod]) -> str:
    names = ", ".join(f"{pod.namespace}/{pod.name}" for pod in pods[:3])
    more = f" and {len(pods) - 3} more" if len(pods) > 3 else ""
    return f"{names}{more} {'are' if len(pods) > 1 else 'is'}"
