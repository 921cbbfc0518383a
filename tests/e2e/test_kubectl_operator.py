"""`kaito operator run` attached to `sim serve --no-operator`: NodeClaims are as far as it gets."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.twin import ROOT, Kubectl, pinned, serving

MANIFEST = "examples/inference/kaito_workspace_phi_3.yaml"
NAME = "workspace-phi-3-mini"
STOP_LIMIT_S = 30


@contextmanager
def operator(kubeconfig: Path, log: Path) -> Iterator[int]:
    """A running operator; the port of its probes. It must stop when it is told to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "kaito", "operator", "run", "--kubeconfig", str(kubeconfig)]
    command += ["--lease-namespace", "kube-system", "--http-port", str(port)]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT)
    try:
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_LIMIT_S) == 0, log.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def kubectl(tmp_path: Path) -> Iterator[Kubectl]:
    with serving(tmp_path, "--no-operator") as kubeconfig:
        yield pinned(kubeconfig, tmp_path)


def test_an_operator_from_outside(kubectl: Kubectl, tmp_path: Path) -> None:
    log = tmp_path / "operator.log"
    kubectl.prints(f"kubectl apply -f {MANIFEST}")
    with operator(kubectl.kubeconfig, log) as port:
        kubectl.prints(f"kubectl wait --for=condition=ResourceReady=False wk/{NAME} --timeout=60s")
        kubectl.prints("kubectl wait --for=create nodeclaims --all --timeout=30s")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            assert answer.read() == b"leading"
        claim = kubectl.prints("kubectl get nodeclaims -o jsonpath={.items[*].metadata.name}")
        stored = json.loads(kubectl.prints(f"kubectl get wk {NAME} -o json"))
        said = {one["type"]: one for one in stored["status"]["conditions"]}
        assert said["ResourceReady"]["message"] == "0 of 1 machines ready"
        assert said["NodesReady"]["message"] == f"waiting for {claim}"
        assert "kopf" not in json.dumps(stored), "kopf writes nothing of its own"
        events = kubectl.prints("kubectl get events -o jsonpath={.items[*].reason}").split()
        assert sorted(events) == ["FitDecided", "OldGpu"]
        holder = "{.spec.holderIdentity}"
        lease = f"kubectl get lease -n kube-system kaito-operator -o jsonpath={holder}"
        assert kubectl.prints(lease)

        kubectl.prints(f"kubectl delete wk {NAME} --wait=false")
        kubectl.prints(
            "kubectl wait --for=jsonpath={.metadata.deletionTimestamp} nodeclaims --all"
            " --timeout=30s"
        )
        # What Karpenter does once the machine is gone.
        patch = """-p '{"metadata":{"finalizers":null}}'"""
        kubectl.prints(f"kubectl patch nodeclaim {claim} --type=merge {patch}")
        kubectl.prints(f"kubectl wait --for=delete wk/{NAME} --timeout=60s")
        assert kubectl.prints("kubectl get sts,svc,nodeclaims -o name") == ""
    text = log.read_text(encoding="utf-8")
    assert "Traceback" not in text
    assert " ERROR " not in text
