"""docs/azure.md: its roles, settings, commands and manifests are those of the program."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperCommand, TyperGroup

from kaito.adapters.azure import check_cluster, permissions
from kaito.adapters.azure.findings import Area, Finding, Status
from kaito.adapters.azure.settings import PUBLIC_ARM, ArmLimits, AzureSettings, CredentialKind
from kaito.cli import app
from kaito.domain import machine_plan
from tests.kustomize import NAMESPACE, ROOT, Object, containers, named, objects

GUIDE = (ROOT / "docs" / "azure.md").read_text(encoding="utf-8")
ROLES = {
    role["Name"]: role
    for role in map(json.loads, re.findall(r"<<EOF\n(.*?)\nEOF", GUIDE, re.DOTALL))
}


def command(*words: str) -> TyperCommand:
    found = typer.main.get_command(app)
    for word in words:
        assert isinstance(found, TyperGroup)
        found = found.commands[word]
    assert isinstance(found, TyperCommand)
    return found


def shell_lines() -> Iterator[str]:
    """The commands of the guide, each on one line."""
    for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL):
        yield from (
            re.sub(r"<<EOF\n.*?\nEOF", "", block, flags=re.DOTALL).replace("\\\n", " ").splitlines()
        )


def test_the_roles_have_what_is_needed_and_nothing_more() -> None:
    needed = {
        check_cluster.ROLE: permissions.OF_CLUSTER,
        check_cluster.CHECK_ROLE: permissions.OF_SUBSCRIPTION,
    }
    assert {name: role["Actions"] for name, role in ROLES.items()} == {
        name: [need.action for need in needs] for name, needs in needed.items()
    }
    for role in ROLES.values():
        assert set(role) == {"Name", "Description", "Actions", "AssignableScopes"}
        assert "*" not in str(role)


def test_the_identity_is_of_the_operators_service_account() -> None:
    assert f"--subject system:serviceaccount:{NAMESPACE}:kaito-operator " in GUIDE


def test_kaitos_commands_are_understood() -> None:
    known = {name for param in command("azure", "check").params for name in param.opts}
    lines = [line for line in shell_lines() if "kaito azure check" in line]
    assert len(lines) == 2
    for line in lines:
        flags = re.findall(r"(?<=\s)--?[a-z][\w-]*", line.partition("kaito azure check")[2])
        assert set(flags) <= known, line


def test_settings_exist() -> None:
    known = {
        param.envvar
        for words in (("azure", "check"), ("operator", "run"))
        for param in command(*words).params
    }
    sdk = {"AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_AUTHORITY_HOST"}
    named_ = set(re.findall(r"\b((?:KAITO|ARM|AZURE)_[A-Z_]+[A-Z])\b", GUIDE))
    assert named_ - {"KAITO_PRINCIPAL_ID"} <= known | sdk
    of_check = {param.envvar for param in command("azure", "check").params}
    of_operator = {param.envvar for param in command("operator", "run").params}
    assert of_check - of_operator == {"KAITO_AZURE_PRICES_ENDPOINT"}, "others are in install.md"
    assert "KAITO_AZURE_PRICES_ENDPOINT" in named_
    assert {f"`{kind}`" for kind in CredentialKind} <= set(re.findall(r"`[\w-]+`", GUIDE))


@pytest.fixture
def example(tmp_path: Path) -> Sequence[Object]:
    """What the guide's kustomization, written beside this repository, makes."""
    (tmp_path / "kaito").symlink_to(ROOT)
    (tmp_path / "mine").mkdir()
    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "mine" / "kustomization.yaml").write_text(text)
    return objects(tmp_path / "mine")


def test_the_example_tells_the_operator_which_cluster_it_is(example: Sequence[Object]) -> None:
    (container,) = containers(named(example, "Deployment", "kaito-operator"))
    (source,) = container["envFrom"]
    settings = named(example, "ConfigMap", source["configMapRef"]["name"])
    assert settings["metadata"]["namespace"] == NAMESPACE
    assert settings["metadata"]["name"] != "kaito-azure", "a change restarts the operator"
    required = {"ARM_SUBSCRIPTION_ID", "ARM_RESOURCE_GROUP", "AZURE_CLUSTER_NAME", "LOCATION"}
    assert set(settings["data"]) == required
    data = settings["data"]
    AzureSettings(
        subscription_id=data["ARM_SUBSCRIPTION_ID"],
        resource_group=data["ARM_RESOURCE_GROUP"],
        cluster_name=data["AZURE_CLUSTER_NAME"],
        location=data["LOCATION"],
        arm_endpoint=PUBLIC_ARM,
    )
    account = named(example, "ServiceAccount", "kaito-operator")
    assert "azure.workload.identity/client-id" in account["metadata"]["annotations"]


def test_the_document_of_a_check() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    shown = json.loads(text)
    made = Finding(area=Area.QUOTA, subject="s", status=Status.MISSING, message="m").document()
    assert list(shown) == list(made)
    assert (shown["area"], shown["status"]) == (made["area"], made["status"])


def test_every_area_and_status_is_described() -> None:
    described = set(re.findall(r"^\| ([\w ,]+) \| ", GUIDE, re.MULTILINE))
    areas = {area.strip() for row in described for area in row.split(",")}
    assert {area.value for area in Area} <= areas
    for status in Status:
        assert f"`{status.value}`" in GUIDE


def test_limits_are_those_of_the_adapter() -> None:
    limits = ArmLimits()
    assert f"**{limits.pools} agent pools**" in GUIDE
    assert f"takes {limits.put.burst} PUTs of one pool at once and one more a minute" in GUIDE
    assert (limits.put.per_s, limits.other.per_s) == (1 / 60, 1.0)
    assert f"and {limits.other.burst} other calls" in GUIDE


def test_reasons_are_those_that_machines_have() -> None:
    section = GUIDE.partition("## When Azure refuses")[2].partition("\n## ")[0]
    told = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    source = Path(machine_plan.__file__).parent
    known = " ".join(
        file.read_text(encoding="utf-8")
        for file in (
            source / "machine.py",
            source / "machine_plan.py",
            *source.glob("machine_*.py"),
        )
    )
    assert len(told) == 7
    assert [reason for reason in told if f'"{reason}"' not in known] == []


def test_paths_and_pages_exist() -> None:
    paths = re.findall(r"(?<![/\w])((?:deploy|examples)/[\w./-]*\w)", GUIDE)
    paths += [f"docs/{page}" for page in re.findall(r"\]\(([\w/.-]+\.md)", GUIDE)]
    assert len(paths) > 5
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_commands_of_the_check_and_of_the_guide_agree() -> None:
    """Who follows a remedy does what the guide does."""
    settings = AzureSettings(
        subscription_id="00000000-0000-0000-0000-000000000000",
        resource_group="my-group",
        cluster_name="my-cluster",
        location="eastus",
    )
    lines = {" ".join(line.split()) for line in shell_lines()}
    for of_subscription in (False, True):
        remedy = check_cluster.grant(settings, of_subscription=of_subscription)
        start = remedy.partition(" --role ")[0]
        assert any(line.startswith(start) for line in lines), start
