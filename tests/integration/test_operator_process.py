"""`kaito operator run` as a process against a real API server; others make the machines."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event as Pause
from typing import Any

import pytest

from kaito.adapters.kube_api import NODE_CLAIM, WORKSPACE, KubeApi, ObjectNotFound, condition_of
from tests.integration.conftest import RealCluster

WAIT_S = 30.0


class Operator:
    """The process, with its probes and metrics on a free port; `more` are options of it."""

    def __init__(self, kubeconfig: Path, log: Path, *more: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "kaito", "operator", "run"]
        command += ["--kubeconfig", str(kubeconfig), "--lease-namespace", "default", *more]
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "--http-port", str(self.port)], stdout=out, stderr=subprocess.STDOUT
            )

    def get(self, path: str) -> str:
        """The answer, or an empty text while there is none."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                content: bytes = answer.read()
                return content.decode()
        except OSError:
            return ""

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(WAIT_S)
        finally:
            self.process.kill()


@pytest.fixture
def kubeconfig(real_cluster: RealCluster) -> Path:
    if real_cluster.kubeconfig is None:
        pytest.skip("the operator is tried with a control plane of its own only")
    return real_cluster.kubeconfig


@pytest.fixture
def operator(real_api: KubeApi, kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    running = Operator(kubeconfig, tmp_path / "operator.log")
    try:
        eventually(lambda: running.get("/readyz") == "leading")
        yield running
    finally:
        if running.process.poll() is None:
            running.stop()


def eventually(check: Callable[[], bool]) -> None:
    pause = Pause()
    for _ in range(int(WAIT_S * 10)):
        if check():
            return
        pause.wait(0.1)
    pytest.fail("it did not come true in time")


def workspace(namespace: str, **parts: Any) -> dict[str, Any]:
    return {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": "phi-3", "namespace": namespace},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"apps": "phi-3"}},
        },
        "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
        **parts,
    }


def claims(api: KubeApi, namespace: str) -> list[Any]:
    found = api.list(NODE_CLAIM, labels={"kaito.sh/workspacenamespace": namespace})
    return list(found.items)


def test_from_apply_to_a_recorded_machine_and_gone_again(
    real_api: KubeApi, namespace: str, operator: Operator
) -> None:
    real_api.create(WORKSPACE, workspace(namespace))
    eventually(lambda: len(claims(real_api, namespace)) == 1)
    stored = real_api.get(WORKSPACE, "phi-3", namespace)
    waiting = condition_of(stored, "ResourceReady")
    assert waiting is not None
    assert waiting["status"] == "False"
    assert "kopf" not in json.dumps(stored), "kopf writes nothing of its own"
    assert 'kaito_workspace_count{phase="pending"}' in operator.get("/metrics")

    real_api.delete(WORKSPACE, "phi-3", namespace)
    eventually(lambda: "deletionTimestamp" in claims(real_api, namespace)[0]["metadata"])
    # What Karpenter does once the machine is gone.
    (claim,) = claims(real_api, namespace)
    real_api.patch(NODE_CLAIM, claim["metadata"]["name"], None, {"metadata": {"finalizers": []}})

    def is_gone() -> bool:
        try:
            real_api.get(WORKSPACE, "phi-3", namespace)
        except ObjectNotFound:
            return True
        return False

    eventually(is_gone)


def test_what_cannot_fit_says_so_in_its_status(
    real_api: KubeApi, namespace: str, operator: Operator
) -> None:
    """With no webhook installed, the operator itself must tell the user."""
    real_api.create(WORKSPACE, workspace(namespace, inference={"preset": {"name": "phi-4"}}))

    def reason() -> str:
        done = condition_of(real_api.get(WORKSPACE, "phi-3", namespace), "WorkspaceSucceeded")
        return str(done["reason"]) if done else ""

    eventually(lambda: reason() == "ModelDoesNotFit")
    assert claims(real_api, namespace) == []
    eventually(lambda: 'kaito_workspace_count{phase="error"} 1.0' in operator.get("/metrics"))
    real_api.delete(WORKSPACE, "phi-3", namespace)


def test_it_stops_cleanly_and_lets_the_next_one_lead(
    real_api: KubeApi, operator: Operator, kubeconfig: Path, tmp_path: Path
) -> None:
    assert operator.get("/healthz") == "ok"
    assert operator.stop() == 0, operator.log.read_text()
    follower = Operator(kubeconfig, tmp_path / "follower.log")
    eventually(lambda: follower.get("/readyz") == "leading")
    assert follower.stop() == 0


def test_a_port_that_is_taken_is_said(operator: Operator, kubeconfig: Path) -> None:
    command = [sys.executable, "-m", "kaito", "operator", "run", "--kubeconfig", str(kubeconfig)]
    again = subprocess.run(
        [*command, "--http-port", str(operator.port)],
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
    )
    assert again.returncode == 2
    assert f"--http-port: 127.0.0.1:{operator.port} cannot be listened on" in again.stderr
    assert "Traceback" not in again.stderr


def test_without_a_lease_to_be_had_it_is_not_ready(kubeconfig: Path, tmp_path: Path) -> None:
    waiting = Operator(kubeconfig, tmp_path / "operator.log", "--lease-namespace", "nowhere")
    eventually(lambda: "leader election" in waiting.log.read_text())
    assert waiting.get("/readyz") == "", "503"
    assert waiting.get("/healthz") == "ok"
    assert waiting.stop() == 0
