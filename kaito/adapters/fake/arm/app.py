"""Azure Resource Manager, Entra ID and the retail price API as an ASGI application."""

import base64
import binascii
import itertools
import json
import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route as Path

from kaito.adapters.fake.arm import compute, prices
from kaito.adapters.fake.arm.cluster import ManagedCluster
from kaito.adapters.fake.arm.errors import ArmError, not_found
from kaito.adapters.fake.arm.faults import ArmRequest, Choose, FailLater, Hang, Refuse
from kaito.adapters.fake.arm.identity import Entra, Identity, SignInError
from kaito.adapters.fake.arm.operations import Operation, Operations
from kaito.adapters.fake.arm.place import Place
from kaito.adapters.fake.arm.pools import AgentPools, Conditions
from kaito.adapters.fake.arm.routes import Target, target_of
from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.faults import FailAfter, FailBefore
from kaito.adapters.fake.http.app import nothing
from kaito.domain.catalogue import Catalogue

PAGE_SIZE: Final = 20  # agent pools in one answer
_METHODS: Final = ["GET", "POST", "PUT", "PATCH", "DELETE"]
_JSON: Final = "application/json; charset=utf-8"
_API_VERSION: Final = re.compile(r"20\d\d-\d\d-\d\d(-preview)?")
# AKS has a version for the first of a month, and previews for the second.
_AKS_VERSION: Final = re.compile(r"20\d\d-(0[1-9]|1[0-2])-(01|02-preview)")
_OLDEST, _NEWEST = "2024-01-01", "2026-08-01"  # azure-mgmt-containerservice 41.8 asks for this one
_OPERATION_VERSION: Final = "2017-08-31"
AUDIENCES: Final = ("https://management.azure.com", "https://management.core.windows.net")

CutOff = Callable[[Request], None]
Handler = Callable[["_Call"], Response]


