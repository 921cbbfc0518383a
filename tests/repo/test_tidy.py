"""Rules of the house that no linter knows."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MODULE_LIMIT_LINES = 450
BANNED_MODULES = {"common.py", "helpers.py", "manager.py", "utils.py"}
HEAVY_MODULES = [
    "azure",
    "accelerate",
    "datasets",
    "fastapi",
    "httpx",
    "kopf",
    "kubernetes",
    "peft",
    "prometheus_client",
    "simpy",
    "torch",
    "transformers",
    "trl",
    "uvicorn",
    "vllm",
]

UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME)\b")
MACHINE_PATH = re.compile(r"(?<![\w.~*$}-])/(?:root|home|Users|work)/")


def _files() -> list[Path]:
    """Every file that is, or would be, under version control."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    files = [ROOT / name for name in listing.split("\0") if name]
    return sorted(file for file in files if file.is_file())


def _product_modules() -> list[Path]:
    return sorted(file for package in ("kaito", "sim") for file in (ROOT / package).rglob("*.py"))


def _lines_that_match(pattern: re.Pattern[str]) -> list[str]:
    found = []
    for file in _files():
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [
            f"{file.relative_to(ROOT)}:{number}: {line.strip()}"
            for number, line in enumerate(text.splitlines(), start=1)
            if pattern.search(line)
        ]
    return found


def test_a_module_fits_a_head() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines())
        for file in _product_modules()
    }
    assert lengths
    assert {name: count for name, count in lengths.items() if count > MODULE_LIMIT_LINES} == {}


def test_a_module_is_named_for_what_it_does() -> None:
    assert [str(file) for file in _files() if file.name in BANNED_MODULES] == []


def test_every_package_says_what_it_is() -> None:
    packages = {file.parent for file in _product_modules()}
    silent = [
        str(package.relative_to(ROOT))
        for package in sorted(packages)
        if not _docstring(package / "__init__.py")
    ]
    assert silent == []


def _docstring(file: Path) -> str | None:
    if not file.is_file():
        return None
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))


def test_nothing_is_left_unfinished() -> None:
    assert _lines_that_match(UNFINISHED) == []


def test_no_path_of_a_machine() -> None:
    assert _lines_that_match(MACHINE_PATH) == []


def test_locked_requirements_name_no_index() -> None:
    locks = sorted((ROOT / "requirements").glob("*.txt"))
    assert locks
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert re.findall(r"--(?:\w+-)?index-url|--find-links|://|file:", text) == [], lock.name


def test_every_preset_names_its_source() -> None:
    """A number that nobody can trace is a rumour."""
    sourceless = []
    for file in sorted((ROOT / "presets").rglob("*.y*ml")):
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        if not (isinstance(content, dict) and content.get("source")):
            sourceless.append(str(file.relative_to(ROOT)))
    assert sourceless == []


@pytest.mark.parametrize("module", ["kaito", "kaito.cli"])
def test_importing_the_product_is_light(module: str) -> None:
    program = f"import sys, {module}; print(*sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert sorted(set(result.stdout.split()) & set(HEAVY_MODULES)) == []
