"""Who owns which field of a custom resource: `metadata.managedFields`, and server-side apply.

Kept beside the store, by uid. What the twin's own parts write in process is noticed at the next
request, as a change by `IN_PROCESS`.
"""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import Any, Final

from kaito.adapters.fake.http.apply_merge import merged, without
from kaito.adapters.fake.http.field_paths import (
    Path,
    Schema,
    from_fields_v1,
    is_there,
    owned_part,
    paths_of,
    shown,
    to_fields_v1,
    value_at,
    with_metadata,
)
from kaito.adapters.fake.http.kinds import Kind
from kaito.adapters.fake.http.statuses import Refusal, status
from kaito.adapters.kube_api import FrozenDict, Json, KubeObject, freeze
from kaito.domain.timestamps import from_rfc3339, to_rfc3339

IN_PROCESS: Final = "kaito"
_STATUS: Final = "f:status"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A manager's fields: all that it applied, or that it wrote in other ways."""

    manager: str
    applies: bool
    api_version: str
    subresource: str
    time_s: float
    fields: frozenset[Path]

    @property
    def identity(self) -> tuple[str, bool, str]:
        return self.manager, self.applies, self.subresource

    def entry(self) -> dict[str, Any]:
        """As in `managedFields`."""
        found: dict[str, Any] = {
            "manager": self.manager,
            "operation": "Apply" if self.applies else "Update",
            "apiVersion": self.api_version,
            "time": to_rfc3339(self.time_s),
            "fieldsType": "FieldsV1",
            "fieldsV1": to_fields_v1(self.fields),
        }
        return {**found, "subresource": self.subresource} if self.subresource else found

    def named(self) -> str:
        """As in the message of a conflict."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.applies else f"{text} using {self.api_version}"


@dataclass(frozen=True, slots=True)
class _Known:
    """The owners of an object, as of `seen`."""

    owners: tuple[Owner, ...]
    seen: KubeObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What an apply makes of an object, to be stored and then `committed`."""

    body: dict[str, Any]
    owners: tuple[Owner, ...]


