"""A world whose operator is played by hand, one port call at a time."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from kaito.adapters.fake.cloud_faults import CloudVerb
from kaito.adapters.fake.faults import FailAfter, FailBefore, Fault, StaleBy, Verb
from kaito.adapters.fake.machine_life import MachineLife
from kaito.adapters.files import load_catalogue
from kaito.adapters.k8s.controller import ORPHANS_EVERY_S
from kaito.adapters.kube_api import (
    NODE_CLAIM,
    STATEFUL_SET,
    WORKSPACE,
    AlreadyExists,
    KubeObject,
    ObjectNotFound,
    condition_of,
    name_of,
)
from kaito.domain import labels
from kaito.domain.errors import CapacityUnavailable, PortError, QuotaExceeded
from kaito.domain.machine import CloudState
from kaito.reconcile import Steps, collect_orphans, reconcile_machine, reconcile_workspace
from sim.event_log import EventLog
from sim.invariants import Invariants
from sim.recorder import is_ready
from sim.scenario import World as WorldSettings
from sim.world import World

CATALOGUE = load_catalogue()
# Short and always the same, so that a failing example shrinks to what matters.
LATENCIES_S = {
    "machine_launch": 5.0,
    "node_provision": 15.0,
    "gpu_driver": 5.0,
    "machine_release": 30.0,
    "image_pull": 5.0,
    "weights_download": 5.0,
    "weights_load": 5.0,
    "engine_init": 5.0,
}
CONVERGES_WITHIN_S = 3 * 3600.0
STAYS_S = 600.0
NAMESPACE, NAME = "default", "phi-3"

Manifest: TypeAlias = Mapping[str, Any]


class Op(Protocol):
    """One thing that happens; those that make no sense now do nothing."""

    def __call__(self, play: "Interleaving") -> None: ...


@dataclass(frozen=True, slots=True)
class Target:
    """What a round is about: the Workspace, one of the machines there ever were, or orphans."""

    kind: Literal["workspace", "machine", "orphans"]
    index: int = 0


@dataclass(slots=True)
class Interleaving:
    """Rounds in any order, each as far as it was taken; at most one at a time for each target, as
    the operator's queue sees to. Every machine that ought not to be is an AssertionError."""

    manifest: Manifest
    nodes: int
    world: World = field(init=False)
    invariants: Invariants = field(init=False)
    lag_s: float = 0.0
    cloud_lag_s: float = 0.0
    kube_faults: list[Fault] = field(default_factory=list)
    cloud_faults: list[Fault] = field(default_factory=list)
    let_go: set[int] = field(default_factory=set)
    deleted_claims: set[str] = field(default_factory=set)
    _cloud_seen_s: float = 0.0
    _rounds: dict[Target, Steps] = field(default_factory=dict)
    _claims: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(
            seed=0,
            catalogue=CATALOGUE,
            settings=WorldSettings(latencies_s=LATENCIES_S),
            log=EventLog(None),
            stale_reads=True,
            webhook=False,  # it would refuse `Scale`
        )
        self.world.kube_fault = self._kube_fault
        self.world.cloud_fault = self._cloud_fault
        self.invariants = Invariants(self.world, calm_from_s=math.inf)
        self.advance(1.0)

    def play(self, ops: Iterable[Op]) -> None:
        """Do it all, then end the faults, start a real operator and see that it converges."""
        for op in ops:
            op(self)
            self.check()
        self.abandon()
        self.lag_s = self.cloud_lag_s = 0.0
        self.kube_faults.clear()
        self.cloud_faults.clear()
        self.converge()

    def step(self, target: Target, calls: int) -> bool:
        """Take the target's round, a new one if none runs, up to so many port calls further.

        Says whether it ended.
        """
        steps = self._rounds.pop(target, None) or self._round(target)
        if steps is None:
            return True
        for _ in range(calls):
            try:
                next(steps)
            except StopIteration:
                return True
            finally:
                self.check()
        self._rounds[target] = steps
        return False

    def abandon(self, target: Target | None = None) -> None:
        """Drop the target's round where it stands, or all of them: the process died."""
        for each in list(self._rounds) if target is None else [target]:
            steps = self._rounds.pop(each, None)
            if steps is not None:
                steps.close()

    def advance(self, seconds: float) -> None:
        """Let the cluster and the cloud go on."""
        self.world.env.run(until=self.world.env.now + seconds)
        for claim in self.world.objects(NODE_CLAIM):
            self._claims.setdefault(name_of(claim))
        self.check()

    def claim(self, index: int) -> str | None:
        """One of the machine records there ever were, the newest first."""
        found = list(self._claims)
        return found[-1 - index % len(found)] if found else None

    def workspace(self) -> KubeObject | None:
        try:
            return self.world.store.get(WORKSPACE, NAME, NAMESPACE)
        except ObjectNotFound:
            return None

    def workspace_is_deleting(self) -> bool:
        found = self.workspace()
        return found is not None and "deletionTimestamp" in found["metadata"]

    def live(self) -> list[MachineLife]:
        """The machines that were ordered and not given back."""
        return [
            life for life in self.world.running_machines() if life.state is not CloudState.DELETING
        ]

    def check(self) -> None:
        """No machine too many, and none taken from a Workspace that needs it."""
        counts: dict[str, int] = {}
        for life in self.live():
            counts[life.order.owner.uid] = counts.get(life.order.owner.uid, 0) + 1
        assert all(count <= self.nodes for count in counts.values()), counts
        assert self.invariants.check() == []
        for life in self.world.running_machines():
            if not self._is_needed(life):
                self.let_go.add(id(life))
            elif life.state is CloudState.DELETING:
                assert id(life) in self.let_go, f"{life.order.name} is needed, and is given back"

    def converge(self) -> None:
        """A real operator starts: in the end the Workspace is READY or gone, and stays so."""
        env = self.world.env
        self.invariants.calm_from_s = self.world.now_s()
        self.world.operator.start()
        end_s = env.now + CONVERGES_WITHIN_S
        self.advance(60.0)
        while not self._is_settled():
            assert env.now < end_s, f"not settled: {self.workspace()}"
            self.advance(30.0)
        found = self.workspace()
        for _ in range(int(STAYS_S / ORPHANS_EVERY_S)):
            self.advance(ORPHANS_EVERY_S)
            assert self.workspace() == found
            assert self._is_settled()
        assert self.invariants.leftovers() == []

    def _is_settled(self) -> bool:
        found = self.workspace()
        if found is not None and ("deletionTimestamp" in found["metadata"] or not is_ready(found)):
            return False
        wanted = 0 if found is None else found["resource"]["count"]
        return len(self.world.running_machines()) == wanted

    def _is_needed(self, life: MachineLife) -> bool:
        found = self.workspace()
        if found is None or "deletionTimestamp" in found["metadata"]:
            return False
        if found["metadata"]["uid"] != life.order.owner.uid:
            return False
        if int(life.order.labels[labels.SLOT]) >= found["resource"]["count"]:
            return False
        try:
            claim = self.world.store.get(NODE_CLAIM, life.order.claim_name)
        except ObjectNotFound:
            return True
        launched = condition_of(claim, "Launched") or {}
        is_late = launched.get("reason", "").endswith("Timeout")
        return not is_late and claim["metadata"]["uid"] not in self.deleted_claims

    def _round(self, target: Target) -> Steps | None:
        if target.kind == "workspace":
            return reconcile_workspace(self.world.ports, NAMESPACE, NAME)
        if target.kind == "orphans":
            return collect_orphans(self.world.ports, every_s=ORPHANS_EVERY_S)
        claim = self.claim(target.index)
        return None if claim is None else reconcile_machine(self.world.ports, claim)

    def _kube_fault(self, verb: Verb) -> Fault | None:
        if self.kube_faults:
            return self.kube_faults.pop(0)
        return StaleBy(self.lag_s) if self.lag_s and verb in {"get", "list"} else None

    def _cloud_fault(self, verb: CloudVerb) -> Fault | None:
        if verb == "list_machines":  # later lists never show an earlier state
            now_s = self.world.now_s()
            self._cloud_seen_s = max(self._cloud_seen_s, now_s - self.cloud_lag_s)
            return StaleBy(now_s - self._cloud_seen_s)
        return self.cloud_faults.pop(0) if self.cloud_faults else None


