"""`sim serve --arm-port`: the real Azure SDK orders machines, with the access that is printed."""

import re
import signal
import subprocess
import sys
from pathlib import Path

from azure.identity import WorkloadIdentityCredential
from azure.mgmt.containerservice import ContainerServiceClient

from tests.e2e.twin import ROOT, START_LIMIT_S

SIZE = "Standard_NC24ads_A100_v4"


def test_a_pool_is_ordered_with_what_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "kubeconfig"
    command = [sys.executable, "-m", "sim", "serve", "--kubeconfig", str(file), "--speed", "600"]
    process = subprocess.Popen(
        [*command, "--no-operator", "--arm-port", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        url, environment = _printed(process)
        token_file = Path(environment["AZURE_FEDERATED_TOKEN_FILE"])
        assert token_file.stat().st_mode & 0o777 == 0o600
        authority = environment["REQUESTS_CA_BUNDLE"]
        credential = WorkloadIdentityCredential(
            authority=environment["AZURE_AUTHORITY_HOST"],
            tenant_id=environment["AZURE_TENANT_ID"],
            client_id=environment["AZURE_CLIENT_ID"],
            token_file_path=str(token_file),
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
        asked = {"properties": {"count": 1, "vmSize": SIZE}}
        with client, credential:
            made = client.agent_pools.begin_create_or_update(group, cluster, "ws1", asked).result()
        assert made.properties.provisioning_state == "Succeeded"
    finally:
        process.send_signal(signal.SIGINT)
        _out, err = process.communicate(timeout=START_LIMIT_S)
    assert (process.returncode, err) == (0, "")
    assert not token_file.parent.exists()


def _printed(process: subprocess.Popen[str]) -> tuple[str, dict[str, str]]:
    """The address of Azure and the environment for it."""
    assert process.stdout is not None
    url, environment = "", {}
    for line in process.stdout:
        found = re.search(r"Azure Resource Manager at (\S+)\. ", line)
        url = found[1] if found else url
        exported = re.fullmatch(r"  export (\w+)=(\S+)\n", line)
        if exported and url:
            environment[exported[1]] = exported[2]
        if "REQUESTS_CA_BUNDLE" in environment:
            return url, environment
    raise AssertionError("sim serve says nothing of Azure")
