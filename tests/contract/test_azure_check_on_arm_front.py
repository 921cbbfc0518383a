"""`kaito azure check` as a user runs it: real SDK and credential, over HTTPS to the twin's Azure.
No id of an account and no secret comes out of it, nor out of the rest of the package."""

import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kaito.adapters.azure.client import make_client
from kaito.adapters.azure.cloud import AksMachineCloud
from kaito.adapters.azure.credentials import make_credential
from kaito.adapters.azure.settings import AzureSettings, CredentialKind
from kaito.adapters.fake.arm.faults import Refuse
from kaito.adapters.fake.cloud_limits import CloudLimits
from kaito.cli import app
from kaito.domain.errors import PortError
from kaito.domain.machine import MachineOrder, Owner
from kaito.system_clock import SystemClock, monotonic_s
from tests.contract.azure_world import SIZE, AzureWorld

FAMILY = "NCads_A100_v4"
POOLS = "Microsoft.ContainerService/managedClusters/agentPools"
READER = ("Microsoft.ContainerService/*/read", "Microsoft.Authorization/permissions/read")


class Check:
    """Runs the command in an environment as AKS's workload identity makes it."""

    def __init__(self, world: AzureWorld, directory: Path) -> None:
        self.world = world
        token_file = directory / "token"
        token_file.write_text(world.endpoint.identity.assertion, encoding="utf-8")
        place = world.place
        self.ca_file = Path(world.authority_file(directory))
        self.environment = {
            "ARM_SUBSCRIPTION_ID": place.subscription,
            "ARM_RESOURCE_GROUP": place.group,
            "AZURE_CLUSTER_NAME": place.cluster,
            "LOCATION": place.region,
            "AZURE_TENANT_ID": place.tenant,
            "AZURE_CLIENT_ID": world.endpoint.identity.client_id,
            "AZURE_FEDERATED_TOKEN_FILE": str(token_file),
            "AZURE_AUTHORITY_HOST": world.url,
            "KAITO_AZURE_ARM_ENDPOINT": world.url,
            "KAITO_AZURE_PRICES_ENDPOINT": world.url,
            "KAITO_AZURE_CA_FILE": str(self.ca_file),
        }
        self.printed = ""

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        """Exit code, and everything that was printed."""
        result = CliRunner().invoke(
            app, ["azure", "check", *arguments], env=self.environment | environment
        )
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.printed += result.output + result.stderr
        return result.exit_code, result.output

    def checks(self, *arguments: str, **environment: str) -> tuple[int, list[dict[str, str]]]:
        """Exit code and what is not ok, as the JSON says it; no kubeconfig is given."""
        code, out = self.run("-o", "json", *arguments, **environment)
        found = json.loads(out)
        assert found["result"] == ("missing" if code else "ok")
        return code, [
            one
            for one in found["checks"]
            if one["status"] != "ok" and one["area"] not in {"gpu", "kubernetes"}
        ]

    def with_role(self, *actions: str, without: tuple[str, ...] = ()) -> None:
        """Give the identity another role."""
        identity = replace(self.world.endpoint.identity, actions=actions, not_actions=without)
        self.world.at(lambda: self.world.front.entra.register(identity))

    def secrets(self) -> set[str]:
        """Ids and secrets that nobody may be told."""
        place, identity = self.world.place, self.world.endpoint.identity
        return {
            place.subscription,
            place.tenant,
            identity.client_id,
            identity.secret,
            identity.assertion,
            *self.world.at(lambda: list(self.world.front.entra._issued)),
        }


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Check]]:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    worlds: list[AzureWorld] = []

    def started(limits: CloudLimits | None = None) -> Check:
        world = AzureWorld(limits=limits)
        world.__enter__()
        worlds.append(world)
        return Check(world, tmp_path)

    yield started
    for world in worlds:
        world.__exit__()


