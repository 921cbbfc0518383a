"""A small HTTP server that answers requests one after the other as the test wrote down."""

import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

Handler = BaseHTTPRequestHandler
Reply = Callable[[Handler], None]


@dataclass(frozen=True, slots=True)
class Request:
    """What the server got."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any


class ScriptedServer:
    """Give replies with `then`; a request that none is left for is dropped. `requests` is what
    came, in order."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.over = threading.Event()
        self._replies: deque[Reply] = deque()
        script = self

        class Handling(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                script._handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_args: object) -> None:
                """Tests keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handling)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def then(self, *replies: Reply) -> None:
        """Answer the next requests so."""
        self._replies.extend(replies)

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handle(self, handler: Handler) -> None:
        url = urlsplit(handler.path)
        text = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.requests.append(
            Request(
                handler.command,
                url.path,
                dict(parse_qsl(url.query)),
                dict(handler.headers),
                json.loads(text) if text else None,
            )
        )
        reply = self._replies.popleft() if self._replies else dropped
        reply(handler)


def answer(body: Any, code: int = 200, **headers: str) -> Reply:
    """A whole answer; underscores in a header's name stand for dashes."""

    def reply(handler: Handler) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return reply


def failure(code: int, reason: str = "", message: str = "", **headers: str) -> Reply:
    """A Status."""
    return answer(status(code, reason, message), code, **headers)


def status(code: int, reason: str = "", message: str = "") -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }


def dropped(handler: Handler) -> None:
    """The connection goes without an answer."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


def silent_until(event: threading.Event) -> Reply:
    """No answer before the event, and none after it."""

    def reply(handler: Handler) -> None:
        event.wait(10)
        handler.close_connection = True

    return reply


def stream(*messages: Any, cut: bool = False, until: threading.Event | None = None) -> Reply:
    """One line for each message, as a watch sends them; bytes are sent as they are.

    It stays open `until` the event; `cut` drops the connection in place of ending in order.
    """

    def reply(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for message in messages:
            line = message if isinstance(message, bytes) else json.dumps(message).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        if until is not None:
            until.wait(10)
        if cut:
            dropped(handler)
        elif until is None:
            handler.wfile.write(b"0\r\n\r\n")
        else:
            handler.close_connection = True

    return reply


def config_map(name: str, version: int = 1, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": name,
            "namespace": "default",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
        },
        "data": data,
    }