class ArmFront:
    """What a test or a world sets while it is served: identities, faults, how to poll."""

    def __init__(
        self,
        cloud: FakeGpuCloud,
        *,
        catalogue: Catalogue,
        place: Place,
        now_s: Callable[[], float],
        poll_after_s: int = 10,
        stop_s: float = 60.0,
        catch_up: Callable[[], None] = nothing,
        wake: Callable[[], None] = nothing,
    ) -> None:
        """`poll_after_s` is what clients are told to wait between looks at an operation; `stop_s`
        how long a stop of the cluster takes. Seconds."""
        self.place, self.poll_after_s = place, poll_after_s
        self.entra = Entra(place, now_s)
        self.choose: Choose = lambda _request: None
        self.page_size, self.price_page_size = PAGE_SIZE, prices.PAGE_SIZE
        self.audiences: tuple[str, ...] = AUDIENCES
        self._cloud, self._catalogue = cloud, catalogue
        self._catch_up, self._wake = catch_up, wake
        self._operations = Operations(place.cluster_id, now_s)
        self._cluster = ManagedCluster(cloud, place, self._operations, now_s, stop_s)
        self._pools = AgentPools(
            cloud, catalogue, place, self._operations, lambda: self._cluster.is_stopped
        )
        self._requests = itertools.count(1)
        self._handlers: Mapping[str, Handler] = {
            "openid": self._openid,
            "token": self._token,
            "prices": self._prices,
            "get_cluster": self._get_cluster,
            "stop_cluster": lambda call: self._long(call, self._cluster.stop()),
            "start_cluster": lambda call: self._long(call, self._cluster.start()),
            "list_pools": self._list_pools,
            "get_pool": lambda call: _json(self._pools.body(self._pools.get(call.pool))),
            "put_pool": self._put_pool,
            "delete_pool": self._delete_pool,
            "get_operation": self._get_operation,
            "get_result": self._get_result,
            "usages": self._usages,
            "skus": self._skus,
            "permissions": self._permissions,
        }

    def app(self, cut_off: CutOff) -> Starlette:
        """The ASGI application. `cut_off` closes a client's connection without an answer."""

        async def answer(request: Request) -> Response:
            return await self._answer(request, cut_off)

        return Starlette(routes=[Path("/{path:path}", answer, methods=_METHODS)])

    def pools(self) -> list[dict[str, Any]]:
        """Every agent pool, as a list of them shows it; in order of name."""
        return [self._pools.body(pool) for pool in self._pools.all()]

    async def _answer(self, request: Request, cut_off: CutOff) -> Response:
        body = await request.body()
        self._catch_up()
        self._operations.settle()
        call = _Call(request, body)
        fault = self.choose(call.described) if call.target is not None else None
        if isinstance(fault, FailBefore | Hang):
            if isinstance(fault, FailBefore):
                cut_off(request)
            return await _until_gone(request.receive)
        try:
            if isinstance(fault, Refuse):
                raise ArmError(
                    fault.status,
                    fault.code,
                    fault.message,
                    layer=fault.layer,
                    retry_after_s=fault.retry_after_s,
                )
            response = self._handle(call)
            if isinstance(fault, FailLater) and response.status_code == 201:
                self._cloud.let_fail(call.pool, f"{fault.code}: {fault.message}")
        except ArmError as error:
            response = _json(error.body(), error.status, error.headers)
        except SignInError as error:
            response = _json(error.body, error.status)
        finally:
            self._wake()
        if isinstance(fault, FailAfter):
            cut_off(request)
            return await _until_gone(request.receive)
        number = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.place.cluster_id}/{next(self._requests)}")
        response.headers["x-ms-request-id"] = str(number)
        response.headers["x-ms-correlation-request-id"] = str(number)
        return response

    def _handle(self, call: "_Call") -> Response:
        """In the order in which Azure looks. Raises: ArmError, SignInError."""
        target = call.target
        if target is not None and target.route.open:
            return self._handlers[target.route.name](call)
        call.identity = self.entra.who(
            call.request.headers.get("authorization", ""), self.audiences
        )
        if target is None:
            raise ArmError(
                404,
                "InvalidResourceType",
                f"The resource type could not be found for '{call.request.method} "
                f"{call.request.url.path}'.",
                layer="arm",
            )
        self._check_subscription(target)
        self._authorize(call, target)
        _check_api_version(call, target, self.place.region)
        self._check_names(target)
        # A PUT of a pool counts against the pool; the status of operations has a bucket of its own,
        # so large (200, 2 a second) that it is left out.
        if "managedClusters" in target.route.action and target.route.name != "put_pool":
            self._pools.count_read(f"{target.route.name}.{target.route.method}")
        return self._handlers[target.route.name](call)

    def _check_subscription(self, target: Target) -> None:
        given = target.name("subscription")
        if given.lower() != self.place.subscription.lower():
            message = f"The subscription '{given}' could not be found."
            raise ArmError(404, "SubscriptionNotFound", message, layer="arm")

    def _authorize(self, call: "_Call", target: Target) -> None:
        if target.route.name == "permissions" or call.who.may(target.route.action):
            return
        raise ArmError(
            403,
            "AuthorizationFailed",
            f"The client '{call.who.client_id}' with object id '{call.who.client_id}' does not "
            f"have authorization to perform action '{target.route.action}' over scope "
            f"'{call.request.url.path}' or the scope is invalid. If access was recently granted, "
            "please refresh your credentials.",
            layer="arm",
        )

    def _check_names(self, target: Target) -> None:
        group, cluster = target.name("group"), target.name("cluster")
        if group and group.lower() != self.place.group.lower():
            message = f"Resource group '{group}' could not be found."
            raise ArmError(404, "ResourceGroupNotFound", message, layer="arm")
        if not cluster or cluster.lower() == self.place.cluster.lower():
            return
        if target.route.name == "put_pool":
            message = (
                "Failed to perform 'write' on resource(s) of type 'managedClusters/agentPools', "
                f"because the parent resource '{self.place.group_id}/providers/"
                f"Microsoft.ContainerService/managedClusters/{cluster}' could not be found."
            )
            raise ArmError(404, "ParentResourceNotFound", message, layer="arm")
        raise not_found("managedClusters", cluster, group)

    def _openid(self, call: "_Call") -> Response:
        return _json(self.entra.openid_configuration(call.base_url, call.named("tenant")))

    def _token(self, call: "_Call") -> Response:
        form = dict(parse_qsl(call.body.decode(errors="replace")))
        return _json(self.entra.sign_in(call.named("tenant"), form))

    def _prices(self, call: "_Call") -> Response:
        query = call.request.query_params
        skip = int(query["$skip"]) if query.get("$skip", "").isdigit() else 0
        url = str(call.request.url.remove_query_params("$skip"))
        found = prices.items(self._catalogue)
        passing = query.get("$filter", "")
        return _json(prices.page(found, passing, skip, url, self.price_page_size))

    def _get_cluster(self, _call: "_Call") -> Response:
        profiles = [{"name": body["name"], **body["properties"]} for body in self.pools()]
        return _json(self._cluster.body(profiles))

    def _list_pools(self, call: "_Call") -> Response:
        after = _position(call.request.query_params.get("$skipToken", ""))
        pools = [pool for pool in self._pools.all() if pool.name > after]
        shown = pools[: self.page_size]
        answer: dict[str, Any] = {"value": [self._pools.body(pool) for pool in shown]}
        if len(pools) > len(shown):
            token = base64.urlsafe_b64encode(shown[-1].name.encode()).decode()
            url = call.request.url.include_query_params(**{"$skipToken": token})
            answer["nextLink"] = str(url)
        return _json(answer)

    def _put_pool(self, call: "_Call") -> Response:
        self._cluster.check_running()
        accepted = self._pools.put(call.pool, call.content(), call.conditions)
        return _json(
            accepted.body, accepted.status, self._headers(call, accepted.operation, location=False)
        )

    def _delete_pool(self, call: "_Call") -> Response:
        self._cluster.check_running()
        operation = self._pools.delete(call.pool, call.conditions)
        return Response(status_code=204) if operation is None else self._long(call, operation)

    def _long(self, call: "_Call", operation: Operation) -> Response:
        return Response(status_code=202, headers=self._headers(call, operation, location=True))

    def _headers(self, call: "_Call", operation: Operation, *, location: bool) -> dict[str, str]:
        """AKS tells of a PUT's operation only where its status is."""
        base = (
            f"{call.base_url}{self.place.subscription_id}/providers/Microsoft.ContainerService"
            f"/locations/{self.place.region}"
        )
        query = f"api-version={_OPERATION_VERSION}"
        headers = {
            "Azure-AsyncOperation": f"{base}/operations/{operation.id}?{query}",
            "Retry-After": str(self.poll_after_s),
        }
        if location:
            headers["Location"] = f"{base}/operationresults/{operation.id}?{query}"
        return headers

    def _get_operation(self, call: "_Call") -> Response:
        operation = self._operation(call)
        headers = {} if operation.ended_at_s else {"Retry-After": str(self.poll_after_s)}
        return _json(operation.body(), headers=headers)

    def _get_result(self, call: "_Call") -> Response:
        operation = self._operation(call)
        if operation.ended_at_s is None:
            return self._long(call, operation)
        return Response(status_code=204)

    def _operation(self, call: "_Call") -> Operation:
        found = self._operations.get(call.named("operation"))
        if found is None:
            message = f"The operation {call.named('operation')} was not found."
            raise ArmError(404, "NotFound", message)
        return found

    def _usages(self, call: "_Call") -> Response:
        self._check_location(call)
        return _json({"value": compute.usages(self._catalogue, self._cloud.supply)})

    def _skus(self, call: "_Call") -> Response:
        region = self.place.region
        asked = re.fullmatch(
            r"location eq '([^']*)'", call.request.query_params.get("$filter", "").strip()
        )
        if asked is not None and asked[1].lower() != region.lower():
            return _json({"value": []})
        return _json({"value": compute.skus(self._catalogue, self._cloud.supply, region)})

    def _check_location(self, call: "_Call") -> None:
        given = call.named("location")
        if given.lower() != self.place.region.lower():
            message = (
                f"The provided location '{given}' is not available for resource type "
                f"'locations/usages'. List of available regions is '{self.place.region}'."
            )
            raise ArmError(400, "LocationNotAvailableForResourceType", message, layer="arm")

    def _permissions(self, call: "_Call") -> Response:
        """Source: https://learn.microsoft.com/rest/api/authorization/permissions"""
        who = call.who
        role = {"actions": list(who.actions), "notActions": list(who.not_actions)}
        return _json({"value": [{**role, "dataActions": [], "notDataActions": []}]})


