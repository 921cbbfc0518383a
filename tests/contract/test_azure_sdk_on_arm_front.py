"""The real Azure SDK and real credentials on the twin's ARM, over TLS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceResponseError,
)
from azure.identity import ClientSecretCredential, WorkloadIdentityCredential
from azure.mgmt.containerservice import ContainerServiceClient

from kaito.adapters.fake.arm.faults import ArmFault, ArmRequest, FailLater, Hang, Refuse
from kaito.adapters.fake.arm.identity import Identity
from kaito.adapters.fake.cloud_limits import CloudLimits, Rate
from kaito.adapters.fake.faults import FailAfter, FailBefore
from kaito.adapters.kube_api import labels_of, name_of
from kaito.domain import labels
from kaito.domain.errors import CapacityUnavailable
from tests.contract.azure_world import SIZE, AzureWorld

GROUP = CLUSTER = "twin"
WRITE = "Microsoft.ContainerService/managedClusters/agentPools/write"


class Sdk:
    """The SDK's clients for one world, with small intervals and no retries."""

    def __init__(self, world: AzureWorld, directory: Path) -> None:
        self.world = world
        self._authority = world.authority_file(directory)
        self._assertion = directory / "token"
        self._assertion.write_text(world.endpoint.identity.assertion, encoding="utf-8")
        self._opened: list[Any] = []
        self.client = self.client_for(self.workload_identity())

    def workload_identity(self) -> Any:
        return self._open(
            WorkloadIdentityCredential(
                tenant_id=self.world.place.tenant,
                client_id=self.world.endpoint.identity.client_id,
                token_file_path=str(self._assertion),
                **self._options(),
            )
        )

    def client_secret(self, secret: str, client_id: str = "", tenant: str = "") -> Any:
        return self._open(
            ClientSecretCredential(
                tenant or self.world.place.tenant,
                client_id or self.world.endpoint.identity.client_id,
                secret,
                **self._options(),
            )
        )

    def client_for(self, credential: Any, subscription: str = "", **options: Any) -> Any:
        return self._open(
            ContainerServiceClient(
                credential,
                subscription or self.world.place.subscription,
                base_url=self.world.url,
                credential_scopes=[f"{self.world.url}/.default"],
                connection_verify=self._authority,
                retry_total=0,
                polling_interval=0.02,
                **options,
            )
        )

    def create(self, name: str = "ws1", *, polling: bool = True, **properties: Any) -> Any:
        """A poller, which polls in a thread of its own, or does not."""
        body = {"properties": {"count": 1, "vmSize": SIZE, **properties}}
        return self.client.agent_pools.begin_create_or_update(
            GROUP, CLUSTER, name, body, polling=polling
        )

    def get(self, name: str = "ws1") -> Any:
        return self.client.agent_pools.get(GROUP, CLUSTER, name)

    def delete(self, name: str = "ws1", **options: Any) -> Any:
        """A poller."""
        return self.client.agent_pools.begin_delete(GROUP, CLUSTER, name, **options)

    def names(self) -> list[str]:
        return [pool.name for pool in self.client.agent_pools.list(GROUP, CLUSTER)]

    def refused(self, **properties: Any) -> HttpResponseError:
        with pytest.raises(HttpResponseError) as caught:
            self.create(**properties)
        return caught.value

    def close(self) -> None:
        for one in reversed(self._opened):
            one.close()

    def _open(self, one: Any) -> Any:
        self._opened.append(one)
        return one

    def _options(self) -> dict[str, Any]:
        return {
            "authority": self.world.url,
            "disable_instance_discovery": True,
            "connection_verify": self._authority,
            "retry_total": 0,
        }


@pytest.fixture
def world() -> Iterator[AzureWorld]:
    with AzureWorld() as made:
        yield made


@pytest.fixture
def sdk(world: AzureWorld, tmp_path: Path) -> Iterator[Sdk]:
    made = Sdk(world, tmp_path)
    yield made
    made.close()


def code_of(error: HttpResponseError) -> str:
    assert error.error is not None
    return str(error.error.code)


def header_of(error: HttpResponseError, name: str) -> str:
    response: Any = error.response
    return str(response.headers[name])