@dataclass(frozen=True, slots=True)
class Step:
    """A few port calls of one round."""

    target: Target
    calls: int

    def __call__(self, play: Interleaving) -> None:
        play.step(self.target, self.calls)


@dataclass(frozen=True, slots=True)
class Run:
    """The rest of a round, or a whole one."""

    target: Target

    def __call__(self, play: Interleaving) -> None:
        while not play.step(self.target, 1):
            pass
        play.advance(0.001)  # what was written is seen by the watchers


@dataclass(frozen=True, slots=True)
class Work:
    """Rounds of everything, again and again, with time to take effect in between."""

    times: int

    def __call__(self, play: Interleaving) -> None:
        for _ in range(self.times):
            Run(Target("workspace"))(play)
            for index in range(play.nodes):
                Run(Target("machine", index))(play)
            play.advance(15.0)


@dataclass(frozen=True, slots=True)
class Advance:
    """Time passes."""

    seconds: float

    def __call__(self, play: Interleaving) -> None:
        play.advance(self.seconds)


@dataclass(frozen=True, slots=True)
class Crash:
    """The operator dies: every round ends where it stands."""

    def __call__(self, play: Interleaving) -> None:
        play.abandon()


@dataclass(frozen=True, slots=True)
class Abandon:
    """One round ends where it stands."""

    target: Target

    def __call__(self, play: Interleaving) -> None:
        play.abandon(self.target)


