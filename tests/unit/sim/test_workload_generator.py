from collections import Counter
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.decision import Wanted, decide
from kaito.domain.errors import InvalidInput
from kaito.domain.vm_family import vm_family
from kaito.domain.workspace import parse_workspace
from sim.cli import app
from sim.loading import load
from sim.scenario import Apply, Delete, Inject
from sim.workload_generator import Load, as_yaml, choices, generate


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def applied(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    bodies = [step["apply"] for step in scenario["timeline"] if "apply" in step]
    return [body for body in bodies if body["kind"] == "Workspace"]


def nodes_of(body: dict[str, Any], catalogue: Catalogue) -> int:
    decided = decide(parse_workspace(body), catalogue, None)
    assert isinstance(decided, Wanted), body
    return decided.sizing.nodes


def test_one_seed_one_scenario(catalogue: Catalogue) -> None:
    first = as_yaml(generate(Load(workspaces=30, seed=1), catalogue))
    assert as_yaml(generate(Load(workspaces=30, seed=1), catalogue)) == first
    assert as_yaml(generate(Load(workspaces=30, seed=2), catalogue)) != first


def test_a_choice_is_what_the_operator_would_do(catalogue: Catalogue) -> None:
    made = generate(Load(workspaces=40, deleted_share=0.0), catalogue)
    nodes = sum(nodes_of(body, catalogue) for body in applied(made))
    assert made["expect"][-1] == {"machines": nodes}


def test_the_choices_are_the_whole_catalogue(catalogue: Catalogue) -> None:
    found = choices(catalogue)
    assert {one.nodes for one in found} >= {1, 2}
    assert len(found) == len(set(found))
    assert len({one.instance_type for one in found}) >= 5
    asked_for = {one.model for one in found}
    smallest = min(catalogue.models, key=lambda model: model.weight_bytes)
    assert smallest.name in asked_for
    assert {model.name for model in catalogue.models if model.requires_auth} & asked_for


def test_gated_models_are_opened_by_a_secret_of_their_namespace(catalogue: Catalogue) -> None:
    made = generate(Load(workspaces=60), catalogue)
    secrets = [step["apply"] for step in made["timeline"] if "apply" in step][:-60]
    assert {body["kind"] for body in secrets} == {"Secret"}
    gated = {model.name for model in catalogue.models if model.requires_auth}
    opened = set()
    for body in applied(made):
        options = body["inference"]["preset"].get("presetOptions")
        assert (options is not None) == (body["inference"]["preset"]["name"] in gated)
        if options is not None:
            opened.add((body["metadata"]["namespace"], options["modelAccessSecret"]))
    there = [(body["metadata"]["namespace"], body["metadata"]["name"]) for body in secrets]
    assert there == sorted(opened)
    assert opened, "some are gated"


def test_a_quota_holds_some_back_until_it_is_raised(catalogue: Catalogue, tmp_path: Path) -> None:
    shape = Load(workspaces=100, quota_share=0.6, deleted_share=0.2)
    made = generate(shape, catalogue)
    vcpus = {one.name: one.vcpus for one in catalogue.instance_types}
    asked: Counter[str] = Counter()
    largest: Counter[str] = Counter()
    for body in applied(made):
        name = body["resource"]["instanceType"]
        takes = nodes_of(body, catalogue) * vcpus[name]
        asked[vm_family(name)] += takes
        largest[vm_family(name)] = max(largest[vm_family(name)], takes)
    quota = made["cloud"]["quota"]
    assert quota == {name: max(ceil(0.6 * asked[name]), largest[name]) for name in sorted(asked)}
    last = made["timeline"][-1]
    raised = last["cloud"]["quota"]
    assert last["at"] > max(step["at"] for step in made["timeline"] if "delete" in step)
    assert all(quota[name] < raised[name] <= asked[name] for name in raised)
    file = tmp_path / "scenario.yaml"
    file.write_text(as_yaml(made))
    assert load([str(file)]).world.cloud.quota == quota


def test_a_quota_that_is_enough_is_not_raised(catalogue: Catalogue) -> None:
    made = generate(Load(workspaces=20, quota_share=1.0), catalogue)
    assert not [step for step in made["timeline"] if "cloud" in step]
    assert "cloud" not in generate(Load(workspaces=20), catalogue)


def test_models_are_asked_for_equally_often(catalogue: Catalogue) -> None:
    bodies = applied(generate(Load(workspaces=200, several_nodes_share=0.0), catalogue))
    times = Counter(body["inference"]["preset"]["name"] for body in bodies)
    assert max(times.values()) - min(times.values()) <= 1
    assert set(times) == {one.model for one in choices(catalogue) if one.nodes == 1}


def test_the_shares(catalogue: Catalogue, tmp_path: Path) -> None:
    made = generate(
        Load(
            workspaces=100,
            arrival_s=600.0,
            several_nodes_share=0.3,
            refused_share=0.07,
            deleted_share=0.2,
        ),
        catalogue,
    )
    file = tmp_path / "scenario.yaml"
    file.write_text(as_yaml(made))
    scenario = load([str(file)])
    kinds = Counter(type(step) for step in scenario.steps)
    secrets = kinds[Apply] - 100
    assert kinds == {Apply: 100 + secrets, Delete: 20, Inject: 7}
    arrivals = [
        step.at_s
        for step in scenario.steps
        if isinstance(step, Apply) and step.key.kind == "Workspace"
    ]
    assert 0.0 <= arrivals[0] < arrivals[-1] <= 600.0
    assert sum(nodes_of(body, catalogue) > 1 for body in applied(made)) == 30
    applied_at = {step.key: step.at_s for step in scenario.steps if isinstance(step, Apply)}
    for step in scenario.steps:
        if isinstance(step, Delete):
            assert step.at_s > applied_at[step.key]
    assert len(scenario.expectations) == 80 + 1, "READY for each that stays, and the machines"


def test_all_at_once(catalogue: Catalogue) -> None:
    made = generate(Load(workspaces=5), catalogue)
    assert [step["at"] for step in made["timeline"] if "apply" in step] == [0.0] * 5


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"workspaces": 0}, "workspaces"),
        ({"arrival_s": -1.0}, "arrival_s"),
        ({"several_nodes_share": 1.5}, "several_nodes_share"),
        ({"refused_share": -0.1}, "refused_share"),
        ({"deleted_share": 2.0}, "deleted_share"),
        ({"quota_share": -0.5}, "quota_share"),
    ],
)
def test_a_load_that_cannot_be(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        replace(Load(workspaces=1), **change)


def test_nothing_to_choose_from(catalogue: Catalogue) -> None:
    with pytest.raises(InvalidInput, match="no model"):
        generate(Load(workspaces=1), replace(catalogue, models=()))


def test_the_command_writes_what_run_reads(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    made = CliRunner().invoke(app, ["generate", "--workspaces", "3", "-o", str(file)])
    assert made.exit_code == 0, made.output
    ran = CliRunner().invoke(app, ["run", str(file), "--quiet"])
    assert ran.exit_code == 0, ran.output
    printed = CliRunner().invoke(app, ["generate", "--workspaces", "3"])
    assert printed.stdout == file.read_text()


def test_the_command_names_what_is_wrong(tmp_path: Path) -> None:
    refused = CliRunner().invoke(app, ["generate", "--arrival", "soon"])
    assert refused.exit_code == 2
    assert "--arrival: must be a length of time, got 'soon'" in refused.stderr
    nowhere = CliRunner().invoke(app, ["generate", "-o", str(tmp_path / "no" / "file.yaml")])
    assert nowhere.exit_code == 2
    assert "no/file.yaml" in nowhere.stderr
