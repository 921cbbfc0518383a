"""Launch, terminate and list on the real SDK, over a transport that answers from memory."""

import json
import logging
import threading
from typing import Any

import pytest
import requests

from kaito import __version__
from kaito.adapters.azure.settings import ArmLimits, Rate
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from kaito.domain.machine import CloudState
from tests.unit.adapters.azure.arm_stub import (
    CLIENT,
    POOLS,
    SUBSCRIPTION,
    TENANT,
    TOKEN,
    Answer,
    World,
    error,
    make_world,
    node,
    order,
    spot,
)

TOO_MANY = {"code": "TooManyRequests", "message": "slow down"}


@pytest.fixture
def world() -> World:
    return make_world()


def put_of(world: World) -> requests.PreparedRequest:
    (put,) = [one for one in world.arm.requests if one.method == "PUT"]
    return put


def test_an_order_is_one_put_that_never_updates(world: World) -> None:
    world.cloud.launch(order())
    put = put_of(world)
    assert put.headers["If-None-Match"] == "*"
    assert put.headers["User-Agent"] == f"kaito/{__version__}"
    assert put.headers["Authorization"] == f"Bearer {TOKEN}"
    assert str(put.url).startswith(f"https://management.azure.com{POOLS}/ws0123456ab?api-version=")
    assert json.loads(put.body or "")["properties"]["vmSize"] == "Standard_NC24ads_A100_v4"
    assert set(world.arm.timeouts) == {(5.0, 20.0)}
    assert world.cloud.calls == {"list": 1, "put": 1}


def test_what_was_ordered_is_listed_without_another_call(world: World) -> None:
    world.cloud.launch(order())
    (machine,) = world.cloud.list_machines()
    assert (machine.name, machine.claim_name) == ("ws0123456ab", "wsclaim")
    assert (machine.owner_uid, machine.state) == ("uid-1", CloudState.CREATING)
    assert machine.created_at_s == world.time.now
    assert machine.provider_id == ""
    assert world.cloud.calls == {"list": 1, "put": 1}


def test_an_order_goes_where_the_pools_are_that_there_are(world: World) -> None:
    world.arm.add("system", mode="System", vnetSubnetID="/subnets/nodes")
    world.cloud.launch(order())
    assert world.arm.pools["ws0123456ab"]["properties"]["vnetSubnetID"] == "/subnets/nodes"


def test_a_node_tells_where_the_machine_is(world: World) -> None:
    world.cloud.launch(order())
    world.nodes["ws0123456ab"] = node("ws0123456ab", zone="eastus-3")
    (machine,) = world.cloud.list_machines()
    assert machine.provider_id.endswith("aks-ws0123456ab-12345678-vmss/virtualMachines/0")
    assert machine.zone == "eastus-3"


def test_an_order_of_what_is_there_changes_nothing(world: World) -> None:
    world.cloud.launch(order())
    before = dict(world.arm.pools)
    world.cloud.launch(order(instance_type="Standard_NC48ads_A100_v4"))
    assert world.arm.pools == before


def test_an_order_of_what_is_being_deleted_waits(world: World) -> None:
    world.cloud.launch(order())
    world.cloud.terminate("ws0123456ab")
    with pytest.raises(Unavailable, match="still being deleted") as caught:
        world.cloud.launch(order())
    assert caught.value.retry_after_s == 60.0


def test_a_lost_answer_is_repeated_by_the_caller(world: World) -> None:
    world.cloud.list_machines()
    world.arm.answers = [requests.exceptions.ReadTimeout("took long")]
    with pytest.raises(Unavailable, match="no answer"):
        world.cloud.launch(order())
    assert world.arm.methods.count("PUT") == 1
    world.cloud.launch(order())
    assert list(world.arm.pools) == ["ws0123456ab"]


def test_an_answer_that_cannot_be_read(world: World) -> None:
    world.cloud.list_machines()
    world.arm.answers = [Answer(201, "<html>", {"Content-Type": "text/html"})]
    with pytest.raises(Unavailable, match="cannot be read"):
        world.cloud.launch(order())
    world.time.now += 20
    world.arm.answers = [Answer(200, "{")]
    with pytest.raises(Unavailable):
        world.cloud.list_machines()


