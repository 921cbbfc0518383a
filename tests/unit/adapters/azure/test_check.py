"""`kaito azure check` on documents of Azure, one thing changed at a time."""

import itertools
import shlex
from collections.abc import Sequence
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError

from kaito.adapters.azure.check import Azure, AzureCheck
from kaito.adapters.azure.check_machines import Wish
from kaito.adapters.azure.findings import Finding, Status, is_complete
from kaito.adapters.azure.market import AzureMarket
from kaito.adapters.azure.settings import CredentialKind
from kaito.adapters.files import load_catalogue
from kaito.adapters.kube_api import KubeApi
from kaito.domain.machine import CapacityType
from tests.unit.adapters.azure.arm_documents import (
    FAMILY,
    PRICES,
    SIZE,
    DocumentArm,
    cluster,
    documents,
    errors,
    price_reader,
    reader,
    sku,
    usage,
)
from tests.unit.adapters.azure.arm_stub import (
    CLIENT,
    NOW_S,
    SUBSCRIPTION,
    TOKEN,
    Answer,
    client_of,
    error,
    settings,
)

DENIED = Answer(
    403,
    error(
        "AuthorizationFailed",
        f"The client '{CLIENT}' has no authorization over '/subscriptions/{SUBSCRIPTION}'",
    ),
)
SPOT, ON_DEMAND = CapacityType.SPOT, CapacityType.ON_DEMAND
CATALOGUE = load_catalogue()
ONE = Wish(instance_type=SIZE)


def check(
    changes: dict[str, Any] | None = None,
    wishes: Sequence[Wish] = (ONE,),
    *,
    credential: CredentialKind = CredentialKind.WORKLOAD_IDENTITY,
    api: KubeApi | None = None,
    sign_in: Exception | None = None,
    **options: Any,
) -> list[Finding]:
    arm = DocumentArm(documents() | (changes or {}))
    wanted = settings(**options)

    def signing_in() -> None:
        if sign_in is not None:
            raise sign_in

    azure = Azure(
        client=client_of(arm, wanted),
        reader=reader(arm),
        market=AzureMarket(
            wanted,
            CATALOGUE,
            arm=reader(arm),
            prices=price_reader(arm),
            now_s=lambda: NOW_S,
            steady_s=itertools.count().__next__,
        ),
        errors=errors(),
        sign_in=signing_in,
    )
    found = list(AzureCheck(wanted, azure, credential=credential, api=api).findings(wishes))
    assert all(
        str(request.url).startswith((PRICES, "https://management.azure.com/"))
        for request in arm.requests
    )
    assert {request.method for request in arm.requests} <= {"GET"}, "nothing is changed"
    for each in found:
        told = str(each.document())
        assert not any(secret in told for secret in (SUBSCRIPTION, CLIENT, TOKEN)), told
        if each.remedy.startswith(("az ", "kubectl ")):
            assert shlex.split(each.remedy)
    return found


def bad(found: Sequence[Finding]) -> list[tuple[str, str, str]]:
    """Area, subject and status of what is neither fine nor unknown for want of a kubeconfig."""
    return [
        (each.area.value, each.subject, each.status.value)
        for each in found
        if each.status is not Status.OK and each.area.value not in {"gpu", "kubernetes"}
    ]


def one(found: Sequence[Finding], subject: str, *, area: str = "") -> Finding:
    (each,) = (one for one in found if one.subject == subject and area in ("", one.area.value))
    return each


def test_nothing_is_missing() -> None:
    found = check()
    assert bad(found) == []
    assert is_complete(found)
    assert one(found, SIZE, area="price").message == "3.67 on demand, 0.73 as spot, per hour in USD"
    assert one(found, SIZE, area="price").source == "Azure's retail prices, of 2025-06-01"
    assert one(found, SIZE, area="instance type").message == "is sold in eastus, zones 1, 2, 3"


def test_no_token_means_no_more_questions() -> None:
    refused = ClientAuthenticationError(f"AADSTS700213: no federated record for {CLIENT}")
    found = check(sign_in=refused)
    assert bad(found) == [("credential", "workload-identity", "missing")]
    assert not is_complete(found)
    assert "AADSTS700213" in found[0].message


def test_whose_permissions_they_are() -> None:
    found = check(credential=CredentialKind.CLI)
    assert "those of your own user" in found[0].message


@pytest.mark.parametrize(
    ("properties", "subject", "status", "remedy"),
    [
        ({"powerState": {"code": "Stopped"}}, "state", "missing", "az aks start"),
        ({"provisioningState": "Upgrading"}, "state", "warning", "az aks show"),
        ({"provisioningState": "Failed"}, "state", "warning", "az aks update"),
        ({"oidcIssuerProfile": None}, "OIDC issuer", "missing", "--enable-oidc-issuer"),
        (
            {"securityProfile": {"workloadIdentity": {"enabled": False}}},
            "workload identity",
            "missing",
            "--enable-workload-identity",
        ),
        (
            {"nodeProvisioningProfile": {"mode": "Auto"}},
            "node auto-provisioning",
            "missing",
            "--node-provisioning-mode Manual",
        ),
        (
            {"aiToolchainOperatorProfile": {"enabled": True}},
            "AI toolchain operator",
            "missing",
            "--disable-ai-toolchain-operator",
        ),
    ],
)
def test_a_cluster_that_is_not_ready_for_it(
    properties: dict[str, Any], subject: str, status: str, remedy: str
) -> None:
    found = check({"/managedClusters/cluster": cluster(**properties)})
    assert bad(found) == [("cluster", subject, status)]
    assert remedy in one(found, subject).remedy
    assert "--resource-group group --name cluster" in one(found, subject).remedy


