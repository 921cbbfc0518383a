"""Which round to run when: from watched changes to the keys of the work queue.

No threads and no clock: the owner calls `poll` when woken, takes rounds, drains them, and reports
how they ended.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

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
    Gone,
    KubeApi,
    KubeObject,
    Resource,
    Subscription,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.domain import labels, names
from kaito.reconcile import (
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
)

_REPEATED: Final = (WORKSPACE, NODE_CLAIM)  # what rounds are about


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
    `runs_workspaces` False: this one only acts on NodeClaims.
    """

    def __init__(
        self,
        api: KubeApi,
        ports: Ports,
        wake: Callable[[], None],
        *,
        runs_machines: bool = True,
        runs_workspaces: bool = True,
    ) -> None:
        self._api = api
        self._ports = ports
        self._wake = wake
        self._runs_machines = runs_machines
        self._runs_workspaces = runs_workspaces
        self._watched = _BY_WORKSPACES if runs_workspaces else _BY_MACHINES
        self._queue: WorkQueue[Key] = WorkQueue()
        self._subscriptions: dict[Resource, Subscription] = {}
        self._users_of_config: dict[tuple[str, str], set[str]] = {}
        self._config_of: dict[tuple[str, str], str] = {}
        self._missed = False
        self._queue.add(ORPHANS, ports.clock.now_s() + ORPHANS_EVERY_S)

    def poll(self) -> None:
        """Queue what the changes since the last call concern.

        Raises: ServerUnavailable (what was not seen yet is seen by a later call).
        """
        now_s = self._ports.clock.now_s()
        for resource in self._watched:
            for obj in self._changes(resource):
                if resource is WORKSPACE:
                    self._note_config(obj)
                for key in self._keys(resource, obj):
                    self._queue.add(key, now_s)
        if self._missed:  # a deletion may be among it, which no list shows
            for resource in _REPEATED:
                if resource in self._watched:
                    for obj in self._api.list(resource).items:
                        for key in self._keys(resource, obj):
                            self._queue.add(key, now_s)
            self._missed = False

    def take(self, now_s: float) -> tuple[Key, Steps] | None:
        """The next round that is due, to be drained and then reported with `done`."""
        key = self._queue.take(now_s)
        return None if key is None else (key, self._round(key))

    def done(self, key: Key, now_s: float, *, again_after_s: float | None, failed: bool) -> None:
        """Report how a round ended."""
        self._queue.done(key, now_s, again_after_s=again_after_s, failed=failed)

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
            return reconcile_workspace(self._ports, key.namespace, key.name)
        if key.kind == NODE_CLAIM.kind:
            return reconcile_machine(self._ports, key.name)
        return collect_orphans(self._ports, every_s=ORPHANS_EVERY_S)

    def _changes(self, resource: Resource) -> Iterator[KubeObject]:
        subscription = self._subscriptions.get(resource)
        if subscription is not None:
            try:
                for event in subscription.poll():
                    if event.type is not EventType.BOOKMARK:
                        yield event.object
            except Gone:
                subscription.close()
                del self._subscriptions[resource]
                self._missed = True
        if resource not in self._subscriptions:
            page = self._api.list(resource)
            self._subscriptions[resource] = self._api.watch(
                resource, resource_version=page.resource_version, wake=self._wake
            )
            yield from page.items

    def _keys(self, resource: Resource, obj: KubeObject) -> Iterator[Key]:
        if self._runs_machines and resource is NODE_CLAIM:
            yield Key(NODE_CLAIM.kind, "", name_of(obj))
        if self._runs_machines and resource is NODE:
            yield from _machine_keys(labels_of(obj))
        if self._runs_workspaces:
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
        if labels.WORKSPACE in found and labels.WORKSPACE_NAMESPACE in found:
            yield Key(WORKSPACE.kind, found[labels.WORKSPACE_NAMESPACE], found[labels.WORKSPACE])
        for owner in obj["metadata"].get("ownerReferences") or ():  # even if it lost its labels
            if owner["kind"] == WORKSPACE.kind:
                yield Key(WORKSPACE.kind, namespace_of(obj), owner["name"])

    def _note_config(self, workspace: KubeObject) -> None:
        """Remember which ConfigMap a Workspace reads, so that a change of it wakes a round."""
        namespace, name = namespace_of(workspace), name_of(workspace)
        part = workspace.get("inference") or workspace.get("tuning") or {}
        config = part.get("config") or ""
        before = self._config_of.pop((namespace, name), "")
        if before:
            self._users_of_config[namespace, before].discard(name)
        if config and "deletionTimestamp" not in workspace["metadata"]:
            self._config_of[namespace, name] = config
            self._users_of_config.setdefault((namespace, config), set()).add(name)


def _machine_keys(found: Mapping[str, str]) -> Iterator[Key]:
    uid, slot = found.get(labels.WORKSPACE_UID), found.get(labels.SLOT, "")
    if uid and slot.isdigit():
        yield Key(NODE_CLAIM.kind, "", names.machine_name(uid, int(slot), 0))