REFUSALS: list[tuple[int, dict[str, Any], type[PortError]]] = [
    (409, error("SkuNotAvailable", "not here"), CapacityUnavailable),
    (
        400,
        {"code": "ErrCode_InsufficientVCPUQuota", "details": None, "message": "", "subcode": ""},
        QuotaExceeded,
    ),
    (
        409,
        error("OperationNotAllowed", "exceeding approved NCADS Family Cores quota"),
        QuotaExceeded,
    ),
    (400, error("MaxAgentPoolCountReached"), MachineLimitReached),
    (403, error("AuthorizationFailed", "the client has no right"), Rejected),
    (400, error("VMSizeNotSupported", "no such size"), Rejected),
    (404, error("ResourceNotFound", "managedClusters/cluster' was not found"), Rejected),
    (404, None, Rejected),  # type: ignore[list-item]
    (
        409,
        error("OperationNotAllowed", "Another agentpool operation (x - Creating) is in progress"),
        Unavailable,
    ),
    (500, None, Unavailable),  # type: ignore[list-item]
    (503, error("SomethingNew"), Unavailable),
]


@pytest.mark.parametrize(("status", "body", "expected"), REFUSALS)
def test_a_refused_order(
    world: World, status: int, body: dict[str, Any], expected: type[PortError]
) -> None:
    world.cloud.list_machines()
    world.arm.answers = [Answer(status, body)]
    with pytest.raises(expected, match="agent pool ws0123456ab") as caught:
        world.cloud.launch(order())
    assert type(caught.value) is expected
    assert world.names() == []


def test_another_zone_is_named_after_a_zone_was_sold_out() -> None:
    world = make_world(zones=("1", "2", "3"))
    world.cloud.list_machines()
    world.arm.answers = [Answer(409, error("ZonalAllocationFailed", "none in this zone"))]
    with pytest.raises(CapacityUnavailable) as caught:
        world.cloud.launch(order(zone="eastus-2"))
    assert caught.value.zone == "eastus-2"
    assert caught.value.other_zones == ("eastus-1", "eastus-3")


def test_an_unmapped_code_is_told_and_repeated_later() -> None:
    seen: list[str] = []
    world = make_world(on_unmapped=lambda code, _: seen.append(code))
    world.cloud.list_machines()
    world.arm.answers = [Answer(400, error("NeverHeardOf", "what?"))]
    with pytest.raises(Unavailable, match="NeverHeardOf: what") as caught:
        world.cloud.launch(order())
    assert seen == ["NeverHeardOf"]
    assert caught.value.retry_after_s == 60.0


def test_the_cluster_takes_no_more(world: World) -> None:
    for number in range(100):
        world.arm.add(f"pool{number}")
    with pytest.raises(MachineLimitReached, match="100 agent pools"):
        world.cloud.launch(order())
    assert "PUT" not in world.arm.methods
    world.arm.pools["ws0123456ab"] = world.arm.pools.pop("pool7")
    world.arm.pools["ws0123456ab"]["name"] = "ws0123456ab"
    world.time.now += 20
    world.cloud.launch(order())  # it is one of them


def test_giving_back(world: World) -> None:
    world.cloud.launch(order())
    world.arm.set_state("ws0123456ab", "Succeeded")
    world.cloud.terminate("ws0123456ab")
    assert "ignore-pod-disruption-budget=true" in str(world.arm.requests[-1].url)
    (machine,) = world.cloud.list_machines()
    assert machine.state is CloudState.DELETING
    del world.arm.pools["ws0123456ab"]
    world.time.now += 20
    assert world.names() == []
    world.cloud.terminate("ws0123456ab")
    world.cloud.terminate("wsunknown")