def test_workload_identity_is_only_advised_to_others() -> None:
    changes = {"/managedClusters/cluster": cluster(oidcIssuerProfile=None)}
    found = check(changes, credential=CredentialKind.SERVICE_PRINCIPAL)
    assert one(found, "OIDC issuer").status is Status.WARNING


def test_a_cluster_elsewhere() -> None:
    found = check({"/managedClusters/cluster": cluster() | {"location": "West US"}})
    assert bad(found) == [("cluster", "location", "missing")]
    assert "LOCATION) to westus" in one(found, "location").remedy


def test_no_such_cluster() -> None:
    message = "managedClusters/cluster was not found"
    gone = Answer(404, error("ResourceNotFound", message))
    found = check({"/managedClusters/cluster": gone, "/agentPools": gone, "/permissions": gone})
    assert ("cluster", "cluster", "missing") in bad(found)
    assert one(found, "cluster", area="cluster").remedy.startswith("az aks list")


def test_names_that_a_shell_would_read() -> None:
    gone = cluster(oidcIssuerProfile=None)
    found = check({"/managedClusters/cluster": gone}, resource_group="a(b)")
    assert "--resource-group 'a(b)'" in one(found, "OIDC issuer").remedy


def test_a_role_without_an_action() -> None:
    role = {"actions": ["Microsoft.ContainerService/*/read", "Microsoft.Authorization/*/read"]}
    found = check({"/permissions": {"value": [role]}})
    assert [(subject.rpartition("/")[2], status) for _, subject, status in bad(found)] == [
        ("write", "missing"),
        ("delete", "missing"),
    ]
    remedy = one(found, "Microsoft.ContainerService/managedClusters/agentPools/write").remedy
    assert "--role 'kaito machines'" in remedy
    assert '--scope "$(az aks show ' in remedy


def test_reads_that_are_denied_are_told_apart() -> None:
    found = check({"/permissions": DENIED, "/skus": DENIED, "/usages": DENIED})
    assert is_complete(found)
    assert [(subject, status) for _, subject, status in bad(found)] == [
        ("Microsoft.ContainerService/managedClusters/agentPools/write", "not checked"),
        ("Microsoft.ContainerService/managedClusters/agentPools/delete", "not checked"),
        ("Microsoft.ContainerService/managedClusters/read", "not checked"),
        ("Microsoft.Authorization/permissions/read", "not checked"),
        ("Microsoft.Compute/skus/read", "warning"),
        ("Microsoft.Compute/locations/usages/read", "warning"),
        (SIZE, "not checked"),
        (SIZE, "not checked"),
    ]
    remedy = one(found, "Microsoft.Compute/skus/read").remedy
    assert "--role 'kaito market'" in remedy
    assert "/subscriptions/$(az account show" in remedy


def test_pools_that_may_not_be_listed() -> None:
    found = check({"/agentPools": DENIED, "/permissions": DENIED})
    pools = one(found, "Microsoft.ContainerService/managedClusters/agentPools/read")
    assert pools.status is Status.MISSING
    assert one(found, "cluster", area="agent pools").status is Status.NOT_CHECKED


@pytest.mark.parametrize(
    ("there", "limit", "machines", "status"),
    [
        (99, None, 1, "ok"),
        (99, None, 2, "missing"),
        (100, None, 0, "missing"),
        (9, 10, 2, "missing"),
    ],
)
def test_agent_pools_left(there: int, limit: int | None, machines: int, status: str) -> None:
    pools = {"value": [{"name": f"p{number}", "properties": {}} for number in range(there)]}
    wishes = [Wish(instance_type=SIZE, machines=machines)] if machines else []
    changes = {"/agentPools": pools, "/managedClusters/cluster": cluster(maxAgentPools=limit)}
    found = one(check(changes, wishes), "cluster", area="agent pools")
    assert found.status.value == status
    assert found.message.startswith(f"{(limit or 100) - there} of {limit or 100} are left")


def test_pools_in_several_subnets_are_told() -> None:
    pools = [
        {"name": name, "properties": {"vnetSubnetID": f"/subscriptions/x/subnets/{name}"}}
        for name in ("one", "two")
    ]
    found = check({"/agentPools": {"value": pools}})
    assert bad(found) == [("agent pools", "subnet", "warning")]
    assert bad(check({"/agentPools": {"value": pools[:1]}})) == []


