"""What the Containerfile says agrees with the repository and with deploy/."""

import fnmatch
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kaito import __version__
from tests.containerfile import Instruction, stages
from tests.kustomize import OVERLAYS, of_kind, overlay

ROOT = Path(__file__).parents[2]
BUILD, IMAGE = stages()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def one(instructions: list[Instruction], name: str) -> Instruction:
    (found,) = (each for each in instructions if each.name == name)
    return found


def copied() -> list[str]:
    """The paths of the repository that go into the build, without a trailing slash."""
    sources = (word for each in BUILD if each.name == "COPY" for word in each.words[:-1])
    return [source.rstrip("/") for source in sources]


def pins(name: str) -> Mapping[str, str]:
    """Package -> version, of one of the lock files."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.MULTILINE))


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", each, maxsplit=1)[0].lower() for each in requirements}


def test_the_base_is_one_exact_release_of_python() -> None:
    text = (ROOT / "Containerfile").read_text(encoding="utf-8")
    (base,) = re.findall(r"^ARG PYTHON=(\S+)$", text, re.MULTILINE)
    version = re.fullmatch(r"docker\.io/library/python:(3\.11\.\d+)-slim-\w+", base)
    assert version, base
    assert [each.text.split()[0] for each in (BUILD[0], IMAGE[0])] == ["${PYTHON}"] * 2
    assert f"kaito:{__version__} ." in text


def test_what_it_copies_is_in_the_repository_and_not_ignored() -> None:
    lines = (ROOT / ".containerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines, "an allow-list"
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert set(copied()) == allowed
    for path in copied():
        assert (ROOT / path).exists(), path


def test_it_copies_all_that_the_wheel_is_made_of() -> None:
    project: Mapping[str, Any] = PROJECT["project"]
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {"pyproject.toml", project["readme"], *project["license-files"]}
    assert needed | set(wheel["only-include"]) <= set(copied())


def test_every_download_is_checked() -> None:
    installs = [
        each.words
        for each in BUILD
        if each.name == "RUN" and "install" in each.words and "--no-index" not in each.words
    ]
    assert installs
    for words in installs:
        assert {"--require-hashes", "--only-binary=:all:"} <= set(words)
        file = words[words.index("--requirement") + 1]
        assert fnmatch.fnmatch(file, "/source/requirements/*.txt")
        assert file.removeprefix("/source/") in copied()


def test_the_image_needs_no_shell_and_no_root() -> None:
    assert [each for each in IMAGE if each.name == "RUN"] == []
    (command,) = json.loads(one(IMAGE, "ENTRYPOINT").text)
    assert command in PROJECT["project"]["scripts"]
    user, group = one(IMAGE, "USER").text.split(":")
    for name in OVERLAYS:
        for deployment in of_kind(overlay(name), "Deployment"):
            security = deployment["spec"]["template"]["spec"]["securityContext"]
            assert (security["runAsUser"], security["runAsGroup"]) == (int(user), int(group))


def test_the_image_has_the_versions_that_were_tested() -> None:
    tested = pins("dev.txt")
    for name in ("operator.txt", "build.txt"):
        assert pins(name).items() <= tested.items(), f"{name}: run `make lock`"


def test_the_locks_cover_what_is_asked_for() -> None:
    project = PROJECT["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["operator"]
    locked = {name.lower() for name in pins("operator.txt")}
    assert names(wanted) <= locked, "run `make lock`"
    assert names(PROJECT["build-system"]["requires"]) <= set(pins("build.txt")), "run `make lock`"
