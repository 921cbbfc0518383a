"""One machine's life, transition by transition, and what holds for every state."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain import labels
from kaito.domain import machine as states
from kaito.domain.conditions import Condition, find, is_true
from kaito.domain.errors import (
    CapacityUnavailable,
    Conflict,
    NotFound,
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
    NodePod,
    NodeView,
    Shortage,
)
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.machine_plan import (
    FOLLOW_S,
    LONGEST_RETRY_S,
    ORPHAN_GRACE_S,
    UNLISTED_S,
    launch_failed,
    orphans,
    plan_machine,
    retry_pause_s,
)
from kaito.domain.machine_record import RECHECK_S, MachineView
from kaito.domain.names import machine_name
from kaito.domain.plan import (
    DeleteMachine,
    EvictPod,
    LabelNode,
    Launch,
    MachinePlan,
    Note,
    RemoveFinalizer,
    TaintNode,
    Terminate,
    WriteMachine,
)
from tests.unit.domain.builders import (
    A10,
    NOW_S,
    UID,
    cloud_machine,
    condition,
    machine,
    machine_spec,
    node,
    ready_machine,
)

LIMITS = MachineLimits()
TERMINATING = condition(states.INSTANCE_TERMINATING, "True", "Terminating", since_s=NOW_S)


def plan(
    found: Machine,
    *cloud: CloudMachine,
    node: NodeView | None = None,
    owner_exists: bool = True,
    after_s: float = 0.0,
) -> MachinePlan:
    view = MachineView(machine=found, cloud=cloud, node=node, owner_exists=owner_exists)
    planned = plan_machine(view, limits=LIMITS, now_s=NOW_S + after_s)
    assert planned == plan_machine(view, limits=LIMITS, now_s=NOW_S + after_s), "not deterministic"
    return planned


def written(planned: MachinePlan) -> WriteMachine:
    """What the record says after the plan."""
    return [step for step in planned.steps if isinstance(step, WriteMachine)][-1]


def fence(found: Machine) -> WriteMachine:
    """The record written as it is, which fails for whom it is stale."""
    return WriteMachine(
        attempt=found.attempt,
        conditions=found.conditions,
        provider_id=found.provider_id,
        node_name=found.node_name,
    )


def stored(found: Machine, planned: MachinePlan) -> Machine:
    """The machine after the plan's record was written."""
    record = written(planned)
    return replace(
        found,
        attempt=record.attempt,
        conditions=record.conditions,
        provider_id=record.provider_id,
        node_name=record.node_name,
    )


def seen(conditions: tuple[Condition, ...]) -> dict[str, tuple[str, str]]:
    return {found.type: (found.status, found.reason) for found in conditions}


def ordered(**attempt: Any) -> Machine:
    """A machine whose order may have been sent at NOW_S."""
    values: dict[str, Any] = {"instance_type": A10, "started_at_s": NOW_S}
    return machine(attempt=Attempt(**(values | attempt)))


def launched(since_s: float = NOW_S) -> Machine:
    """A machine that the cloud is creating."""
    return stored(
        ordered(),
        plan_machine(
            MachineView(
                machine=ordered(),
                cloud=(cloud_machine(ordered(), state=CloudState.CREATING, provider_id=""),),
                node=None,
                owner_exists=True,
            ),
            limits=LIMITS,
            now_s=since_s,
        ),
    )


# --- ordering ---


def test_an_order_is_recorded_before_it_is_sent() -> None:
    found = machine()
    planned = plan(found)
    record, launch = planned.steps
    assert isinstance(record, WriteMachine)
    assert record.attempt == Attempt(number=0, instance_type=A10, started_at_s=NOW_S)
    assert launch == Launch(
        order=MachineOrder(
            name=machine_name(UID, 0, 0),
            claim_name=found.claim_name,
            owner=found.spec.owner,
            instance_type=A10,
            disk_bytes=found.spec.disk_bytes,
            labels=found.spec.labels,
            image_family="",
        )
    )
    assert seen(record.conditions) == {
        "Launched": ("Unknown", "Launching"),
        "Registered": ("Unknown", "AwaitingReconciliation"),
        "Initialized": ("Unknown", "AwaitingReconciliation"),
        "Ready": ("False", "NotLaunched"),
    }
    assert planned.requeue_after_s == RECHECK_S


