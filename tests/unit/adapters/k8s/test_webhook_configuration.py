"""The objects that `kaito webhook configuration` and `certificate` print."""

import base64
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kaito.adapters.k8s.webhook_configuration import (
    WebhookService,
    certificate_secret,
    new_certificates,
    to_yaml,
    url_client_config,
    webhook_configuration,
)
from kaito.domain.errors import InvalidInput

NOW_S = 1_800_000_000.0
SERVICE = WebhookService(namespace="kaito-system", name="kaito-webhook")


def only_webhook(configuration: dict[str, Any]) -> dict[str, Any]:
    (found,) = configuration["webhooks"]
    assert isinstance(found, dict)
    return found


def test_the_api_server_asks_about_workspaces_of_both_versions_and_about_nothing_else() -> None:
    made = webhook_configuration(SERVICE.client_config(), b"")
    assert made["apiVersion"] == "admissionregistration.k8s.io/v1"
    assert made["metadata"]["name"] == "kaito-webhook"
    found = only_webhook(made)
    assert found["rules"] == [
        {
            "apiGroups": ["kaito.sh"],
            "apiVersions": ["v1alpha1", "v1beta1"],
            "operations": ["CREATE", "UPDATE"],
            "resources": ["workspaces"],
            "scope": "Namespaced",
        }
    ]
    assert found["failurePolicy"] == "Fail"
    assert found["matchPolicy"] == "Equivalent"
    assert found["sideEffects"] == "None"
    assert found["admissionReviewVersions"] == ["v1"]
    assert 1 <= found["timeoutSeconds"] <= 30
    assert not {"namespaceSelector", "objectSelector", "matchConditions"} & set(found)
    assert found["clientConfig"] == {
        "service": {
            "namespace": "kaito-system",
            "name": "kaito-webhook",
            "path": "/validate",
            "port": 443,
        }
    }


def test_the_certificate_is_the_services_and_its_authority_is_trusted() -> None:
    made = new_certificates(SERVICE, NOW_S, days=30)
    secret = certificate_secret(SERVICE, made)
    assert secret["type"] == "kubernetes.io/tls"
    assert secret["metadata"]["namespace"] == "kaito-system"
    assert secret["metadata"]["name"] == "kaito-webhook-tls"
    data = {key: base64.b64decode(text) for key, text in secret["data"].items()}
    assert set(data) == {"ca.crt", "tls.crt", "tls.key"}
    server = x509.load_pem_x509_certificate(data["tls.crt"])
    server.verify_directly_issued_by(x509.load_pem_x509_certificate(data["ca.crt"]))
    key = serialization.load_pem_private_key(data["tls.key"], None)
    assert key.public_key() == server.public_key()
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "kaito-webhook.kaito-system.svc" in names.get_values_for_type(x509.DNSName)
    assert server.not_valid_after_utc.timestamp() == NOW_S + 30 * 86_400

    configuration = webhook_configuration(SERVICE.client_config(), made.authority)
    bundle = only_webhook(configuration)["clientConfig"]["caBundle"]
    assert base64.b64decode(bundle) == data["ca.crt"]


def test_long_names_get_a_certificate_too() -> None:
    long = WebhookService(namespace="n" * 63, name="s" * 63)
    made = new_certificates(long, NOW_S, days=1)
    assert b"BEGIN CERTIFICATE" in made.server


def test_several_authorities_are_trusted_together() -> None:
    first, second = (new_certificates(SERVICE, NOW_S, days=1).authority for _ in range(2))
    made = only_webhook(webhook_configuration(SERVICE.client_config(), first + second))
    bundle = base64.b64decode(made["clientConfig"]["caBundle"])
    assert len(x509.load_pem_x509_certificates(bundle)) == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"nothing", "no certificates"), (b"\xff", "no certificates"), (None, "a private key")],
)
def test_what_is_no_authority_is_refused(content: bytes | None, reason: str) -> None:
    made = new_certificates(SERVICE, NOW_S, days=1)
    with pytest.raises(InvalidInput, match=f"--ca: the file holds {reason}") as caught:
        webhook_configuration(SERVICE.client_config(), content or made.authority + made.key)
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "kaito-webhook", "a/b/c", "/name", "ns/", "ns/Name"])
def test_a_service_has_a_namespace_and_a_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not NAMESPACE/NAME"):
        WebhookService.parse(text)
    assert WebhookService.parse("kaito-system/kaito-webhook") == SERVICE


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("https://127.0.0.1:9443", "https://127.0.0.1:9443/validate"),
        ("https://hook.example.com/", "https://hook.example.com/validate"),
        ("https://[::1]:9443", "https://[::1]:9443/validate"),
        ("https://hook.example.com/my/path", "https://hook.example.com/my/path"),
    ],
)
def test_a_url_gets_the_path_unless_it_has_one(url: str, asked: str) -> None:
    assert url_client_config(url) == {"url": asked}


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:9443",
        "127.0.0.1:9443",
        "https://",
        "https://host:port",
        "https://host:99999",
        "https://[host",
        "https://me:secret@host",
        "https://host/?a=b",
        "https://host/#a",
    ],
)
def test_what_an_api_server_would_not_take_for_a_url(url: str) -> None:
    with pytest.raises(InvalidInput, match="is not an https URL"):
        url_client_config(url)


def test_documents_for_kubectl() -> None:
    made = new_certificates(SERVICE, NOW_S, days=1)
    objects = [
        certificate_secret(SERVICE, made),
        webhook_configuration(SERVICE.client_config(), made.authority),
    ]
    assert list(yaml.safe_load_all(to_yaml(*objects))) == objects
