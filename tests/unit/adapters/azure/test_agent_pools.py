"""Machines as agent pools, both ways."""

import re
from typing import Any

import pytest
from azure.mgmt.containerservice.models import AgentPool
from hypothesis import given
from hypothesis import strategies as st

from kaito.adapters.azure.agent_pools import (
    shared_subnet,
    to_agent_pool,
    to_machine,
    with_node,
    zone_for,
)
from kaito.adapters.azure.errors import AzureErrors
from kaito.adapters.azure.redaction import Redactor
from kaito.adapters.azure.settings import AzureSettings
from kaito.domain import labels, names
from kaito.domain.errors import Rejected
from kaito.domain.machine import CloudMachine, CloudState, MachineOrder, NodeView, Shortage
from tests.unit.adapters.azure.arm_stub import GIB, NOW_S, Json, node, order, settings, spot

OURS = {"kaito.sh_workspace-uid": "uid-1", "kaito.sh_nodeclaim": "wsclaim"}
ZONES = ("1", "2", "3")


def made(wanted: MachineOrder, **changes: Any) -> Json:
    pool = to_agent_pool(wanted, settings(**changes), now_s=NOW_S).as_dict()
    properties: Json = pool["properties"]
    return properties


def read(
    node: NodeView | None = None, given: AzureSettings | None = None, **properties: Any
) -> CloudMachine | None:
    body = {"name": "ws1", "properties": {"tags": OURS, "vmSize": "Standard_X"} | properties}
    errors = AzureErrors(Redactor(()), now_s=lambda: NOW_S, on_unmapped=lambda *_: None)
    wanted = given or settings()
    machine = to_machine(AgentPool(body), settings=wanted, errors=errors, now_s=NOW_S)
    return machine if machine is None or node is None else with_node(machine, node)


def listed(*given: Any, **properties: Any) -> CloudMachine:
    machine = read(*given, **properties)
    assert machine is not None
    return machine


def failed(code: str, given: AzureSettings | None = None, **more: Any) -> CloudMachine:
    status = {
        "provisioningError": {
            "code": "ReconcileVMSSAgentPoolFailed",
            "message": "failed",
            "details": [{"code": code, "message": "the reason"}],
        }
    }
    return listed(None, given, provisioningState="Failed", status=status, **more)


def test_what_is_ordered() -> None:
    assert made(order()) == {
        "count": 1,
        "type": "VirtualMachineScaleSets",
        "mode": "User",
        "vmSize": "Standard_NC24ads_A100_v4",
        "osType": "Linux",
        "osSKU": "Ubuntu",
        "osDiskSizeGB": 87,
        "nodeLabels": {
            "apps": "phi",
            "kaito.sh/workspace-uid": "uid-1",
            "kaito.sh/slot": "0",
            "kaito.sh/nodeclaim": "wsclaim",
            "kaito.sh/machine-type": "gpu",
            "kaito.sh/creation-timestamp": "2026-01-01T00-00-00Z",
        },
        "nodeTaints": ["sku=gpu:NoSchedule"],
        "tags": {
            "kaito.sh_workspace-uid": "uid-1",
            "kaito.sh_workspace-namespace": "default",
            "kaito.sh_workspace": "phi",
            "kaito.sh_nodeclaim": "wsclaim",
            "kaito.sh_cluster": "cluster",
            "kaito.sh_created-at": "2026-01-01T00:00:00Z",
        },
    }


def test_tag_names_are_azure_s() -> None:
    for key, value in made(order())["tags"].items():
        assert not re.search(r"[<>%&\\?/]", key)
        assert len(value) <= 256


@pytest.mark.parametrize(("limit", "price"), [(None, -1.0), (2.5, 2.5)])
def test_a_spot_machine(limit: float | None, price: float) -> None:
    pool = made(spot(), spot_max_price_usd=limit)
    assert pool["scaleSetPriority"] == "Spot"
    assert pool["scaleSetEvictionPolicy"] == "Delete"
    assert pool["spotMaxPrice"] == price


SUBNETS = (
    "/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/net/providers"
    "/Microsoft.Network/virtualNetworks/vnet/subnets"
)


def test_a_machine_is_in_the_subnet_of_all_others() -> None:
    def pools(*subnets: str) -> list[AgentPool]:
        return [AgentPool({"properties": {"vnetSubnetID": one}} if one else {}) for one in subnets]

    assert shared_subnet(pools()) == ""
    assert shared_subnet(pools("", "")) == ""
    assert shared_subnet(pools("a", "b")) == ""
    assert shared_subnet(pools("a", "")) == ""
    assert shared_subnet(pools("a", "a")) == "a"
    assert "vnetSubnetID" not in made(order())


