"""The `kaito` command. Heavy imports wait until a command needs them."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Serve and fine-tune large language models on Kubernetes.\n\n"
    "To try a manifest with no cluster: python -m sim run FILE",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _kaito() -> None:
    """Keeps `kaito` a command with subcommands while there is only one."""


@app.command()
def version() -> None:
    """Print the version."""
    from kaito import __version__

    typer.echo(__version__)


@app.command()
def crds(
    directory: Annotated[
        Path | None,
        typer.Argument(help="Folder to write to, such as deploy/crds. Without it: print."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 if the folder is not current.")
    ] = False,
) -> None:
    """Make the CustomResourceDefinitions from the models.

    kaito crds | kubectl apply -f -

    kaito crds deploy/crds --check
    """
    from kaito.bootstrap import crd_files

    files = crd_files(directory or Path())
    if directory is None:
        if check:
            raise typer.BadParameter("--check needs the DIRECTORY to compare with")
        for text in files.values():
            typer.echo(text, nl=False)
        return
    for path, text in files.items():
        if not check:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            typer.echo(f"wrote {path}")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            typer.echo(f"{path} is not current: run `kaito crds {directory}`", err=True)
            raise typer.Exit(1)


def main() -> None:
    """Entry point of the console script."""
    app()
