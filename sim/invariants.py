"""What must hold in every run, whatever goes wrong. Numbered; checked after every step of a run.

INV-1  No slot of a Workspace ever has two machines that are not being given back.
INV-2  A Workspace never has more such machines than its status said that its fit wants.
INV-3  A machine without a record (NodeClaim) is given back.
INV-4  A status that says Ready speaks of the newest generation, and of pods that are ready on
       Nodes that exist.
INV-5  A Workspace that is gone costs nothing.
INV-6  Nothing of a Workspace that is gone is left once the world is at rest (`leftovers`).

INV-1 and INV-2 hold at every instant. INV-3 to INV-5 give the operator time to notice, which counts
from `calm_from_s`: when the last fault is over.
"""

from collections.abc import Iterator
from typing import Final, TypeAlias

from kaito.adapters.kube_api import (
    CONFIG_MAP,
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

# The grace, the time until the next look for orphans (as long), and a minute for a list that lags.
UNRECORDED_LIMIT_S: Final = 2 * ORPHAN_GRACE_S + 60.0
UNTRUE_STATUS_LIMIT_S: Final = 30.0
# Found out like a machine without a record, then released by the cloud.
COST_AFTER_LIMIT_S: Final = UNRECORDED_LIMIT_S + 300.0

Key: TypeAlias = tuple[str, str]
_WATCHED: Final = (WORKSPACE, NODE_CLAIM, NODE, POD)
_OWNED: Final = (STATEFUL_SET, JOB, SERVICE, CONFIG_MAP, POD)


class Invariants:
    """Follows a world by what changes in it. Times are seconds since the start of the run."""

    def __init__(self, world: World, *, calm_from_s: float = 0.0) -> None:
        self.calm_from_s = calm_from_s
        self._world = world
        self._workspaces: dict[Key, KubeObject] = {}
        self._most_wanted: dict[str, int] = {}
        self._claims: dict[str, str] = {}
        self._nodes: set[str] = set()
        self._ready_pods: dict[Key, dict[str, str]] = {}
        self._untrue: dict[Key, str] = {}
        self._machines = world.running_machines()
        self._seen_machines = len(world.cloud.lives)
        self._bad_since_s: dict[str, float] = {}
        self._told: set[str] = set()
        self._subscriptions: list[tuple[Resource, Subscription]] = []
        for resource in _WATCHED:
            page = world.store.list(resource)
            for obj in page.items:
                self._take_in(resource, obj, gone=False)
            watch = world.store.watch(resource, resource_version=page.resource_version)
            self._subscriptions.append((resource, watch))

    def check(self) -> list[str]:
        """What has been violated since the last call; each violation is told once."""
        for resource, subscription in self._subscriptions:
            for event in subscription.poll():
                self._take_in(resource, event.object, gone=event.type is EventType.DELETED)
        lives = self._world.cloud.lives
        self._machines += lives[self._seen_machines :]
        self._seen_machines = len(lives)
        self._machines = [life for life in self._machines if life.released_at_s is None]
        found = [*self._too_many(), *self._overdue()]
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

    def _take_in(self, resource: Resource, obj: KubeObject, *, gone: bool) -> None:
        if resource is NODE_CLAIM:
            if gone:
                self._claims.pop(name_of(obj), None)
            else:
                self._claims[name_of(obj)] = labels_of(obj).get(labels.WORKSPACE_UID, "")
            return
        if resource is NODE:
            (self._nodes.discard if gone else self._nodes.add)(name_of(obj))
            for key in self._workspaces:
                self._judge_status(key)
            return
        if resource is POD:
            key = _workspace_of_pod(obj)
            ready = self._ready_pods.setdefault(key, {})
            if not gone and is_true(obj, "Ready") and "deletionTimestamp" not in obj["metadata"]:
                ready[name_of(obj)] = obj["spec"]["nodeName"]
            else:
                ready.pop(name_of(obj), None)
        else:
            key = (namespace_of(obj), name_of(obj))
            if gone:
                self._workspaces.pop(key, None)
            else:
                self._workspaces[key] = obj
                uid = obj["metadata"]["uid"]
                wanted = (obj.get("status") or {}).get("targetNodeCount", 0)
                self._most_wanted[uid] = max(wanted, self._most_wanted.get(uid, 0))
        self._judge_status(key)

    def _judge_status(self, key: Key) -> None:
        workspace = self._workspaces.get(key)
        on_nodes = self._ready_pods.get(key, {}).values()
        ready = sum(node in self._nodes for node in on_nodes)
        why = _why_untrue(workspace, ready) if workspace else ""
        if why:
            self._untrue[key] = why
        else:
            self._untrue.pop(key, None)

    def _too_many(self) -> Iterator[str]:
        by_slot: dict[tuple[str, str], int] = {}
        by_owner: dict[str, int] = {}
        for life in self._machines:
            if life.state is CloudState.DELETING:
                continue
            uid, slot = life.order.owner.uid, life.order.labels.get(labels.SLOT, "")
            name = _name(life.order.owner)
            by_slot[uid, slot] = by_slot.get((uid, slot), 0) + 1
            by_owner[uid] = by_owner.get(uid, 0) + 1
            if by_slot[uid, slot] > 1:
                yield f"INV-1: slot {slot} of Workspace {name} has {by_slot[uid, slot]}"
            wanted = self._most_wanted.get(uid, 0)
            if by_owner[uid] > wanted:
                yield f"INV-2: Workspace {name} has {by_owner[uid]} and wants {wanted}"

    def _overdue(self) -> Iterator[str]:
        now_s = self._world.now_s()
        bad = dict(self._not_for_long())
        self._bad_since_s = {text: self._bad_since_s.get(text, now_s) for text in bad}
        for text, since_s in self._bad_since_s.items():
            if now_s - max(since_s, self.calm_from_s) > bad[text]:
                yield f"{text} for more than {bad[text]:.0f} s"

    def _not_for_long(self) -> Iterator[tuple[str, float]]:
        """What is wrong now, and for how long it may be."""
        uids = {workspace["metadata"]["uid"] for workspace in self._workspaces.values()}
        for life in self._machines:
            uid, kept = life.order.owner.uid, life.state is not CloudState.DELETING
            if kept and self._claims.get(life.order.claim_name) != uid:
                yield f"INV-3: machine {life.order.name} has no record", UNRECORDED_LIMIT_S
            if uid not in uids:
                name = _name(life.order.owner)
                text = f"INV-5: machine {life.order.name} costs, Workspace {name} is gone"
                yield text, COST_AFTER_LIMIT_S
        for (namespace, name), why in self._untrue.items():
            yield f"INV-4: Workspace {namespace}/{name} is Ready, {why}", UNTRUE_STATUS_LIMIT_S

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