class TestLife:
    def test_create_get_list_delete(self, sdk: Sdk, world: AzureWorld) -> None:
        poller = sdk.create(
            nodeLabels={"apps": "phi", labels.WORKSPACE_UID: "u-1"},
            nodeTaints=["sku=gpu:NoSchedule"],
            tags={"kaito.owner": "u-1"},
            availabilityZones=["2"],
            osDiskSizeGB=200,
        )
        assert sdk.get().properties.provisioning_state == "Creating"
        made = poller.result()
        properties = made.properties
        assert properties.provisioning_state == "Succeeded"
        assert (properties.vm_size, properties.os_disk_size_gb, properties.count) == (SIZE, 200, 1)
        assert properties.tags == {"kaito.owner": "u-1"}
        assert properties.availability_zones == ["2"]
        assert properties.power_state.code == "Running"
        assert sdk.names() == ["ws1"]
        (node,) = world.nodes()
        number = world.place.node_names.number
        assert name_of(node) == f"aks-ws1-{number}-vmss000000"
        assert node["spec"]["providerID"] == (
            f"azure:///subscriptions/{world.place.subscription}/resourceGroups/mc_twin_twin_eastus"
            f"/providers/Microsoft.Compute/virtualMachineScaleSets/aks-ws1-{number}-vmss"
            "/virtualMachines/0"
        )
        assert labels_of(node)["agentpool"] == labels_of(node)[labels.AZURE_AGENT_POOL] == "ws1"
        assert labels_of(node)["apps"] == "phi"
        assert labels_of(node)[labels.ZONE] == "eastus-2"
        assert node["spec"]["taints"] == [{"key": "sku", "value": "gpu", "effect": "NoSchedule"}]
        gone = sdk.delete()
        assert sdk.get().properties.provisioning_state == "Deleting"
        gone.result()
        with pytest.raises(ResourceNotFoundError):
            sdk.get()
        assert world.billed() == []
        assert world.nodes() == []

    def test_deleting_none_is_done_at_once(self, sdk: Sdk) -> None:
        poller = sdk.delete("none")
        poller.result()
        assert poller.status() == "Succeeded"

    def test_delete_while_creating_cancels(self, sdk: Sdk, world: AzureWorld) -> None:
        creating = sdk.create()
        sdk.delete().result()
        with pytest.raises(HttpResponseError) as caught:
            creating.result()
        assert code_of(caught.value) == "OperationPreempted"
        assert creating.status() == "Canceled"
        assert world.billed() == []

    def test_three_pages(self, sdk: Sdk, world: AzureWorld) -> None:
        asked: list[ArmRequest] = []
        for number in range(41):
            sdk.create(f"p{number}", polling=False)
        world.front.choose = asked.append
        assert sdk.names() == sorted(f"p{number}" for number in range(41))
        assert len(asked) == 3

    def test_spot(self, sdk: Sdk, world: AzureWorld) -> None:
        sdk.create(scaleSetPriority="Spot", spotMaxPrice=-1.0).result()
        properties = sdk.get().properties
        assert properties.scale_set_eviction_policy == "Delete"
        assert properties.node_taints == ["kubernetes.azure.com/scalesetpriority=spot:NoSchedule"]
        (node,) = world.nodes()
        assert labels_of(node)[labels.AZURE_SPOT] == "spot"
        world.at(lambda: world.cloud.evict_spot(1.0))
        world.settle()
        assert world.nodes() == []
        evicted = sdk.get().properties
        assert (evicted.provisioning_state, evicted.count) == ("Succeeded", 0)
        sdk.delete().result()
        assert sdk.names() == []

    def test_an_update_changes_labels_on_the_node(self, sdk: Sdk, world: AzureWorld) -> None:
        sdk.create(nodeLabels={"a": "1", "b": "1"}).result()
        before = sdk.get().properties.e_tag
        after = sdk.create(nodeLabels={"b": "2"}, nodeTaints=["x=y:NoExecute"]).result()
        assert after.properties.e_tag != before
        world.settle()
        (node,) = world.nodes()
        assert "a" not in labels_of(node)
        assert labels_of(node)["b"] == "2"
        assert node["spec"]["taints"] == [{"key": "x", "value": "y", "effect": "NoExecute"}]

    def test_stop_and_start(self, sdk: Sdk, world: AzureWorld) -> None:
        sdk.create().result()
        clusters = sdk.client.managed_clusters
        clusters.begin_stop(GROUP, CLUSTER).result()
        assert world.nodes() == []
        assert sdk.get().properties.power_state.code == "Stopped"
        assert clusters.get(GROUP, CLUSTER).properties.power_state.code == "Stopped"
        assert code_of(sdk.refused(name="ws2")) == "OperationNotAllowed"
        clusters.begin_start(GROUP, CLUSTER).result()
        assert sdk.get().properties.power_state.code == "Running"
        assert len(world.nodes()) == 1
        assert world.billed() == ["ws1"]

    def test_the_cluster_shows_its_pools(self, sdk: Sdk) -> None:
        sdk.create()
        properties = sdk.client.managed_clusters.get(GROUP.upper(), CLUSTER).properties
        assert properties.node_resource_group == "MC_twin_twin_eastus"
        assert [pool.name for pool in properties.agent_pool_profiles] == ["ws1"]
        assert properties.max_agent_pools == 100