def test_an_order_that_the_cloud_does_not_show_yet_is_sent_again_under_its_name() -> None:
    first = plan(machine())
    again = plan(stored(machine(), first), after_s=200)
    assert written(again).attempt.started_at_s == NOW_S, "the time-out still counts from the first"
    assert again.steps[-1] == first.steps[-1]


def test_an_order_uses_the_type_that_its_attempt_recorded() -> None:
    planned = plan(ordered(instance_type="Standard_Other"))
    launch = planned.steps[-1]
    assert isinstance(launch, Launch)
    assert launch.order.instance_type == "Standard_Other"


def test_each_attempt_has_a_name_of_its_own() -> None:
    planned = plan(machine(attempt=Attempt(number=3)))
    launch = planned.steps[-1]
    assert isinstance(launch, Launch)
    assert launch.order.name == machine_name(UID, 0, 3)
    assert launch.order.claim_name == machine_name(UID, 0, 0)


def test_the_last_attempt_is_given_back_once_more_before_the_next_is_ordered() -> None:
    """The call that gave it back may have been lost while the cloud did not show it."""
    record, terminate, launch = plan(machine(attempt=Attempt(number=2))).steps
    assert isinstance(record, WriteMachine)
    assert isinstance(terminate, Terminate)
    assert terminate.cloud_name == machine_name(UID, 0, 1)
    assert isinstance(launch, Launch)


def test_a_refusal_stands_until_an_order_is_accepted() -> None:
    """Or else the reason would come and go with each try."""
    refused = stored(ordered(), launch_failed(ordered(), QuotaExceeded("0 cores"), now_s=NOW_S))
    again = stored(refused, plan(refused, after_s=60))
    launched_condition = find(again.conditions, states.LAUNCHED)
    assert launched_condition is not None
    assert launched_condition.reason == "QuotaExceeded"
    assert again.attempt.started_at_s == NOW_S + 60
    accepted = plan(again, cloud_machine(again, state=CloudState.CREATING, provider_id=""))
    assert is_true(stored(again, accepted).conditions, states.LAUNCHED)


def test_the_next_attempt_waits_for_its_time() -> None:
    waiting = machine(attempt=Attempt(number=1, not_before_s=NOW_S + 30))
    assert plan(waiting, after_s=10) == MachinePlan(requeue_after_s=20)
    assert isinstance(plan(waiting, after_s=30).steps[-1], Launch)


def test_what_a_clock_that_was_ahead_wrote_holds_nothing_up() -> None:
    """Neither the pause before an attempt nor its time-out lasts until that clock was right."""
    hours_s = 7200.0
    waiting = machine(attempt=Attempt(number=1, not_before_s=NOW_S + hours_s))
    assert isinstance(plan(waiting).steps[-1], Launch)
    again = plan(ordered(started_at_s=NOW_S + hours_s))
    assert written(again).attempt.started_at_s == NOW_S


# --- following it until it is ready ---


def test_the_cloud_is_creating_it() -> None:
    found = ordered()
    planned = plan(found, cloud_machine(found, state=CloudState.CREATING, provider_id=""))
    note, record = planned.steps
    assert note == Note(
        type="Normal", reason="Launched", message=f"the cloud is creating {found.cloud_name}"
    )
    assert isinstance(record, WriteMachine)
    assert seen(record.conditions) == {
        "Launched": ("True", "Launched"),
        "Registered": ("False", "NodeNotFound"),
        "Initialized": ("Unknown", "AwaitingReconciliation"),
        "Ready": ("False", "NotRegistered"),
    }
    assert all(one.observed_generation == found.generation for one in record.conditions)


def test_nothing_is_written_while_nothing_changes() -> None:
    found = launched()
    creating = cloud_machine(found, state=CloudState.CREATING, provider_id="")
    assert plan(found, creating, after_s=60) == MachinePlan(requeue_after_s=FOLLOW_S)


def test_its_node_registers() -> None:
    found = launched()
    planned = plan(found, cloud_machine(found), node=node(found, ready=False))
    record = written(planned)
    assert seen(record.conditions) == {
        "Launched": ("True", "Launched"),
        "Registered": ("True", "Registered"),
        "Initialized": ("False", "NodeNotReady"),
        "Ready": ("False", "NotInitialized"),
    }
    assert (record.provider_id, record.node_name) == (f"azure://{found.cloud_name}", "node-0")
    assert planned.steps[0] == Note(
        type="Normal", reason="Registered", message="Node node-0 registered"
    )
    assert planned.requeue_after_s == FOLLOW_S


