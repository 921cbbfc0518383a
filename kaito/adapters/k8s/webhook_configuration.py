"""What makes an API server ask the webhook: its configuration, and a Secret with a certificate."""

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from kaito.adapters.certificates import Certificates, make_certificates
from kaito.adapters.k8s.admission_review import PATH
from kaito.domain import names
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.workspace import GROUP, VERSIONS

CONFIGURATION_NAME: Final = "kaito-webhook"
WEBHOOK_NAME: Final = f"validation.workspace.{GROUP}"
TIMEOUT_S: Final = 5
_LABELS: Final[Mapping[str, str]] = {
    "app.kubernetes.io/name": "kaito",
    "app.kubernetes.io/part-of": "kaito",
    "app.kubernetes.io/component": "webhook",
}
_SERVICE_PORT: Final = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookService:
    """The Service in front of the webhook."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> "WebhookService":
        """From `namespace/name`. Raises: InvalidInput."""
        namespace, _, name = text.partition("/")
        if not (names.is_dns_label(namespace) and names.is_dns_label(name)):
            problem = Problem(
                field="--service",
                message=f"{text!r} is not NAMESPACE/NAME",
                remedy="For example kaito-system/kaito-webhook",
            )
            raise InvalidInput([problem])
        return cls(namespace=namespace, name=name)

    @property
    def hosts(self) -> tuple[str, ...]:
        """How the API server calls it, and what other pods may call it."""
        inside = f"{self.name}.{self.namespace}"
        return f"{inside}.svc", f"{inside}.svc.cluster.local", inside

    @property
    def secret_name(self) -> str:
        """Where its certificate is kept."""
        return f"{self.name}-tls"

    def client_config(self) -> dict[str, Any]:
        return {
            "service": {
                "namespace": self.namespace,
                "name": self.name,
                "path": PATH,
                "port": _SERVICE_PORT,
            }
        }


def url_client_config(url: str) -> dict[str, Any]:
    """For a webhook outside of the cluster. Raises: InvalidInput."""
    try:
        parts = urlsplit(url)
        is_good = parts.scheme == "https" and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or "@" in parts.netloc or parts.query or parts.fragment:
        problem = Problem(
            field="--url",
            message=f"{url!r} is not an https URL of host, port and path",
            remedy="For example https://127.0.0.1:9443",
        )
        raise InvalidInput([problem])
    return {"url": url if parts.path.strip("/") else f"https://{parts.netloc}{PATH}"}


def webhook_configuration(client_config: Mapping[str, Any], authorities: bytes) -> dict[str, Any]:
    """The ValidatingWebhookConfiguration. `authorities` (PEM) may be empty where the API server
    trusts the webhook's certificate anyway, or where cert-manager fills them in.

    No namespace is left out: a Workspace is no part of what a cluster needs to start, so that
    there is nothing that the webhook could lock out.

    Raises: InvalidInput (no PEM certificates).
    """
    found = dict(client_config)
    if authorities:
        found["caBundle"] = _base64(_checked(authorities))
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION_NAME, "labels": dict(_LABELS)},
        "webhooks": [
            {
                "name": WEBHOOK_NAME,
                "clientConfig": found,
                "rules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": list(VERSIONS),
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["workspaces"],  # not workspaces/status
                        "scope": "Namespaced",
                    }
                ],
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "sideEffects": "None",
                "timeoutSeconds": TIMEOUT_S,
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def new_certificates(service: WebhookService, now_s: float, days: int) -> Certificates:
    """A certificate for the Service, valid from `now_s` on, from an authority of its own."""
    return make_certificates(service.hosts, now_s, name="kaito-webhook", days=days)


def certificate_secret(service: WebhookService, made: Certificates) -> dict[str, Any]:
    """The Secret that the webhook's pods mount."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "namespace": service.namespace,
            "name": service.secret_name,
            "labels": dict(_LABELS),
        },
        "type": "kubernetes.io/tls",
        "data": {
            "ca.crt": _base64(made.authority),
            "tls.crt": _base64(made.server),
            "tls.key": _base64(made.key),
        },
    }


def to_yaml(*objects: Mapping[str, Any]) -> str:
    """Documents for `kubectl apply -f -`."""
    return yaml.safe_dump_all([dict(one) for one in objects], sort_keys=False)


def _checked(authorities: bytes) -> bytes:
    """Raises: InvalidInput (not certificates, or a key that must not be published)."""
    reason = ""
    if b"PRIVATE KEY-----" in authorities:
        reason = "holds a private key, which everybody could read in the configuration"
    else:
        try:
            trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            trust.load_verify_locations(cadata=authorities.decode("ascii"))
        except (ValueError, ssl.SSLError):  # UnicodeDecodeError is a ValueError
            reason = "holds no certificates"
    if reason:
        problem = Problem(
            field="--ca", message=f"the file {reason}", remedy="Give the CA's certificates in PEM"
        )
        raise InvalidInput([problem])
    return authorities


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
