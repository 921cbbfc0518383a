"""A Node as AKS has it."""

from typing import Any

from kaito.adapters.fake.aks_node import address_of, aks_node, internal_address
from kaito.adapters.fake.kubernetes_version import VERSION
from kaito.adapters.files import load_catalogue
from kaito.domain import labels

GIB = 1 << 30


def node(**more: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "aks-one-vmss000000",
        "pool": "one",
        "given_labels": {"apps": "phi-3"},
        "annotations": {"a": "b"},
        "instance_type": load_catalogue().instance_type("Standard_NC6s_v3"),
        "disk_bytes": 100 * GIB,
        "zone": "eastus-2",
        "region": "eastus",
        "provider_id": "azure:///one",
        "address": "10.224.0.4",
        "now_s": 1_767_225_600.0,
    }
    return aks_node(**(values | more))


def test_what_its_kubelet_says() -> None:
    status = node()["status"]
    assert status["nodeInfo"]["kubeletVersion"] == f"v{VERSION}"
    assert [one["type"] for one in status["conditions"]] == [
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "Ready",
    ]
    assert status["conditions"][0]["message"] == "kubelet has sufficient memory available"
    assert {one["reason"] for one in status["conditions"]} >= {"KubeletReady"}
    assert address_of(node()) == "10.224.0.4"
    assert status["capacity"]["ephemeral-storage"] == f"{100 << 20}Ki"
    assert int(status["allocatable"]["ephemeral-storage"]) == 90 * GIB
    assert labels.GPU_RESOURCE not in status["capacity"], "the driver is not there yet"


def test_a_machine_is_known_by_its_provider_id() -> None:
    first, again, other = node(), node(now_s=2e9), node(provider_id="azure:///two")
    info = [one["status"]["nodeInfo"] for one in (first, again, other)]
    assert info[0]["systemUUID"] == info[1]["systemUUID"] != info[2]["systemUUID"]
    assert info[0]["bootID"] != info[1]["bootID"]


def test_labels_of_aks_win_over_those_given() -> None:
    found = node(given_labels={labels.ZONE: "mars", "apps": "phi-3"})["metadata"]["labels"]
    assert (found[labels.ZONE], found["topology.kubernetes.io/region"]) == ("eastus-2", "eastus")
    assert found["apps"] == "phi-3"
    assert found[labels.AZURE_AGENT_POOL] == found["agentpool"] == "one"


def test_addresses_are_of_the_subnet() -> None:
    assert [internal_address(number) for number in (0, 251, 252)] == [
        "10.224.0.4",
        "10.224.0.255",
        "10.224.1.0",
    ]
    assert internal_address(65_530) == "10.224.255.254"
    assert internal_address(65_531) == "10.224.0.4"


def test_a_node_without_addresses_has_none() -> None:
    assert address_of({"metadata": {"name": "a"}}) == ""
