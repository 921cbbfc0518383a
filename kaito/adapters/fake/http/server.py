"""Serves an ASGI application on one socket, over TLS where there are certificates."""

import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn

from kaito.adapters.fake.http.certificates import Certificates

_GOODBYE_S: Final = 2  # what open requests get before a stop cuts them off
_BACKLOG: Final = 128


class Server:
    """Listens from the start, answers while `run` runs. Signals are the caller's business."""

    def __init__(
        self, app: Any, *, host: str, port: int, certificates: Certificates | None = None
    ) -> None:
        """Port 0 takes a free one. Raises: OSError (the port is taken, no such address)."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        with _files(certificates) as files:
            config = uvicorn.Config(
                app,
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GOODBYE_S,
                ssl_keyfile=files.get("key"),
                ssl_certfile=files.get("server"),
            )
            config.load()
        self._server = _WithoutSignals(config)

    @property
    def port(self) -> int:
        found: int = self._socket.getsockname()[1]
        return found

    async def run(self) -> None:
        """Answer requests until `stop`."""
        await self._server.serve(sockets=[self._socket])

    def stop(self) -> None:
        """End `run` soon."""
        self._server.should_exit = True


class _WithoutSignals(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def _files(certificates: Certificates | None) -> Iterator[dict[str, str]]:
    """The certificates as files, for as long as it takes to read them."""
    if certificates is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="kaito-twin-") as directory:
        key, server = Path(directory) / "key.pem", Path(directory) / "server.pem"
        key.write_bytes(certificates.key)
        server.write_bytes(certificates.server)
        yield {"key": str(key), "server": str(server)}