@dataclass(slots=True)
class FieldOwnership:
    """Owners of every custom resource that was written through the front."""

    now_s: Callable[[], float]
    _known: dict[str, _Known] = field(default_factory=dict)

    def shown(self, obj: KubeObject) -> KubeObject:
        """The object with its `managedFields`."""
        known = self._known.get(obj["metadata"]["uid"])
        if known is None or not known.owners:
            return obj
        fields = freeze([owner.entry() for owner in known.owners])
        meta = FrozenDict({**obj["metadata"], "managedFields": fields})
        return FrozenDict({**obj, "metadata": meta})

    def forget(self, obj: KubeObject) -> None:
        self._known.pop(obj["metadata"]["uid"], None)

    def updated(
        self,
        kind: Kind,
        old: KubeObject | None,
        new: KubeObject,
        manager: str,
        subresource: str = "",
    ) -> None:
        """A manager wrote `new` over `old`: what it changed is now its own."""
        owners = () if old is None else self._owners(kind, old)
        owners = self._after(kind, owners, old, new, manager, subresource)
        self._known[new["metadata"]["uid"]] = _Known(owners, new)

    def declared(self, obj: KubeObject, entries: Iterable[Mapping[str, Any]]) -> None:
        """A client rewrote `managedFields` itself, as kubectl does when it begins to apply on the
        server what it applied by itself before."""
        owners = tuple(
            Owner(
                manager=str(entry.get("manager", "")),
                applies=entry.get("operation") == "Apply",
                api_version=str(entry.get("apiVersion", obj["apiVersion"])),
                subresource=str(entry.get("subresource", "")),
                time_s=from_rfc3339(entry["time"]) if entry.get("time") else self.now_s(),
                fields=frozenset(from_fields_v1(entry.get("fieldsV1") or {})),
            )
            for entry in entries
            if entry
        )
        self._known[obj["metadata"]["uid"]] = _Known(owners, obj)

    def apply(
        self,
        kind: Kind,
        live: KubeObject | None,
        config: Mapping[str, Any],
        manager: str,
        *,
        force: bool,
        subresource: str = "",
    ) -> Applied:
        """What applying `config` makes of `live`. Raises: Refusal (409: others own a field)."""
        schema = with_metadata(kind.schema)
        part = owned_part(config)
        part = {key: value for key, value in part.items() if (key == "status") == bool(subresource)}
        wanted = frozenset(paths_of(part, schema))
        others = [] if live is None else list(self._owners(kind, live))
        mine = next((one for one in others if one.identity == (manager, True, subresource)), None)
        if mine is not None:
            others.remove(mine)
        conflicts = _conflicts(live, part, wanted, others)
        if conflicts and not force:
            raise _conflict(kind, config, conflicts)
        lost = frozenset(path for _owner, path in conflicts)
        others = [replace(one, fields=one.fields - lost) for one in others]
        body = dict(config) if live is None else merged(live, part, schema)
        if mine is not None:
            kept = wanted.union(*(one.fields for one in others))
            body = without(body, mine.fields - kept)
        owner = Owner(
            manager=manager,
            applies=True,
            api_version=kind.resource.api_version,
            subresource=subresource,
            time_s=mine.time_s if mine is not None and mine.fields == wanted else self.now_s(),
            fields=wanted,
        )
        owners = tuple(one for one in (owner, *others) if one.fields)
        return Applied(body=body, owners=owners)

    def committed(self, applied: Applied, stored: KubeObject) -> None:
        """The store took what an apply made."""
        self._known[stored["metadata"]["uid"]] = _Known(applied.owners, stored)

    def _owners(self, kind: Kind, live: KubeObject) -> tuple[Owner, ...]:
        """The owners now, with what changed since they were last looked at."""
        known = self._known.get(live["metadata"]["uid"])
        if known is None:
            return self._by_twin(kind, (), None, live)
        return (
            known.owners
            if known.seen is live
            else self._by_twin(kind, known.owners, known.seen, live)
        )

    def _by_twin(
        self, kind: Kind, owners: tuple[Owner, ...], old: KubeObject | None, new: KubeObject
    ) -> tuple[Owner, ...]:
        for subresource in ("", "status"):
            owners = self._after(kind, owners, old, new, IN_PROCESS, subresource)
        return owners

    def _after(
        self,
        kind: Kind,
        owners: tuple[Owner, ...],
        old: KubeObject | None,
        new: KubeObject,
        manager: str,
        subresource: str,
    ) -> tuple[Owner, ...]:
        schema = with_metadata(kind.schema)
        before, after = owned_part(old or {}), owned_part(new)
        there = frozenset(paths_of(after, schema))
        inner = {path[:-1] for path in there}
        changed = {path for path in there if _differs(before, after, path, inner)}
        changed = {path for path in changed if (path[0] == _STATUS) == bool(subresource)}
        gone = {
            path
            for path in paths_of(before, schema)
            if path not in there and (path[0] == _STATUS) == bool(subresource)
        }
        if not changed and not gone:
            return owners
        identity = (manager, False, subresource)
        own = next((one.fields for one in owners if one.identity == identity), frozenset[Path]())
        others = [
            replace(one, fields=one.fields - changed - gone)
            for one in owners
            if one.identity != identity
        ]
        mine = Owner(
            manager=manager,
            applies=False,
            api_version=kind.resource.api_version,
            subresource=subresource,
            time_s=self.now_s(),
            fields=(own | changed) - gone,
        )
        return tuple(one for one in (*others, mine) if one.fields)


def _conflicts(
    live: KubeObject | None, part: Mapping[str, Any], wanted: frozenset[Path], others: list[Owner]
) -> list[tuple[Owner, Path]]:
    if live is None:
        return []
    there: Schema = owned_part(live)
    inner = {path[:-1] for path in wanted}
    return [
        (owner, path)
        for owner in sorted(others, key=lambda one: one.identity)
        for path in sorted(wanted & owner.fields)
        if _differs(there, part, path, inner)
    ]


def _differs(one: Json, other: Json, path: Path, inner: Set[Path]) -> bool:
    """Whether two objects have something else at a path. At an inner one, which stands for an item
    of a list, it counts only whether the item is there: its fields have paths of their own."""
    if path in inner:
        return is_there(one, path) != is_there(other, path)
    return bool(value_at(one, path) != value_at(other, path))


def _conflict(
    kind: Kind, config: Mapping[str, Any], conflicts: list[tuple[Owner, Path]]
) -> Refusal:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {owner.named()}",
            "field": shown(path),
        }
        for owner, path in conflicts
    ]
    if len(conflicts) == 1:
        owner, path = conflicts[0]
        text = f"1 conflict: conflict with {owner.named()}: {shown(path)}"
    else:
        lines = []
        for name in dict.fromkeys(owner.named() for owner, _path in conflicts):
            lines.append(f"conflicts with {name}:")
            lines += [f"- {shown(path)}" for owner, path in conflicts if owner.named() == name]
        text = f"{len(conflicts)} conflicts: " + "\n".join(lines)
    details = {
        "name": config["metadata"].get("name", ""),
        "group": kind.resource.group,
        "kind": kind.resource.plural,
        "causes": causes,
    }
    return Refusal(status(409, f"Apply failed with {text}", reason="Conflict", details=details))
