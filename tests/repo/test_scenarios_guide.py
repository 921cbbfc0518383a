"""What docs/scenarios.md teaches is what the program does."""

import re
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from sim.cli import app
from sim.invariants import INVARIANTS
from sim.scenario import AnyFault

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"<!-- scenario: (?P<outcome>.+?) -->\n```yaml\n(?P<text>.*?)```", re.DOTALL)
EXAMPLES = list(EXAMPLE.finditer(GUIDE))


def test_every_example_says_what_comes_of_it() -> None:
    assert len(EXAMPLES) == GUIDE.count("```yaml") > 3


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_does_what_the_guide_says(number: int, tmp_path: Path) -> None:
    (tmp_path / "what_if.yaml").write_text(EXAMPLES[0]["text"])
    file = tmp_path / "example.yaml"
    file.write_text(EXAMPLES[number]["text"])
    result = CliRunner().invoke(app, ["run", str(file)])
    outcome = EXAMPLES[number]["outcome"]
    assert result.exit_code == (0 if outcome == "passes" else 1), result.output
    if outcome != "passes":
        assert outcome.removeprefix("fails with ").strip('"') in result.stdout


def test_the_invariants_are_those_of_the_program() -> None:
    listed = dict(re.findall(r"^\| (INV-\d+) \| (.+) \|$", GUIDE, re.MULTILINE))
    assert listed == dict(INVARIANTS)


def test_every_kind_of_fault_is_taught() -> None:
    kinds = {get_args(fault.model_fields["kind"].annotation)[0] for fault in get_args(AnyFault)}
    section = GUIDE.partition("## What goes wrong")[2].partition("\n## ")[0]
    taught = set(re.findall(r"^\| `([\w-]+)` \|", section, re.MULTILINE)) - {"kind"}
    assert taught == kinds


def test_paths_in_the_guide_exist() -> None:
    paths = set(re.findall(r"\bsim/scenarios(?:/\w+\.yaml)?", GUIDE))
    assert paths
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []
