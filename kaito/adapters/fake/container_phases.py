"""What the twin's kubelet asks (what does this container do, and for how long?) and reports."""

from dataclasses import dataclass
from typing import Final, Protocol

from kaito.adapters.kube_api import KubeObject

IMAGE_PULL: Final = "image pull"
ADAPTER_PULL: Final = "adapter pull"
DATA_DOWNLOAD: Final = "data download"
WEIGHTS_DOWNLOAD: Final = "weights download"
WEIGHTS_LOAD: Final = "weights load"
TORCH_COMPILE: Final = "torch compile"
MEMORY_PROFILING: Final = "memory profiling"
CUDA_GRAPHS: Final = "CUDA graphs"
ENGINE_INIT: Final = "engine init"
TRAINING: Final = "training"
RESULTS_PUSH: Final = "results push"
READINESS_PROBE: Final = "readiness probe"
RAY_START: Final = "Ray start"
RAY_GROUP: Final = "Ray group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a phase goes wrong. An image pull has no exit code: only the message is used."""

    exit_code: int = 1
    reason: str = "Error"
    """As in a terminated container's state: `Error`, `OOMKilled`."""
    message: str = ""


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a container's life. With a `failure` the container ends when it is over."""

    name: str
    duration_s: float
    detail: str = ""
    failure: Failure | None = None
    waits_for_group: bool = False
    """It lasts until the rest of the group lets it go on, whatever its duration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A container's place among pods that serve one model together; the leader's rank is 0."""

    leader_host: str
    rank: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """What one start of a container does: its phases in order, and what comes after them."""

    phases: tuple[Phase, ...] = ()
    exits: bool = False
    """Exit with code 0 after the phases; otherwise run, and answer probes, until stopped."""
    after: str = ""
    """Begin the phases once the container of this name succeeds; if it fails, exit at once."""
    member: Member | None = None
    """Its probes find what the group makes of it."""


class ContainerPhases(Protocol):
    """The behaviour of images. Durations are seconds of the world's time, drawn by the answerer."""

    def image_pull(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> Phase:
        """One attempt to pull `image` to `node`, which has none of it yet."""

    def plan(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> ContainerPlan:
        """One start of the container, which may be an init container. Asked at every restart."""

    def stop_s(self, node: KubeObject, pod: KubeObject, container: str) -> float:
        """Seconds from SIGTERM to the exit; the kubelet cuts it off at the grace period."""


class Recorder(Protocol):
    """Hears of every phase, for a timeline. `subject` is `Pod/<namespace>/<name>`."""

    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        """A phase began, at epoch seconds `start_s`."""

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        """A phase that had begun is over; `detail` says so where it failed or was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingPhase:
    """A phase that has begun and is not over."""

    subject: str
    name: str
    start_s: float
    due_s: float | None
    """When it will be over; None while that depends on something else."""
    why: str