class TestRefusals:
    @pytest.mark.parametrize(
        ("properties", "status", "code"),
        [
            ({"name": "Ws-1"}, 400, "InvalidParameter"),
            ({"name": "a234567890123"}, 400, "InvalidParameter"),
            ({"vmSize": "Standard_NC0"}, 400, "VMSizeNotSupported"),
            ({"vmSize": None}, 400, "InvalidParameter"),
            ({"availabilityZones": ["4"]}, 400, "AvailabilityZoneNotSupported"),
            ({"nodeTaints": ["nonsense"]}, 400, "InvalidParameter"),
            ({"nodeTaints": ["a=b.:NoSchedule"]}, 400, "InvalidParameter"),
            ({"nodeLabels": {"a": "not a label"}}, 400, "InvalidParameter"),
            ({"nodeLabels": {"a/b/c": ""}}, 400, "InvalidParameter"),
            ({"osSKU": "Windows2022"}, 400, "InvalidParameter"),
            ({"count": 2}, 400, "InvalidParameter"),
            ({"spotMaxPrice": 0, "scaleSetPriority": "Spot"}, 400, "InvalidParameter"),
            ({"scaleSetPriority": "Regular", "spotMaxPrice": 1.5}, 400, "InvalidParameter"),
            ({"scaleSetPriority": "Spot", "mode": "System"}, 400, "InvalidParameter"),
            ({"tags": {"kaito.sh/owner": "x"}}, 400, "InvalidTagNameCharacters"),
        ],
    )
    def test_what_aks_does_not_take(
        self, sdk: Sdk, properties: dict[str, Any], status: int, code: str
    ) -> None:
        error = sdk.refused(**properties)
        assert (error.status_code, code_of(error)) == (status, code)
        assert sdk.names() == []

    def test_a_pool_that_something_is_done_to(self, sdk: Sdk) -> None:
        creating = sdk.create()
        error = sdk.refused()
        assert (error.status_code, code_of(error)) == (409, "OperationNotAllowed")
        assert "ws1 - Creating" in str(error)
        creating.result()
        deleting = sdk.delete()
        assert "ws1 - Deleting" in str(sdk.refused())
        deleting.result()

    def test_what_cannot_be_changed(self, sdk: Sdk) -> None:
        sdk.create().result()
        error = sdk.refused(vmSize="Standard_NC48ads_A100_v4")
        assert (error.status_code, code_of(error)) == (400, "PropertyChangeNotAllowed")
        assert error.error is not None
        assert error.error.target == "properties.vmSize"
        sdk.create(vmSize=SIZE.lower()).result()

    def test_etags(self, sdk: Sdk) -> None:
        body = {"properties": {"count": 1, "vmSize": SIZE}}
        put = sdk.client.agent_pools.begin_create_or_update
        only_new: dict[str, Any] = {"etag": "*", "match_condition": MatchConditions.IfMissing}
        put(GROUP, CLUSTER, "ws1", body, **only_new).result()
        other: dict[str, Any] = {
            "etag": "another",
            "match_condition": MatchConditions.IfNotModified,
        }
        attempts: list[Callable[[], Any]] = [
            lambda: put(GROUP, CLUSTER, "ws1", body, **only_new),
            lambda: put(GROUP, CLUSTER, "ws1", body, **other),
            lambda: put(GROUP, CLUSTER, "ws2", body, **other),
            lambda: sdk.delete(**other),
        ]
        for attempt in attempts:
            with pytest.raises(HttpResponseError) as caught:
                attempt()
            assert caught.value.status_code == 412
        own: dict[str, Any] = {"match_condition": MatchConditions.IfNotModified}
        sdk.delete(etag=sdk.get().properties.e_tag, **own).result()
        assert sdk.names() == []

    def test_names_that_are_not_there(self, sdk: Sdk) -> None:
        pools = sdk.client.agent_pools
        attempts: list[tuple[Callable[[], Any], str]] = [
            (lambda: pools.get("other", CLUSTER, "ws1"), "ResourceGroupNotFound"),
            (lambda: pools.get(GROUP, "other", "ws1"), "ResourceNotFound"),
            (lambda: pools.get(GROUP, CLUSTER, "ws1"), "NotFound"),
            (
                lambda: pools.begin_create_or_update(GROUP, "other", "ws1", {"properties": {}}),
                "ParentResourceNotFound",
            ),
        ]
        for attempt, code in attempts:
            with pytest.raises(ResourceNotFoundError) as caught:
                attempt()
            assert code_of(caught.value) == code
        stranger = sdk.client_for(sdk.workload_identity(), subscription="1" * 36)
        with pytest.raises(ResourceNotFoundError) as caught:
            stranger.agent_pools.get(GROUP, CLUSTER, "ws1")
        assert code_of(caught.value) == "SubscriptionNotFound"

    def test_an_api_version_that_there_is_not(self, sdk: Sdk) -> None:
        client = sdk.client_for(sdk.workload_identity(), api_version="2011-01-01")
        with pytest.raises(HttpResponseError) as caught:
            client.agent_pools.get(GROUP, CLUSTER, "ws1")
        assert code_of(caught.value) == "NoRegisteredProviderFound"