def test_the_subnet_of_the_settings_comes_first() -> None:
    own = f"{SUBNETS}/own"
    chosen = to_agent_pool(order(), settings(), now_s=0.0, subnet="theirs")
    assert chosen.vnet_subnet_id == "theirs"
    chosen = to_agent_pool(order(), settings(subnet_id=own), now_s=0.0, subnet="theirs")
    assert chosen.vnet_subnet_id == own


@pytest.mark.parametrize(
    ("family", "expected"),
    [("AzureLinux", "AzureLinux"), ("azurelinux", "AzureLinux"), ("UBUNTU", "Ubuntu")],
)
def test_image_families(family: str, expected: str) -> None:
    assert made(order(image_family=family))["osSKU"] == expected


def test_the_disk_holds_what_was_asked_for() -> None:
    assert made(order(disk_bytes=87 * GIB + 1))["osDiskSizeGB"] == 88
    assert "osDiskSizeGB" not in made(order(disk_bytes=0))


@pytest.mark.parametrize(
    "key",
    [
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "kubernetes.azure.com/mode",
        "topology.kubernetes.io/zone",
        "x.k8s.io/y",
    ],
)
def test_labels_that_aks_does_not_let_us_set(key: str) -> None:
    assert key not in made(order(labels={key: "x", "mine/x": "y"}))["nodeLabels"]
    assert made(order(labels={key: "x", "mine/x": "y"}))["nodeLabels"]["mine/x"] == "y"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "has-a-dash"},
        {"name": "morethantwelve"},
        {"name": "1digit"},
        {"name": ""},
        {"image_family": "Windows"},
        {"zone": "westus-1"},
        {"zone": "eastus-x"},
    ],
)
def test_what_azure_cannot_make(changes: Json) -> None:
    with pytest.raises(Rejected):
        made(order(**changes))


@given(st.text(min_size=1), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_name_of_a_machine_is_one_of_a_pool(uid: str, slot: int, attempt: int) -> None:
    name = names.machine_name(uid, slot, attempt)
    assert re.fullmatch(r"[a-z][a-z0-9]{0,11}", name)
    made(order(name))


@given(st.integers(0, 10**6))
def test_a_machine_keeps_its_zone(slot: int) -> None:
    wanted = order(names.machine_name("uid", slot, 0))
    zone = zone_for(wanted, settings(zones=ZONES))
    assert zone in ZONES
    assert made(wanted, zones=ZONES)["availabilityZones"] == [zone]


def test_machines_are_spread_over_the_zones() -> None:
    found = {
        zone_for(order(names.machine_name("uid", slot, 0)), settings(zones=ZONES))
        for slot in range(40)
    }
    assert found == set(ZONES)
    assert "availabilityZones" not in made(order())
    assert made(order(zone="eastus-2"), zones=ZONES)["availabilityZones"] == ["2"]


@given(
    st.text(min_size=1, max_size=20),
    st.sampled_from(["", "eastus-1"]),
    st.booleans(),
    st.integers(0, 2 * 10**9),
)
def test_what_is_ordered_is_read_back(uid: str, zone: str, is_spot: bool, now_s: int) -> None:
    name = names.machine_name(uid, 0, 1)
    wanted = spot(name) if is_spot else order(name, zone=zone)
    body = to_agent_pool(wanted, settings(), now_s=now_s).as_dict()
    body["properties"]["provisioningState"] = "Creating"
    errors = AzureErrors(Redactor(()), now_s=lambda: NOW_S)
    pool = AgentPool({"name": name, **body})
    machine = to_machine(pool, settings=settings(), errors=errors, now_s=NOW_S)
    assert machine == CloudMachine(
        name=name,
        claim_name=wanted.claim_name,
        owner_uid=wanted.owner.uid,
        instance_type=wanted.instance_type,
        zone=wanted.zone,
        state=CloudState.CREATING,
        provider_id="",
        created_at_s=float(now_s),
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Creating", CloudState.CREATING),
        ("Succeeded", CloudState.RUNNING),
        ("Updating", CloudState.RUNNING),
        ("Upgrading", CloudState.RUNNING),
        ("UpgradingNodeImageVersion", CloudState.RUNNING),
        ("Scaling", CloudState.RUNNING),
        ("Starting", CloudState.RUNNING),
        ("Deleting", CloudState.DELETING),
        ("Failed", CloudState.FAILED),
        ("Canceled", CloudState.FAILED),
    ],
)
def test_states(said: str, expected: CloudState) -> None:
    assert listed(provisioningState=said).state is expected
    assert listed(provisioningState=said.upper()).state is expected


