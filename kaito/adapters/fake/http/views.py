"""How objects are shown: as they are, as rows of a Table, or as their metadata only."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from kaito.adapters.fake.http.kinds import Kind
from kaito.adapters.kube_api import KubeObject, ObjectList

META_V1: Final = "meta.k8s.io/v1"
TABLE: Final = "Table"
_PARTIAL: Final = "PartialObjectMetadata"


def one(kind: Kind, obj: KubeObject, view: str, now_s: float, *, include: str = "") -> KubeObject:
    """One object."""
    if view == TABLE:
        return table(kind, [obj], now_s, include=include, meta=_list_meta(obj))
    return _partial(obj) if view.startswith(_PARTIAL) else obj


def many(
    kind: Kind, listed: ObjectList, view: str, now_s: float, *, include: str = ""
) -> KubeObject:
    """A page of a list."""
    meta: dict[str, Any] = {"resourceVersion": listed.resource_version}
    if listed.continue_token:
        meta["continue"] = listed.continue_token
    if view == TABLE:
        return table(kind, listed.items, now_s, include=include, meta=meta)
    if view.startswith(_PARTIAL):
        items = [_partial(obj) for obj in listed.items]
        return _list(f"{_PARTIAL}List", META_V1, meta, items)
    resource = kind.resource
    found: Iterable[KubeObject] = listed.items
    if not resource.is_custom:  # the items of built-in kinds do not repeat what the list says
        found = [_without_type(obj) for obj in listed.items]
    return _list(f"{resource.kind}List", resource.api_version, meta, list(found))


def table(
    kind: Kind,
    objects: Iterable[KubeObject],
    now_s: float,
    *,
    include: str = "",
    meta: Mapping[str, Any],
    headed: bool = True,
) -> KubeObject:
    """A Table; further events of a watch leave the head out."""
    return {
        "kind": TABLE,
        "apiVersion": META_V1,
        "metadata": meta,
        "columnDefinitions": [one.definition() for one in kind.columns] if headed else None,
        "rows": [_row(kind, obj, now_s, include) for obj in objects],
    }


def _row(kind: Kind, obj: KubeObject, now_s: float, include: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": [column.value(obj, now_s) for column in kind.columns]}
    if include != "None":
        row["object"] = obj if include == "Object" else _partial(obj)
    return row


def _partial(obj: KubeObject) -> KubeObject:
    return {"kind": _PARTIAL, "apiVersion": META_V1, "metadata": obj["metadata"]}


def _list(kind: str, api_version: str, meta: Any, items: list[KubeObject]) -> KubeObject:
    return {"kind": kind, "apiVersion": api_version, "metadata": meta, "items": items}


def _list_meta(obj: KubeObject) -> dict[str, Any]:
    return {"resourceVersion": obj["metadata"].get("resourceVersion", "")}


def _without_type(obj: KubeObject) -> KubeObject:
    return {key: value for key, value in obj.items() if key not in {"apiVersion", "kind"}}
