"""The contract of `MachineCloud` on the twin's cloud, in virtual time."""

import itertools
from collections.abc import Mapping

import pytest
import simpy

from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.cloud_faults import FaultyMachineCloud
from kaito.adapters.fake.cloud_limits import CloudLimits
from kaito.adapters.fake.faults import FailAfter, FailBefore, Fault, StaleBy
from kaito.adapters.fake.latencies import load_latencies
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import default_directory, load_catalogue
from kaito.adapters.kube_api import NODE, labels_of
from kaito.domain.errors import CapacityUnavailable, QuotaExceeded, Unavailable
from sim.clockwork import EPOCH_S, Slot, VirtualClock
from tests.contract.machine_cloud_contract import CloudWorld, MachineCloudContract, Refusal

UID = "11111111-2222-4333-8444-555555555555"


class NoRecorder:
    """A `Recorder` that forgets."""

    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        return

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        return


@pytest.fixture(params=[False, True], ids=["at-once", "late"])
def world(request: pytest.FixtureRequest) -> CloudWorld:
    """With `late`, stock-outs show only after the order."""
    env = simpy.Environment(initial_time=EPOCH_S)
    clock = VirtualClock(env)
    numbers = itertools.count(1)
    store = ObjectStore(now_s=clock.now_s, new_uid=lambda: f"uid-{next(numbers)}")
    slot = Slot(env)
    cloud = FakeGpuCloud(
        api=store,
        catalogue=load_catalogue(),
        latencies=load_latencies(default_directory() / "latencies.yaml"),
        streams=Streams(0),
        region="eastus",
        now_s=clock.now_s,
        wake=slot.wake,
        recorder=NoRecorder(),
        limits=CloudLimits(late_shortages=request.param),
    )
    slot.attach(cloud.step)

    def refuse(reason: Refusal) -> None:
        sold_out = CapacityUnavailable("sold out")
        cloud.refuse([sold_out if reason == "capacity" else QuotaExceeded("no quota left")])

    def node_labels() -> Mapping[str, Mapping[str, str]]:
        return {node["spec"]["providerID"]: labels_of(node) for node in store.list(NODE).items}

    return CloudWorld(
        cloud=cloud,
        uid=UID,
        instance_type="Standard_NC24ads_A100_v4",
        settle=env.run,
        now_s=clock.now_s,
        billed=lambda: [life.order.name for life in cloud.lives if life.released_at_s is None],
        node_labels=node_labels,
        refuse=refuse,
        add_foreign=None,
    )


class TestFakeGpuCloud(MachineCloudContract):
    """All of it."""


class TestThroughFaults:
    """What `FaultyMachineCloud` makes of a cloud: the port's own errors, and lists that lag."""

    def test_a_lost_request_buys_nothing_and_a_lost_answer_something(
        self, world: CloudWorld
    ) -> None:
        faults: list[Fault | None] = [FailBefore(), FailAfter(), None]
        cloud = FaultyMachineCloud(
            world.cloud, now_s=world.now_s, choose=lambda _verb: faults.pop(0), remembers=False
        )
        with pytest.raises(Unavailable):
            cloud.launch(world.order())
        assert world.billed() == []
        with pytest.raises(Unavailable):
            cloud.launch(world.order())
        assert world.billed() == [world.order().name]
        cloud.launch(world.order())
        assert world.billed() == [world.order().name]

    def test_a_lost_release(self, world: CloudWorld) -> None:
        faults: list[Fault | None] = [None, FailBefore(), FailAfter(), FailAfter()]
        cloud = FaultyMachineCloud(
            world.cloud, now_s=world.now_s, choose=lambda _verb: faults.pop(0), remembers=False
        )
        cloud.launch(world.order())
        with pytest.raises(Unavailable):
            cloud.terminate(world.order().name)
        world.settle()
        assert world.billed() == [world.order().name]
        with pytest.raises(Unavailable):
            cloud.terminate(world.order().name)
        world.settle()
        assert world.billed() == []
        with pytest.raises(Unavailable):
            cloud.list_machines()

    def test_an_old_list_is_one_that_there_was(self, world: CloudWorld) -> None:
        lag_s = 0.0
        cloud = FaultyMachineCloud(
            world.cloud,
            now_s=world.now_s,
            choose=lambda _verb: StaleBy(lag_s) if lag_s else None,
            remembers=True,
        )
        assert cloud.list_machines() == []
        cloud.launch(world.order())
        world.settle()
        (found,) = cloud.list_machines()
        lag_s = 1.0
        assert list(cloud.list_machines()) == []
        assert list(cloud.list_machines(found.claim_name)) == []
        lag_s = 0.0
        cloud.terminate(found.name)
        world.settle()
        assert cloud.list_machines() == []
        lag_s = 1.0
        assert list(cloud.list_machines()) == [found]
        assert list(cloud.list_machines(found.claim_name)) == [found]
        assert list(cloud.list_machines("no-such-claim")) == []
