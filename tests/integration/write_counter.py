"""A proxy in front of an API server that counts writes, and can do something after the n-th."""

import http.client
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import urlsplit

_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP_BY_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "host"})
_STREAM_LIMIT_S: Final = 600.0
_PIECE: Final = 1 << 16


class WriteCounter:
    """Forwards everything to `url`. After the n-th write was carried out, and before its answer is
    handed back, `after_write(n)` is called; if it says True the answer is lost.

    Leases do not count: how often they are renewed is a matter of time.
    """

    def __init__(self, url: str, authority: Path, after_write: Callable[[int], bool]) -> None:
        upstream = urlsplit(url)
        self._trusted = ssl.create_default_context(cafile=str(authority))
        self._host, self._port = str(upstream.hostname), int(upstream.port or 443)
        self._after_write = after_write
        self._lock = threading.Lock()
        self.writes = 0
        counter = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self) -> None:
                counter.forward(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def log_message(self, *_: object) -> None:
                """The API server's audit log has it."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                """A client that was killed leaves broken connections; that is the point."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "WriteCounter":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def forward(self, request: BaseHTTPRequestHandler) -> None:
        """Carry out one request, and count it."""
        upstream = http.client.HTTPSConnection(
            self._host, self._port, timeout=_STREAM_LIMIT_S, context=self._trusted
        )
        try:
            length = int(request.headers.get("Content-Length") or 0)
            body = request.rfile.read(length) if length else None
            upstream.request(request.command, request.path, body, _kept(request.headers))
            answer = upstream.getresponse()
            if self._is_counted(request, answer.status) and self._lost():
                request.close_connection = True
                return
            request.send_response(answer.status)
            for name, value in _kept(answer.headers).items():
                request.send_header(name, value)
            request.send_header("Connection", "close")
            request.end_headers()
            while piece := answer.read1(_PIECE):
                request.wfile.write(piece)
                request.wfile.flush()
        except http.client.HTTPException:
            request.close_connection = True  # the API server went away
        finally:
            with suppress(OSError):
                upstream.close()

    def _is_counted(self, request: BaseHTTPRequestHandler, status: int) -> bool:
        is_write = request.command in _WRITES and "/leases" not in request.path
        return is_write and status < 300

    def _lost(self) -> bool:
        with self._lock:
            self.writes += 1
            number = self.writes
        return self._after_write(number)


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
