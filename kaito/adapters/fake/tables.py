"""The objects of one resource, with their indexes and the log of their changes."""

import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Mapping, Sequence

from kaito.adapters.fake.selectors import FieldSelector, LabelSelector, field_of
from kaito.adapters.fake.watch_log import Change, WatchLog
from kaito.adapters.few_or_many import added, removed
from kaito.adapters.kube_api import EventType, KubeObject, Resource, labels_of

Key = tuple[str, str]  # namespace (empty for cluster-scoped objects), name
_Term = tuple[str, str]

_AFTER_EVERY_NAME = "\U0010ffff"
_INDEXED_FIELDS = {"pods": ("spec.nodeName",), "events": ("involvedObject.uid",)}


class Table:
    """One resource's objects, ordered by namespace and name.

    Selecting by labels (equality), by the indexed fields or by one name costs what it finds; the
    first time that a label's key is selected by costs all.
    """

    def __init__(self, resource: Resource, history: int) -> None:
        self.resource = resource  # in its storage version
        self.log = WatchLog(history)
        self._objects: dict[Key, KubeObject] = {}
        self._keys: list[Key] = []
        self._index: dict[_Term, Collection[Key]] = {}
        self._indexed_labels: set[str] = set()  # of the many, few are ever selected by
        self._indexed_fields = () if resource.group else _INDEXED_FIELDS.get(resource.plural, ())

    def __len__(self) -> int:
        return len(self._objects)

    def get(self, key: Key) -> KubeObject | None:
        return self._objects.get(key)

    def put(self, key: Key, obj: KubeObject, version: int) -> None:
        """Store a new state and log it."""
        before = self._objects.get(key)
        if before is None:
            insort(self._keys, key)
        self._objects[key] = obj
        self._reindex(key, before, obj)
        kind = EventType.ADDED if before is None else EventType.MODIFIED
        self.log.append(Change(version, kind, obj, before))

    def remove(self, key: Key, last: KubeObject, version: int) -> None:
        """Remove an object and log `last` as what it was."""
        before = self._objects.pop(key)
        del self._keys[bisect_left(self._keys, key)]
        self._reindex(key, before, None)
        self.log.append(Change(version, EventType.DELETED, last, before))

    def select(
        self, namespace: str | None, labels: LabelSelector, fields: FieldSelector
    ) -> list[KubeObject]:
        """The objects of a namespace (None: of all) that match both selectors, in order."""
        for name, _value in labels.equal:
            if name not in self._indexed_labels:
                self._index_label(name)
        if labels.equal and not (labels.others or fields.equal or fields.unequal):
            # The index has all that is asked for: who is in it for each of them matches.
            return [self._objects[key] for key in self._labelled(namespace, labels)]
        found = (self._objects[key] for key in self._candidates(namespace, labels, fields))
        return [obj for obj in found if labels.matches(obj) and fields.matches(obj)]

    def goes_on(self, namespace: str | None, after: Key) -> bool:
        """Whether any object of a namespace (None: of all) comes after that key."""
        keys = self._range(namespace)
        return bool(keys) and keys[-1] > after

    def state_at(self, version: int, namespace: str | None, after: Key) -> list[KubeObject]:
        """The objects of a namespace (None: of all) as they were at `version`, in order, from
        behind `after` on. Raises: Gone."""
        then: dict[Key, KubeObject | None] = {}
        for change in self.log.back_to(version):
            then[_key_of(change.object)] = change.before
        keys = sorted({*self._range(namespace), *then})
        found = []
        for key in keys[bisect_right(keys, after) :]:
            obj = then[key] if key in then else self._objects[key]
            if obj is not None and namespace in {None, key[0]}:
                found.append(obj)
        return found

    def _candidates(
        self, namespace: str | None, labels: LabelSelector, fields: FieldSelector
    ) -> Sequence[Key]:
        named = dict(fields.equal)
        namespace = named.get("metadata.namespace", namespace)
        if "metadata.name" in named and (namespace is not None or not self.resource.namespaced):
            key = (namespace or "", named["metadata.name"])
            return [key] if key in self._objects else []
        terms = [*labels.equal, *_field_terms(self._indexed_fields, named)]
        if not terms:
            return self._range(namespace)
        keys = self._of_all_terms(terms)
        return sorted(key for key in keys if namespace is None or key[0] == namespace)

    def _labelled(self, namespace: str | None, labels: LabelSelector) -> Sequence[Key]:
        keys = self._of_all_terms(labels.equal)
        if namespace is not None:
            keys = [key for key in keys if key[0] == namespace]
        return sorted(keys) if len(keys) > 1 else tuple(keys)

    def _of_all_terms(self, terms: Sequence[_Term]) -> Collection[Key]:
        found = [self._index.get(term, ()) for term in terms]
        if len(found) == 1:
            return found[0]
        fewest, *others = sorted(found, key=len)
        return [key for key in fewest if all(key in other for other in others)]

    def _range(self, namespace: str | None) -> Sequence[Key]:
        if namespace is None:
            return self._keys
        first = bisect_left(self._keys, (namespace, ""))
        return self._keys[first : bisect_right(self._keys, (namespace, _AFTER_EVERY_NAME))]

    def _index_label(self, name: str) -> None:
        self._indexed_labels.add(name)
        for key, obj in self._objects.items():
            value = labels_of(obj).get(name)
            if value is not None:
                self._put_term((name, value), key)

    def _put_term(self, term: _Term, key: Key) -> None:
        self._index[term] = added(self._index.get(term, ()), key)

    def _reindex(self, key: Key, before: KubeObject | None, after: KubeObject | None) -> None:
        if before is not None and after is not None and self._same_terms(before, after):
            return
        for term in self._terms(before):
            keys = removed(self._index[term], key)
            if keys:
                self._index[term] = keys
            else:
                del self._index[term]
        for term in self._terms(after):
            self._put_term(term, key)

    def _same_terms(self, before: KubeObject, after: KubeObject) -> bool:
        same_labels = before["metadata"].get("labels") is after["metadata"].get("labels")
        return same_labels and all(
            field_of(before, path) == field_of(after, path) for path in self._indexed_fields
        )

    def _terms(self, obj: KubeObject | None) -> Iterable[_Term]:
        if obj is None:
            return ()
        found = [term for term in labels_of(obj).items() if term[0] in self._indexed_labels]
        if not self._indexed_fields:
            return found
        fields = {path: field_of(obj, path) for path in self._indexed_fields}
        return [*found, *_field_terms(self._indexed_fields, fields)]


def _field_terms(indexed: Iterable[str], fields: Mapping[str, str]) -> list[_Term]:
    # No label's key has a space, so fields and labels share one index.
    return [(sys.intern(f"field {path}"), fields[path]) for path in indexed if path in fields]


def _key_of(obj: KubeObject) -> Key:
    meta = obj["metadata"]
    return meta.get("namespace", ""), meta["name"]
