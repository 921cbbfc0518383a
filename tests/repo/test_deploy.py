"""deploy/ is consistent in itself and with the program that it runs."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import typer.main
import yaml
from typer.core import TyperCommand, TyperGroup

from kaito import __version__
from kaito.adapters.k8s.webhook_configuration import WebhookService
from kaito.bootstrap.webhook import configuration_manifest
from kaito.cli import app
from tests.kustomize import (
    DEPLOY,
    NAMESPACE,
    OVERLAYS,
    ROOT,
    Object,
    containers,
    named,
    objects,
    of_kind,
    overlay,
)
from tests.repo.pod_security import violations

every_overlay = pytest.mark.parametrize("name", OVERLAYS)
deployments = pytest.mark.parametrize("deployment", ["kaito-operator", "kaito-webhook"])

GUIDE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
WEBHOOK = WebhookService(namespace=NAMESPACE, name="kaito-webhook")
WORKLOADS = ("Deployment", "DaemonSet")
NODE_CLAIMS = "nodeclaims.karpenter.sh"


def pods_that_match(
    manifests: Sequence[Object], namespace: str, wanted: Mapping[str, str]
) -> set[str]:
    """The workloads whose pods a selector finds."""
    return {
        workload["metadata"]["name"]
        for workload in of_kind(manifests, *WORKLOADS)
        if workload["metadata"]["namespace"] == namespace
        and wanted.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    }


def command_of(container: Object) -> TyperCommand:
    """The command of the `kaito` program that a container runs."""
    command = typer.main.get_command(app)
    for word in container["args"]:
        assert isinstance(command, TyperGroup), container["args"]
        assert word in command.commands, f"there is no `kaito {' '.join(container['args'])}`"
        command = command.commands[word]
    assert isinstance(command, TyperCommand)
    return command


def test_there_are_overlays() -> None:
    assert set(OVERLAYS) >= {"aks", "byo", "kubernetes-1.20", "single-namespace"}


@every_overlay
def test_names_are_unique(name: str) -> None:
    found = [
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in overlay(name)
    ]
    assert len(set(found)) == len(found)


@every_overlay
def test_a_namespace_comes_with_what_is_in_it(name: str) -> None:
    manifests = overlay(name)
    made = {each["metadata"]["name"] for each in of_kind(manifests, "Namespace")}
    used = {each["metadata"]["namespace"] for each in manifests if "namespace" in each["metadata"]}
    there = {"default"} if name == "single-namespace" else set()
    assert used - there == made


@every_overlay
@deployments
def test_deployments_satisfy_the_restricted_profile(name: str, deployment: str) -> None:
    manifests = overlay(name)
    enforced = named(manifests, "Namespace", NAMESPACE)["metadata"]["labels"]
    assert enforced["pod-security.kubernetes.io/enforce"] == "restricted"
    found = named(manifests, "Deployment", deployment)
    assert violations(found["spec"]["template"]["spec"]) == []
    for container in containers(found):
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)
    assert found["spec"]["replicas"] == 2


def test_the_device_plugin_does_not() -> None:
    """Which is why it has a namespace of its own; and the check above does find something."""
    manifests = overlay("aks")
    plugin = named(manifests, "DaemonSet", "nvidia-device-plugin")
    assert plugin["metadata"]["namespace"] != NAMESPACE
    found = violations(plugin["spec"]["template"]["spec"])
    assert "volume hostPath" in found
    assert "nvidia-device-plugin: runs as root" in found


@every_overlay
def test_selectors_find_their_pods(name: str) -> None:
    manifests = overlay(name)
    for workload in of_kind(manifests, *WORKLOADS):
        namespace, own = workload["metadata"]["namespace"], workload["metadata"]["name"]
        wanted = workload["spec"]["selector"]["matchLabels"]
        assert pods_that_match(manifests, namespace, wanted) == {own}
        for spread in workload["spec"]["template"]["spec"].get("topologySpreadConstraints", ()):
            assert spread["labelSelector"]["matchLabels"] == wanted
    for service in of_kind(manifests, "Service"):
        found = pods_that_match(manifests, NAMESPACE, service["spec"]["selector"])
        assert found == {service["metadata"]["name"]}
    for budget in of_kind(manifests, "PodDisruptionBudget"):
        wanted = budget["spec"]["selector"]["matchLabels"]
        assert pods_that_match(manifests, NAMESPACE, wanted) == {budget["metadata"]["name"]}
    for policy in of_kind(manifests, "NetworkPolicy"):
        wanted = policy["spec"]["podSelector"]["matchLabels"]
        assert pods_that_match(manifests, NAMESPACE, wanted) == {policy["metadata"]["name"]}


@every_overlay
@deployments
def test_ports_that_are_named_exist(name: str, deployment: str) -> None:
    manifests = overlay(name)
    (container,) = containers(named(manifests, "Deployment", deployment))
    (port,) = container["ports"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port["name"]
    (exposed,) = named(manifests, "Service", deployment)["spec"]["ports"]
    assert exposed["targetPort"] == port["name"]
    (rule,) = named(manifests, "NetworkPolicy", deployment)["spec"]["ingress"]
    assert [each["port"] for each in rule["ports"]] == [port["name"]]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    (told,) = (value for key, value in environment.items() if key.endswith("_PORT"))
    assert told == str(port["containerPort"])


@every_overlay
@deployments
def test_settings_are_those_of_the_program(
    name: str, deployment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each variable is read by the command, its value is understood, and none is missing."""
    (container,) = containers(named(overlay(name), "Deployment", deployment))
    command = command_of(container)
    settings = {each["name"]: each.get("value", NAMESPACE) for each in container["env"]}
    known = {param.envvar for param in command.params}
    assert sorted(settings.keys() - known) == []
    for variable, value in settings.items():
        if value.startswith("/"):
            (file := tmp_path / variable).touch()
            value = str(file)
        monkeypatch.setenv(variable, value)
    read = command.make_context("kaito", []).params
    assert {
        param.name
        for param in command.params
        if settings.get(param.envvar or "") and not read[param.name or ""]
    } == set()


