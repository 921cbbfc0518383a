"""The composition root: adapters behind the ports that reconciling needs."""

from pathlib import Path

from kaito.adapters.k8s import crds
from kaito.adapters.k8s.machine_ledger import MachineLedger
from kaito.adapters.k8s.machine_store import KubeMachineStore
from kaito.adapters.k8s.workspace_store import KubeWorkspaceStore
from kaito.adapters.kube_api import KubeApi
from kaito.domain.catalogue import Catalogue
from kaito.domain.machine_budget import MachineGuards
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.ports import Clock, MachineBudget, MachineCloud, NoBudget
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
    guards: MachineGuards | None = None,
    weights_class: str = "",
) -> Ports:
    """Ports over a Kubernetes API. Reads go to `api`, which may lag; `live` never does.
    `namespace`: of machines, only those of its Workspaces are looked after. `guards`: what a
    namespace may have; `weights_class`: the StorageClass for weights on local disks. Neither is for
    Nodes that users bring."""
    guarded = guards is not None and guards.limits_something
    budget: MachineBudget = NoBudget()
    if guards is not None and guarded and provisioner is not Provisioner.BYO:
        budget = MachineLedger(api, catalogue, guards)
    return Ports(
        workspaces=KubeWorkspaceStore(
            api, clock, provisioner, "" if provisioner is Provisioner.BYO else weights_class
        ),
        machines=KubeMachineStore(api, clock, live=live, namespace=namespace),
        cloud=cloud,
        clock=clock,
        limits=limits or MachineLimits(),
        decisions=Decisions(catalogue, provisioner),
        budget=budget,
        watched_from_s=clock.now_s(),
    )


def crd_files(directory: Path, *, machine_mirror: bool = False) -> dict[Path, str]:
    """The CustomResourceDefinitions: path below `directory` -> text.

    `machine_mirror`: instead of those that every installation has, that of the mirror.
    """
    made = [crds.workspace_crd(), crds.node_claim_crd()]
    if machine_mirror:
        made = [crds.machine_crd()]
    return {directory / crds.file_name(crd): crds.to_yaml(crd) for crd in made}
