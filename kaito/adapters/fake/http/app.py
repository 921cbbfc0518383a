"""The Kubernetes API of an object store, as an ASGI application."""

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from kaito.adapters.fake.http import discovery, openapi, reviews
from kaito.adapters.fake.http.definitions import Definitions
from kaito.adapters.fake.http.field_ownership import FieldOwnership
from kaito.adapters.fake.http.kinds import CRD, REVIEWS, Kinds
from kaito.adapters.fake.http.negotiation import JSON, decoded, view_of
from kaito.adapters.fake.http.objects import Answer, Objects, Writer
from kaito.adapters.fake.http.options import is_set, watch_options
from kaito.adapters.fake.http.patching import patch
from kaito.adapters.fake.http.pod_logs import PodLog, PodTimeline, nothing_known
from kaito.adapters.fake.http.statuses import (
    Refusal,
    headers_of,
    no_such_path,
    not_allowed,
    refusal,
    status_of,
)
from kaito.adapters.fake.http.targets import Target, target_of
from kaito.adapters.fake.http.watching import Closing, WatchStream
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import KubeApiError, KubeObject

_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_BODY_LIMIT_BYTES: Final = 3 << 20  # the API server's
_OPEN: Final = frozenset({"/healthz", "/livez", "/readyz", "/version"})
_HEALTH: Final = ("/healthz", "/livez", "/readyz")


def nothing() -> None:
    """For a world that nobody drives."""


def kubernetes_app(
    store: ObjectStore,
    *,
    now_s: Callable[[], float],
    crds: Sequence[KubeObject] = (),
    token: str = "",
    timeline: PodTimeline = nothing_known,
    catch_up: Callable[[], None] = nothing,
    wake: Callable[[], None] = nothing,
    closing: Closing | None = None,
) -> Starlette:
    """What a kube-apiserver serves. Call it in one event loop: that loop owns the store.

    `crds` give columns, schemas and names to custom kinds; without one a kind takes anything.
    Without a `token` everybody may come in. `catch_up` brings the world to the present before a
    request; `wake` tells it that a request may have changed something. `closing` ends the streams.
    """
    kinds = Kinds.of(store.resources, crds)
    front = _Front(store, kinds, now_s, token, timeline, closing or Closing(), catch_up, wake)
    route = Route("/{path:path}", front.answer, methods=_METHODS)
    return Starlette(routes=[route], exception_handlers={Exception: _failed})


