"""Which round to run when: from watched changes to the keys of the work queue.

No threads and no clock: the owner calls `poll` when woken, takes rounds, drains them, and reports
how they ended.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from kaito.adapters.k8s import news
from kaito.adapters.k8s.machine_mirror import MachineMirror
from kaito.adapters.k8s.node_interest import NodeInterest
from kaito.adapters.k8s.shared_selectors import SharedSelectors
from kaito.adapters.kube_api import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    JOB,
    MACHINE,
    NODE,
    NODE_CLAIM,
    POD,
    SERVICE,
    STATEFUL_SET,
    WORKSPACE,
    EventType,
    Gone,
    KubeApi,
    KubeApiError,
    KubeObject,
    Resource,
    ServerUnavailable,
    Subscription,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.domain import labels, names
from kaito.domain.provisioner import Provisioner
from kaito.reconcile import (
    Outcome,
    Ports,
    Steps,
    collect_orphans,
    reconcile_machine,
    reconcile_workspace,
)
from kaito.workqueue import WorkQueue

ORPHANS_EVERY_S: Final = 120.0  # as often as KAITO's gpu-provisioner looks for leaked pools

_BY_MACHINES: Final = (NODE_CLAIM, NODE)
_BY_WORKSPACES: Final = (
    WORKSPACE,
    NODE_CLAIM,
    NODE,
    STATEFUL_SET,
    JOB,
    POD,
    SERVICE,
    CONFIG_MAP,
    CONTROLLER_REVISION,
)

# Where users bring their Nodes, there are no NodeClaims; Workspaces come before Nodes.
_BY_OWN_NODES: Final = tuple(each for each in _BY_WORKSPACES if each is not NODE_CLAIM)

_REPEATED: Final = (WORKSPACE, NODE_CLAIM)  # what rounds are about
# A round that does not find what the watch has shown read something older; caches lag by seconds.
UNSEEN_S: Final = 10.0
# What others do to a mirror is undone after a while: two that disagree must not fill the server.
PUT_BACK_S: Final = 5.0
FORGET_S: Final = 300.0  # what no round has asked for in that time is worked out again


class Key(NamedTuple):
    """What a round is about."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return "/".join(part for part in self if part)


ORPHANS: Final = Key("orphans", "", "")


