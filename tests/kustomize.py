"""What `kubectl kustomize` makes of deploy/, with the kubectl that the project pins."""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
KUBECTL: Final = Path(sys.executable).parent / "kubectl"
OVERLAYS: Final = tuple(sorted(path.name for path in (DEPLOY / "overlays").iterdir()))
NAMESPACE: Final = "kaito-system"

_LIMIT_S: Final = 60

Object = Mapping[str, Any]


@cache
def build(folder: Path) -> str:
    """The manifests of a kustomization, as text."""
    done = subprocess.run(
        [KUBECTL, "kustomize", folder],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LIMIT_S,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "kustomize warns"
    return done.stdout


@cache
def objects(folder: Path) -> Sequence[Object]:
    """The manifests of a kustomization."""
    return tuple(yaml.safe_load_all(build(folder)))


def overlay(name: str) -> Sequence[Object]:
    """The manifests of one of deploy/overlays."""
    return objects(DEPLOY / "overlays" / name)


def of_kind(manifests: Sequence[Object], *kinds: str) -> list[Object]:
    return [each for each in manifests if each["kind"] in kinds]


def named(manifests: Sequence[Object], kind: str, name: str) -> Object:
    """The one object of this kind and name."""
    (found,) = (each for each in of_kind(manifests, kind) if each["metadata"]["name"] == name)
    return found


def containers(workload: Object) -> Iterator[Object]:
    """All containers of a Deployment's or DaemonSet's pods."""
    pod = workload["spec"]["template"]["spec"]
    yield from pod.get("initContainers", ())
    yield from pod["containers"]
