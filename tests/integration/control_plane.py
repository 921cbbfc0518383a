"""A real Kubernetes control plane on loopback: etcd, kube-apiserver, kube-controller-manager.

`python -m tests.integration.control_plane find | up DIR | down DIR`; see hack/envtest.sh.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tests.integration.certificates import write_certificates

_START_LIMIT_S = 120.0
_STOP_GRACE_S = 2.0  # with open watches, an API server takes a minute to end by itself
_ADMIN = "admin"
_CONTROLLERS = "controllers"
_SCHEDULER = "scheduler"
_USERS: Mapping[str, tuple[str, str]] = {
    _ADMIN: ("kaito-test-admin", "system:masters"),
    _CONTROLLERS: ("system:kube-controller-manager", ""),
    _SCHEDULER: ("system:kube-scheduler", ""),
}
# What a cluster does for workloads and nodes, beyond the least that most tests need.
LEAST_CONTROLLERS = "garbagecollector,namespace,serviceaccount,serviceaccount-token"
ALL_CONTROLLERS = f"{LEAST_CONTROLLERS},statefulset,job,endpoint,nodelifecycle,podgc"
# By default they ask the API server 20 and 50 times a second at most, on clusters of their own.
_UNTHROTTLED = ("--kube-api-qps=500", "--kube-api-burst=1000")


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of a control plane; without a controller manager nothing is collected, and
    without a scheduler no pod finds a node."""

    api_server: Path
    etcd: Path
    controller_manager: Path | None
    scheduler: Path | None = None

    @property
    def run_workloads(self) -> bool:
        """Whether there is somebody to make pods and to place them."""
        return self.controller_manager is not None and self.scheduler is not None

    @property
    def version(self) -> str:
        """Such as 1.20.2."""
        told = subprocess.run(
            [self.api_server, "--version"], capture_output=True, text=True, check=True
        )
        return told.stdout.split()[-1].removeprefix("v")


def find_binaries(environ: Mapping[str, str] = os.environ) -> Binaries | None:
    """From KUBEBUILDER_ASSETS if it is set, else from where hack/envtest.sh and others build."""
    assets = environ.get("KUBEBUILDER_ASSETS")
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/"), ".cache"))
    folders = (
        [Path(assets)] if assets else [cache / "kaito" / "envtest" / "bin", cache / "envtest/bin"]
    )
    for folder in folders:
        api_server, manager = folder / "kube-apiserver", folder / "kube-controller-manager"
        scheduler = folder / "kube-scheduler"
        etcd = shutil.which("etcd", path=f"{folder}{os.pathsep}{environ.get('PATH', '')}")
        if etcd and os.access(api_server, os.X_OK):
            return Binaries(
                api_server,
                Path(etcd),
                manager if manager.is_file() else None,
                scheduler if scheduler.is_file() else None,
            )
    return None


