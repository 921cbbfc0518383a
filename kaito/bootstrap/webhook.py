"""The webhook's composition root: the rules and the presets behind HTTPS, and no cluster."""

import asyncio
from pathlib import Path

from kaito.adapters.files import load_catalogue
from kaito.adapters.k8s.admission import WorkspaceAdmission
from kaito.adapters.k8s.webhook_app import Reviewer, webhook_app
from kaito.adapters.k8s.webhook_configuration import (
    WebhookService,
    certificate_secret,
    new_certificates,
    to_yaml,
    url_client_config,
    webhook_configuration,
)
from kaito.adapters.k8s.webhook_metrics import WebhookMetrics
from kaito.adapters.k8s.webhook_server import WebhookServer, WebhookSettings
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.provisioner import Provisioner
from kaito.system_clock import SystemClock, monotonic_s

__all__ = ["WebhookSettings", "certificate_manifests", "configuration_manifest", "run_webhook"]


def run_webhook(
    settings: WebhookSettings,
    provisioner: Provisioner = Provisioner.KARPENTER,
    models: Path | None = None,
) -> None:
    """Serve until told to stop. `models`: a file or folder of the user's own.

    Raises: InvalidInput (certificate, key, address or port cannot be used, or the presets or
    models are wrong).
    """
    metrics = WebhookMetrics()
    rules = WorkspaceAdmission(load_catalogue(models=models), provisioner)
    reviewer = Reviewer(rules.judge, metrics, monotonic_s)
    server = WebhookServer(settings)
    metrics.certificate_expires(server.certificate_expires_s)
    asyncio.run(server.run(webhook_app(reviewer, metrics, server.is_ready)))


def configuration_manifest(*, service: str, url: str, authority_file: Path | None) -> str:
    """YAML of the ValidatingWebhookConfiguration; `url` goes before `service`.

    Raises: InvalidInput (one of them is wrong).
    """
    client_config = url_client_config(url) if url else WebhookService.parse(service).client_config()
    return to_yaml(webhook_configuration(client_config, _read(authority_file)))


def certificate_manifests(*, service: str, days: int, authority_file: Path | None) -> str:
    """YAML of a Secret with a new certificate, and of the configuration that trusts it beside
    what `authority_file` holds. Raises: InvalidInput (one of them is wrong)."""
    wanted = WebhookService.parse(service)
    made = new_certificates(wanted, SystemClock().now_s(), days)
    trusted = made.authority + _read(authority_file)
    configuration = webhook_configuration(wanted.client_config(), trusted)
    return to_yaml(certificate_secret(wanted, made), configuration)


def _read(file: Path | None) -> bytes:
    if file is None:
        return b""
    try:
        return file.read_bytes()
    except OSError as error:
        problem = Problem(
            field="--ca",
            message=f"{file} cannot be read: {error.strerror or error}",
            remedy="Give the CA's certificates in PEM",
        )
        raise InvalidInput([problem]) from error
