"""The quick start of docs/quickstart.md, typed into a real kubectl against `sim serve`.

The transcript there is what kubectl printed, but for what differs from run to run: ages, times,
uids, versions of objects, names that are drawn, and the directory.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.twin import ROOT, Kubectl, on_path, pinned, serving

GUIDE = ROOT / "docs" / "quickstart.md"
MANIFEST = "examples/inference/kaito_workspace_phi_3.yaml"
UPDATE = os.environ.get("KAITO_UPDATE_TRANSCRIPTS") == "1"

_BLOCK = re.compile(r"```console\n(?P<text>.*?)```", re.DOTALL)
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"), "<time>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<uid>"),
    (re.compile(r"(Resource Version:\s+)\d+"), r"\1<version>"),
    (re.compile(r"\bws[0-9a-f]{9}\b"), "<machine>"),  # named after the Workspace's uid
    (re.compile(r"\beastus-\d\b"), "<zone>"),
    (re.compile(r"(workspace-tuning-phi-3)-[a-z0-9]{5}\b"), r"\1-<suffix>"),
    (re.compile(r"\b(?=\d)(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?s\b|\b\d+m\b"), "<age>"),
    (re.compile(r" \(x\d+ over <age>\)"), ""),
    (re.compile(r"after \d+\.\d+ s"), "after <seconds> s"),
    (re.compile(r"[ \t]+"), " "),  # columns are as wide as the ages in them
)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Iterator[Path]:
    with serving(tmp_path) as file:
        yield file


@pytest.fixture(params=["pinned", "on PATH"])
def kubectl(request: pytest.FixtureRequest, kubeconfig: Path, tmp_path: Path) -> Kubectl:
    return {"pinned": pinned, "on PATH": on_path}[request.param](kubeconfig, tmp_path)


@pytest.mark.parametrize("kubectl", ["pinned"], indirect=True)
def test_quick_start_is_what_kubectl_prints(kubectl: Kubectl) -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    version = re.search(r"Client Version: v(\S+)", kubectl.prints("kubectl version --client"))
    assert version is not None
    assert f"kubectl {version[1]}" in guide, "the guide names the kubectl of its transcript"
    blocks = list(_BLOCK.finditer(guide))
    assert blocks
    written = _BLOCK.sub(lambda block: f"```console\n{_typed_again(kubectl, block)}```", guide)
    if UPDATE:
        GUIDE.write_text(written, encoding="utf-8")
        return
    for block, fresh in zip(blocks, _BLOCK.finditer(written), strict=True):
        assert _normal(fresh["text"]) == _normal(block["text"]), (
            "write the transcript anew: KAITO_UPDATE_TRANSCRIPTS=1 pytest tests/e2e"
        )


def test_every_day(kubectl: Kubectl, tmp_path: Path) -> None:
    """What people do besides, none of it waiting for a model to load."""
    bad = tmp_path / "bad.yaml"
    good = (ROOT / MANIFEST).read_text(encoding="utf-8")
    bad.write_text(good.replace("mini-4k", "mini-5k"), encoding="utf-8")
    complaint = kubectl.refused(f"kubectl apply -f {bad}")
    assert 'The Workspace "workspace-phi-3-mini" is invalid' in complaint
    assert "inference.preset.name: unknown model 'phi-3-mini-5k-instruct'" in complaint
    bad.write_text(good.replace("instanceType", "instanzType"), encoding="utf-8")
    assert 'unknown field "resource.instanzType"' in kubectl.refused(f"kubectl apply -f {bad}")

    assert "server dry run" in kubectl.prints(f"kubectl apply --dry-run=server -f {MANIFEST}")
    assert "workspace.kaito.sh" not in kubectl.prints("kubectl get workspaces -o name")
    kubectl.prints(f"kubectl apply -f {MANIFEST}")
    assert "unchanged" in kubectl.prints(f"kubectl apply -f {MANIFEST}")
    kubectl.prints("kubectl wait --for=condition=ResourceReady wk --all --timeout=60s")
    watched = kubectl.run("timeout 2 kubectl get workspace -w").stdout
    assert watched.startswith("NAME ")
    assert "STATE" in kubectl.prints("kubectl get wk -o wide")
    kubectl.prints("kubectl label wk workspace-phi-3-mini a=b")
    assert "workspace-phi-3-mini" in kubectl.prints("kubectl get workspace -l a=b -o name")
    node = kubectl.prints("kubectl get nodes -o jsonpath={.items[0].metadata.name}")
    for line in (f"taint node {node} a=b:NoSchedule", f"cordon {node}", f"describe node {node}"):
        kubectl.prints(f"kubectl {line}")

    kubectl.prints("kubectl create configmap one --from-literal=a=b")
    kubectl.prints(
        "kubectl create secret docker-registry r --docker-username=u --docker-password=p"
    )
    kubectl.prints("""kubectl patch configmap one -p '{"data":{"c":"d"}}'""")
    assert kubectl.prints("kubectl get cm one -o jsonpath={.data}") == '{"a":"b","c":"d"}'
    assert kubectl.prints("kubectl auth can-i delete pods").strip() == "yes"
    assert kubectl.prints("kubectl create token default").strip()
    assert "workspaces.kaito.sh" in kubectl.prints("kubectl get crd")
    kubectl.prints("kubectl delete configmap,secret --all")
    kubectl.prints("kubectl delete workspace workspace-phi-3-mini --timeout=60s")


def test_conflicts_of_server_side_apply(kubectl: Kubectl, tmp_path: Path) -> None:
    label = "  labels: {team: a}\nresource:"
    mine, theirs = tmp_path / "mine.yaml", tmp_path / "theirs.yaml"
    good = (ROOT / MANIFEST).read_text(encoding="utf-8")
    mine.write_text(good.replace("resource:", label), encoding="utf-8")
    theirs.write_text(good.replace("resource:", label.replace("a}", "b}")), encoding="utf-8")
    kubectl.prints(f"kubectl apply -f {mine}")
    kubectl.prints(f"kubectl apply --server-side -f {mine}")  # takes over its own fields
    command = f"kubectl apply --server-side --field-manager=them -f {theirs}"
    assert 'conflict with "kubectl": .metadata.labels.team' in kubectl.refused(command)
    kubectl.prints(f"{command} --force-conflicts")
    labels = kubectl.prints("kubectl get workspaces -o jsonpath={.items[0].metadata.labels}")
    assert labels == '{"team":"b"}'


def _typed_again(kubectl: Kubectl, block: re.Match[str]) -> str:
    shown = ""
    for line in re.findall(r"^\$ (.*)$", block["text"], re.MULTILINE):
        done = kubectl.run(line)
        shown += f"$ {line}\n{done.stdout}{done.stderr}"
        shown = shown if shown.endswith("\n") else f"{shown}\n"
    return re.sub(r"[ \t]+$", "", shown, flags=re.MULTILINE)


def _normal(text: str) -> list[str]:
    """What is the same in every run. Events of one second have no order."""
    for pattern, replacement in _VARYING:
        text = pattern.sub(replacement, text)
    lines = [line.strip() for line in text.splitlines()]
    return sorted(lines) if "events" in text.lower() else lines
