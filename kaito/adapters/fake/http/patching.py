"""Patches: merge, JSON and server-side apply for every kind, strategic merge for built-in ones."""

from collections.abc import Mapping
from typing import Any, Final

from starlette.datastructures import QueryParams

from kaito.adapters.fake.http import scale
from kaito.adapters.fake.http.field_paths import with_key_defaults
from kaito.adapters.fake.http.negotiation import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_MERGE_PATCH,
    parsed,
)
from kaito.adapters.fake.http.objects import Answer, Objects, Writer, placed
from kaito.adapters.fake.http.options import is_set
from kaito.adapters.fake.http.statuses import invalid_option, refusal
from kaito.adapters.fake.http.strategic_merge import strategic_merge
from kaito.adapters.fake.http.targets import Target
from kaito.adapters.fake.patches import json_patch, merge_patch
from kaito.adapters.kube_api import Json, KubeObject, ObjectNotFound, thaw

_OF_CUSTOM: Final = (JSON_PATCH, MERGE_PATCH)
_SILENT: Final = QueryParams({"fieldValidation": "Ignore"})
_OF_BUILT_IN: Final = (JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH)


def patch(
    objects: Objects,
    target: Target,
    query: QueryParams,
    content_type: str,
    body: bytes,
    writer: Writer,
) -> Answer:
    """Raises: Refusal, KubeApiError."""
    kind = content_type.partition(";")[0].strip().lower()
    known = _OF_CUSTOM if target.kind.resource.is_custom else _OF_BUILT_IN
    if target.kind.schema is not None and target.subresource != "scale":
        known = (*known, APPLY_PATCH)
    if kind not in known:
        message = (
            "the body of the request was in an unknown format - accepted media types include:"
            f" {', '.join(known)}"
        )
        raise refusal(415, message)
    content = parsed(body)
    if kind == APPLY_PATCH:
        return _apply(objects, target, query, content)
    live = objects.shown(target.kind, objects.live(target))
    if target.subresource == "scale":
        return objects.set_scale(
            target, query, _patched(target, scale.scale_of(live), kind, content)
        )
    return _store(objects, target, query, live, _patched(target, live, kind, content), writer)


def _patched(target: Target, live: KubeObject, kind: str, content: Json) -> Json:
    if kind == JSON_PATCH:
        return json_patch(live, content)
    if not isinstance(content, Mapping):
        raise refusal(400, "a merge patch is an object")
    if kind == STRATEGIC_MERGE_PATCH:
        return strategic_merge(target.kind.resource, live, content)
    return merge_patch(live, content)


def _store(
    objects: Objects,
    target: Target,
    query: QueryParams,
    live: KubeObject,
    body: Json,
    writer: Writer,
) -> Answer:
    kind, resource = target.kind, target.kind.resource
    is_status = target.subresource == "status"
    if isinstance(body, Mapping) and isinstance(body.get("metadata"), Mapping):
        body = objects.checked(kind, body, query, status=is_status)
    with objects.dry_run(query, "PatchOptions") as dry:
        old = objects.live(target)
        stored = objects.store.patch(
            resource,
            target.name,
            target.namespace,
            [{"op": "replace", "path": "", "value": body}],
            patch_type="json",
            subresource="status" if is_status else "",
        )
        if kind.schema is not None and not dry:
            entries = body["metadata"].get("managedFields")
            if entries != live["metadata"].get("managedFields"):
                objects.ownership.declared(stored, entries or ())
            else:
                objects.ownership.updated(kind, old, stored, writer.manager, target.subresource)
    return Answer(objects.shown(kind, stored))


def _apply(objects: Objects, target: Target, query: QueryParams, content: Json) -> Answer:
    """Server-side apply: creates what is not there."""
    kind, resource = target.kind, target.kind.resource
    config, manager = _configuration(target, query, content)
    is_status = target.subresource == "status"
    part = objects.checked(kind, config, query, status=is_status, values=False)
    try:
        live: KubeObject | None = objects.live(target)
    except ObjectNotFound:
        if target.subresource:
            raise
        live = None
    applied = objects.ownership.apply(
        kind,
        live,
        with_key_defaults(thaw(part), kind.schema or {}),
        manager,
        force=is_set(query, "force"),
        subresource=target.subresource,
    )
    body = objects.checked(kind, applied.body, _SILENT, status=is_status)
    with objects.dry_run(query, "PatchOptions") as dry:
        if live is None:
            stored, code = objects.store.create(resource, body), 201
        else:
            stored = objects.store.patch(
                resource,
                target.name,
                target.namespace,
                [{"op": "replace", "path": "", "value": body}],
                patch_type="json",
                subresource="status" if is_status else "",
            )
            code = 200
        if not dry:
            objects.ownership.committed(applied, stored)
    return Answer(objects.shown(kind, stored), code)


def _configuration(target: Target, query: QueryParams, content: Json) -> tuple[dict[str, Any], str]:
    manager = query.get("fieldManager", "")
    if not manager:
        detail = "Required value: is required for apply patch"
        raise invalid_option("PatchOptions", "fieldManager", detail)
    if not isinstance(content, Mapping):
        raise refusal(400, "an apply configuration is an object")
    config = placed(target, content)
    name = config["metadata"].setdefault("name", target.name)
    if name != target.name:
        raise refusal(
            400,
            f"the name of the object ({name}) does not match the name on the URL ({target.name})",
        )
    if config["metadata"].get("managedFields"):
        raise refusal(400, "metadata.managedFields must be nil")
    if config["metadata"].get("uid") == "":
        config["metadata"].pop("uid")
    for key in ("apiVersion", "kind"):
        if not config.get(key):
            raise refusal(400, f"invalid object type: an apply configuration must have {key}")
    return config, manager
