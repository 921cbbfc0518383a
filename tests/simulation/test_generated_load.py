"""A generated load with every invariant checked: refusals, deletions, several Nodes, crashes."""

from dataclasses import replace
from pathlib import Path

from kaito.adapters.files import load_catalogue
from sim.loading import load
from sim.scenario import Inject
from sim.scenario_file import OperatorCrash
from sim.workload_generator import Load, as_yaml, generate
from tests.simulation.checked_run import run_checked


def test_a_generated_load_converges_through_crashes(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    shape = Load(workspaces=12, seed=3, arrival_s=120.0, refused_share=0.3, deleted_share=0.3)
    file.write_text(as_yaml(generate(shape, load_catalogue())))
    loaded = load([str(file)])
    crashes = [
        Inject(at_s=at_s, fault=OperatorCrash(kind="operator-crash"), source="test")
        for at_s in (20.0, 130.0, 700.0)
    ]
    steps = tuple(sorted([*loaded.steps, *crashes], key=lambda step: step.at_s))
    scenario = replace(loaded, steps=steps)
    result, world = run_checked(scenario, seed=shape.seed)
    assert [str(one) for one in result.expectations if not one.ok] == []
    assert len(result.expectations) == len(loaded.expectations) > 8
    assert len(world.cloud.lives) > len(world.running_machines()), "some were given back"