@dataclass(kw_only=True)
class ControlPlane:
    """One API server with everything it needs, all state in `directory`.

    `audited`: every request is written to `audit_log`. `has_nodes`: pods are to run, on Nodes that
    somebody plays, so that a taint on one that is not ready means something.
    """

    binaries: Binaries
    directory: Path
    controllers: str = LEAST_CONTROLLERS
    api_server_flags: Sequence[str] = ()
    audited: bool = False
    has_nodes: bool = False
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.etcd_url, etcd_peer_url = (f"http://127.0.0.1:{_free_port()}" for _ in range(2))
        self._etcd_peer_url = etcd_peer_url
        self._port = _free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self.pki = self.directory / "pki"
        self._tokens = {user: os.urandom(16).hex() for user in _USERS}

    @cached_property
    def minor_version(self) -> int:
        """The 20 of 1.20.2."""
        return int(self.binaries.version.split(".")[1])

    @property
    def kubeconfig(self) -> Path:
        """An administrator's."""
        return self.directory / "kubeconfig"

    def start(self) -> None:
        """Start etcd and the API server, and wait until it is ready."""
        write_certificates(self.pki)
        tokens = self.pki / "tokens.csv"
        rows = [
            f'{self._tokens[user]},{name},{user},"{group}"'
            for user, (name, group) in _USERS.items()
        ]
        tokens.write_text("\n".join(rows) + "\n")
        tokens.chmod(0o600)
        self._write_kubeconfig(self.kubeconfig, _ADMIN)
        self._launch("etcd", self.binaries.etcd, *self._etcd_flags())
        self._start_api_server()

    @property
    def audit_log(self) -> Path:
        """One JSON object (audit.k8s.io/v1 Event) a line, if `audited`."""
        return self.directory / "audit.jsonl"

    def start_scheduler(self) -> None:
        """Start the scheduler, if there is one."""
        if self.binaries.scheduler is None:
            return
        kubeconfig = self.pki / "scheduler.kubeconfig"
        self._write_kubeconfig(kubeconfig, _SCHEDULER)
        self._launch(
            "kube-scheduler",
            self.binaries.scheduler,
            f"--kubeconfig={kubeconfig}",
            "--leader-elect=false",
            *_UNTHROTTLED,
            "--secure-port=0",
            *(["--port=0"] if self.minor_version < 24 else []),
        )

    def start_controllers(self) -> None:
        """Start the controller manager, if there is one. It collects the kinds that exist by then
        at once, and others half a minute after they are defined."""
        if self.binaries.controller_manager is None:
            return
        kubeconfig = self.pki / "controllers.kubeconfig"
        self._write_kubeconfig(kubeconfig, _CONTROLLERS)
        self._launch(
            "kube-controller-manager",
            self.binaries.controller_manager,
            f"--kubeconfig={kubeconfig}",
            f"--controllers={self.controllers}",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={self.pki / 'accounts.key'}",
            f"--root-ca-file={self.pki / 'ca.crt'}",
            "--kube-api-qps=200",  # or else what waits for the garbage collector waits long
            "--kube-api-burst=400",
            "--leader-elect=false",
            *_UNTHROTTLED,
            "--secure-port=0",
            *(["--port=0"] if self.minor_version < 24 else []),
        )
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self._wait_for("kube-controller-manager", lambda: self.get(account) is not None)

    def crash_api_server(self) -> None:
        """Kill the API server, start it again, and wait until it is ready."""
        process = self._processes.pop("kube-apiserver")
        process.kill()
        process.wait()
        self._start_api_server()

    def stop(self) -> None:
        """Stop what `start` started, the last first."""
        for process in reversed(self._processes.values()):
            process.terminate()
            try:
                process.wait(_STOP_GRACE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    @property
    def process_ids(self) -> Mapping[str, int]:
        return {name: process.pid for name, process in self._processes.items()}

    def get(self, path: str, accept: str = "application/json") -> bytes | None:
        """What the API server answers an administrator; None while it does not answer with 200."""
        headers = {"Authorization": f"Bearer {self._tokens[_ADMIN]}", "Accept": accept}
        request = urllib.request.Request(self.url + path, headers=headers)
        trusted = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        direct = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trusted)
        )
        try:
            with direct.open(request, timeout=10) as answer:
                content: bytes = answer.read()
                return content
        except OSError:
            return None

    def compact(self) -> None:
        """Make etcd forget every version but the newest."""
        last = self._etcd("range", {"key": "AA=="})["header"]["revision"]
        self._etcd("compaction", {"revision": last, "physical": True})

    def _start_api_server(self) -> None:
        self._launch("kube-apiserver", self.binaries.api_server, *self._api_server_flags())
        self._wait_for("kube-apiserver", lambda: self.get("/readyz") is not None)

    def _etcd(self, call: str, body: Mapping[str, object]) -> dict[str, dict[str, str]]:
        request = urllib.request.Request(
            f"{self.etcd_url}/v3/kv/{call}", data=json.dumps(body).encode(), method="POST"
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10) as answer:
            found: dict[str, dict[str, str]] = json.load(answer)
            return found

    def _etcd_flags(self) -> list[str]:
        return [
            "--name=test",
            f"--data-dir={self.directory / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={self.etcd_url}",
            f"--advertise-client-urls={self.etcd_url}",
            f"--listen-peer-urls={self._etcd_peer_url}",
            f"--initial-advertise-peer-urls={self._etcd_peer_url}",
            f"--initial-cluster=test={self._etcd_peer_url}",
        ]

    def _api_server_flags(self) -> list[str]:
        unwanted = [] if self.has_nodes else ["TaintNodesByCondition"]
        if self.binaries.controller_manager is None:
            unwanted.append("ServiceAccount")  # nobody makes the accounts that it asks for
        return [
            f"--etcd-servers={self.etcd_url}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={self.pki}",
            f"--tls-cert-file={self.pki / 'server.crt'}",
            f"--tls-private-key-file={self.pki / 'server.key'}",
            f"--client-ca-file={self.pki / 'ca.crt'}",
            f"--token-auth-file={self.pki / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self.pki / 'accounts.pub'}",
            f"--service-account-signing-key-file={self.pki / 'accounts.key'}",
            "--service-cluster-ip-range=10.0.0.0/16",
            *([f"--disable-admission-plugins={','.join(unwanted)}"] if unwanted else []),
            # Since 1.21 it is on by default; before, the field is dropped without a word.
            *(["--feature-gates=GenericEphemeralVolume=true"] if self.minor_version < 21 else []),
            *(self._audit_flags() if self.audited else []),
            *self.api_server_flags,
        ]

    def _audit_flags(self) -> list[str]:
        policy = self.directory / "audit-policy.yaml"
        rules = [{"level": "Metadata", "omitStages": ["RequestReceived"]}]
        policy.write_text(
            json.dumps({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules})
        )
        return [f"--audit-policy-file={policy}", f"--audit-log-path={self.audit_log}"]

    def _write_kubeconfig(self, path: Path, user: str) -> None:
        authority = str(self.pki / "ca.crt")
        cluster = {"server": self.url, "certificate-authority": authority}
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "test", "cluster": cluster}],
                    "users": [{"name": user, "user": {"token": self._tokens[user]}}],
                    "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
                    "current-context": "test",
                },
                indent=2,
            )
        )
        path.chmod(0o600)

    def _launch(self, name: str, program: Path, *flags: str) -> None:
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [program, *flags],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop it
            )

    def _wait_for(self, name: str, ready: Callable[[], bool]) -> None:
        until_s = time.monotonic() + _START_LIMIT_S
        while not ready():
            dead = [each for each, process in self._processes.items() if process.poll() is not None]
            if dead or time.monotonic() > until_s:
                self.stop()
                name = (dead or [name])[0]
                log = (self.directory / f"{name}.log").read_text(errors="replace")
                raise RuntimeError(f"{name} did not start:\n{log[-2000:]}")
            time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def _up(directory: Path) -> None:
    binaries = find_binaries()
    if binaries is None:
        sys.exit("no kube-apiserver and etcd: run hack/envtest.sh build, or set KUBEBUILDER_ASSETS")
    _down(directory)
    directory.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(directory / "etcd", ignore_errors=True)
    plane = ControlPlane(
        binaries=binaries, directory=directory, controllers="*", audited=True, has_nodes=True
    )
    plane.start()
    crds = Path(__file__).parents[2] / "deploy" / "crds"
    kubectl = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if kubectl:
        # An old server drops rules that it does not know, but kubectl would refuse them.
        command = [kubectl, f"--kubeconfig={plane.kubeconfig}", "apply", "--validate=false"]
        subprocess.run([*command, "-f", crds], check=True)
    plane.start_controllers()
    plane.start_scheduler()
    (directory / "pids.json").write_text(json.dumps(plane.process_ids))
    sys.stdout.write(f"Kubernetes {binaries.version} at {plane.url}\n")
    sys.stdout.write(f"export KUBECONFIG={plane.kubeconfig}\n")


def _down(directory: Path) -> None:
    record = directory / "pids.json"
    if not record.is_file():
        return
    for name, pid in reversed(json.loads(record.read_text()).items()):
        _end(name, pid)
    record.unlink()


def _end(name: str, pid: int) -> None:
    """Stop a process, provided that it is still the one of that name."""
    command = Path(f"/proc/{pid}/cmdline")
    until_s = time.monotonic() + _STOP_GRACE_S
    wanted = signal.SIGTERM
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while Path(command.read_bytes().split(b"\0")[0].decode()).name == name:
            os.kill(pid, wanted)
            wanted = signal.SIGKILL if time.monotonic() > until_s else signal.SIGTERM
            time.sleep(0.1)


def main(arguments: Sequence[str]) -> None:
    match arguments:
        case ["find"]:
            found = find_binaries()
            if found is None:
                sys.exit("none found")
            sys.stdout.write(f"{found.api_server.parent}\n")
        case ["up", directory]:
            _up(Path(directory).absolute())
        case ["down", directory]:
            _down(Path(directory).absolute())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
