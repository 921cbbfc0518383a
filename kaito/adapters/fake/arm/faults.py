"""What may go wrong with one request on purpose."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from kaito.adapters.fake.arm.errors import Layer
from kaito.adapters.fake.faults import FailAfter, FailBefore


@dataclass(frozen=True, slots=True)
class Hang:
    """No answer, and nothing is done, for as long as the client waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """This answer, and nothing is done."""

    status: int
    code: str
    message: str = "refused on purpose"
    layer: Layer = "aks"
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FailLater:
    """An agent pool is accepted, and its creation ends with this error half-way."""

    code: str
    message: str = "failed on purpose"


ArmFault: TypeAlias = FailBefore | FailAfter | Hang | Refuse | FailLater


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmRequest:
    """A request as faults choose by it. `action` is the permission that it needs, such as
    `Microsoft.ContainerService/managedClusters/agentPools/write`; `token` and `prices` need none.
    """

    action: str
    method: str
    path: str
    pool: str = ""


Choose: TypeAlias = Callable[[ArmRequest], ArmFault | None]
