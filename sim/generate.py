"""`python -m sim generate`: a scenario of many Workspaces, for runs at scale."""

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

BAD_INPUT: Final = 2


def generate(
    workspaces: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="How many Workspaces.")
    ] = 1_000,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of everything random.")] = 0,
    arrival: Annotated[
        str, typer.Option(metavar="DURATION", help="Apply them within so long; 0s: at once.")
    ] = "0s",
    several_nodes: Annotated[
        float, typer.Option(min=0, max=1, help="Share of Workspaces that run on several Nodes.")
    ] = 0.2,
    refused: Annotated[
        float, typer.Option(min=0, max=1, help="Orders that the cloud refuses, by Workspace.")
    ] = 0.05,
    deleted: Annotated[
        float, typer.Option(min=0, max=1, help="Share of Workspaces deleted within the hour.")
    ] = 0.1,
    quota_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the vCPUs that the quotas allow at a time; raised in the end.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write; default: stdout."),
    ] = None,
) -> None:
    """Make a scenario of many Workspaces over all models and instance types of the catalogue.

    Everything that stays is expected to become READY. One seed, one scenario.

    \b
    Examples:
      python -m sim generate --workspaces 100 --seed 1 -o scenario.yaml
      python -m sim generate --workspaces 20 | python -m sim run -

    Exit code: 0 written, 2 the input is wrong.
    """
    from kaito.adapters.files import load_catalogue
    from kaito.domain.durations import EXAMPLES, parse_duration
    from kaito.domain.errors import InvalidInput
    from sim.workload_generator import Load, as_yaml, generate

    try:
        arrival_s = parse_duration(arrival)
    except ValueError as error:
        typer.echo(f"--arrival: {error}, got {arrival!r}. Write {EXAMPLES}", err=True)
        raise typer.Exit(BAD_INPUT) from error
    try:
        load = Load(
            workspaces=workspaces,
            seed=seed,
            arrival_s=arrival_s,
            several_nodes_share=several_nodes,
            refused_share=refused,
            deleted_share=deleted,
            quota_share=quota_share,
        )
        text = as_yaml(generate(load, load_catalogue()))
        if output is None:
            sys.stdout.write(text)
        else:
            output.write_text(text, encoding="utf-8")
    except (InvalidInput, OSError) as error:
        typer.echo(f"generate: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from error
