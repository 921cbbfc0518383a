"""kaito on AKS, but for Azure: a real API server, the operator as a process that signs in with
workload identity and orders agent pools through the real SDK, and the twin's Azure and kubelets.

The tests run in order and share one cluster, as its users do. Time is the one on the wall: the
cloud is 600 times as fast as a real one, and the operator is not.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from kaito.adapters.fake.arm.faults import ArmFault, ArmRequest
from kaito.adapters.fake.faults import FailAfter, FailBefore
from kaito.adapters.k8s.client import KubernetesClientApi
from kaito.adapters.k8s.client_configuration import load_configuration
from kaito.adapters.kube_api import (
    NODE,
    NODE_CLAIM,
    POD,
    STATEFUL_SET,
    WORKSPACE,
    KubeApi,
    KubeObject,
    annotations_of,
    condition_of,
    is_true,
    labels_of,
    name_of,
)
from kaito.domain import labels, names
from kaito.domain.machine import CapacityType
from kaito.domain.timestamps import from_rfc3339
from tests.integration.azure_twin import AzureTwin, azure_twin
from tests.integration.conftest import missing_backend
from tests.integration.control_plane import find_binaries
from tests.integration.installation import (
    MISSING_WORKLOADS,
    OPERATOR,
    ROOT,
    Installation,
    Running,
    eventually,
    succeeded,
    workspace,
)
from tests.integration.test_end_to_end import SEEDS, seed

A100, A10 = "Standard_NC24ads_A100_v4", "Standard_NV36ads_A10_v5"
READY_LIMIT_S: Final = 300.0  # the readiness probes alone begin after 30 s
# What the operator waits for by its own clock: lists, pauses, 60 s without the Node of a spot pool.
MACHINE_LIMIT_S: Final = 240.0
PAUSES_S: Final = (30, 60, 120, 240, 300, 300)  # doubling, at most 5 min


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    binaries = find_binaries()
    if binaries is None or not binaries.run_workloads:
        missing_backend(MISSING_WORKLOADS)
    installed = Installation.on(binaries, tmp_path_factory.mktemp("aks"))
    try:
        rights = ROOT / "deploy" / "components" / "machines" / "rbac.yaml"
        installed.kubectl("apply", "-f", str(rights))
        for name, key in (("registry", "a"), ("hugging-face", "HF_TOKEN")):
            installed.kubectl("create", "secret", "generic", name, f"--from-literal={key}=b")
        yield installed
    finally:
        installed.close()


@pytest.fixture(scope="module")
def api(cluster: Installation) -> Iterator[KubernetesClientApi]:
    """An administrator's client: kubectl would be a process for each look."""
    client = KubernetesClientApi(load_configuration(cluster.plane.kubeconfig))
    yield client
    client.close()


@pytest.fixture(scope="module")
def twin(cluster: Installation, api: KubeApi) -> Iterator[AzureTwin]:
    with azure_twin(cluster.plane.kubeconfig) as served:
        yield served


