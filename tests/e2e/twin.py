"""A running `sim serve`, and the kubectls that talk to it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
LIMIT_S: Final = 120
START_LIMIT_S: Final = 30


@dataclass(frozen=True, slots=True)
class Kubectl:
    """A kubectl that talks to the twin."""

    program: str
    kubeconfig: Path
    home: Path

    def run(self, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A line as it is typed."""
        return subprocess.run(
            ["bash", "-c", line],
            cwd=ROOT,
            env={
                "KUBECONFIG": str(self.kubeconfig),
                "HOME": str(self.home),
                "PATH": f"{Path(self.program).parent}:{os.environ['PATH']}",
                "NO_PROXY": "127.0.0.1",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def prints(self, line: str, **environment: str) -> str:
        """What a line that must succeed prints."""
        done = self.run(line, **environment)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def refused(self, line: str) -> str:
        """What a line that must fail complains of."""
        done = self.run(line)
        assert done.returncode != 0, f"{line}\n{done.stdout}"
        return done.stderr


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Path]:
    """A kubeconfig for a running `sim serve`, which must end without a complaint."""
    file = folder / "kubeconfig"
    command = [sys.executable, "-m", "sim", "serve", "--kubeconfig", str(file), *options]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        _wait_for(file, process)
        assert file.stat().st_mode & 0o777 == 0o600
        yield file
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=START_LIMIT_S)
    assert (process.returncode, err) == (0, "")
    assert f"export KUBECONFIG={file}" in out
    assert not file.exists()


def pinned(kubeconfig: Path, home: Path) -> Kubectl:
    """The kubectl of the development environment."""
    program = Path(sys.executable).parent / "kubectl"
    if not program.exists():
        _missing("kubectl is not in .venv: make venv")
    return Kubectl(str(program), kubeconfig, home)


def on_path(kubeconfig: Path, home: Path) -> Kubectl:
    """Whatever kubectl the machine has besides."""
    found = shutil.which("kubectl")
    if found is None or Path(found) == Path(sys.executable).parent / "kubectl":
        pytest.skip("there is no other kubectl on PATH")
    return Kubectl(found, kubeconfig, home)


def _wait_for(file: Path, process: subprocess.Popen[str]) -> None:
    until_s = time.monotonic() + START_LIMIT_S
    while not file.exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until_s, "sim serve does not start"
        time.sleep(0.05)


def _missing(what: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI skips nothing: {what}", pytrace=False)
    pytest.skip(what)
