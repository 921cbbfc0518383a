"""Which request is for what, and which permission it needs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SUBSCRIPTION: Final = r"/subscriptions/(?P<subscription>[^/]+)"
_GROUP: Final = rf"{_SUBSCRIPTION}/resourceGroups/(?P<group>[^/]+)"
_AKS: Final = "Microsoft.ContainerService"
_CLUSTER: Final = rf"{_GROUP}/providers/{_AKS}/managedClusters/(?P<cluster>[^/]+)"
_POOLS: Final = rf"{_CLUSTER}/agentPools"
_POOL: Final = rf"{_POOLS}/(?P<pool>[^/]+)"
_AKS_LOCATION: Final = rf"{_SUBSCRIPTION}/providers/{_AKS}/locations/(?P<location>[^/]+)"
_COMPUTE: Final = rf"{_SUBSCRIPTION}/providers/Microsoft.Compute"

_CLUSTER_ACTION: Final = f"{_AKS}/managedClusters"
_POOL_ACTION: Final = f"{_CLUSTER_ACTION}/agentPools"
_LOCATION_ACTION: Final = f"{_AKS}/locations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A path with one method. `name` is what to do; `open` needs no token."""

    name: str
    method: str
    path: re.Pattern[str]
    action: str
    open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is for. `names` are those in the path: subscription, group, cluster, pool."""

    route: Route
    names: Mapping[str, str]

    def name(self, kind: str) -> str:
        """Empty where the path has none."""
        return self.names.get(kind, "")


def _route(name: str, method: str, path: str, action: str, *, is_open: bool = False) -> Route:
    pattern = re.compile(path.replace("Microsoft.", r"Microsoft\."), re.IGNORECASE)
    return Route(name=name, method=method, path=pattern, action=action, open=is_open)


ROUTES: Final = (
    _route(
        "openid",
        "GET",
        r"/(?P<tenant>[^/]+)/v2\.0/\.well-known/openid-configuration",
        "token",
        is_open=True,
    ),
    _route("token", "POST", r"/(?P<tenant>[^/]+)/oauth2/v2\.0/token", "token", is_open=True),
    _route("prices", "GET", "/api/retail/prices", "prices", is_open=True),
    _route("get_cluster", "GET", _CLUSTER, f"{_CLUSTER_ACTION}/read"),
    _route("stop_cluster", "POST", f"{_CLUSTER}/stop", f"{_CLUSTER_ACTION}/stop/action"),
    _route("start_cluster", "POST", f"{_CLUSTER}/start", f"{_CLUSTER_ACTION}/start/action"),
    _route("list_pools", "GET", _POOLS, f"{_POOL_ACTION}/read"),
    _route("get_pool", "GET", _POOL, f"{_POOL_ACTION}/read"),
    _route("put_pool", "PUT", _POOL, f"{_POOL_ACTION}/write"),
    _route("delete_pool", "DELETE", _POOL, f"{_POOL_ACTION}/delete"),
    _route(
        "get_operation",
        "GET",
        rf"{_AKS_LOCATION}/operations/(?P<operation>[^/]+)",
        f"{_LOCATION_ACTION}/operations/read",
    ),
    _route(
        "get_result",
        "GET",
        rf"{_AKS_LOCATION}/operationresults/(?P<operation>[^/]+)",
        f"{_LOCATION_ACTION}/operationresults/read",
    ),
    _route(
        "usages",
        "GET",
        rf"{_COMPUTE}/locations/(?P<location>[^/]+)/usages",
        "Microsoft.Compute/locations/usages/read",
    ),
    _route("skus", "GET", rf"{_COMPUTE}/skus", "Microsoft.Compute/skus/read"),
    *(
        _route(
            "permissions",
            "GET",
            rf"{scope}/providers/Microsoft.Authorization/permissions",
            "Microsoft.Authorization/permissions/read",
        )
        for scope in (_SUBSCRIPTION, _GROUP, _CLUSTER)
    ),
)


def target_of(method: str, path: str) -> Target | None:
    """What the request is for; None: nothing here."""
    for route in ROUTES:
        found = route.path.fullmatch(path.rstrip("/"))
        if found is not None and route.method == method:
            return Target(route=route, names=found.groupdict())
    return None
