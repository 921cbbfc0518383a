"""What docs/plan.md shows is what the program prints."""

import re
import shlex
from pathlib import Path

from typer.testing import CliRunner

from kaito.cli import app

GUIDE = Path(__file__).parents[2] / "docs/plan.md"
SHOWN = re.compile(
    r"<!-- output of: kaito (?P<command>.+?) -->\n```text\n(?P<output>.*?)```", re.DOTALL
)
COMMAND = re.compile(r"^    kaito (plan [^#\n]+)", re.MULTILINE)
NEEDS_MORE = ("./my-model", "Qwen/", "my-model", "workspace.yaml")  # what is not there


def test_shown_outputs_are_current() -> None:
    found = list(SHOWN.finditer(GUIDE.read_text(encoding="utf-8")))
    assert found
    for block in found:
        run = CliRunner().invoke(app, shlex.split(block["command"]))
        assert run.exit_code == 0, run.stderr
        assert run.stdout.strip() == block["output"].strip(), "update docs/plan.md"


def test_shown_commands_run() -> None:
    commands = COMMAND.findall(GUIDE.read_text(encoding="utf-8"))
    tried = [one for one in commands if not any(part in one for part in NEEDS_MORE)]
    assert len(tried) >= 4
    for command in tried:
        assert CliRunner().invoke(app, shlex.split(command)).exit_code == 0, command


def test_the_three_lines_run() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    lines = text.split("From Python:\n\n")[1].split("\n\n")[0]
    exec(compile(re.sub(r"(?m)^    ", "", lines), str(GUIDE), "exec"), {})
