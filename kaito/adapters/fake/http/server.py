"""Serves an ASGI application on one socket, over TLS where there are certificates."""

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn

from kaito.adapters.certificates import Certificates

_GOODBYE_S: Final = 1  # what open requests get before a stop cuts them off
# For an unused connection. A request that is sent while its server closes it would be lost.
_KEEP_ALIVE_S: Final = 300
_LAST_TURNS_S: Final = 0.01  # for the loop to close what was cut off
_BACKLOG: Final = 128


class Server:
    """Listens from the start, answers while `run` runs. Signals are the caller's business."""

    def __init__(
        self, app: Any, *, host: str, port: int, certificates: Certificates | None = None
    ) -> None:
        """Port 0 takes a free one. Raises: OSError (the port is taken, no such address)."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        # asyncio sets this itself only where the socket's protocol is spelled out.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
                timeout_keep_alive=_KEEP_ALIVE_S,
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
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            for connection in list(self._server.server_state.connections):
                connection.transport.abort()  # clients that do not answer a goodbye
            await asyncio.sleep(_LAST_TURNS_S)

    def cut_off(self, host: str, port: int) -> None:
        """Close the connection of the client at this address, without an answer."""
        for connection in list(self._server.server_state.connections):
            peer = connection.transport.get_extra_info("peername")
            if peer is not None and peer[:2] == (host, port):
                connection.transport.abort()

    def close(self) -> None:
        """Stop listening, if `run` never began."""
        self._socket.close()

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
