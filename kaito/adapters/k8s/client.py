"""`KubeApi` over the official Kubernetes client: what production runs on."""

import json
import random
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

from kubernetes.client import Configuration

from kaito.adapters.k8s.client_errors import NotAnswered, error_of, may_repeat
from kaito.adapters.k8s.client_http import Answer, HttpTransport, Query, Timeouts
from kaito.adapters.k8s.client_retry import RetryPolicy, retry_pause_s
from kaito.adapters.k8s.client_watch import ClientWatch, WatchSettings
from kaito.adapters.kube_api import (
    POD,
    FrozenDict,
    Gone,
    InvalidObject,
    Json,
    KubeApiError,
    KubeObject,
    ObjectList,
    ObjectNotFound,
    PatchType,
    Propagation,
    Resource,
    ServerUnavailable,
    freeze,
    name_of,
    namespace_of,
)
from kaito.system_clock import monotonic_s

Result = TypeVar("Result")

_PATCH_TYPES: Final[Mapping[PatchType, str]] = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
}
_DEFAULT_NAMESPACE: Final = "default"
_PLAIN_LABEL: Final = re.compile(r"[\w./-]*", re.ASCII)
_CLOSING_LIMIT_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """How patient the client is, and how much it lists at a time."""

    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    watch: WatchSettings = field(default_factory=WatchSettings)
    page_size: int = 500


