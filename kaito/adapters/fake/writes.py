"""Every write to the store: decode, default, validate, admit, then store the next version."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from kaito.adapters.fake.admission import Admission
from kaito.adapters.fake.api_errors import (
    Problem,
    already_exists,
    bad_request,
    bad_result,
    conflict,
    forbidden,
    invalid,
    modified,
    no_version,
    not_served,
)
from kaito.adapters.fake.decoding import Decoder
from kaito.adapters.fake.deletion import (
    check_preconditions,
    completes_deletion,
    is_namespace,
    plan_deletion,
)
from kaito.adapters.fake.object_meta import generated_name, meta_problems, new_meta, updated_meta
from kaito.adapters.fake.patches import json_patch, merge_patch
from kaito.adapters.fake.registry import Registry, object_key, same_resource
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
    POD,
    SERVICE,
    FrozenDict,
    InvalidObject,
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
        decoder: Decoder,
        *,
        now_s: Callable[[], float],
        new_uid: Callable[[], str],
        admission: Sequence[Admission],
    ) -> None:
        self._registry, self._decoder = registry, decoder
        self._now_s, self._new_uid = now_s, new_uid
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
        draft = self._decoder.decoded(resource, body)
        given: Mapping[str, Any] = draft["metadata"]
        namespace = self._home(resource, given)
        uid = self._new_uid()
        now = to_rfc3339(self._now_s())
        meta = new_meta(given, uid=uid, now=now, counts=counts_generations(resource))
        meta.pop("namespace", None)
        if resource.namespaced:
            meta["namespace"] = namespace
        draft["metadata"] = meta
        if not meta.get("name") and meta.get("generateName"):
            meta["name"] = self._free_name(table, namespace, meta["generateName"], uid)
        problems = self._decoder.kind_problems(resource, draft) or [
            *meta_problems(resource, meta),
            *prepare_create(resource, draft),
            *self._decoder.problems(resource, draft),
        ]
        if same_resource(resource, SERVICE) and not problems:
            problems += self._addresses.problems(draft["spec"])
        if problems:
            raise invalid(resource, meta.get("name", ""), problems)
        draft = {key: freeze(part) for key, part in draft.items()}
        for admit in self._admission:
            admit("CREATE", resource, FrozenDict(draft), None)
        if given.get("resourceVersion"):
            raise bad_request("resourceVersion should not be set on objects to be created")
        key = (namespace, meta["name"])
        if table.get(key) is not None:
            raise already_exists(resource, meta["name"])
        if same_resource(resource, SERVICE):
            spec = thaw(draft["spec"])
            self._addresses.assign(spec)
            draft["spec"] = spec
        return self._presented(resource, self._registry.put(table, key, draft))

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
        table = self._writable(resource, status=status)
        old = self._registry.existing(table, key)
        shown = self._presented(resource, old)
        if patch_type == "json":
            body = json_patch(shown, patch)
        elif isinstance(patch, Mapping):
            body = merge_patch(shown, patch)
        else:
            raise bad_request("a merge patch is an object")
        try:
            decoded = self._decoder.decoded(resource, body, shown)
        except InvalidObject as error:
            raise bad_result(error) from error
        here = {"name": key[1], **({"namespace": key[0]} if resource.namespaced else {})}
        for field, kept in here.items():
            given = decoded["metadata"].get(field, "")
            if given != kept:
                raise bad_request(
                    f"the {field} of the object ({given}) does not match the {field} on the URL"
                    f" ({kept})"
                )
        return self._update(resource, table, old, decoded, status=status)

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
        seen = self._presented(resource, old)
        for admit in self._admission:
            admit("DELETE", resource, None, seen)
        if is_namespace(resource) and self._terminate_namespace(table, key, old):
            return
        deletion = plan_deletion(resource, old, propagation, grace_period_s, self._now_s())
        if deletion.meta is not None:
            typed = {"apiVersion": table.resource.api_version, "metadata": deletion.meta}
            draft = share({**seen, **typed}, old)
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
        table = self._writable(resource, status=status)
        decoded = self._decoder.decoded(resource, body)
        meta: Mapping[str, Any] = decoded["metadata"]
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
        return self._update(resource, table, old, decoded, status=status)

    def _update(
        self,
        resource: Resource,
        table: Table,
        old: KubeObject,
        decoded: dict[str, Any],
        *,
        status: bool,
    ) -> KubeObject:
        """Store `decoded` over `old`: everything but the status, or nothing but it."""
        seen = self._presented(resource, old)
        given = decoded["metadata"].get("resourceVersion")
        if not given and resource.is_custom:
            raise no_version(resource, name_of(old))
        if given and given != old["metadata"]["resourceVersion"]:
            raise modified(resource, name_of(old))
        if status and resource.is_custom:
            kept, problems = _with_status(seen, decoded), list[Problem]()
        else:
            kept, problems = self._updated(resource, decoded, seen, status=status)
        draft = share(kept, seen)
        if draft["metadata"] is not seen["metadata"]:
            problems += meta_problems(resource, draft["metadata"])
        if draft is not seen:
            problems += self._decoder.problems(resource, draft, seen)
        problems = self._decoder.kind_problems(resource, draft) or problems
        if problems:
            raise invalid(resource, name_of(old), problems)
        if not status:
            for admit in self._admission:
                admit("UPDATE", resource, draft, seen)
        return self._presented(resource, self._store_update(resource, table, draft, seen, old))

    def _updated(
        self, resource: Resource, decoded: dict[str, Any], seen: KubeObject, *, status: bool
    ) -> tuple[dict[str, Any], list[Problem]]:
        """What a write changes, and what is wrong with it. One of a built-in kind's status changes
        labels and the like as well."""
        given = decoded["metadata"]
        if status and same_resource(resource, POD):
            given = _as_of_a_kubelet(given, seen["metadata"])
        meta, problems = updated_meta(given, seen)
        if status:
            kept = {**_with_status(seen, decoded), "metadata": meta}
            return kept, [*problems, *prepare_status(resource, kept)]
        kept = {**decoded, "metadata": meta}
        if resource.status_subresource:
            kept = _with_status(kept, seen)
        return kept, [*problems, *prepare_update(resource, kept, seen)]

    def _store_update(
        self,
        resource: Resource,
        table: Table,
        draft: KubeObject,
        seen: KubeObject,
        old: KubeObject,
    ) -> KubeObject:
        """Store what a writer made of `seen`, which is `old` in the writer's version."""
        key = (namespace_of(old), name_of(old))
        stored = {**draft, "apiVersion": table.resource.api_version}
        changes_nothing = share(stored, old) is old
        if changes_nothing:
            return old
        if counts_generations(resource) and spec_changed(resource, draft, seen):
            generation = old["metadata"]["generation"] + 1
            stored["metadata"] = {**draft["metadata"], "generation": generation}
        if completes_deletion(resource, draft, seen):
            self._remove(table, key, old)
            last: KubeObject = freeze(stored)
            return last
        if same_resource(resource, SERVICE) and draft["spec"] is not old["spec"]:
            self._addresses.release(old["spec"])
            spec = thaw(draft["spec"])
            self._addresses.assign(spec)
            stored["spec"] = share(spec, old["spec"])
        return self._registry.put(table, key, stored)

    def _writable(self, resource: Resource, *, status: bool) -> Table:
        """Raises: ObjectNotFound (the resource, or its status, is not served)."""
        table = self._registry.table(resource)
        if status and not table.resource.status_subresource:
            raise not_served()
        return table

    def _presented(self, resource: Resource, obj: KubeObject) -> KubeObject:
        return self._decoder.presented(resource, obj)

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


def _with_status(body: KubeObject, status_of: KubeObject) -> dict[str, Any]:
    combined = {key: value for key, value in body.items() if key != "status"}
    if status_of.get("status") is not None:
        combined["status"] = status_of["status"]
    return combined


def _as_of_a_kubelet(given: Mapping[str, Any], before: Mapping[str, Any]) -> Mapping[str, Any]:
    """The metadata that comes with a pod's status: what it says of owners (old kubelets did not
    know them) and of a deletion does not count."""
    if given is before:
        return given
    combined = dict(given)
    for key in ("ownerReferences", "deletionTimestamp"):
        combined.pop(key, None)
        if key in before:
            combined[key] = before[key]
    return combined


def _check_namespace_may_go(name: str) -> None:
    if name in INITIAL_NAMESPACES:
        raise forbidden(NAMESPACE, name, "this namespace may not be deleted")