def test_its_node_is_ready_but_has_no_gpus_yet() -> None:
    found = launched()
    record = written(plan(found, cloud_machine(found), node=node(found, gpus=0)))
    waiting = find(record.conditions, states.INITIALIZED)
    assert waiting is not None
    assert (waiting.reason, waiting.message) == (
        "ResourceNotRegistered",
        "Node node-0 offers 0 of 1 GPUs",
    )


def test_it_is_ready_and_then_nothing_is_left_to_do() -> None:
    found = launched()
    planned = plan(found, cloud_machine(found), node=node(found))
    ready = stored(found, planned)
    assert ready.is_ready
    assert [step.reason for step in planned.steps if isinstance(step, Note)] == [
        "Registered",
        "Ready",
    ]
    assert planned.requeue_after_s is None
    assert plan(ready, cloud_machine(ready), node=node(ready), after_s=1e6) == MachinePlan()


def test_labels_that_the_node_lacks_are_added() -> None:
    found = ready_machine()
    known = {labels.WORKSPACE: "phi", labels.WORKSPACE_NAMESPACE: "default"}
    bare = node(found, labels={"apps": "other", "agentpool": "x", **known})
    planned = plan(found, cloud_machine(found), node=bare)
    added = (("apps", "phi"), (labels.SLOT, "0"), (labels.WORKSPACE_UID, UID))
    assert planned == MachinePlan(steps=(LabelNode(node_name="node-0", labels=added),))


def test_a_node_that_is_lost_for_a_moment_costs_no_machine() -> None:
    found = ready_machine()
    planned = plan(found, cloud_machine(found), node=node(found, ready=False), after_s=1e6)
    lost = stored(found, planned)
    assert not lost.is_ready
    assert is_true(lost.conditions, states.INITIALIZED)
    assert planned.requeue_after_s == FOLLOW_S
    back = plan(lost, cloud_machine(lost), node=node(lost), after_s=1e6 + 60)
    assert stored(lost, back).is_ready


def test_a_node_that_stays_unready_is_given_up() -> None:
    found = ready_machine()
    planned = plan(found, cloud_machine(found), node=node(found, ready=False), after_s=1000)
    lost = stored(found, planned)
    limit_s = 1000 + LIMITS.unhealthy_s
    waiting = plan(lost, cloud_machine(lost), node=node(lost, ready=False), after_s=limit_s)
    assert waiting == MachinePlan(requeue_after_s=1.0), "looked at again when its time is up"
    late = limit_s + 1
    planned = plan(lost, cloud_machine(lost), node=node(lost, ready=False), after_s=late)
    failed = assert_given_up(planned, lost, "NodeUnhealthy", late)
    assert failed.message.startswith("Node node-0 is not ready for 600 s")
    assert isinstance(planned.steps[-1], Terminate)


def test_the_zone_is_recorded_once_the_cloud_says_it_and_goes_with_the_attempt() -> None:
    assert ordered().attempt.zone == ""
    found = launched()
    assert found.attempt.zone == "1"
    planned = plan(found, cloud_machine(found, state=CloudState.FAILED, error="broken"))
    assert written(planned).attempt.zone == ""


def test_what_the_cloud_knows_from_the_node_is_kept_while_that_is_away() -> None:
    found = ready_machine()
    unseen = cloud_machine(found, zone="", provider_id="")
    lost = written(plan(found, unseen))
    assert lost.provider_id == found.provider_id
    assert lost.attempt.zone == "1"


def test_a_node_object_that_vanishes_is_waited_for_as_if_it_were_new() -> None:
    found = ready_machine()
    planned = plan(found, cloud_machine(found), after_s=1e6)
    lost = stored(found, planned)
    assert not lost.is_ready
    assert lost.attempt == found.attempt
    assert plan(lost, cloud_machine(lost), after_s=1e6 + LIMITS.register_s).steps == ()
    overdue = plan(lost, cloud_machine(lost), after_s=1e6 + LIMITS.register_s + 1)
    assert written(overdue).attempt.number == 1


# --- giving up an attempt ---


