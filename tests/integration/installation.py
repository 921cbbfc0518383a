"""kaito on a real API server, as its users install it: kubectl, service accounts, processes.

The processes run beside the server and not in it: operator and webhook with the rights of their
own service accounts, and the twin's machines (`sim attach`) with an administrator's.
"""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.control_plane import ALL_CONTROLLERS, Binaries, ControlPlane

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
NAMESPACE = "kaito-system"
OPERATOR = "kaito-operator"
OVERLAY = ROOT / "deploy" / "overlays" / "kubernetes-1.20"
MISSING_WORKLOADS = (
    "no kube-controller-manager and kube-scheduler beside kube-apiserver: `hack/envtest.sh build`"
    " makes them (Debian with root; six minutes, once)"
)
STOP_LIMIT_S = 30.0
COMMAND_LIMIT_S = 120.0


def eventually(holds: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
    """Wait until it holds. Raises: AssertionError, with `what` did not come true."""
    until_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > until_s:
            raise AssertionError(f"not within {limit_s:.0f} s: {what}")
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass
class Running:
    """A process of ours, with what it printed."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    def get(self, path: str) -> str:
        """What it answers on its HTTP port; empty while it does not."""
        try:
            url = f"http://127.0.0.1:{self.port}{path}"
            with urllib.request.urlopen(url, timeout=5) as answer:
                content: bytes = answer.read()
                return content.decode()
        except OSError:
            return ""

    def kill(self) -> None:
        """SIGKILL: no chance to tidy up."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} does not stop:\n{self.printed()}") from None

    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


