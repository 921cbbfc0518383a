"""Where in Azure the twin's cluster is: its subscription, groups, names and resource ids."""

import hashlib
from dataclasses import dataclass
from typing import Final

from kaito.adapters.fake.machine_life import NodeNames

_NUMBERS: Final = 10**8


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One managed cluster. Names are compared without regard to case, as ARM does."""

    region: str
    tenant: str = "7719a000-0000-4000-8000-000000000001"
    subscription: str = "7719a000-0000-4000-8000-000000000002"
    group: str = "twin"
    cluster: str = "twin"

    @property
    def node_group(self) -> str:
        """The resource group that AKS makes for the cluster's machines."""
        return f"MC_{self.group}_{self.cluster}_{self.region}"

    @property
    def subscription_id(self) -> str:
        return f"/subscriptions/{self.subscription}"

    @property
    def group_id(self) -> str:
        return f"{self.subscription_id}/resourceGroups/{self.group}"

    @property
    def cluster_id(self) -> str:
        return (
            f"{self.group_id}/providers/Microsoft.ContainerService/managedClusters/{self.cluster}"
        )

    def pool_id(self, pool: str) -> str:
        return f"{self.cluster_id}/agentPools/{pool}"

    @property
    def node_names(self) -> NodeNames:
        """How its machines are named. AKS writes the group in lower case into provider ids."""
        digest = hashlib.sha256(self.cluster_id.lower().encode()).digest()
        number = int.from_bytes(digest[:8], "big") % _NUMBERS
        return NodeNames(
            subscription=self.subscription, group=self.node_group.lower(), number=f"{number:08d}"
        )
