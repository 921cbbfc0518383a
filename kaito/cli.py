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
        typer.echo("---\n".join(files.values()), nl=False)
        return
    for path, text in files.items():
        if not check:
            directory.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            typer.echo(f"wrote {path}")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            typer.echo(f"{path} is not current: run `kaito crds {directory}`", err=True)
            raise typer.Exit(1)


operator_app = typer.Typer(
    help="Run kaito in, or beside, a Kubernetes cluster.", no_args_is_help=True
)
app.add_typer(operator_app, name="operator")


@operator_app.command("run")
def operator_run(
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="KAITO_KUBECONFIG",
            help="The cluster. Without it: the pod's service account, else KUBECONFIG.",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=100, envvar="KAITO_WORKERS", help="Rounds at a time.")
    ] = 5,
    lease_namespace: Annotated[
        str,
        typer.Option(
            envvar="KAITO_LEASE_NAMESPACE",
            help="Namespace of the Lease for leader election. Empty: no election, one process.",
        ),
    ] = "",
    http_address: Annotated[
        str, typer.Option(envvar="KAITO_HTTP_ADDRESS", help="Where to serve probes and metrics.")
    ] = "127.0.0.1",
    http_port: Annotated[
        int,
        typer.Option(
            min=1, max=65535, envvar="KAITO_HTTP_PORT", help="/healthz, /readyz and /metrics."
        ),
    ] = 8080,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every round.")] = False,
) -> None:
    """Reconcile Workspaces until SIGTERM.

    NodeClaims are created and read; Karpenter, or another controller that acts on NodeClaims,
    makes the machines.

    kaito operator run --kubeconfig ~/.kube/config

    Exit code: 0 stopped, 1 the lease was lost (restart), 2 no cluster is configured.
    """
    import logging

    from kaito.bootstrap.operator import OperatorSettings, run_operator
    from kaito.domain.errors import InvalidInput

    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    settings = OperatorSettings(
        workers=workers,
        lease_namespace=lease_namespace,
        http_address=http_address,
        http_port=http_port,
    )
    try:
        code = run_operator(settings, kubeconfig=kubeconfig)
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)


def main() -> None:
    """Entry point of the console script."""
    app()
