"""What must hold in every run, whatever goes wrong (`INVARIANTS`), checked after every step of it.

INV-1 and INV-2 hold at every instant. INV-3 to INV-5 give the operator time to notice, which counts
from `calm_from_s`: when the last fault is over. INV-6 and INV-7 are for the end of a run.

A check costs what has changed since the one before, not what there is.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final, TypeAlias

from kaito.adapters.kube_api import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    JOB,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    EventType,
    KubeObject,
    Resource,
    Subscription,
    condition_of,
    is_true,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.machine import CloudState, Owner
from kaito.domain.machine_plan import ORPHAN_GRACE_S
from sim.world import World

INVARIANTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "INV-1": "No slot of a Workspace ever has two machines that are not being given back.",
        "INV-2": "A Workspace never has more such machines than its status said that it wants.",
        "INV-3": "A machine without a record (NodeClaim) is given back.",
        "INV-4": "A status that says Ready speaks of the newest generation, and of pods that are "
        "ready on Nodes that exist.",
        "INV-5": "A Workspace that is gone costs nothing.",
        "INV-6": "Nothing of a Workspace that is gone is left once the world is at rest.",
        "INV-7": "A run without an end of its own comes to rest: every Workspace is READY, blocked "
        "for a named reason, or gone.",
    }
)

# The grace, the time until the next look for orphans (as long), and a minute for a list that lags.
UNRECORDED_LIMIT_S: Final = 2 * ORPHAN_GRACE_S + 60.0
UNTRUE_STATUS_LIMIT_S: Final = 30.0
# Found out like a machine without a record, then released by the cloud.
COST_AFTER_LIMIT_S: Final = UNRECORDED_LIMIT_S + 300.0

Key: TypeAlias = tuple[str, str]
_WATCHED: Final = (WORKSPACE, NODE_CLAIM, NODE, POD)
_OWNED: Final = (STATEFUL_SET, JOB, SERVICE, CONFIG_MAP, CONTROLLER_REVISION, POD)
_MACHINE: Final = "Machine/"  # what the recorder calls one, with its NodeClaim's name


class _Overdue:
    """What is wrong and may be so for a while: since when, and for how long. In seconds."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._wrong: dict[object, dict[str, tuple[float, float]]] = {}
        self._due_s = math.inf
        self.calm_from_s = 0.0

    def say(self, source: object, wrong: Mapping[str, float]) -> None:
        """All that is wrong with `source` now, each with its limit."""
        before = self._wrong.pop(source, {})
        if wrong:
            now_s = self._now_s()
            self._wrong[source] = {
                text: before.get(text, (now_s, limit_s)) for text, limit_s in wrong.items()
            }
        if wrong or before:
            self.look_again()

    def look_again(self) -> None:
        """What is wrong, or from when on it counts, has changed."""
        self._due_s = min((due_s for _, _, due_s in self._each()), default=math.inf)

    def found(self) -> list[str]:
        """What has been wrong for too long."""
        now_s = self._now_s()
        if now_s <= self._due_s:
            return []
        late = [
            f"{text} for more than {limit_s:.0f} s"
            for text, limit_s, due_s in self._each()
            if now_s > due_s
        ]
        self._due_s = min(
            (due_s for _, _, due_s in self._each() if due_s >= now_s), default=math.inf
        )
        return late

    def _each(self) -> Iterator[tuple[str, float, float]]:
        for wrong in self._wrong.values():
            for text, (since_s, limit_s) in wrong.items():
                yield text, limit_s, max(since_s, self.calm_from_s) + limit_s


