"""What an identity may do in Azure, and what kaito needs of it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kaito.adapters.azure.arm_reads import JsonReader

_API_VERSION: Final = "2022-04-01"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """An action, and what for. `vital`: no machine is ordered, followed or given back without it;
    the others serve `kaito azure check` alone."""

    action: str
    purpose: str
    vital: bool = True


READ_CLUSTER: Final = "Microsoft.ContainerService/managedClusters/read"
READ_POOLS: Final = "Microsoft.ContainerService/managedClusters/agentPools/read"
WRITE_POOLS: Final = "Microsoft.ContainerService/managedClusters/agentPools/write"
DELETE_POOLS: Final = "Microsoft.ContainerService/managedClusters/agentPools/delete"
READ_PERMISSIONS: Final = "Microsoft.Authorization/permissions/read"
READ_SIZES: Final = "Microsoft.Compute/skus/read"
READ_QUOTAS: Final = "Microsoft.Compute/locations/usages/read"

# Names: https://learn.microsoft.com/azure/role-based-access-control/permissions/containers,
# .../permissions/compute and .../permissions/management-and-governance
OF_CLUSTER: Final = (
    Need(action=READ_POOLS, purpose="list machines"),
    Need(action=WRITE_POOLS, purpose="order machines"),
    Need(action=DELETE_POOLS, purpose="give machines back"),
    Need(action=READ_CLUSTER, purpose="check the cluster's settings", vital=False),
    Need(action=READ_PERMISSIONS, purpose="check these permissions", vital=False),
)
OF_SUBSCRIPTION: Final = (
    Need(action=READ_SIZES, purpose="check which sizes are sold", vital=False),
    Need(action=READ_QUOTAS, purpose="check quotas", vital=False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """What one role gives: `actions` but `not_actions`, either with wildcards."""

    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        return _matches(self.actions, action) and not _matches(self.not_actions, action)


def allows(permissions: Iterable[Permission], action: str) -> bool:
    """Whether one of the roles gives the action. What one of them takes out, another may give.

    Source: https://learn.microsoft.com/azure/role-based-access-control/role-definitions#notactions
    """
    return any(permission.allows(action) for permission in permissions)


def matches(pattern: str, action: str) -> bool:
    """Whether the action is one of the pattern's: `*` stands for any characters, also for none, and
    case does not matter."""
    parts = [re.escape(part) for part in re.split(r"\*+", pattern)]
    return re.fullmatch(".*".join(parts), action, re.IGNORECASE | re.DOTALL) is not None


def read_permissions(reader: JsonReader, scope: str) -> tuple[Permission, ...]:
    """What the caller's roles give at a scope. Raises: Unread.

    Source: https://learn.microsoft.com/rest/api/authorization/permissions/list-for-resource
    """
    found = reader.items(
        f"{scope}/providers/Microsoft.Authorization/permissions",
        next_link="nextLink",
        field="value",
        **{"api-version": _API_VERSION},
    )
    return tuple(
        Permission(actions=_texts(each, "actions"), not_actions=_texts(each, "notActions"))
        for each in found
    )


def _matches(patterns: Sequence[str], action: str) -> bool:
    return any(matches(pattern, action) for pattern in patterns)


def _texts(body: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(each for each in body.get(key) or () if isinstance(each, str))
