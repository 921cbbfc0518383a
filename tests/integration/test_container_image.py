"""The Containerfile's build stage, carried out in a folder in place of a container.

Every COPY and RUN is done as it is written, with a folder put before absolute paths.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kaito import __version__
from tests.containerfile import Instruction, stages

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LIMIT_S = 300


def carry_out(instruction: Instruction, folder: Path) -> None:
    """Do a COPY or a RUN below `folder`."""
    words = [f"{folder}{word}" if word.startswith("/") else word for word in instruction.words]
    if instruction.name == "COPY":
        *sources, target = words
        for source in sources:
            copy(ROOT / source, Path(target))
    elif instruction.name == "RUN":
        program = sys.executable if words[0] == "python" else words[0]
        done = subprocess.run(
            [program, *words[1:]],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, f"{instruction.text}\n{done.stdout}{done.stderr}"


def copy(source: Path, target: Path) -> None:
    """As COPY does it: a folder's content, or a file into a folder."""
    target.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        leave_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=leave_out)
    else:
        shutil.copy(source, target)


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs that the image would have."""
    folder = tmp_path_factory.mktemp("image")
    build, image = stages()
    for instruction in build:
        carry_out(instruction, folder)
    (kept,) = (each.words[-1] for each in image if each.name == "COPY")
    return Path(f"{folder}{kept}") / "bin"


def test_the_image_has_the_operator_and_the_webhook(programs: Path, tmp_path: Path) -> None:
    def printed(*arguments: str) -> str:
        done = subprocess.run(
            [programs / "kaito", *arguments],
            cwd=tmp_path,
            env={"PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert printed("version") == f"{__version__}\n"
    assert "KAITO_LEASE_NAMESPACE" in printed("operator", "run", "--help")
    assert "KAITO_WEBHOOK_CERTIFICATE" in printed("webhook", "run", "--help")
    for package in ("bootstrap.operator", "bootstrap.webhook"):
        program = f"from kaito.adapters.files import load_catalogue; import kaito.{package}; "
        program += "assert load_catalogue()"
        subprocess.run([programs / "python", "-c", program], cwd=tmp_path, check=True)


def test_what_only_development_needs_is_not_in_it(programs: Path) -> None:
    packages = next((programs.parent / "lib").glob("python*/site-packages"))
    found = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert {"kaito", "kopf", "kubernetes"} <= found
    assert not {"pip", "hatchling", "pytest", "simpy", "mypy"} & found
