"""The Azure SDK's client, made so that a call is one request: no waiting, repeating or logging."""

import logging
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.pipeline.policies import (
    ContentDecodePolicy,
    ProxyPolicy,
    RequestIdPolicy,
    UserAgentPolicy,
)
from azure.core.pipeline.transport import RequestsTransport
from azure.mgmt.containerservice import ContainerServiceClient
from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy

from kaito import __version__
from kaito.adapters.azure.settings import AzureSettings

# Loggers of the libraries below, which write addresses with ids into the log. What matters of an
# error is in the error.
_CHATTY: Final = {
    "azure": logging.CRITICAL,
    "msal": logging.CRITICAL,
    "urllib3": logging.WARNING,
}
# Where the audience of a token is not the address that it is for.
# Source: azure-mgmt-core, azure.mgmt.core.tools.get_arm_endpoints
_AUDIENCE_OF: Final = {"management.usgovcloudapi.net": "https://management.core.usgovcloudapi.net"}


def make_client(
    settings: AzureSettings,
    credential: TokenCredential,
    transport: RequestsTransport | None = None,
) -> ContainerServiceClient:
    """A client of which every call is at most one request. Without a `transport`: `make_transport`.

    Its pipeline has no policy that repeats, redirects or logs requests, and none that registers
    resource providers, which would wait for minutes.
    """
    for name, level in _CHATTY.items():
        logging.getLogger(name).setLevel(level)
    return ContainerServiceClient(
        credential,
        settings.subscription_id,
        base_url=settings.arm_endpoint,
        policies=[
            RequestIdPolicy(),
            UserAgentPolicy(base_user_agent=f"kaito/{__version__}"),
            ProxyPolicy(),
            ContentDecodePolicy(),
            ARMChallengeAuthenticationPolicy(credential, f"{audience_of(settings)}/.default"),
        ],
        transport=transport or make_transport(settings),
    )


def audience_of(settings: AzureSettings) -> str:
    """Whom tokens are for, without `/.default`."""
    return _AUDIENCE_OF.get(urlsplit(settings.arm_endpoint).netloc, settings.arm_endpoint)


def make_transport(settings: AzureSettings, **options: Any) -> RequestsTransport:
    """HTTPS with the settings' time-outs and CA. `options` are the transport's own."""
    return RequestsTransport(
        connection_timeout=settings.connect_s,
        read_timeout=settings.read_s,
        connection_verify=True if settings.ca_file is None else str(settings.ca_file),
        **options,
    )
