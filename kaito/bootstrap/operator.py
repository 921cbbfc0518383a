"""The operator's composition root: the real cluster behind the ports."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kaito.adapters.azure.settings import AzureSettings
from kaito.adapters.files import load_catalogue
from kaito.adapters.k8s.client import ClientSettings, KubernetesClientApi
from kaito.adapters.k8s.client_configuration import kopf_login, load_configuration
from kaito.adapters.k8s.client_http import Timeouts
from kaito.adapters.k8s.client_retry import RetryPolicy
from kaito.adapters.k8s.controller import Controller
from kaito.adapters.k8s.informer import INFORMED, InformerCache
from kaito.adapters.k8s.karpenter import NodeClaimsOnly
from kaito.adapters.k8s.machine_mirror import MachineMirror, check_machines_served
from kaito.adapters.k8s.operator_process import OperatorProcess
from kaito.adapters.k8s.operator_settings import OperatorSettings
from kaito.adapters.kube_api import MACHINE, NODE_CLAIM, STORAGE_CLASS, Resource
from kaito.bootstrap import kubernetes_ports
from kaito.bootstrap.aks import aks_cloud
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.ports import MachineCloud
from kaito.domain.provisioner import Provisioner
from kaito.system_clock import SteadyClock, SystemClock

if TYPE_CHECKING:
    from kaito.adapters.azure.cloud import AksMachineCloud

# Well within the ten seconds in which a leader renews its Lease or gives up.
_FOR_LEASES: Final = ClientSettings(
    timeouts=Timeouts(connect_s=2.0, read_s=3.0), retry=RetryPolicy(attempts=1)
)

__all__ = ["OperatorSettings", "run_operator"]


def run_operator(
    settings: OperatorSettings, *, kubeconfig: Path | None, azure: AzureSettings | None = None
) -> int:
    """Run the operator until it is told to stop; the process's exit code.

    `kubeconfig` None: the pod's service account, or else the user's default configuration.
    `azure`: for machines that kaito makes on AKS itself.
    Raises: InvalidInput (no cluster is configured, the presets or models are wrong, or what AKS or
    the mirror of machines needs is missing).
    """
    if settings.mirrors_machines and settings.provisioner is Provisioner.BYO:
        problem = Problem(
            field="--mirror-machines",
            message="with --provisioner byo there are no NodeClaims to show as Machines",
            remedy="Leave one of the two out",
        )
        raise InvalidInput([problem])
    configuration = load_configuration(kubeconfig)
    api = KubernetesClientApi(configuration)
    if settings.mirrors_machines:
        check_machines_served(api)
    informed = _informed(settings)
    followed = [each for each in informed if each is STORAGE_CLASS]
    cache = InformerCache(api, informed, namespace=settings.namespace or None)
    acts = settings.provisioner is Provisioner.AKS
    cloud: MachineCloud = NodeClaimsOnly()
    arm_requests = None
    if acts:
        assert azure is not None, "AKS has settings"
        cloud = aks = aks_cloud(azure, cache)
        arm_requests = _requests_of(aks)
    ports = kubernetes_ports(
        cache,
        live=api,
        cloud=cloud,
        clock=SystemClock(),
        catalogue=load_catalogue(models=settings.models),
        namespace=settings.namespace,
        provisioner=settings.provisioner,
        guards=settings.guards,
        limits=settings.limits,
        weights_class=settings.weights_class,
    )
    mirror = MachineMirror(cache, settings.namespace) if settings.mirrors_machines else None
    process = OperatorProcess(
        settings,
        lease_api=KubernetesClientApi(configuration, _FOR_LEASES),
        clock=SteadyClock(),
        make_controller=lambda wake: Controller(
            cache, ports, wake, runs_machines=acts, mirror=mirror, followed=followed
        ),
        is_synced=cache.synced,
        login=lambda: kopf_login(configuration),
        arm_requests=arm_requests,
    )
    return process.run()


def _requests_of(cloud: "AksMachineCloud") -> Callable[[], Mapping[str, int]]:
    return lambda: cloud.calls


def _informed(settings: OperatorSettings) -> list[Resource]:
    """What is read. Without machines to order there is no NodeClaim, and maybe no such kind; and
    without a name no StorageClass is looked for."""
    is_byo = settings.provisioner is Provisioner.BYO
    unread = {NODE_CLAIM, STORAGE_CLASS} if is_byo else set()
    if not settings.weights_class:
        unread.add(STORAGE_CLASS)
    mirrors = (MACHINE,) if settings.mirrors_machines else ()
    return [*(each for each in INFORMED if each not in unread), *mirrors]
