"""Who may record machines: the guards of each namespace, kept against what is recorded and what is
promised.

An index over NodeClaims and Workspaces, brought up to date by what has changed: no round looks
through all objects.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from kaito.adapters.k8s import node_claims
from kaito.adapters.k8s.errors import as_port_errors
from kaito.adapters.kube_api import (
    NODE_CLAIM,
    WORKSPACE,
    KubeApi,
    KubeObject,
    condition_of,
    labels_of,
    name_of,
    namespace_of,
)
from kaito.adapters.object_cache import ObjectCache
from kaito.domain import labels
from kaito.domain import status as st
from kaito.domain.catalogue import Catalogue
from kaito.domain.machine import MachineSpec, Owner
from kaito.domain.machine_budget import (
    Amount,
    MachineGuards,
    amount_of,
    amount_of_spec,
    why_over,
)


class _Waiting(NamedTuple):
    """In the order in which they are served."""

    created_at: str
    uid: str
    name: str


@dataclass(slots=True)
class _Namespace:
    """`records` are by NodeClaim, `owners` the names of their Workspaces; `promised`, by owner's
    UID, those that are not seen yet."""

    used: Amount = field(default_factory=Amount)
    records: dict[str, Amount] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    promised: dict[str, dict[str, Amount]] = field(default_factory=dict)
    waiting: dict[str, _Waiting] = field(default_factory=dict)

    def total(self, but_of: str) -> Amount:
        """What is recorded, and promised to others."""
        found = self.used
        for uid, promises in self.promised.items():
            if uid != but_of:
                for amount in promises.values():
                    found += amount
        return found

    def owned(self, workspace: str) -> Amount:
        """What one Workspace has. A namespace has few machines, and this is asked at its limit."""
        found = Amount()
        for claim, owner in self.owners.items():
            if owner == workspace:
                found += self.records[claim]
        return found

    def first(self) -> _Waiting | None:
        return min(self.waiting.values(), default=None)


class MachineLedger:
    """The domain's `MachineBudget` for one operator; one lock makes asking and promising one step,
    so that two Workspaces planned at the same moment cannot both pass.

    What a dead operator had promised is forgotten with it: what it recorded is read again.
    """

    def __init__(
        self,
        api: KubeApi,
        catalogue: Catalogue,
        guards: MachineGuards,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._catalogue = catalogue
        self._guards = guards
        self._lock = threading.Lock()
        self._spaces: dict[str, _Namespace] = {}
        self._freed: dict[str, None] = {}
        self._claims = ObjectCache(api, NODE_CLAIM, wake)
        self._claims.on_change(self._claim_changed)
        self._workspaces = ObjectCache(api, WORKSPACE, wake)
        self._workspaces.on_change(self._workspace_changed)

    def reserve(self, owner: Owner, created_at: str, specs: Sequence[MachineSpec]) -> str:
        with self._lock, as_port_errors():
            self._refresh()
            space = self._space(owner.namespace)
            before = space.promised.pop(owner.uid, {})
            asked = {
                spec.name: amount_of_spec(spec, self._catalogue, self._guards)
                for spec in specs
                if spec.name not in space.records
            }
            why = self._why_not(space, owner, created_at, asked)
            if asked and not why:
                space.promised[owner.uid] = asked
            served = not why and space.waiting.pop(owner.uid, None) is not None
            if served or before.keys() - asked.keys():
                self._freed[owner.namespace] = None
            return why

    def freed(self) -> Sequence[tuple[str, str]]:
        with self._lock:
            self._refresh()
            found = []
            for namespace in self._freed:
                first = self._space(namespace).first()
                if first is not None:
                    found.append((namespace, first.name))
            self._freed.clear()
            return found

    def _why_not(
        self, space: _Namespace, owner: Owner, created_at: str, asked: dict[str, Amount]
    ) -> str:
        if not asked:
            return ""
        wanted = Amount()
        for amount in asked.values():
            wanted += amount
        guards, me = self._guards, _Waiting(created_at, owner.uid, owner.name)
        older = min((one for one in space.waiting.values() if one < me), default=None)
        behind = older.name if older is not None else ""
        used = space.total(owner.uid)
        why = why_over(guards, owner.namespace, used, wanted, waits_behind=behind)
        # One that would be too much if it were alone must not hold up the others.
        own = space.owned(owner.name)
        alone = why_over(guards, owner.namespace, own, wanted, waits_behind="")
        if why and not alone:
            space.waiting[owner.uid] = me
        elif alone and space.waiting.pop(owner.uid, None) is not None:
            self._freed[owner.namespace] = None
        return why

    def _refresh(self) -> None:
        self._claims.refresh()
        self._workspaces.refresh()

    def _space(self, namespace: str) -> _Namespace:
        return self._spaces.setdefault(namespace, _Namespace())

    def _claim_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        for claim, is_there in ((before, False), (after, True)):
            namespace = labels_of(claim).get(labels.WORKSPACE_NAMESPACE, "") if claim else ""
            if claim is None or not namespace:
                continue
            space, name = self._space(namespace), name_of(claim)
            old = space.records.pop(name, Amount())
            space.owners.pop(name, None)
            new = Amount()
            if is_there:
                new = space.records[name] = self._amount_of(claim)
                space.owners[name] = labels_of(claim).get(labels.WORKSPACE, "")
                for promises in space.promised.values():
                    promises.pop(name, None)
            space.used += Amount(
                machines=new.machines - old.machines,
                usd_per_hour=new.usd_per_hour - old.usd_per_hour,
            )
            if not is_there:
                self._freed[namespace] = None

    def _amount_of(self, claim: KubeObject) -> Amount:
        owner = Owner(
            uid="",
            namespace=labels_of(claim).get(labels.WORKSPACE_NAMESPACE, ""),
            name=labels_of(claim).get(labels.WORKSPACE, ""),
        )
        machine = node_claims.to_machine(claim) or node_claims.to_adoptable(claim, owner)
        if machine is None:  # somebody has taken its labels off; it is there all the same
            return Amount(machines=1)
        return amount_of(machine, self._catalogue, self._guards)

    def _workspace_changed(self, before: KubeObject | None, after: KubeObject | None) -> None:
        known = after if after is not None else before
        assert known is not None, "a change has a before or an after"
        metadata, namespace = known["metadata"], namespace_of(known)
        space, uid = self._space(namespace), metadata["uid"]
        if after is None or "deletionTimestamp" in metadata:
            gave_way = space.waiting.pop(uid, None) is not None
            if space.promised.pop(uid, None) or gave_way:
                self._freed[namespace] = None
        elif before is None:  # what an operator before this one had said
            said = condition_of(known, st.SUCCEEDED)
            if said is not None and said.get("reason") == st.OVER_BUDGET:
                created_at = metadata["creationTimestamp"]
                space.waiting[uid] = _Waiting(created_at, uid, name_of(known))
