"""The kubeconfig of one run: a private file that is replaced, never mixed with the user's own."""

import base64
import os
from pathlib import Path
from typing import Final

import yaml

from kaito.domain.errors import InvalidInput, Problem

NAME: Final = "kaito-twin"
_MODE: Final = 0o600


def kubeconfig(url: str, authority: bytes, token: str) -> str:
    """The file's text."""
    cluster = {
        "server": url,
        "certificate-authority-data": base64.b64encode(authority).decode(),
    }
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": NAME,
        "clusters": [{"name": NAME, "cluster": cluster}],
        "users": [{"name": NAME, "user": {"token": token}}],
        "contexts": [
            {"name": NAME, "context": {"cluster": NAME, "user": NAME, "namespace": "default"}}
        ],
    }
    return yaml.safe_dump(content, sort_keys=False)


def write(path: Path, text: str) -> None:
    """Put it there, readable by its owner only. Raises: InvalidInput."""
    try:
        _check(path)
        _replace(path, text)
    except OSError as error:
        raise _refused(path, f"cannot be written: {error.strerror}") from error


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def remove(path: Path, text: str) -> None:
    """Take away what `write` put there, unless it has changed since."""
    try:
        if path.read_text(encoding="utf-8") == text:
            path.unlink()
    except (OSError, UnicodeDecodeError):
        return  # it is gone, or no longer ours to judge


def _check(path: Path) -> None:
    """Raises: InvalidInput (there is a file that no run of the twin wrote), OSError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _refused(path, "is there already and is no kubeconfig") from error
    clusters = content.get("clusters") if isinstance(content, dict) else None
    if content and [one.get("name") for one in clusters or ()] != [NAME]:
        raise _refused(path, "is there already and is not from a run of the twin")


def _refused(path: Path, message: str) -> InvalidInput:
    problem = Problem(
        field=f"--kubeconfig {path}", message=message, remedy="Name another file, or remove it"
    )
    return InvalidInput([problem])
