"""The `kaito` command. Heavy imports wait until a command needs them."""

import os
from pathlib import Path
from typing import Annotated

import typer

from kaito import azure_options, timeout_options
from kaito.accuracy_command import accuracy
from kaito.azure_command import azure_app
from kaito.domain.names import DEFAULT_STORAGE_CLASS
from kaito.domain.provisioner import Provisioner
from kaito.explain_command import explain
from kaito.logs import LogFormat, configure_logging
from kaito.plan_command import plan

_WEIGHTS_CLASS = "KAITO_WEIGHTS_STORAGE_CLASS"

ModelsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="PATH",
        envvar="KAITO_MODELS",
        help="Models of your own beside kaito's: a file that describes one, or a folder of such "
        "files. The same for operator and webhook.",
    ),
]

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
    machine_mirror: Annotated[
        bool,
        typer.Option(
            "--machine-mirror", help="Only that of `kaito operator run --mirror-machines`."
        ),
    ] = False,
) -> None:
    """Make the CustomResourceDefinitions from the models.

    kaito crds | kubectl apply -f -

    kaito crds deploy/crds --check
    """
    from kaito.bootstrap import crd_files

    files = crd_files(directory or Path(), machine_mirror=machine_mirror)
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
            which = " --machine-mirror" if machine_mirror else ""
            typer.echo(f"{path} is not current: run `kaito crds{which} {directory}`", err=True)
            raise typer.Exit(1)


