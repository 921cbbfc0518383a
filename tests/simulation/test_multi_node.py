"""A model that is spread over machines: ready as one, restarted as one, resized, and gone."""

from collections.abc import Callable
from typing import Any

import pytest

from kaito.adapters.fake.faults import FailAfter, Fault
from kaito.adapters.kube_api import (
    EVENT,
    NODE_CLAIM,
    POD,
    SERVICE,
    WORKSPACE,
    is_true,
    labels_of,
    name_of,
)
from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.machine import CloudState
from sim.loading import load
from sim.manifests import Key
from sim.result import RunResult
from sim.scenario import Apply, Patch, Scenario
from sim.world import World
from tests.simulation.checked_run import SCENARIOS, deletion, run_checked, with_steps
from tests.simulation.test_crash_everywhere import Deaths, end_of

SEEDS = range(5)
SEED = 3
NAME = "workspace-llama-70b"
LEADER, WORKER = f"{NAME}-0", f"{NAME}-1"
SERVING_S = 2400.0  # by then it has become READY, whatever the seed
DELETE_AT_S = 3000.0
PARTS = 4
# The leader's probe finds a part missing after three looks, each ten seconds after the other.
NOTICED_S = 45.0


def spread(config: dict[str, Any] | None = None, instance_type: str = "") -> Scenario:
    """The 70 B scenario without its expectations, with other settings or on other machines."""
    loaded = load([str(SCENARIOS / "multi_node_70b.yaml")])
    steps = []
    for step in loaded.steps:
        assert isinstance(step, Apply)
        manifest = dict(step.manifest)
        if manifest["kind"] == "Workspace" and config is not None:
            manifest["inference"] = {**manifest["inference"], "config": "settings"}
            manifest["resource"] = {**manifest["resource"], "instanceType": instance_type}
            key = Key(kind="ConfigMap", namespace="default", name="settings")
            steps.append(Apply(at_s=0.0, manifest=config, source="test", key=key))
        steps.append(Apply(at_s=0.0, manifest=manifest, source=step.source, key=step.key))
    return Scenario(files=loaded.files, steps=tuple(steps))


def settings(context: int) -> dict[str, Any]:
    """The ConfigMap that asks for that many tokens."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": "default", "name": "settings"},
        "data": {"inference_config.yaml": f"vllm:\n  max-model-len: {context}\n"},
    }


def at(world: World, after_s: float, act: Callable[[], None]) -> None:
    """Do something at that time of the run."""
    timeout = world.env.timeout(after_s)
    timeout.callbacks.append(lambda _event: act())


def is_ready(world: World) -> bool:
    (workspace,) = world.objects(WORKSPACE)
    return is_true(workspace, st.INFERENCE_READY) and is_true(workspace, st.SUCCEEDED)


def ready_pods(world: World) -> list[str]:
    return [name_of(pod) for pod in world.objects(POD) if is_true(pod, "Ready")]


def restarts(world: World) -> dict[str, int]:
    return {
        name_of(pod): pod["status"]["containerStatuses"][0]["restartCount"]
        for pod in world.objects(POD)
    }


def delete_pod(world: World, name: str) -> None:
    world.store.delete(POD, name, "default")


def notes(world: World, reason: str) -> list[str]:
    return [event["message"] for event in world.objects(EVENT) if event["reason"] == reason]


@pytest.mark.parametrize("seed", SEEDS)
def test_two_machines_serve_one_model(seed: int) -> None:
    result, world = run_checked(spread(), seed=seed)
    (workspace,) = result.workspaces
    assert workspace.ready
    assert len(result.machines) == 2
    (found,) = world.objects(WORKSPACE)
    assert found["status"]["targetNodeCount"] == 2
    assert len(found["status"]["workerNodes"]) == 2
    assert len({pod["spec"]["nodeName"] for pod in world.objects(POD)}) == 2
    assert ready_pods(world) == [LEADER, WORKER]
    assert restarts(world) == {LEADER: 0, WORKER: 0}, "nobody gave up waiting"
    service = next(one for one in world.objects(SERVICE) if name_of(one) == NAME)
    leader, worker = world.objects(POD)
    assert service["spec"]["selector"].items() <= labels_of(leader).items()
    assert not service["spec"]["selector"].items() <= labels_of(worker).items()


def test_nothing_is_ready_before_all_of_it_is() -> None:
    """The phases say so: the leader's server starts once the other has joined."""
    seen: list[tuple[int, bool]] = []

    def prepare(world: World) -> None:
        def look() -> None:
            seen.append((len(ready_pods(world)), is_ready(world)))
            at(world, 5.0, look)

        at(world, 5.0, look)

    run_checked(
        Scenario(files=(), steps=spread().steps, until_s=SERVING_S), seed=SEED, prepare=prepare
    )
    assert (2, True) in seen
    assert all(pods == 2 for pods, ready in seen if ready)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lost", [LEADER, WORKER])
def test_a_machine_that_is_lost_is_replaced_and_the_group_starts_again(
    seed: int, lost: str
) -> None:
    told: list[bool] = []

    def prepare(world: World) -> None:
        def lose() -> None:
            node = next(
                pod["spec"]["nodeName"] for pod in world.objects(POD) if name_of(pod) == lost
            )
            (life,) = [one for one in world.running_machines() if one.node_name == node]
            world.cloud.terminate(life.order.name)

        at(world, SERVING_S, lose)
        at(world, SERVING_S + 400.0, lambda: told.append(is_ready(world)))

    scenario = Scenario(files=(), steps=spread().steps, until_s=2 * SERVING_S)
    result, world = run_checked(scenario, seed=seed, prepare=prepare)
    assert told == [False], "half of a model serves nothing"
    assert is_ready(world)
    assert ready_pods(world) == [LEADER, WORKER]
    assert len(result.machines) == 3
    states = [life.state for life in world.running_machines()]
    assert states == [CloudState.RUNNING] * 2
    survivor = WORKER if lost == LEADER else LEADER
    assert restarts(world)[survivor] >= 1, "what is left of the old group lets go of it"


