"""The page's view of a world that runs: the recorder's phases, the operator's own decision."""

from typing import Any

import pytest

from kaito.adapters.fake.http.page_state import page_state
from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import CONFIG_MAP, WORKSPACE
from sim.event_log import EventLog
from sim.scenario import World as WorldSettings
from sim.world import World

HALF_AN_HOUR_S = 1800.0


@pytest.fixture
def world() -> World:
    return World(seed=0, catalogue=load_catalogue(), settings=WorldSettings(), log=EventLog(None))


def _apply(world: World, **inference: Any) -> None:
    world.store.create(
        WORKSPACE,
        {
            "metadata": {"name": "one", "namespace": "default"},
            "resource": {
                "instanceType": "Standard_NV36ads_A10_v5",
                "labelSelector": {"matchLabels": {"apps": "a"}},
            },
            "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}, **inference},
        },
    )


def _state(world: World) -> dict[str, Any]:
    return page_state(world.page_sources(60.0, ()))


def test_workspace_becomes_ready_on_the_page(world: World) -> None:
    world.operator.start()
    _apply(world)
    assert _state(world)["workspaces"][0]["phases"] == []
    world.env.run(until=world.env.now + HALF_AN_HOUR_S)
    state = _state(world)
    (shown,), (machine,) = state["workspaces"], state["machines"]
    assert shown["outcome"] == "ready"
    assert world.epoch_s <= shown["created_at_s"] < shown["ready_at_s"] < state["now_s"]
    assert {one["name"] for one in shown["phases"]} >= {"node provision", "weights load"}
    assert all(one["start_s"] >= shown["created_at_s"] for one in shown["phases"])
    assert (machine["state"], machine["memory"]["in_use"]) == ("Ready", True)
    assert state["totals"]["usd"] == pytest.approx(sum(world.costs_usd().values()), abs=1e-5)
    assert {"FitDecided", "WorkspaceSucceeded"} <= {one["reason"] for one in state["events"]}


def test_memory_follows_the_config_that_the_operator_reads(world: World) -> None:
    config = {"inference_config.yaml": "vllm: {max-model-len: 1024}"}
    metadata = {"name": "short", "namespace": "default"}
    world.store.create(CONFIG_MAP, {"metadata": metadata, "data": config})
    world.operator.start()
    _apply(world, config="short")
    world.env.run(until=world.env.now + 60)
    parts = _state(world)["machines"][0]["memory"]["parts"]
    details = {part["kind"]: part["detail"] for part in parts}
    assert details["kv_cache"] == "one sequence of 1,024 tokens"