def test_disruption_budgets_may_hold_a_machine() -> None:
    world = make_world(ignore_disruption_budgets=False)
    world.cloud.launch(order())
    world.cloud.terminate("ws0123456ab")
    assert "ignore-pod-disruption-budget" not in str(world.arm.requests[-1].url)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (
            409,
            error("OperationNotAllowed", "there's an in progress create node pool operation"),
            Unavailable,
        ),
        (404, error("ParentResourceNotFound", "no such cluster"), Rejected),
        (403, error("AuthorizationFailed"), Rejected),
    ],
)
def test_what_is_not_given_back(
    world: World, status: int, body: dict[str, Any], expected: type[PortError]
) -> None:
    world.cloud.launch(order())
    world.arm.answers = [Answer(status, body)]
    with pytest.raises(expected, match="is not deleted"):
        world.cloud.terminate("ws0123456ab")
    assert world.cloud.list_machines()[0].state is CloudState.CREATING


def test_pools_of_others_are_neither_listed_nor_deleted(world: World) -> None:
    world.arm.add("system", mode="System")
    world.arm.add("theirs", nodeLabels={"kaito.sh/workspace": "not-of-kaito"})
    world.arm.add("ours", tags={"kaito.sh_workspace-uid": "u", "kaito.sh_nodeclaim": "c"})
    assert world.names() == ["ours"]
    for name in ("system", "theirs"):
        with pytest.raises(Rejected, match=f"{name} has neither tags nor labels of kaito"):
            world.cloud.terminate(name)
    assert world.arm.methods == ["GET"]


def test_pools_of_kaito_v0_12_are_listed(world: World) -> None:
    found = {
        "karpenter.sh/nodepool": "kaito",
        "kaito.sh/creation-timestamp": "2025-12-31T23-00-00Z",
    }
    world.arm.add("wsold", nodeLabels={**found, "kaito.sh/workspace": "phi"})
    world.arm.add("wsrag", nodeLabels={**found, "kaito.sh/ragengine": "rag"})
    old, rag = world.cloud.list_machines()
    assert (old.name, old.claim_name, old.owner_uid) == ("wsold", "wsold", "")
    assert rag.claim_name == "wsrag"
    assert old.created_at_s == world.time.now - 3600.0


def test_a_hundred_pools_in_pages_of_twenty(world: World) -> None:
    for number in range(100):
        tags = {"kaito.sh_workspace-uid": "u", "kaito.sh_nodeclaim": f"c{number % 2}"}
        world.arm.add(f"ws{number:02}", tags=tags)
    world.arm.page_size = 20
    assert world.names() == [f"ws{number:02}" for number in range(100)]
    assert world.cloud.calls == {"list": 5}
    assert len(world.cloud.list_machines("c1")) == 50
    assert world.cloud.calls == {"list": 5}


def test_a_list_is_kept_for_a_while(world: World) -> None:
    world.names()
    world.arm.add("ours", tags={"kaito.sh_workspace-uid": "u", "kaito.sh_nodeclaim": "c"})
    world.time.now += 9.9
    assert world.names() == []
    world.time.now += 0.2
    assert world.names() == ["ours"]


def test_after_429_nothing_is_sent_before_its_time(world: World) -> None:
    world.arm.answers = [Answer(429, TOO_MANY, {"Retry-After": "30"})]
    with pytest.raises(Unavailable) as caught:
        world.cloud.list_machines()
    assert caught.value.retry_after_s == 30.0
    for call in (
        world.cloud.list_machines,
        lambda: world.cloud.terminate("ws1"),
        lambda: world.cloud.launch(order()),
    ):
        with pytest.raises(Unavailable, match="takes no") as refused:
            call()
        assert refused.value.retry_after_s == 30.0
    assert len(world.arm.requests) == 1
    world.time.now += 30.0
    assert world.names() == []


def test_a_throttled_put_holds_up_that_pool_only(world: World) -> None:
    world.cloud.list_machines()
    world.arm.answers = [Answer(429, error("Throttled"), {"Retry-After": "120"})]
    with pytest.raises(Unavailable):
        world.cloud.launch(order())
    world.cloud.launch(order("wsother"))
    with pytest.raises(Unavailable, match="takes no orders of this machine"):
        world.cloud.launch(order())


def test_a_throttled_subscription_holds_up_everything(world: World) -> None:
    world.cloud.list_machines()
    world.arm.answers = [Answer(429, error("SubscriptionRequestsThrottled"))]
    with pytest.raises(Unavailable):
        world.cloud.launch(order())
    with pytest.raises(Unavailable) as refused:
        world.cloud.launch(order("wsother"))
    assert refused.value.retry_after_s == 60.0, "Azure did not say how long"


