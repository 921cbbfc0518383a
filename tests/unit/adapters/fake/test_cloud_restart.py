"""A cloud that was away: Nodes it could not write, machines that it left running."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.latencies import load_latencies
from kaito.adapters.fake.machine_life import NodeNames
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import default_directory, load_catalogue
from kaito.adapters.kube_api import NODE, KubeObject, Resource, ServerUnavailable, thaw
from kaito.domain import labels
from kaito.domain.machine import CloudState, MachineOrder, Owner
from tests.unit.adapters.fake.cluster import Loop

UID = "11111111-2222-4333-8444-555555555555"
OWNER = Owner(uid=UID, namespace="default", name="phi-3")
ORDER = MachineOrder(
    name="ws1a2b3c4d",
    claim_name="ws1a2b3c4d",
    owner=OWNER,
    instance_type="Standard_NC6s_v3",
    disk_bytes=0,
    labels={
        labels.WORKSPACE: OWNER.name,
        labels.WORKSPACE_NAMESPACE: OWNER.namespace,
        labels.WORKSPACE_UID: UID,
    },
)


class NoRecorder:
    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        return

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        return


class Shaky(ObjectStore):
    away = False

    def create(self, resource: Resource, body: KubeObject) -> Any:
        if self.away:
            raise ServerUnavailable("away")
        return super().create(resource, body)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def api(loop: Loop) -> Shaky:
    uids = count(1)
    return Shaky(now_s=lambda: loop.now_s, new_uid=lambda: f"uid-{next(uids)}")


@pytest.fixture
def start(api: Shaky) -> Callable[[Loop], FakeGpuCloud]:
    """A cloud that remembers nothing."""

    def begin(loop: Loop) -> FakeGpuCloud:
        cloud = FakeGpuCloud(
            api=api,
            catalogue=load_catalogue(),
            latencies=load_latencies(default_directory() / "latencies.yaml"),
            streams=Streams(0),
            region="eastus",
            now_s=lambda: loop.now_s,
            wake=loop.waker(),
            recorder=NoRecorder(),
        )
        loop.add(cloud.step)
        return cloud

    return begin


def gpus(api: ObjectStore) -> list[str]:
    return [node["status"]["allocatable"].get("nvidia.com/gpu", "") for node in _nodes(api)]


def _nodes(api: ObjectStore) -> tuple[KubeObject, ...]:
    return api.list(NODE).items


def test_a_node_that_could_not_be_written_is_written_later(
    loop: Loop, api: Shaky, start: Callable[[Loop], FakeGpuCloud]
) -> None:
    cloud = start(loop)
    cloud.launch(ORDER)
    api.away = True
    loop.run(1200)
    assert not _nodes(api)
    assert [machine.state for machine in cloud.list_machines()] == [CloudState.RUNNING]
    api.away = False
    loop.run(2)
    (node,) = _nodes(api)
    assert cloud.has_node(node["metadata"]["name"])


def test_a_restarted_cloud_takes_up_its_machines(
    loop: Loop, api: Shaky, start: Callable[[Loop], FakeGpuCloud]
) -> None:
    before = start(loop)
    before.launch(ORDER)
    loop.run(1800)
    assert gpus(api) == ["1"]
    (machine,) = before.list_machines()

    after = start(loop)
    assert after.adopt(_nodes(api)) == ["aks-ws1a2b3c4d-vmss000000"]
    assert after.adopt(_nodes(api)) == [], "each once"
    assert list(after.list_machines()) == [machine]
    after.launch(ORDER)
    assert len(after.lives) == 1, "it has that machine"
    after.terminate(ORDER.name)
    loop.run(1800)
    assert not _nodes(api)
    assert not after.list_machines()


def test_a_restarted_cloud_knows_what_aks_called_its_machines(
    loop: Loop, api: Shaky, start: Callable[[Loop], FakeGpuCloud]
) -> None:
    before = start(loop)
    before.names = NodeNames(subscription="s-1", group="mc_a_b_eastus", number="01234567")
    before.launch(ORDER)
    loop.run(3600)
    (node,) = _nodes(api)
    assert node["metadata"]["name"] == "aks-ws1a2b3c4d-01234567-vmss000000"
    after = start(Loop())
    assert after.adopt([node]) == [node["metadata"]["name"]]
    (machine,) = after.list_machines()
    assert machine.provider_id == node["spec"]["providerID"]


def test_a_machine_without_gpus_gets_them_after_the_restart(
    loop: Loop, api: Shaky, start: Callable[[Loop], FakeGpuCloud]
) -> None:
    before = start(loop)
    before.launch(ORDER)
    while not _nodes(api):
        loop.run(1)
    assert gpus(api) == [""]
    later = Loop()  # the one before runs no more
    later.now_s = loop.now_s
    after = start(later)
    assert after.adopt(_nodes(api))
    later.run(1800)
    assert gpus(api) == ["1"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda node: node["metadata"].pop("annotations"),
        lambda node: node["metadata"]["labels"].update({labels.INSTANCE_TYPE: "Standard_Unknown"}),
        lambda node: node["metadata"]["labels"].pop(labels.WORKSPACE_UID),
        lambda node: node["metadata"].update({"name": "another"}),
        lambda node: node["metadata"]["annotations"].update({"twin.kaito.sh/ordered-at": "once"}),
    ],
)
def test_nodes_of_others_are_left_alone(
    loop: Loop,
    api: Shaky,
    start: Callable[[Loop], FakeGpuCloud],
    spoil: Callable[[dict[str, Any]], object],
) -> None:
    start(loop).launch(ORDER)
    loop.run(1800)
    node = thaw(_nodes(api)[0])
    spoil(node)
    after = start(loop)
    assert after.adopt([node]) == []
    assert not after.list_machines()