class TestLimits:
    def test_quota(self, sdk: Sdk, world: AzureWorld) -> None:
        world.change(quota_vcpus={"NCads_A100_v4": 24})
        sdk.create()
        error = sdk.refused(name="ws2")
        assert (error.status_code, code_of(error)) == (400, "ErrCode_InsufficientVCPUQuota")
        assert "requested 24, remaining 0 for family standardNCADSA100v4Family" in str(error)

    def test_pools(self, sdk: Sdk, world: AzureWorld) -> None:
        world.change(machines=1)
        sdk.create()
        error = sdk.refused(name="ws2")
        assert (error.status_code, code_of(error)) == (400, "MaxAgentPoolCountReached")
        assert "maximum of agent pools" in str(error)

    def test_throttling(self, tmp_path: Path) -> None:
        slow = Rate(burst=2, per_second=0.001)
        with AzureWorld(limits=CloudLimits(put_rate=slow)) as world:
            sdk = Sdk(world, tmp_path)
            sdk.create().result()
            sdk.create().result()
            error = sdk.refused()
            sdk.create("ws2", polling=False)  # each pool has a bucket of its own
            sdk.close()
        assert (error.status_code, code_of(error)) == (429, "Throttled")
        assert 900 < int(header_of(error, "Retry-After")) <= 1000

    @pytest.mark.parametrize(
        ("zones", "code"), [(["1"], "ZonalAllocationFailed"), ([], "AllocationFailed")]
    )
    def test_a_stock_out_shows_late(
        self, sdk: Sdk, world: AzureWorld, zones: list[str], code: str
    ) -> None:
        world.change(stock={(SIZE.lower(), zone): 0 for zone in (1, 2, 3)})
        poller = sdk.create(availabilityZones=zones)
        with pytest.raises(HttpResponseError) as caught:
            poller.result()
        assert code_of(caught.value) == code
        properties = sdk.get().properties
        assert properties.provisioning_state == "Failed"
        assert properties.status.provisioning_error.code == code
        assert world.billed() == []
        world.change(stock={(SIZE.lower(), zone): 1 for zone in (1, 2, 3)})
        sdk.create(availabilityZones=zones).result()  # the same again: AKS tries anew
        assert world.billed() == ["ws1"]

    def test_without_a_zone_any_will_do(self, sdk: Sdk, world: AzureWorld) -> None:
        world.change(stock={(SIZE.lower(), zone): int(zone == 3) for zone in (1, 2, 3)})
        sdk.create().result()
        (node,) = world.nodes()
        assert labels_of(node)[labels.ZONE] == "eastus-3"

    def test_a_size_that_the_subscription_may_not_have(self, sdk: Sdk, world: AzureWorld) -> None:
        world.change(restricted=frozenset({(SIZE.lower(), 1)}))
        error = sdk.refused(availabilityZones=["1"])
        assert (error.status_code, code_of(error)) == (409, "SkuNotAvailable")
        sdk.create(availabilityZones=["2"]).result()

    def test_an_injected_refusal(self, sdk: Sdk, world: AzureWorld) -> None:
        world.at(lambda: world.cloud.refuse([CapacityUnavailable("sold out")]))
        assert code_of(sdk.refused()) == "SkuNotAvailable"
        sdk.create().result()

    def test_a_machine_that_fails_half_way(self, sdk: Sdk, world: AzureWorld) -> None:
        world.change(create_failure_rate=1.0)
        with pytest.raises(HttpResponseError) as caught:
            sdk.create().result()
        assert code_of(caught.value) in {
            "OSProvisioningTimedOut",
            "VMExtensionProvisioningError",
            "NetworkingInternalOperationError",
        }
        sdk.delete().result()
        assert sdk.names() == []

    def test_a_lost_zone_breaks_no_pool(self, sdk: Sdk, world: AzureWorld) -> None:
        """Its Node is no longer ready; ARM does not know."""
        sdk.create(availabilityZones=["1"]).result()
        world.at(lambda: world.cloud.lose_zone(1, 60.0))
        world.settle()
        assert sdk.get().properties.provisioning_state == "Succeeded"
        (node,) = world.nodes()
        (ready,) = [one for one in node["status"]["conditions"] if one["type"] == "Ready"]
        assert ready["status"] == "Unknown"


