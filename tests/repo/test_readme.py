"""What the README and docs/explain.md show is what the program prints."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WALL_TIME = re.compile(r"simulated in [\d.]+ s")
SHOWN = re.compile(
    r"<!-- output of: python (?P<command>.+?) -->\n```text\n(?P<output>.*?)```", re.DOTALL
)


@pytest.mark.parametrize("page", ["README.md", "docs/explain.md"])
def test_shown_outputs_are_current(page: str) -> None:
    found = list(SHOWN.finditer((ROOT / page).read_text(encoding="utf-8")))
    assert found, "the page shows what a command prints"
    plain = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    for block in found:
        command = [sys.executable, *block["command"].split()]
        run = subprocess.run(
            command,
            cwd=ROOT,
            env=plain,
            capture_output=True,
            text=True,
            check=False,
            encoding="utf-8",
        )
        assert run.returncode == 0, run.stderr
        printed, shown = (
            WALL_TIME.sub("simulated in N s", one) for one in (run.stdout, block["output"])
        )
        assert printed.rstrip() == shown.rstrip(), f"update {page} with the new output"


def test_paths_in_the_readme_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in re.findall(r"`((?:kaito|presets|sim|deploy|tests)/[\w/.]*)`", text):
        assert (ROOT / path).exists(), path