def shown(found: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(one["area"], one["subject"], one["status"]) for one in found]


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is asked, not even by a default."""

    def resolved(host: Any, *arguments: Any, **options: Any) -> Any:
        assert host in {"127.0.0.1", "localhost"}, host
        return real(host, *arguments, **options)

    real = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", resolved)


def test_nothing_is_missing(start: Callable[..., Check]) -> None:
    check = start()
    assert check.checks("--instance-type", SIZE) == (0, [])
    code, out = check.run("--instance-type", SIZE.lower())
    assert code == 0
    assert "nothing is missing" in out
    assert "(Azure's retail prices, of " in out


def test_what_is_missing_each_with_a_remedy(start: Callable[..., Check]) -> None:
    check = start(CloudLimits(quota_vcpus={FAMILY: 23}, restricted=frozenset()))
    code, found = check.checks("--instance-type", SIZE)
    assert (code, shown(found)) == (
        1,
        [("quota", "Standard NCADSA100v4 Family vCPUs", "missing")],
    )
    check.with_role(*READER)
    code, found = check.checks()
    assert (code, shown(found)) == (
        1,
        [
            ("permission", f"{POOLS}/write", "missing"),
            ("permission", f"{POOLS}/delete", "missing"),
            ("permission", "Microsoft.Compute/skus/read", "warning"),
            ("permission", "Microsoft.Compute/locations/usages/read", "warning"),
        ],
    )
    assert {one["remedy"].partition(" --")[0] for one in found} == {"az role assignment create"}


def test_everything_that_workspaces_may_order(start: Callable[..., Check], tmp_path: Path) -> None:
    check = start(CloudLimits(quota_vcpus={FAMILY: 0}))
    manifest = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {
            "name": "phi",
            "annotations": {"kaito.sh/fallback-instance-types": SIZE},
        },
        "resource": {
            "instanceType": "Standard_NV36ads_A10_v5",
            "labelSelector": {"matchLabels": {"apps": "phi"}},
        },
        "inference": {"preset": {"name": "phi-4-mini-instruct"}},
    }
    file = tmp_path / "workspace.json"
    file.write_text(json.dumps(manifest), encoding="utf-8")
    code, found = check.checks("-f", str(file))
    assert (code, shown(found)) == (
        0,
        [("quota", "Standard NCADSA100v4 Family vCPUs", "warning")],
    )
    manifest["resource"]["instanceType"] = "g6.xlarge"  # type: ignore[index]
    manifest["metadata"]["annotations"] = {}  # type: ignore[index]
    file.write_text(json.dumps(manifest), encoding="utf-8")
    code, found = check.checks("-f", str(file))
    assert (code, shown(found)) == (1, [("workspace", "default/phi", "missing")])


@pytest.mark.parametrize(
    ("environment", "field"),
    [
        ({"LOCATION": ""}, "--azure-location"),
        ({"ARM_SUBSCRIPTION_ID": "x"}, "--azure-subscription-id"),
        ({"KAITO_AZURE_PRICES_ENDPOINT": "http://prices"}, "--azure-prices-endpoint"),
        ({"AZURE_FEDERATED_TOKEN_FILE": "/nowhere"}, "AZURE_FEDERATED_TOKEN_FILE"),
        ({"KAITO_KUBECONFIG": "/nowhere"}, "kubeconfig"),
    ],
)
def test_bad_input(start: Callable[..., Check], environment: Mapping[str, str], field: str) -> None:
    check = start()
    assert check.run(**environment)[0] == 2
    assert field in check.printed


def test_instance_types_that_azure_has_not(start: Callable[..., Check]) -> None:
    check = start()
    for name, said in (("Standard_NC24ads", "Did you mean"), ("g6.xlarge", "sold by aws")):
        assert check.run("--instance-type", name)[0] == 2
        assert said in check.printed


def test_without_a_good_assertion(start: Callable[..., Check], tmp_path: Path) -> None:
    check = start()
    (tmp_path / "token").write_text("other", encoding="utf-8")
    code, found = check.checks("--instance-type", SIZE)
    assert (code, shown(found)) == (1, [("credential", "workload-identity", "missing")])


def test_prices_that_kaito_brings(start: Callable[..., Check]) -> None:
    check = start()
    asked: list[str] = []
    check.world.front.choose = lambda request: asked.append(request.action)
    for arguments, variable in (((), ""), (("--azure-prices-endpoint", ""), check.world.url)):
        _, out = check.run(
            "--instance-type", SIZE, *arguments, KAITO_AZURE_PRICES_ENDPOINT=variable
        )
        assert "(kaito's presets, of " in out
    assert "Microsoft.Compute/skus/read" in asked
    assert "prices" not in asked


def _settings(check: Check, **changes: Any) -> AzureSettings:
    place = check.world.place
    given: dict[str, Any] = {
        "subscription_id": place.subscription,
        "resource_group": place.group,
        "cluster_name": place.cluster,
        "location": place.region,
        "tenant_id": place.tenant,
        "client_id": check.world.endpoint.identity.client_id,
        "arm_endpoint": check.world.url,
        "credential": CredentialKind.WORKLOAD_IDENTITY,
        "ca_file": check.ca_file,
    }
    return AzureSettings(**(given | changes))


def _said_by_the_cloud(check: Check) -> Iterator[str]:
    """What the operator's calls raise while the identity may do nothing, and what they log."""
    settings = _settings(check)
    client = make_client(settings, make_credential(settings, check.environment))
    cloud = AksMachineCloud(
        client, settings, clock=SystemClock(), steady_s=monotonic_s, node_of=lambda _pool: None
    )
    order = MachineOrder(
        name="ws1",
        claim_name="claim",
        owner=Owner(uid="uid", namespace="default", name="phi"),
        instance_type=SIZE,
        disk_bytes=0,
        labels={},
    )
    calls: tuple[Callable[[], object], ...] = (
        cloud.list_machines,
        lambda: cloud.launch(order),
        lambda: cloud.terminate("ws1"),
    )
    for call in calls:
        try:
            call()
        except PortError as error:
            chain: BaseException | None = error
            while chain is not None:
                yield f"{chain!r} {chain}"
                chain = chain.__cause__


