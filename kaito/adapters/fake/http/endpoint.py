"""The twin's API server as one thing: a socket, TLS, a token, and the kubeconfig to reach it."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from kaito.adapters.certificates import make_certificates
from kaito.adapters.fake.http import kubeconfig
from kaito.adapters.fake.http.app import kubernetes_app
from kaito.adapters.fake.http.page import pointing_to_page
from kaito.adapters.fake.http.pod_logs import PodTimeline
from kaito.adapters.fake.http.server import Server
from kaito.adapters.fake.http.watching import Closing
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.kube_api import KubeObject
from kaito.domain.errors import InvalidInput, Problem
from kaito.system_clock import SystemClock

_NAMES: Final = ("localhost", "127.0.0.1", "::1", "kubernetes.default.svc")
_TOKEN_BYTES: Final = 32


class Endpoint:
    """Listens from the start; everything secret about it is made for this run alone."""

    def __init__(
        self,
        store: ObjectStore,
        *,
        now_s: Callable[[], float],
        crds: Sequence[KubeObject],
        timeline: PodTimeline,
        host: str,
        port: int,
        catch_up: Callable[[], None],
        wake: Callable[[], None],
        page_url: str = "",
    ) -> None:
        """`page_url` is told to a browser that comes to `/`.

        Raises: InvalidInput (nobody can listen there).
        """
        self._closing = Closing()
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        names = tuple(dict.fromkeys([host, *_NAMES]))
        # TLS is of the real world.
        certificates = make_certificates(names, SystemClock().now_s(), name="kaito-twin")
        app = kubernetes_app(
            store,
            now_s=now_s,
            crds=crds,
            token=token,
            timeline=timeline,
            catch_up=catch_up,
            wake=wake,
            closing=self._closing,
        )
        try:
            front = pointing_to_page(app, page_url) if page_url else app
            self._server = Server(front, host=host, port=port, certificates=certificates)
        except OSError as error:
            raise _cannot_listen(host, port, error) from error
        where = f"[{host}]" if ":" in host else host
        self.url = f"https://{where}:{self._server.port}"
        self._kubeconfig = kubeconfig.kubeconfig(self.url, certificates.authority, token)

    async def run(self) -> None:
        """Answer requests until `stop`."""
        await self._server.run()

    def stop(self) -> None:
        """End every stream, then `run`."""
        self._closing.set()
        self._server.stop()

    def write_kubeconfig(self, path: Path) -> None:
        """Readable by its owner only. Raises: InvalidInput (the file is somebody else's)."""
        kubeconfig.write(path, self._kubeconfig)

    def remove_kubeconfig(self, path: Path) -> None:
        """Take it away again, unless it has changed."""
        kubeconfig.remove(path, self._kubeconfig)


def _cannot_listen(host: str, port: int, error: OSError) -> InvalidInput:
    problem = Problem(
        field=f"--port {port}",
        message=f"cannot listen on {host}: {error.strerror or error}",
        remedy="Leave --port out to take a free one",
    )
    return InvalidInput([problem])