@pytest.fixture(scope="module")
def environment(twin: AzureTwin, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """What an operator needs to sign in to the twin's Azure, and no more."""
    access = twin.endpoint.write_access(tmp_path_factory.mktemp("azure"))
    return {**access, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


@pytest.fixture(scope="module")
def operator(cluster: Installation, environment: Mapping[str, str]) -> Iterator[Running]:
    running = on_aks(cluster, environment)
    yield running
    if running.process.poll() is None:
        running.kill()


def on_aks(
    cluster: Installation, environment: Mapping[str, str], *flags: str, access: Path | None = None
) -> Running:
    """`kaito operator run --provisioner aks`."""
    return cluster.operator(
        "--provisioner",
        "aks",
        "--weights-storage-class=",  # nobody makes volumes on the twin's machines
        *flags,
        kubeconfig=access,
        environment=environment,
    )


def on(instance_type: str, name: str, **annotations: str) -> dict[str, Any]:
    """A small model on such a machine."""
    found = workspace(name)
    found["metadata"]["annotations"] = {
        f"kaito.sh/{key.replace('_', '-')}": value for key, value in annotations.items()
    }
    found["resource"]["instanceType"] = instance_type
    return found


def two_machines(name: str, namespace: str = "default") -> dict[str, Any]:
    """A large model on two machines."""
    found = workspace(name, namespace)
    found["resource"]["instanceType"] = "Standard_NC48ads_A100_v4"
    options = {"modelAccessSecret": "hugging-face"}
    preset = {"name": "llama-3.3-70b-instruct", "presetOptions": options}
    found["inference"] = {"preset": preset}
    return found


def workspace_of(api: KubeApi, name: str, namespace: str = "default") -> KubeObject:
    return api.get(WORKSPACE, name, namespace)


def claims_of(api: KubeApi, name: str, namespace: str = "default") -> list[KubeObject]:
    """The Workspace's NodeClaims."""
    owned = {labels.WORKSPACE: name, labels.WORKSPACE_NAMESPACE: namespace}
    return list(api.list(NODE_CLAIM, labels=owned).items)


def is_served(api: KubeApi, name: str) -> bool:
    """Whether the Workspace has its one machine."""
    return [is_true(claim, "Ready") for claim in claims_of(api, name)] == [True]


def told_of(cluster: Installation, claim: KubeObject) -> dict[str, int]:
    """How often each reason was told of a NodeClaim."""
    counts: dict[str, int] = {}
    for event in cluster.get("events", "-A"):
        if event["involvedObject"]["uid"] == claim["metadata"]["uid"]:
            counts[event["reason"]] = counts.get(event["reason"], 0) + event["count"]
    return counts


def owner_labels(pool: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = pool["properties"]["nodeLabels"]
    return found


def pools_of(twin: AzureTwin, name: str) -> list[Mapping[str, Any]]:
    return [pool for pool in twin.pools() if owner_labels(pool)[labels.WORKSPACE] == name]


@pytest.fixture(scope="module")
def evicted(cluster: Installation, api: KubeApi, twin: AzureTwin, operator: Running) -> str:
    """A Workspace on a spot machine that the cloud wants back from now on. It takes minutes until
    that is over, so it begins before the other tests do."""
    name = "evicted"
    cluster.apply(on(A10, name, capacity_type="spot"))
    eventually(lambda: is_served(api, name), "the spot machine is ready", MACHINE_LIMIT_S)
    twin.evict_spot()
    return name


def test_workspaces_go_ready(
    cluster: Installation, api: KubeApi, twin: AzureTwin, operator: Running, evicted: str
) -> None:
    """The seeds', an older model on GPUs that vLLM does not run on, and one on two machines."""
    falcon = on("Standard_NC12s_v3", "falcon") | {
        "inference": {"preset": {"name": "falcon-7b-instruct"}}
    }
    manifests = [*(seed(name) for name in SEEDS), falcon, two_machines("llama-70b")]
    cluster.apply(*manifests)
    mine = [manifest["metadata"]["name"] for manifest in manifests]

    def unready() -> list[str]:
        return [name for name in mine if not succeeded(workspace_of(api, name))]

    eventually(lambda: unready() == [], "five Workspaces are READY", READY_LIMIT_S)
    claims = [name_of(claim) for name in mine for claim in claims_of(api, name)]
    pools = [str(pool["name"]) for name in mine for pool in pools_of(twin, name)]
    assert sorted(pools) == sorted(claims), "one pool for each NodeClaim, named as it is"
    assert len(pools) == 6
    for pool in twin.pools():
        assert pool["properties"]["tags"]["kaito.sh_nodeclaim"] in owner_claims(api, pool)
    assert operator.process.poll() is None, operator.printed()


def owner_claims(api: KubeApi, pool: Mapping[str, Any]) -> list[str]:
    return [name_of(claim) for claim in claims_of(api, owner_labels(pool)[labels.WORKSPACE])]


def test_a_quota_that_is_exceeded_is_told_at_once_and_asked_for_ever_less_often(
    cluster: Installation, api: KubeApi, twin: AzureTwin, operator: Running
) -> None:
    name = "short"
    twin.change(quota_vcpus={"NCads_A100_v4": 0})
    cluster.apply(on(A100, name))

    def refused(times: int) -> bool:
        return any(
            annotations_of(claim).get(labels.ATTEMPT) == str(times)
            for claim in claims_of(api, name)
        )

    for times, pause_s in enumerate(PAUSES_S, 1):
        eventually(lambda times=times: refused(times), f"{name} is refused {times} times")
        (claim,) = claims_of(api, name)
        not_before_s = from_rfc3339(annotations_of(claim)[labels.ATTEMPT_NOT_BEFORE])
        assert not_before_s - time.time() == pytest.approx(pause_s, abs=10.0)
        launched = condition_of(claim, "Launched")
        assert launched is not None
        assert (launched["status"], launched["reason"]) == ("False", "QuotaExceeded")
        assert f"attempt {times + 1} follows after {pause_s} s" in launched["message"]
        assert "vcpu quota" in launched["message"]
        if times == 1:
            eventually(
                lambda: told_of(cluster, claims_of(api, name)[0]).get("QuotaExceeded") == 1,
                "the first refusal is an event",
            )
            eventually(lambda: says(api, name, "QuotaExceeded"), "the Workspace says it too")
        if times == len(PAUSES_S):
            twin.change(quota_vcpus={"NCads_A100_v4": 1000})
        cluster.kubectl("annotate", "workspace", name, f"{labels.RETRY}={times}", "--overwrite")
    # 30 s and 5 min of pauses were passed over by asking for it.
    eventually(lambda: is_served(api, name), "the machine is ready", MACHINE_LIMIT_S)
    (claim,) = claims_of(api, name)
    assert told_of(cluster, claim)["QuotaExceeded"] == len(PAUSES_S)
    assert len(pools_of(twin, name)) == 1


def says(api: KubeApi, name: str, reason: str) -> bool:
    conditions = (workspace_of(api, name).get("status") or {}).get("conditions") or ()
    return any(each["reason"] == reason for each in conditions)


def test_a_stock_out_after_the_order_falls_back_to_the_next_type(
    cluster: Installation, api: KubeApi, twin: AzureTwin, operator: Running
) -> None:
    name = "fallback"
    twin.change(stock={(A100.lower(), zone): 0 for zone in (1, 2, 3)})
    cluster.apply(on(A100, name, fallback_instance_types=A10))
    eventually(lambda: is_served(api, name), "the machine is ready", MACHINE_LIMIT_S)
    (claim,) = claims_of(api, name)
    assert labels_of(claim)[labels.INSTANCE_TYPE] == A10
    told = told_of(cluster, claim)
    assert told["InsufficientCapacity"] == 1, "the order was taken, and failed"
    assert told["NextOffer"] == 1
    (pool,) = pools_of(twin, name)
    assert pool["properties"]["vmSize"] == A10, "the pool that failed is deleted"
    lives = twin.lives_of(workspace_of(api, name)["metadata"]["uid"])
    assert [life.instance_type.name for life in lives] == [A100, A10]


def test_spot_that_is_not_to_be_had_is_bought_on_demand(
    cluster: Installation, api: KubeApi, twin: AzureTwin, operator: Running
) -> None:
    name = "on-demand-then"
    twin.change(quota_vcpus={"spot": 0})
    cluster.apply(on(A10, name, capacity_type="spot-then-on-demand"))
    try:
        eventually(lambda: is_served(api, name), "the machine is ready", MACHINE_LIMIT_S)
    finally:
        twin.change(quota_vcpus={"spot": 1000})
    (life,) = twin.lives_of(workspace_of(api, name)["metadata"]["uid"])
    assert life.order.capacity_type is CapacityType.ON_DEMAND
    told = told_of(cluster, claims_of(api, name)[0])
    assert (told["QuotaExceeded"], told["NextOffer"]) == (1, 1)


def test_an_evicted_spot_machine_is_replaced(
    cluster: Installation, api: KubeApi, twin: AzureTwin, operator: Running, evicted: str
) -> None:
    """AKS keeps the pool of a spot machine that is gone, and says nothing."""
    uid = workspace_of(api, evicted)["metadata"]["uid"]

    def replaced() -> bool:
        return len(twin.lives_of(uid)) == 2 and is_served(api, evicted)

    eventually(replaced, "another machine is ready", MACHINE_LIMIT_S)
    first, second = twin.lives_of(uid)
    assert first.released_at_s is not None
    assert first.order.capacity_type is second.order.capacity_type is CapacityType.SPOT
    assert told_of(cluster, claims_of(api, evicted)[0])["SpotEvicted"] == 1
    (pool,) = pools_of(twin, evicted)
    assert pool["name"] == second.order.name, "the empty pool is deleted"
    eventually(
        lambda: succeeded(workspace_of(api, evicted)), "the model serves again", READY_LIMIT_S
    )


def test_deleting_leaves_nothing(
    cluster: Installation, api: KubeApi, twin: AzureTwin, operator: Running
) -> None:
    cluster.kubectl("delete", "workspaces", "--all", "--wait=false")
    eventually(lambda: twin.pools() == [], "no pool is left", READY_LIMIT_S)
    for kind in (NODE, NODE_CLAIM, WORKSPACE):
        eventually(lambda kind=kind: not api.list(kind).items, f"no {kind.kind} is left")
    assert operator.stop() == 0, operator.printed()


def test_what_is_printed_has_no_ids_in_it(
    operator: Running, environment: Mapping[str, str]
) -> None:
    told = operator.printed()
    for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID"):
        assert environment[name] not in told


class Kill:
    """Where the operator of one Workspace is killed: at this request for the pool of its machine
    `slot`, before Azure hears of it or after."""

    def __init__(self, method: str, slot: int, fault: ArmFault) -> None:
        self.method, self.slot, self.fault = method, slot, fault

    def __str__(self) -> str:
        when = "before" if isinstance(self.fault, FailBefore) else "after"
        return f"{self.method.lower()}-{self.slot}-{when}"


SINGLE = [Kill(how, 0, fault) for how in ("PUT", "DELETE") for fault in (FailBefore(), FailAfter())]
DOUBLE = [Kill("PUT", 1, FailAfter()), Kill("DELETE", 1, FailBefore())]


class Life:
    """A Workspace in a namespace of its own, with an operator of its own, from apply to gone."""

    def __init__(
        self,
        cluster: Installation,
        api: KubeApi,
        twin: AzureTwin,
        environment: Mapping[str, str],
        kill: Kill,
        machines: int,
    ) -> None:
        self._cluster, self._api, self._twin = cluster, api, twin
        self._environment, self._kill, self._machines = environment, kill, machines
        self._name, self._namespace = "model", f"{kill}-of-{machines}"
        self._operator: Running
        self._started = threading.Event()
        self.pool = ""
        self.killed = False
        self.row = ""

    def run(self) -> "Life":
        self._cluster.kubectl("create", "namespace", self._namespace)
        make = workspace if self._machines == 1 else two_machines
        if self._machines > 1:
            token = "--from-literal=HF_TOKEN=b"
            at = ("-n", self._namespace)
            self._cluster.kubectl("create", "secret", "generic", "hugging-face", token, *at)
        self._cluster.apply(make(self._name, self._namespace))
        uid = workspace_of(self._api, self._name, self._namespace)["metadata"]["uid"]
        self.pool = names.machine_name(uid, self._kill.slot, 0)
        self._start()
        began_s = time.monotonic()
        self._until(self._is_ready, "READY")
        ready_s = time.monotonic() - began_s
        assert len(self._pools(uid)) == self._machines
        at = ("-n", self._namespace)
        self._cluster.kubectl("delete", "workspace", self._name, *at, "--wait=false")
        self._until(lambda: self._is_gone(uid), "gone")
        gone_s = time.monotonic() - began_s
        lives = self._twin.lives_of(uid)
        assert len(lives) == self._machines, f"{self._namespace}: a pool was made twice"
        assert self.killed, self._namespace
        assert self._operator.stop() == 0
        self.row = f"{self._namespace:22} READY after {ready_s:3.0f} s, gone after {gone_s:3.0f} s"
        return self

    def choose(self, request: ArmRequest) -> ArmFault | None:
        """Kill the operator if this is the request. It happens in the server's thread."""
        if self.killed or (request.method, request.pool) != (self._kill.method, self.pool):
            return None
        assert self._started.wait(READY_LIMIT_S), self._namespace
        self.killed = True
        self._operator.kill()
        return self._kill.fault

    def _start(self) -> None:
        access = self._cluster.service_account(OPERATOR)
        flags = ("--namespace", self._namespace)
        self._operator = on_aks(self._cluster, self._environment, *flags, access=access)
        self._started.set()

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        def check() -> bool:
            if self._operator.process.poll() is not None:
                assert self.killed, self._operator.printed()
                self._start()
            return holds()

        eventually(check, f"{self._namespace}: {what}", READY_LIMIT_S)

    def _is_ready(self) -> bool:
        return succeeded(workspace_of(self._api, self._name, self._namespace))

    def _is_gone(self, uid: str) -> bool:
        if self._pools(uid) or claims_of(self._api, self._name, self._namespace):
            return False
        kinds = (WORKSPACE, STATEFUL_SET, POD)
        return not any(self._api.list(kind, self._namespace).items for kind in kinds)

    def _pools(self, uid: str) -> list[str]:
        return [
            str(pool["name"])
            for pool in self._twin.pools()
            if owner_labels(pool)[labels.WORKSPACE_UID] == uid
        ]


def test_sigkill_at_requests_to_azure_leaks_no_pool_and_makes_none_twice(
    cluster: Installation,
    api: KubeApi,
    twin: AzureTwin,
    environment: Mapping[str, str],
    record_property: Callable[[str, object], None],
) -> None:
    """`tests/simulation/test_aks_crash_everywhere.py` takes every request in turn."""
    cases = [*((kill, 1) for kill in SINGLE), *((kill, 2) for kill in DOUBLE)]
    lives = [Life(cluster, api, twin, environment, *case) for case in cases]

    def choose(request: ArmRequest) -> ArmFault | None:
        found = (life.choose(request) for life in lives if life.pool)
        return next((fault for fault in found if fault is not None), None)

    twin.endpoint.front.choose = choose
    with ThreadPoolExecutor(len(lives)) as pool:
        done = list(pool.map(Life.run, lives))
    assert twin.pools() == []
    assert list(api.list(NODE).items) == []
    told = "\n".join(life.row for life in done)
    record_property("measured", f"operator on AKS, SIGKILL at a request:\n{told}")


def test_the_shipped_rights_are_enough(cluster: Installation) -> None:
    """From the API server's audit log of everything above."""
    forbidden = {
        json.dumps([event["verb"], event["requestURI"]])
        for event in cluster.requests_of(OPERATOR)
        if event["responseStatus"]["code"] == 403
    }
    assert forbidden == set()