def test_no_id_and_no_secret_is_told(
    start: Callable[..., Check], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Azure's answers are full of them; the answers here are, too."""
    caplog.set_level(logging.DEBUG)
    check = start()
    said: list[str] = []
    place, identity = check.world.place, check.world.endpoint.identity
    check.run("--instance-type", SIZE)
    token = check.world.at(lambda: next(iter(check.world.front.entra._issued)))
    told = (
        f"about {place.subscription_id} {place.tenant.upper()} {identity.client_id}, "
        f"client_secret={identity.secret}&client_assertion={identity.assertion}, Bearer {token}"
    )
    for roles in ((), READER, ("*",)):
        check.with_role(*roles)
        check.run("--instance-type", SIZE)
        said += _said_by_the_cloud(check)
    for status, code in ((400, "NeverHeardOf"), (403, "AuthorizationFailed"), (500, "Oops")):
        refusal = Refuse(status=status, code=code, message=told, layer="arm")
        check.world.front.choose = lambda _request, refusal=refusal: refusal  # type: ignore[misc]
        check.run("--instance-type", SIZE, "-o", "json")
        said += _said_by_the_cloud(check)
    check.world.front.choose = lambda _request: None
    (tmp_path / "token").write_text("other", encoding="utf-8")
    check.run("--instance-type", SIZE)
    said += _said_by_the_cloud(check)

    secrets = check.secrets()
    assert len(secrets) > 5, "tokens were issued"
    everything = "\n".join([check.printed, caplog.text, *said])
    assert "NeverHeardOf" in everything, "what is not secret is told"
    assert [secret for secret in secrets if secret.lower() in everything.lower()] == []
