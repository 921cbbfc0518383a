"""HTTP requests to a Kubernetes API server, over the official client's connections.

The `kubernetes` package reads kubeconfig files and service accounts, runs exec plugins, renews
tokens and sets up TLS and proxies; the requests are plain JSON. Nothing here logs, and no error
tells more than method, path and what failed: headers carry credentials, bodies may too.
"""

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException
from urllib3 import exceptions
from urllib3.connection import HTTPConnection

from kaito.adapters.k8s.client_errors import NotAnswered
from kaito.adapters.kube_api import Json

Query = Mapping[str, str]

USER_AGENT: Final = "kaito"
_READ_BYTES: Final = 65536
_IDLE_CONNECTIONS: Final = 64  # kept open for the next call
# A peer that vanished without a word is noticed after half a minute, also on an idle watch.
_KEEP_ALIVE: Final = (
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3))
        if hasattr(socket, name)
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long to wait for the connection, and for each next piece of the answer."""

    connect_s: float = 5.0
    read_s: float = 35.0  # a little more than webhooks may take


class Answer(NamedTuple):
    """What the server said."""

    code: int
    headers: Mapping[str, str]
    body: bytes


class HttpTransport:
    """Requests and streams to one API server. Safe for use by several threads at once."""

    def __init__(self, found: Configuration, timeouts: Timeouts) -> None:
        if found.socket_options is None:
            found.socket_options = list(_KEEP_ALIVE)
        found.connection_pool_maxsize = max(found.connection_pool_maxsize, _IDLE_CONNECTIONS)
        self._configuration = found
        self._timeouts = timeouts
        self._pools: urllib3.PoolManager = ApiClient(found).rest_client.pool_manager

    def request(
        self,
        method: str,
        path: str,
        query: Query,
        body: Json = None,
        content_type: str = "application/json",
    ) -> Answer:
        """Send one request and take the whole answer. Raises: NotAnswered."""
        headers = self._headers()
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = encoded(body)
        response = self._send(method, path, query, headers, data, read_s=self._timeouts.read_s)
        return Answer(response.status, response.headers, response.data)

    def stream(self, path: str, query: Query, *, silence_s: float) -> "Stream":
        """Begin a GET whose answer comes piece by piece. Raises: NotAnswered."""
        headers = self._headers()
        return Stream(self._send("GET", path, query, headers, None, read_s=silence_s, whole=False))

    def close(self) -> None:
        """Close the idle connections."""
        self._pools.clear()

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
        # Asked for anew each time: this is where the official client renews what ran out.
        try:
            settings: Mapping[str, Any] = self._configuration.auth_settings()
        except (ConfigException, OSError) as error:
            problem = f"the credentials could not be renewed ({type(error).__name__})"
            raise NotAnswered(problem, sent=False) from error
        for setting in settings.values():
            if setting["in"] == "header" and setting["value"]:
                headers[setting["key"]] = setting["value"]
        return headers

    def _send(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        data: bytes | None,
        *,
        read_s: float,
        whole: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pools.request(
                method,
                self._configuration.host + path + (f"?{urlencode(query)}" if query else ""),
                body=data,
                headers=headers,
                timeout=urllib3.Timeout(connect=self._timeouts.connect_s, read=read_s),
                retries=False,
                preload_content=whole,
            )
        except exceptions.HTTPError as error:
            raise self._not_answered(method, path, error) from error

    def _not_answered(self, method: str, path: str, error: exceptions.HTTPError) -> NotAnswered:
        what, sent = _what_failed(error)
        return NotAnswered(f"{method} {self._configuration.host}{path}: {what}", sent=sent)


class Stream:
    """An answer that is still coming."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.code = response.status
        self.headers: Mapping[str, str] = response.headers

    def read(self) -> bytes:
        """The next piece as soon as there is one; empty at the end. Raises: NotAnswered."""
        try:
            return self._response.read1(_READ_BYTES) or b""
        except exceptions.HTTPError as error:
            raise NotAnswered(_what_failed(error)[0], sent=True) from error

    def interrupt(self) -> None:
        """Make a `read` that another thread waits in return or raise at once."""
        try:
            self._response.shutdown()
        except (OSError, RuntimeError, ValueError):
            return  # it has ended already

    def close(self) -> None:
        """Drop the connection."""
        self._response.close()


def _what_failed(error: exceptions.HTTPError) -> tuple[str, bool]:
    """What to tell, and whether the request may have reached the server."""
    match error:
        case exceptions.NewConnectionError() | exceptions.ProxyError():
            return "cannot connect", False
        case exceptions.ConnectTimeoutError():
            return "no connection in time", False
        case exceptions.SSLError():
            return f"TLS: {error}", True
        case exceptions.ReadTimeoutError():
            return "no answer in time", True
    return f"connection lost ({type(error).__name__})", True


def encoded(body: Json) -> bytes:
    """JSON as Go writes it: without spaces, in UTF-8, and with what HTML and JavaScript would
    stumble over escaped, which only strings hold.

    The API server keeps the data of a ControllerRevision as they were sent. A later patch of its
    metadata, such as the garbage collector's, is refused unless Go encodes them to the same bytes.
    """
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode(errors="backslashreplace")  # half a pair is \udxxx in JSON too