@every_overlay
def test_the_image_is_of_this_version(name: str) -> None:
    manifests = overlay(name)
    for deployment in of_kind(manifests, "Deployment"):
        for container in containers(deployment):
            assert container["image"] == f"kaito:{__version__}"
    for workload in of_kind(manifests, *WORKLOADS):
        for container in containers(workload):
            assert container["image"].rpartition(":")[2] not in {"", "latest"}


@every_overlay
def test_no_right_is_a_wildcard_or_opens_secrets(name: str) -> None:
    roles = of_kind(overlay(name), "Role", "ClusterRole")
    assert roles
    for role in roles:
        for rule in role["rules"]:
            assert set(rule) <= {"apiGroups", "resources", "resourceNames", "verbs"}
            words = [word for part in rule.values() for word in part]
            assert not [word for word in words if "*" in word], role["metadata"]["name"]
            assert not {"secrets", "serviceaccounts", "roles", "clusterroles"} & set(words)
            assert not {"impersonate", "bind", "escalate", "deletecollection"} & set(words)


@every_overlay
def test_every_role_is_bound_to_the_operator_and_to_nobody_else(name: str) -> None:
    manifests = overlay(name)
    bindings = of_kind(manifests, "RoleBinding", "ClusterRoleBinding")
    bound = {
        (each["roleRef"]["kind"], each["metadata"].get("namespace"), each["roleRef"]["name"])
        for each in bindings
    }
    roles = {
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in of_kind(manifests, "Role", "ClusterRole")
    }
    assert bound == roles
    (account,) = {
        (subject["kind"], subject["namespace"], subject["name"])
        for each in bindings
        for subject in each["subjects"]
    }
    assert account == ("ServiceAccount", NAMESPACE, "kaito-operator")
    assert named(manifests, "ServiceAccount", "kaito-operator")


@every_overlay
def test_the_webhook_has_no_access_to_the_cluster(name: str) -> None:
    manifests = overlay(name)
    account = named(manifests, "ServiceAccount", "kaito-webhook")
    assert account["automountServiceAccountToken"] is False
    pod = named(manifests, "Deployment", "kaito-webhook")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "kaito-webhook"
    assert pod["automountServiceAccountToken"] is False
    policy = named(manifests, "NetworkPolicy", "kaito-webhook")["spec"]
    assert "Egress" in policy["policyTypes"]
    assert "egress" not in policy