class _Front:
    def __init__(
        self,
        store: ObjectStore,
        kinds: Kinds,
        now_s: Callable[[], float],
        token: str,
        timeline: PodTimeline,
        closing: Closing,
        catch_up: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._store, self._kinds, self._now_s = store, kinds, now_s
        self._token, self._timeline, self._closing = token, timeline, closing
        self._catch_up, self._wake = catch_up, wake
        self._definitions = Definitions(kinds, now_s())
        self._openapi: dict[str, Any] = {}
        self._objects = Objects(store, kinds, FieldOwnership(now_s))

    async def answer(self, request: Request) -> Response:
        """Any request: a refusal is an answer too."""
        body = await _body_of(request)
        self._catch_up()
        try:
            self._authorize(request)
            if body is None:
                raise refusal(413, f"Request entity too large: limit is {_BODY_LIMIT_BYTES}")
            response = self._route(request, body)
        except Refusal as error:
            response = _json(error.status, error.status["code"], error.headers)
        finally:
            self._wake()
        for text in self._objects.take_warnings():
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            response.headers.append("Warning", f'299 - "{quoted}"')
        return response

    def _authorize(self, request: Request) -> None:
        if not self._token or request.url.path in _OPEN:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        known = hmac.compare_digest(given.strip().encode(), self._token.encode())
        if scheme.lower() != "bearer" or not known:
            raise refusal(401, "Unauthorized")

    def _route(self, request: Request, body: bytes) -> Response:
        path = request.url.path.rstrip("/")
        if path.startswith(_HEALTH):
            return PlainTextResponse("ok")
        root = path.split("/")[1] if path else ""
        if root in {"api", "apis"}:
            found = self._discovered(request, path)
            if found is not None:
                return found
            return self._about_objects(request, path, body)
        document = self._document(path)
        if document is None:
            raise no_such_path()
        if request.method != "GET":
            raise not_allowed()
        return _json(document)

    def _document(self, path: str) -> Mapping[str, Any] | None:
        """What is neither discovery nor an object."""
        if path == "/version":
            return discovery.VERSION
        if path == "":
            return {"paths": ["/api", "/apis", *_HEALTH, "/openapi/v3", "/version"]}
        if path == "/openapi/v3":
            self._openapi = self._openapi or openapi.index(self._kinds)
            return self._openapi
        parts = path.removeprefix("/openapi/v3/").split("/")
        if parts[0] == "api" and len(parts) == 2:
            return openapi.document(self._kinds, "", parts[1])
        if parts[0] == "apis" and len(parts) == 3:
            return openapi.document(self._kinds, parts[1], parts[2])
        return None

    def _discovered(self, request: Request, path: str) -> Response | None:
        parts = path.split("/")[1:]
        depth = 2 if parts[0] == "api" else 3
        if len(parts) > depth:
            return None
        if request.method != "GET":
            raise not_allowed()
        found: Mapping[str, Any] | None
        if len(parts) == 1:
            version = discovery.aggregated_version(request.headers.get("accept", ""))
            if version:
                core = parts[0] == "api"
                found = discovery.aggregated(self._kinds, version, core=core)
                return _json(found, content_type=discovery.aggregated_type(version))
            host = request.url.netloc
            found = (
                discovery.core_versions(host)
                if parts[0] == "api"
                else discovery.group_list(self._kinds)
            )
        elif len(parts) == depth:
            group = parts[1] if depth == 3 else ""
            found = discovery.resource_list(self._kinds, group, parts[-1])
        else:
            found = discovery.group(self._kinds, parts[1])
        if found is None:
            raise no_such_path()
        return _json(found)

    def _about_objects(self, request: Request, path: str, body: bytes) -> Response:
        review = self._review(request, path, body)
        if review is not None:
            return _json(review, 201)
        target = target_of(path, self._kinds)
        try:
            if target.kind.resource == CRD:
                return self._definition(request, target)
            if target.subresource not in {"", "status", "scale"}:
                return self._part(request, target, body)
            if request.method == "GET":
                return self._read(request, target)
            return _answer(self._write(request, target, body))
        except KubeApiError as error:
            name = target.name or _sent_name(request, body)
            found = status_of(error, target.kind.resource, name)
            return _json(found, error.code, headers_of(error))

    def _review(self, request: Request, path: str, body: bytes) -> dict[str, Any] | None:
        for kind in REVIEWS:
            if path == f"/apis/{kind.group}/{kind.version}/{kind.plural}":
                if request.method != "POST":
                    raise not_allowed()
                return reviews.review(kind, _body(request, body))
        return None

    def _definition(self, request: Request, target: Target) -> Response:
        """CustomResourceDefinitions: given from outside, so they can only be read."""
        if request.method != "GET":
            raise refusal(403, "the twin's CustomResourceDefinitions cannot be changed")
        query = request.query_params
        view = view_of(request.headers.get("accept", ""))
        if is_set(query, "watch"):
            options = watch_options(query)
            return _stream(self._definitions.stream(options, self._closing, self._now_s, view))
        return _json(self._definitions.read(target, view, self._now_s()))

    def _read(self, request: Request, target: Target) -> Response:
        query, now_s = request.query_params, self._now_s()
        view = view_of(request.headers.get("accept", ""))
        if is_set(query, "watch") and not target.subresource:
            return self._watch(request, target, view)
        if target.name:
            return _answer(self._objects.get(target, query, view, now_s))
        return _answer(self._objects.list(target, query, view, now_s))

    def _watch(self, request: Request, target: Target, view: str) -> Response:
        query = request.query_params
        if target.name:
            named = f"metadata.name={target.name}"
            query = type(query)({**query, "fieldSelector": named})
        stream = WatchStream(
            self._store,
            target.kind,
            target.namespace,
            watch_options(query),
            view=view,
            now_s=self._now_s,
            shown=self._objects.shown,
            closing=self._closing,
        )
        return _stream(stream.lines())

    def _write(self, request: Request, target: Target, body: bytes) -> Answer:
        query, writer = request.query_params, _writer(request)
        match request.method, bool(target.name):
            case "POST", False:
                return self._objects.create(target, query, _body(request, body), writer)
            case "PUT", True:
                return self._objects.update(target, query, _body(request, body), writer)
            case "PATCH", True:
                content_type = request.headers.get("content-type", "")
                return patch(self._objects, target, query, content_type, body, writer)
            case "DELETE", named:
                if target.subresource:
                    raise not_allowed()
                options = _body(request, body) if body else {}
                if named:
                    return self._objects.delete(target, query, options)
                return self._objects.delete_collection(target, query, options)
        raise not_allowed()

    def _part(self, request: Request, target: Target, body: bytes) -> Response:
        """A sub-resource that is more than a part of the object."""
        if target.subresource in reviews.INTERACTIVE:
            raise reviews.no_terminal(self._objects, target)
        if target.subresource == "log":
            if request.method != "GET":
                raise not_allowed()
            log = PodLog(
                lambda: self._objects.live(target),
                self._timeline,
                request.query_params,
                self._now_s,
                self._closing,
            )
            return StreamingResponse(log.chunks(), media_type="text/plain")
        if request.method != "POST":
            raise not_allowed()
        content = _body(request, body)
        if target.subresource == "token":
            found = reviews.token_request(target, content, self._token, self._now_s())
        elif target.subresource == "eviction":
            found = reviews.evict(self._objects, target, content)
        else:
            found = reviews.bind(self._objects, target, content)
        return _json(found, 201)


async def _body_of(request: Request) -> bytes | None:
    """None: it is larger than a body may be. The rest of it is read, so that the client listens."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= _BODY_LIMIT_BYTES:
            chunks.append(chunk)
    return b"".join(chunks) if size <= _BODY_LIMIT_BYTES else None


async def _failed(_request: Request, error: Exception) -> Response:
    """The answer to a request that met a defect of ours; the server logs the traceback."""
    found = refusal(500, f"Internal error occurred: {type(error).__name__}: {error}").status
    return _json(found, 500)


def _writer(request: Request) -> Writer:
    """Who writes: the field manager given, or the program's name."""
    agent = request.headers.get("user-agent", "unknown").partition("/")[0]
    return Writer(request.query_params.get("fieldManager") or agent)


def _body(request: Request, body: bytes) -> Mapping[str, Any]:
    return decoded(body, request.headers.get("content-type", ""))


def _sent_name(request: Request, body: bytes) -> str:
    """The name in a body that could be decoded."""
    meta = _body(request, body).get("metadata") if request.method == "POST" else None
    return str(meta.get("name", "")) if isinstance(meta, Mapping) else ""


def _answer(answer: Answer) -> Response:
    return _json(answer.body, answer.code)


def _json(
    value: object,
    code: int = 200,
    headers: Mapping[str, str] | None = None,
    content_type: str = JSON,
) -> Response:
    content = json.dumps(value, separators=(",", ":")).encode()
    return Response(content, code, headers, media_type=content_type)


def _stream(lines: Any) -> Response:
    return StreamingResponse(lines, media_type=JSON)
