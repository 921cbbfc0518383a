"""The composition root: adapters behind the ports that reconciling needs."""

from pathlib import Path

from kaito.adapters.files import load_catalogue
from kaito.adapters.k8s import crds
from kaito.adapters.k8s.controller import Controller
from kaito.adapters.k8s.karpenter import NodeClaimsOnly
from kaito.adapters.k8s.machine_store import KubeMachineStore
from kaito.adapters.k8s.operator_settings import OperatorSettings as OperatorSettings
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import KubeApi
from kaito.domain.catalogue import Catalogue
from kaito.domain.machine_plan import MachineLimits
from kaito.domain.ports import Clock, MachineCloud
from kaito.reconcile import Decisions, Ports
from kaito.system_clock import SystemClock


def kubernetes_ports(
    api: KubeApi,
    *,
    live: KubeApi,
    cloud: MachineCloud,
    clock: Clock,
    catalogue: Catalogue,
    limits: MachineLimits | None = None,
) -> Ports:
    """Ports over a Kubernetes API. Reads go to `api`, which may lag; `live` never does."""
    return Ports(
        workspaces=KubeWorkspaceStore(api, clock),
        machines=KubeMachineStore(api, clock, live=live),
        cloud=cloud,
        clock=clock,
        limits=limits or MachineLimits(),
        decisions=Decisions(catalogue),
    )


def run_operator(settings: OperatorSettings, *, kubeconfig: Path | None) -> int:
    """Run the operator until it is told to stop; the process's exit code.

    `kubeconfig` None: the pod's service account, or else the user's default configuration.
    Raises: InvalidInput (no cluster is configured, or the presets are wrong).
    """
    from kaito.adapters.k8s.client import KubernetesClientApi
    from kaito.adapters.k8s.client_configuration import kopf_login, load_configuration
    from kaito.adapters.k8s.operator_process import OperatorProcess

    clock = SystemClock()
    configuration = load_configuration(kubeconfig)
    api = KubernetesClientApi(configuration)
    ports = kubernetes_ports(
        api, live=api, cloud=NodeClaimsOnly(), clock=clock, catalogue=load_catalogue()
    )
    process = OperatorProcess(
        settings,
        api=api,
        clock=clock,
        make_controller=lambda wake: Controller(api, ports, wake, runs_machines=False),
        login=lambda: kopf_login(configuration),
    )
    return process.run()


def crd_files(directory: Path) -> dict[Path, str]:
    """The CustomResourceDefinitions: path below `directory` -> text."""
    made = (crds.workspace_crd(), crds.node_claim_crd())
    return {directory / crds.file_name(crd): crds.to_yaml(crd) for crd in made}
