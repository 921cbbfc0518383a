"""The contract of `MachineCloud`: every statement of its docstrings, for every implementation."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Literal, Protocol, TypeAlias

import pytest

from kaito.domain import labels, names
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from kaito.domain.machine import (
    CapacityType,
    CloudMachine,
    CloudState,
    MachineOrder,
    Owner,
    Shortage,
)
from kaito.domain.ports import MachineCloud

Refusal: TypeAlias = Literal["capacity", "quota", "limit", "rejected", "throttled"]
Verb: TypeAlias = Literal["launch", "terminate", "list"]
Lost: TypeAlias = Literal["request", "answer"]

MOST: Final = 100  # machines in one cluster
ZONE: Final = "eastus-1"
THROTTLED_S: Final = 30.0


class Behind(Protocol):
    """What happens behind the cloud's back."""

    def refuse(self, reason: Refusal) -> None:
        """Refuse the next order; a throttled one for `THROTTLED_S`."""

    def lose(self, verb: Verb, what: Lost) -> None:
        """Lose the next call of that kind, or only what it is answered."""

    def fail_later(self, shortage: Shortage | None) -> None:
        """Let every order from now on be taken, and then fail: for want of machines, in the zone
        that it asks for, or for another reason."""

    def recover(self) -> None:
        """Let no order fail any more."""

    def limit(self, machines: int) -> None:
        """Let the cluster have so many."""

    def stop(self) -> None:
        """Stop the cluster with all its machines."""

    def start(self) -> None:
        """Start it again."""

    def evict(self) -> None:
        """Take every spot machine back."""


class Settle(Protocol):
    def __call__(self) -> None:
        """Wait until the cloud has done all that it was asked for, and lists show it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWorld:
    """One test's cloud. All but `cloud` goes round the code under test.

    `uid` is a Workspace's that nobody else has; `instance_type` is one that the cloud sells in
    `ZONE` and elsewhere. `pass_by` lets so many seconds pass. `billed` names the machines that cost
    money now, `node_labels` maps the provider id of each Node to the labels it came with, and
    `add_foreign` buys a machine that is not kaito's, and names it.
    """

    cloud: MachineCloud
    uid: str
    instance_type: str
    settle: Settle
    now_s: Callable[[], float]
    billed: Callable[[], list[str]]
    node_labels: Callable[[], Mapping[str, Mapping[str, str]]]
    behind: Behind
    pass_by: Callable[[float], None]
    add_foreign: Callable[[], str] | None

    def order(
        self,
        slot: int = 0,
        attempt: int = 0,
        instance_type: str = "",
        zone: str = "",
        capacity_type: CapacityType = CapacityType.ON_DEMAND,
    ) -> MachineOrder:
        owner = Owner(uid=self.uid, namespace="default", name="phi")
        return MachineOrder(
            name=names.machine_name(self.uid, slot, attempt),
            claim_name=names.machine_name(self.uid, slot, 0),
            owner=owner,
            instance_type=instance_type or self.instance_type,
            disk_bytes=128 * 1024**3,
            labels={"apps": "phi", labels.WORKSPACE_UID: self.uid, labels.SLOT: str(slot)},
            zone=zone,
            capacity_type=capacity_type,
        )

    def listed(self) -> list[CloudMachine]:
        """The test's own machines, as the port lists them."""
        return [one for one in self.cloud.list_machines() if one.owner_uid == self.uid]

    def names(self) -> list[str]:
        return [one.name for one in self.listed()]


class LaunchContract:
    def test_what_is_ordered_is_listed(self, world: CloudWorld) -> None:
        before_s = world.now_s()
        order = world.order(slot=1, attempt=2)
        world.cloud.launch(order)
        world.settle()
        (found,) = world.listed()
        assert (found.name, found.claim_name) == (order.name, order.claim_name)
        assert found.owner_uid == world.uid
        assert found.instance_type == world.instance_type
        assert found.state is CloudState.RUNNING
        assert found.provider_id
        assert before_s - 1.0 <= found.created_at_s <= world.now_s() + 1.0
        assert world.billed() == [order.name]

    def test_its_node_has_the_labels(self, world: CloudWorld) -> None:
        order = world.order()
        world.cloud.launch(order)
        world.settle()
        (found,) = world.listed()
        assert order.labels.items() <= world.node_labels()[found.provider_id].items()

    def test_twice_with_one_name_buys_one(self, world: CloudWorld) -> None:
        """Before it shows, and long after."""
        for _ in range(2):
            world.cloud.launch(world.order())
        world.settle()
        world.cloud.launch(world.order())
        world.settle()
        assert world.names() == [world.order().name]
        assert world.billed() == [world.order().name]

    def test_other_names_buy_others(self, world: CloudWorld) -> None:
        orders = [world.order(), world.order(attempt=1), world.order(slot=1)]
        for order in orders:
            world.cloud.launch(order)
        world.settle()
        wanted = sorted(order.name for order in orders)
        assert world.names() == wanted, "in order of name"
        assert sorted(world.billed()) == wanted
        provider_ids = {one.provider_id for one in world.listed()}
        assert len(provider_ids) == 3

    def test_a_name_is_free_again_once_it_is_gone(self, world: CloudWorld) -> None:
        for _ in range(2):
            world.cloud.launch(world.order())
            world.settle()
            assert world.names() == [world.order().name]
            world.cloud.terminate(world.order().name)
            world.settle()
            assert world.names() == []

    def test_while_it_is_given_back_nothing_is_bought(self, world: CloudWorld) -> None:
        world.cloud.launch(world.order())
        world.settle()
        world.cloud.terminate(world.order().name)
        with suppress(Unavailable):  # some clouds rather say: not now
            world.cloud.launch(world.order())
        world.settle()
        assert world.billed() == []


