"""kaito's AKS adapter with the real SDK and a real credential, in front of the twin's Azure."""

import logging
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from azure.mgmt.containerservice import ContainerServiceClient

from kaito.adapters.azure.client import make_client
from kaito.adapters.azure.cloud import AksMachineCloud
from kaito.adapters.azure.credentials import Credential, make_credential
from kaito.adapters.azure.settings import AzureSettings, CredentialKind
from kaito.adapters.fake.arm.endpoint import ArmEndpoint
from kaito.adapters.fake.arm.faults import ArmFault, ArmRequest, Refuse
from kaito.adapters.fake.faults import FailAfter, FailBefore
from kaito.adapters.k8s.node_lookup import PoolNodes
from kaito.domain.machine import CloudMachine, MachineOrder, NodeView, Owner, Shortage
from kaito.domain.ports import MachineCloud
from tests.contract.azure_world import SIZE, AzureWorld
from tests.contract.machine_cloud_contract import (
    THROTTLED_S,
    CloudWorld,
    Lost,
    Refusal,
    Verb,
)

UID: Final = "11111111-2222-4333-8444-555555555555"
POOLS: Final = "Microsoft.ContainerService/managedClusters/agentPools"
ACTION_OF: Final[Mapping[Verb, str]] = {
    "launch": f"{POOLS}/write",
    "terminate": f"{POOLS}/delete",
    "list": f"{POOLS}/read",
}
ProofOf = Literal["assertion", "secret"]
# Whose lines are Azure's own, and not the operator's.
_OF_THE_TWIN: Final = ("asyncio", "uvicorn", "kaito.adapters.fake")


def unmapped(code: str, text: str) -> None:
    """A code that the table of errors does not have fails the test."""
    raise AssertionError(f"{code} is not in the table: {text}")


class Aks:
    """Adapters for the cluster behind an endpoint; each is one life of the operator's process.

    `proof`: what it signs in with. What is raised to the operator is kept in `told`.
    """

    def __init__(
        self,
        endpoint: ArmEndpoint,
        directory: Path,
        *,
        now_s: Callable[[], float],
        node_of: Callable[[str], NodeView | None],
        proof: ProofOf = "assertion",
        **changes: Any,
    ) -> None:
        self.endpoint, self.told = endpoint, list[str]()
        self._now_s, self._node_of = now_s, node_of
        place = endpoint.front.place
        environment = endpoint.write_access(directory)
        if proof == "secret":
            environment["AZURE_CLIENT_SECRET"] = endpoint.identity.secret
        given: dict[str, Any] = {
            "subscription_id": place.subscription,
            "resource_group": place.group,
            "cluster_name": place.cluster,
            "location": place.region,
            "tenant_id": place.tenant,
            "client_id": endpoint.identity.client_id,
            "arm_endpoint": endpoint.url,
            "credential": CredentialKind.SERVICE_PRINCIPAL
            if proof == "secret"
            else CredentialKind.WORKLOAD_IDENTITY,
            "ca_file": Path(environment["REQUESTS_CA_BUNDLE"]),
        }
        self.settings = AzureSettings(**(given | changes))
        self._environment = environment
        self._opened: list[Credential | ContainerServiceClient] = []

    def adapter(self, **changes: Any) -> AksMachineCloud:
        """A new one, that remembers nothing; `changes` are of its settings."""
        settings = replace(self.settings, **changes)
        return AksMachineCloud(
            self.client(settings),
            settings,
            clock=self,
            steady_s=self._now_s,
            node_of=self._node_of,
            on_unmapped=unmapped,
        )

    def client(self, settings: AzureSettings | None = None) -> ContainerServiceClient:
        """A client with a credential of its own."""
        settings = settings or self.settings
        credential = make_credential(settings, self._environment)
        made = make_client(settings, credential)
        self._opened += [credential, made]
        return made

    def now_s(self) -> float:
        """The world's time: as a `Clock`."""
        return self._now_s()

    def close(self) -> None:
        """Let go of the connections."""
        for one in reversed(self._opened):
            one.close()
        self._opened.clear()

    @property
    def secrets(self) -> list[str]:
        """What nobody may read in logs, events, conditions and errors."""
        entra, identity = self.endpoint.front.entra, self.endpoint.identity
        return [*self.settings.secrets, identity.secret, identity.assertion, *entra._issued]

    @contextmanager
    def listening(self) -> Iterator[list[logging.LogRecord]]:
        """Everything that is logged meanwhile, by whomever and of whatever level."""
        root, ear = logging.getLogger(), _Ear()
        before = root.level
        root.setLevel(logging.DEBUG)
        root.addHandler(ear)
        try:
            yield ear.records
        finally:
            root.removeHandler(ear)
            root.setLevel(before)

    def check_silence(self, records: Iterable[logging.LogRecord], *more: str) -> None:
        """Nothing secret stands in the log, in what was raised, or in `more`."""
        lines = [
            f"{record.name}: {logging.Formatter().format(record)}"
            for record in records
            if not record.name.startswith(_OF_THE_TWIN)
        ]
        for text in [*lines, *self.told, *more]:
            found = [secret for secret in self.secrets if secret.lower() in text.lower()]
            assert not found, f"{len(found)} secrets are told: {text}"


