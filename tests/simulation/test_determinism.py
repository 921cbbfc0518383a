"""One seed, one event log: byte for byte, in any process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.checked_run import SCENARIO_FILES

ROOT = Path(__file__).parents[2]


def event_log(scenario: Path, log: Path, *, seed: int, hash_seed: int) -> bytes:
    """The event log that a process of its own writes."""
    command = [sys.executable, "-m", "sim", "run", str(scenario), "--quiet"]
    subprocess.run(
        [*command, "--seed", str(seed), "--events", str(log)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
        capture_output=True,
        check=True,
        timeout=60,
    )
    return log.read_bytes()


@pytest.mark.parametrize("scenario", SCENARIO_FILES, ids=lambda path: path.stem)
def test_one_seed_one_event_log(scenario: Path, tmp_path: Path) -> None:
    first = event_log(scenario, tmp_path / "first", seed=7, hash_seed=1)
    again = event_log(scenario, tmp_path / "again", seed=7, hash_seed=4242)
    other = event_log(scenario, tmp_path / "other", seed=8, hash_seed=1)
    assert first.count(b"\n") > 20
    assert first == again
    assert first != other
