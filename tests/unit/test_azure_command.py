"""What `kaito azure check` prints for people, and what it takes; the rest is in
tests/contract/test_azure_check_on_arm_front.py."""

import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from kaito.azure_command import table_lines
from kaito.cli import app

PLACE = {
    "ARM_SUBSCRIPTION_ID": "0a1b2c3d-1111-4222-8333-944444444444",
    "ARM_RESOURCE_GROUP": "group",
    "AZURE_CLUSTER_NAME": "cluster",
    "LOCATION": "eastus",
}


def one(status: str, message: str, remedy: str = "", source: str = "") -> dict[str, str]:
    return {
        "area": "price",
        "subject": "X",
        "status": status,
        "message": message,
        "remedy": remedy,
        "source": source,
    }


def shown(*checks: dict[str, str]) -> list[str]:
    return list(table_lines({"result": "ok", "checks": checks}))


def test_a_line_for_each_check_and_one_below_with_what_to_do() -> None:
    assert shown(one("ok", "1.00", source="presets"), one("not checked", "no", "az login")) == [
        "STATUS       CHECK  OF  RESULT",
        "ok           price  X   1.00 (presets)",
        "not checked  price  X   no",
        "    az login",
        "",
        "nothing is missing, 1 not checked",
    ]


@pytest.mark.parametrize(("count", "said"), [(1, "1 is missing"), (2, "2 are missing")])
def test_how_much_is_missing(count: int, said: str) -> None:
    assert shown(*[one("missing", "no")] * count)[-1] == said


def run(*arguments: str, **environment: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["azure", "check", *arguments], env=PLACE | environment)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


def test_a_file_without_a_workspace(tmp_path: Any) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("kind: ConfigMap\n", encoding="utf-8")
    code, said = run("-f", str(file))
    assert (code, "holds no Workspace" in said) == (2, True)


def test_without_the_sdk_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("kaito.adapters.azure.")]:
        if not name.endswith(".settings"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "kaito.bootstrap.azure_check", raising=False)
    monkeypatch.setitem(sys.modules, "azure.core.exceptions", None)
    code, said = run()
    assert code == 2
    assert said.startswith("kaito azure check: needs the Azure SDK")
    assert "pip install 'kaito[operator,azure]'" in said


def test_without_the_kubernetes_client_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("kaito.adapters.k8s.client", "kaito.adapters.k8s.client_configuration"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    code, said = run("--kubeconfig", "config")
    assert code == 2
    assert said.startswith("--kubeconfig: needs the Kubernetes client")