@every_overlay
def test_service_links_do_not_set_kaitos_variables(name: str) -> None:
    """A Service named kaito-webhook sets KAITO_WEBHOOK_PORT=tcp://... in every pod beside it."""
    for deployment in of_kind(overlay(name), "Deployment"):
        assert deployment["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_one_namespace_means_rights_in_one_namespace() -> None:
    manifests = overlay("single-namespace")
    (container,) = containers(named(manifests, "Deployment", "kaito-operator"))
    (watched,) = (each["value"] for each in container["env"] if each["name"] == "KAITO_NAMESPACE")
    role = named(manifests, "Role", "kaito-operator")
    assert role["metadata"]["namespace"] == watched
    assert named(manifests, "RoleBinding", "kaito-operator")["metadata"]["namespace"] == watched
    resources = {
        resource
        for cluster_role in of_kind(manifests, "ClusterRole")
        for rule in cluster_role["rules"]
        for resource in rule["resources"]
    }
    assert resources == {"nodes", "nodeclaims", "storageclasses"}
    everywhere = named(overlay("aks"), "ClusterRole", "kaito-operator")
    assert role["rules"] == everywhere["rules"]


def test_the_definition_of_node_claims_is_left_to_who_acts_on_them() -> None:
    """Deleting it with kaito would delete every machine of the cluster."""
    with_it = {
        name
        for name in OVERLAYS
        if NODE_CLAIMS
        in {each["metadata"]["name"] for each in of_kind(overlay(name), "CustomResourceDefinition")}
    }
    assert with_it == {"kubernetes-1.20"}
    for name in OVERLAYS:
        assert named(overlay(name), "CustomResourceDefinition", "workspaces.kaito.sh")


def test_own_nodes_are_read_and_no_machine_is_ordered() -> None:
    manifests = overlay("byo")
    rules = named(manifests, "ClusterRole", "kaito-operator-machines")["rules"]
    assert rules == [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]}]
    for deployment in ("kaito-operator", "kaito-webhook"):
        (container,) = containers(named(manifests, "Deployment", deployment))
        assert {"name": "KAITO_PROVISIONER", "value": "byo"} in container["env"]


def test_all_definitions_are_in_the_kustomization() -> None:
    listed = (DEPLOY / "crds" / "Kustomization").read_text(encoding="utf-8")
    files = sorted(file.name for file in (DEPLOY / "crds").glob("*.yaml"))
    assert [name for name in files if f"  - {name}\n" not in listed] == []


def test_only_1_20_goes_without_what_it_lacks() -> None:
    def lacks(name: str) -> tuple[bool, bool]:
        manifests = overlay(name)
        definitions = str(of_kind(manifests, "CustomResourceDefinition"))
        budgets = of_kind(manifests, "PodDisruptionBudget")
        return budgets == [], "x-kubernetes-validations" not in definitions

    found = {name: lacks(name) for name in OVERLAYS}
    assert found.pop("kubernetes-1.20") == (True, True), "see without-rules.yaml"
    assert set(found.values()) == {(False, False)}


def test_the_device_plugin_runs_where_kaito_says_there_are_gpus() -> None:
    plugin = named(overlay("aks"), "DaemonSet", "nvidia-device-plugin")
    pod = plugin["spec"]["template"]["spec"]
    assert pod["nodeSelector"]["accelerator"] == "nvidia"
    taint = {"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"}
    assert taint in pod["tolerations"]


def test_the_guide_lists_every_setting() -> None:
    known = {
        param.envvar
        for args in (["operator", "run"], ["webhook", "run"])
        for param in command_of({"args": args}).params
        if param.envvar
    }
    assert set(re.findall(r"`((?:KAITO|ARM|AZURE)_[A-Z_]+|LOCATION)`", GUIDE)) == known


@pytest.fixture
def guides_example(tmp_path: Path) -> Sequence[Object]:
    """What the guide's kustomization, written beside this repository, makes."""
    (tmp_path / "kaito").symlink_to(ROOT)
    (tmp_path / "mine").mkdir()
    (example,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "mine" / "kustomization.yaml").write_text(example)
    return objects(tmp_path / "mine")


def test_the_guides_example_takes_the_image_from_its_registry(
    guides_example: Sequence[Object],
) -> None:
    for deployment in of_kind(guides_example, "Deployment"):
        for container in containers(deployment):
            assert container["image"] == f"registry.example.com/kaito:{__version__}"


def test_with_cert_manager_the_configuration_is_the_generated_one(
    guides_example: Sequence[Object],
) -> None:
    (found,) = of_kind(guides_example, "ValidatingWebhookConfiguration")
    generated = yaml.safe_load(
        configuration_manifest(
            service=f"{WEBHOOK.namespace}/{WEBHOOK.name}", url="", authority_file=None
        )
    )
    metadata = dict(found["metadata"])
    certificate = named(guides_example, "Certificate", WEBHOOK.name)
    assert metadata.pop("annotations") == {
        "cert-manager.io/inject-ca-from": f"{NAMESPACE}/{certificate['metadata']['name']}"
    }
    assert {**found, "metadata": metadata} == generated
    (called,) = found["webhooks"]
    address = called["clientConfig"]["service"]
    service = named(guides_example, "Service", address["name"])
    assert service["metadata"]["namespace"] == address["namespace"]
    assert [port["port"] for port in service["spec"]["ports"]] == [address["port"]]


def test_cert_manager_makes_the_certificate_that_the_webhook_mounts(
    guides_example: Sequence[Object],
) -> None:
    certificate = named(guides_example, "Certificate", WEBHOOK.name)
    assert tuple(certificate["spec"]["dnsNames"]) == WEBHOOK.hosts
    pod = named(guides_example, "Deployment", WEBHOOK.name)["spec"]["template"]["spec"]
    (volume,) = pod["volumes"]
    mounted = volume["secret"]["secretName"]
    assert {mounted, certificate["spec"]["secretName"]} == {WEBHOOK.secret_name}
    assert certificate["metadata"]["namespace"] == NAMESPACE


