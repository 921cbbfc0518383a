"""Every write to the store: decode, default, validate, admit, then store the next version."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kaito.adapters.fake.admission import Admission
from kaito.adapters.fake.api_errors import (
    already_exists,
    bad_request,
    conflict,
    forbidden,
    invalid,
    modified,
    no_version,
    not_served,
)
from kaito.adapters.fake.deletion import (
    check_preconditions,
    completes_deletion,
    is_namespace,
    plan_deletion,
)
from kaito.adapters.fake.object_meta import generated_name, meta_problems, new_meta, updated_meta
from kaito.adapters.fake.patches import json_patch, merge_patch
from kaito.adapters.fake.registry import Registry, object_key, presented, same_resource
from kaito.adapters.fake.service_addresses import ServiceAddresses
from kaito.adapters.fake.snapshots import share
from kaito.adapters.fake.strategies import (
    counts_generations,
    prepare_create,
    prepare_status,
    prepare_update,
    spec_changed,
)
from kaito.adapters.fake.tables import Key, Table
from kaito.adapters.kube_api import (
    NAMESPACE,
    SERVICE,
    Json,
    KubeObject,
    PatchType,
    Propagation,
    Resource,
    freeze,
    name_of,
    namespace_of,
    thaw,
)
from kaito.domain.timestamps import to_rfc3339

INITIAL_NAMESPACES = ("default", "kube-system")

_NAME_ATTEMPTS = 8


class Writes:
    """The writing half of `KubeApi`, over a `Registry`."""

    def __init__(
        self,
        registry: Registry,
        *,
        now_s: Callable[[], float],
        new_uid: Callable[[], str],
        admission: Sequence[Admission],
    ) -> None:
        self._registry, self._now_s, self._new_uid = registry, now_s, new_uid
        self._admission = tuple(admission)
        self._addresses = ServiceAddresses()

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """See `ObjectStore.dry_run`."""
        addresses = copy.deepcopy(self._addresses)
        try:
            with self._registry.rehearsal():
                yield
        finally:
            self._addresses = addresses

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.create`."""
        table = self._registry.table(resource)
        draft = _decoded(resource, body)
        given: Mapping[str, Any] = draft.get("metadata") or {}
        namespace = self._home(resource, given)
        uid = self._new_uid()
        now = to_rfc3339(self._now_s())
        meta = new_meta(given, uid=uid, now=now, generation=counts_generations(resource))
        meta.pop("namespace", None)
        if resource.namespaced:
            meta["namespace"] = namespace
        draft["metadata"] = meta
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = self._free_name(table, namespace, meta["generateName"], uid)
        if given.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        problems = meta_problems(resource, meta)
        if problems:
            raise invalid(resource, meta.get("name", ""), problems)
        problems = prepare_create(resource, draft)
        if same_resource(resource, SERVICE):
            problems.extend(self._addresses.problems(draft["spec"]))
        if problems:
            raise invalid(resource, meta["name"], problems)
        for admit in self._admission:
            admit("CREATE", resource, freeze(draft), None)
        key = (namespace, meta["name"])
        if table.get(key) is not None:
            raise already_exists(resource, meta["name"])
        if same_resource(resource, SERVICE):
            self._addresses.assign(draft["spec"])
        return presented(resource, self._registry.put(table, key, draft))

    def patch(
        self,
        resource: Resource,
        key: Key,
        patch: Json,
        *,
        patch_type: PatchType,
        status: bool,
    ) -> KubeObject:
        """See `KubeApi.patch`."""
        table = self._registry.table(resource)
        old = self._registry.existing(table, key)
        shown = presented(resource, old)
        if patch_type == "json":
            body = json_patch(shown, patch)
        elif isinstance(patch, Mapping):
            body = merge_patch(shown, patch)
        else:
            raise bad_request("a merge patch is an object")
        if not isinstance(body, Mapping) or not isinstance(body.get("metadata"), Mapping):
            raise bad_request("a patch must leave an object with metadata")
        for field, kept in (("name", key[1]), ("namespace", key[0])):
            given = body["metadata"].get(field, "")
            if given != kept:
                raise bad_request(
                    f"the {field} of the object ({given}) does not match the {field} on the URL"
                    f" ({kept})"
                )
        return self._update(resource, table, old, body, status=status)

    def delete(
        self,
        resource: Resource,
        key: Key,
        *,
        uid: str | None,
        resource_version: str | None,
        propagation: Propagation,
        grace_period_s: int | None,
    ) -> None:
        """See `KubeApi.delete`."""
        table = self._registry.table(resource)
        old = self._registry.existing(table, key)
        check_preconditions(resource, old, uid, resource_version)
        if is_namespace(resource):
            _check_namespace_may_go(key[1])
        for admit in self._admission:
            admit("DELETE", resource, None, presented(resource, old))
        if is_namespace(resource) and self._terminate_namespace(table, key, old):
            return
        deletion = plan_deletion(resource, old, propagation, grace_period_s, self._now_s())
        if deletion.meta is not None:
            draft = share({**old, "metadata": deletion.meta}, old)
            if draft is not old:
                old = self._registry.put(table, key, dict(draft))
        if deletion.removed:
            self._remove(table, key, old)

    def finalize_namespace(self, name: str) -> None:
        """See `ObjectStore.finalize_namespace`."""
        table = self._registry.table(NAMESPACE)
        old = self._registry.existing(table, ("", name))
        if "deletionTimestamp" not in old["metadata"]:
            raise conflict(NAMESPACE, name, "the namespace is not being terminated")
        draft = {**old, "spec": {**old["spec"], "finalizers": ()}}
        if completes_deletion(NAMESPACE, draft, old):
            self._remove(table, ("", name), old)
        else:
            draft = share(draft, old)
            if draft is not old:
                self._registry.put(table, ("", name), dict(draft))

    def _home(self, resource: Resource, meta: Mapping[str, Any]) -> str:
        """The namespace that a new object goes to."""
        if not resource.namespaced:
            return ""
        namespace = meta.get("namespace") or ""
        if not isinstance(namespace, str) or not namespace:
            raise bad_request("an empty namespace may not be set during creation")
        home = self._registry.existing(self._registry.table(NAMESPACE), ("", namespace))
        if "deletionTimestamp" in home["metadata"]:
            detail = (
                f"unable to create new content in namespace {namespace} because it is being"
                " terminated"
            )
            raise forbidden(resource, meta.get("name") or "", detail, field="metadata.namespace")
        return namespace

    def _free_name(self, table: Table, namespace: str, prefix: str, uid: str) -> str:
        for attempt in range(_NAME_ATTEMPTS):
            name = generated_name(prefix, uid, attempt)
            if table.get((namespace, name)) is None:
                break
        return name

    def replace(self, resource: Resource, body: KubeObject, *, status: bool) -> KubeObject:
        """See `KubeApi.replace` and `KubeApi.replace_status`."""
        table = self._registry.table(resource)
        meta: Mapping[str, Any] = body.get("metadata") or {}
        key = object_key(resource, meta.get("name") or "", meta.get("namespace"))
        there = table.get(key)
        uid = there["metadata"]["uid"] if there is not None else ""
        if meta.get("uid", uid) != uid:  # also of what is gone, as in a real API server
            detail = (
                f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta:"
                f" {uid}"
            )
            raise conflict(resource, key[1], detail)
        old = self._registry.existing(table, key)
        if not meta.get("resourceVersion") and resource.is_custom:
            raise no_version(resource, key[1])
        return self._update(resource, table, old, body, status=status)

    def _update(
        self, resource: Resource, table: Table, old: KubeObject, body: KubeObject, *, status: bool
    ) -> KubeObject:
        """Store `body` over `old`: everything but the status, or nothing but it."""
        if status and not table.resource.status_subresource:
            raise not_served()
        name = name_of(old)
        decoded = _decoded(resource, body)
        given = decoded["metadata"].get("resourceVersion")
        if given and given != old["metadata"]["resourceVersion"]:
            raise modified(resource, name)
        if status:
            kept = _with_status(old, decoded)
            prepare_status(resource, kept)
            draft = share(kept, old)
        else:
            meta, problems = updated_meta(decoded["metadata"], old)
            decoded["metadata"] = meta
            kept = _with_status(decoded, old) if table.resource.status_subresource else decoded
            kept["apiVersion"] = table.resource.api_version
            problems += meta_problems(resource, meta)
            problems += prepare_update(resource, kept, old)
            if problems:
                raise invalid(resource, name, problems)
            draft = share(kept, old)
            for admit in self._admission:
                new, shown = (presented(resource, each) for each in (draft, old))
                admit("UPDATE", resource, new, shown)
        if draft is not old:
            draft = self._store_update(resource, table, draft, old)
        return presented(resource, draft)

    def _store_update(
        self, resource: Resource, table: Table, draft: KubeObject, old: KubeObject
    ) -> KubeObject:
        key = (namespace_of(old), name_of(old))
        if completes_deletion(resource, draft, old):
            self._remove(table, key, old)
            return draft
        stored = dict(draft)
        if "generation" in old["metadata"] and spec_changed(resource, draft, old):
            generation = old["metadata"]["generation"] + 1
            stored["metadata"] = {**draft["metadata"], "generation": generation}
        if same_resource(resource, SERVICE) and draft["spec"] is not old["spec"]:
            self._addresses.release(old["spec"])
            spec = thaw(draft["spec"])
            self._addresses.assign(spec)
            stored["spec"] = share(spec, old["spec"])
        return self._registry.put(table, key, stored)

    def _terminate_namespace(self, table: Table, key: Key, old: KubeObject) -> bool:
        """Whether a namespace still waits for its content to be deleted."""
        if not (old.get("spec") or {}).get("finalizers"):
            return False
        if "deletionTimestamp" not in old["metadata"]:
            meta = {**old["metadata"], "deletionTimestamp": to_rfc3339(self._now_s())}
            status = {**(old.get("status") or {}), "phase": "Terminating"}
            self._registry.put(table, key, {**old, "metadata": meta, "status": status})
        return True

    def _remove(self, table: Table, key: Key, last: KubeObject) -> None:
        if same_resource(table.resource, SERVICE):
            self._addresses.release(last["spec"])
        self._registry.remove(table, key, last)


def _decoded(resource: Resource, body: KubeObject) -> dict[str, Any]:
    """A writer's object with its type checked. Raises: InvalidObject (400)."""
    given = body.get("apiVersion") or resource.api_version
    if given != resource.api_version:
        raise bad_request(
            f"the API version in the data ({given}) does not match the expected API version"
            f" ({resource.api_version})"
        )
    kind = body.get("kind") or resource.kind
    if kind != resource.kind:
        raise bad_request(f"{kind} in version {given} cannot be handled as a {resource.kind}")
    return {**body, "apiVersion": resource.api_version, "kind": resource.kind}


def _with_status(body: KubeObject, status_of: KubeObject) -> dict[str, Any]:
    combined = {key: value for key, value in body.items() if key != "status"}
    if status_of.get("status") is not None:
        combined["status"] = status_of["status"]
    return combined


def _check_namespace_may_go(name: str) -> None:
    if name in INITIAL_NAMESPACES:
        raise forbidden(NAMESPACE, name, "this namespace may not be deleted")
