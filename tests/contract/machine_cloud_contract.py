"""The contract of `MachineCloud`: every statement of its docstrings, for every implementation."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import pytest

from kaito.domain import labels, names
from kaito.domain.errors import CapacityUnavailable, PortError, QuotaExceeded, Rejected, Unavailable
from kaito.domain.machine import CloudMachine, CloudState, MachineOrder, Owner
from kaito.domain.ports import MachineCloud

Refusal: TypeAlias = Literal["capacity", "quota"]


class Settle(Protocol):
    def __call__(self) -> None:
        """Wait until the cloud has done all that it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWorld:
    """One test's cloud. All but `cloud` goes round the code under test.

    `uid` is a Workspace's that nobody else has; `instance_type` is one that the cloud sells, for
    which `refuse` makes the next order fail. `billed` names the machines that cost money now,
    `node_labels` maps the provider id of each Node to the labels it came with, and `add_foreign`
    buys a machine that is not kaito's, and names it.
    """

    cloud: MachineCloud
    uid: str
    instance_type: str
    settle: Settle
    now_s: Callable[[], float]
    billed: Callable[[], list[str]]
    node_labels: Callable[[], Mapping[str, Mapping[str, str]]]
    refuse: Callable[[Refusal], None] | None
    add_foreign: Callable[[], str] | None

    def order(self, slot: int = 0, attempt: int = 0, instance_type: str = "") -> MachineOrder:
        owner = Owner(uid=self.uid, namespace="default", name="phi")
        return MachineOrder(
            name=names.machine_name(self.uid, slot, attempt),
            claim_name=names.machine_name(self.uid, slot, 0),
            owner=owner,
            instance_type=instance_type or self.instance_type,
            disk_bytes=128 * 1024**3,
            labels={"apps": "phi", labels.WORKSPACE_UID: self.uid, labels.SLOT: str(slot)},
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
        ("reason", "error"), [("capacity", CapacityUnavailable), ("quota", QuotaExceeded)]
    )
    def test_a_refused_order_buys_nothing(
        self, world: CloudWorld, reason: Refusal, error: type[PortError]
    ) -> None:
        if world.refuse is None:
            pytest.skip("this cloud cannot be made to refuse")
        world.refuse(reason)
        with pytest.raises(error):
            world.cloud.launch(world.order())
        world.settle()
        assert world.billed() == []
        world.cloud.launch(world.order(attempt=1))
        world.settle()
        assert world.billed() == [world.order(attempt=1).name]


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


class MachineCloudContract(LaunchContract, RefusalContract, TerminateContract, ListContract):
    """Has no Test prefix: runs only through its subclasses, which give a `world` fixture."""