def assert_given_up(planned: MachinePlan, found: Machine, reason: str, after_s: float) -> Condition:
    note, record, *rest = planned.steps
    assert isinstance(note, Note)
    assert (note.type, note.reason) == ("Warning", reason)
    assert isinstance(record, WriteMachine)
    pause_s = retry_pause_s(found.attempt.number + 1)
    assert record.attempt == Attempt(
        number=found.attempt.number + 1, not_before_s=NOW_S + after_s + pause_s
    )
    assert (record.provider_id, record.node_name) == ("", "")
    assert rest in ([], [Terminate(cloud_name=found.cloud_name, reason=reason)])
    failed = find(record.conditions, states.LAUNCHED)
    assert failed is not None
    assert (failed.status, failed.reason) == ("False", reason)
    # The note names no attempt: refused again and again, it is one event that counts up.
    assert failed.message.startswith(f"{note.message}; attempt {found.attempt.number + 2} follows")
    ready = find(record.conditions, states.READY)
    assert ready is not None
    assert (ready.status, ready.reason) == ("False", reason)
    assert planned.requeue_after_s is not None
    assert planned.requeue_after_s <= RECHECK_S
    return failed


def test_the_cloud_never_shows_the_order() -> None:
    found = ordered()
    assert isinstance(plan(found, after_s=LIMITS.launch_s).steps[-1], Launch)
    late = LIMITS.launch_s + 1
    failed = assert_given_up(plan(found, after_s=late), found, "LaunchTimeout", late)
    assert failed.message == (
        "the cloud did not show the order within 300 s; attempt 2 follows after 30 s"
    )


def test_no_node_comes() -> None:
    found = launched()
    creating = cloud_machine(found, state=CloudState.CREATING, provider_id="")
    waiting = plan(found, creating, after_s=LIMITS.register_s)
    assert waiting == MachinePlan(requeue_after_s=1.0)
    late = LIMITS.register_s + 1
    planned = plan(found, creating, after_s=late)
    assert_given_up(planned, found, "RegistrationTimeout", late)
    assert planned.steps[-1] == Terminate(cloud_name=found.cloud_name, reason="RegistrationTimeout")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"ready": False}, "Node node-0 is not ready for 1200 s"),
        ({"gpus": 0}, "Node node-0 offers 0 of 1 GPUs for 1200 s"),
    ],
)
def test_its_node_or_its_gpus_never_get_ready(more: dict[str, Any], why: str) -> None:
    found = launched()
    cloud = cloud_machine(found)
    registered = stored(found, plan(found, cloud, node=node(found, **more), after_s=600))
    waiting = plan(registered, cloud, node=node(found, **more), after_s=600 + LIMITS.initialize_s)
    assert waiting == MachinePlan(requeue_after_s=1.0)
    late = 600 + LIMITS.initialize_s + 1
    planned = plan(registered, cloud, node=node(found, **more), after_s=late)
    failed = assert_given_up(planned, registered, "InitializationTimeout", late)
    assert failed.message.startswith(why)
    assert isinstance(planned.steps[-1], Terminate)


@pytest.mark.parametrize(
    ("state", "error", "reason", "why"),
    [
        (CloudState.FAILED, "the host is gone", "InstanceFailed", "the host is gone"),
        (CloudState.FAILED, "", "InstanceFailed", "the cloud gave no reason"),
        (CloudState.DELETING, "", "InstanceTerminated", "the cloud is taking it away"),
    ],
)
def test_the_cloud_says_that_it_is_lost(
    state: CloudState, error: str, reason: str, why: str
) -> None:
    found = ready_machine()
    planned = plan(found, cloud_machine(found, state=state, error=error), node=node(found))
    failed = assert_given_up(planned, found, reason, 0)
    assert failed.message.startswith(why)
    assert isinstance(planned.steps[-1], Terminate)


def test_a_machine_that_was_there_and_vanished_is_ordered_anew() -> None:
    found = ready_machine()
    planned = plan(found, after_s=5)
    assert_given_up(planned, found, "InstanceGone", 5)
    follower = stored(found, planned)
    retried = plan(follower, after_s=5 + retry_pause_s(1))
    launch = retried.steps[-1]
    assert isinstance(launch, Launch)
    assert launch.order.name == machine_name(UID, 0, 1)


def test_a_list_without_a_machine_whose_node_works_is_not_believed() -> None:
    found = ready_machine()
    assert plan(found, node=node(found), after_s=1e6) == MachinePlan(requeue_after_s=RECHECK_S)
    lost = plan(found, node=node(found, ready=False), after_s=1e6)
    assert_given_up(lost, found, "InstanceGone", 1e6)