class _Ear(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class Overheard:
    """Another `MachineCloud`; the text of every error that it raises is kept, with what led to it,
    as a log would show it. `inner` may be replaced."""

    def __init__(self, inner: MachineCloud, told: list[str]) -> None:
        self.inner, self._told = inner, told

    def launch(self, order: MachineOrder) -> None:
        with self._kept():
            self.inner.launch(order)

    def terminate(self, cloud_name: str) -> None:
        with self._kept():
            self.inner.terminate(cloud_name)

    def list_machines(self, claim_name: str | None = None) -> Sequence[CloudMachine]:
        with self._kept():
            listed = self.inner.list_machines(claim_name)
        self._told += [one.error for one in listed if one.error]
        return listed

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._told += ["".join(traceback.format_exception(error)), repr(error)]
            raise


class BehindAks:
    """`Behind`, for an agent pool API: by its own faults, and by its cloud's limits. `client` is of
    somebody who owns the cluster."""

    def __init__(self, azure: AzureWorld, client: ContainerServiceClient) -> None:
        self.azure, self._client = azure, client
        self.sent: list[ArmRequest] = []
        self.next: list[tuple[str, ArmFault]] = []  # the action that each is for
        azure.front.choose = self._choose

    def _choose(self, request: ArmRequest) -> ArmFault | None:
        if not request.action.startswith(POOLS):
            return None
        self.sent.append(request)
        if self.next and self.next[0][0] == request.action:
            return self.next.pop(0)[1]
        return None

    def play(self, verb: Verb, fault: ArmFault) -> None:
        """Let it happen to the next request of that kind."""
        self.next.append((ACTION_OF[verb], fault))

    def refuse(self, reason: Refusal) -> None:
        codes: Mapping[Refusal, str] = {
            "capacity": "SkuNotAvailable",
            "quota": "ErrCode_InsufficientVCPUQuota",
            "limit": "MaxAgentPoolCountReached",
            "rejected": "RequestDisallowedByPolicy",
        }
        if reason == "throttled":
            busy = Refuse(status=429, code="Throttled", retry_after_s=THROTTLED_S)
            self.play("launch", busy)
        else:
            self.play("launch", Refuse(status=400, code=codes[reason]))

    def lose(self, verb: Verb, what: Lost) -> None:
        self.play(verb, FailBefore() if what == "request" else FailAfter())

    def fail_later(self, shortage: Shortage | None) -> None:
        if shortage is None:
            self.azure.change(create_failure_rate=1.0)
        else:
            places = {(SIZE.lower(), zone): 0 if zone == 1 else 9 for zone in (1, 2, 3)}
            self.azure.change(stock=places)

    def recover(self) -> None:
        self.azure.change(create_failure_rate=0.0, stock={(SIZE.lower(), 1): 9})

    def limit(self, machines: int) -> None:
        self.azure.change(machines=machines)

    def stop(self) -> None:
        place = self.azure.place
        self._client.managed_clusters.begin_stop(place.group, place.cluster, polling=False)

    def start(self) -> None:
        place = self.azure.place
        self._client.managed_clusters.begin_start(place.group, place.cluster, polling=False)

    def evict(self) -> None:
        self.azure.at(lambda: self.azure.cloud.evict_spot(1.0))


class AksStage:
    """A cluster for many tests, one after the other; each begins with nothing in it."""

    def __init__(self, azure: AzureWorld, directory: Path, *, proof: ProofOf) -> None:
        self.azure = azure
        azure.front.entra.token_life_s = 1e6  # more than passes: the SDK counts real seconds
        nodes = PoolNodes(azure.store)

        def make(proof: ProofOf) -> Aks:
            return Aks(
                azure.endpoint,
                directory,
                now_s=azure.now_s,
                node_of=lambda pool: azure.at(lambda: nodes.node_of(pool)),
                proof=proof,
                zones=("1", "2", "3"),
            )

        self.aks, self._owner = make(proof), make("assertion")
        self.behind = BehindAks(azure, self._owner.client())

    def world(self, **changes: Any) -> CloudWorld:
        """The world of one test, which `clear` ends; `changes` are of the adapter's settings."""
        return CloudWorld(
            cloud=Overheard(self.aks.adapter(**changes), self.aks.told),
            uid=UID,
            instance_type=SIZE,
            settle=self._settle,
            now_s=self.azure.now_s,
            billed=self.azure.billed,
            node_labels=self.azure.node_labels,
            behind=self.behind,
            pass_by=self.azure.skip,
            add_foreign=lambda: self.add_pool("nodepool1"),
        )

    def add_pool(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """A pool that somebody else has made."""
        order = MachineOrder(
            name=name,
            claim_name=name,
            owner=Owner(uid="", namespace="", name=""),
            instance_type=SIZE,
            disk_bytes=0,
            labels=labels or {},
        )
        self.azure.at(lambda: self.azure.cloud.order(order, ()))
        return name

    def clear(self) -> None:
        """Give everything back, and let nothing be wrong any more; the adapters are closed."""
        self.aks.close()
        self.behind.next.clear()
        self.behind.sent.clear()

        def give_back() -> None:
            for name in list(self.azure.cloud.live):
                self.azure.cloud.give_back(name)

        stock = {(SIZE.lower(), zone): 1000 for zone in (1, 2, 3)}
        self.azure.change(machines=None, create_failure_rate=0.0, stock=stock)
        self.azure.at(give_back)
        self._settle()
        assert self.azure.nodes() == []

    def close(self) -> None:
        """Let go of the connections."""
        self.aks.close()
        self._owner.close()

    def _settle(self) -> None:
        self.azure.settle()
        self.azure.skip(self.aks.settings.list_age_s + 1.0)
