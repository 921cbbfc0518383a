import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from kaito.domain.errors import InvalidInput
from sim.cli import app
from sim.seeds import SeedRun, load_each, run_seeds

GOOD = """\
timeline:
- apply:
    apiVersion: kaito.sh/v1beta1
    kind: Workspace
    metadata: {name: ws}
    resource:
      instanceType: Standard_NC24ads_A100_v4
      labelSelector: {matchLabels: {apps: ws}}
    inference:
      preset: {name: phi-4-mini-instruct}
expect:
- workspace: ws
  ready: true
"""
# The median start takes longer than this, and the fastest does not.
SOMETIMES = GOOD.replace("ready: true", "within: 9m30s")


@pytest.fixture
def good(tmp_path: Path) -> str:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return str(file)


@pytest.fixture
def sometimes(tmp_path: Path) -> str:
    file = tmp_path / "sometimes.yaml"
    file.write_text(SOMETIMES)
    return str(file)


def sim(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["run", *map(str, arguments)])


def test_the_result_does_not_depend_on_the_processes(good: str) -> None:
    one, two = (run_seeds(load_each([good]), seeds=12, first_seed=5, jobs=jobs) for jobs in (1, 2))
    assert one.scenarios == two.scenarios
    assert [run.seed for run in one.scenarios[0].runs] == list(range(5, 17))
    assert len({run.simulated_s for run in one.scenarios[0].runs}) > 1, "seeds differ"
    assert one.ok


def test_progress_counts_runs(good: str) -> None:
    heard: list[tuple[int, int, int]] = []
    run_seeds(
        load_each([good]),
        seeds=11,
        jobs=1,
        on_progress=lambda *counts: heard.append(counts),
    )
    assert max(heard) == (11, 11, 0)
    assert len(heard) == 2


def test_a_failing_seed_comes_with_the_command_that_repeats_it(sometimes: str) -> None:
    result = sim(sometimes, "--seeds", 8, "--jobs", 2, "-o", "json")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    (scenario,) = found["scenarios"]
    assert found["ok"] is False
    assert 0 < len(scenario["failed"]) < 8
    first = scenario["failed"][0]
    assert first["replay"] == f"python -m sim run {sometimes} --seed {first['seed']}"
    again = sim(*first["replay"].split()[4:])
    assert again.exit_code == 1
    assert first["why"][0].split(": it took ")[1] in again.stdout
    passed = next(
        seed for seed in range(8) if seed not in {run["seed"] for run in scenario["failed"]}
    )
    assert sim(sometimes, "--seed", passed).exit_code == 0


def test_a_table_for_people(good: str, sometimes: str) -> None:
    result = sim(good, sometimes, "--seeds", 6, "--jobs", 2)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["SCENARIO", "SEEDS", "FAILED", "SIMULATED", "COST", "AT", "MOST"]
    assert lines[1].split()[:3] == [good, "6", "0"]
    assert lines[2].split()[:2] == [sometimes, "6"]
    assert f"python -m sim run {sometimes} --seed " in result.stdout
    assert "12 of 12 runs" in result.stderr


def test_quiet_success_says_nothing(good: str) -> None:
    result = sim(good, "--seeds", 2, "-q")
    assert (result.exit_code, result.output) == (0, "")


def test_a_directory_is_every_file_in_it(good: str, sometimes: str) -> None:
    assert list(load_each([str(Path(good).parent)])) == [good, sometimes]


def test_all_problems_are_told_before_anything_runs(good: str, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("timeline: 5\n")
    with pytest.raises(InvalidInput) as error:
        load_each([good, str(bad), str(tmp_path / "absent.yaml")])
    assert "bad.yaml" in str(error.value)
    assert "absent.yaml" in str(error.value)


def test_the_log_of_one_run_is_refused(good: str) -> None:
    result = sim(good, "--seeds", 2, "--events", "events.jsonl")
    assert result.exit_code == 2
    assert "--events: is the log of one run" in result.stderr


def test_a_run_that_crashes_is_a_failure_of_its_seed(
    good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patched, since no scenario is known to crash."""
    from sim import seeds

    def crash(*_args: object, **_options: object) -> None:
        raise AssertionError("one condition of each type")

    monkeypatch.setattr(seeds, "simulate_checked", crash)
    (scenario,) = load_each([good]).values()
    assert seeds._run_one(scenario, 3, None) == SeedRun(
        seed=3, why=("it crashed: AssertionError: one condition of each type",)
    )