def test_a_machine_without_a_node_is_gone_when_two_lists_say_so() -> None:
    found = launched()
    first = plan(found, after_s=60.0)
    (record,) = first.steps
    assert isinstance(record, WriteMachine)
    assert seen(record.conditions)[states.LAUNCHED] == ("Unknown", "InstanceNotFound")
    noted = stored(found, first)
    assert (noted.attempt, noted.provider_id) == (found.attempt, found.provider_id)
    soon = plan(noted, after_s=60.0 + UNLISTED_S - 1)
    assert soon == MachinePlan(requeue_after_s=RECHECK_S), "nothing is written again"
    late = 60.0 + UNLISTED_S
    assert_given_up(plan(noted, after_s=late), noted, "InstanceGone", late)
    creating = cloud_machine(found, state=CloudState.CREATING, provider_id="")
    shown = stored(noted, plan(noted, creating, after_s=late))
    assert is_true(shown.conditions, states.LAUNCHED)
    again = plan(shown, after_s=late + 100)
    assert not any(isinstance(step, Terminate) for step in again.steps), "counted anew"


# --- stopped by somebody ---


def stopped(found: Machine) -> CloudMachine:
    return cloud_machine(found, state=CloudState.STOPPED)


@pytest.mark.parametrize("gone", [True, False])
def test_a_stopped_machine_is_kept_however_long_it_takes(gone: bool) -> None:
    found = ready_machine()
    there = None if gone else node(found, ready=False)
    planned = plan(found, stopped(found), node=there, after_s=50)
    note, record = planned.steps
    assert isinstance(note, Note)
    assert (note.type, note.reason) == ("Normal", "InstanceStopped")
    assert isinstance(record, WriteMachine)
    assert seen(record.conditions) == {
        "Launched": ("True", "Launched"),
        "Registered": ("True", "Registered"),
        "Initialized": ("True", "Initialized"),
        "Ready": ("Unknown", "InstanceStopped"),
    }
    held = stored(found, planned)
    assert not held.is_ready
    later = plan(held, stopped(held), node=there, after_s=1e6)
    assert later == MachinePlan(requeue_after_s=FOLLOW_S)


def test_after_the_start_a_node_has_all_its_time() -> None:
    """Both one that was lost when the machine was stopped and one that comes back later."""
    found = ready_machine()
    lost = stored(found, plan(found, cloud_machine(found), node=node(found, ready=False)))
    held = stored(lost, plan(lost, stopped(lost), after_s=300))
    unready, started = node(held, ready=False), 1e6
    first = plan(held, cloud_machine(held), node=unready, after_s=started)
    back = stored(held, first)
    waiting = plan(back, cloud_machine(back), node=unready, after_s=started + LIMITS.unhealthy_s)
    assert waiting.steps == ()
    late = started + LIMITS.unhealthy_s + 1
    overdue = plan(back, cloud_machine(back), node=unready, after_s=late)
    assert_given_up(overdue, back, "NodeUnhealthy", late)


def test_after_the_start_a_machine_that_was_on_its_way_has_all_its_time() -> None:
    found = launched()
    held = stored(found, plan(found, stopped(found), after_s=LIMITS.register_s))
    assert seen(held.conditions)[states.REGISTERED] == ("Unknown", "InstanceStopped")
    creating, started = cloud_machine(held, provider_id=""), 1e6
    back = stored(held, plan(held, creating, after_s=started))
    assert plan(back, creating, after_s=started + LIMITS.register_s).steps == ()
    late = started + LIMITS.register_s + 1
    assert_given_up(plan(back, creating, after_s=late), back, "RegistrationTimeout", late)


@pytest.mark.parametrize(
    ("found", "there", "limit_s"),
    [
        (launched(), None, LIMITS.register_s),
        (
            ready_machine(
                conditions=(
                    *ready_machine().conditions[:-1],
                    condition(states.READY, "False", "NodeNotReady", since_s=NOW_S),
                )
            ),
            node(ready_machine(), ready=False),
            LIMITS.unhealthy_s,
        ),
    ],
    ids=["on its way", "lost its Node"],
)
def test_what_was_before_the_operator_began_is_not_held_against_a_machine(
    found: Machine, there: NodeView | None, limit_s: float
) -> None:
    """A cluster that is stopped takes its operator along, which never sees that it is stopped."""
    view = MachineView(
        machine=found,
        cloud=(cloud_machine(found),),
        node=there,
        owner_exists=True,
        watched_from_s=NOW_S + 1e6,
    )
    early = plan_machine(view, limits=LIMITS, now_s=NOW_S + 1e6 + limit_s)
    assert not any(isinstance(step, Terminate) for step in early.steps)
    late = plan_machine(view, limits=LIMITS, now_s=NOW_S + 1e6 + limit_s + 1)
    assert any(isinstance(step, Terminate) for step in late.steps)


