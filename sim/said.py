"""What `python -m sim serve` and `attach` say of themselves."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import typer


def next_steps(url: str, page_url: str, kubeconfig: Path, speed: float) -> None:
    """Where the twin is served, and what to type first."""
    from sim.serve import first_commands

    _say(
        f"The twin serves the Kubernetes API at {url}, {speed:g} times as fast as a real cloud.",
        f"Page: {page_url}",
        "Type in another terminal:",
        "",
        *(f"  {command}" for command in first_commands(kubeconfig)),
        "",
        "Ctrl-C stops it.",
    )


def azure(url: str, environment: Mapping[str, str]) -> None:
    """Where Azure is served, and what a program needs in its environment to sign in."""
    _say(
        f"The cloud answers as Azure Resource Manager at {url}. For a program that signs in:",
        "",
        *(f"  export {name}={shlex.quote(value)}" for name, value in environment.items()),
        "",
    )


def attached(url: str, found: Sequence[str], speed: float) -> None:
    """Whose machines are played, and which were taken up again."""
    again = f" Machines taken up again: {len(found)}." if found else ""
    _say(
        f"Playing the machines of {url}, {speed:g} times as fast as a real cloud.{again}",
        "Ctrl-C stops it.",
    )


def phase(subject: str, name: str, took_s: float | None, detail: str) -> None:
    """A phase that has ended."""
    if took_s is not None:
        _say(f"{subject}: {name} took {took_s:.1f} s  {detail}".rstrip())


def left(nodes: Sequence[str]) -> None:
    """Which Nodes stay behind."""
    _say(
        "Its Nodes are left as they are. Attach again to go on, or delete what is left:",
        f"  kubectl delete node {' '.join(nodes)}",
    )


def _say(*lines: str) -> None:
    typer.echo("\n".join(lines))
    sys.stdout.flush()