class Controller:
    """The operator's brain stem: watches, a queue, and one generator per round.

    `runs_machines` False: somebody else, such as Karpenter, acts on NodeClaims.
    `runs_workspaces` False: this one only acts on NodeClaims. Where users bring their Nodes, there
    are none to act on. `mirror` shows NodeClaims as Machines, whoever acts on them. `followed` are
    resources that rounds read and that wake none: they are watched so that a cache behind `api`
    keeps up.
    """

    def __init__(
        self,
        api: KubeApi,
        ports: Ports,
        wake: Callable[[], None],
        *,
        runs_machines: bool = True,
        runs_workspaces: bool = True,
        mirror: MachineMirror | None = None,
        followed: Sequence[Resource] = (),
    ) -> None:
        self._api = api
        self._ports = ports
        self._wake = wake
        brought = ports.provisioner is Provisioner.BYO
        assert runs_workspaces or not brought, "there would be nothing to do"
        assert mirror is None or not brought, "there is nothing to mirror"
        self._runs_machines = runs_machines and not brought
        self._runs_workspaces = runs_workspaces
        self._watched: Sequence[Resource] = _BY_WORKSPACES if runs_workspaces else _BY_MACHINES
        if brought:
            self._watched = _BY_OWN_NODES
        self._mirror = mirror
        self._followed = frozenset(followed)
        self._watched = (*self._watched, *((MACHINE,) if mirror is not None else ()), *followed)
        self._own_nodes = NodeInterest() if brought else None
        self._queue: WorkQueue[Key] = WorkQueue()
        self._subscriptions: dict[Resource, Subscription] = {}
        self._users_of_config: dict[tuple[str, str], set[str]] = {}
        self._config_of: dict[tuple[str, str], str] = {}
        self._adopted: dict[tuple[str, int], str] = {}
        self._there: set[Key] = set()  # what rounds are about, as the watches have it
        # Where users bring their Nodes, several Workspaces may well choose from the same.
        self._selectors = None if brought else SharedSelectors()
        self._news_of_machines = news.for_machines()
        self._news_of_workspaces = news.for_workspaces()
        self._missed = False
        self._forget_at_s = 0.0
        self._orphans_next = not brought  # to be queued with the first poll

    def poll(self, now_s: float) -> None:
        """Queue what the changes since the last call concern.

        `now_s` counts as in `take` and `done`, on a clock that is never set: a jump of the time of
        day must not put off what is due.
        Raises: ServerUnavailable (what was not seen yet is seen by a later call).
        """
        if self._orphans_next:
            self._queue.add(ORPHANS, now_s + ORPHANS_EVERY_S)
            self._orphans_next = False
        problems = []
        for resource in self._watched:
            try:
                self._poll_one(resource, now_s)
            except KubeApiError as error:  # one kind that is missing must not hide the others
                problems.append(f"{resource.plural}: {error}")
        if problems:
            raise ServerUnavailable("; ".join(problems))
        if self._missed:  # a deletion may be among it, which no list shows
            for resource in _REPEATED:
                if resource in self._watched:
                    self._forget_news(resource)
                    for obj in self._api.list(resource).items:
                        self._add(resource, obj, now_s, gone=False)
            self._missed = False
        self._wake_waiting(now_s)

    def _wake_waiting(self, now_s: float) -> None:
        """Queue the Workspaces for which there may be machines now."""
        if self._runs_workspaces:
            for namespace, name in self._ports.budget.freed():
                self._queue.add(Key(WORKSPACE.kind, namespace, name), now_s)

    def _poll_one(self, resource: Resource, now_s: float) -> None:
        changes = self._changes(resource)
        for obj, gone in () if resource in self._followed else changes:
            if resource is WORKSPACE:
                self._note_workspace(obj, gone=gone)
                for name in self._selectors.note(obj, gone=gone) if self._selectors else ():
                    self._queue.add(Key(WORKSPACE.kind, namespace_of(obj), name), now_s)
            self._note_there(resource, obj, gone=gone)
            self._add(resource, obj, now_s, gone=gone)

    def _note_there(self, resource: Resource, obj: KubeObject, *, gone: bool) -> None:
        """Remember what a round can be expected to find: Workspaces, and their own NodeClaims."""
        if resource not in _REPEATED:
            return
        if resource is NODE_CLAIM and _slot_of(labels_of(obj)) is None:
            return
        key = Key(resource.kind, namespace_of(obj), name_of(obj))
        if gone:
            self._there.discard(key)
        else:
            self._there.add(key)

    def _add(self, resource: Resource, obj: KubeObject, now_s: float, *, gone: bool) -> None:
        """Queue whom the object concerns, if it has changed to them."""
        if resource is MACHINE:
            self._queue.add(Key(MACHINE.kind, "", name_of(obj)), now_s + PUT_BACK_S)
            return
        if resource is NODE_CLAIM and self._mirror is not None and self._mirror.shows(obj):
            self._queue.add(Key(MACHINE.kind, "", name_of(obj)), now_s)
        for key in self._keys(resource, obj, gone=gone):
            self._queue.add(key, now_s)

    def take(self, now_s: float) -> tuple[Key, Steps] | None:
        """The next round that is due, to be drained and then reported with `done`."""
        key = self._queue.take(now_s)
        return None if key is None else (key, self._round(key))

    def done(self, key: Key, now_s: float, outcome: Outcome) -> None:
        """Report how a round ended. One that found nothing of what is there is repeated soon."""
        if now_s >= self._forget_at_s:
            self._ports.forget_unused()
            self._forget_at_s = now_s + FORGET_S
        again_after_s = outcome.again_after_s
        if again_after_s is None and not outcome.failed and key in self._there:
            again_after_s = UNSEEN_S
        self._queue.done(
            key,
            now_s,
            again_after_s=again_after_s,
            failed=outcome.failed,
            resting=outcome.resting,
        )

    def next_due_s(self) -> float | None:
        """When `take` will next have something, if nothing changes."""
        return self._queue.next_due_s()

    def is_idle(self, now_s: float) -> bool:
        """No round is running or due."""
        return self._queue.is_idle(now_s)

    def queue_length(self) -> int:
        """Keys that wait for their round."""
        return len(self._queue)

    def close(self) -> None:
        """Stop watching."""
        for subscription in self._subscriptions.values():
            subscription.close()
        self._subscriptions.clear()

    def _round(self, key: Key) -> Steps:
        if key.kind == WORKSPACE.kind:
            sharing = self._selectors.sharing(key.namespace, key.name) if self._selectors else ()
            return reconcile_workspace(self._ports, key.namespace, key.name, sharing)
        if key.kind == NODE_CLAIM.kind:
            return reconcile_machine(self._ports, key.name)
        if key.kind == MACHINE.kind:
            assert self._mirror is not None, "only mirrors are queued so"
            return self._mirror.round(key.name)
        return collect_orphans(self._ports, every_s=ORPHANS_EVERY_S)

    def _changes(self, resource: Resource) -> Sequence[tuple[KubeObject, bool]]:
        """What has changed, each as it is now, and whether it is gone."""
        subscription = self._subscriptions.get(resource)
        if subscription is not None:
            try:
                return [
                    (event.object, event.type is EventType.DELETED)
                    for event in subscription.poll()
                    if event.type is not EventType.BOOKMARK
                ]
            except Gone:
                subscription.close()
                del self._subscriptions[resource]
                self._missed = True
                self._forget_news(resource)
                if resource is NODE and self._own_nodes is not None:
                    self._own_nodes.forget_nodes()
        page = self._api.list(resource)
        self._there = {key for key in self._there if key.kind != resource.kind}
        self._subscriptions[resource] = self._api.watch(
            resource, resource_version=page.resource_version, wake=self._wake
        )
        if resource is WORKSPACE and self._selectors is not None:
            self._selectors.forget()
        return [(obj, False) for obj in page.items]

    def _forget_news(self, resource: Resource) -> None:
        self._news_of_machines.forget(resource)
        self._news_of_workspaces.forget(resource)

    def _keys(self, resource: Resource, obj: KubeObject, *, gone: bool) -> Iterator[Key]:
        if self._runs_machines and resource in _BY_MACHINES:
            if resource is NODE_CLAIM:
                self._note_adopted(obj)
            if self._news_of_machines.note(resource, obj, gone=gone):
                yield from self._machine_keys(resource, obj)
        if self._own_nodes is not None and resource is NODE:
            for name in self._own_nodes.concerned(obj, gone=gone):
                yield Key(WORKSPACE.kind, *name)
        elif self._runs_workspaces and self._news_of_workspaces.note(resource, obj, gone=gone):
            yield from self._workspace_keys(resource, obj)

    def _workspace_keys(self, resource: Resource, obj: KubeObject) -> Iterator[Key]:
        if resource is WORKSPACE:
            yield Key(WORKSPACE.kind, namespace_of(obj), name_of(obj))
            return
        if resource is CONFIG_MAP:
            at = (namespace_of(obj), name_of(obj))
            for user in sorted(self._users_of_config.get(at, ())):
                yield Key(WORKSPACE.kind, namespace_of(obj), user)
        found = labels_of(obj)
        namespace = namespace_of(obj) or found.get(labels.WORKSPACE_NAMESPACE, "")
        if labels.WORKSPACE in found and namespace:
            yield Key(WORKSPACE.kind, namespace, found[labels.WORKSPACE])
        for owner in obj["metadata"].get("ownerReferences") or ():  # even if it lost its labels
            if owner["kind"] == WORKSPACE.kind:
                yield Key(WORKSPACE.kind, namespace_of(obj), owner["name"])

    def _note_workspace(self, workspace: KubeObject, *, gone: bool) -> None:
        """Remember which ConfigMap a Workspace reads, and which Nodes its user brings, so that a
        change of them wakes a round."""
        if self._own_nodes is not None:
            self._own_nodes.note_workspace(workspace, gone=gone)
        namespace, name = namespace_of(workspace), name_of(workspace)
        part = workspace.get("inference") or workspace.get("tuning") or {}
        config = part.get("config") or ""
        before = self._config_of.pop((namespace, name), "")
        if before:
            self._users_of_config[namespace, before].discard(name)
        if config and not gone and "deletionTimestamp" not in workspace["metadata"]:
            self._config_of[namespace, name] = config
            self._users_of_config.setdefault((namespace, config), set()).add(name)

    def _note_adopted(self, claim: KubeObject) -> None:
        """Remember a NodeClaim that KAITO named, so that a change of its Node wakes its round."""
        slot = _slot_of(labels_of(claim))
        if slot is not None and names.machine_name(*slot, 0) != name_of(claim):
            self._adopted[slot] = name_of(claim)

    def _machine_keys(self, resource: Resource, obj: KubeObject) -> Iterator[Key]:
        if resource is NODE_CLAIM:
            yield Key(NODE_CLAIM.kind, "", name_of(obj))
            return
        slot = _slot_of(labels_of(obj))
        if slot is not None:
            yield Key(NODE_CLAIM.kind, "", names.machine_name(*slot, 0))
            if slot in self._adopted:
                yield Key(NODE_CLAIM.kind, "", self._adopted[slot])


def _slot_of(found: Mapping[str, str]) -> tuple[str, int] | None:
    """The UID of the Workspace and which of its machines it is."""
    uid, slot = found.get(labels.WORKSPACE_UID), found.get(labels.SLOT, "")
    return (uid, int(slot)) if uid and slot.isdigit() else None
