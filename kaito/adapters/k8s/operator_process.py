"""The operator's process: leader election, the runner, probes and metrics, inside kopf.

kopf owns the process: signals, start-up and clean-up, and the watch on Workspaces that counts
them. It has only event handlers, so it writes nothing of its own onto objects.
"""

import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import kopf
from prometheus_client import generate_latest

from kaito.adapters.k8s.controller import Controller
from kaito.adapters.k8s.lease import LeaderElection
from kaito.adapters.k8s.operator_metrics import OperatorMetrics
from kaito.adapters.k8s.operator_settings import OperatorSettings
from kaito.adapters.k8s.runner import Runner
from kaito.adapters.kube_api import KubeApi
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.ports import Clock
from kaito.domain.workspace import GROUP, STORED_VERSION
from kaito.system_clock import running_clock

EXIT_LOST_LEASE: Final = 1
STOP_LIMIT_S: Final = 20.0  # within Kubernetes' default of 30 s between SIGTERM and SIGKILL
_CLIENT_TIMEOUT_S: Final = 10.0  # who connects and says nothing is sent away
_LOG = logging.getLogger("kaito.operator")

MakeController = Callable[[Callable[[], None]], Controller]


class OperatorProcess:
    """One operator. `run` returns the process's exit code. `lease_api` must not wait long for an
    answer: a leader that waits for longer than its Lease lasts does not notice that it is lost.
    `arm_requests`: how many went to Azure so far, by kind; None where it is not asked."""

    def __init__(
        self,
        settings: OperatorSettings,
        *,
        lease_api: KubeApi,
        clock: Clock,
        make_controller: MakeController,
        is_synced: Callable[[], bool],
        login: Callable[[], kopf.ConnectionInfo],
        arm_requests: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._now_s = running_clock()  # a Lease is lost by time that passes, not by a clock set on
        self._make_controller = make_controller
        self._is_synced = is_synced
        self._login = login
        self._metrics = OperatorMetrics()
        if arm_requests is not None:
            self._metrics.count_arm_requests(arm_requests)
        self._election = _election(settings, lease_api)
        self._runner: Runner | None = None
        self._leading = threading.Thread(target=self._lead, name="lease", daemon=True)
        self._stop = threading.Event()
        self._lost = False
        self._lease_problem = ""

    def run(self) -> int:
        """Run until SIGTERM or SIGINT, or until the Lease is lost."""
        server = _serve(self._settings, self._answer)
        self._leading.start()
        try:
            kopf.run(
                registry=self._registry(),
                settings=_kopf_settings(),
                standalone=True,
                clusterwide=not self._settings.namespace,
                namespaces=[self._settings.namespace] if self._settings.namespace else [],
                stop_flag=self._stop,
            )
        finally:
            self._stop.set()
            self._leading.join(STOP_LIMIT_S)
            server.shutdown()
        return EXIT_LOST_LEASE if self._lost else 0

    def _lead(self) -> None:
        """Work while leading. Losing the Lease ends the process: a restart begins afresh."""
        if self._election is None:
            self._metrics.leads(True)
            self._start()
            self._stop.wait()
            self._end()
            return
        while not self._stop.is_set():
            leads = self._election.step(self._now_s)
            self._metrics.leads(leads)
            self._note_problem(self._election.problem)
            if leads and self._runner is None:
                _LOG.info("leading")
                self._start()
            elif not leads and self._runner is not None:
                _LOG.error("the lease is lost: stopping")
                self._lost = True
                self._stop.set()
            self._stop.wait(self._election.times.retry_s)
        self._end()
        if not self._lost:
            self._election.release(self._now_s())

    def _note_problem(self, problem: str) -> None:
        """Say what is wrong with the Lease, once until it changes; it may pass by itself."""
        if problem and problem != self._lease_problem:
            _LOG.warning("leader election: %s", problem)
        self._lease_problem = problem

    def _start(self) -> None:
        _LOG.info("reconciling Workspaces of %s", self._settings.namespace or "every namespace")
        self._runner = Runner(
            self._make_controller,
            self._clock,
            workers=self._settings.workers,
            on_round=self._metrics.round_ended,
        )
        self._runner.start()

    def _end(self) -> None:
        if self._runner is not None and not self._runner.stop(STOP_LIMIT_S):
            _LOG.warning("a round was cut off; the next operator takes it up")

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        def _login(**_: Any) -> kopf.ConnectionInfo:
            return self._login()

        # kopf waits for the stop flag in a thread, which must end before kopf does.
        @kopf.on.cleanup(registry=registry)
        def _stopping(**_: Any) -> None:
            self._stop.set()

        @kopf.on.event(GROUP, STORED_VERSION, "workspaces", registry=registry)
        def _changed(event: Any, body: Any, uid: str, **_: Any) -> None:
            self._metrics.workspace_is(uid, None if event["type"] == "DELETED" else body)
            if self._runner is not None:
                self._runner.wake()

        return registry

    def _is_alive(self) -> bool:
        runner = self._runner
        working = runner is None or runner.is_alive()
        return self._stop.is_set() or (self._leading.is_alive() and working)

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type and body of a request to the operator."""
        if path == "/metrics":
            if self._runner is not None:
                self._metrics.queue_is(self._runner.queue_length())
            return 200, "text/plain; version=0.0.4", generate_latest(self._metrics.registry)
        if path == "/healthz":
            if self._is_alive():
                return 200, "text/plain", b"ok"
            return 503, "text/plain", b"a thread has died"
        if path == "/readyz":
            code, told = readiness(
                stopping=self._stop.is_set(),
                leading=self._runner is not None,
                synced=self._is_synced(),
                lease_problem=self._lease_problem,
            )
            return code, "text/plain", told.encode()
        return 404, "text/plain", b"there are /healthz, /readyz and /metrics"


def readiness(
    *, stopping: bool, leading: bool, synced: bool, lease_problem: str
) -> tuple[int, str]:
    """What /readyz answers. A roll-out waits for it, and so stops where a CRD or a right is
    missing."""
    if stopping:
        return 503, "stopping"
    if leading:
        return (200, "leading") if synced else (503, "cannot list everything yet: see the log")
    if lease_problem:
        return 503, f"leader election: {lease_problem}"
    return 200, "standing by"


def _election(settings: OperatorSettings, api: KubeApi) -> LeaderElection | None:
    if not settings.lease_namespace:
        return None
    identity = f"{socket.gethostname()}_{os.getpid()}"
    return LeaderElection(
        api,
        namespace=settings.lease_namespace,
        name=settings.lease_name,
        identity=identity,
    )


def _kopf_settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # kaito's own events only
    settings.peering.standalone = True
    settings.scanning.disabled = True  # no watch on CRDs and namespaces, and no right to it
    settings.watching.server_timeout = 300
    settings.networking.request_timeout = 60
    return settings


def _serve(
    settings: OperatorSettings, answer: Callable[[str], tuple[int, str, bytes]]
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        timeout = _CLIENT_TIMEOUT_S

        def do_GET(self) -> None:
            status, content_type, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes every few seconds are no news."""

    try:
        server = ThreadingHTTPServer((settings.http_address, settings.http_port), Handler)
    except OSError as error:
        problem = Problem(
            field="--http-port",
            message=f"{settings.http_address}:{settings.http_port} cannot be listened on: "
            f"{error.strerror}",
            remedy="Name another port or address",
        )
        raise InvalidInput([problem]) from error
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