@dataclass
class Installation:
    """A control plane of its own, kaito's manifests applied to it, and the processes."""

    plane: ControlPlane
    directory: Path
    running: list[Running] = field(default_factory=list)
    python: str = sys.executable

    @classmethod
    def on(cls, binaries: Binaries, directory: Path, overlay: Path = OVERLAY) -> "Installation":
        """Start a control plane that runs workloads, and apply the manifests with kubectl."""
        plane = ControlPlane(
            binaries=binaries,
            directory=directory / "plane",
            controllers=ALL_CONTROLLERS,
            audited=True,
            has_nodes=True,
        )
        plane.directory.mkdir()
        made = cls(plane, directory)
        try:
            plane.start()
            made.kubectl("apply", "-k", str(overlay))
            for crd in ("workspaces.kaito.sh", "nodeclaims.karpenter.sh"):
                made.kubectl("wait", "--for=condition=Established", f"crd/{crd}")
            plane.start_controllers()
            plane.start_scheduler()
        except BaseException:
            made.close()
            raise
        return made

    def close(self) -> None:
        """Stop everything, the last first."""
        for process in reversed(self.running):
            if process.process.poll() is None:
                process.kill()
        self.plane.stop()

    def kubectl(self, *arguments: str, stdin: str | None = None, fails: bool = False) -> str:
        """What an administrator's kubectl prints: on stdout, or if it `fails` on stderr."""
        done = subprocess.run(
            [BIN / "kubectl", f"--kubeconfig={self.plane.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_LIMIT_S,
            env=os.environ | {"HOME": str(self.directory)},
        )
        assert (done.returncode != 0) == fails, f"{arguments}\n{done.stdout}{done.stderr}"
        return done.stderr if fails else done.stdout

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """`kubectl apply` of all of them at once."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, manifests)))

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        """The objects that `kubectl get` finds."""
        found = json.loads(self.kubectl("get", "-o", "json", *arguments))
        items: list[dict[str, Any]] = found.get("items", [found])
        return items

    def service_account(self, name: str, server: str = "") -> Path:
        """A kubeconfig with the rights of a service account and no others."""
        token = self.kubectl("create", "token", name, "-n", NAMESPACE, "--duration=4h").strip()
        admin = json.loads(self.plane.kubeconfig.read_text())
        (cluster,) = admin["clusters"]
        if server:
            cluster["cluster"] = {"server": server}
        admin["users"][0]["user"] = {"token": token}
        file = self.directory / f"{name}-{len(list(self.directory.iterdir()))}.kubeconfig"
        file.touch(mode=0o600)
        file.write_text(json.dumps(admin))
        return file

    def operator(
        self,
        *flags: str,
        kubeconfig: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """`kaito operator run`, ready or standing by; `environment` is what it has beside ours."""
        port = free_port()
        access = kubeconfig or self.service_account(OPERATOR)
        command = [BIN / "kaito", "operator", "run", "--kubeconfig", access]
        command += ["--http-port", str(port), *flags]
        running = self.start("operator", *command, port=port, environment=environment)
        eventually(lambda: running.get("/readyz") != "", "the operator answers")
        return running

    def webhook(self) -> Running:
        """`kaito webhook run`, which from now on judges every Workspace that is written."""
        port, pki = free_port(), self.plane.pki
        command = [BIN / "kaito", "webhook", "run", "--port", str(port)]
        certificate = ["--certificate", pki / "server.crt", "--private-key", pki / "server.key"]
        running = self.start("webhook", *command, *certificate)
        url = f"https://127.0.0.1:{port}"
        trusted = ssl.create_default_context(cafile=str(pki / "ca.crt"))

        def answers() -> bool:
            try:
                with urllib.request.urlopen(f"{url}/readyz", timeout=5, context=trusted) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        eventually(answers, "the webhook answers")
        configuration = subprocess.run(
            [BIN / "kaito", "webhook", "configuration", "--ca", pki / "ca.crt", "--url", url],
            capture_output=True,
            text=True,
            check=True,
            timeout=COMMAND_LIMIT_S,
        )
        self.kubectl("apply", "-f", "-", stdin=configuration.stdout)
        return running

    def attach(self, *flags: str, speed: float = 600.0) -> Running:
        """`python -m sim attach`, as administrator."""
        command = [self.python, "-m", "sim", "attach", "--kubeconfig", self.plane.kubeconfig]
        running = self.start("attach", *command, "--speed", str(speed), *flags)
        eventually(lambda: "Playing the machines" in running.printed(), "sim attach is ready")
        return running

    def start(
        self,
        name: str,
        *command: str | Path,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a process, which is stopped with the installation."""
        log = self.directory / f"{name}-{len(self.running)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [str(word) for word in command],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
            )
        running = Running(name, process, log, port)
        self.running.append(running)
        return running

    def audit(self) -> Iterator[dict[str, Any]]:
        """Every request so far, in the order in which the server answered."""
        with self.plane.audit_log.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):  # the last one may be half written
                    event: dict[str, Any] = json.loads(line)
                    yield event

    def requests_of(self, account: str, since: int = 0) -> list[dict[str, Any]]:
        """The answered requests of a service account of kaito's, without the first `since`; a
        watch is there once when it begins and once when it ends."""
        user = f"system:serviceaccount:{NAMESPACE}:{account}"
        mine = (event for event in self.audit() if event["user"]["username"] == user)
        answered = {"ResponseStarted", "ResponseComplete"}  # of a watch, the first may be all
        return [event for event in mine if event["stage"] in answered][since:]


WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


def writes(requests: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that change something, the renewals of Leases apart."""
    return [
        event
        for event in requests
        if event["verb"] in WRITES and event["objectRef"]["resource"] != "leases"
    ]


def succeeded(workspace: Mapping[str, Any]) -> bool:
    """Whether a Workspace is READY, or its tuning job done."""
    conditions = (workspace.get("status") or {}).get("conditions") or ()
    return any(
        each["type"] == "WorkspaceSucceeded" and each["status"] == "True" for each in conditions
    )


def workspace(name: str, namespace: str = "default") -> dict[str, Any]:
    """A small model on a GPU that vLLM serves it from."""
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name, "namespace": namespace},
        "resource": {
            "instanceType": "Standard_NV36ads_A10_v5",
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
    }
