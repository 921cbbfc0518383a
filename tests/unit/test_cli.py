"""The `kaito` command, as a user runs it."""

import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
import yaml
from typer.core import TyperGroup
from typer.testing import CliRunner

from kaito import __version__
from kaito.cli import app

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_the_version() -> None:
    assert run("version") == (0, f"{__version__}\n", "")


def test_without_a_command_it_says_what_there_is() -> None:
    code, out, err = run()
    text = out + err
    assert code in {0, 2}
    for command in ("crds", "version"):
        assert command in text


@pytest.mark.parametrize("arguments", [["nothing"], ["crds", "--nothing"]])
def test_bad_usage_is_one_screen_and_exit_code_2(arguments: list[str]) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert len(err.splitlines()) < 10


def test_crds_are_printed_for_kubectl() -> None:
    code, out, _ = run("crds")
    assert code == 0
    names = {document["metadata"]["name"] for document in yaml.safe_load_all(out)}
    assert "workspaces.kaito.sh" in names


def test_crds_are_written_and_checked(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "crds"
    code, out, _ = run("crds", str(folder))
    assert code == 0
    written = sorted(folder.iterdir())
    assert [f"wrote {path}" for path in written] == sorted(out.splitlines())
    assert run("crds", str(folder), "--check") == (0, "", "")
    assert written[0].read_bytes().endswith(b"\n")


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_the_check_says_what_is_not_current(tmp_path: Path, damage: str) -> None:
    run("crds", str(tmp_path))
    victim = tmp_path / "kaito.sh_workspaces.yaml"
    if damage == "changed":
        victim.write_text(victim.read_text(encoding="utf-8") + "# mine\n", encoding="utf-8")
    else:
        victim.unlink()
    before = sorted(path.name for path in tmp_path.iterdir())
    code, out, err = run("crds", str(tmp_path), "--check")
    assert (code, out) == (1, "")
    assert err == f"{victim} is not current: run `kaito crds {tmp_path}`\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "a check writes nothing"


def test_the_definition_of_the_mirror_comes_by_itself(tmp_path: Path) -> None:
    code, out, _ = run("crds", "--machine-mirror")
    assert code == 0
    assert yaml.safe_load(out)["metadata"]["name"] == "machines.karpenter.sh"
    code, _, err = run("crds", "--machine-mirror", "--check", str(tmp_path))
    assert code == 1
    assert err.endswith(f"run `kaito crds --machine-mirror {tmp_path}`\n")


def test_a_check_needs_a_folder() -> None:
    code, _, err = run("crds", "--check")
    assert code == 2
    assert "--check needs the DIRECTORY to compare with" in err


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kaito", "version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "environment", "expected"),
    [
        ([], {}, "kaito-local-nvme-disk"),
        ([], {"KAITO_WEIGHTS_STORAGE_CLASS": "mine"}, "mine"),
        ([], {"KAITO_WEIGHTS_STORAGE_CLASS": ""}, ""),
        (["--weights-storage-class="], {}, ""),
        (["--weights-storage-class=mine"], {"KAITO_WEIGHTS_STORAGE_CLASS": ""}, "mine"),
    ],
)
def test_an_empty_storage_class_is_none_at_all(
    arguments: list[str],
    environment: dict[str, str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KAITO_WEIGHTS_STORAGE_CLASS", raising=False)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    command = typer.main.get_command(app)
    for word in ("operator", "run"):
        assert isinstance(command, TyperGroup)
        command = command.commands[word]
    read = command.make_context("kaito", arguments).params
    assert read["weights_storage_class"] == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--azure-subscription-id: is needed to order machines on AKS"),
        (["--azure-credential=magic"], "--azure-credential: must be one of auto"),
    ],
)
def test_aks_needs_to_know_which_cluster(
    arguments: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("ARM_SUBSCRIPTION_ID", "ARM_RESOURCE_GROUP", "AZURE_CLUSTER_NAME", "LOCATION"):
        monkeypatch.delenv(variable, raising=False)
    code, out, err = run("operator", "run", "--provisioner=aks", *arguments)
    assert (code, out) == (2, "")
    assert err.startswith(expected)


def test_own_nodes_have_no_machines_to_mirror() -> None:
    code, out, err = run("operator", "run", "--provisioner=byo", "--mirror-machines")
    assert (code, out) == (2, "")
    assert err.startswith("--mirror-machines: with --provisioner byo there are no NodeClaims")


def test_a_bad_time_out_names_flag_and_value() -> None:
    code, _, err = run("operator", "run", "--launch-timeout", "soon", "--drain-timeout", "0s")
    assert code == 2
    assert "--launch-timeout: must be a length of time, got 'soon'" in err
    assert "--drain-timeout: must not be zero, got '0s'" in err
