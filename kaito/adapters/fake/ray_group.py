"""Pods that serve one model together, as their kubelets see it: who waits for whom, and what the
death of one does to the others.

What is played is Ray and the scripts of KAITO's image. The leader starts once every other member
has joined; the others are part of its server until one of them ends. A server that loses a part
while it loads ends with an error. One that serves goes on answering /health, and only its liveness
probe, which asks Ray, finds out. The others answer no requests: their probes ask the leader's.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from kaito.adapters.fake.container_phases import Failure
from kaito.adapters.fake.container_run import ContainerRun
from kaito.adapters.fake.member_health import Life
from kaito.adapters.fake.pod_run import PodRun
from kaito.adapters.object_cache import Key

_LEADER: Final = 0
_LOST: Final = Failure(exit_code=1, message="a Ray actor died while the model was being loaded")
_Members: TypeAlias = dict[int, tuple[Key, ContainerRun]]


class RayGroups:
    """Follows every pod of a kubelet that is of a group. `settle` is called whenever something may
    have happened to a pod; it lets happen to the others what follows."""

    def __init__(self) -> None:
        self._members: dict[str, _Members] = {}
        self._place: dict[Key, tuple[str, int]] = {}
        self._formed: dict[str, tuple[Life, ...]] = {}
        """The lives that the leader's server is made of, its own first."""

    def settle(self, key: Key, run: PodRun | None, now_s: float) -> list[Key]:
        """The pods to which something happened. `run` None: the pod does not run any more."""
        container = next((one for one in run.containers if one.member), None) if run else None
        if container is not None and container.member is not None:
            member = container.member
            self._place[key] = (member.leader_host, member.rank)
            self._members.setdefault(member.leader_host, {})[member.rank] = (key, container)
        if key not in self._place:
            return []
        host, rank = self._place[key]
        if run is None:
            del self._place[key]
            del self._members[host][rank]
        return list(dict.fromkeys(self._follow(host, now_s)))

    def _follow(self, host: str, now_s: float) -> Iterator[Key]:
        members = self._members[host]
        if not members:
            del self._members[host]
        key, leader = members.get(_LEADER, (None, None))
        if leader is None or leader.member is None or not self._is_of(host, leader.life):
            self._formed.pop(host, None)
        others = [members[rank] for rank in sorted(members) if rank != _LEADER]
        if key is not None and leader is not None and leader.member is not None:
            yield from self._lead(host, key, leader, [one for _, one in others], now_s)
        serves = leader is not None and leader.serves
        for other_key, other in others:
            if other.member is None:
                continue
            if serves and other.waits_for_group:
                other.go_on(now_s)
                yield other_key
            if other.look(now_s, answers=serves, alive=serves):
                yield other_key

    def _lead(
        self, host: str, key: Key, leader: ContainerRun, others: list[ContainerRun], now_s: float
    ) -> Iterator[Key]:
        assert leader.member is not None, "a leader that runs"
        joined = [one for one in others if one.waits_for_group]
        if leader.waits_for_group and len(joined) == leader.member.size - 1:
            self._formed[host] = (leader.life, *(one.life for one in joined))
            leader.go_on(now_s)
            yield key
        lives = {one.life for one in others if one.member is not None}
        is_whole = all(life in lives for life in self._formed.get(host, ())[1:])
        if not is_whole and not leader.serves:
            leader.crash(now_s, _LOST)
            del self._formed[host]
            yield key
        elif leader.look(now_s, answers=leader.serves, alive=is_whole):
            yield key

    def _is_of(self, host: str, life: Life) -> bool:
        return life in self._formed.get(host, ())
