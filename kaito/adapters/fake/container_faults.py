"""Containers that end with an error."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from kaito.adapters.fake.container_phases import ContainerPhases, ContainerPlan, Failure, Phase
from kaito.adapters.kube_api import KubeObject, labels_of, namespace_of
from kaito.domain import labels

_STARTED: Final = "start"  # the phase of a container that has no other


@dataclass(slots=True)
class _Exit:
    namespace: str
    workspace: str
    container: str
    after_s: float
    failure: Failure
    left: int

    def concerns(self, pod: KubeObject, container: str) -> bool:
        workspace = labels_of(pod).get(labels.WORKSPACE)
        names = {self.container or pod["spec"]["containers"][0]["name"]}
        mine = (namespace_of(pod), workspace) == (self.namespace, self.workspace)
        return self.left > 0 and mine and container in names


class FaultyContainers:
    """Other `ContainerPhases`, of which some starts end with an error."""

    def __init__(self, inner: ContainerPhases) -> None:
        self._inner = inner
        self._exits: list[_Exit] = []

    def fail(
        self,
        workspace: str,
        namespace: str,
        *,
        container: str = "",
        code: int,
        reason: str = "Error",
        message: str = "",
        after_s: float,
        count: int,
    ) -> None:
        """Let the next `count` starts of the container (empty: the main one of the Workspace's
        pods) end with this exit code, `after_s` seconds after the start, or with its last phase if
        that is sooner."""
        failure = Failure(exit_code=code, reason=reason, message=message)
        self._exits.append(_Exit(namespace, workspace, container, after_s, failure, count))

    def image_pull(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> Phase:
        """See `ContainerPhases`."""
        return self._inner.image_pull(node, pod, container, image)

    def plan(self, node: KubeObject, pod: KubeObject, container: str, image: str) -> ContainerPlan:
        """See `ContainerPhases`."""
        plan = self._inner.plan(node, pod, container, image)
        due = next((one for one in self._exits if one.concerns(pod, container)), None)
        if due is None:
            return plan
        due.left -= 1
        phases = plan.phases or (Phase(_STARTED, due.after_s),)
        return replace(plan, phases=tuple(_cut(phases, due.after_s, due.failure)))

    def stop_s(self, node: KubeObject, pod: KubeObject, container: str) -> float:
        """See `ContainerPhases`."""
        return self._inner.stop_s(node, pod, container)


def _cut(phases: tuple[Phase, ...], after_s: float, failure: Failure) -> Iterator[Phase]:
    """The phases until the failure, with which the last of them ends."""
    left_s = after_s
    for phase in phases:
        if phase is phases[-1] or phase.duration_s >= left_s:
            yield replace(phase, duration_s=min(phase.duration_s, left_s), failure=failure)
            return
        yield phase
        left_s -= phase.duration_s