def test_the_buckets_are_aks_s() -> None:
    tight = ArmLimits(put=Rate(burst=2, per_s=1 / 60), other=Rate(burst=1, per_s=0.1))
    world = make_world(limits=tight, list_age_s=300)
    world.names()
    with pytest.raises(Unavailable, match="too many calls") as caught:
        world.cloud.terminate("wsx")
    assert caught.value.retry_after_s == pytest.approx(10.0)
    for _ in range(2):
        world.cloud.launch(order())
    with pytest.raises(Unavailable) as caught:
        world.cloud.launch(order())
    assert caught.value.retry_after_s == pytest.approx(60.0)


def test_many_who_ask_at_once_share_one_list(world: World) -> None:
    answer, entered, go = world.arm._answer, threading.Event(), threading.Event()

    def slow(request: requests.PreparedRequest) -> Answer:
        entered.set()
        go.wait(5)
        return answer(request)

    world.arm._answer = slow  # type: ignore[method-assign]
    threads = [threading.Thread(target=world.cloud.list_machines) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert entered.wait(5)
    go.set()
    for thread in threads:
        thread.join(5)
    assert len(world.arm.requests) == 1


def test_a_spot_machine_that_is_gone_was_evicted(world: World) -> None:
    world.cloud.launch(spot())
    world.arm.set_state("ws0123456ab", "Succeeded")
    world.nodes["ws0123456ab"] = node("ws0123456ab")
    assert not world.cloud.list_machines()[0].evicted
    del world.nodes["ws0123456ab"]
    world.time.now += 20
    assert not world.cloud.list_machines()[0].evicted, "a list may lag"
    world.time.now += 61
    assert world.cloud.list_machines()[0].evicted
    world.nodes["ws0123456ab"] = node("ws0123456ab")
    assert not world.cloud.list_machines()[0].evicted


@pytest.mark.parametrize("state", ["Creating", "Updating"])
def test_a_spot_machine_that_starts_was_not(world: World, state: str) -> None:
    world.cloud.launch(spot())
    for _ in range(3):
        world.arm.set_state("ws0123456ab", state)
        world.time.now += 600
        assert not world.cloud.list_machines()[0].evicted


def test_no_id_and_no_token_is_told_or_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world = make_world(tenant_id=TENANT, client_id=CLIENT)
    told = []
    said = f"client {CLIENT} of {TENANT} in /subscriptions/{SUBSCRIPTION.upper()} with {TOKEN}"
    for status in (400, 403, 404, 409, 429, 500):
        world.arm.answers = [
            Answer(status, error("BadRequest", said, [{"code": "Conflict", "message": said}]))
        ]
        world.time.now += 2000
        with pytest.raises(PortError) as caught:
            world.cloud.list_machines()
        assert caught.value.__suppress_context__
        told.append(str(caught.value))
    world.arm.answers = [requests.exceptions.ConnectionError(f"https://x{POOLS} {TOKEN}")]
    world.time.now += 2000
    with pytest.raises(Unavailable) as caught:
        world.cloud.list_machines()
    told += [str(caught.value), caplog.text]
    for canary in (SUBSCRIPTION, TENANT, CLIENT, TOKEN, "c2VjcmV0LWNhbmFyeQ"):
        assert not [text for text in told if canary.lower() in text.lower()]


def test_eighty_machines_in_flight_share_their_lists(world: World) -> None:
    """Twelve calls a machine, from the order until it is ready, are what is allowed."""
    wanted = [order(f"ws{number:03}", claim_name=f"c{number}") for number in range(80)]
    for each in wanted:
        assert not world.cloud.list_machines(each.claim_name)
        world.cloud.launch(each)
    for _ in range(15 * 60 // 15):  # everybody looks every 15 s, for 15 min
        for each in wanted:
            assert len(world.cloud.list_machines(each.claim_name)) == 1
        world.time.now += 15.0
    assert sum(world.cloud.calls.values()) / len(wanted) < 2.0
