"""What to simulate: everything that the user's files say, checked, as one timeline.

`sim.loading.load` makes one from files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from kaito.adapters.files import load_catalogue
from kaito.domain.catalogue import Catalogue
from kaito.domain.provisioner import Provisioner
from sim.cloud_file import CloudChange, CloudPart, GuardsPart, TimeoutsPart
from sim.expectations import AnyExpect
from sim.fault_kinds import ClockJump, ContainerExit, DroppedWatch, ImagePullFailure, NodeLoss
from sim.manifests import Key
from sim.scenario_file import ApiError, LaunchFailure, OperatorCrash, StaleRead

DEFAULT_REGION: Final = "eastus"
DEFAULT_SEED: Final = 0

AnyFault: TypeAlias = (
    OperatorCrash
    | ApiError
    | StaleRead
    | LaunchFailure
    | NodeLoss
    | ImagePullFailure
    | ContainerExit
    | DroppedWatch
    | ClockJump
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Apply:
    """`kubectl apply` of one object. The manifest names its namespace; `source` is file:line."""

    at_s: float
    manifest: Mapping[str, Any]
    source: str
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Patch:
    """A JSON merge patch of one object."""

    at_s: float
    key: Key
    merge: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delete:
    """`kubectl delete --wait=false` of one object."""

    at_s: float
    key: Key
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Inject:
    """Something goes wrong in the world."""

    at_s: float
    fault: AnyFault
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreconciled:
    """An object of a kind that nothing acts on yet. It is checked, and not applied."""

    at_s: float
    api_version: str
    source: str
    key: Key

    @property
    def message(self) -> str:
        """Why nothing comes of it."""
        return f"{self.api_version} {self.key.kind} is not reconciled yet: nothing is made for it"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeCloud:
    """The cloud has more or less to sell from now on."""

    at_s: float
    change: CloudChange
    source: str


Step: TypeAlias = Apply | Patch | Delete | Inject | ChangeCloud


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The simulated world. `latencies_s` fixes phases by name, before `latency_scale`."""

    provisioner: Provisioner = Provisioner.KARPENTER
    region: str = DEFAULT_REGION
    latency_scale: float = 1.0
    latencies_s: Mapping[str, float] = field(default_factory=dict)
    cloud: CloudPart = field(default_factory=CloudPart)
    guards: GuardsPart = field(default_factory=GuardsPart)
    timeouts: TimeoutsPart = field(default_factory=TimeoutsPart)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A checked scenario. `steps` are sorted by time; steps of one time are in the user's order.

    `namespaces` are used by objects and made by no step; `default` is not among them.
    `assumed_secrets` are the (namespace, name) that plain manifests name and no step makes.
    `until_s` None: the run ends when nothing more happens. `catalogue` is read once, with the
    user's own models, and is what every run of the scenario plans with.
    """

    files: tuple[str, ...]
    description: str = ""
    seed: int = DEFAULT_SEED
    world: World = field(default_factory=World)
    steps: tuple[Step, ...] = ()
    until_s: float | None = None
    expectations: tuple[AnyExpect, ...] = ()
    namespaces: tuple[str, ...] = ()
    assumed_secrets: tuple[tuple[str, str], ...] = ()
    catalogue: Catalogue = field(default_factory=load_catalogue, repr=False, compare=False)
    unreconciled: tuple[Unreconciled, ...] = ()
