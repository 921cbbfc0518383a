"""Which machines may be bought, and which to ask for next."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaito.domain import labels
from kaito.domain.cluster_view import WorkloadState
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.errors import (
    CapacityUnavailable,
    InvalidInput,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Rejected,
)
from kaito.domain.machine import (
    Attempt,
    CapacityType,
    CloudMachine,
    CloudState,
    Machine,
    MachineOrder,
    Offer,
    Shortage,
)
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.machine_plan import LONGEST_RETRY_S, launch_failed, plan_machine
from kaito.domain.machine_policy import (
    bought_type,
    capacity_types,
    fallback_problems,
    next_attempt,
    policy_of,
    policy_rules,
    retry_pause_s,
)
from kaito.domain.machine_record import RECHECK_S, MachineView
from kaito.domain.plan import (
    ApplyWorkload,
    CreateMachine,
    DeleteMachine,
    Launch,
    MachinePlan,
    Note,
    RetryMachine,
    Terminate,
    WriteMachine,
)
from kaito.domain.provisioner import Provisioner
from kaito.domain.sizing import size
from kaito.domain.validation import validate
from kaito.domain.workspace import Workspace
from kaito.domain.workspace_plan import machine_specs, plan_workspace
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    MINI,
    MISSING,
    NOW_S,
    T4,
    TWO_A10,
    V100,
    cloud_machine,
    cluster,
    config,
    machine,
    machine_spec,
    ready_machine,
    seen,
    wanted,
    workspace,
)

AFFINITY = {
    "nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [
                {
                    "matchExpressions": [
                        {"key": labels.INSTANCE_TYPE, "operator": "In", "values": [A10]}
                    ]
                }
            ]
        }
    }
}
ZONES = ("eastus-1", "eastus-2", "eastus-3")
SPOT_FIRST = (CapacityType.SPOT, CapacityType.ON_DEMAND)
LIMITS = MachineLimits()


def choosing(fallbacks: str = "", capacity: str = "", **parts: Any) -> Workspace:
    """A Workspace with the annotations."""
    given = {labels.FALLBACK_INSTANCE_TYPES: fallbacks, labels.CAPACITY_CHOICE: capacity}
    kept = {key: value for key, value in given.items() if value}
    return workspace(annotations=kept, **parts)


def problems(found: Workspace) -> list[str]:
    return [str(one) for one in validate(found, CATALOGUE)]


# --- what the annotations say ---


def test_without_annotations_there_is_one_offer() -> None:
    policy = policy_of(workspace(), CATALOGUE)
    assert policy.instance_type.name == A10
    assert (policy.fallbacks, policy.capacity_types) == ((), (CapacityType.ON_DEMAND,))
    assert machine_spec().offers == (Offer(instance_type=A10, gpus=1),)


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("on-demand", (CapacityType.ON_DEMAND,)),
        ("spot", (CapacityType.SPOT,)),
        ("spot-then-on-demand", SPOT_FIRST),
    ],
)
def test_capacity_types(text: str, types: tuple[CapacityType, ...]) -> None:
    assert capacity_types(choosing(capacity=text)) == types
    assert problems(choosing(capacity=text)) == []


def test_an_unknown_capacity_type() -> None:
    found = choosing(capacity="cheap")
    with pytest.raises(InvalidInput):
        capacity_types(found)
    assert problems(found) == [
        "metadata.annotations[kaito.sh/capacity-type]: must be one of on-demand, spot, "
        "spot-then-on-demand, got 'cheap'"
    ]


def test_fallbacks_are_in_the_order_given() -> None:
    policy = policy_of(choosing(f" {A100.lower()} ,{V100}"), CATALOGUE)
    assert policy.fallback_gpus == ((A100, 1), (V100, 1))
    assert problems(choosing(f"{A100},{V100}")) == []


@pytest.mark.parametrize(
    ("fallbacks", "told"),
    [
        ("Standard_NC25ads_A100_v4", "unknown instance type 'Standard_NC25ads_A100_v4'"),
        ("", ""),
        (A10.lower(), "is there already"),
        (f"{A100},{A100}", "is there already"),
        (f"{A100},", "unknown instance type ''"),
    ],
)
def test_fallbacks_that_cannot_be(fallbacks: str, told: str) -> None:
    found = problems(choosing(fallbacks))
    if not told:
        assert found == []
        return
    (text,) = found
    assert text.startswith("metadata.annotations[kaito.sh/fallback-instance-types]: ")
    assert told in text


def test_a_fallback_that_does_not_hold_the_model() -> None:
    found = choosing(V100, inference={"preset": {"name": "phi-4"}}, instance_type=A100)
    (text,) = problems(found)
    assert f"{V100}: phi-4 with " in text
    decided = decide(found, CATALOGUE, None)
    assert isinstance(decided, Refusal)
    assert decided.reason == "ModelDoesNotFit"


def test_a_fallback_that_the_engine_config_does_not_allow() -> None:
    found = choosing(A10, inference={"preset": {"name": MINI}}, instance_type=TWO_A10)
    settings = config({"vllm": {"tensor-parallel-size": 2}})
    decided = decide(found, CATALOGUE, settings)
    assert isinstance(decided, Refusal)
    assert "tensor-parallel-size" in decided.message


def test_a_model_on_several_machines_has_no_fallbacks() -> None:
    found = choosing(A100)
    sizing = replace(size(found, CATALOGUE), nodes=2)
    (problem,) = fallback_problems(found, CATALOGUE, None, sizing)
    assert "needs 2 machines of one type" in problem.message
    assert list(fallback_problems(workspace(), CATALOGUE, None, sizing)) == []


def test_a_fallback_of_which_more_are_needed() -> None:
    found = choosing(
        A10,
        instance_type=V100,
        inference={"preset": {"name": "phi-3-mini-4k-instruct"}},
        resource={"count": 1},
    )
    sizing = replace(size(found, CATALOGUE), nodes=0)
    (problem,) = fallback_problems(found, CATALOGUE, None, sizing)
    assert problem.message == f"{A10}: phi-3-mini-4k-instruct needs 1 of it, and 0 of {V100}"


def test_fallbacks_of_another_cloud() -> None:
    found = list(policy_rules(choosing("g5.xlarge"), CATALOGUE, Provisioner.KARPENTER))
    assert [one.message for one in found] == [f"g5.xlarge is sold by aws, {A10} by azure"]
    unknown = choosing(A100, instance_type="Standard_none")
    assert list(policy_rules(unknown, CATALOGUE, Provisioner.KARPENTER)) == []


def test_where_users_bring_nodes_nothing_is_bought() -> None:
    found = list(policy_rules(choosing(A100, "spot"), CATALOGUE, Provisioner.BYO))
    assert [one.field for one in found] == [
        "metadata.annotations[kaito.sh/fallback-instance-types]",
        "metadata.annotations[kaito.sh/capacity-type]",
    ]
    assert list(policy_rules(workspace(), CATALOGUE, Provisioner.BYO)) == []


# --- what is asked for next ---


def with_choice(*fallbacks: str, **more: Any) -> Machine:
    """A machine that was ordered and may be of other types."""
    spec = machine_spec(fallbacks=tuple((name, 1) for name in fallbacks), **more.pop("spec", {}))
    attempt = Attempt(**({"instance_type": A10, "started_at_s": NOW_S} | more))
    return machine(spec, attempt=attempt)


def sold_out(zone: str = "") -> CapacityUnavailable:
    others = [other for other in ZONES if other != zone] if zone else []
    return CapacityUnavailable(f"sold out {zone}", zone=zone, other_zones=others)


def test_offers_go_through_the_types_in_one_way_to_buy_then_in_the_next() -> None:
    spec = machine_spec(fallbacks=((A100, 2),), capacity_types=SPOT_FIRST)
    assert [(str(one), one.gpus) for one in spec.offers] == [
        (f"{A10} (spot)", 1),
        (f"{A100} (spot)", 2),
        (A10, 1),
        (A100, 2),
    ]


def test_an_offer_that_is_no_more_among_them_is_still_what_was_ordered() -> None:
    found = with_choice(instance_type=V100, capacity_type=CapacityType.SPOT)
    assert found.offer == Offer(instance_type=V100, gpus=1, capacity_type=CapacityType.SPOT)
    after = next_attempt(found, sold_out(), now_s=NOW_S)
    assert (after.attempt.instance_type, after.pause_s) == ("", 30.0), "from the beginning"


@pytest.mark.parametrize("error", [sold_out(), QuotaExceeded("quota")])
def test_the_next_type_at_once(error: PortError) -> None:
    after = next_attempt(with_choice(A100), error, now_s=NOW_S)
    assert after.attempt == Attempt(number=1, instance_type=A100, hops=1)
    assert (after.pause_s, after.hop) == (0.0, A100)


def test_from_the_last_type_back_to_the_first_after_a_pause() -> None:
    tried = with_choice(A100, number=1, instance_type=A100, hops=1)
    after = next_attempt(tried, sold_out(), now_s=NOW_S)
    assert after.attempt == Attempt(number=2, not_before_s=NOW_S + 30.0, hops=1)
    assert after.hop == ""


def test_a_record_that_somebody_has_edited_is_gone_on_with() -> None:
    edited = with_choice(number=0, instance_type=A10, hops=5)
    after = next_attempt(edited, None, now_s=NOW_S)
    assert (after.attempt.number, after.pause_s) == (1, 30.0)


def test_another_zone_before_another_type() -> None:
    found = with_choice(A100)
    after = next_attempt(found, sold_out("eastus-2"), now_s=NOW_S)
    assert after.attempt == Attempt(
        number=1,
        instance_type=A10,
        asked_zone="eastus-1",
        refused_zones=("eastus-2",),
        hops=1,
    )
    assert (after.pause_s, after.hop) == (0.0, f"{A10} in zone eastus-1")
    found = replace(found, attempt=after.attempt)
    after = next_attempt(found, sold_out("eastus-1"), now_s=NOW_S)
    assert after.attempt.asked_zone == "eastus-3"
    found = replace(found, attempt=after.attempt)
    after = next_attempt(found, sold_out("eastus-3"), now_s=NOW_S)
    assert (after.attempt.instance_type, after.attempt.asked_zone) == (A100, "")
    assert after.attempt.refused_zones == (), "the next type has stock of its own"


@pytest.mark.parametrize("error", [MachineLimitReached("full"), Rejected("no"), None])
def test_what_another_type_cannot_cure(error: PortError | None) -> None:
    after = next_attempt(with_choice(A100), error, now_s=NOW_S)
    assert (after.attempt, after.hop) == (Attempt(number=1, not_before_s=NOW_S + 30.0), "")


def test_a_machine_that_has_worked_is_replaced_without_a_long_pause() -> None:
    found = ready_machine(attempt=Attempt(number=9, instance_type=A10, started_at_s=NOW_S))
    after = next_attempt(found, None, now_s=NOW_S)
    assert (after.pause_s, after.attempt.number, after.attempt.hops) == (30.0, 10, 9)


@settings(deadline=None)
@given(st.lists(st.sampled_from([sold_out(), *map(sold_out, ZONES), QuotaExceeded("q"), None])))
def test_every_offer_is_asked_for_and_pauses_are_bounded(errors: list[PortError | None]) -> None:
    """Between two pauses no offer is asked for twice in one zone."""
    found = with_choice(A100, V100)
    asked = {(found.offer, "")}
    for error in errors:
        after = next_attempt(found, error, now_s=NOW_S)
        assert after.attempt.number == found.attempt.number + 1
        assert 0.0 <= after.pause_s <= LONGEST_RETRY_S
        assert bool(after.hop) == (after.pause_s == 0.0)
        found = replace(found, attempt=after.attempt)
        if after.pause_s:
            asked.clear()
        where = (found.offer, found.attempt.asked_zone)
        assert where not in asked
        asked.add(where)


def test_offers_are_tried_anew_after_a_machine_has_worked() -> None:
    """What was refused before it worked makes no pause longer afterwards."""
    spec = machine_spec(fallbacks=((A100, 1),))
    attempt = Attempt(number=9, instance_type=A10, started_at_s=NOW_S, hops=2)
    after = next_attempt(ready_machine(spec, attempt=attempt), sold_out(), now_s=NOW_S)
    assert (after.attempt.number, after.attempt.hops) == (10, 10)
    tried = with_choice(A100, number=10, hops=10, instance_type=A100)
    assert next_attempt(tried, sold_out(), now_s=NOW_S).pause_s == 30.0


def test_another_zone_where_the_cloud_does_not_say_which_was_sold_out() -> None:
    error = CapacityUnavailable("sold out", other_zones=["eastus-2", "eastus-3"])
    after = next_attempt(with_choice(A100), error, now_s=NOW_S)
    assert (after.attempt.asked_zone, after.attempt.refused_zones) == ("eastus-2", ())
    tried = replace(with_choice(A100), attempt=after.attempt)
    assert next_attempt(tried, error, now_s=NOW_S).attempt.asked_zone == "eastus-3"


# --- the machine's plan ---


class Market:
    """A cloud that says no each time: at the order, or once it has tried. It knows which offers it
    was asked for between two pauses, and never sells two machines at once."""

    def __init__(self, found: Machine) -> None:
        self.machine = found
        self.pool: CloudMachine | None = None
        self.now_s = NOW_S
        self.asked: list[tuple[Offer, str]] = []
        self.pauses: list[float] = []

    def refuse(self, answer: str) -> None:
        """Until the next order has been made, and answered so."""
        orders = len(self.asked)
        for _ in range(60):
            if len(self.asked) > orders and self.pool is None:
                return
            self._round(answer)
        raise AssertionError("no order came")

    def _round(self, answer: str) -> None:
        cloud = () if self.pool is None else (self.pool,)
        view = MachineView(machine=self.machine, cloud=cloud, node=None, owner_exists=True)
        planned = plan_machine(view, limits=LIMITS, now_s=self.now_s)
        for step in planned.steps:
            if isinstance(step, WriteMachine):
                self._write(step)
            elif isinstance(step, Terminate) and self.pool and self.pool.name == step.cloud_name:
                self.pool = None
            elif isinstance(step, Launch):
                planned = self._order(step.order, answer)
        assert planned.requeue_after_s is not None
        self.now_s += planned.requeue_after_s

    def _write(self, step: WriteMachine) -> None:
        pause_s = step.attempt.not_before_s - self.now_s
        if step.attempt.number != self.machine.attempt.number:
            self.pauses.append(max(pause_s, 0.0))
        self.machine = replace(self.machine, attempt=step.attempt, conditions=step.conditions)

    def _order(self, order: MachineOrder, answer: str) -> MachinePlan:
        assert self.pool is None, "a slot never has two machines"
        gpus = self.machine.offer.gpus
        offer = Offer(
            instance_type=order.instance_type, gpus=gpus, capacity_type=order.capacity_type
        )
        self.asked.append((offer, order.zone))
        zone = order.zone or ZONES[0]
        others = tuple(other for other in ZONES if other != zone) if "zone" in answer else ()
        if answer.startswith("late"):
            shortage = Shortage.QUOTA if "quota" in answer else Shortage.CAPACITY
            self.pool = cloud_machine(
                self.machine,
                name=order.name,
                zone=zone,
                state=CloudState.FAILED,
                shortage=shortage,
                other_zones=others,
            )
            return MachinePlan(requeue_after_s=1.0)
        error: PortError = CapacityUnavailable("sold out", zone=zone, other_zones=others)
        if "quota" in answer:
            error = QuotaExceeded("0 cores")
        refused = launch_failed(self.machine, error, now_s=self.now_s)
        for step in refused.steps:
            if isinstance(step, WriteMachine):
                self._write(step)
        return refused


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["quota", "sold out", "zone", "late quota", "late sold out", "late zone"]),
        min_size=1,
        max_size=24,
    )
)
def test_refused_at_once_or_late_the_offers_are_walked_in_order(answers: list[str]) -> None:
    spec = machine_spec(fallbacks=((A100, 2), (V100, 1)), capacity_types=SPOT_FIRST)
    market = Market(machine(spec))
    wanted = []  # each offer, then its other zones while the zone alone is to blame
    at, tried = 0, {ZONES[0]}
    zone = ""
    for answer in answers:
        market.refuse(answer)
        wanted.append((spec.offers[at], zone))
        left = [other for other in ZONES if other not in tried]
        if "zone" in answer and left:
            zone = left[0]
            tried.add(zone)
        else:
            at, zone, tried = (at + 1) % len(spec.offers), "", {ZONES[0]}
    assert market.asked == wanted
    rounds = sum(pause_s > 0 for pause_s in market.pauses)
    assert [round(pause_s) for pause_s in market.pauses if pause_s] == [
        round(retry_pause_s(number)) for number in range(1, rounds + 1)
    ]
    assert max(market.pauses) <= LONGEST_RETRY_S


@pytest.mark.parametrize(
    ("shortage", "reason"),
    [(Shortage.QUOTA, "QuotaExceeded"), (Shortage.CAPACITY, "InsufficientCapacity")],
)
def test_a_machine_that_fails_for_a_shortage_is_as_good_as_refused(
    shortage: Shortage, reason: str
) -> None:
    found = with_choice(A100)
    failed = cloud_machine(found, state=CloudState.FAILED, error="0 of 36 cores", shortage=shortage)
    view = MachineView(machine=found, cloud=(failed,), node=None, owner_exists=True)
    planned = plan_machine(view, limits=LIMITS, now_s=NOW_S)
    note, hop, record, terminate = planned.steps
    assert note == Note(type="Warning", reason=reason, message="0 of 36 cores")
    assert hop == Note(type="Normal", reason="NextOffer", message=f"asking for {A100}")
    assert isinstance(record, WriteMachine)
    assert record.conditions[0].reason == reason
    assert record.attempt.not_before_s == 0.0
    assert terminate == Terminate(cloud_name=found.cloud_name, reason=reason)
    assert planned.requeue_after_s == RECHECK_S, "it must be gone before the next is ordered"


def test_the_offer_and_the_zone_are_recorded_before_the_order() -> None:
    found = with_choice(
        A100,
        number=1,
        instance_type=A100,
        asked_zone="eastus-3",
        started_at_s=None,
        spec={"capacity_types": (CapacityType.SPOT,)},
        capacity_type=CapacityType.SPOT,
    )
    view = MachineView(machine=found, cloud=(), node=None, owner_exists=True)
    record, _, launch = plan_machine(view, limits=LIMITS, now_s=NOW_S).steps
    assert isinstance(record, WriteMachine)
    assert isinstance(launch, Launch)
    assert (record.attempt.instance_type, record.attempt.asked_zone) == (A100, "eastus-3")
    assert record.attempt.capacity_type is CapacityType.SPOT
    order = launch.order
    assert (order.instance_type, order.zone, order.capacity_type) == (
        A100,
        "eastus-3",
        CapacityType.SPOT,
    )


def test_the_next_offer_is_told() -> None:
    planned = launch_failed(with_choice(A100), sold_out(), now_s=NOW_S)
    refused, hop, record = planned.steps
    assert refused == Note(type="Warning", reason="InsufficientCapacity", message="sold out ")
    assert hop == Note(type="Normal", reason="NextOffer", message=f"asking for {A100}")
    assert isinstance(record, WriteMachine)
    assert record.conditions[0].message == f"sold out ; attempt 2 asks for {A100}"
    assert planned.requeue_after_s == 0.0


def test_the_limit_of_machines_is_a_reason_of_its_own() -> None:
    planned = launch_failed(with_choice(A100), MachineLimitReached("100 pools"), now_s=NOW_S)
    note = planned.steps[0]
    assert isinstance(note, Note)
    assert note.reason == "MachineLimitReached"


def test_an_eviction_is_told_and_the_machine_given_back() -> None:
    found = ready_machine(machine_spec(capacity_types=(CapacityType.SPOT,)))
    current = cloud_machine(found, evicted=True)
    view = MachineView(machine=found, cloud=(current,), node=None, owner_exists=True)
    note = plan_machine(view, limits=LIMITS, now_s=NOW_S).steps[0]
    assert isinstance(note, Note)
    assert note.reason == "SpotEvicted"


@pytest.mark.parametrize(("asked", "granted", "goes"), [("2", "1", True), ("2", "2", False)])
def test_a_new_wish_to_retry_is_granted_once(asked: str, granted: str, goes: bool) -> None:
    found = with_choice(
        number=1, started_at_s=None, not_before_s=NOW_S + 200, retry=granted, spec={"retry": asked}
    )
    view = MachineView(machine=found, cloud=(), node=None, owner_exists=True)
    planned = plan_machine(view, limits=LIMITS, now_s=NOW_S)
    assert any(isinstance(step, Launch) for step in planned.steps) == goes
    if goes:
        record = planned.steps[0]
        assert isinstance(record, WriteMachine)
        assert record.attempt.retry == asked


# --- the Workspace's plan ---


def test_machines_are_made_with_the_choice() -> None:
    found = choosing(A100, "spot-then-on-demand")
    decided = wanted(found)
    assert decided.policy is not None
    (spec,) = machine_specs(seen(found), decided.sizing, decided.policy)
    assert (spec.instance_type, spec.fallbacks) == (A10, ((A100, 1),))
    assert spec.capacity_types == SPOT_FIRST
    second = machine_specs(seen(found), replace(decided.sizing, nodes=2), decided.policy)[1]
    assert second.fallbacks == (), "one more machine is of the type of the first"


def planned_with(found: Workspace, kept: Machine, **more: Any) -> list[object]:
    decided = decide(found, CATALOGUE, None, bought=bought_type([kept], A10))
    assert isinstance(decided, Wanted)
    around = cluster([kept])
    live = replace(MISSING, **more)
    plan = plan_workspace(seen(found), around, decided, live, now_s=NOW_S)
    return list(plan.steps)


def test_a_machine_that_was_not_launched_yet_is_made_again_with_another_choice() -> None:
    steps = planned_with(choosing(A100), machine())
    assert [type(step) for step in steps if not isinstance(step, Note)][1:] == [DeleteMachine]
    launched = ready_machine(bought_type=A10)
    steps = planned_with(choosing(A100), launched)
    assert not any(isinstance(step, DeleteMachine | CreateMachine) for step in steps)


def test_the_workload_is_sized_for_what_was_bought() -> None:
    spec = machine_spec(fallbacks=((A100, 1),))
    bought = ready_machine(spec, bought_type=A100)
    steps = planned_with(choosing(A100), bought)
    (applied,) = [step for step in steps if isinstance(step, ApplyWorkload)]
    sized = size(workspace(), CATALOGUE, here=CATALOGUE.instance_type(A100))
    assert sized.fit.kv_cache_tokens > size(workspace(), CATALOGUE).fit.kv_cache_tokens
    assert applied.workload.gpus == 1
    (told,) = [one for one in steps if isinstance(one, Note) and one.reason == "FallbackUsed"]
    assert told.message.startswith(f"{A10} was not to be had: phi-3-mini-4k-instruct runs on 1 x ")


def test_what_runs_is_not_rewritten_while_it_is_not_known_for_which_machine() -> None:
    waiting = machine(machine_spec(fallbacks=((A100, 1),)))
    different = {"state": WorkloadState.DIFFERENT, "differences": ("spec",)}
    steps = planned_with(choosing(A100), waiting, **different)
    assert not any(isinstance(step, ApplyWorkload) for step in steps)
    steps = planned_with(choosing(), machine(), **different)
    assert any(isinstance(step, ApplyWorkload) for step in steps)


def test_bought_type_is_that_of_the_first_slot() -> None:
    going = ready_machine(bought_type=A100, deleting=True)
    spare = ready_machine(machine_spec(1), bought_type=T4)
    other = ready_machine(machine_spec(instance_type=V100), bought_type=V100)
    kept = ready_machine(bought_type=A100)
    assert bought_type([], A10) == ""
    assert bought_type([machine()], A10) == ""
    assert bought_type([going, spare, other, kept], A10) == A100
    assert bought_type([going, spare, other], A10) == "", "another type is wanted by now"


def test_what_was_bought_stays_when_it_is_no_longer_a_fallback() -> None:
    bought = ready_machine(machine_spec(fallbacks=((A100, 1),)), bought_type=A100)
    for found in (choosing(), choosing(TWO_A10)):
        decided = decide(found, CATALOGUE, None, bought=bought_type([bought], A10))
        assert isinstance(decided, Wanted)
        assert decided.sizing.instance_type.name == A100
        assert not decided.provisional
    unknown = decide(choosing(), CATALOGUE, None, bought="Standard_of_the_past")
    assert isinstance(unknown, Wanted)
    assert unknown.sizing.instance_type.name == A10
    large = choosing(instance_type=A100, inference={"preset": {"name": "phi-4"}})
    refused = decide(large, CATALOGUE, None, bought=V100)
    assert isinstance(refused, Refusal)
    assert refused.reason == "ModelDoesNotFit"


@pytest.mark.parametrize(
    "parts",
    [
        {"inference": {"template": {"spec": {"nodeSelector": {labels.INSTANCE_TYPE: A10}}}}},
        {"inference": {"template": {"spec": {"affinity": AFFINITY}}}},
        {
            "resource": {
                "labelSelector": {
                    "matchLabels": {"apps": "phi"},
                    "matchExpressions": [
                        {"key": labels.INSTANCE_TYPE, "operator": "In", "values": [A10]}
                    ],
                }
            }
        },
    ],
    ids=["nodeSelector", "affinity", "matchExpressions"],
)
def test_fallbacks_beside_a_selected_instance_type(parts: dict[str, Any]) -> None:
    template = parts.get("inference", {}).get("template")
    if template is not None:
        template["spec"]["containers"] = [{"name": "server", "image": "registry.test/server:1"}]
    (text,) = problems(choosing(A100, **parts))
    assert "is of no use: node.kubernetes.io/instance-type is selected" in text


def test_fallbacks_beside_what_cannot_be_read() -> None:
    for template in ({}, {"spec": {"containers": 1}}):
        found = choosing(A100, inference={"template": template})
        assert not any("of no use" in text for text in problems(found))


def test_a_lost_fallback_starts_no_surge() -> None:
    found = workspace(annotations={labels.FALLBACK_INSTANCE_TYPES: A100, labels.ROLLOUT: "surge"})
    waiting = machine(machine_spec(fallbacks=((A100, 1),)))
    rolls = {
        "state": WorkloadState.DIFFERENT,
        "differences": ("spec.template",),
        "rolls": True,
        "content_differs": True,
        "replicas": 1,
        "ready_replicas": 1,
    }
    steps = planned_with(found, waiting, **rolls)
    assert not any(isinstance(step, CreateMachine) for step in steps)


def test_a_wish_to_retry_is_handed_on_to_the_machines() -> None:
    found = workspace(annotations={labels.RETRY: "now"})
    waiting = machine()
    steps = planned_with(found, waiting)
    hand_on = RetryMachine(claim_name=waiting.claim_name, uid=waiting.uid, wish="now")
    assert hand_on in steps
    told = machine(machine_spec(retry="now"))
    assert not any(isinstance(step, RetryMachine) for step in planned_with(found, told))
