"""The access that the official client and kopf get, from a pod and from a kubeconfig."""

from pathlib import Path

import pytest
import yaml
from kubernetes.client import Configuration
from kubernetes.config.incluster_config import InClusterConfigLoader

from kaito.adapters.k8s.client_configuration import kopf_login, load_configuration
from kaito.domain.errors import InvalidInput


def in_pod(folder: Path) -> Configuration:
    """What the official client makes of a pod's service account."""
    token, authority = folder / "token", folder / "ca.crt"
    token.write_text("a.service.account")
    authority.write_text("a certificate")
    configuration = Configuration()
    InClusterConfigLoader(
        token_filename=str(token),
        cert_filename=str(authority),
        environ={"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"},
    ).load_and_set(configuration)
    return configuration


def kubeconfig(folder: Path, user: dict[str, str]) -> Path:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": {"server": "https://127.0.0.1:6443"}}],
        "users": [{"name": "me", "user": user}],
        "contexts": [{"name": "one", "context": {"cluster": "one", "user": "me"}}],
        "current-context": "one",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


def test_kopf_gets_a_pods_token_without_the_scheme(tmp_path: Path) -> None:
    login = kopf_login(in_pod(tmp_path))
    assert login.server == "https://10.0.0.1:443"
    assert login.token == "a.service.account"
    assert login.ca_path == str(tmp_path / "ca.crt")


def test_kopf_gets_the_token_of_a_kubeconfig(tmp_path: Path) -> None:
    login = kopf_login(load_configuration(kubeconfig(tmp_path, {"token": "a-token"})))
    assert (login.server, login.token) == ("https://127.0.0.1:6443", "a-token")


def test_without_a_token_there_is_none(tmp_path: Path) -> None:
    assert kopf_login(load_configuration(kubeconfig(tmp_path, {}))).token is None


def test_a_kubeconfig_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--kubeconfig FILE"):
        load_configuration(tmp_path / "none")
