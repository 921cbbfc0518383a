"""Images whose registry does not answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from kaito.adapters.fake.container_phases import (
    ADAPTER_PULL,
    IMAGE_PULL,
    ContainerPhases,
    ContainerPlan,
    Failure,
    Phase,
)
from kaito.adapters.kube_api import KubeObject

# containerd gives up on a registry that answers with 503 after a few seconds; a prior.
FAILED_PULL_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Outage:
    registry: str
    image: str
    until_s: float

    def concerns(self, reference: str) -> bool:
        if self.registry:
            return registry_of(reference) == self.registry
        return self.image in {"", reference, _without_tag(reference)}


class FaultyImages:
    """Other `ContainerPhases`, seen through outages of registries.

    An attempt to pull fails if an outage goes on when it begins. Adapters are images too: the
    container that fetches one exits with 1.
    """

    def __init__(self, inner: ContainerPhases, now_s: Callable[[], float]) -> None:
        self._inner, self._now_s = inner, now_s
        self._outages: list[_Outage] = []

    def fail(self, *, until_s: float, registry: str = "", image: str = "") -> None:
        """Until then nothing can be pulled from `registry`, or of `image`; both empty: at all."""
        self._outages.append(_Outage(registry, image, until_s))

    def image_pull(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> Phase:
        """See `ContainerPhases`."""
        failure = self._failure([image])
        if failure is not None:
            return Phase(IMAGE_PULL, FAILED_PULL_S, image, failure)
        return self._inner.image_pull(node, pod, container, image)

    def plan(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> ContainerPlan:
        """See `ContainerPhases`."""
        plan = self._inner.plan(node, pod, container, image)
        if not any(phase.name == ADAPTER_PULL for phase in plan.phases):
            return plan
        failure = self._failure(_arguments(_container(pod, container)))
        if failure is None:
            return plan
        phases = tuple(
            replace(phase, duration_s=FAILED_PULL_S, failure=failure)
            if phase.name == ADAPTER_PULL
            else phase
            for phase in plan.phases
        )
        return replace(plan, phases=phases)

    def stop_s(self, node: KubeObject, pod: KubeObject, container: str) -> float:
        """See `ContainerPhases`."""
        return self._inner.stop_s(node, pod, container)

    def _failure(self, references: list[str]) -> Failure | None:
        now_s = self._now_s()
        for outage in self._outages:
            if now_s >= outage.until_s:
                continue
            found = next((one for one in references if outage.concerns(one)), None)
            if found is not None:
                message = (
                    f'failed to pull and unpack image "{found}": registry '
                    f"{registry_of(found)} answers 503 Service Unavailable"
                )
                return Failure(message=message)
        return None


def registry_of(reference: str) -> str:
    """The registry's host; docker.io where the reference names none.

    The first part is a host if it has a dot or a port, or is localhost (distribution/reference,
    normalize.go, splitDockerDomain).
    """
    host, slash, _rest = reference.partition("/")
    is_host = slash and ("." in host or ":" in host or host == "localhost")
    return host if is_host else "docker.io"


def _without_tag(reference: str) -> str:
    name = reference.partition("@")[0]
    path, slash, last = name.rpartition("/")
    return f"{path}{slash}{last.partition(':')[0]}"


def _container(pod: KubeObject, name: str) -> Mapping[str, Any]:
    spec = pod["spec"]
    everything = (*(spec.get("initContainers") or ()), *spec["containers"])
    found: Mapping[str, Any] = next(one for one in everything if one["name"] == name)
    return found


def _arguments(container: Mapping[str, Any]) -> list[str]:
    """What the container is told, which names the image that it fetches; paths left out."""
    return [word for word in container.get("args") or () if not word.startswith("/")]