@pytest.mark.parametrize("dies", [LEADER, WORKER])
def test_a_pod_that_goes_takes_the_others_along(dies: str) -> None:
    noticed: list[bool] = []

    def prepare(world: World) -> None:
        at(world, SERVING_S, lambda: delete_pod(world, dies))
        at(world, SERVING_S + NOTICED_S, lambda: noticed.append(is_ready(world)))

    scenario = Scenario(files=(), steps=spread().steps, until_s=SERVING_S + 1500.0)
    result, world = run_checked(scenario, seed=SEED, prepare=prepare)
    assert noticed == [False]
    assert is_ready(world)
    assert len(result.machines) == 2, "no machine is to blame"
    survivor = WORKER if dies == LEADER else LEADER
    assert restarts(world)[survivor] >= 1
    assert notes(world, "InferenceReadyLost") != []


def test_a_longer_context_gets_a_third_machine_before_the_group_stops() -> None:
    scenario = resized()
    before: list[tuple[int, int]] = []

    def prepare(world: World) -> None:
        def look() -> None:
            ordered = len(world.objects(NODE_CLAIM))
            before.append((ordered, len(ready_pods(world))))

        at(world, SERVING_S - 1.0, look)
        at(world, SERVING_S + 120.0, look)

    result, world = run_checked(scenario, seed=SEED, prepare=prepare)
    assert before == [(2, 2), (3, 2)], "what serves goes on until the machine is there"
    assert [one.ready for one in result.workspaces] == [True]
    assert len(ready_pods(world)) == len(world.running_machines()) == 3
    (note,) = notes(world, "WorkloadUpdated")
    assert note.startswith("nothing is served until all pods have loaded the model again")


def test_a_shorter_context_gives_a_machine_back() -> None:
    shorter = Patch(
        at_s=SERVING_S,
        key=Key(kind="ConfigMap", namespace="default", name="settings"),
        merge=settings(8192) | {"metadata": {}},
        source="test",
    )
    scenario = with_steps(spread(settings(131072), "Standard_NC40ads_H100_v5"), [shorter])
    result, world = run_checked(scenario, seed=SEED)
    assert [one.ready for one in result.workspaces] == [True]
    assert len(ready_pods(world)) == len(world.running_machines()) == 2
    assert len(result.machines) == 3
    assert max(restarts(world).values()) == 0, "no pod landed on the machine that goes"
    assert {labels_of(claim)[labels.SLOT] for claim in world.objects(NODE_CLAIM)} == {"0", "1"}


def resized() -> Scenario:
    """Serves on two machines, then on three."""
    key = Key(kind="ConfigMap", namespace="default", name="settings")
    merge = settings(131072) | {"metadata": {}}
    longer = Patch(at_s=SERVING_S, key=key, merge=merge, source="test")
    return with_steps(spread(settings(8192), "Standard_NC40ads_H100_v5"), [longer])


# --- the operator dies ---


def play(deaths: Deaths, *, delete: bool) -> tuple[RunResult, World]:
    scenario = spread()
    if delete:
        scenario = with_steps(scenario, [deletion(scenario, DELETE_AT_S)])
    return run_checked(scenario, seed=SEED, prepare=deaths.install)


def writes_of(*, delete: bool) -> int:
    deaths = Deaths(at_write=0)
    play(deaths, delete=delete)
    return deaths.writes


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
@pytest.mark.parametrize("part", range(PARTS))
def test_it_dies_until_ready(part: int, fault: Fault | None) -> None:
    _, usual = play(Deaths(at_write=0), delete=False)
    for at_write in range(1 + part, writes_of(delete=False) + 1, PARTS):
        result, world = play(Deaths(at_write, fault), delete=False)
        assert [one.ready for one in result.workspaces] == [True], f"write {at_write}"
        assert end_of(world) == end_of(usual), f"write {at_write}"
        assert len(result.machines) == 2, f"write {at_write}"


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
def test_it_dies_through_delete(fault: Fault | None) -> None:
    first, last = writes_of(delete=False), writes_of(delete=True)
    assert last > first
    for at_write in range(first + 1, last + 1):
        result, world = play(Deaths(at_write, fault), delete=True)
        assert world.running_machines() == [], f"write {at_write}"
        assert all(left == [] for left in end_of(world).values()), f"write {at_write}"
        assert [one.deleted_at_s is not None for one in result.workspaces] == [True]
        assert len(result.machines) == 2, f"write {at_write}"


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
def test_it_dies_while_the_group_grows(fault: Fault | None) -> None:
    until_resized = Deaths(at_write=0)
    scenario = spread(settings(8192), "Standard_NC40ads_H100_v5")
    run_checked(scenario, seed=SEED, prepare=until_resized.install)
    through = Deaths(at_write=0)
    _, usual = run_checked(resized(), seed=SEED, prepare=through.install)
    assert through.writes > until_resized.writes
    for at_write in range(until_resized.writes + 1, through.writes + 1):
        deaths = Deaths(at_write, fault)
        result, world = run_checked(resized(), seed=SEED, prepare=deaths.install)
        assert [one.ready for one in result.workspaces] == [True], f"write {at_write}"
        assert len(ready_pods(world)) == 3, f"write {at_write}"
        assert end_of(world) == end_of(usual), f"write {at_write}"
        assert len(result.machines) == 3, f"write {at_write}"