class KubernetesClientApi:
    """A real API server as a `KubeApi`. Safe for use by several threads at once.

    Reads are repeated when they fail in a way that may pass, and so are writes that name the
    version or UID they are about; pauses are bounded, and a write that may have been carried out is
    ServerUnavailable: look again. `managedFields` and `selfLink` are left out of what is handed
    out; a write without them leaves them as they are.
    """

    def __init__(
        self,
        configuration: Configuration,
        settings: ClientSettings | None = None,
        *,
        uniform: Callable[[], float] | None = None,
    ) -> None:
        """`uniform` draws from 0 to 1; by default from the machine's own randomness."""
        self._settings = settings or ClientSettings()
        self._transport = HttpTransport(configuration, self._settings.timeouts)
        self._uniform = uniform or random.Random().random
        self._closed = threading.Event()
        self._watches: tuple[ClientWatch, ...] = ()
        self._watches_lock = threading.Lock()

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> KubeObject:
        """See `KubeApi.get`."""
        path = _object_path(resource, name, namespace)
        return _presented(self._call("GET", path, {}, repeatable=True))

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | str | None = None,
        fields: Mapping[str, str] | None = None,
        limit: int | None = None,
        continue_token: str = "",
    ) -> ObjectList:
        """See `KubeApi.list`. Without `limit`, all pages of one snapshot are fetched."""
        path = _collection_path(resource, namespace)
        query: dict[str, str] = {}
        if labels:
            query["labelSelector"] = _label_selector(labels)
        if fields:
            query["fieldSelector"] = ",".join(
                f"{key}={_escaped(value)}" for key, value in fields.items()
            )
        if limit or continue_token:
            return self._page(resource, path, query, limit, continue_token)
        try:
            return self._all_pages(resource, path, query)
        except Gone:  # the snapshot was dropped between two pages
            return self._page(resource, path, query, None, "")

    def create(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.create`."""
        path = _collection_path(resource, namespace_of(body) or _DEFAULT_NAMESPACE)
        return _presented(self._call("POST", path, {}, _typed(resource, body)))

    def replace(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.replace`."""
        return self._replace(resource, body, "")

    def replace_status(self, resource: Resource, body: KubeObject) -> KubeObject:
        """See `KubeApi.replace_status`."""
        return self._replace(resource, body, "/status")

    def patch(
        self,
        resource: Resource,
        name: str,
        namespace: str | None,
        patch: Json,
        *,
        patch_type: PatchType = "merge",
        subresource: Literal["", "status"] = "",
    ) -> KubeObject:
        """See `KubeApi.patch`."""
        path = _object_path(resource, name, namespace)
        return _presented(
            self._call(
                "PATCH",
                f"{path}/{subresource}" if subresource else path,
                {},
                patch,
                content_type=_PATCH_TYPES[patch_type],
                repeatable=_names_a_version(patch),
            )
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        resource_version: str | None = None,
        propagation: Propagation = "Background",
        grace_period_s: int | None = None,
    ) -> None:
        """See `KubeApi.delete`."""
        wanted = {"uid": uid, "resourceVersion": resource_version}
        preconditions = {key: value for key, value in wanted.items() if value is not None}
        options: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
        }
        if preconditions:
            options["preconditions"] = preconditions
        if grace_period_s is not None:
            options["gracePeriodSeconds"] = grace_period_s
        path = _object_path(resource, name, namespace)
        repeated = False

        def attempt() -> None:
            nonlocal repeated
            again, repeated = repeated, True
            try:
                self._once("DELETE", path, {}, options)
            except ObjectNotFound:
                if not again:
                    raise  # else an earlier attempt, whose answer was lost, has done it

        self._repeated(attempt, repeatable=bool(preconditions))

    def evict(self, name: str, namespace: str, *, uid: str | None = None) -> None:
        """See `KubeApi.evict`. It is never repeated: who is told to wait comes back later."""
        try:
            self._evict("policy/v1", name, namespace, uid)
        except InvalidObject:  # Kubernetes before 1.22 does not know that version
            self._evict("policy/v1beta1", name, namespace, uid)

    def _evict(self, version: str, name: str, namespace: str, uid: str | None) -> None:
        body: dict[str, Any] = {
            "apiVersion": version,
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        if uid is not None:
            body["deleteOptions"] = {"preconditions": {"uid": uid}}
        try:
            self._once("POST", f"{_object_path(POD, name, namespace)}/eviction", {}, body)
        except NotAnswered as error:
            raise ServerUnavailable(str(error)) from error

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str,
        wake: Callable[[], None] | None = None,
    ) -> ClientWatch:
        """See `KubeApi.watch`. Until it is closed, a watch has a thread and a connection."""
        watch = ClientWatch(
            self._transport,
            _collection_path(resource, namespace),
            _presented,
            resource_version=resource_version,
            wake=wake,
            settings=self._settings.watch,
            uniform=self._uniform,
        )
        with self._watches_lock:
            running = (each for each in self._watches if not each.has_ended())
            self._watches = (*running, watch)
        return watch

    def close(self) -> None:
        """Stop the watches, end the pauses between repeated calls, and drop the connections."""
        self._closed.set()
        for watch in self._watches:
            watch.close()
        for watch in self._watches:
            watch.join(_CLOSING_LIMIT_S)
        self._transport.close()

    def _replace(self, resource: Resource, body: KubeObject, subresource: str) -> KubeObject:
        path = _object_path(resource, name_of(body), namespace_of(body)) + subresource
        typed = _typed(resource, body)
        return _presented(self._call("PUT", path, {}, typed, repeatable=_names_a_version(body)))

    def _all_pages(self, resource: Resource, path: str, query: Query) -> ObjectList:
        page = self._page(resource, path, query, self._settings.page_size, "")
        items = list(page.items)
        while page.continue_token:
            page = self._page(resource, path, query, self._settings.page_size, page.continue_token)
            items += page.items
        # The server goes by "namespace/name", in which "a-b" comes before "a".
        items.sort(key=lambda obj: (namespace_of(obj), name_of(obj)))
        return ObjectList(tuple(items), page.resource_version)

    def _page(
        self,
        resource: Resource,
        path: str,
        query: Query,
        limit: int | None,
        continue_token: str,
    ) -> ObjectList:
        more = {"limit": str(limit)} if limit else {}
        if continue_token:
            more["continue"] = continue_token
        found = self._call("GET", path, {**query, **more}, repeatable=True)
        return ObjectList(
            tuple(_presented(_typed(resource, item)) for item in found.get("items") or ()),
            found["metadata"]["resourceVersion"],
            found["metadata"].get("continue") or "",
        )

    def _call(
        self,
        method: str,
        path: str,
        query: Query,
        body: Json = None,
        *,
        content_type: str = "application/json",
        repeatable: bool = False,
    ) -> dict[str, Any]:
        def attempt() -> dict[str, Any]:
            return self._once(method, path, query, body, content_type)

        return self._repeated(attempt, repeatable=repeatable)

    def _repeated(self, attempt: Callable[[], Result], *, repeatable: bool) -> Result:
        """The result of the first attempt that brings one. Raises: KubeApiError."""
        began_s = monotonic_s()
        failed = 0
        while True:
            try:
                return attempt()
            except (NotAnswered, KubeApiError) as error:
                failure = error
            failed += 1
            told = failure.retry_after_s if isinstance(failure, ServerUnavailable) else None
            pause_s = None
            if may_repeat(failure, repeatable=repeatable):
                pause_s = retry_pause_s(
                    self._settings.retry,
                    failed=failed,
                    elapsed_s=monotonic_s() - began_s,
                    retry_after_s=told,
                    uniform=self._uniform(),
                )
            if pause_s is None or self._closed.wait(pause_s):
                if isinstance(failure, NotAnswered):
                    raise ServerUnavailable(str(failure)) from failure
                raise failure

    def _once(
        self,
        method: str,
        path: str,
        query: Query,
        body: Json = None,
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        answer = self._transport.request(method, path, query, body, content_type)
        if not 200 <= answer.code < 300:
            raise error_of(answer.code, answer.headers, answer.body)
        return _parsed(answer, f"{method} {path}")


def _parsed(answer: Answer, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(answer.body)
    except ValueError as error:
        raise NotAnswered(f"{what}: the answer is not JSON", sent=True) from error
    if not isinstance(parsed, dict):
        raise NotAnswered(f"{what}: the answer is not an object", sent=True)
    return parsed


def _presented(obj: dict[str, Any]) -> KubeObject:
    """An object as it is handed out; `obj` is the caller's to give."""
    for key in ("managedFields", "selfLink"):
        obj["metadata"].pop(key, None)
    frozen = freeze(obj)
    assert isinstance(frozen, FrozenDict)
    return frozen


def _typed(resource: Resource, body: KubeObject) -> dict[str, Any]:
    """With `apiVersion` and `kind`, which lists leave out of built-in kinds."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, **body}


def _names_a_version(body: Json) -> bool:
    """Whether a write that was carried out already fails, instead of being carried out again."""
    if isinstance(body, Mapping):
        return bool((body.get("metadata") or {}).get("resourceVersion"))
    return any(
        each["op"] == "test" and each["path"] == "/metadata/resourceVersion" for each in body
    )


def _collection_path(resource: Resource, namespace: str | None) -> str:
    root = f"/apis/{resource.group}" if resource.group else "/api"
    where = f"/namespaces/{_segment(namespace)}" if namespace and resource.namespaced else ""
    return f"{root}/{resource.version}{where}/{resource.plural}"


def _object_path(resource: Resource, name: str, namespace: str | None) -> str:
    collection = _collection_path(resource, namespace or _DEFAULT_NAMESPACE)
    return f"{collection}/{_segment(name)}"


def _segment(name: str) -> str:
    """A name as part of a path; one that would change where the path leads is refused."""
    if name in {"", ".", ".."} or "/" in name or "%" in name:
        raise InvalidObject(f"{name!r} cannot be a name", code=400)
    return quote(name, safe=":")


def _label_selector(labels: Mapping[str, str] | str) -> str:
    if isinstance(labels, str):
        return labels
    for part in (part for pair in labels.items() for part in pair):
        if not _PLAIN_LABEL.fullmatch(part):
            raise InvalidObject(f"{part!r} cannot be part of a label", code=400)
    return ",".join(f"{key}={value}" for key, value in labels.items())


def _escaped(value: str) -> str:
    """A value as field selectors write it."""
    return re.sub(r"([\\,=])", r"\\\1", value)
