"""What to do next for one machine: order it, follow it until it is ready, give it back.

A machine is ordered under a name that is a function of (owner, slot, attempt). The attempt is
written into the machine's record, at the version that was read, before each order: a planner with
a stale record fails at that write and orders nothing. A failed attempt is given back and is gone
from the cloud before the next one is ordered, so that a slot never has two machines.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kaito.domain import machine as states
from kaito.domain.conditions import Condition, Truth, find, is_true, merge, seen_at
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from kaito.domain.machine import (
    Attempt,
    CloudMachine,
    CloudState,
    Machine,
    MachineOrder,
    NodeView,
)
from kaito.domain.machine_policy import (
    FIRST_RETRY_S,
    LONGEST_RETRY_S,
    next_attempt,
    retry_pause_s,
)
from kaito.domain.plan import (
    DeleteMachine,
    LabelNode,
    Launch,
    MachinePlan,
    MachineStep,
    Note,
    RemoveFinalizer,
    Terminate,
    WriteMachine,
)

__all__ = [
    "LONGEST_RETRY_S",
    "MachineLimits",
    "MachineView",
    "launch_failed",
    "orphans",
    "plan_machine",
    "retry_pause_s",
]

RECHECK_S: Final = 15.0  # how often the cloud is asked while a machine is ordered or ends
# While the cloud creates and starts one: that takes minutes (presets/latencies.yaml), and when its
# Node comes or changes, the plan is made at once.
FOLLOW_S: Final = 60.0
ORPHAN_GRACE_S: Final = 120.0  # a machine without a record this old was not just ordered


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineLimits:
    """How long each step of a machine's life may take, in seconds.

    Launch and registration: Karpenter's liveness limits (pkg/controllers/nodeclaim/lifecycle/
    liveness.go). GPUs: cluster-autoscaler waits up to 15 min for them after the Node is ready. A
    Node that was ready and is not any more: Karpenter's node repair waits 10 min.
    """

    launch_s: float = 300.0
    register_s: float = 900.0
    initialize_s: float = 1200.0
    unhealthy_s: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineView:
    """All that is known of one machine. `cloud` holds every cloud machine of this record, of
    this attempt and earlier ones."""

    machine: Machine
    cloud: tuple[CloudMachine, ...]
    node: NodeView | None
    owner_exists: bool


def plan_machine(view: MachineView, *, limits: MachineLimits, now_s: float) -> MachinePlan:
    """Steps that move the machine towards ready, or towards gone when it is being released.

    Pure, and empty once the machine is ready.
    """
    machine = view.machine
    if machine.deleting:
        return _release(view, now_s)
    if not view.owner_exists:
        gone = DeleteMachine(
            claim_name=machine.claim_name, uid=machine.uid, reason="its Workspace is gone"
        )
        return MachinePlan(steps=(gone,))
    stray = [seen for seen in view.cloud if seen.name != machine.cloud_name]
    if stray:
        return _finish_attempts(machine, stray)
    current = next((seen for seen in view.cloud if seen.name == machine.cloud_name), None)
    if current is None:
        return _order(machine, now_s, limits)
    if current.state is CloudState.FAILED:
        registered = is_true(machine.conditions, states.REGISTERED)
        reason = "InstanceFailed" if registered else "LaunchFailed"
        return _give_up(machine, reason, current.error or "the cloud gave no reason", now_s)
    if current.evicted:
        return _give_up(machine, "SpotEvicted", "the cloud takes its spot machine back", now_s)
    if current.state is CloudState.DELETING:
        return _give_up(machine, "InstanceTerminated", "the cloud is taking it away", now_s)
    return _follow(machine, current, view.node, limits, now_s)


def launch_failed(machine: Machine, error: PortError, *, now_s: float) -> MachinePlan:
    """What to record after an order was refused; the next attempt follows after a pause."""
    if isinstance(error, CapacityUnavailable):
        reason = "InsufficientCapacity"
    elif isinstance(error, QuotaExceeded):
        reason = "QuotaExceeded"
    elif isinstance(error, MachineLimitReached):
        reason = "MachineLimitReached"
    elif isinstance(error, Rejected):
        reason = "LaunchRejected"
    else:  # the outcome is unknown: the same order again, under the same name
        asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
        return MachinePlan(requeue_after_s=max(FIRST_RETRY_S, asked_s or 0.0))
    return _give_up(machine, reason, str(error), now_s, refusal=error)


def orphans(
    clouds: Sequence[CloudMachine], claim_names: Collection[str], *, now_s: float
) -> tuple[Terminate, ...]:
    """Cloud machines that no record stands for any more, and that were not just ordered.

    `claim_names` are all NodeClaims: one that KAITO made and nobody has adopted yet counts too.
    """
    return tuple(
        Terminate(cloud_name=seen.name, reason="no NodeClaim stands for it")
        for seen in clouds
        if seen.claim_name not in claim_names
        and seen.state is not CloudState.DELETING
        and now_s - seen.created_at_s > ORPHAN_GRACE_S
    )


def _release(view: MachineView, now_s: float) -> MachinePlan:
    machine = view.machine
    if not machine.has_finalizer:
        return MachinePlan()
    asked = find(machine.conditions, states.INSTANCE_TERMINATING)
    if asked is None or not asked.is_true:
        terminating = _condition(states.INSTANCE_TERMINATING, "True", "Terminating", "")
        names = sorted({seen.name for seen in view.cloud} | {machine.cloud_name})
        terminations = [Terminate(cloud_name=name, reason="released") for name in names]
        # Said only afterwards: who reads it relies on the cloud having been asked.
        asked_for = _record(machine, [terminating], now_s)
        return MachinePlan(
            steps=(_fence(machine), *terminations, asked_for), requeue_after_s=RECHECK_S
        )
    if view.cloud:
        return _finish_attempts(machine, view.cloud)
    return MachinePlan(steps=(RemoveFinalizer(),))


def _finish_attempts(machine: Machine, clouds: Sequence[CloudMachine]) -> MachinePlan:
    terminations = [
        Terminate(cloud_name=seen.name, reason="given up")
        for seen in clouds
        if seen.state is not CloudState.DELETING
    ]
    fences = [_fence(machine)] if terminations else []
    return MachinePlan(steps=(*fences, *terminations), requeue_after_s=RECHECK_S)


def _fence(machine: Machine) -> WriteMachine:
    """The record as it is. To whom has a stale one, a later attempt looks like an earlier one, and
    the machine of a new record of the same name like his own."""
    return WriteMachine(
        attempt=machine.attempt,
        conditions=machine.conditions,
        provider_id=machine.provider_id,
        node_name=machine.node_name,
    )


def _order(machine: Machine, now_s: float, limits: MachineLimits) -> MachinePlan:
    attempt = machine.attempt
    pause_s = attempt.not_before_s - now_s
    # A longer one was written by a clock that was ahead.
    if 0.0 < pause_s <= LONGEST_RETRY_S and machine.spec.retry == attempt.retry:
        return MachinePlan(requeue_after_s=pause_s)
    if machine.provider_id:
        return _give_up(machine, "InstanceGone", "the cloud no longer has the machine", now_s)
    if attempt.started_at_s is not None and now_s - attempt.started_at_s > limits.launch_s:
        text = f"the cloud did not show the order within {limits.launch_s:.0f} s"
        return _give_up(machine, "LaunchTimeout", text, now_s)
    offer = machine.offer
    order = MachineOrder(
        name=machine.cloud_name,
        claim_name=machine.claim_name,
        owner=machine.spec.owner,
        instance_type=offer.instance_type,
        disk_bytes=machine.spec.disk_bytes,
        labels=machine.spec.labels,
        image_family=machine.spec.image_family,
        zone=attempt.asked_zone,
        capacity_type=offer.capacity_type,
    )
    started_at_s = now_s if attempt.started_at_s is None else min(attempt.started_at_s, now_s)
    written = replace(
        attempt,
        instance_type=offer.instance_type,
        capacity_type=offer.capacity_type,
        started_at_s=started_at_s,
        retry=machine.spec.retry,
    )
    launching = _launching(machine, str(offer))
    reason = launching.reason if launching.status == "False" else ""
    conditions = [launching, *_not_yet(states.LAUNCHED, reason)]
    steps: list[MachineStep] = [_record(machine, conditions, now_s, attempt=written)]
    if attempt.number > 0:
        # The call that gave the last attempt back may have been lost, and its order be invisible.
        last = machine.cloud_name_of(attempt.number - 1)
        steps.append(Terminate(cloud_name=last, reason="the next attempt begins"))
    steps.append(Launch(order=order))
    return MachinePlan(steps=tuple(steps), requeue_after_s=RECHECK_S)


def _launching(machine: Machine, chosen: str) -> Condition:
    """A refusal stands until an order is accepted, so that the reason does not come and go."""
    before = find(machine.conditions, states.LAUNCHED)
    if before is not None and before.status == "False":
        return before
    return _condition(states.LAUNCHED, "Unknown", "Launching", f"ordering {chosen}")


def _follow(
    machine: Machine,
    current: CloudMachine,
    node: NodeView | None,
    limits: MachineLimits,
    now_s: float,
) -> MachinePlan:
    steps: list[MachineStep] = []
    conditions = [_condition(states.LAUNCHED, "True", "Launched", "")]
    requeue_after_s: float | None
    if node is None:
        if _waited_longer(machine, states.REGISTERED, limits.register_s, now_s):
            text = f"no Node for {limits.register_s:.0f} s"
            return _give_up(machine, "RegistrationTimeout", text, now_s)
        requeue_after_s = _look_again_s(machine, states.REGISTERED, limits.register_s, now_s)
        waiting = f"waiting for the Node of {current.name}"
        conditions += [
            _condition(states.REGISTERED, "False", "NodeNotFound", waiting),
            *_not_yet(states.REGISTERED),
        ]
    else:
        conditions.append(_condition(states.REGISTERED, "True", "Registered", ""))
        missing = _missing_labels(machine, node)
        if missing:
            steps.append(LabelNode(node_name=node.name, labels=missing))
        unready = _why_not_initialized(machine, node)
        if unready is None:
            conditions += [
                _condition(states.INITIALIZED, "True", "Initialized", ""),
                _condition(states.READY, "True", "Ready", ""),
            ]
            requeue_after_s = None
        elif is_true(machine.conditions, states.INITIALIZED):
            # Initialised once is initialised for good; the Node may come back by itself.
            if _waited_longer(machine, states.READY, limits.unhealthy_s, now_s):
                text = f"{unready[1]} for {limits.unhealthy_s:.0f} s"
                return _give_up(machine, "NodeUnhealthy", text, now_s)
            requeue_after_s = _look_again_s(machine, states.READY, limits.unhealthy_s, now_s)
            conditions += [
                _condition(states.INITIALIZED, "True", "Initialized", ""),
                _condition(states.READY, "False", *unready),
            ]
        elif _waited_longer(machine, states.INITIALIZED, limits.initialize_s, now_s):
            text = f"{unready[1]} for {limits.initialize_s:.0f} s after the Node came"
            return _give_up(machine, "InitializationTimeout", text, now_s)
        else:
            requeue_after_s = _look_again_s(machine, states.INITIALIZED, limits.initialize_s, now_s)
            conditions += [
                _condition(states.INITIALIZED, "False", *unready),
                *_not_yet(states.INITIALIZED),
            ]
    record = _record(
        machine,
        conditions,
        now_s,
        # Clouds that know these from the Node only lose sight of them with it.
        attempt=replace(machine.attempt, zone=current.zone or machine.attempt.zone),
        provider_id=current.provider_id or machine.provider_id,
        node_name=node.name if node else "",
    )
    if _changes(machine, record):
        steps = [*_progress_notes(machine, record), record, *steps]
    return MachinePlan(steps=tuple(steps), requeue_after_s=requeue_after_s)


def _give_up(
    machine: Machine, reason: str, message: str, now_s: float, *, refusal: PortError | None = None
) -> MachinePlan:
    """End the current attempt; the next is ordered once the cloud shows nothing of this one. Of one
    that was refused (`refusal`) it never will."""
    following = next_attempt(machine, refusal, now_s=now_s)
    attempt = replace(following.attempt, retry=machine.spec.retry)
    how = (
        f"asks for {following.hop}" if following.hop else f"follows after {following.pause_s:.0f} s"
    )
    text = f"{message}; attempt {attempt.number + 1} {how}"
    failed = _condition(states.LAUNCHED, "False", reason, text)
    record = _record(
        machine,
        [failed, *_not_yet(states.LAUNCHED, reason)],
        now_s,
        attempt=attempt,
    )
    # The note has no attempt in it: refused again and again, it is one event that counts up.
    steps: list[MachineStep] = [Note(type="Warning", reason=reason, message=message)]
    if following.hop:
        steps.append(Note(type="Normal", reason="NextOffer", message=f"asking for {following.hop}"))
    steps.append(record)
    if refusal is None:
        steps.append(Terminate(cloud_name=machine.cloud_name, reason=reason))
    return MachinePlan(steps=tuple(steps), requeue_after_s=min(following.pause_s, RECHECK_S))


def _record(
    machine: Machine,
    conditions: Sequence[Condition],
    now_s: float,
    *,
    attempt: Attempt | None = None,
    provider_id: str = "",
    node_name: str = "",
) -> WriteMachine:
    stamped = seen_at(machine.generation, conditions)
    return WriteMachine(
        attempt=attempt or machine.attempt,
        conditions=merge(machine.conditions, stamped, now_s=now_s),
        provider_id=provider_id,
        node_name=node_name,
    )


def _changes(machine: Machine, record: WriteMachine) -> bool:
    return (record.attempt, record.conditions, record.provider_id, record.node_name) != (
        machine.attempt,
        machine.conditions,
        machine.provider_id,
        machine.node_name,
    )


def _progress_notes(machine: Machine, record: WriteMachine) -> list[MachineStep]:
    messages = {
        states.LAUNCHED: f"the cloud is creating {machine.cloud_name}",
        states.REGISTERED: f"Node {record.node_name} registered",
        states.READY: f"Node {record.node_name} is ready with its GPUs",
    }
    notes: list[MachineStep] = []
    for kind, message in messages.items():
        before, after = find(machine.conditions, kind), find(record.conditions, kind)
        if after and after.is_true and not (before and before.is_true):
            notes.append(Note(type="Normal", reason=kind, message=message))
    return notes


def _condition(kind: str, status: Truth, reason: str, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message)


_ORDER: Final = (states.LAUNCHED, states.REGISTERED, states.INITIALIZED)


def _not_yet(after: str, reason: str = "") -> list[Condition]:
    """The conditions that come later than `after`: not reached; Ready names the one to wait for."""
    later = _ORDER[_ORDER.index(after) + 1 :]
    unreached = [_condition(kind, "Unknown", "AwaitingReconciliation", "") for kind in later]
    return [*unreached, _condition(states.READY, "False", reason or f"Not{after}", "")]


def _waited_longer(machine: Machine, kind: str, limit_s: float, now_s: float) -> bool:
    """Whether the machine has been waiting for `kind` for more than `limit_s` seconds."""
    waiting = find(machine.conditions, kind)
    return waiting is not None and waiting.status == "False" and now_s - waiting.since_s > limit_s


def _look_again_s(machine: Machine, kind: str, limit_s: float, now_s: float) -> float:
    """When to look at a machine that waits for `kind`: no later than its time is up."""
    waiting = find(machine.conditions, kind)
    if waiting is None or waiting.status != "False":
        return FOLLOW_S
    left_s = waiting.since_s + limit_s - now_s
    return min(FOLLOW_S, max(left_s, 0.0) + 1.0)


def _missing_labels(machine: Machine, node: NodeView) -> tuple[tuple[str, str], ...]:
    wanted = sorted(machine.spec.labels.items())
    return tuple((key, value) for key, value in wanted if node.labels.get(key) != value)


def _why_not_initialized(machine: Machine, node: NodeView) -> tuple[str, str] | None:
    if not node.ready:
        return "NodeNotReady", f"Node {node.name} is not ready"
    gpus = machine.offer.gpus
    if node.gpus < gpus:
        return (
            "ResourceNotRegistered",
            f"Node {node.name} offers {node.gpus} of {gpus} GPUs",
        )
    return None
