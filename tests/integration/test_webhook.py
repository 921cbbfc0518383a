"""`kaito webhook run` as a process, asked by a real API server and read about in real kubectl."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kaito.adapters.certificates import make_certificates
from kaito.adapters.kube_api import WORKSPACE, KubeObject, condition_of
from kaito.system_clock import SystemClock
from tests.integration.conftest import RealCluster, eventually
from tests.unit.domain.builders import A10, A100, MINI, V100, manifest

KUBECTL = Path(sys.executable).parent / "kubectl"
LIMIT_S = 60.0
VERSIONS = ("v1alpha1", "v1beta1")
UNKNOWN = "phi-9"
CONFIGURATION = ("validatingwebhookconfiguration", "kaito-webhook")
FINALIZER = "workspace.finalizer.kaito.sh"
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """How a kubectl command ended."""

    ok: bool
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Kubectl:
    """An administrator's kubectl, whose home is a folder of the test's."""

    kubeconfig: Path
    home: Path

    def run(self, *arguments: str, stdin: str = "") -> Told:
        done = subprocess.run(
            [KUBECTL, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            env={"HOME": str(self.home), "NO_PROXY": "127.0.0.1"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        return Told(done.returncode == 0, done.stdout, done.stderr)

    def apply(self, document: Mapping[str, Any], *flags: str) -> Told:
        return self.run("apply", *flags, "-f", "-", stdin=json.dumps(document))


class Webhook:
    """The process on a port of its own, and the configuration that has it asked."""

    def __init__(self, kubectl: Kubectl, folder: Path) -> None:
        self._kubectl = kubectl
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._is_installed = False
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        made = make_certificates(["127.0.0.1"], SystemClock().now_s(), name="kaito-test")
        for name, content in (("ca", made.authority), ("server", made.server), ("key", made.key)):
            (folder / name).write_bytes(content)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "kaito", "webhook", *arguments]

    def start(self) -> None:
        files = ["--certificate", f"{self._folder}/server", "--private-key", f"{self._folder}/key"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command("run", *files, "--port", str(self._port)), stderr=log
            )

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """The exit code."""
        assert self._process is not None
        self._process.send_signal(how)
        try:
            return self._process.wait(LIMIT_S)
        finally:
            self._process.kill()

    def log(self) -> str:
        return (self._folder / "log").read_text(encoding="utf-8")

    def configuration(self) -> str:
        printed = subprocess.run(
            self._command(
                *("configuration", "--url", f"https://127.0.0.1:{self._port}"),
                *("--ca", f"{self._folder}/ca"),
            ),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        return printed.stdout

    def install(self) -> None:
        """Have it asked, from now on."""
        if self._is_installed:
            return
        told = self._kubectl.run("apply", "-f", "-", stdin=self.configuration())
        assert told.ok, told.err
        assert eventually(lambda: not self._takes_anything(), LIMIT_S), self.log()
        self._is_installed = True

    def remove(self) -> None:
        """Nobody is asked any more."""
        self._is_installed = False
        told = self._kubectl.run("delete", "--ignore-not-found", *CONFIGURATION)
        assert told.ok, told.err
        assert eventually(self._takes_anything, LIMIT_S)

    def _takes_anything(self) -> bool:
        """Whether the API server would store what the rules refuse."""
        return self._kubectl.apply(bad("default"), "--dry-run=server").ok


def bad(namespace: str, version: str = "v1beta1", **parts: Any) -> Json:
    return good(namespace, version, inference={"preset": {"name": UNKNOWN}}, **parts)


def good(namespace: str, version: str = "v1beta1", **parts: Any) -> Json:
    metadata = {"namespace": namespace, **parts.pop("metadata", {})}
    return manifest(version=version, metadata=metadata, **parts)


@pytest.fixture(scope="module")
def kubectl(real_cluster: RealCluster, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    if real_cluster.kubeconfig is None:
        pytest.skip("only an API server of our own can call this machine")
    return Kubectl(real_cluster.kubeconfig, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def asked(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webhook]:
    """The webhook, running. The control plane is shared: the configuration is taken away again."""
    webhook = Webhook(kubectl, tmp_path_factory.mktemp("webhook"))
    webhook.start()
    try:
        yield webhook
    finally:
        webhook.remove()
        assert webhook.stop() == 0, webhook.log()
    assert "Traceback" not in webhook.log()
    assert "PRIVATE" not in webhook.log()


@pytest.fixture
def webhook(asked: Webhook) -> Webhook:
    """The webhook, running and installed."""
    asked.install()
    return asked


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_bad_manifest_is_refused_in_the_domains_words(
    kubectl: Kubectl, namespace: str, version: str
) -> None:
    told = kubectl.apply(bad(namespace, version))
    assert not told.ok
    assert told.err == (
        "The Workspace \"phi\" is invalid: inference.preset.name: unknown model 'phi-9'. "
        "Did you mean phi-4 or phi-2?\n"
    )
    assert not kubectl.run("get", "workspace", "phi", "-n", namespace).ok


@pytest.mark.usefixtures("webhook")
def test_several_problems_stand_on_lines_of_their_own(kubectl: Kubectl, namespace: str) -> None:
    wrong = bad(namespace, instance_type="Standard_NC6s_v9")
    wrong["inference"]["adapters"] = [{"source": {"name": "A", "image": "r.io/a:1"}}]
    lines = kubectl.apply(wrong).err.splitlines()
    assert lines[0].rstrip() == 'The Workspace "phi" is invalid:'
    assert [line.partition(". ")[0] for line in lines[1:]] == [
        "* resource.instanceType: unknown instance type 'Standard_NC6s_v9'",
        "* inference.preset.name: unknown model 'phi-9'",
        "* inference.adapters[0].source.name: 'A' is not a DNS label",
    ]


@pytest.mark.usefixtures("webhook")
def test_of_several_manifests_each_refusal_names_its_own(kubectl: Kubectl, namespace: str) -> None:
    items = [bad(namespace, name=name) for name in ("one", "two")]
    told = kubectl.apply({"apiVersion": "v1", "kind": "List", "items": items})
    for name in ("one", "two"):
        assert (
            'admission webhook "validation.workspace.kaito.sh" denied the request: '
            f"Workspace '{name}' is refused: inference.preset.name: unknown model 'phi-9'"
        ) in told.err


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_good_manifest_is_stored(kubectl: Kubectl, namespace: str, version: str) -> None:
    assert kubectl.apply(good(namespace, version)) == Told(
        ok=True, out="workspace.kaito.sh/phi created\n", err=""
    )
    again = kubectl.apply(good(namespace, version))
    assert again.out == "workspace.kaito.sh/phi unchanged\n"
    more = good(namespace, version, inference={"preset": {"name": MINI}, "config": "mine"})
    assert kubectl.apply(more).out == "workspace.kaito.sh/phi configured\n"


@pytest.mark.usefixtures("webhook")
def test_what_the_user_should_know_is_a_warning(kubectl: Kubectl, namespace: str) -> None:
    told = kubectl.apply(good(namespace, instance_type=V100))
    assert told.ok
    assert told.err.startswith("Warning: NVIDIA V100 16GB has compute capability 7.0")


@pytest.mark.usefixtures("webhook")
def test_a_generated_name_is_checked_and_named(kubectl: Kubectl, namespace: str) -> None:
    document = bad(namespace)
    document["metadata"] = {"namespace": namespace, "generateName": "phi-"}
    told = kubectl.run("create", "-f", "-", stdin=json.dumps(document))
    assert told.err.startswith('The Workspace "phi-')
    document["inference"] = good(namespace)["inference"]
    assert kubectl.run("create", "-f", "-", stdin=json.dumps(document)).ok


@pytest.mark.usefixtures("webhook")
@pytest.mark.parametrize("version", VERSIONS)
def test_what_is_fixed_cannot_be_changed(kubectl: Kubectl, namespace: str, version: str) -> None:
    assert kubectl.apply(good(namespace, version)).ok
    told = kubectl.apply(good(namespace, version, instance_type=A100, resource={"count": 2}))
    # Newer servers say it before they ask the webhook, by the rules in the CRD.
    for change in (f"from '{A10}' to '{A100}'", "from 1 to 2"):
        remedy = "Delete the Workspace and make a new one"
        assert f"cannot be changed, {change}. {remedy}\n" in told.err
    stored = json.loads(kubectl.run("get", "wk", "phi", "-n", namespace, "-o", "json").out)
    assert stored["resource"]["instanceType"] == A10


def test_what_was_stored_before_the_rules_can_be_looked_after_and_let_go(
    kubectl: Kubectl, namespace: str, asked: Webhook
) -> None:
    asked.remove()
    assert kubectl.apply(bad(namespace, metadata={"finalizers": [FINALIZER]})).ok
    asked.install()
    of_it = ("workspace", "phi", "-n", namespace)
    assert kubectl.run("label", *of_it, "a=b").ok
    finalizers = '{"metadata":{"finalizers":%s}}'
    assert kubectl.run("patch", *of_it, "--type=merge", "-p", finalizers % '["a.b/c"]').ok
    worse = '{"inference":{"config":"mine"}}'
    told = kubectl.run("patch", *of_it, "--type=merge", "-p", worse)
    assert "unknown model 'phi-9'" in told.err, "but what it asks for is checked when it changes"

    assert kubectl.run("delete", *of_it, "--wait=false").ok
    assert "deletionTimestamp" in kubectl.run("get", *of_it, "-o", "json").out
    assert kubectl.run("patch", *of_it, "--type=merge", "-p", worse).ok
    assert kubectl.run("patch", *of_it, "--type=merge", "-p", finalizers % "[]").ok
    assert eventually(lambda: not kubectl.run("get", *of_it).ok, LIMIT_S)


def test_while_it_is_down_nothing_is_stored_but_a_status(
    kubectl: Kubectl, namespace: str, webhook: Webhook, real_api: Any
) -> None:
    assert kubectl.apply(good(namespace)).ok
    assert webhook.stop(signal.SIGTERM) == 0, webhook.log()
    try:
        told = kubectl.apply(good(namespace, name="other"))
        assert not told.ok
        assert 'failed calling webhook "validation.workspace.kaito.sh"' in told.err
        condition = {
            "type": "WorkspaceSucceeded",
            "status": "False",
            "reason": "Pending",
            "message": "starting",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {"status": {"conditions": [condition]}}
        real_api.patch(WORKSPACE, "phi", namespace, status, subresource="status")
        found: KubeObject = real_api.get(WORKSPACE, "phi", namespace)
        assert condition_of(found, "WorkspaceSucceeded") is not None
    finally:
        webhook.start()
    assert eventually(lambda: kubectl.apply(good(namespace, name="other")).ok, LIMIT_S)
