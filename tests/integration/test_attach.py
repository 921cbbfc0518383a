"""`python -m sim attach`: the twin's machines on a real cluster."""

import json
import re
from collections.abc import Iterator

import pytest

from tests.integration.conftest import missing_backend
from tests.integration.control_plane import find_binaries
from tests.integration.installation import (
    MISSING_WORKLOADS,
    ROOT,
    Installation,
    eventually,
    succeeded,
    workspace,
)

READY_LIMIT_S = 120.0
NAME = "phi-3"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    binaries = find_binaries()
    if binaries is None or not binaries.run_workloads:
        missing_backend(MISSING_WORKLOADS)
    directory = tmp_path_factory.mktemp("attach")
    installed = Installation.on(binaries, directory)
    try:
        yield installed
    finally:
        installed.close()


def test_machines_and_pods_are_played(cluster: Installation) -> None:
    cluster.operator()
    attached = cluster.attach()
    cluster.apply(workspace(NAME))
    eventually(lambda: all(map(succeeded, cluster.get("workspaces"))), "READY", READY_LIMIT_S)
    (node,) = cluster.get("nodes")
    (lease,) = cluster.get("leases", "-n", "kube-node-lease")
    assert lease["spec"]["holderIdentity"] == node["metadata"]["name"]
    assert "node provision took" in attached.printed()


def test_what_runs_on_it_is_taken_up_after_a_crash(cluster: Installation) -> None:
    attached = next(each for each in cluster.running if each.name == "attach")
    (before,) = cluster.get("nodes")
    attached.kill()
    again = cluster.attach()
    assert "Machines taken up again: 1" in again.printed()
    eventually(lambda: all(map(succeeded, cluster.get("workspaces"))), "READY", READY_LIMIT_S)
    (after,) = cluster.get("nodes")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert len(cluster.get("nodeclaims")) == 1
    assert again.stop() == 0
    told = again.printed().splitlines()
    assert told[-1].strip() == f"kubectl delete node {after['metadata']['name']}"


def test_nodes_and_pods_of_others_are_left_alone(cluster: Installation) -> None:
    theirs = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "theirs"}}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(theirs))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "theirs", "namespace": "default"},
        "spec": {"nodeName": "theirs", "containers": [{"name": "x", "image": "registry.test/x:1"}]},
    }
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod))
    attached = cluster.attach()
    cluster.kubectl("delete", "workspace", NAME, "--timeout=60s")
    eventually(lambda: len(cluster.get("nodes")) == 1, "the machine is given back")
    (node,) = cluster.get("nodes")
    eventually(lambda: len(cluster.get("pods")) == 1, "its pod is collected")
    (stays,) = cluster.get("pods")
    assert node["metadata"]["name"] == "theirs"
    assert "conditions" not in node["status"]
    assert stays["status"]["phase"] == "Pending"
    assert "containerStatuses" not in stays["status"]
    assert attached.stop() == 0


def test_its_azure_serves_an_operator_on_aks_as_a_scenario_has_it(cluster: Installation) -> None:
    """What it prints is all that the operator needs; the quota is raised after a while."""
    for running in cluster.running:  # the operator that leaves NodeClaims to the twin
        if running.process.poll() is None:
            running.stop()
    others = cluster.get("nodes")
    rights = ROOT / "deploy" / "components" / "machines" / "rbac.yaml"
    cluster.kubectl("apply", "-f", str(rights))
    scenario = cluster.directory / "quota.yaml"
    scenario.write_text(
        "cloud: {quota: {NVads_A10_v5: 0}}\n"
        "timeline: [{at: 2h, cloud: {quota: {NVads_A10_v5: 36}}}]\n"  # in 12 s
    )
    attached = cluster.attach(str(scenario), "--arm-port", "0", "--no-machines")
    eventually(lambda: "KAITO_AZURE_CA_FILE" in attached.printed(), "Azure is served")
    exported = dict(re.findall(r"^  export (\w+)=(\S+)$", attached.printed(), re.MULTILINE))
    operator = cluster.operator("--provisioner", "aks", environment=exported)
    cluster.apply(workspace(NAME))
    eventually(lambda: "QuotaExceeded" in conditions(cluster), "the quota is exceeded", 60)
    eventually(lambda: all(map(succeeded, cluster.get("workspaces"))), "READY", READY_LIMIT_S)
    (claim,) = cluster.get("nodeclaims")
    assert claim["metadata"]["annotations"]["kaito.sh/attempt"] == "1"
    cluster.kubectl("delete", "workspace", NAME, "--timeout=120s")
    eventually(lambda: len(cluster.get("nodes")) == len(others), "the machine is given back")
    assert cluster.get("nodeclaims") == []
    assert operator.stop() == 0
    assert attached.stop() == 0


def conditions(cluster: Installation) -> set[str]:
    """The reasons of the conditions of every NodeClaim."""
    found = (claim.get("status") or {} for claim in cluster.get("nodeclaims"))
    return {each["reason"] for status in found for each in status.get("conditions") or ()}


def test_without_a_cluster_it_says_so(cluster: Installation) -> None:
    nowhere = cluster.directory / "nowhere.kubeconfig"
    command = [cluster.python, "-m", "sim", "attach", "--kubeconfig"]
    running = cluster.start("attach-nowhere", *command, nowhere)
    assert running.process.wait(30) == 2
    assert "no cluster is configured" in running.printed()
    access = json.loads(cluster.plane.kubeconfig.read_text())
    access["users"][0]["user"] = {"token": "wrong"}
    nowhere.write_text(json.dumps(access))
    running = cluster.start("attach-refused", *command, nowhere)
    assert running.process.wait(30) == 1
    assert "Unauthorized" in running.printed()
    assert "Traceback" not in running.printed()
