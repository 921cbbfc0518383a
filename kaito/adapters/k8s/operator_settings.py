"""The operator's settings, read once from flags and environment."""

from dataclasses import dataclass, field
from pathlib import Path

from kaito.adapters.k8s.runner import DEFAULT_WORKERS
from kaito.domain.machine_budget import MachineGuards
from kaito.domain.machine_limits import MachineLimits
from kaito.domain.names import DEFAULT_STORAGE_CLASS
from kaito.domain.provisioner import Provisioner


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Read once from flags and environment. `lease_namespace` empty: no leader election.
    `namespace` empty: Workspaces of every namespace. `models`: a file or folder of the user's own.
    `weights_class` empty: weights live on the OS disk. `limits` are for machines that kaito orders
    from a cloud itself. `mirrors_machines`: NodeClaims are shown as Machines too.
    """

    provisioner: Provisioner = Provisioner.KARPENTER
    workers: int = DEFAULT_WORKERS
    namespace: str = ""
    lease_namespace: str = ""
    lease_name: str = "kaito-operator"
    http_address: str = "127.0.0.1"
    http_port: int = 8080
    models: Path | None = None
    weights_class: str = DEFAULT_STORAGE_CLASS
    guards: MachineGuards = field(default_factory=MachineGuards)
    limits: MachineLimits = field(default_factory=MachineLimits)
    mirrors_machines: bool = False
