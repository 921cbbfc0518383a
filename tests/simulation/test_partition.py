"""Models on shares of the GPUs of a Node that a user brings, in the twin."""

from typing import Any

from kaito.adapters.kube_api import NODE, POD, STATEFUL_SET, name_of
from tests.simulation.test_own_nodes import FOUR_T4, SOON_S, Play

PROFILE = "2g.20gb"
RESOURCE = f"nvidia.com/mig-{PROFILE}"
SLICED = {
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
    "nvidia.com/gpu.count": "1",
    f"{RESOURCE}.count": "3",
    f"{RESOURCE}.memory": "19968",
}


def requests(play: Play) -> dict[str, Any]:
    (pod,) = play.world.objects(POD)
    found: dict[str, Any] = pod["spec"]["containers"][0]["resources"]["requests"]
    return found


def test_a_model_on_one_slice_of_a_card() -> None:
    play = Play(partition={"mode": "mig", "profile": PROFILE})
    play.node("gpu-0", SLICED, allocatable=0)
    play.apply()
    play.run(30.0)
    reason, message = play.waits_for()
    assert reason == "NodesWithoutGpus"
    assert "of which 0 can be allocated" in message
    slices = {"status": {"allocatable": {RESOURCE: "3"}, "capacity": {RESOURCE: "3"}}}
    play.store.patch(NODE, "gpu-0", None, slices, subresource="status")
    play.run(SOON_S)
    assert play.serves_on() == ["gpu-0"]
    assert requests(play) == {RESOURCE: "1"}
    written, before = play.writes, play.uids()
    play.run(900.0)
    assert play.writes == written
    play.ready("gpu-0", yes=False)
    play.run(60.0)
    play.ready("gpu-0", yes=True)
    play.run(SOON_S)
    assert play.uids()[0] == before[0]


def test_a_model_on_some_of_the_gpus_of_a_node() -> None:
    play = Play(partition={"mode": "accelerator", "count": 2})
    play.node("gpu-0", FOUR_T4)
    play.apply()
    play.run(SOON_S)
    assert play.serves_on() == ["gpu-0"]
    assert requests(play) == {"nvidia.com/gpu": "2"}
    assert [name_of(one) for one in play.world.objects(STATEFUL_SET)] == ["phi"]
