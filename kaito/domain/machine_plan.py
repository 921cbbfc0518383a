"""What to do next for one machine: order it, follow it until it is ready, give it back.

A machine is ordered under a name that is a function of (owner, slot, attempt). The attempt is
written into the machine's record, at the version that was read, before each order: a planner with
a stale record fails at that write and orders nothing. A failed attempt is given back and is gone
from the cloud before the next one is ordered, so that a slot never has two machines.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from kaito.domain import machine as states
from kaito.domain.conditions import Condition, condition, cut_message, find, is_true
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from kaito.domain.machine import (
    CloudMachine,
    CloudState,
    Machine,
    MachineOrder,
    NodeView,
    Shortage,
)
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.machine_policy import (
    FIRST_RETRY_S,
    LONGEST_RETRY_S,
    next_attempt,
    retry_pause_s,
)
from kaito.domain.machine_record import (
    RECHECK_S,
    MachineView,
    changes,
    not_yet,
    record,
    same_record,
)
from kaito.domain.machine_release import finish_attempts, plan_release
from kaito.domain.plan import (
    DeleteMachine,
    LabelNode,
    Launch,
    MachinePlan,
    MachineStep,
    Note,
    Terminate,
    WriteMachine,
)

__all__ = [
    "LONGEST_RETRY_S",
    "launch_failed",
    "not_given_back",
    "orphans",
    "plan_machine",
    "retry_pause_s",
]

# While the cloud creates and starts one: that takes minutes (presets/latencies.yaml), and when its
# Node comes or changes, the plan is made at once.
FOLLOW_S: Final = 60.0
ORPHAN_GRACE_S: Final = 120.0  # a machine without a record this old was not just ordered
UNLISTED_S: Final = 30.0  # a machine that the cloud does not list for so long is gone
_UNLISTED: Final = "InstanceNotFound"


def plan_machine(view: MachineView, *, limits: MachineLimits, now_s: float) -> MachinePlan:
    """Steps that move the machine towards ready, or towards gone when it is being released.

    Pure, and empty once the machine is ready.
    """
    machine = view.machine
    if machine.deleting:
        return plan_release(view, limits, now_s)
    if not view.owner_exists:
        gone = DeleteMachine(
            claim_name=machine.claim_name, uid=machine.uid, reason="its Workspace is gone"
        )
        return MachinePlan(steps=(gone,))
    stray = [seen for seen in view.cloud if seen.name != machine.cloud_name]
    if stray:
        return finish_attempts(machine, stray)
    current = next((seen for seen in view.cloud if seen.name == machine.cloud_name), None)
    if current is None:
        if _was_listed(machine):
            return _unlisted(machine, view.node, now_s)
        return _order(machine, now_s, limits)
    if current.state is CloudState.FAILED:
        return _failed(machine, current, now_s)
    if current.evicted:
        return _give_up(machine, "SpotEvicted", "the cloud takes its spot machine back", now_s)
    if current.state is CloudState.DELETING:
        return _give_up(machine, "InstanceTerminated", "the cloud is taking it away", now_s)
    if current.state is CloudState.STOPPED and not (view.node and view.node.ready):
        return _stopped(machine, current, now_s)
    return _follow(view, current, limits, now_s)


_REFUSED: Final[dict[type[PortError], str]] = {
    CapacityUnavailable: "InsufficientCapacity",
    QuotaExceeded: "QuotaExceeded",
    MachineLimitReached: "MachineLimitReached",
    Rejected: "LaunchRejected",
}


def launch_failed(machine: Machine, error: PortError, *, now_s: float) -> MachinePlan:
    """What to record after an order was refused; the next attempt follows after a pause."""
    reason = next((reason for kind, reason in _REFUSED.items() if isinstance(error, kind)), None)
    if reason is None:  # the outcome is unknown: the same order again, under the same name
        asked_s = error.retry_after_s if isinstance(error, Unavailable) else None
        return MachinePlan(requeue_after_s=max(FIRST_RETRY_S, asked_s or 0.0))
    return _give_up(machine, reason, str(error), now_s, why=error, was_refused=True)


def not_given_back(step: Terminate, error: Rejected) -> Note:
    """What to tell of a machine that the cloud keeps: it costs money until somebody acts."""
    text = cut_message(f"{step.cloud_name} cannot be given back: {error}")
    return Note(type="Warning", reason="NotGivenBack", message=text)


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


def _order(machine: Machine, now_s: float, limits: MachineLimits) -> MachinePlan:
    attempt = machine.attempt
    pause_s = attempt.not_before_s - now_s
    # A longer one was written by a clock that was ahead.
    if 0.0 < pause_s <= LONGEST_RETRY_S and machine.spec.retry == attempt.retry:
        return MachinePlan(requeue_after_s=pause_s)
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
    conditions = [launching, *not_yet(states.LAUNCHED, reason)]
    steps: list[MachineStep] = [record(machine, conditions, now_s, attempt=written)]
    if attempt.number > 0:
        # The call that gave the last attempt back may have been lost, and its order be invisible.
        last = machine.cloud_name_of(attempt.number - 1)
        steps.append(Terminate(cloud_name=last, reason="the next attempt begins", in_case=True))
    steps.append(Launch(order=order))
    return MachinePlan(steps=tuple(steps), requeue_after_s=RECHECK_S)


def _launching(machine: Machine, chosen: str) -> Condition:
    """A refusal stands until an order is accepted, so that the reason does not come and go."""
    before = find(machine.conditions, states.LAUNCHED)
    if before is not None and before.status == "False":
        return before
    return condition(states.LAUNCHED, "Unknown", "Launching", f"ordering {chosen}")


def _was_listed(machine: Machine) -> bool:
    """Whether the cloud has shown the current attempt."""
    launched = find(machine.conditions, states.LAUNCHED)
    shown = launched is not None and (launched.is_true or launched.reason == _UNLISTED)
    return bool(machine.provider_id) or shown


def _unlisted(machine: Machine, node: NodeView | None, now_s: float) -> MachinePlan:
    """A list may lag or be cut short: nothing is bought on its word alone. The machine is there
    while its Node is ready, and gone when its Node is lost too; before it has one, the list must
    say so twice."""
    if node is not None and node.ready:
        return MachinePlan(requeue_after_s=RECHECK_S)
    launched = find(machine.conditions, states.LAUNCHED)
    noted = launched is not None and launched.reason == _UNLISTED
    waited = noted and launched is not None and now_s - launched.since_s >= UNLISTED_S
    if waited or is_true(machine.conditions, states.REGISTERED):
        return _give_up(machine, "InstanceGone", "the cloud no longer has the machine", now_s)
    text = f"the cloud does not list {machine.cloud_name}"
    unknown = condition(states.LAUNCHED, "Unknown", _UNLISTED, text)
    written = same_record(machine, [unknown], now_s)
    steps = (written,) if changes(machine, written) else ()
    return MachinePlan(steps=steps, requeue_after_s=RECHECK_S)


def _failed(machine: Machine, current: CloudMachine, now_s: float) -> MachinePlan:
    """It was ordered, and cannot be had: where the cloud says what it lacks, something else is
    asked for, as if it had refused the order."""
    message = current.error or "the cloud gave no reason"
    why: PortError | None = None
    if current.shortage is Shortage.CAPACITY:
        zones = current.other_zones
        why = CapacityUnavailable(message, zone=current.zone, other_zones=zones)
    elif current.shortage is Shortage.QUOTA:
        why = QuotaExceeded(message)
    if why is not None:
        return _give_up(machine, _REFUSED[type(why)], message, now_s, why=why)
    registered = is_true(machine.conditions, states.REGISTERED)
    reason = "InstanceFailed" if registered else "LaunchFailed"
    return _give_up(machine, reason, message, now_s)


def _stopped(machine: Machine, current: CloudMachine, now_s: float) -> MachinePlan:
    """Somebody has stopped it, as `az aks stop` does, and will start it again: nothing is late
    meanwhile, and what it waits for is waited for anew after the start."""
    text = f"{current.name} is stopped: start the cluster, or its node pool"
    unknown = [
        condition(kind, "Unknown", "InstanceStopped", text)
        for kind in (states.REGISTERED, states.INITIALIZED, states.READY)
        if kind == states.READY or not is_true(machine.conditions, kind)
    ]
    launched = condition(states.LAUNCHED, "True", "Launched", "")
    written = record(
        machine,
        [launched, *unknown],
        now_s,
        attempt=replace(machine.attempt, zone=current.zone or machine.attempt.zone),
        provider_id=current.provider_id or machine.provider_id,
        node_name=machine.node_name,
    )
    if not changes(machine, written):
        return MachinePlan(requeue_after_s=FOLLOW_S)
    note = Note(type="Normal", reason="InstanceStopped", message=text)
    return MachinePlan(steps=(note, written), requeue_after_s=FOLLOW_S)


def _follow(
    view: MachineView, current: CloudMachine, limits: MachineLimits, now_s: float
) -> MachinePlan:
    machine, node = view.machine, view.node
    steps: list[MachineStep] = []
    conditions = [condition(states.LAUNCHED, "True", "Launched", "")]
    requeue_after_s: float | None
    if node is None:
        if _waited_longer(view, states.REGISTERED, limits.register_s, now_s):
            text = f"no Node for {limits.register_s:.0f} s"
            return _give_up(machine, "RegistrationTimeout", text, now_s)
        requeue_after_s = _look_again_s(view, states.REGISTERED, limits.register_s, now_s)
        waiting = f"waiting for the Node of {current.name}"
        conditions += [
            condition(states.REGISTERED, "False", "NodeNotFound", waiting),
            *not_yet(states.REGISTERED),
        ]
    else:
        conditions.append(condition(states.REGISTERED, "True", "Registered", ""))
        missing = _missing_labels(machine, node)
        if missing:
            steps.append(LabelNode(node_name=node.name, labels=missing))
        unready = _why_not_initialized(machine, node)
        if unready is None:
            conditions += [
                condition(states.INITIALIZED, "True", "Initialized", ""),
                condition(states.READY, "True", "Ready", ""),
            ]
            requeue_after_s = None
        elif is_true(machine.conditions, states.INITIALIZED):
            # Initialised once is initialised for good; the Node may come back by itself.
            if _waited_longer(view, states.READY, limits.unhealthy_s, now_s):
                text = f"{unready[1]} for {limits.unhealthy_s:.0f} s"
                return _give_up(machine, "NodeUnhealthy", text, now_s)
            requeue_after_s = _look_again_s(view, states.READY, limits.unhealthy_s, now_s)
            conditions += [
                condition(states.INITIALIZED, "True", "Initialized", ""),
                condition(states.READY, "False", *unready),
            ]
        elif _waited_longer(view, states.INITIALIZED, limits.initialize_s, now_s):
            text = f"{unready[1]} for {limits.initialize_s:.0f} s after the Node came"
            return _give_up(machine, "InitializationTimeout", text, now_s)
        else:
            requeue_after_s = _look_again_s(view, states.INITIALIZED, limits.initialize_s, now_s)
            conditions += [
                condition(states.INITIALIZED, "False", *unready),
                *not_yet(states.INITIALIZED),
            ]
    written = record(
        machine,
        conditions,
        now_s,
        # Clouds that know these from the Node only lose sight of them with it.
        attempt=replace(machine.attempt, zone=current.zone or machine.attempt.zone),
        provider_id=current.provider_id or machine.provider_id,
        node_name=node.name if node else "",
    )
    if changes(machine, written):
        steps = [*_progress_notes(machine, written), written, *steps]
    return MachinePlan(steps=tuple(steps), requeue_after_s=requeue_after_s)


def _give_up(
    machine: Machine,
    reason: str,
    message: str,
    now_s: float,
    *,
    why: PortError | None = None,
    was_refused: bool = False,
) -> MachinePlan:
    """End the current attempt; the next is ordered once the cloud shows nothing of this one. Of one
    that was refused it never will. `why` says what the cloud lacks, if anything."""
    following = next_attempt(machine, why, now_s=now_s)
    attempt = replace(following.attempt, retry=machine.spec.retry)
    how = (
        f"asks for {following.hop}" if following.hop else f"follows after {following.pause_s:.0f} s"
    )
    text = f"{message}; attempt {attempt.number + 1} {how}"
    failed = condition(states.LAUNCHED, "False", reason, text)
    written = record(machine, [failed, *not_yet(states.LAUNCHED, reason)], now_s, attempt=attempt)
    # The note has no attempt in it: refused again and again, it is one event that counts up.
    steps: list[MachineStep] = [Note(type="Warning", reason=reason, message=message)]
    if following.hop:
        steps.append(Note(type="Normal", reason="NextOffer", message=f"asking for {following.hop}"))
    steps.append(written)
    if was_refused:
        again_after_s = min(following.pause_s, RECHECK_S)
    else:
        steps.append(Terminate(cloud_name=machine.cloud_name, reason=reason))
        again_after_s = RECHECK_S
    return MachinePlan(steps=tuple(steps), requeue_after_s=again_after_s)


def _progress_notes(machine: Machine, written: WriteMachine) -> list[MachineStep]:
    messages = {
        states.LAUNCHED: f"the cloud is creating {machine.cloud_name}",
        states.REGISTERED: f"Node {written.node_name} registered",
        states.READY: f"Node {written.node_name} is ready with its GPUs",
    }
    notes: list[MachineStep] = []
    for kind, message in messages.items():
        before, after = find(machine.conditions, kind), find(written.conditions, kind)
        if after and after.is_true and not (before and before.is_true):
            notes.append(Note(type="Normal", reason=kind, message=message))
    return notes


def _waits_since_s(view: MachineView, kind: str) -> float | None:
    """Since when the machine is seen to wait for `kind`, if it does."""
    waiting = find(view.machine.conditions, kind)
    if waiting is None or waiting.status != "False":
        return None
    return max(waiting.since_s, view.watched_from_s)


def _waited_longer(view: MachineView, kind: str, limit_s: float, now_s: float) -> bool:
    """Whether the machine has been waiting for `kind` for more than `limit_s` seconds."""
    since_s = _waits_since_s(view, kind)
    return since_s is not None and now_s - since_s > limit_s


def _look_again_s(view: MachineView, kind: str, limit_s: float, now_s: float) -> float:
    """When to look at a machine that waits for `kind`: no later than its time is up."""
    since_s = _waits_since_s(view, kind)
    if since_s is None:
        return FOLLOW_S
    return min(FOLLOW_S, max(since_s + limit_s - now_s, 0.0) + 1.0)


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
