"""`sim serve` and `sim attach` with `--arm-port`: the real Azure SDK orders machines with what is
printed."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azure.identity import WorkloadIdentityCredential
from azure.mgmt.containerservice import ContainerServiceClient

from tests.e2e.twin import ROOT, START_LIMIT_S, pinned, serving

SIZE = "Standard_NC24ads_A100_v4"


@contextmanager
def azure(*arguments: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of Azure and the environment for it, of a `sim` that ends without complaint."""
    process = subprocess.Popen(
        [sys.executable, "-m", "sim", *arguments, "--speed", "600", "--arm-port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url, environment = _printed(process)
        token_file = Path(environment["AZURE_FEDERATED_TOKEN_FILE"])
        assert token_file.stat().st_mode & 0o777 == 0o600
        yield url, environment
    finally:
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=START_LIMIT_S)
    assert (process.returncode, err) == (0, "")
    assert not token_file.parent.exists()


def ordered(url: str, environment: dict[str, str]) -> Any:
    """A new pool, once it is made."""
    authority = environment["REQUESTS_CA_BUNDLE"]
    credential = WorkloadIdentityCredential(
        authority=environment["AZURE_AUTHORITY_HOST"],
        tenant_id=environment["AZURE_TENANT_ID"],
        client_id=environment["AZURE_CLIENT_ID"],
        token_file_path=environment["AZURE_FEDERATED_TOKEN_FILE"],
        disable_instance_discovery=True,
        connection_verify=authority,
    )
    client = ContainerServiceClient(
        credential,
        environment["AZURE_SUBSCRIPTION_ID"],
        base_url=url,
        credential_scopes=[f"{url}/.default"],
        connection_verify=authority,
    )
    group, cluster = environment["AZURE_RESOURCE_GROUP"], environment["AZURE_CLUSTER_NAME"]
    asked = {"properties": {"count": 1, "vmSize": SIZE, "nodeLabels": {"apps": "phi"}}}
    with client, credential:
        return client.agent_pools.begin_create_or_update(group, cluster, "ws1", asked).result()


def test_served_beside_the_kubernetes_api(tmp_path: Path) -> None:
    file = str(tmp_path / "kubeconfig")
    with azure("serve", "--kubeconfig", file, "--no-operator") as (url, environment):
        assert ordered(url, environment).properties.provisioning_state == "Succeeded"


def test_attached_to_a_cluster(tmp_path: Path) -> None:
    """The Node is one of that cluster's."""
    options = ("--no-operator", "--speed", "600")
    with serving(tmp_path, *options) as kubeconfig:
        kubectl = pinned(kubeconfig, tmp_path)
        with azure("attach", "--kubeconfig", str(kubeconfig), "--no-machines", "--quiet") as given:
            assert ordered(*given).properties.provisioning_state == "Succeeded"
            until_s = time.monotonic() + START_LIMIT_S
            while not (named := kubectl.prints("kubectl get nodes -l apps=phi -o name")):
                assert time.monotonic() < until_s, "the pool has no Node"
                time.sleep(0.1)
        assert re.fullmatch(r"node/aks-ws1-\d{8}-vmss000000\n", named)


def _printed(process: subprocess.Popen[str]) -> tuple[str, dict[str, str]]:
    assert process.stdout is not None
    url, environment = "", {}
    for line in process.stdout:
        found = re.search(r"Azure Resource Manager at (\S+)\. ", line)
        url = found[1] if found else url
        exported = re.fullmatch(r"  export (\w+)=(\S+)\n", line)
        if exported and url:
            environment[exported[1]] = exported[2]
        if "KAITO_AZURE_CA_FILE" in environment:
            return url, environment
    raise AssertionError("nothing is said of Azure")
