"""A live page on the twin: read-only, without a password, and so for this machine's browsers only.

It listens on loopback alone and answers only requests that name it so: a web site whose name is
pointed at 127.0.0.1 (DNS rebinding) names itself. Its Content-Security-Policy lets nothing in from
anywhere else, and it knows no token.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from kaito.adapters.fake.http.page_state import PageSources, page_state
from kaito.adapters.fake.http.server import Server
from kaito.domain.errors import InvalidInput, Problem

LOOPBACK: Final = "127.0.0.1"
_NAMES: Final = ("127.0.0.1", "localhost")
_STATE: Final = "/-/state"
_FILES: Final = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/page.svg": ("page.svg", "image/svg+xml"),
}
_HEADERS: Final = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Page:
    """Listens from the start, on loopback only."""

    def __init__(self, sources: PageSources, *, port: int, catch_up: Callable[[], None]) -> None:
        """Port 0 takes a free one; `catch_up` brings the world to the present before it is shown.

        Raises: InvalidInput (nobody can listen there).
        """

        def read() -> Mapping[str, Any]:
            catch_up()
            return page_state(sources)

        try:
            self._server = Server(page_app(read), host=LOOPBACK, port=port)
        except OSError as error:
            raise _cannot_listen(port, error) from error
        self.url = f"http://{LOOPBACK}:{self._server.port}/"

    async def run(self) -> None:
        """Answer requests until `stop`."""
        await self._server.run()

    def stop(self) -> None:
        """End `run` soon."""
        self._server.stop()


def page_app(read_state: Callable[[], Mapping[str, Any]]) -> Starlette:
    """The page's files, and `/-/state`: one JSON document with an ETag.

    The ETag leaves out `now_s`: while nothing happens, asking again costs a 304.
    """
    files = {
        path: (resources.files(__package__).joinpath(name).read_bytes(), media_type)
        for path, (name, media_type) in _FILES.items()
    }

    async def answer(request: Request) -> Response:
        path = request.url.path
        if path == _STATE:
            return _state(request, read_state())
        if path not in files:
            return PlainTextResponse("there is nothing here\n", 404, headers=_HEADERS)
        content, media_type = files[path]
        return Response(content, headers=_HEADERS, media_type=media_type)

    return Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET"])],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=_NAMES, www_redirect=False),
        ],
    )


def pointing_to_page(app: ASGIApp, page_url: str) -> ASGIApp:
    """The API, which tells a browser that comes to its `/` where the page is.

    Clients of the API ask for JSON there, and are answered by the API itself.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}:
            accepted = Request(scope).headers.get("accept", "")
            if "text/html" in accepted:
                text = f"This is the twin's Kubernetes API. Its page is at {page_url}\n"
                await PlainTextResponse(text, headers=_HEADERS)(scope, receive, send)
                return
        await app(scope, receive, send)

    return answer


def _state(request: Request, state: Mapping[str, Any]) -> Response:
    lasting = {key: value for key, value in state.items() if key != "now_s"}
    digest = hashlib.sha256(json.dumps(lasting, allow_nan=False).encode()).hexdigest()
    headers = {**_HEADERS, "ETag": f'"{digest[:32]}"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    body = json.dumps(state, allow_nan=False)
    return Response(body, headers=headers, media_type="application/json")


def _cannot_listen(port: int, error: OSError) -> InvalidInput:
    problem = Problem(
        field=f"--page-port {port}",
        message=f"cannot listen on {LOOPBACK}: {error.strerror or error}",
        remedy="Leave --page-port out to take a free one",
    )
    return InvalidInput([problem])
