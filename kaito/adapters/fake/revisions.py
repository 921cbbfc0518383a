"""ControllerRevisions: the templates that a StatefulSet had, each under a name of its content."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kaito.adapters.fake.pods import controller_uid, owner_reference
from kaito.adapters.kube_api import (
    CONTROLLER_REVISION,
    AlreadyExists,
    KubeApi,
    KubeObject,
    ObjectNotFound,
    Resource,
    name_of,
    namespace_of,
)
from kaito.adapters.object_cache import Index, ObjectCache

_HASH_CHARS: Final = 10
_HISTORY_LIMIT: Final = 10  # the API server's default of spec.revisionHistoryLimit


def revision_name(owner: KubeObject) -> str:
    """`<name>-<hash of the pod template>`."""
    text = json.dumps(owner["spec"]["template"], sort_keys=True, separators=(",", ":"))
    return f"{name_of(owner)}-{hashlib.sha256(text.encode()).hexdigest()[:_HASH_CHARS]}"


class RevisionHistory:
    """Stores the templates of one kind of workload, so that an older one can be used again."""

    def __init__(self, api: KubeApi, cache: ObjectCache, owner_resource: Resource) -> None:
        self._api = api
        self._cache = cache
        self._owner_resource = owner_resource
        self._by_owner = Index(cache, lambda revision: filter(None, [controller_uid(revision)]))

    def keep(self, owner: KubeObject) -> str:
        """Store the current template, as the newest revision; its name. Raises: as `KubeApi`."""
        name = revision_name(owner)
        history = self._history(owner)
        newest = max((int(revision["revision"]) for revision in history), default=0)
        known = next((found for found in history if name_of(found) == name), None)
        if known is None:
            self._create(owner, name, newest + 1)
        elif int(known["revision"]) < newest:
            patch = {"revision": newest + 1}
            namespace = namespace_of(owner)
            self._cache.put(self._api.patch(CONTROLLER_REVISION, name, namespace, patch))
        return name

    def template(self, owner: KubeObject, name: str) -> Mapping[str, Any]:
        """The template of that revision; the owner's current one where it is not known."""
        for revision in self._history(owner):
            if name_of(revision) == name:
                template: Mapping[str, Any] = revision["data"]["spec"]["template"]
                return template
        current: Mapping[str, Any] = owner["spec"]["template"]
        return current

    def trim(self, owner: KubeObject, in_use: frozenset[str]) -> None:
        """Delete the oldest revisions beyond the limit, but none that is in use."""
        unused = [revision for revision in self._history(owner) if name_of(revision) not in in_use]
        limit = owner["spec"].get("revisionHistoryLimit")
        surplus = len(unused) - (_HISTORY_LIMIT if limit is None else int(limit))
        unused.sort(key=lambda revision: int(revision["revision"]))
        for revision in unused[: max(0, surplus)]:
            try:
                self._api.delete(CONTROLLER_REVISION, name_of(revision), namespace_of(revision))
            except ObjectNotFound:
                continue

    def _history(self, owner: KubeObject) -> Sequence[KubeObject]:
        keys = self._by_owner.get(owner["metadata"]["uid"])
        return [found for key in keys if (found := self._cache.get(key)) is not None]

    def _create(self, owner: KubeObject, name: str, number: int) -> None:
        body = {
            "apiVersion": CONTROLLER_REVISION.api_version,
            "kind": CONTROLLER_REVISION.kind,
            "metadata": {
                "namespace": namespace_of(owner),
                "name": name,
                "labels": dict(
                    (owner["spec"]["template"].get("metadata") or {}).get("labels") or {}
                ),
                "ownerReferences": [owner_reference(self._owner_resource, owner)],
            },
            "data": {"spec": {"template": owner["spec"]["template"]}},
            "revision": number,
        }
        try:
            self._cache.put(self._api.create(CONTROLLER_REVISION, body))
        except AlreadyExists:
            return