@dataclass(frozen=True, slots=True)
class Lag:
    """From now on the operator reads the cluster as it was so long ago."""

    seconds: float

    def __call__(self, play: Interleaving) -> None:
        play.lag_s = self.seconds


@dataclass(frozen=True, slots=True)
class CloudLag:
    """From now on the cloud lists its machines as they were so long ago."""

    seconds: float

    def __call__(self, play: Interleaving) -> None:
        play.cloud_lag_s = self.seconds


@dataclass(frozen=True, slots=True)
class Lose:
    """The next call's request is lost, or its answer."""

    what: Literal["request", "answer"]
    of: Literal["kubernetes", "cloud"]

    def __call__(self, play: Interleaving) -> None:
        fault: Fault = FailBefore() if self.what == "request" else FailAfter()
        (play.kube_faults if self.of == "kubernetes" else play.cloud_faults).append(fault)


@dataclass(frozen=True, slots=True)
class Refuse:
    """The cloud refuses the next order."""

    reason: Literal["capacity", "quota"]

    def __call__(self, play: Interleaving) -> None:
        error: PortError = CapacityUnavailable("sold out")
        if self.reason == "quota":
            error = QuotaExceeded("no quota left")
        play.world.cloud.refuse([error])


@dataclass(frozen=True, slots=True)
class Apply:
    """The user applies the Workspace, again under the same name if it was there before."""

    def __call__(self, play: Interleaving) -> None:
        try:
            play.world.store.create(WORKSPACE, play.manifest)
        except AlreadyExists:
            return


@dataclass(frozen=True, slots=True)
class Scale:
    """The user asks for another number of machines."""

    count: int

    def __call__(self, play: Interleaving) -> None:
        patch = {"resource": {"count": self.count}}
        try:
            play.world.store.patch(WORKSPACE, NAME, NAMESPACE, patch)
        except ObjectNotFound:
            return


@dataclass(frozen=True, slots=True)
class Delete:
    """The user deletes the Workspace."""

    def __call__(self, play: Interleaving) -> None:
        try:
            play.world.store.delete(WORKSPACE, NAME, NAMESPACE)
        except ObjectNotFound:
            return


@dataclass(frozen=True, slots=True)
class DeleteClaim:
    """The user deletes a machine's record."""

    index: int

    def __call__(self, play: Interleaving) -> None:
        name = play.claim(self.index)
        if name is None:
            return
        try:
            claim = play.world.store.get(NODE_CLAIM, name)
            play.deleted_claims.add(claim["metadata"]["uid"])
            play.world.store.delete(NODE_CLAIM, name)
        except ObjectNotFound:
            return


@dataclass(frozen=True, slots=True)
class DeleteStatefulSet:
    """The user deletes what runs the pods."""

    def __call__(self, play: Interleaving) -> None:
        try:
            play.world.store.delete(STATEFUL_SET, NAME, NAMESPACE)
        except ObjectNotFound:
            return


@dataclass(frozen=True, slots=True)
class Evict:
    """The cloud takes a machine back by itself."""

    index: int

    def __call__(self, play: Interleaving) -> None:
        lives = play.live()
        if lives:
            life = lives[self.index % len(lives)]
            play.let_go.add(id(life))
            play.world.cloud.terminate(life.order.name)