def test_a_pool_that_was_stopped_has_not_failed() -> None:
    for said in ("Failed", "Succeeded", "Canceled"):
        machine = listed(provisioningState=said, powerState={"code": "Stopped"})
        assert machine.state is CloudState.STOPPED


def test_a_pool_that_failed_to_change_works_while_its_node_does() -> None:
    assert listed(node("ws1"), provisioningState="Failed").state is CloudState.RUNNING
    starting = listed(node("ws1", ready=False), provisioningState="Failed")
    assert starting.state is CloudState.RUNNING, "time-outs are for the planner to judge"
    broken = listed(provisioningState="Failed")
    assert broken.state is CloudState.FAILED
    assert broken.error == "provisioning ended as Failed"


@pytest.mark.parametrize(
    ("code", "shortage", "zones"),
    [
        ("ZonalAllocationFailed", Shortage.CAPACITY, ("eastus-1", "eastus-3")),
        ("AllocationFailed", Shortage.CAPACITY, ()),
        ("QuotaExceeded", Shortage.QUOTA, ()),
        ("VMExtensionProvisioningError", None, ()),
        ("VMExtensionError_CniDownloadTimeout", None, ()),
        ("NeverHeardOf", None, ()),
    ],
)
def test_why_a_pool_failed(code: str, shortage: Shortage | None, zones: tuple[str, ...]) -> None:
    machine = failed(code, settings(zones=ZONES), availabilityZones=["2"])
    assert machine.state is CloudState.FAILED
    assert (machine.shortage, machine.other_zones) == (shortage, zones)
    assert machine.error.startswith(f"{code}: the reason")


def test_where_it_is() -> None:
    assert listed(availabilityZones=["2"]).zone == "eastus-2"
    assert listed(availabilityZones=["1", "2"]).zone == ""
    assert listed().zone == ""
    assert listed(node("ws1", zone="eastus-3"), availabilityZones=["1", "3"]).zone == "eastus-3"
    assert listed(node("ws1", zone=""), availabilityZones=["1"]).zone == "eastus-1"


V012 = {labels.NODE_POOL: "kaito", "kaito.sh/workspace": "phi"}


@pytest.mark.parametrize(
    ("tags", "found", "expected"),
    [
        (OURS, {}, ("uid-1", "wsclaim")),
        (None, V012, ("", "ws1")),
        ({"cost": "x"}, {labels.NODE_POOL: "kaito", "kaito.sh/ragengine": "r"}, ("", "ws1")),
        (
            None,  # a policy took kaito's tags off
            {**V012, labels.WORKSPACE_UID: "u", labels.SLOT: "1"},
            ("u", names.machine_name("u", 1, 0)),
        ),
        (
            {"cost": "x"},  # an update of tags replaces them all
            {**V012, labels.WORKSPACE_UID: "u", labels.SLOT: "1", "kaito.sh/nodeclaim": "wsold"},
            ("u", "wsold"),
        ),
        (None, {"kaito.sh/workspace": "phi"}, None),
        (None, {labels.NODE_POOL: "kaito"}, None),
        (None, {labels.NODE_POOL: "other", "kaito.sh/workspace": "phi"}, None),
        ({"kaito.sh_workspace-uid": "u"}, {}, None),
        (None, None, None),
    ],
)
def test_whose_it_is(tags: Any, found: Any, expected: tuple[str, str] | None) -> None:
    machine = read(tags=tags, nodeLabels=found)
    assert (machine and (machine.owner_uid, machine.claim_name)) == expected


@pytest.mark.parametrize(
    ("tag", "label", "made_at", "expected"),
    [
        ("2026-01-01T00:00:07Z", "2025-01-01T00-00-00Z", "", NOW_S + 7),
        ("soon", "2026-01-01T00-00-09Z", "", NOW_S + 9),
        ("", "soon", "2026-01-01T00:00:11Z", NOW_S + 11),
        ("", "", "", NOW_S),
    ],
)
def test_when_it_was_ordered(tag: str, label: str, made_at: str, expected: float) -> None:
    tags = OURS | {"kaito.sh_created-at": tag}
    body: Json = {
        "name": "ws1",
        "properties": {"tags": tags, "nodeLabels": {"kaito.sh/creation-timestamp": label}},
    }
    if made_at:
        body["systemData"] = {"createdAt": made_at}
    errors = AzureErrors(Redactor(()), now_s=lambda: NOW_S)
    machine = to_machine(AgentPool(body), settings=settings(), errors=errors, now_s=NOW_S)
    assert machine is not None
    assert machine.created_at_s == expected
