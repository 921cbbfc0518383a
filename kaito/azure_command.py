"""`kaito azure`: what AKS is like before kaito orders machines there."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from kaito import azure_options

if TYPE_CHECKING:
    from kaito.domain.cluster_view import ConfigView
    from kaito.domain.workspace import Workspace

_MISSING: Final = 1
_BAD_INPUT: Final = 2
_PRICES_ENDPOINT: Final = "KAITO_AZURE_PRICES_ENDPOINT"
_PUBLIC_PRICES: Final = "https://prices.azure.com"

azure_app = typer.Typer(
    help="Look at Azure Kubernetes Service before kaito orders machines there.",
    no_args_is_help=True,
)


@azure_app.callback()
def _azure() -> None:
    """Keeps `kaito azure` a command with subcommands while there is only one."""


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


@azure_app.command("check")
def check(
    instance_type: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Look at one machine of this type. Repeatable."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Look at the machines that the Workspaces in it ask for, with their fallbacks; - "
            "is standard input. Repeatable.",
        ),
    ] = None,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(
            envvar="KAITO_KUBECONFIG",
            help="The cluster, to see whether it announces GPUs. Without it: the pod's own, else "
            "that is not checked.",
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            envvar="KAITO_MODELS",
            help="Models of your own beside kaito's: a file or a folder, as for the operator.",
        ),
    ] = None,
    azure_subscription_id: azure_options.SubscriptionOption = "",
    azure_resource_group: azure_options.ResourceGroupOption = "",
    azure_cluster_name: azure_options.ClusterOption = "",
    azure_location: azure_options.LocationOption = "",
    azure_tenant_id: azure_options.TenantOption = "",
    azure_client_id: azure_options.ClientOption = "",
    azure_credential: azure_options.CredentialOption = "auto",
    azure_zones: azure_options.ZonesOption = "",
    azure_subnet_id: azure_options.SubnetOption = "",
    azure_arm_endpoint: azure_options.EndpointOption = "https://management.azure.com",
    *,
    azure_prices_endpoint: Annotated[
        str,
        typer.Option(
            # An empty variable means something here, and click takes it for one that is not set.
            default_factory=lambda: os.environ.get(_PRICES_ENDPOINT, _PUBLIC_PRICES),
            show_default=_PUBLIC_PRICES,
            envvar=_PRICES_ENDPOINT,
            help="Azure's retail prices; no credential is sent there. Empty: the prices that "
            "kaito brings.",
        ),
    ],
    azure_ca_file: azure_options.CaFileOption = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
) -> None:
    """Say what is missing before the first machine is ordered: sign-in, cluster, permissions, agent
    pools left, and for each instance type whether it is sold, its quota and its price; with a
    kubeconfig also who acts on NodeClaims and whether GPUs are announced.

    Nothing is changed, and no id of an account is printed. The permissions are those of whoever
    runs it; for those of the operator, run it in its pod.

    \b
    Examples:
      kaito azure check --instance-type Standard_NC24ads_A100_v4
      kaito azure check -f workspace.yaml --kubeconfig ~/.kube/config
      kubectl -n kaito-system exec deploy/kaito-operator -- kaito azure check -o json

    Exit code: 0 nothing is missing (there may be warnings), 1 something is, 2 the input is wrong.
    """
    from kaito.adapters.files import load_catalogue
    from kaito.bootstrap.aks import azure_settings, needs_azure_sdk
    from kaito.domain.errors import InvalidInput

    try:
        settings = azure_settings(
            subscription_id=azure_subscription_id,
            resource_group=azure_resource_group,
            cluster_name=azure_cluster_name,
            location=azure_location,
            tenant_id=azure_tenant_id,
            client_id=azure_client_id,
            credential=azure_credential,
            zones=azure_zones,
            subnet_id=azure_subnet_id,
            spot_max_price_usd=None,
            arm_endpoint=azure_arm_endpoint,
            ca_file=azure_ca_file,
        )
        with needs_azure_sdk("kaito azure check"):
            from kaito.bootstrap.azure_check import check_azure
        found = check_azure(
            settings,
            load_catalogue(models=models),
            instance_types=instance_type or (),
            workspaces=[one for path in file or () for one in _workspaces(path)],
            prices_endpoint=azure_prices_endpoint,
            kubeconfig=kubeconfig,
        )
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_BAD_INPUT) from error
    if output is Output.JSON:
        typer.echo(json.dumps(found, indent=2))
    else:
        typer.echo("\n".join(table_lines(found)))
    if found["result"] != "ok":
        raise typer.Exit(_MISSING)


def table_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The document for people: a line for each check, and below it what to do."""
    rows = [
        (one["status"], one["area"], one["subject"], _message(one), one["remedy"])
        for one in found["checks"]
    ]
    heads = ("STATUS", "CHECK", "OF")
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=False))
        return "  ".join((*padded, cells[-1])).rstrip()

    yield line((*heads, "RESULT"))
    for *cells, remedy in rows:
        yield line(cells)
        if remedy:
            yield f"    {remedy}"
    missing = sum(row[0] == "missing" for row in rows)
    yield ""
    unchecked = sum(row[0] == "not checked" for row in rows)
    more = f", {unchecked} not checked" if unchecked else ""
    yield f"{missing or 'nothing'} {'is' if missing < 2 else 'are'} missing{more}"


def _message(one: Mapping[str, Any]) -> str:
    return f"{one['message']} ({one['source']})" if one["source"] else str(one["message"])


def _workspaces(path: str) -> "list[tuple[Workspace, ConfigView | None]]":
    """Raises: InvalidInput."""
    from kaito.adapters.documents import read
    from kaito.adapters.workspace_documents import config_of, workspaces_of

    documents = read(path)
    return [(one, config_of(one, documents)) for one in workspaces_of(documents, path)]
