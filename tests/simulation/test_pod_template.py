"""A pod template of the user's own, from apply through a change to delete, in the twin."""

from dataclasses import replace

import pytest

from kaito.adapters.kube_api import EVENT, NODE_CLAIM, POD, STATEFUL_SET, name_of
from sim.loading import load
from sim.scenario import Apply, Scenario, Step
from sim.world import World
from tests.simulation.checked_run import SCENARIOS, deletion, run_checked, with_steps
from tests.simulation.test_crash_everywhere import Deaths, end_of

SEED = 5
PARTS = 3


def scenario() -> Scenario:
    """The scenario of that name, on two machines, without its expectations."""
    loaded = load([str(SCENARIOS / "pod_template.yaml")])
    return Scenario(files=loaded.files, steps=tuple(map(on_two_machines, loaded.steps)))


def on_two_machines(step: Step) -> Step:
    if not isinstance(step, Apply):
        return step
    resource = {**step.manifest["resource"], "count": 2}
    return replace(step, manifest={**step.manifest, "resource": resource})


def images(world: World) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in world.objects(POD)}


def writes() -> int:
    deaths = Deaths(at_write=0)
    run_checked(scenario(), seed=SEED, prepare=deaths.install)
    return deaths.writes


@pytest.mark.parametrize("part", range(PARTS))
def test_the_operator_dies_at_any_write(part: int) -> None:
    _, usual = run_checked(scenario(), seed=SEED)
    for at_write in range(1 + part, writes() + 1, PARTS):
        deaths = Deaths(at_write)
        result, world = run_checked(scenario(), seed=SEED, prepare=deaths.install)
        assert [one.ready for one in result.workspaces] == [True], f"write {at_write}"
        assert images(world) == {"registry.example.com/my-server:2.0"}, f"write {at_write}"
        kinds = ("NodeClaim", "Pod", "Service", "StatefulSet")
        assert [end_of(world)[kind] for kind in kinds] == [end_of(usual)[kind] for kind in kinds]
        assert len(result.machines) == 2, f"write {at_write}"


def test_one_pod_after_the_other_is_replaced_on_the_machines_there_are() -> None:
    result, world = run_checked(scenario(), seed=SEED)
    assert len(result.machines) == 2
    (stateful,) = world.objects(STATEFUL_SET)
    assert stateful["status"]["updatedReplicas"] == stateful["status"]["readyReplicas"] == 2
    told = [event["reason"] for event in world.objects(EVENT)]
    assert "WorkloadUpdated" in told
    assert "FailedScheduling" not in told, "a new pod never waits for the GPU of the old one"


def test_delete_leaves_nothing() -> None:
    whole = scenario()
    _, world = run_checked(with_steps(whole, [deletion(whole, 3600.0)]), seed=SEED)
    assert world.running_machines() == []
    for kind in (NODE_CLAIM, POD, STATEFUL_SET):
        assert [name_of(one) for one in world.objects(kind)] == []