def restricted(*zones: str, reason: str = "NotAvailableForSubscription") -> dict[str, Any]:
    info = {"locations": ["eastus"]} | ({"zones": list(zones)} if zones else {})
    kind = "Zone" if zones else "Location"
    return {"type": kind, "reasonCode": reason, "restrictionInfo": info}


@pytest.mark.parametrize(
    ("size", "options", "status", "message"),
    [
        (None, {}, "missing", "is not sold in eastus"),
        (sku(restrictions=[restricted()]), {}, "missing", "NotAvailableForSubscription"),
        (sku(restrictions=[restricted("1", "2", "3")]), {}, "missing", "in any zone of eastus"),
        (sku(restrictions=[restricted("1")]), {}, "ok", "zones 2, 3"),
        (
            sku(restrictions=[restricted("1")]),
            {"zones": ("1", "2")},
            "warning",
            "only in zones 2, 3",
        ),
        (sku(restrictions=[restricted("1")]), {"zones": ("1",)}, "missing", "names none of them"),
        (sku(locationInfo=[]), {}, "ok", "without zones"),
        (sku(locationInfo=[]), {"zones": ("1",)}, "missing", "names none of them"),
    ],
)
def test_sizes(size: Any, options: dict[str, Any], status: str, message: str) -> None:
    changes = {"/skus": {"value": [size] if size else []}}
    first = one(check(changes, **options), SIZE, area="instance type")
    assert (first.status.value, message in first.message) == (status, True), first.message
    fallback = Wish(instance_type=SIZE, fallback=True)
    other = one(check(changes, [fallback], **options), SIZE, area="instance type")
    assert other.status.value == status.replace("missing", "warning")


def test_a_size_that_is_not_sold_as_spot() -> None:
    barred = sku(capabilities=[{"name": "LowPriorityCapable", "value": "False"}])
    wishes = [Wish(instance_type=SIZE, capacity_types=(SPOT,))]
    found = check({"/skus": {"value": [barred]}}, wishes)
    assert one(found, SIZE, area="instance type").message == "is not sold as spot"
    either = [Wish(instance_type=SIZE, capacity_types=(SPOT, ON_DEMAND))]
    assert is_complete(check({"/skus": {"value": [barred]}}, either))


def quotas(*, family: int = 500, cores: int = 500, spot: int = 500) -> dict[str, Any]:
    limits = [
        usage(limit=family),
        usage("cores", limit=cores),
        usage("lowPriorityCores", limit=spot),
    ]
    return {"/usages": {"value": limits}}


def wish(machines: int, *ways: CapacityType, fallback: bool = False) -> Wish:
    return Wish(
        instance_type=SIZE,
        machines=machines,
        capacity_types=ways or (ON_DEMAND,),
        fallback=fallback,
    )


@pytest.mark.parametrize(
    ("left", "wishes", "expected"),
    [
        ({}, [wish(2)], {}),
        ({"family": 48}, [wish(2)], {}),
        ({"family": 47}, [wish(2)], {FAMILY: "missing"}),
        ({"family": 47}, [wish(1), wish(1)], {FAMILY: "missing"}),
        ({"cores": 10}, [wish(1)], {"cores": "missing"}),
        ({"spot": 10}, [wish(1)], {}),
        ({"spot": 10}, [wish(1, SPOT)], {"lowPriorityCores": "missing"}),
        ({"family": 0, "cores": 0}, [wish(1, SPOT)], {}),
        ({"spot": 10}, [wish(1, SPOT, ON_DEMAND)], {"lowPriorityCores": "warning"}),
        ({"family": 10}, [wish(1, SPOT, ON_DEMAND)], {FAMILY: "warning"}),
        (
            {"spot": 10, "cores": 10},
            [wish(1, SPOT, ON_DEMAND)],
            {"lowPriorityCores": "missing", "cores": "missing"},
        ),
        ({"family": 10}, [wish(1, fallback=True)], {FAMILY: "warning"}),
        ({"family": 24}, [wish(1), wish(1, fallback=True)], {}),
        ({"family": 24}, [wish(1, fallback=True), wish(1, fallback=True)], {}),
    ],
)
def test_quotas(left: dict[str, int], wishes: list[Wish], expected: dict[str, str]) -> None:
    found = check(quotas(**left), wishes)
    assert {subject: status for area, subject, status in bad(found) if area == "quota"} == expected


def test_how_to_ask_for_more_quota() -> None:
    found = one(check({"/usages": {"value": [usage(used=90), usage("cores", limit=500)]}}), FAMILY)
    assert found.message == "10 of 100 vCPUs are left, and 24 are needed"
    assert f"--resource-name {FAMILY} --resource-type dedicated" in found.remedy
    assert "--limit-object value=114" in found.remedy


def test_a_quota_that_is_not_listed() -> None:
    found = check({"/usages": {"value": [usage("cores", limit=500)]}})
    assert bad(found) == [("quota", FAMILY, "not checked")]


def test_a_price_that_nobody_knows() -> None:
    found = check({"/prices": {"Items": []}}, location="westeurope")
    assert one(found, SIZE, area="price").status is Status.NOT_CHECKED
