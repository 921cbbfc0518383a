"""Two Workspaces with equal matchLabels, from the first event to the last."""

from collections.abc import Iterable

import pytest

from kaito.adapters.kube_api import WORKSPACE, condition_of, name_of
from kaito.domain import status as st
from kaito.domain.provisioner import Provisioner
from sim.manifests import Key
from sim.scenario import Apply, Delete, Inject, Scenario, Step
from sim.scenario import World as Settings
from sim.scenario_file import OperatorCrash
from sim.world import World
from tests.simulation.checked_run import run_checked

AWAY_S = 300.0


def apply(name: str, at_s: float, label: str = "x") -> Apply:
    manifest = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": "default"},
        "resource": {
            "instanceType": "Standard_NC24ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": label}},
        },
        "inference": {"preset": {"name": "phi-4-mini-instruct"}},
    }
    key = Key("Workspace", "default", name)
    return Apply(at_s=at_s, manifest=manifest, source="test", key=key)


def delete(name: str, at_s: float) -> Delete:
    return Delete(at_s=at_s, key=Key("Workspace", "default", name), source="test")


def told(world: World) -> dict[str, str]:
    """Name of each Workspace that has the condition: its status."""
    return {
        name_of(one): str(found["status"])
        for one in world.objects(WORKSPACE)
        if (found := condition_of(one, st.SELECTOR_SHARED))
    }


def run(steps: Iterable[Step], settings: Settings | None = None) -> tuple[list[str], World]:
    """Names of the Workspaces that were warned of, in order, and the world at its end."""
    scenario = Scenario(files=(), steps=tuple(steps), world=settings or Settings())
    result, world = run_checked(scenario, seed=1)
    warned = [one.name for one in result.warnings if one.reason == st.SELECTOR_SHARED]
    return sorted(warned), world


def test_both_are_told_and_both_serve() -> None:
    warned, world = run([apply("a", 0.0), apply("b", 60.0), apply("c", 60.0, "y")])
    assert warned == ["a", "b"]
    assert told(world) == {"a": "True", "b": "True"}
    ready = [condition_of(one, st.SUCCEEDED) for one in world.objects(WORKSPACE)]
    assert [found and found["status"] for found in ready] == ["True"] * 3


@pytest.mark.parametrize("at_s", [1.0, 600.0, 1800.0])
def test_it_ends_when_the_other_goes(at_s: float) -> None:
    warned, world = run([apply("a", 0.0), apply("b", 0.0), delete("b", at_s)])
    assert "a" in warned
    assert told(world) == {"a": "False"}


def test_one_that_goes_while_the_operator_is_away_is_not_remembered() -> None:
    crash = OperatorCrash.model_validate({"kind": "operator-crash", "restart_after": AWAY_S})
    steps = [
        apply("a", 0.0),
        apply("b", 0.0),
        Inject(at_s=1200.0, fault=crash, source="test"),
        delete("b", 1210.0),
    ]
    _warned, world = run(steps)
    assert told(world) == {"a": "False"}


def test_where_users_bring_nodes_labels_may_be_shared() -> None:
    byo = Settings(provisioner=Provisioner.BYO)
    warned, world = run([apply("a", 0.0), apply("b", 0.0)], byo)
    assert warned == []
    assert told(world) == {}
