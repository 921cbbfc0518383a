"""The composition root: adapters behind the ports that reconciling needs."""

from pathlib import Path

from kaito.adapters.k8s import crds
from kaito.adapters.k8s.machine_store import KubeMachineStore
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import KubeApi
from kaito.domain.catalogue import Catalogue
from kaito.domain.machine_plan import MachineLimits
from kaito.domain.ports import Clock, MachineCloud
from kaito.domain.provisioner import Provisioner
from kaito.reconcile import Decisions, Ports


def kubernetes_ports(
    api: KubeApi,
    *,
    live: KubeApi,
    cloud: MachineCloud,
    clock: Clock,
    catalogue: Catalogue,
    limits: MachineLimits | None = None,
    namespace: str = "",
    provisioner: Provisioner = Provisioner.KARPENTER,
) -> Ports:
    """Ports over a Kubernetes API. Reads go to `api`, which may lag; `live` never does.
    `namespace`: of machines, only those of its Workspaces are looked after."""
    return Ports(
        workspaces=KubeWorkspaceStore(api, clock, provisioner),
        machines=KubeMachineStore(api, clock, live=live, namespace=namespace),
        cloud=cloud,
        clock=clock,
        limits=limits or MachineLimits(),
        decisions=Decisions(catalogue, provisioner),
    )


def crd_files(directory: Path) -> dict[Path, str]:
    """The CustomResourceDefinitions: path below `directory` -> text."""
    made = (crds.workspace_crd(), crds.node_claim_crd())
    return {directory / crds.file_name(crd): crds.to_yaml(crd) for crd in made}
