"""The verbs on stored objects, apart from watching and patching."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from starlette.datastructures import QueryParams

from kaito.adapters.fake.api_errors import invalid
from kaito.adapters.fake.http import scale, views
from kaito.adapters.fake.http.field_ownership import FieldOwnership
from kaito.adapters.fake.http.field_validation import FieldValidation, checked
from kaito.adapters.fake.http.kinds import Kind, Kinds
from kaito.adapters.fake.http.options import delete_options, is_dry_run, list_options
from kaito.adapters.fake.http.statuses import refusal
from kaito.adapters.fake.http.targets import Target
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import (
    KubeObject,
    ObjectList,
    ObjectNotFound,
    Resource,
    ServerUnavailable,
    name_of,
    namespace_of,
)

_OBJECTS: Final = ("metadata", "spec", "status", "data")


@dataclass(frozen=True, slots=True)
class Answer:
    """A body and its HTTP status."""

    body: KubeObject
    code: int = 200


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes: the field manager, as a client names itself."""

    manager: str


class Objects:
    """CRUD on the store, in the protocol's terms. Raises: Refusal, KubeApiError."""

    def __init__(self, store: ObjectStore, kinds: Kinds, ownership: FieldOwnership) -> None:
        self.store, self.kinds, self.ownership = store, kinds, ownership
        self._warnings: list[str] = []

    def warn(self, texts: Iterable[str]) -> None:
        """Tell the client, whatever becomes of its request."""
        self._warnings += texts

    def take_warnings(self) -> list[str]:
        """What to tell the client of the request that has just been handled."""
        found, self._warnings = self._warnings, []
        return found

    def shown(self, kind: Kind, obj: KubeObject) -> KubeObject:
        """An object with who owns its fields, where that is kept."""
        return self.ownership.shown(obj) if kind.schema is not None else obj

    def get(self, target: Target, query: QueryParams, view: str, now_s: float) -> Answer:
        """An object, or its status or scale."""
        obj = self.live(target)
        if target.subresource == "scale":
            return Answer(scale.scale_of(obj))
        shown = self.shown(target.kind, obj)
        include = query.get("includeObject", "")
        return Answer(views.one(target.kind, shown, view, now_s, include=include))

    def list(self, target: Target, query: QueryParams, view: str, now_s: float) -> Answer:
        """A collection, or a page of one."""
        options = list_options(query)
        version = options.resource_version
        if version.isdigit() and int(version) > int(self.store.resource_version):
            current = self.store.resource_version
            raise ServerUnavailable(
                f"Timeout: Too large resource version: {version}, current: {current}", code=504
            )
        listed = self.store.list(
            target.kind.resource,
            target.namespace,
            labels=options.labels,
            fields=options.fields,
            limit=options.limit,
            continue_token=options.continue_token,
        )
        items = tuple(self.shown(target.kind, obj) for obj in listed.items)
        page = ObjectList(items, listed.resource_version, listed.continue_token)
        return Answer(views.many(target.kind, page, view, now_s, include=options.include))

    def create(
        self, target: Target, query: QueryParams, body: Mapping[str, Any], writer: Writer
    ) -> Answer:
        """A new object."""
        kind = target.kind
        sent = placed(target, body)
        fitting = self.checked(kind, sent, query)
        with self.dry_run(query, "CreateOptions") as dry:
            created = self.store.create(kind.resource, fitting)
            if kind.schema is not None and not dry:
                self.ownership.updated(kind, None, created, writer.manager)
        return Answer(self.shown(kind, created), 201)

    def update(
        self, target: Target, query: QueryParams, body: Mapping[str, Any], writer: Writer
    ) -> Answer:
        """All of an object, or its status or scale, replaced."""
        kind, resource = target.kind, target.kind.resource
        if target.subresource == "scale":
            return self.set_scale(target, query, body)
        sent = placed(target, body)
        name = sent["metadata"].setdefault("name", target.name)
        if name != target.name:
            raise refusal(
                400,
                f"the name of the object ({name}) does not match the name on the URL"
                f" ({target.name})",
            )
        is_status = target.subresource == "status"
        fitting = self.checked(kind, sent, query, status=is_status)
        with self.dry_run(query, "UpdateOptions") as dry:
            old: KubeObject | None = None
            with suppress(ObjectNotFound):  # the store says what is wrong with one that is gone
                old = self.live(target)
            if is_status:
                stored = self.store.replace_status(resource, fitting)
            else:
                stored = self.store.replace(resource, fitting)
            if kind.schema is not None and not dry:
                self.ownership.updated(kind, old, stored, writer.manager, target.subresource)
        return Answer(self.shown(kind, stored))

    def checked(
        self,
        kind: Kind,
        body: Mapping[str, Any],
        query: QueryParams,
        *,
        status: bool = False,
        values: bool = True,
    ) -> Mapping[str, Any]:
        """A body that fits its kind's schema. Raises: Refusal, InvalidObject."""
        found = checked(kind, body, FieldValidation.of(query), status=status, values=values)
        self.warn(found.warnings)
        if found.problems:
            name = (body.get("metadata") or {}).get("name", "")
            raise invalid(kind.resource, name, found.problems)
        return found.body

    def set_scale(self, target: Target, query: QueryParams, body: Mapping[str, Any]) -> Answer:
        """The replicas of a workload."""
        patch = scale.patch_of(body)
        with self.dry_run(query, "UpdateOptions"):
            stored = self.store.patch(
                target.kind.resource, target.name, target.namespace, patch, patch_type="merge"
            )
        return Answer(scale.scale_of(stored))

    def delete(self, target: Target, query: QueryParams, body: Mapping[str, Any]) -> Answer:
        """One object: gone (a Status says so), or marked and still there (the object)."""
        options = delete_options(query, body)
        resource = target.kind.resource
        old = self.live(target)
        with self.dry_run(query, "DeleteOptions", forced=options.dry_run) as dry:
            self.store.delete(
                resource,
                target.name,
                target.namespace,
                uid=options.uid,
                resource_version=options.resource_version,
                propagation=options.propagation,
                grace_period_s=options.grace_period_s,
            )
        if not dry:
            try:
                left = self.live(target)
            except ObjectNotFound:
                self.ownership.forget(old)
            else:
                if left["metadata"]["uid"] == old["metadata"]["uid"]:
                    return Answer(self.shown(target.kind, left))
        return Answer(_gone(resource, old))

    def delete_collection(
        self, target: Target, query: QueryParams, body: Mapping[str, Any]
    ) -> Answer:
        """Every object that the selectors find."""
        options = delete_options(query, body)
        where = list_options(query)
        resource = target.kind.resource
        listed = self.store.list(
            resource, target.namespace, labels=where.labels, fields=where.fields
        )
        with self.dry_run(query, "DeleteOptions", forced=options.dry_run):
            for obj in listed.items:
                self.store.delete(
                    resource,
                    name_of(obj),
                    namespace_of(obj) or None,
                    propagation=options.propagation,
                    grace_period_s=options.grace_period_s,
                )
        return Answer(views.many(target.kind, listed, "", 0.0))

    def live(self, target: Target) -> KubeObject:
        """The object that a target names. Raises: ObjectNotFound."""
        return self.store.get(target.kind.resource, target.name, target.namespace)

    @contextmanager
    def dry_run(self, query: QueryParams, kind: str, *, forced: bool = False) -> Iterator[bool]:
        """Whether what is written in this block only counts as a rehearsal."""
        if not (is_dry_run(query.getlist("dryRun"), kind) or forced):
            yield False
            return
        with self.store.dry_run():
            yield True


def placed(target: Target, body: Mapping[str, Any]) -> dict[str, Any]:
    """A writer's object with the namespace of its URL. Raises: Refusal (400)."""
    for field in _OBJECTS:
        if body.get(field) is not None and not isinstance(body[field], Mapping):
            given = type(body[field]).__name__
            raise refusal(400, f"{field} cannot be decoded: it must be an object, got {given}")
    found = dict(body.get("metadata") or {})
    if target.namespace is not None:
        if found.get("namespace", target.namespace) != target.namespace:
            raise refusal(
                400,
                "the namespace of the provided object does not match the namespace sent on the"
                " request",
            )
        found["namespace"] = target.namespace
    elif target.kind.resource.namespaced:
        raise refusal(405, "an object is created in a namespace: name it in the URL")
    return {**body, "metadata": found}


def _gone(resource: Resource, old: KubeObject) -> dict[str, Any]:
    details = {"name": name_of(old), "kind": resource.plural, "uid": old["metadata"]["uid"]}
    if resource.group:
        details["group"] = resource.group
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details,
    }