app.command()(accuracy)
app.command()(plan)
app.command()(explain)
app.add_typer(azure_app, name="azure")

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
    provisioner: Annotated[
        Provisioner,
        typer.Option(
            envvar="KAITO_PROVISIONER",
            help="karpenter: order a machine for each Node that a model needs, as a NodeClaim that "
            "Karpenter or gpu-provisioner acts on. aks: act on NodeClaims too, and make agent "
            "pools of Azure Kubernetes Service. byo, bring your own: run models on the GPU Nodes "
            "that resource.labelSelector finds, and order none.",
        ),
    ] = Provisioner.KARPENTER,
    models: ModelsOption = None,
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
    namespace: Annotated[
        str,
        typer.Option(
            envvar="KAITO_NAMESPACE", help="Look after this namespace only. Empty: after all."
        ),
    ] = "",
    *,
    weights_storage_class: Annotated[
        str,
        typer.Option(
            # An empty variable means something here, and click takes it for one that is not set.
            default_factory=lambda: os.environ.get(_WEIGHTS_CLASS, DEFAULT_STORAGE_CLASS),
            show_default=DEFAULT_STORAGE_CLASS,
            envvar=_WEIGHTS_CLASS,
            help="StorageClass of the machines' local NVMe disks. Where the cluster has it and the "
            "instance type has such disks, weights live there and the OS disk is smaller. Empty: "
            "weights live on the OS disk.",
        ),
    ],
    max_machines: Annotated[
        int | None,
        typer.Option(
            min=0,
            envvar="KAITO_MAX_MACHINES",
            help="Machines that the Workspaces of a namespace may have together. Without it: any.",
        ),
    ] = None,
    max_cost_per_hour: Annotated[
        float | None,
        typer.Option(
            min=0,
            envvar="KAITO_MAX_COST_PER_HOUR",
            help="US dollars per hour that the machines of a namespace may cost together.",
        ),
    ] = None,
    region: Annotated[
        str,
        typer.Option(
            envvar="KAITO_REGION",
            help="Region whose prices count for --max-cost-per-hour, such as eastus. Empty: the "
            "highest of all regions.",
        ),
    ] = "",
    azure_subscription_id: azure_options.SubscriptionOption = "",
    azure_resource_group: azure_options.ResourceGroupOption = "",
    azure_cluster_name: azure_options.ClusterOption = "",
    azure_location: azure_options.LocationOption = "",
    azure_tenant_id: azure_options.TenantOption = "",
    azure_client_id: azure_options.ClientOption = "",
    azure_credential: azure_options.CredentialOption = "auto",
    azure_zones: azure_options.ZonesOption = "",
    azure_subnet_id: azure_options.SubnetOption = "",
    azure_spot_max_price: azure_options.SpotPriceOption = None,
    azure_put_rate: azure_options.PutRateOption = "20,1",
    azure_other_rate: azure_options.OtherRateOption = "60,60",
    azure_arm_endpoint: azure_options.EndpointOption = "https://management.azure.com",
    azure_ca_file: azure_options.CaFileOption = None,
    launch_timeout: timeout_options.LaunchOption = "5m",
    registration_timeout: timeout_options.RegistrationOption = "15m",
    initialization_timeout: timeout_options.InitializationOption = "20m",
    unhealthy_timeout: timeout_options.UnhealthyOption = "10m",
    drain_timeout: timeout_options.DrainOption = "5m",
    mirror_machines: Annotated[
        bool,
        typer.Option(
            "--mirror-machines",
            envvar="KAITO_MIRROR_MACHINES",
            help="Show each NodeClaim as a Machine of karpenter.sh/v1alpha5 too, to be read only, "
            "for tools written for KAITO up to v0.2.",
        ),
    ] = False,
    log_format: Annotated[
        LogFormat,
        typer.Option(envvar="KAITO_LOG_FORMAT", help="text for people, json for programs."),
    ] = LogFormat.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every round.")] = False,
) -> None:
    """Reconcile Workspaces until SIGTERM.

    NodeClaims are created and read; Karpenter, or another controller that acts on NodeClaims,
    makes the machines. With --provisioner aks kaito makes them itself, each an agent pool with one
    node, and nobody else may act on NodeClaims. With --provisioner byo there are none: label your
    GPU Nodes, and name the labels in resource.labelSelector. What the Nodes have is read from
    their instance type or from the labels of NVIDIA's GPU feature discovery. The time-outs are for
    machines that kaito itself orders; Karpenter has its own.

    kaito operator run --kubeconfig ~/.kube/config

    kaito operator run --kubeconfig ~/.kube/config --provisioner byo

    kaito operator run --provisioner aks --azure-subscription-id
    00000000-0000-0000-0000-000000000000 --azure-resource-group my-group
    --azure-cluster-name my-cluster --azure-location eastus

    Exit code: 0 stopped, 1 the lease was lost (restart), 2 no cluster is configured or the
    settings are wrong.
    """
    from kaito.bootstrap.aks import azure_settings
    from kaito.bootstrap.operator import OperatorSettings, run_operator
    from kaito.domain.errors import InvalidInput
    from kaito.domain.machine_budget import MachineGuards
    from kaito.domain.machine_limits import limits_from

    configure_logging(log_format, verbose=verbose)
    given = {
        "launch_s": launch_timeout,
        "register_s": registration_timeout,
        "initialize_s": initialization_timeout,
        "unhealthy_s": unhealthy_timeout,
        "drain_s": drain_timeout,
    }
    try:
        limits = limits_from(given)
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    settings = OperatorSettings(
        provisioner=provisioner,
        workers=workers,
        namespace=namespace,
        lease_namespace=lease_namespace,
        http_address=http_address,
        http_port=http_port,
        models=models,
        weights_class=weights_storage_class,
        guards=MachineGuards(
            max_machines=max_machines, max_usd_per_hour=max_cost_per_hour, region=region
        ),
        limits=limits,
        mirrors_machines=mirror_machines,
    )
    try:
        azure = None
        if provisioner is Provisioner.AKS:
            azure = azure_settings(
                subscription_id=azure_subscription_id,
                resource_group=azure_resource_group,
                cluster_name=azure_cluster_name,
                location=azure_location,
                tenant_id=azure_tenant_id,
                client_id=azure_client_id,
                credential=azure_credential,
                zones=azure_zones,
                subnet_id=azure_subnet_id,
                spot_max_price_usd=azure_spot_max_price,
                put_rate=azure_put_rate,
                other_rate=azure_other_rate,
                arm_endpoint=azure_arm_endpoint,
                ca_file=azure_ca_file,
            )
        code = run_operator(settings, kubeconfig=kubeconfig, azure=azure)
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    raise typer.Exit(code)


webhook_app = typer.Typer(
    help="Refuse Workspaces that could never run, before they are stored.", no_args_is_help=True
)
app.add_typer(webhook_app, name="webhook")