def test_a_node_that_works_is_believed_more_than_a_list() -> None:
    found = ready_machine()
    assert plan(found, stopped(found), node=node(found)) == MachinePlan()


def test_a_stopped_machine_can_be_released() -> None:
    found = ready_machine(deleting=True)
    assert any(isinstance(step, Terminate) for step in plan(found, stopped(found)).steps)


def test_the_next_attempt_waits_until_the_last_one_is_gone() -> None:
    found = machine(attempt=Attempt(number=1))
    before = cloud_machine(found, name=machine_name(UID, 0, 0))
    assert plan(found, before) == MachinePlan(
        steps=(record_as_it_is(found), Terminate(cloud_name=before.name, reason="given up")),
        requeue_after_s=RECHECK_S,
    )
    going = replace(before, state=CloudState.DELETING)
    assert plan(found, going) == MachinePlan(requeue_after_s=RECHECK_S)
    assert isinstance(plan(found).steps[-1], Launch)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (CapacityUnavailable("sold out"), "InsufficientCapacity"),
        (QuotaExceeded("quota of 0 cores"), "QuotaExceeded"),
        (Rejected("no such image family"), "LaunchRejected"),
    ],
)
def test_an_order_that_is_refused(error: PortError, reason: str) -> None:
    found = ordered()
    planned = launch_failed(found, error, now_s=NOW_S + 0.7)
    failed = assert_given_up(planned, found, reason, 0)
    assert failed.message.startswith(str(error))
    assert not any(isinstance(step, Terminate) for step in planned.steps), "nothing was ordered"


@pytest.mark.parametrize("error", [Unavailable("time-out"), Conflict("busy"), NotFound("?")])
def test_an_order_of_unknown_outcome_is_repeated_as_it_is(error: PortError) -> None:
    assert launch_failed(ordered(), error, now_s=NOW_S) == MachinePlan(requeue_after_s=30.0)


def test_pauses_double_up_to_five_minutes() -> None:
    assert [retry_pause_s(attempt) for attempt in range(1, 7)] == [30, 60, 120, 240, 300, 300]
    assert retry_pause_s(10_000) == LONGEST_RETRY_S == 300


# --- giving it back ---


def record_as_it_is(found: Machine) -> WriteMachine:
    """The fence: a write that changes nothing, and fails on a stale record."""
    return WriteMachine(
        attempt=found.attempt,
        conditions=found.conditions,
        provider_id=found.provider_id,
        node_name=found.node_name,
    )


def test_a_release_is_recorded_once_the_machine_is_given_back() -> None:
    found = ready_machine(deleting=True)
    planned = plan(found, cloud_machine(found))
    fence, terminate, record = planned.steps
    assert fence == record_as_it_is(found)
    assert isinstance(record, WriteMachine)
    assert is_true(record.conditions, states.INSTANCE_TERMINATING)
    assert terminate == Terminate(cloud_name=found.cloud_name, reason="released")
    assert planned.requeue_after_s == RECHECK_S


def test_a_release_covers_earlier_attempts_and_orders_that_do_not_show_yet() -> None:
    found = machine(deleting=True, attempt=Attempt(number=1, started_at_s=NOW_S))
    before = cloud_machine(found, name=machine_name(UID, 0, 0))
    planned = plan(found, before)
    given_back = {step.cloud_name for step in planned.steps if isinstance(step, Terminate)}
    assert given_back == {machine_name(UID, 0, 0), machine_name(UID, 0, 1)}


def test_a_release_waits_for_the_cloud_and_then_lets_the_record_go() -> None:
    found = ready_machine(deleting=True, conditions=(TERMINATING,))
    still = cloud_machine(found)
    assert plan(found, still) == MachinePlan(
        steps=(record_as_it_is(found), Terminate(cloud_name=still.name, reason="given up")),
        requeue_after_s=RECHECK_S,
    )
    going = replace(still, state=CloudState.DELETING)
    assert plan(found, going) == MachinePlan(requeue_after_s=RECHECK_S)
    assert plan(found) == MachinePlan(steps=(RemoveFinalizer(),))
    assert plan(replace(found, has_finalizer=False)) == MachinePlan()


