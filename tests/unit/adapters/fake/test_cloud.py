"""A cloud whose stock-outs show late, that is stopped, and whose machines change."""

from collections.abc import Mapping
from typing import Any

import pytest

from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.cloud_limits import CloudLimits
from kaito.adapters.fake.latencies import load_latencies
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import default_directory, load_catalogue
from kaito.adapters.kube_api import NODE, labels_of
from kaito.domain.errors import CapacityUnavailable
from kaito.domain.machine import CloudMachine, CloudState, MachineOrder, Owner, Shortage, Taint
from tests.unit.adapters.fake.cluster import Loop

SIZE = "Standard_NC24ads_A100_v4"
OWNER = Owner(uid="u-1", namespace="default", name="phi")


class NoRecorder:
    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        return

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        return


class Late:
    """A cloud with late stock-outs; `stock` is by zone."""

    def __init__(self, stock: Mapping[int, int] | None = None) -> None:
        self.loop = Loop()
        self.store = ObjectStore(now_s=lambda: self.loop.now_s, new_uid=lambda: "uid")
        self.cloud = FakeGpuCloud(
            api=self.store,
            catalogue=load_catalogue(),
            latencies=load_latencies(default_directory() / "latencies.yaml"),
            streams=Streams(0),
            region="eastus",
            now_s=lambda: self.loop.now_s,
            wake=self.loop.waker(),
            recorder=NoRecorder(),
            limits=CloudLimits(
                late_shortages=True,
                stock={(SIZE.lower(), zone): left for zone, left in (stock or {}).items()},
                quota_vcpus={"NCads_A100_v4": 24},
            ),
        )
        self.loop.add(self.cloud.step)

    def launch(self, name: str = "ws1", zone: str = "") -> None:
        self.cloud.launch(
            MachineOrder(
                name=name,
                claim_name=name,
                owner=OWNER,
                instance_type=SIZE,
                disk_bytes=0,
                labels={"apps": "phi"},
                zone=zone,
            )
        )

    def machine(self) -> CloudMachine:
        (found,) = self.cloud.list_machines()
        return found

    def nodes(self) -> list[Mapping[str, Any]]:
        return list(self.store.list(NODE).items)


def test_a_zone_without_stock_fails_the_machine_and_names_others() -> None:
    late = Late({1: 0})
    late.launch(zone="eastus-1")
    late.loop.run(60)
    found = late.machine()
    assert (found.state, found.shortage) == (CloudState.FAILED, Shortage.CAPACITY)
    assert found.other_zones == ("eastus-2", "eastus-3")
    assert late.cloud.lives[0].cost_usd("eastus", late.loop.now_s) == 0.0


def test_one_that_may_be_anywhere_is_where_there_is_stock() -> None:
    late = Late({1: 0, 2: 0, 3: 1})
    late.launch()
    late.loop.run(60)
    assert (late.machine().zone, late.machine().shortage) == ("eastus-3", None)
    late.cloud.terminate("ws1")
    late.loop.run(600)
    late.launch("ws2")  # what was given back is there again
    late.loop.run(60)
    assert late.machine().zone == "eastus-3"


def test_one_that_is_nowhere_names_no_zone() -> None:
    late = Late({1: 0, 2: 0, 3: 0})
    late.launch()
    late.loop.run(60)
    found = late.machine()
    assert (found.shortage, found.other_zones) == (Shortage.CAPACITY, ())
    late.cloud.terminate("ws1")  # gives no stock back that was never taken
    late.loop.run(600)
    late.launch("ws2")
    late.loop.run(60)
    assert late.machine().state is CloudState.FAILED


def test_a_failed_machine_can_be_tried_again() -> None:
    late = Late({1: 0})
    late.launch(zone="eastus-1")
    late.loop.run(60)
    late.cloud.change_limits(CloudLimits(stock={(SIZE.lower(), 1): 1}), {"stock"})
    late.cloud.try_again("ws1")
    late.loop.run(1200)
    found = late.machine()
    assert (found.state, found.shortage, found.error) == (CloudState.RUNNING, None, "")


def test_a_restricted_zone_refuses_at_once() -> None:
    late = Late()
    barred = frozenset({(SIZE.lower(), 1)})
    late.cloud.change_limits(CloudLimits(restricted=barred), {"restricted"})
    with pytest.raises(CapacityUnavailable) as caught:
        late.launch(zone="eastus-1")
    assert caught.value.zone == "eastus-1"
    assert caught.value.other_zones == ("eastus-2", "eastus-3")


def test_a_stopped_machine_has_no_node_and_gets_one_after_the_start() -> None:
    late = Late()
    late.launch()
    late.loop.run(1200)
    assert len(late.nodes()) == 1
    late.cloud.stop()
    late.cloud.stop()
    late.loop.run(3600)
    assert late.nodes() == []
    assert [one.state for one in late.cloud.list_machines()] == [CloudState.STOPPED]
    late.cloud.evict_spot(1.0)
    late.cloud.start()
    assert [one.state for one in late.cloud.list_machines()] == [CloudState.RUNNING]
    late.loop.run(1200)
    (node,) = late.nodes()
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "1"
    late.cloud.stop()
    late.cloud.terminate("ws1")
    assert [one.state for one in late.cloud.list_machines()] == [CloudState.DELETING]
    late.loop.run(600)
    late.cloud.start()
    late.loop.run(1200)
    assert late.nodes() == []
    assert not late.cloud.live


def test_labels_and_taints_change_on_the_node() -> None:
    late = Late()
    late.launch()
    late.cloud.relabel("ws1", {"before": "it-was"}, ())
    late.loop.run(1200)
    (node,) = late.nodes()
    assert labels_of(node)["before"] == "it-was"
    assert "apps" not in labels_of(node)
    assert node["spec"].get("taints") in (None, [])
    late.cloud.relabel("ws1", {"after": "1"}, [Taint(key="a", value="", effect="NoExecute")])
    late.loop.run(1)
    (node,) = late.nodes()
    assert "before" not in labels_of(node)
    assert labels_of(node)["after"] == "1"
    assert [taint["key"] for taint in node["spec"]["taints"]] == ["a"]