class TestIdentity:
    def test_a_client_secret(self, sdk: Sdk, world: AzureWorld) -> None:
        client = sdk.client_for(sdk.client_secret(world.endpoint.identity.secret))
        assert list(client.agent_pools.list(GROUP, CLUSTER)) == []

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"secret": "wrong"}, "AADSTS7000215"),
            ({"secret": "x", "client_id": "nobody"}, "AADSTS700016"),
        ],
    )
    def test_who_does_not_come_in(self, sdk: Sdk, options: dict[str, str], said: str) -> None:
        client = sdk.client_for(sdk.client_secret(**options))
        with pytest.raises(ClientAuthenticationError, match=said):
            list(client.agent_pools.list(GROUP, CLUSTER))

    def test_an_assertion_of_somebody_else(self, sdk: Sdk, world: AzureWorld) -> None:
        identity = Identity(client_id=world.endpoint.identity.client_id, assertion="another")
        world.at(lambda: world.front.entra.register(identity))
        with pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
            sdk.names()

    def test_a_token_that_is_no_longer_good(self, sdk: Sdk, world: AzureWorld) -> None:
        assert sdk.names() == []
        world.skip(7200.0)
        with pytest.raises(ClientAuthenticationError) as caught:
            sdk.names()
        assert code_of(caught.value) == "ExpiredAuthenticationToken"
        assert "authorization_uri" in header_of(caught.value, "WWW-Authenticate")

    def test_a_role_without_the_action(self, sdk: Sdk, world: AzureWorld) -> None:
        known = world.endpoint.identity
        reader = Identity(client_id=known.client_id, assertion=known.assertion, actions=("*/read",))
        world.at(lambda: world.front.entra.register(reader))
        assert sdk.names() == []
        error = sdk.refused()
        assert (error.status_code, code_of(error)) == (403, "AuthorizationFailed")
        assert WRITE in str(error)


class TestFaults:
    def _choose(self, world: AzureWorld, fault: ArmFault, action: str = WRITE) -> None:
        left = [fault]

        def choose(request: ArmRequest) -> ArmFault | None:
            return left.pop() if left and request.action == action else None

        world.front.choose = choose

    def test_a_lost_request(self, sdk: Sdk, world: AzureWorld) -> None:
        sdk.names()
        self._choose(world, FailBefore())
        with pytest.raises(ServiceResponseError):
            sdk.create()
        assert sdk.names() == []

    def test_a_lost_answer(self, sdk: Sdk, world: AzureWorld) -> None:
        self._choose(world, FailAfter())
        with pytest.raises(ServiceResponseError):
            sdk.create()
        assert sdk.names() == ["ws1"]

    def test_no_answer(self, sdk: Sdk, world: AzureWorld) -> None:
        self._choose(world, Hang())
        client = sdk.client_for(sdk.workload_identity(), read_timeout=0.2)
        with pytest.raises(ServiceResponseError):
            client.agent_pools.begin_create_or_update(
                GROUP, CLUSTER, "ws1", {"properties": {"vmSize": SIZE}}
            )
        assert sdk.names() == []

    def test_any_refusal(self, sdk: Sdk, world: AzureWorld) -> None:
        self._choose(world, Refuse(status=503, code="ServerTimeout", layer="arm"))
        error = sdk.refused()
        assert (error.status_code, code_of(error)) == (503, "ServerTimeout")

    def test_any_failure_later(self, sdk: Sdk, world: AzureWorld) -> None:
        self._choose(world, FailLater(code="OverconstrainedZonalAllocationRequest"))
        with pytest.raises(HttpResponseError) as caught:
            sdk.create().result()
        assert code_of(caught.value) == "OverconstrainedZonalAllocationRequest"
