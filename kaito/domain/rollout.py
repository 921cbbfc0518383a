"""How a change reaches the pods that serve: in place, or with one more machine for the time.

In place, a StatefulSet ends an old pod before it starts the new one on the same machine, so a
model with one replica is not served meanwhile. `kaito.sh/rollout: surge` buys one more machine
first. The StatefulSet then gets one more replica, of the new version, while its partition holds
the others at the old one; once that replica is ready the partition goes to 0 and the others
follow, one by one; at last the replica and its machine are given back. Each stage is read off the
StatefulSet (`spec.replicas`, `spec.updateStrategy.rollingUpdate.partition` and its status), so a
restart of the operator goes on where it was.
"""

from dataclasses import dataclass
from enum import StrEnum

from kaito.domain import labels
from kaito.domain.cluster_view import WorkloadState, WorkloadView
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.workspace import Workspace


class RolloutPolicy(StrEnum):
    IN_PLACE = "in-place"
    SURGE = "surge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surge:
    """A rollout with one more replica, at one of its stages.

    `machines` is how many to have meanwhile. `replicas` and `partition` are what the StatefulSet
    should ask for; both None: it is left as it is. `message` says what is waited for.
    """

    machines: int
    message: str
    replicas: int | None = None
    partition: int | None = None

    def keeps(self, live: WorkloadView) -> bool:
        """Whether there is nothing to write at this stage."""
        if self.replicas is None:
            return True
        same_scale = (live.replicas, live.partition) == (self.replicas, self.partition)
        return same_scale and not live.content_differs


def rollout_policy(workspace: Workspace) -> RolloutPolicy:
    """What the annotation kaito.sh/rollout asks for; in place without one. Raises: InvalidInput."""
    text = workspace.annotation(labels.ROLLOUT)
    if not text:
        return RolloutPolicy.IN_PLACE
    try:
        return RolloutPolicy(text)
    except ValueError:
        problem = Problem(
            field=f"metadata.annotations[{labels.ROLLOUT}]",
            message=f"must be one of {', '.join(RolloutPolicy)}, got {text!r}",
            rule="rollout-known",
        )
        raise InvalidInput([problem]) from None


def next_surge(live: WorkloadView, replicas: int, *, machines_ready: int) -> Surge | None:
    """The stage that a surge is at; None when nothing is rolled out, or not so.

    `replicas` is how many there should be in the end, `machines_ready` how many machines or Nodes
    are ready for pods. What does not serve now is changed in place, at once.
    """
    comparable = live.state in {WorkloadState.SAME, WorkloadState.DIFFERENT}
    if not comparable or live.must_replace or live.inherited:
        return None
    machines = replicas + 1
    if live.replicas not in {replicas, machines}:
        return None
    has_spare = live.replicas == machines
    if live.rolls:
        # A pod on a lost Node counts as ready until it is cleaned away.
        if not has_spare and min(live.ready_replicas, machines_ready) < replicas:
            return None
        if machines_ready < machines:
            text = "the old version serves on; the new one waits for one more machine"
            return Surge(machines=machines, message=text)
        text = "the new version starts on one more machine; the old one serves on"
        return Surge(machines=machines, message=text, replicas=machines, partition=replicas)
    if has_spare:
        return _with_spare(live, replicas)
    if live.observed and live.pods > replicas:
        text = "the machine that is no longer needed is freed"
        return Surge(machines=machines, message=text, replicas=replicas, partition=0)
    return None


def _with_spare(live: WorkloadView, replicas: int) -> Surge:
    machines = replicas + 1
    all_ready = live.observed and live.pods == live.ready_replicas == machines
    if live.partition == 0:
        if all_ready and live.settled:
            text = "every pod runs the new version; the one too many is removed"
            return Surge(machines=machines, message=text, replicas=replicas, partition=0)
        text = "the new version serves; the old pods are replaced one by one"
        return Surge(machines=machines, message=text, replicas=machines, partition=0)
    if all_ready and live.updated_replicas >= 1:
        text = "the new version is ready; the old pods are replaced one by one"
        return Surge(machines=machines, message=text, replicas=machines, partition=0)
    text = "the old version serves on until the new one is ready"
    return Surge(machines=machines, message=text, replicas=machines, partition=live.partition)
