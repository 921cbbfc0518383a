"""`kaito azure check`: the Azure SDK, the cluster and the catalogue behind it. Imported only where
the Azure SDK is installed."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kaito.adapters.azure.arm_reads import JsonReader
from kaito.adapters.azure.check import Azure, AzureCheck
from kaito.adapters.azure.check_machines import Wish
from kaito.adapters.azure.client import audience_of, make_client
from kaito.adapters.azure.credentials import chosen, make_credential
from kaito.adapters.azure.errors import AzureErrors
from kaito.adapters.azure.findings import Area, Finding, Status, is_complete
from kaito.adapters.azure.market import AzureMarket
from kaito.adapters.azure.redaction import Redactor
from kaito.adapters.azure.retail_prices import make_price_client
from kaito.adapters.azure.settings import AzureSettings
from kaito.adapters.kube_api import KubeApi
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.cluster_view import ConfigView
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.workspace import Workspace
from kaito.system_clock import SystemClock, monotonic_s

_CLOUD = "azure"


def check_azure(
    settings: AzureSettings,
    catalogue: Catalogue,
    *,
    instance_types: Sequence[str],
    workspaces: Sequence[tuple[Workspace, ConfigView | None]],
    prices_endpoint: str,
    kubeconfig: Path | None,
) -> Mapping[str, Any]:
    """What was found, as docs/azure.md describes it.

    `instance_types` are looked at for one machine each. `prices_endpoint` empty: only the prices of
    presets/. `kubeconfig` None: within a pod its cluster is looked into, and none elsewhere.
    Raises: InvalidInput (an instance type is none of Azure's, an address is wrong, no cluster is
    configured, or what the credential needs is missing).
    """
    wishes = [_wish(name, catalogue) for name in instance_types]
    refused: list[Finding] = []
    for workspace, config in workspaces:
        wanted = decide(workspace, catalogue, config)
        problem = _problem(wanted)
        if isinstance(wanted, Refusal) or problem:
            refused.append(_refused(workspace, problem))
        else:
            wishes += _wishes(wanted)
    check = _check(settings, catalogue, prices_endpoint, _cluster(kubeconfig))
    findings = [*refused, *check.findings(wishes)]
    return {
        "result": "ok" if is_complete(findings) else "missing",
        "checks": [finding.document() for finding in findings],
    }


def _check(
    settings: AzureSettings, catalogue: Catalogue, prices_endpoint: str, api: KubeApi | None
) -> AzureCheck:
    """Raises: InvalidInput."""
    clock = SystemClock()
    errors = AzureErrors(Redactor(settings.secrets), now_s=clock.now_s)
    prices = None
    if prices_endpoint:
        _need_https(prices_endpoint)
        client = make_price_client(settings, prices_endpoint)
        prices = JsonReader(client, prices_endpoint, errors)
    credential = make_credential(settings, os.environ)
    arm = make_client(settings, credential)
    reader = JsonReader(arm, settings.arm_endpoint, errors)
    azure = Azure(
        client=arm,
        reader=reader,
        market=AzureMarket(
            settings, catalogue, arm=reader, prices=prices, now_s=clock.now_s, steady_s=monotonic_s
        ),
        errors=errors,
        sign_in=lambda: credential.get_token(f"{audience_of(settings)}/.default"),
    )
    kind = chosen(settings.credential, os.environ)
    return AzureCheck(settings, azure, credential=kind, api=api)


def _wish(name: str, catalogue: Catalogue) -> Wish:
    """Raises: InvalidInput."""
    try:
        found = catalogue.instance_type(name)
    except UnknownInstanceType as error:
        problem = Problem(field="--instance-type", message=error.message, remedy=error.remedy)
        raise InvalidInput([problem]) from None
    if found.cloud != _CLOUD:
        message = f"{found.name} is sold by {found.cloud}, not by Azure"
        raise InvalidInput([Problem(field="--instance-type", message=message)])
    return Wish(instance_type=found.name)


def _wishes(wanted: Wanted) -> Sequence[Wish]:
    policy = wanted.policy
    assert policy is not None, "machines are ordered"
    return [
        Wish(
            instance_type=offer.name,
            machines=wanted.sizing.nodes,
            capacity_types=policy.capacity_types,
            fallback=number > 0,
        )
        for number, offer in enumerate((policy.instance_type, *policy.fallbacks))
    ]


def _problem(wanted: Wanted | Refusal) -> str:
    """Why no machine would be ordered for it on Azure; empty: one would."""
    if isinstance(wanted, Refusal):
        return f"would be refused: {wanted.message}"
    cloud = wanted.sizing.instance_type.cloud
    return "" if cloud == _CLOUD else f"asks for machines of {cloud}, not of Azure"


def _refused(workspace: Workspace, problem: str) -> Finding:
    return Finding(
        area=Area.WORKSPACE,
        subject=f"{workspace.namespace}/{workspace.name}",
        status=Status.MISSING,
        message=problem,
        remedy="kaito explain -f FILE tells more",
    )


def _need_https(endpoint: str) -> None:
    """Raises: InvalidInput."""
    found = urlsplit(endpoint)
    if found.scheme != "https" or not found.netloc or found.path.strip("/") or found.query:
        problem = Problem(
            field="--azure-prices-endpoint",
            message=f"{endpoint!r} is not the https address of a host",
            remedy="Give one, or an empty text to take the prices that kaito brings",
        )
        raise InvalidInput([problem])


def _cluster(kubeconfig: Path | None) -> KubeApi | None:
    """Raises: InvalidInput."""
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" not in os.environ:
        return None
    try:
        from kaito.adapters.k8s.client import KubernetesClientApi
        from kaito.adapters.k8s.client_configuration import load_configuration
    except ModuleNotFoundError as error:
        problem = Problem(
            field="--kubeconfig",
            message=f"needs the Kubernetes client, and there is no {error.name}",
            remedy="Install it: pip install 'kaito[operator,azure]'",
        )
        raise InvalidInput([problem]) from error
    return KubernetesClientApi(load_configuration(kubeconfig))
