"""Who owns whom, by uid: the garbage collector's picture of the cluster."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kaito.adapters.fake.object_meta import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from kaito.adapters.kube_api import KubeObject, Resource, name_of, namespace_of

OwnerReference = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Item:
    """One object as it was last seen."""

    resource: Resource
    obj: KubeObject

    @property
    def uid(self) -> str:
        uid: str = self.obj["metadata"]["uid"]
        return uid

    @property
    def name(self) -> str:
        return name_of(self.obj)

    @property
    def namespace(self) -> str:
        return namespace_of(self.obj)

    @property
    def version(self) -> str:
        version: str = self.obj["metadata"]["resourceVersion"]
        return version

    @property
    def finalizers(self) -> tuple[str, ...]:
        return tuple(self.obj["metadata"].get("finalizers") or ())

    @property
    def owners(self) -> tuple[OwnerReference, ...]:
        return tuple(self.obj["metadata"].get("ownerReferences") or ())

    @property
    def deleting(self) -> bool:
        return "deletionTimestamp" in self.obj["metadata"]

    @property
    def waits_for_dependents(self) -> bool:
        """Whether it goes only after the dependents that block it (foreground deletion)."""
        return self.deleting and FOREGROUND_FINALIZER in self.finalizers

    @property
    def leaves_dependents(self) -> bool:
        """Whether its dependents are to be kept (orphaned)."""
        return self.deleting and ORPHAN_FINALIZER in self.finalizers

    def blocks(self, owner_uid: str) -> bool:
        """Whether the owner must wait for this object to be gone."""
        return any(
            owner["uid"] == owner_uid and owner.get("blockOwnerDeletion") for owner in self.owners
        )


class OwnerGraph:
    """Every known object, and the dependents of every uid, even of one that is unknown."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._dependents: dict[str, dict[str, None]] = {}

    def get(self, uid: str) -> Item | None:
        return self._items.get(uid)

    def dependents(self, uid: str) -> Iterator[Item]:
        """In the order in which they were first seen."""
        return (self._items[dependent] for dependent in tuple(self._dependents.get(uid, ())))

    def put(self, item: Item) -> Item | None:
        """Remember the item's newest state; returns the one before."""
        before = self._items.get(item.uid)
        self._items[item.uid] = item
        old = {owner["uid"] for owner in before.owners} if before is not None else set()
        new = {owner["uid"]: None for owner in item.owners}
        for owner_uid in sorted(old - set(new)):
            self._forget(owner_uid, item.uid)
        for owner_uid in new:
            self._dependents.setdefault(owner_uid, {})[item.uid] = None
        return before

    def remove(self, uid: str) -> None:
        item = self._items.pop(uid)
        for owner_uid in {owner["uid"]: None for owner in item.owners}:
            self._forget(owner_uid, uid)

    def _forget(self, owner_uid: str, uid: str) -> None:
        dependents = self._dependents[owner_uid]
        del dependents[uid]
        if not dependents:
            del self._dependents[owner_uid]