class RefusalContract:
    def test_what_is_not_sold(self, world: CloudWorld) -> None:
        with pytest.raises(Rejected):
            world.cloud.launch(world.order(instance_type="Standard_NC0_nothing"))
        world.settle()
        assert world.names() == []
        assert world.billed() == []

    @pytest.mark.parametrize(
        ("reason", "error"),
        [
            ("capacity", CapacityUnavailable),
            ("quota", QuotaExceeded),
            ("limit", MachineLimitReached),
            ("rejected", Rejected),
        ],
    )
    def test_a_refused_order_buys_nothing(
        self, world: CloudWorld, reason: Refusal, error: type[PortError]
    ) -> None:
        world.behind.refuse(reason)
        with pytest.raises(error):
            world.cloud.launch(world.order())
        world.settle()
        assert world.billed() == []
        world.cloud.launch(world.order(attempt=1))
        world.settle()
        assert world.billed() == [world.order(attempt=1).name]

    def test_a_throttled_order_says_when_to_come_again(self, world: CloudWorld) -> None:
        world.behind.refuse("throttled")
        with pytest.raises(Unavailable) as caught:
            world.cloud.launch(world.order())
        assert caught.value.retry_after_s == THROTTLED_S
        world.pass_by(THROTTLED_S)
        world.cloud.launch(world.order())
        world.settle()
        assert world.billed() == [world.order().name]

    def test_one_more_than_the_cluster_takes(self, world: CloudWorld) -> None:
        world.behind.limit(MOST)
        for slot in range(MOST):
            world.cloud.launch(world.order(slot))
        world.settle()
        assert len(world.names()) == len(set(world.names())) == MOST
        with pytest.raises(MachineLimitReached):
            world.cloud.launch(world.order(MOST))
        assert len(world.billed()) == MOST
        world.cloud.terminate(world.order(0).name)
        world.settle()
        world.cloud.launch(world.order(MOST))
        world.settle()
        wanted = sorted(world.order(slot).name for slot in range(1, MOST + 1))
        assert world.names() == sorted(world.billed()) == wanted


class FailureContract:
    """Orders that are taken and fail half-way."""

    @pytest.mark.parametrize("shortage", [Shortage.CAPACITY, None])
    def test_it_is_listed_until_it_is_given_back(
        self, world: CloudWorld, shortage: Shortage | None
    ) -> None:
        world.behind.fail_later(shortage)
        world.cloud.launch(world.order(zone=ZONE))
        world.settle()
        (failed,) = world.listed()
        assert (failed.name, failed.state) == (world.order().name, CloudState.FAILED)
        assert failed.error
        assert failed.shortage is shortage
        assert (failed.zone, ZONE in failed.other_zones) == (ZONE, False)
        world.cloud.terminate(failed.name)
        world.settle()
        assert world.names() == world.billed() == []
        world.behind.recover()
        world.cloud.launch(world.order(attempt=1))
        world.settle()
        (found,) = world.listed()
        assert (found.state, found.error, found.shortage) == (CloudState.RUNNING, "", None)
        assert world.billed() == [world.order(attempt=1).name]

    def test_a_zone_that_has_none_leaves_the_others(self, world: CloudWorld) -> None:
        world.behind.fail_later(Shortage.CAPACITY)
        world.cloud.launch(world.order(zone=ZONE))
        world.settle()
        (failed,) = world.listed()
        assert failed.other_zones == ("eastus-2", "eastus-3")

    def test_the_same_order_does_not_hide_the_failure(self, world: CloudWorld) -> None:
        """A repeat is a no-op: the next attempt has another name."""
        world.behind.fail_later(None)
        world.cloud.launch(world.order())
        world.settle()
        world.behind.recover()
        world.cloud.launch(world.order())
        world.settle()
        (failed,) = world.listed()
        assert failed.state is CloudState.FAILED


