"""Which cluster to talk to: a kubeconfig, the pod's service account, or the user's default."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kopf
from kubernetes.client import Configuration
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from kaito.domain.errors import InvalidInput, Problem


def load_configuration(kubeconfig: Path | None) -> Configuration:
    """The official client's configuration, with its authentication.

    Raises: InvalidInput (there is no cluster to talk to).
    """
    configuration = Configuration()
    if kubeconfig is None:
        try:
            load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]  # the client has no types
        except ConfigException:
            pass  # not in a pod
        else:
            return configuration
    try:
        load_kube_config(  # type: ignore[no-untyped-call]  # the client has no types
            config_file=str(kubeconfig) if kubeconfig else None,
            client_configuration=configuration,
        )
    except (ConfigException, OSError) as error:
        problem = Problem(
            field="kubeconfig",
            message=f"no cluster is configured: {error}",
            remedy="Run in a pod, set KUBECONFIG, or give --kubeconfig FILE",
        )
        raise InvalidInput([problem]) from error
    return configuration


def kopf_login(configuration: Configuration) -> kopf.ConnectionInfo:
    """The same access for kopf, with the token that is valid now."""
    settings: Mapping[str, Any] = configuration.auth_settings()
    header = str(settings["BearerToken"]["value"] or "") if "BearerToken" in settings else ""
    _, _, token = header.rpartition(" ")  # "Bearer ..." from a kubeconfig, "bearer ..." in a pod
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        token=token or None,
    )
