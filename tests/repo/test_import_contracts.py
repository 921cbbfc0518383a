"""The import contracts in pyproject.toml hold, and each one fails on the violation it is about."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
PYPROJECT = ROOT / "pyproject.toml"

INWARD = "Dependencies point inward"
ADAPTERS_APART = "Adapters know ports, not each other"
PURE = "The core is pure"
NO_SIMULATOR = "Product code never imports the simulator"
PODS_APART = "GPU pod code and control plane meet only in the domain"
TRANSPORT = "The Kubernetes transport is standard library only"
REAL_ADAPTERS = "Only the composition root names real adapters"
FAKES = "Only the twin's composition root names fakes"
HEAVY = "A heavy dependency stays in the package that is about it"

# (contract, module to plant the statement in, statement)
VIOLATIONS = [
    (INWARD, "kaito.domain.planted", "import kaito.reconcile"),
    (INWARD, "kaito.reconcile", "import kaito.adapters.files"),
    (INWARD, "kaito.adapters.k8s.planted", "import kaito.bootstrap"),
    (INWARD, "kaito.unlisted", ""),
    (ADAPTERS_APART, "kaito.adapters.k8s.planted", "import kaito.adapters.fake"),
    (ADAPTERS_APART, "kaito.adapters.fake.planted", "import kaito.adapters.k8s"),
    (ADAPTERS_APART, "kaito.adapters.azure.planted", "import kaito.adapters.k8s"),
    (ADAPTERS_APART, "kaito.adapters.unlisted", ""),
    (PURE, "kaito.domain.planted", "import simpy"),
    (PURE, "kaito.domain.planted", "from time import monotonic"),
    (PURE, "kaito.domain.planted", "import random"),
    (PURE, "kaito.domain.planted", "import logging"),
    (PURE, "kaito.reconcile", "import threading"),
    (NO_SIMULATOR, "kaito.cli", "import sim"),
    (NO_SIMULATOR, "kaito.bootstrap", "import kaito.adapters.fake"),
    (NO_SIMULATOR, "kaito.adapters.k8s.planted", "import simpy"),
    (NO_SIMULATOR, "kaito.adapters.fake.planted", "import sim"),
    (PODS_APART, "kaito.serving.planted", "import kaito.reconcile"),
    (PODS_APART, "kaito.tuning.planted", "import kaito.adapters.kube_api"),
    (TRANSPORT, "kaito.adapters.kube_api", "import kubernetes"),
    (TRANSPORT, "kaito.adapters.kube_api", "import kaito.domain"),
    (REAL_ADAPTERS, "kaito.cli", "import kaito.adapters.k8s"),
    (REAL_ADAPTERS, "kaito.cli", "import kaito.adapters.azure"),
    (REAL_ADAPTERS, "kaito.azure_command", "import kaito.adapters.azure"),
    (REAL_ADAPTERS, "sim.planted", "import kaito.adapters.k8s"),
    (FAKES, "sim.planted", "import kaito.adapters.fake"),
    (HEAVY, "kaito.cli", "def command():\n    import torch"),
    (HEAVY, "kaito.adapters.fake.planted", "import kubernetes"),
    (HEAVY, "kaito.adapters.k8s", "import kubernetes"),
    (HEAVY, "kaito.bootstrap.aks", "import azure"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The two packages and their configuration, free to be broken."""
    for package in ("kaito", "sim"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=_all_but_python)
    shutil.copy(PYPROJECT, tmp_path)
    return tmp_path


def _all_but_python(folder: str, names: list[str]) -> set[str]:
    keep = {name for name in names if name.endswith(".py") or Path(folder, name).is_dir()}
    return set(names) - keep | {"__pycache__"}


def _lint(root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as lint; lint()",
            "--no-cache",
            "--no-logo",
        ],
        cwd=root,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def _plant(root: Path, module: str, statement: str) -> None:
    """Append `statement` to `module`, which comes into being where it does not exist."""
    place = root.joinpath(*module.split("."))
    for package in [parent for parent in place.parents if root in parent.parents]:
        package.mkdir(exist_ok=True, parents=True)
        (package / "__init__.py").touch()
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    with file.open("a", encoding="utf-8") as source:
        source.write(f"\n{statement}\n")


def test_the_contracts_hold(copy: Path) -> None:
    result = _lint(copy)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(("contract", "module", "statement"), VIOLATIONS)
def test_a_violation_breaks_its_contract(
    copy: Path, contract: str, module: str, statement: str
) -> None:
    _plant(copy, module, statement)
    result = _lint(copy)
    assert result.returncode != 0
    assert f"{contract} BROKEN" in result.stdout, result.stdout + result.stderr


def test_every_contract_is_seen_to_fail() -> None:
    config = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))
    contracts = {contract["name"] for contract in config["tool"]["importlinter"]["contracts"]}
    assert contracts == {contract for contract, _, _ in VIOLATIONS}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("kaito.domain", {"annotated_types", "pydantic", "pydantic_core", "typing_extensions"}),
        ("kaito.reconcile", set()),
        ("kaito.adapters.kube_api", set()),
    ],
)
def test_outside_the_standard_library_only_what_is_named(package: str, allowed: set[str]) -> None:
    """The forbidden contracts name what is banned; this names what is not."""
    graph = grimp.build_graph("kaito", include_external_packages=True, cache_dir=None)
    imported = {
        name
        for module in {package} | graph.find_descendants(package)
        for name in graph.find_modules_directly_imported_by(module)
    }
    foreign = {name for name in imported if name.partition(".")[0] != "kaito"}
    assert foreign - sys.stdlib_module_names - allowed == set()