def test_a_machine_for_nobody_is_given_back() -> None:
    found = machine()
    gone = DeleteMachine(claim_name=found.claim_name, uid=found.uid, reason="its Workspace is gone")
    assert plan(found, owner_exists=False) == MachinePlan(steps=(gone,))


def test_orphans_are_machines_in_the_cloud_without_a_record() -> None:
    found = machine()
    other = replace(machine(machine_spec(1)), claim_name="ws-other")
    kept = cloud_machine(found)
    lost = cloud_machine(other)
    old = NOW_S + ORPHAN_GRACE_S + 1
    recorded = {found.claim_name}
    assert orphans([kept, lost], recorded, now_s=old) == (
        Terminate(cloud_name=lost.name, reason="no NodeClaim stands for it"),
    )
    assert orphans([kept, lost], recorded, now_s=NOW_S + ORPHAN_GRACE_S) == (), "just ordered"
    assert orphans([replace(lost, state=CloudState.DELETING)], recorded, now_s=old) == ()
    assert orphans([kept, lost], {found.claim_name, other.claim_name}, now_s=old) == ()


# --- whatever the state ---

conditions_of_a_machine = st.lists(
    st.builds(
        condition,
        st.sampled_from(
            [
                states.LAUNCHED,
                states.REGISTERED,
                states.INITIALIZED,
                states.READY,
                states.INSTANCE_TERMINATING,
                states.DRAINED,
            ]
        ),
        st.sampled_from(["True", "False", "Unknown"]),
        since_s=st.sampled_from([NOW_S, NOW_S + 1000]),
    ),
    max_size=6,
    unique_by=lambda found: found.type,
).map(tuple)
attempts = st.builds(
    Attempt,
    number=st.integers(0, 4),
    instance_type=st.sampled_from(["", A10]),
    started_at_s=st.sampled_from([None, NOW_S]),
    not_before_s=st.sampled_from([0.0, NOW_S + 500]),
)
machines = st.builds(
    machine,
    attempt=attempts,
    conditions=conditions_of_a_machine,
    deleting=st.booleans(),
    has_finalizer=st.booleans(),
    provider_id=st.sampled_from(["", "azure://x"]),
    node_name=st.sampled_from(["", "node-0"]),
)


@st.composite
def views(draw: st.DrawFn) -> MachineView:
    found = draw(machines)
    numbers = draw(st.sets(st.integers(0, 4), max_size=3))
    cloud = tuple(
        cloud_machine(
            found,
            name=machine_name(UID, 0, number),
            state=draw(st.sampled_from(list(CloudState))),
            shortage=draw(st.sampled_from([None, *Shortage])),
        )
        for number in sorted(numbers)
    )
    seen_node = draw(
        st.none() | st.builds(node, st.just(found), ready=st.booleans(), gpus=st.integers(0, 1))
    )
    return MachineView(
        machine=found,
        cloud=cloud,
        node=seen_node,
        owner_exists=draw(st.booleans()),
        pods=draw(st.sampled_from([(), (NodePod(namespace="shop", name="web", uid="1"),)])),
    )


@settings(deadline=None)
@given(views(), st.sampled_from([0.0, 100.0, 600.0, 2000.0]))
def test_in_every_state(view: MachineView, after_s: float) -> None:
    planned = plan_machine(view, limits=LIMITS, now_s=NOW_S + after_s)
    assert planned == plan_machine(view, limits=LIMITS, now_s=NOW_S + after_s)
    kinds = [type(step) for step in planned.steps]
    found = view.machine
    if Launch in kinds:
        assert kinds.count(Launch) == 1
        assert kinds.index(WriteMachine) < kinds.index(Launch), "the fence comes first"
        assert view.cloud == (), "a slot never has two machines"
        assert view.owner_exists
        assert not found.deleting
        record = written(planned)
        assert record.attempt.started_at_s is not None
        assert record.attempt.number == found.attempt.number
    for taking in {Terminate, TaintNode, EvictPod} & set(kinds):
        assert kinds.index(WriteMachine) < kinds.index(taking), "the fence comes first"
    if RemoveFinalizer in kinds:
        assert found.deleting
        assert view.cloud == (), "the record stays as long as the machine"
    done = (
        found.is_ready
        or (found.deleting and not found.has_finalizer)
        or kinds == [RemoveFinalizer]
        or kinds == [DeleteMachine]
    )
    ready = any(
        isinstance(step, WriteMachine) and is_true(step.conditions, states.READY)
        for step in planned.steps
    )
    if not done and not ready:
        assert planned.requeue_after_s is not None, "it waits for something"
    if planned.requeue_after_s is not None:
        assert planned.requeue_after_s > 0


