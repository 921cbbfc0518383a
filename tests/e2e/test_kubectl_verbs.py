"""Every verb of kubectl, against a Workspace that is ready: as on a cluster, or an honest no."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.twin import ROOT, Kubectl, pinned, serving

MANIFEST = "examples/inference/kaito_workspace_phi_3.yaml"
NAME = "workspace-phi-3-mini"
POD = f"{NAME}-0"


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    folder = tmp_path_factory.mktemp("twin")
    with serving(folder, "--speed", "600") as kubeconfig:
        found = pinned(kubeconfig, folder)
        found.prints(f"kubectl apply -f {MANIFEST}")
        found.prints(f"kubectl wait --for=condition=WorkspaceReady wk/{NAME} --timeout=100s")
        yield found


def test_get_in_every_form(kubectl: Kubectl) -> None:
    assert kubectl.prints(f"kubectl get wk {NAME} -o jsonpath={{.status.state}}") == "Ready"
    columns = "custom-columns=N:.metadata.name,T:.resource.instanceType"
    assert kubectl.prints(f"kubectl get wk -o {columns}").split() == [
        *("N", "T"),
        *(NAME, "Standard_NC6s_v3"),
    ]
    assert f"name: {NAME}" in kubectl.prints(f"kubectl get wk {NAME} -o yaml")
    everything = kubectl.prints("kubectl get all")
    for part in (f"pod/{POD}", f"service/{NAME}", f"statefulset.apps/{NAME}"):
        assert part in everything
    watched = kubectl.run("timeout 2 kubectl get pods -w --output-watch-events").stdout
    assert re.search(rf"ADDED\s+{POD}", watched)
    running = kubectl.prints("kubectl get pods --field-selector status.phase=Running -o name")
    assert running.strip() == f"pod/{POD}"


def test_nodes_and_machines(kubectl: Kubectl) -> None:
    _, node = kubectl.prints("kubectl get nodes -o wide").splitlines()
    for part in ("Ready", "v1.36.0", "10.224.0.4", "Ubuntu 22.04.5 LTS", "containerd://"):
        assert part in node
    head, claim = kubectl.prints("kubectl get nodeclaims").splitlines()
    assert head.split() == ["NAME", "TYPE", "CAPACITY", "ZONE", "NODE", "READY", "AGE"]
    assert re.search(r"Standard_NC6s_v3 +on-demand +eastus-[123] +aks-\S+ +True", claim)
    described = kubectl.prints("kubectl describe node")
    for line in ("HolderIdentity:", "KubeletHasSufficientMemory", "InternalIP:  10.224.0.4"):
        assert line in described
    assert "Failed to get lease" not in described
    assert "Registered" in kubectl.prints("kubectl describe nodeclaim")


def test_describe(kubectl: Kubectl) -> None:
    pod = kubectl.prints(f"kubectl describe pod {POD}")
    assert re.search(r"Node: +aks-\S+/10\.224\.0\.4", pod)
    reasons = re.findall(r"^ +Normal +(\w+) ", pod, re.MULTILINE)
    assert reasons == ["Scheduled", "Pulling", "Pulled", "Created", "Started"]
    service = kubectl.prints(f"kubectl describe svc {NAME}")
    assert re.search(r"Endpoints: +10\.64\.0\.2:5000", service)
    assert NAME in kubectl.prints("kubectl get endpointslices")
    kubectl.prints(f"kubectl describe sts {NAME}")


def test_explain(kubectl: Kubectl) -> None:
    preset = kubectl.prints("kubectl explain workspace.inference.preset")
    assert "name\t<string> -required-" in preset
    containers = kubectl.prints("kubectl explain pod.spec.containers")
    assert "FIELD: containers <[]Container>" in containers
    assert "imagePullPolicy\t<string>" in containers
    recursive = kubectl.prints("kubectl explain statefulset.spec --recursive")
    assert "topologySpreadConstraints\t<[]TopologySpreadConstraint>" in recursive
    assert "describes no fields" in kubectl.prints("kubectl explain crd")
    assert "Karpenter's own definition" in kubectl.prints("kubectl explain nodeclaim.spec")
    assert "does not exist" in kubectl.refused("kubectl explain workspace.nope")


def test_edit_and_diff(kubectl: Kubectl, tmp_path: Path) -> None:
    editor = tmp_path / "editor.sh"
    editor.write_text(
        f'#!/bin/sh\nsed -i "s/^  name: {NAME}\\$/&\\n  annotations: {{edited: here}}/" "$1"\n'
    )
    editor.chmod(0o755)
    assert "edited" in kubectl.prints(f"kubectl edit wk {NAME}", EDITOR=str(editor))
    found = kubectl.prints(f"kubectl get wk {NAME} -o jsonpath={{.metadata.annotations.edited}}")
    assert found == "here"
    changed = f"sed 's/^resource:/  labels: {{team: a}}\\nresource:/' {MANIFEST}"
    for option in ("", "--server-side"):
        done = kubectl.run(f"{changed} | kubectl diff {option} -f -")
        assert done.returncode == 1, done.stderr
        assert "+    team: a" in done.stdout
        assert kubectl.prints(f"kubectl diff {option} -f {MANIFEST}") == ""


def test_label_annotate_and_patch(kubectl: Kubectl) -> None:
    kubectl.prints(f"kubectl annotate wk {NAME} why=test")
    kubectl.prints(f"kubectl label wk {NAME} a=b && kubectl label wk {NAME} a-")
    assert "already has a value" in kubectl.refused(f"kubectl annotate wk {NAME} why=other")
    kubectl.prints("kubectl create configmap p --from-literal=a=b")
    broken = """kubectl patch cm p --type=json -p '[{"op":"test","path":"/data/a","value":"x"}]'"""
    assert "test of /data/a failed" in kubectl.refused(broken)


def test_history_and_the_way_back(kubectl: Kubectl) -> None:
    """The commands of docs/revisions.md."""
    text = (ROOT / "docs" / "revisions.md").read_text(encoding="utf-8")
    listed, compared, back = re.findall(r"```bash\n(.*?)\n```", text, re.DOTALL)
    listed, back = listed.replace("NAME", NAME), back.replace("NAME", NAME)

    def history() -> list[str]:
        return kubectl.prints(f"{listed} -o jsonpath='{{.items[*].metadata.name}}'").split()

    def serves(count: str) -> None:
        kubectl.prints(
            f"kubectl wait --for=jsonpath={{.metadata.generation}}={count} sts/{NAME} --timeout=30s"
        )
        kubectl.prints(f"kubectl wait --for=condition=WorkspaceReady wk/{NAME} --timeout=100s")

    (first,) = history()
    head, row = kubectl.prints(listed).splitlines()
    assert head.split() == ["NAME", "CONTROLLER", "REVISION", "AGE"]
    assert row.split()[:3] == [first, f"workspace.kaito.sh/{NAME}", "1"]
    adapter = '[{"source": {"name": "style", "image": "registry.test/style:1"}}]'
    added = f'{{"inference": {{"adapters": {adapter}}}}}'
    kubectl.prints(f"kubectl patch wk {NAME} --type=merge -p '{added}'")
    serves("2")
    assert history()[0] == first
    (second,) = history()[1:]
    done = kubectl.run(compared.replace("OLD", first).replace("NEW", second))
    assert ">     adapters:" in done.stdout
    kubectl.prints(back.replace("OLD", first))
    serves("3")
    assert history()[:-1] == [second]
    assert kubectl.prints(listed).splitlines()[-1].split()[2] == "3"
    assert "adapters" not in kubectl.prints(f"kubectl get wk {NAME} -o yaml")


def test_what_the_operator_owns_it_puts_back(kubectl: Kubectl) -> None:
    kubectl.prints(f"kubectl scale sts {NAME} --replicas=2")
    kubectl.prints(f"kubectl wait --for=jsonpath={{.spec.replicas}}=1 sts/{NAME} --timeout=30s")
    kubectl.prints(f"kubectl rollout restart sts {NAME}")
    done = kubectl.prints(f"kubectl rollout status sts {NAME} --timeout=100s")
    assert "roll out complete" in done
    assert "REVISION" in kubectl.prints(f"kubectl rollout history sts {NAME}")
    kubectl.prints(f"kubectl wait --for=condition=WorkspaceReady wk/{NAME} --timeout=100s")


def test_what_the_twin_cannot_do_it_says(kubectl: Kubectl) -> None:
    for line in (f"exec {POD} -- ls", f"attach {POD}", f"port-forward svc/{NAME} 8080:80"):
        complaint = kubectl.refused(f"kubectl {line}")
        assert "the twin runs no containers" in complaint
        assert f"`kubectl get service {NAME} -n default`" in complaint
    assert "Metrics API not available" in kubectl.refused("kubectl top nodes")
    assert "ephemeral containers are disabled" in kubectl.refused(
        f"kubectl debug {POD} --image=busybox"
    )
    assert 'resource type "deployments"' in kubectl.refused("kubectl get deployments")


def test_what_is_malformed_is_named(kubectl: Kubectl) -> None:
    def refused(spec: str) -> str:
        body = f'{{"apiVersion": "v1", "kind": "Pod", "metadata": {{"name": "x"}}, "spec": {spec}}}'
        return kubectl.refused(f"echo '{body}' | kubectl apply -f -")

    assert "Go struct field PodSpec.spec.containers of type []v1.Container" in refused(
        '{"containers": {"name": "a"}}'
    )
    misspelt = '{"containers": [{"name": "a", "image": "b", "imagge": "c"}]}'
    assert 'strict decoding error: unknown field "spec.containers[0].imagge"' in refused(misspelt)


def test_create_without_a_manifest(kubectl: Kubectl) -> None:
    note = '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "note-"}}'
    for _ in range(2):
        kubectl.prints(f"echo '{note}' | kubectl create -f -")
    assert kubectl.prints("kubectl get cm -o name").count("configmap/note-") == 2
    kubectl.prints("kubectl create service clusterip plain --tcp=80:http")
    kubectl.prints("kubectl create job once --image=busybox -- echo hi")
    image = "{.spec.template.spec.containers[0].image}"
    assert kubectl.prints(f"kubectl get job once -o jsonpath={image}") == "busybox"
    kubectl.prints("kubectl create namespace elsewhere && kubectl create sa bot -n elsewhere")
    kubectl.prints("kubectl delete namespace elsewhere --timeout=30s")
    kubectl.prints("kubectl delete job,svc once plain --ignore-not-found --cascade=foreground")
    named = '"metadata": {"name": "s"}, "stringData": {"a": "b"}'
    secret = f'{{"apiVersion": "v1", "kind": "Secret", {named}}}'
    kubectl.prints(f"echo '{secret}' | kubectl apply --server-side -f -")
    shown = kubectl.prints("kubectl get secret s -o json --show-managed-fields")
    assert json.loads(shown)["metadata"]["managedFields"][0]["operation"] == "Apply"


def test_what_the_server_is(kubectl: Kubectl) -> None:
    assert kubectl.prints("kubectl auth can-i '*' '*'").strip() == "yes"
    assert "kaito-twin-admin" in kubectl.prints("kubectl auth whoami")
    assert "control plane is running at https://127.0.0.1" in kubectl.prints("kubectl cluster-info")
    version = kubectl.run("kubectl version")
    assert "Server Version: v1.36.0+kaito-twin" in version.stdout
    assert version.stderr == "", "no warning of a version skew"
    kinds = kubectl.prints("kubectl api-resources -o name").split()
    assert {"workspaces.kaito.sh", "nodeclaims.karpenter.sh", "pods"} <= set(kinds)
    assert "kaito.sh/v1alpha1" in kubectl.prints("kubectl api-versions")
    assert kubectl.prints("kubectl get --raw /readyz") == "ok"


def test_events_and_logs(kubectl: Kubectl) -> None:
    told = kubectl.prints(f"kubectl events --for workspace/{NAME} --types=Warning")
    assert "OldGpu" in told
    line = f"kubectl logs statefulset/{NAME} --tail=1 --timestamps"
    assert re.fullmatch(r"\S+Z INFO the server is ready on port 5000\n", kubectl.prints(line))
    assert "previous terminated container" in kubectl.refused(f"kubectl logs {POD} --previous")


def test_what_is_orphaned_stays(kubectl: Kubectl) -> None:
    """Last in this module: it takes the Workspace away, and its machine with it."""
    kubectl.prints(f"kubectl delete wk {NAME} --cascade=orphan --timeout=60s")
    kubectl.prints("kubectl wait --for=delete nodeclaims --all --timeout=60s")
    assert NAME in kubectl.prints("kubectl get sts,svc -o name")
    kubectl.prints("kubectl delete sts,svc --all --timeout=60s")