class _Call:
    """One request, read."""

    def __init__(self, request: Request, body: bytes) -> None:
        self.request, self.body = request, body
        self.target = target_of(request.method, request.url.path)
        self.identity: Identity | None = None

    @property
    def who(self) -> Identity:
        assert self.identity is not None, "authenticated before"
        return self.identity

    @property
    def described(self) -> ArmRequest:
        assert self.target is not None, "only what is known is described"
        return ArmRequest(
            action=self.target.route.action,
            method=self.request.method,
            path=self.request.url.path,
            pool=self.pool,
        )

    @property
    def base_url(self) -> str:
        return f"{self.request.url.scheme}://{self.request.url.netloc}"

    @property
    def pool(self) -> str:
        return self.named("pool")

    @property
    def conditions(self) -> Conditions:
        headers = self.request.headers
        return Conditions(
            match=headers.get("if-match", ""), none_match=headers.get("if-none-match", "")
        )

    def named(self, kind: str) -> str:
        return self.target.name(kind) if self.target is not None else ""

    def content(self) -> object:
        """The body's JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


def _check_api_version(call: _Call, target: Target, region: str) -> None:
    """Raises: ArmError."""
    given = call.request.query_params.get("api-version", "")
    if not given:
        message = "The api-version query parameter (?api-version=) is required for all requests."
        raise ArmError(400, "MissingApiVersionParameter", message, layer="arm")
    if "managedClusters" in target.route.action:
        known = _AKS_VERSION.fullmatch(given) is not None and _OLDEST <= given[:10] <= _NEWEST
    else:
        known = _API_VERSION.fullmatch(given) is not None
    if not known:
        kind = target.route.action.split("/")[1]
        raise ArmError(
            400,
            "NoRegisteredProviderFound",
            f"No registered resource provider found for location '{region}' and API version "
            f"'{given}' for type '{kind}'. The supported api-versions are "
            f"'{_OLDEST}, {_NEWEST}'. The supported locations are '{region}'.",
            layer="arm",
        )


def _position(token: str) -> str:
    """The pool after which a page begins. Raises: ArmError."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        message = f"The skip token {token!r} is not one of a nextLink."
        raise ArmError(400, "InvalidParameter", message, target="$skipToken") from error


async def _until_gone(receive: Callable[[], Awaitable[Any]]) -> Response:
    """Wait until the client has gone; nobody hears what is returned."""
    while (await receive())["type"] != "http.disconnect":
        pass
    return Response(status_code=499)


def _json(value: object, code: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(value, separators=(",", ":")).encode()
    return Response(content, code, headers, media_type=_JSON)