class Tale:
    """One machine, the cloud and its Node in memory: what the steps of a plan do to them."""

    def __init__(self, found: Machine, script: list[str]) -> None:
        self.machine: Machine | None = found
        self.cloud: dict[str, CloudMachine] = {}
        self.node: NodeView | None = None
        self.now_s = NOW_S
        self.script = script
        self.bought = 0

    def run(self, rounds: int) -> MachinePlan:
        """Plan and act until nothing is left to do."""
        planned = MachinePlan()
        for _ in range(rounds):
            assert self.machine is not None
            view = MachineView(
                machine=self.machine,
                cloud=() if self._hidden() else tuple(self.cloud.values()),
                node=self.node,
                owner_exists=True,
            )
            planned = plan_machine(view, limits=LIMITS, now_s=self.now_s)
            self._act(planned)
            assert len(self.cloud) <= 1, "a slot never has two machines"
            if self.machine is None or planned == MachinePlan():
                return planned
            self.now_s += planned.requeue_after_s or 1.0
            self._world()
        raise AssertionError(f"not stable after {rounds} rounds: {planned}")

    def _hidden(self) -> bool:
        """Whether a list that lags shows nothing, this once."""
        if self.cloud and self.script[:1] == ["unlisted"]:
            self.script.pop(0)
            return True
        return False

    def _act(self, planned: MachinePlan) -> None:
        for step in planned.steps:
            assert self.machine is not None
            if isinstance(step, WriteMachine):
                self.machine = stored(self.machine, planned)
            elif isinstance(step, Launch):
                self._launch(step.order.name)
            elif isinstance(step, Terminate):
                self.cloud.pop(step.cloud_name, None)
                self.node = None
            elif isinstance(step, RemoveFinalizer):
                self.machine = None
                return

    def _launch(self, name: str) -> None:
        assert self.machine is not None
        fate = self.script.pop(0) if self.script else "works"
        refusals: dict[str, PortError] = {
            "sold out": CapacityUnavailable("sold out"),
            "quota": QuotaExceeded("quota"),
        }
        if fate in refusals:
            refused = launch_failed(self.machine, refusals[fate], now_s=self.now_s)
            self.machine = stored(self.machine, refused)
        elif fate != "ignored" and name not in self.cloud:
            lacks = {"sold out late": Shortage.CAPACITY, "quota late": Shortage.QUOTA}.get(fate)
            failed = lacks is not None or fate == "fails"
            self.bought += 1
            self.cloud[name] = cloud_machine(
                self.machine,
                name=name,
                state=CloudState.FAILED if failed else CloudState.CREATING,
                shortage=lacks,
            )

    def _world(self) -> None:
        if self.machine is None:
            return
        fate = self.script[0] if self.script else "works"
        if fate == "vanishes" and self.cloud:
            self.script.pop(0)
            self.cloud.clear()
            self.node = None
        for name, found in list(self.cloud.items()):
            if found.state is CloudState.CREATING:
                self.cloud[name] = replace(found, state=CloudState.RUNNING)
                self.node = node(self.machine, provider_id=found.provider_id, labels={})
        if self.node is not None:
            self.node = replace(self.node, labels=dict(self.machine.spec.labels))


fates = st.lists(
    st.sampled_from(
        [
            *("works", "sold out", "quota", "sold out late", "quota late"),
            *("fails", "ignored", "vanishes", "unlisted"),
        ]
    ),
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(fates)
def test_whatever_the_cloud_does_at_first_the_machine_gets_ready_and_can_be_released(
    script: list[str],
) -> None:
    tale = Tale(machine(), script)
    assert tale.run(rounds=200) == MachinePlan()
    assert tale.machine is not None
    assert tale.machine.is_ready
    assert list(tale.cloud) == [tale.machine.cloud_name]
    tale.machine = replace(tale.machine, deleting=True)
    tale.run(rounds=20)
    assert tale.machine is None
    assert tale.cloud == {}