def test_the_certificate_is_renewed_under_the_authority_that_is_trusted(
    guides_example: Sequence[Object],
) -> None:
    certificate = named(guides_example, "Certificate", WEBHOOK.name)
    issuer = named(guides_example, "Issuer", certificate["spec"]["issuerRef"]["name"])
    (authority,) = (
        each
        for each in of_kind(guides_example, "Certificate")
        if each["spec"]["secretName"] == issuer["spec"]["ca"]["secretName"]
    )
    assert authority["spec"]["isCA"]
    assert authority["spec"]["privateKey"]["rotationPolicy"] == "Never"
    self_signed = named(guides_example, "Issuer", authority["spec"]["issuerRef"]["name"])
    assert self_signed["spec"] == {"selfSigned": {}}


def test_rights_to_order_machines_are_a_component_of_their_own() -> None:
    manifests = objects(DEPLOY / "components" / "machines")
    role = named(manifests, "ClusterRole", "kaito-operator-cloud")
    (bound,) = of_kind(manifests, "ClusterRoleBinding")
    assert bound["roleRef"]["name"] == role["metadata"]["name"]
    (operator,) = bound["subjects"]
    assert (operator["name"], operator["namespace"]) == ("kaito-operator", NAMESPACE)
    rights = {
        (resource, verb)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert rights == {
        ("nodeclaims", "get"),
        ("nodeclaims/status", "update"),
        ("pods/eviction", "create"),
    }


def test_machines_on_aks_take_rights_an_identity_and_settings() -> None:
    manifests = overlay("aks-agent-pools")
    component = objects(DEPLOY / "components" / "machines")
    granted = named(manifests, "ClusterRole", "kaito-operator-cloud")["rules"]
    assert granted == named(component, "ClusterRole", "kaito-operator-cloud")["rules"]
    for deployment in ("kaito-operator", "kaito-webhook"):
        (container,) = containers(named(manifests, "Deployment", deployment))
        assert {"name": "KAITO_PROVISIONER", "value": "aks"} in container["env"]
    template = named(manifests, "Deployment", "kaito-operator")["spec"]["template"]
    assert template["metadata"]["labels"]["azure.workload.identity/use"] == "true"
    (container,) = template["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "kaito-azure"}}]
    webhook = str(named(manifests, "Deployment", "kaito-webhook"))
    assert "azure" not in webhook.replace("kubernetes.azure.com", ""), "it signs in nowhere"


def test_the_mirror_of_machines_is_a_component_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kaito").symlink_to(ROOT)
    (tmp_path / "mine").mkdir()
    component = {
        "resources": ["../kaito/deploy/overlays/aks"],
        "components": ["../kaito/deploy/components/machine-mirror"],
    }
    (tmp_path / "mine" / "kustomization.yaml").write_text(yaml.safe_dump(component))
    manifests = objects(tmp_path / "mine")
    added = {(each["kind"], each["metadata"]["name"]) for each in manifests} - {
        (each["kind"], each["metadata"]["name"]) for each in overlay("aks")
    }
    role = "kaito-operator-machine-mirror"
    assert added == {
        ("CustomResourceDefinition", "machines.karpenter.sh"),
        ("ClusterRole", role),
        ("ClusterRoleBinding", role),
    }
    (subject,) = named(manifests, "ClusterRoleBinding", role)["subjects"]
    assert (subject["name"], subject["namespace"]) == ("kaito-operator", NAMESPACE)
    assert named(manifests, "ClusterRole", role)["rules"] == [
        {
            "apiGroups": ["karpenter.sh"],
            "resources": ["machines"],
            "verbs": ["list", "watch", "create", "update"],
        },
        {"apiGroups": ["karpenter.sh"], "resources": ["machines/status"], "verbs": ["update"]},
    ]
    (container,) = containers(named(manifests, "Deployment", "kaito-operator"))
    (setting,) = (each for each in container["env"] if each["name"] == "KAITO_MIRROR_MACHINES")
    monkeypatch.setenv(setting["name"], setting["value"])
    assert command_of(container).make_context("kaito", []).params["mirror_machines"] is True


@every_overlay
def test_no_overlay_makes_the_api_server_ask_a_webhook_without_a_ca(name: str) -> None:
    assert of_kind(overlay(name), "ValidatingWebhookConfiguration") == []


def test_paths_in_the_guide_exist() -> None:
    paths = re.findall(r"\b(deploy/[\w./-]*\w)", GUIDE)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    assert {f"deploy/overlays/{name}" for name in OVERLAYS} <= set(paths)
