"""The contract of `MachineCloud` on the twin's cloud, in virtual time."""

import itertools
from collections.abc import Mapping
from typing import Any, Final

import pytest
import simpy

from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.cloud_faults import CloudVerb, FaultyMachineCloud
from kaito.adapters.fake.cloud_limits import CloudLimits
from kaito.adapters.fake.faults import FailAfter, FailBefore, Fault, StaleBy
from kaito.adapters.fake.latencies import load_latencies
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import default_directory, load_catalogue
from kaito.adapters.kube_api import NODE, labels_of
from kaito.domain.errors import (
    CapacityUnavailable,
    MachineLimitReached,
    PortError,
    QuotaExceeded,
    Rejected,
    Unavailable,
)
from kaito.domain.machine import Shortage
from sim.clockwork import EPOCH_S, Slot, VirtualClock
from tests.contract.machine_cloud_contract import (
    THROTTLED_S,
    CloudWorld,
    Lost,
    MachineCloudContract,
    Refusal,
    Verb,
)

SIZE: Final = "Standard_NC24ads_A100_v4"
UID: Final = "11111111-2222-4333-8444-555555555555"


class NoRecorder:
    """A `Recorder` that forgets."""

    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        return

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        return


class BehindFake:
    """`Behind`, for a cloud that is called directly."""

    def __init__(self, cloud: FakeGpuCloud) -> None:
        self.cloud = cloud
        self._lost: dict[CloudVerb, Fault] = {}

    def choose(self, verb: CloudVerb) -> Fault | None:
        return self._lost.pop(verb, None)

    def refuse(self, reason: Refusal) -> None:
        errors: Mapping[Refusal, PortError] = {
            "capacity": CapacityUnavailable("sold out"),
            "quota": QuotaExceeded("no quota left"),
            "limit": MachineLimitReached("no more machines"),
            "rejected": Rejected("not this one"),
            "throttled": Unavailable("too many calls", retry_after_s=THROTTLED_S),
        }
        self.cloud.refuse([errors[reason]])

    def lose(self, verb: Verb, what: Lost) -> None:
        called: Mapping[Verb, CloudVerb] = {
            "launch": "launch",
            "terminate": "terminate",
            "list": "list_machines",
        }
        self._lost[called[verb]] = FailBefore() if what == "request" else FailAfter()

    def fail_later(self, shortage: Shortage | None) -> None:
        self._change(**failing(shortage))

    def recover(self) -> None:
        self._change(create_failure_rate=0.0, stock={(SIZE.lower(), 1): 9})

    def limit(self, machines: int) -> None:
        self._change(machines=machines)

    def stop(self) -> None:
        self.cloud.stop()

    def start(self) -> None:
        self.cloud.start()

    def evict(self) -> None:
        self.cloud.evict_spot(1.0)

    def _change(self, **limits: Any) -> None:
        self.cloud.change_limits(CloudLimits(**limits), set(limits))


def failing(shortage: Shortage | None) -> dict[str, Any]:
    """The limits of a cloud that takes orders and cannot fill them: in one zone, or anywhere."""
    if shortage is None:
        return {"create_failure_rate": 1.0}
    return {
        "late_shortages": True,
        "stock": {(SIZE.lower(), zone): 0 if zone == 1 else 9 for zone in (1, 2, 3)},
    }


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
    behind = BehindFake(cloud)

    def node_labels() -> Mapping[str, Mapping[str, str]]:
        return {node["spec"]["providerID"]: labels_of(node) for node in store.list(NODE).items}

    def billed() -> list[str]:
        return [
            life.order.name
            for life in cloud.live.values()
            if life.shortage is None and life.stopped_at_s is None
        ]

    return CloudWorld(
        cloud=FaultyMachineCloud(cloud, now_s=clock.now_s, choose=behind.choose, remembers=False),
        uid=UID,
        instance_type=SIZE,
        settle=env.run,
        now_s=clock.now_s,
        billed=billed,
        node_labels=node_labels,
        behind=behind,
        pass_by=lambda seconds: env.run(until=env.now + seconds),
        add_foreign=None,
    )


class TestFakeGpuCloud(MachineCloudContract):
    """All of it."""


class TestThroughFaults:
    """What `FaultyMachineCloud` makes of a cloud besides what its contract plays."""

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