class Invariants:
    """Follows a world by what changes in it. Times are seconds since the start of the run."""

    def __init__(self, world: World, *, calm_from_s: float = 0.0) -> None:
        self._world = world
        self._overdue = _Overdue(world.now_s)
        self._overdue.calm_from_s = calm_from_s
        self._workspaces: dict[Key, KubeObject] = {}
        self._uids: set[str] = set()
        self._most_wanted: dict[str, int] = {}
        self._claims: dict[str, str] = {}
        self._nodes: set[str] = set()
        self._ready_pods: dict[Key, dict[str, str]] = {}
        self._served_on: dict[str, dict[Key, None]] = {}  # by Node: whose pods were ready there
        self._machines: dict[str, list[int]] = {}
        self._owner_of_claim: dict[str, str] = {}
        self._seen_machines = 0
        self._dirty: dict[str, None] = {}
        self._told: set[str] = set()
        self._subscriptions: list[tuple[Resource, Subscription]] = []
        for resource in _WATCHED:
            page = world.store.list(resource)
            for obj in page.items:
                self._take_in(resource, obj, gone=False)
            watch = world.store.watch(resource, resource_version=page.resource_version)
            self._subscriptions.append((resource, watch))
        self._take_in_machines()
        world.recorder.on_phase(self._phase_changed)

    @property
    def calm_from_s(self) -> float:
        """When the last fault is over."""
        return self._overdue.calm_from_s

    @calm_from_s.setter
    def calm_from_s(self, calm_from_s: float) -> None:
        self._overdue.calm_from_s = calm_from_s
        self._overdue.look_again()

    def check(self) -> list[str]:
        """What has been violated since the last call; each violation is told once."""
        for resource, subscription in self._subscriptions:
            for event in subscription.poll():
                self._take_in(resource, event.object, gone=event.type is EventType.DELETED)
        found: list[str] = []
        if self._dirty:
            self._take_in_machines()
            for uid in self._dirty:
                found += self._judge_machines(uid)
            self._dirty.clear()
        found += self._overdue.found()
        new = [violation for violation in found if violation not in self._told]
        self._told.update(new)
        return new

    def leftovers(self) -> list[str]:
        """INV-6, in full: what belongs to no Workspace that exists."""
        uids = {workspace["metadata"]["uid"] for workspace in self._world.objects(WORKSPACE)}
        found = [
            f"INV-6: machine {life.order.name} of Workspace {_name(life.order.owner)} is left"
            for life in self._world.running_machines()
            if life.order.owner.uid not in uids
        ]
        for resource in (NODE_CLAIM, NODE):
            found += [
                f"INV-6: {resource.kind} {name_of(obj)} is left"
                for obj in self._world.objects(resource)
                if labels_of(obj).get(labels.WORKSPACE_UID, "") not in {"", *uids}
            ]
        for resource in _OWNED:
            found += [
                f"INV-6: {resource.kind} {namespace_of(obj)}/{name_of(obj)} is left"
                for obj in self._world.objects(resource)
                if _is_of_none(obj, uids) or (resource is POD and self._is_of_nobody(obj))
            ]
        return found

    def _phase_changed(self, subject: str) -> None:
        """A machine's state changes with its phase. A new one is found by `_take_in_machines`."""
        if subject.startswith(_MACHINE):
            self._dirty[self._owner_of_claim.get(subject.removeprefix(_MACHINE), "")] = None

    def _take_in_machines(self) -> None:
        lives = self._world.cloud.lives
        for number in range(self._seen_machines, len(lives)):
            order = lives[number].order
            self._machines.setdefault(order.owner.uid, []).append(number)
            self._owner_of_claim[order.claim_name] = order.owner.uid
            self._dirty[order.owner.uid] = None
        self._seen_machines = len(lives)

    def _take_in(self, resource: Resource, obj: KubeObject, *, gone: bool) -> None:
        if resource is NODE_CLAIM:
            self._take_in_claim(obj, gone=gone)
        elif resource is NODE:
            self._take_in_node(name_of(obj), gone=gone)
        elif resource is POD:
            self._take_in_pod(obj, gone=gone)
        else:
            self._take_in_workspace(obj, gone=gone)

    def _take_in_claim(self, claim: KubeObject, *, gone: bool) -> None:
        uid = labels_of(claim).get(labels.WORKSPACE_UID, "")
        if gone:
            self._claims.pop(name_of(claim), None)
        else:
            self._claims[name_of(claim)] = uid
        self._dirty[uid] = None

    def _take_in_node(self, name: str, *, gone: bool) -> None:
        if gone is (name not in self._nodes):
            return
        (self._nodes.discard if gone else self._nodes.add)(name)
        for key in self._served_on.get(name, ()):
            self._judge_status(key)

    def _take_in_pod(self, pod: KubeObject, *, gone: bool) -> None:
        key = _workspace_of_pod(pod)
        ready = self._ready_pods.setdefault(key, {})
        if not gone and is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]:
            ready[name_of(pod)] = node = pod["spec"]["nodeName"]
            self._served_on.setdefault(node, {})[key] = None
        else:
            ready.pop(name_of(pod), None)
        self._judge_status(key)

    def _take_in_workspace(self, workspace: KubeObject, *, gone: bool) -> None:
        key = (namespace_of(workspace), name_of(workspace))
        uid = workspace["metadata"]["uid"]
        if gone:
            self._workspaces.pop(key, None)
            self._uids.discard(uid)
            self._dirty[uid] = None
        else:
            if uid not in self._uids:
                self._uids.add(uid)
                self._dirty[uid] = None
            self._workspaces[key] = workspace
            wanted = (workspace.get("status") or {}).get("targetNodeCount", 0)
            self._most_wanted[uid] = max(wanted, self._most_wanted.get(uid, 0))
        self._judge_status(key)

    def _judge_status(self, key: Key) -> None:
        workspace = self._workspaces.get(key)
        on_nodes = self._ready_pods.get(key, {}).values()
        ready = sum(node in self._nodes for node in on_nodes)
        why = _why_untrue(workspace, ready) if workspace else ""
        text = f"INV-4: Workspace {'/'.join(key)} is Ready, {why}"
        self._overdue.say(key, {text: UNTRUE_STATUS_LIMIT_S} if why else {})

    def _judge_machines(self, uid: str) -> Iterator[str]:
        """What is wrong at once with the machines of one Workspace; the rest is noted."""
        lives = [self._world.cloud.lives[number] for number in self._machines.get(uid, ())]
        by_slot: dict[str, int] = {}
        not_for_long: dict[str, float] = {}
        kept = 0
        for life in lives:
            if life.released_at_s is not None:
                continue
            name = _name(life.order.owner)
            if uid not in self._uids:
                text = f"INV-5: machine {life.order.name} costs, Workspace {name} is gone"
                not_for_long[text] = COST_AFTER_LIMIT_S
            if life.state is CloudState.DELETING:
                continue
            slot = life.order.labels.get(labels.SLOT, "")
            by_slot[slot] = by_slot.get(slot, 0) + 1
            kept += 1
            if by_slot[slot] > 1:
                yield f"INV-1: slot {slot} of Workspace {name} has {by_slot[slot]}"
            wanted = self._most_wanted.get(uid, 0)
            if kept > wanted:
                yield f"INV-2: Workspace {name} has {kept} and wants {wanted}"
            if self._claims.get(life.order.claim_name) != uid:
                text = f"INV-3: machine {life.order.name} has no record"
                not_for_long[text] = UNRECORDED_LIMIT_S
        self._overdue.say(uid, not_for_long)

    def _is_of_nobody(self, pod: KubeObject) -> bool:
        key = _workspace_of_pod(pod)
        return bool(key[1]) and key not in self._workspaces


def _why_untrue(workspace: KubeObject, ready_pods: int) -> str:
    """Why the status should not say Ready; empty when it does not, or may."""
    done = condition_of(workspace, st.SUCCEEDED)
    metadata = workspace["metadata"]
    if done is None or done["status"] != "True" or "deletionTimestamp" in metadata:
        return ""
    if done.get("observedGeneration") != metadata["generation"]:
        return f"as of generation {done.get('observedGeneration')} of {metadata['generation']}"
    wanted = workspace["status"].get("targetNodeCount", 0)
    if workspace.get("inference") and ready_pods < wanted:
        return f"with {ready_pods} of {wanted} pods ready"
    return ""


def _workspace_of_pod(pod: KubeObject) -> Key:
    return namespace_of(pod), labels_of(pod).get(labels.WORKSPACE, "")


def _is_of_none(obj: KubeObject, uids: set[str]) -> bool:
    """Whether a Workspace owns it that is not among `uids`."""
    return any(
        owner["kind"] == WORKSPACE.kind and owner["uid"] not in uids
        for owner in obj["metadata"].get("ownerReferences") or ()
    )


def _name(owner: Owner) -> str:
    return f"{owner.namespace}/{owner.name}"
