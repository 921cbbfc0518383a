"""The webhook's process: TLS, signals, and a stop that loses no request."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn

from kaito.adapters.k8s.webhook_tls import TlsFiles
from kaito.domain.errors import InvalidInput, Problem

_KEEP_ALIVE_S: Final = 120  # longer than the API server keeps a connection that it does not use
_GOODBYE_S: Final = 10  # what open requests get before a stop cuts them off
_BACKLOG: Final = 128
_LOG = logging.getLogger("kaito.webhook")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Read once from flags and environment. Port 0 takes a free one.

    `drain_s`: how long requests are still taken after SIGTERM, until the cluster's nodes have
    learnt that this pod is not ready. `certificate_check_s`: how often the files are looked at.
    """

    certificate: Path
    private_key: Path
    address: str = "127.0.0.1"
    port: int = 9443
    drain_s: float = 5.0
    certificate_check_s: float = 10.0


class WebhookServer:
    """Serves an ASGI application over HTTPS. It listens from the start, and answers in `run`."""

    def __init__(self, settings: WebhookSettings) -> None:
        """Raises: InvalidInput (a file cannot be used, the port is taken, no such address)."""
        self._settings = settings
        self._tls = TlsFiles(settings.certificate, settings.private_key)
        self._socket = _listen(settings.address, settings.port)
        self._draining = False
        self._server: uvicorn.Server | None = None

    @property
    def url(self) -> str:
        """Such as https://127.0.0.1:9443."""
        host, port = self._socket.getsockname()[:2]
        return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    def certificate_expires_s(self) -> float:
        """When the certificate in use ends, in seconds since the epoch."""
        return self._tls.expires_s

    def is_ready(self) -> bool:
        """Whether more requests are welcome."""
        return not self._draining

    async def run(self, app: Any) -> None:
        """Answer requests until SIGTERM, after which the Service is given time to notice, or
        until SIGINT or a second SIGTERM."""
        config = uvicorn.Config(
            app,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GOODBYE_S,
        )
        config.load()
        config.ssl = self._tls.context
        self._server = _WithoutSignals(config)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self.drain)
        loop.add_signal_handler(signal.SIGINT, self.stop)
        checks = loop.create_task(self._check_certificate())
        _LOG.info("listening on %s", self.url)
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            checks.cancel()
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)
        _LOG.info("stopped")

    def drain(self) -> None:
        """Stop soon; the second time, stop."""
        if self._draining:
            self.stop()
            return
        self._draining = True
        _LOG.info("stopping in %g s", self._settings.drain_s)
        asyncio.get_running_loop().call_later(self._settings.drain_s, self.stop)

    def stop(self) -> None:
        """Take no more requests, answer the open ones, and end `run`."""
        self._draining = True
        if self._server is not None:
            self._server.should_exit = True

    def close(self) -> None:
        """Stop listening, if `run` never began."""
        self._socket.close()

    async def _check_certificate(self) -> None:
        while True:
            await asyncio.sleep(self._settings.certificate_check_s)
            try:
                if self._tls.refresh():
                    _LOG.info("the certificate was read again")
            except InvalidInput as error:
                _LOG.warning("the certificate before stays in use: %s", error)


class _WithoutSignals(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listening = socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        problem = Problem(
            field="port",
            message=f"cannot listen on {address}, port {port}: {error.strerror or error}",
            remedy="Give another --address or --port",
        )
        raise InvalidInput([problem]) from error
    # asyncio sets this itself only where the socket's protocol is spelled out.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
