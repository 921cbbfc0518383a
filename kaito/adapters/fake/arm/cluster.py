"""The managed cluster itself: what it is, and whether it is stopped."""

from collections.abc import Callable
from typing import Any, Final

from kaito.adapters.fake.arm.errors import ArmError, cluster_busy
from kaito.adapters.fake.arm.operations import RUNNING, SUCCEEDED, Operation, Operations, Outcome
from kaito.adapters.fake.arm.place import Place
from kaito.adapters.fake.cloud import NODE_PROVISION, FakeGpuCloud
from kaito.adapters.fake.kubernetes_version import VERSION
from kaito.domain.machine import CloudState

# Source: https://learn.microsoft.com/azure/aks/quotas-skus-regions
MAX_POOLS: Final = 100
CLUSTER_TYPE: Final = "Microsoft.ContainerService/ManagedClusters"


class ManagedCluster:
    """One cluster, which may be stopped and started. `stop_s`: how long a stop takes, seconds."""

    def __init__(
        self,
        cloud: FakeGpuCloud,
        place: Place,
        operations: Operations,
        now_s: Callable[[], float],
        stop_s: float,
    ) -> None:
        self._cloud, self._place, self._operations = cloud, place, operations
        self._now_s, self._stop_s = now_s, stop_s
        self._is_stopped = False
        self._stopping_until_s = 0.0

    @property
    def is_stopped(self) -> bool:
        """Whether its machines are deallocated, or about to be."""
        return self._is_stopped

    @property
    def state(self) -> str:
        """Its provisioningState."""
        if self._is_stopped:
            return "Stopping" if self._now_s() < self._stopping_until_s else "Succeeded"
        starting = any(
            life.state is CloudState.RUNNING and life.phase == NODE_PROVISION
            for life in self._cloud.live.values()
        )
        return "Starting" if starting else "Succeeded"

    def check_running(self) -> None:
        """Raises: ArmError (409: pools cannot be changed now)."""
        if self.state != "Succeeded":
            raise cluster_busy(self.state)
        if self._is_stopped:
            raise ArmError(
                409,
                "OperationNotAllowed",
                f"Operation is not allowed: the managed cluster {self._place.cluster} is in the "
                "power state Stopped. Start it first.",
            )

    def stop(self) -> Operation:
        """Deallocate its machines. Raises: ArmError (409)."""
        if self.state != "Succeeded":
            raise cluster_busy(self.state)
        if not self._is_stopped:
            self._is_stopped = True
            self._stopping_until_s = self._now_s() + self._stop_s
            self._cloud.stop()
        return self._operations.begin(self._standing)

    def start(self) -> Operation:
        """Bring them back. Raises: ArmError (409)."""
        if self.state != "Succeeded":
            raise cluster_busy(self.state)
        if self._is_stopped:
            self._is_stopped = False
            self._cloud.start()
        return self._operations.begin(self._standing)

    def body(self, profiles: list[dict[str, Any]]) -> dict[str, Any]:
        """The cluster as a resource; `profiles` are its pools' properties with their names."""
        limit = self._cloud.supply.limits.machines
        return {
            "id": self._place.cluster_id,
            "name": self._place.cluster,
            "type": CLUSTER_TYPE,
            "location": self._place.region,
            "sku": {"name": "Base", "tier": "Free"},
            "identity": {"type": "SystemAssigned", "tenantId": self._place.tenant},
            "properties": {
                "provisioningState": self.state,
                "powerState": {"code": "Stopped" if self._is_stopped else "Running"},
                "kubernetesVersion": VERSION,
                "currentKubernetesVersion": VERSION,
                "dnsPrefix": self._place.cluster,
                "fqdn": f"{self._place.cluster}.hcp.{self._place.region}.azmk8s.io",
                "agentPoolProfiles": profiles,
                "nodeResourceGroup": self._place.node_group,
                "enableRBAC": True,
                "maxAgentPools": MAX_POOLS if limit is None else limit,
                "networkProfile": {"networkPlugin": "azure", "loadBalancerSku": "standard"},
                "oidcIssuerProfile": {"enabled": True},
                "securityProfile": {"workloadIdentity": {"enabled": True}},
            },
        }

    def _standing(self) -> Outcome:
        return SUCCEEDED if self.state == "Succeeded" else RUNNING
