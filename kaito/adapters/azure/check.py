"""`kaito azure check`: what is missing before a machine is ordered. It changes nothing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from azure.core.exceptions import AzureError
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.containerservice.models import AgentPool, ManagedCluster

from kaito.adapters.azure.arm_reads import JsonReader, Unread
from kaito.adapters.azure.check_cluster import (
    cluster_findings,
    lacking,
    not_found,
    permission_findings,
    pool_findings,
)
from kaito.adapters.azure.check_kubernetes import kubernetes_findings
from kaito.adapters.azure.check_machines import (
    Wish,
    by_type,
    machines_of,
    price_finding,
    quota_findings,
    size_findings,
)
from kaito.adapters.azure.error_table import Reaction
from kaito.adapters.azure.errors import AzureErrors, Refusal
from kaito.adapters.azure.findings import Area, Finding, Status
from kaito.adapters.azure.market import AzureMarket
from kaito.adapters.azure.permissions import OF_SUBSCRIPTION, Permission, read_permissions
from kaito.adapters.azure.redaction import Redactor
from kaito.adapters.azure.settings import AzureSettings, CredentialKind
from kaito.adapters.kube_api import KubeApi
from kaito.domain.machine import CapacityType

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Azure:
    """What the check asks. `sign_in` gets a token, and raises an AzureError where there is none."""

    client: ContainerServiceClient
    reader: JsonReader
    market: AzureMarket
    errors: AzureErrors
    sign_in: Callable[[], object]


class AzureCheck:
    """Looks at a cluster and at what may be ordered there. `credential` is the kind that is used;
    `api` is the cluster itself, None where none was named."""

    def __init__(
        self,
        settings: AzureSettings,
        azure: Azure,
        *,
        credential: CredentialKind,
        api: KubeApi | None,
    ) -> None:
        self._settings = settings
        self._azure = azure
        self._credential = credential
        self._api = api

    def findings(self, wishes: Sequence[Wish]) -> Sequence[Finding]:
        """Everything that was found, without any id of an account in it."""
        redact = Redactor(self._settings.secrets)
        return [
            replace(
                found,
                subject=redact(found.subject),
                message=redact(found.message),
                remedy=redact(found.remedy),
            )
            for found in self._findings(wishes)
        ]

    def _findings(self, wishes: Sequence[Wish]) -> Iterator[Finding]:
        refused = self._tried(self._azure.sign_in)
        yield self._signed_in(refused if isinstance(refused, Unread) else None)
        if not isinstance(refused, Unread):
            yield from self._of_azure(wishes)
        spot = any(CapacityType.SPOT in wish.capacity_types for wish in wishes)
        yield from kubernetes_findings(self._api, spot=spot)

    def _signed_in(self, refused: Unread | None) -> Finding:
        subject = self._credential.value
        if refused is None:
            message = "Microsoft Entra gives a token for it"
            if self._credential is CredentialKind.CLI:
                message += "; permissions below are those of your own user, not of kaito's identity"
            return Finding(area=Area.CREDENTIAL, subject=subject, status=Status.OK, message=message)
        return Finding(
            area=Area.CREDENTIAL,
            subject=subject,
            status=Status.MISSING,
            message=f"{refused}; Azure was asked nothing else",
            remedy="az login" if self._credential is CredentialKind.CLI else "",
        )

    def _of_azure(self, wishes: Sequence[Wish]) -> Iterator[Finding]:
        settings = self._settings
        cluster = self._tried(self._cluster)
        pools = self._tried(self._pools)
        limit = settings.limits.pools
        if isinstance(cluster, Unread):
            yield not_found(cluster, settings)
        else:
            yield from cluster_findings(cluster, settings, self._credential)
            limit = min(limit, cluster.max_agent_pools or limit)
        yield from permission_findings(
            self._permissions(), pools if isinstance(pools, Unread) else None, settings
        )
        if isinstance(pools, Unread):
            yield Finding(
                area=Area.AGENT_POOLS,
                subject=settings.cluster_name,
                status=Status.NOT_CHECKED,
                message=f"could not be listed: {pools}",
            )
        else:
            yield from pool_findings(pools, limit, machines_of(wishes), settings)
        yield from self._of_market(wishes)

    def _of_market(self, wishes: Sequence[Wish]) -> Iterator[Finding]:
        market = self._azure.market
        sizes, quotas = self._tried(market.sizes), self._tried(market.quotas)
        for need, answer in zip(OF_SUBSCRIPTION, (sizes, quotas), strict=True):
            if not isinstance(answer, Unread):
                status, message = Status.OK, f"granted: {need.purpose}"
                yield Finding(
                    area=Area.PERMISSION, subject=need.action, status=status, message=message
                )
            elif answer.denied:
                yield lacking(need, self._settings, of_subscription=True)
            else:
                yield Finding(
                    area=Area.PERMISSION,
                    subject=need.action,
                    status=Status.NOT_CHECKED,
                    message=f"needed to {need.purpose}: {answer}",
                )
        yield from size_findings(wishes, sizes, self._settings)
        yield from quota_findings(wishes, sizes, quotas, self._settings)
        for name, of_type in by_type(wishes).items():
            yield price_finding(name, of_type, market.price(name))

    def _cluster(self) -> ManagedCluster:
        place = (self._settings.resource_group, self._settings.cluster_name)
        return self._azure.client.managed_clusters.get(*place)

    def _pools(self) -> Sequence[AgentPool]:
        place = (self._settings.resource_group, self._settings.cluster_name)
        return list(self._azure.client.agent_pools.list(*place))

    def _permissions(self) -> Sequence[Permission] | Unread:
        settings = self._settings
        scope = (
            f"/subscriptions/{settings.subscription_id}/resourceGroups/{settings.resource_group}"
            f"/providers/Microsoft.ContainerService/managedClusters/{settings.cluster_name}"
        )
        return self._tried(lambda: read_permissions(self._azure.reader, scope))

    def _tried(self, call: Callable[[], T]) -> T | Unread:
        """What the call returns, or why it does not."""
        try:
            return call()
        except Unread as error:
            return error
        except AzureError as error:
            return Unread(self._azure.errors.read(error))
        except ValueError as error:
            text = f"the answer cannot be read: {type(error).__name__}"
            return Unread(Refusal(reaction=Reaction.TRANSIENT, text=text))