class LossContract:
    """Requests and answers that do not arrive."""

    def test_an_order(self, world: CloudWorld) -> None:
        cases: list[tuple[Lost, list[str]]] = [("request", []), ("answer", [world.order().name])]
        for what, bought in cases:
            world.behind.lose("launch", what)
            with pytest.raises(Unavailable):
                world.cloud.launch(world.order())
            world.settle()
            assert world.billed() == bought
            assert world.names() == bought
        world.cloud.launch(world.order())
        world.settle()
        assert world.names() == world.billed() == [world.order().name]

    def test_a_release(self, world: CloudWorld) -> None:
        world.cloud.launch(world.order())
        world.settle()
        cases: list[tuple[Lost, list[str]]] = [("request", [world.order().name]), ("answer", [])]
        for what, left in cases:
            world.behind.lose("terminate", what)
            with pytest.raises(Unavailable):
                world.cloud.terminate(world.order().name)
            world.settle()
            assert world.names() == world.billed() == left
        world.cloud.terminate(world.order().name)
        assert world.names() == []

    @pytest.mark.parametrize("what", ["request", "answer"])
    def test_a_list(self, world: CloudWorld, what: Lost) -> None:
        world.cloud.launch(world.order())
        world.settle()
        world.behind.lose("list", what)
        with pytest.raises(Unavailable):
            world.cloud.list_machines()
        assert world.names() == [world.order().name]


class StopContract:
    """A cluster that somebody stops, and starts again."""

    def test_its_machines_are_stopped_and_come_back(self, world: CloudWorld) -> None:
        for slot in (0, 1):
            world.cloud.launch(world.order(slot))
        world.settle()
        kept = world.names()
        world.behind.stop()
        world.settle()
        assert [one.state for one in world.listed()] == [CloudState.STOPPED] * 2
        assert world.names() == kept
        assert world.billed() == []
        world.behind.start()
        world.settle()
        assert [one.state for one in world.listed()] == [CloudState.RUNNING] * 2
        assert all(one.provider_id for one in world.listed())
        assert sorted(world.billed()) == world.names() == kept

    def test_an_evicted_spot_machine(self, world: CloudWorld) -> None:
        order = world.order(capacity_type=CapacityType.SPOT)
        world.cloud.launch(order)
        world.settle()
        world.behind.evict()
        world.settle()
        world.names()  # some clouds tell it by a Node that stays away
        world.pass_by(120.0)
        assert [one.evicted for one in world.listed()] in ([], [True])
        assert world.billed() == []
        world.cloud.terminate(order.name)
        world.settle()
        assert world.names() == []


class TerminateContract:
    def test_it_is_gone_and_costs_nothing(self, world: CloudWorld) -> None:
        for slot in (0, 1):
            world.cloud.launch(world.order(slot))
        world.settle()
        gone, kept = world.order(0).name, world.order(1).name
        world.cloud.terminate(gone)
        assert [one.state for one in world.listed() if one.name == gone] in (
            [],
            [CloudState.DELETING],
            [CloudState.RUNNING],  # a list that lags
        )
        world.settle()
        assert world.names() == [kept]
        assert world.billed() == [kept]
        (node,) = [
            found
            for found in world.node_labels().values()
            if found.get(labels.WORKSPACE_UID) == world.uid
        ]
        assert node[labels.SLOT] == "1"

    def test_twice_is_success(self, world: CloudWorld) -> None:
        world.cloud.launch(world.order())
        world.settle()
        for _ in range(2):
            world.cloud.terminate(world.order().name)
        world.settle()
        world.cloud.terminate(world.order().name)
        assert world.billed() == []

    def test_an_order_that_does_not_show_yet(self, world: CloudWorld) -> None:
        """Repeated while the cloud says that it cannot do it now."""
        world.cloud.launch(world.order())
        try:
            world.cloud.terminate(world.order().name)
        except Unavailable:
            world.settle()
            world.cloud.terminate(world.order().name)
        world.settle()
        assert world.names() == []
        assert world.billed() == []

    def test_an_unknown_name_is_success(self, world: CloudWorld) -> None:
        world.cloud.launch(world.order())
        world.settle()
        world.cloud.terminate(world.order(slot=7).name)
        world.settle()
        assert world.billed() == [world.order().name]


class ListContract:
    def test_none(self, world: CloudWorld) -> None:
        assert world.names() == []

    def test_only_what_kaito_ordered(self, world: CloudWorld) -> None:
        if world.add_foreign is None:
            pytest.skip("this cloud sells to kaito only")
        foreign = world.add_foreign()
        world.cloud.launch(world.order())
        world.settle()
        listed = [one.name for one in world.cloud.list_machines()]
        assert foreign not in listed
        assert world.order().name in listed
        assert listed == sorted(listed)

    def test_of_one_record(self, world: CloudWorld) -> None:
        mine, other = world.order(), world.order(slot=7)
        for order in (mine, other):
            world.cloud.launch(order)
        world.settle()
        listed = world.cloud.list_machines(mine.claim_name)
        assert [one.name for one in listed] == [mine.name]
        assert listed == [one for one in world.cloud.list_machines() if one.name == mine.name]
        assert not world.cloud.list_machines("no-such-claim")


class MachineCloudContract(
    LaunchContract,
    RefusalContract,
    FailureContract,
    LossContract,
    StopContract,
    TerminateContract,
    ListContract,
):
    """Has no Test prefix: runs only through its subclasses, which give a `world` fixture."""