_WEBHOOK_SERVICE = "kaito-system/kaito-webhook"


@webhook_app.command("run")
def webhook_run(
    certificate: Annotated[
        Path,
        typer.Option(
            envvar="KAITO_WEBHOOK_CERTIFICATE", help="PEM file of the server's certificate chain."
        ),
    ],
    private_key: Annotated[
        Path,
        typer.Option(
            envvar="KAITO_WEBHOOK_PRIVATE_KEY", help="PEM file of its key, without a passphrase."
        ),
    ],
    address: Annotated[
        str, typer.Option(envvar="KAITO_WEBHOOK_ADDRESS", help="Where to listen.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, envvar="KAITO_WEBHOOK_PORT", help="Where to listen.")
    ] = 9443,
    provisioner: Annotated[
        Provisioner,
        typer.Option(
            envvar="KAITO_PROVISIONER",
            help="As for the operator. karpenter, aks: resource.instanceType is required. byo: it "
            "may be left out, and any label of a Node may be selected by.",
        ),
    ] = Provisioner.KARPENTER,
    models: ModelsOption = None,
    log_format: Annotated[
        LogFormat,
        typer.Option(envvar="KAITO_LOG_FORMAT", help="text for people, json for programs."),
    ] = LogFormat.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log every answer.")] = False,
) -> None:
    """Answer the API server's AdmissionReviews over HTTPS until SIGTERM.

    It has no access to the cluster and keeps nothing, so that any number may run. POST /validate;
    GET /healthz, /readyz and /metrics. The files are read again when they change.

    kaito webhook run --certificate tls.crt --private-key tls.key

    Exit code: 0 stopped, 2 a file, the address or the port cannot be used.
    """
    from kaito.bootstrap.webhook import WebhookSettings, run_webhook
    from kaito.domain.errors import InvalidInput

    configure_logging(log_format, verbose=verbose)
    settings = WebhookSettings(
        certificate=certificate, private_key=private_key, address=address, port=port
    )
    try:
        run_webhook(settings, provisioner, models)
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error


@webhook_app.command("configuration")
def webhook_configuration(
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM file of the CA to trust. Without it: what the API server trusts anyway, or "
            "what cert-manager fills in.",
        ),
    ] = None,
    url: Annotated[
        str,
        typer.Option(
            metavar="URL", help="A webhook outside of the cluster, as in https://127.0.0.1:9443."
        ),
    ] = "",
    service: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="The Service in front of the webhook.")
    ] = _WEBHOOK_SERVICE,
) -> None:
    """Print the ValidatingWebhookConfiguration.

    While the webhook does not answer, or its CA is not trusted, no Workspace can be created or
    changed.

    kaito webhook configuration --ca ca.crt | kubectl apply -f -

    Exit code: 0 printed, 2 an option is wrong.
    """
    from kaito.bootstrap.webhook import configuration_manifest
    from kaito.domain.errors import InvalidInput

    if url and service != _WEBHOOK_SERVICE:
        raise typer.BadParameter("give --url or --service, not both")
    try:
        text = configuration_manifest(service=service, url=url, authority_file=ca)
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(text, nl=False)


@webhook_app.command("certificate")
def webhook_certificate(
    service: Annotated[
        str, typer.Option(metavar="NAMESPACE/NAME", help="The Service in front of the webhook.")
    ] = _WEBHOOK_SERVICE,
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="How long the certificate is valid.")
    ] = 365,
    ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM file of CAs to trust as well: the ones before, until every pod has the new "
            "certificate.",
        ),
    ] = None,
) -> None:
    """Print a Secret with a new certificate, and the configuration that trusts it.

    For clusters without cert-manager. Nobody renews it: run this again before it ends. The Secret
    holds a private key, so pipe it and keep no copy.

    kaito webhook certificate --service kaito-system/kaito-webhook | kubectl apply -f -

    Exit code: 0 printed, 2 an option is wrong.
    """
    from kaito.bootstrap.webhook import certificate_manifests
    from kaito.domain.errors import InvalidInput

    try:
        text = certificate_manifests(service=service, days=days, authority_file=ca)
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(text, nl=False)


def main() -> None:
    """Entry point of the console script."""
    app()
