"""kaito on a real API server from `kubectl apply` to READY and gone again.

Operator and webhook run as processes under their own service accounts, with the shipped RBAC; the
twin's machines are attached. The tests run in order and share one cluster, as its users do.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any

import pytest
import yaml

from tests.integration.conftest import missing_backend
from tests.integration.control_plane import find_binaries
from tests.integration.installation import (
    MISSING_WORKLOADS,
    NAMESPACE,
    OPERATOR,
    ROOT,
    Installation,
    Running,
    eventually,
    succeeded,
    writes,
)

PHI_3 = "inference/kaito_workspace_phi_3"
SEEDS = (
    PHI_3,
    "inference/kaito_workspace_phi_3_with_adapters",
    "fine-tuning/kaito_workspace_tuning_phi_3",
)
READY_LIMIT_S = 180.0  # the readiness probes alone begin after 30 s
FILLED_IN = {  # what the examples leave to their users
    "ACR_REPO_HERE.azurecr.io/ADAPTER_HERE:0.0.1": "mine.azurecr.io/phi-3-adapter:0.0.1",
    "ACR_REPO_HERE.azurecr.io/IMAGE_NAME_HERE:0.0.1": "mine.azurecr.io/phi-3-tuned:0.0.1",
    "ACR_REGISTRY_SECRET_HERE": "registry",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    binaries = find_binaries()
    if binaries is None or not binaries.run_workloads:
        missing_backend(MISSING_WORKLOADS)
    installed = Installation.on(binaries, tmp_path_factory.mktemp("end-to-end"))
    try:
        installed.webhook()
        installed.attach()
        installed.kubectl("create", "secret", "generic", "registry", "--from-literal=a=b")
        yield installed
    finally:
        installed.close()


@pytest.fixture(scope="module")
def operator(cluster: Installation) -> "Operators":
    return Operators(cluster)


class Operators:
    """The one operator that works now."""

    def __init__(self, cluster: Installation) -> None:
        self._cluster = cluster
        self.now = self.start()

    def start(self) -> Running:
        """Another one, with a memory of nothing; it may have to wait for the Lease."""
        return self._cluster.operator("--lease-namespace", NAMESPACE)

    def replace(self) -> Running:
        """Stop the one that works, and let another one take over."""
        assert self.now.stop() == 0, self.now.printed()
        self.now = self.start()
        eventually(lambda: self.now.get("/readyz") == "leading", "the next operator leads")
        return self.now


def seed(name: str) -> dict[str, Any]:
    """An example as its user would apply it."""
    text = (ROOT / "examples" / f"{name}.yaml").read_text(encoding="utf-8")
    for placeholder, value in FILLED_IN.items():
        text = text.replace(placeholder, value)
    manifest: dict[str, Any] = yaml.safe_load(text)
    return manifest


def workspace_of(cluster: Installation, name: str) -> dict[str, Any]:
    (found,) = cluster.get("workspace", name)
    return found


def writes_so_far(cluster: Installation) -> int:
    return len(writes(cluster.requests_of(OPERATOR)))


def quiet(cluster: Installation) -> Callable[[], bool]:
    """Whether the operator has written nothing since the last time of asking."""
    before = -1

    def check() -> bool:
        nonlocal before
        now = writes_so_far(cluster)
        before, same = now, now == before
        return same

    return check


def test_the_three_examples_go_ready(cluster: Installation, operator: Operators) -> None:
    manifests = [seed(name) for name in SEEDS]
    cluster.apply(*manifests)
    eventually(
        lambda: all(map(succeeded, cluster.get("workspaces"))),
        "three Workspaces are READY",
        READY_LIMIT_S,
    )
    assert len(cluster.get("nodeclaims")) == 3
    assert len(cluster.get("statefulsets")) == 2
    assert len(cluster.get("jobs")) == 1
    assert "kopf" not in cluster.kubectl("get", "workspaces,nodeclaims", "-o", "json")


def test_the_second_look_at_what_has_converged_writes_nothing(
    cluster: Installation, operator: Operators
) -> None:
    eventually(quiet(cluster), "the operator is quiet")
    before = writes_so_far(cluster)
    running = operator.replace()

    def rounds() -> float:
        counted = re.search(
            r'kaito_reconcile_duration_seconds_count\{kind="Workspace"\} (\S+)',
            running.get("/metrics"),
        )
        return float(counted[1]) if counted else 0.0

    eventually(lambda: rounds() >= 3, "the next operator has looked at every Workspace")
    assert writes_so_far(cluster) == before


def test_an_update_rolls_out(cluster: Installation, operator: Operators) -> None:
    (before,) = cluster.get("pods", "-l", "kaito.sh/workspace=workspace-phi-3-mini")
    changed = seed(PHI_3)
    adapter = {"source": {"name": "style", "image": "mine.azurecr.io/style:1"}, "strength": "1.0"}
    changed["inference"]["adapters"] = [adapter]
    cluster.apply(changed)

    def rolled_out() -> bool:
        pods = cluster.get("pods", "-l", "kaito.sh/workspace=workspace-phi-3-mini")
        fresh = [pod for pod in pods if pod["metadata"]["uid"] != before["metadata"]["uid"]]
        names = [each["name"] for pod in fresh for each in pod["spec"].get("initContainers", [])]
        return any("style" in name for name in names)

    eventually(rolled_out, "a pod with the adapter has taken the other's place", READY_LIMIT_S)
    generation = workspace_of(cluster, "workspace-phi-3-mini")["metadata"]["generation"]

    def ready_again() -> bool:
        now = workspace_of(cluster, "workspace-phi-3-mini")
        seen = {each.get("observedGeneration") for each in now["status"]["conditions"]}
        return succeeded(now) and seen == {generation}

    eventually(ready_again, "the Workspace is READY with its adapter", READY_LIMIT_S)
    assert len(cluster.get("nodeclaims")) == 3, "the machine stays"


def test_the_way_back_to_what_was_asked_for_before(
    cluster: Installation, operator: Operators
) -> None:
    name = "workspace-phi-3-mini"

    def history() -> list[dict[str, Any]]:
        found = cluster.get("controllerrevisions", "-l", f"workspace.kaito.io/name={name}")
        return sorted(found, key=lambda one: int(one["revision"]))

    first, second = history()
    assert [first["revision"], second["revision"]] == [1, 2]
    assert "adapters" not in first["data"]["inference"]
    assert second["data"]["inference"] == workspace_of(cluster, name)["inference"]
    back = [{"op": "replace", "path": "/inference", "value": first["data"]["inference"]}]
    cluster.kubectl("patch", "workspace", name, "--type=json", "-p", json.dumps(back))
    eventually(
        lambda: [one["revision"] for one in history()] == [2, 3], "the first is the newest again"
    )
    assert [one["data"] for one in history()] == [second["data"], first["data"]]

    def without_adapter() -> bool:
        pods = cluster.get("pods", "-l", f"kaito.sh/workspace={name}")
        names = [each["name"] for pod in pods for each in pod["spec"].get("initContainers", [])]
        return pods != [] and not any("style" in name for name in names)

    eventually(without_adapter, "the pod has no adapter any more", READY_LIMIT_S)
    eventually(
        lambda: succeeded(workspace_of(cluster, name)), "the Workspace is READY", READY_LIMIT_S
    )


def test_manual_edits_of_what_it_owns_are_repaired(
    cluster: Installation, operator: Operators
) -> None:
    name = "workspace-phi-3-mini"
    (service,) = cluster.get("service", name)
    (stateful_set,) = cluster.get("statefulset", name)
    cluster.kubectl("scale", "statefulset", name, "--replicas=0")
    wrong = '{"spec": {"selector": {"kaito.sh/workspace": "another"}}}'
    cluster.kubectl("patch", "service", name, "--type=merge", "-p", wrong)
    eventually(
        lambda: cluster.get("statefulset", name)[0]["spec"]["replicas"] == 1, "replicas are back"
    )
    eventually(
        lambda: cluster.get("service", name)[0]["spec"]["selector"] == service["spec"]["selector"],
        "the Service selects the model's pods again",
    )
    image = stateful_set["spec"]["template"]["spec"]["containers"][0]["image"]
    container = f"{stateful_set['spec']['template']['spec']['containers'][0]['name']}=elsewhere/x:1"
    cluster.kubectl("set", "image", f"statefulset/{name}", container)

    def image_is_back() -> bool:
        (now,) = cluster.get("statefulset", name)
        return bool(now["spec"]["template"]["spec"]["containers"][0]["image"] == image)

    eventually(image_is_back, "the image is kaito's again")
    cluster.kubectl("delete", "service", name)
    eventually(
        lambda: (
            cluster.get("service", "-l", f"kaito.sh/workspace={name}") != []
            or any(each["metadata"]["name"] == name for each in cluster.get("services"))
        ),
        "the Service is back",
    )
    eventually(
        lambda: succeeded(workspace_of(cluster, name)), "the Workspace is READY", READY_LIMIT_S
    )


BAD: Mapping[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a model that is not there": (
        lambda found: found["inference"]["preset"].update(name="phi-3-mini-5k-instruct"),
        "inference.preset.name: unknown model 'phi-3-mini-5k-instruct'",
    ),
    "a model that does not fit": (
        lambda found: found["inference"]["preset"].update(name="phi-4"),
        "does not fit Standard_NC6s_v3",
    ),
    "neither inference nor tuning": (
        lambda found: found.pop("inference"),
        "inference",
    ),
    "a placeholder": (
        lambda found: found["resource"]["labelSelector"]["matchLabels"].update(app="APP_HERE"),
        "Put a value of your own in place of APP_HERE",
    ),
}


@pytest.mark.parametrize("version", ["v1alpha1", "v1beta1"])
@pytest.mark.parametrize("why", BAD)
def test_bad_manifests_are_refused_with_the_reason(
    cluster: Installation, operator: Operators, why: str, version: str
) -> None:
    spoil, told = BAD[why]
    manifest = seed(PHI_3) | {"apiVersion": f"kaito.sh/{version}"}
    manifest["metadata"]["name"] = "bad"
    spoil(manifest)
    complaint = cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest), fails=True)
    assert told in complaint
    assert "bad" not in [each["metadata"]["name"] for each in cluster.get("workspaces")]


def test_what_may_not_change_is_said(cluster: Installation, operator: Operators) -> None:
    changed = seed(PHI_3)
    changed["inference"]["preset"]["name"] = "phi-4"
    complaint = cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(changed), fails=True)
    assert "inference.preset" in complaint


def test_a_model_on_two_machines_goes_ready(cluster: Installation, operator: Operators) -> None:
    name = "llama-70b"
    manifest = {
        "apiVersion": "kaito.sh/v1beta1",
        "kind": "Workspace",
        "metadata": {"name": name},
        "resource": {
            "instanceType": "Standard_NC48ads_A100_v4",
            "labelSelector": {"matchLabels": {"apps": name}},
        },
        "inference": {
            "preset": {
                "name": "llama-3.3-70b-instruct",
                "presetOptions": {"modelAccessSecret": "hugging-face"},
            }
        },
    }
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "hugging-face"},
        "stringData": {"HF_TOKEN": "hf_token"},
    }
    cluster.apply(token)
    cluster.apply(manifest)
    eventually(
        lambda: succeeded(workspace_of(cluster, name)), "the Workspace is READY", READY_LIMIT_S
    )
    pods = cluster.get("pods", "-l", f"kaito.sh/workspace={name}")
    assert sorted(pod["metadata"]["name"] for pod in pods) == [f"{name}-0", f"{name}-1"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 2
    assert workspace_of(cluster, name)["status"]["targetNodeCount"] == 2
    (leader,) = [pod for pod in pods if pod["metadata"]["name"] == f"{name}-0"]
    (service,) = cluster.get("service", name)
    assert service["spec"]["selector"].items() <= leader["metadata"]["labels"].items()
    # What the server made of the StatefulSet is still what is wanted: nothing is replaced.
    uid = cluster.get("statefulset", name)[0]["metadata"]["uid"]
    eventually(quiet(cluster), "the operator is quiet")
    assert cluster.get("statefulset", name)[0]["metadata"]["uid"] == uid


def test_after_a_crash_the_next_operator_takes_the_lease_over(
    cluster: Installation, operator: Operators
) -> None:
    operator.now.kill()
    operator.now = operator.start()
    eventually(lambda: operator.now.get("/readyz") == "leading", "it leads", 40)


def test_deleting_leaves_nothing(cluster: Installation, operator: Operators) -> None:
    cluster.kubectl("delete", "workspaces", "--all", "--timeout=120s")
    kinds = "nodeclaims,statefulsets,jobs,services,pods,controllerrevisions"
    eventually(
        lambda: (
            [
                each["metadata"]["name"]
                for each in cluster.get(kinds)
                if each["metadata"]["name"] != "kubernetes"
            ]
            == []
        ),
        "everything that was made is gone",
        120,
    )
    eventually(lambda: cluster.get("nodes") == [], "the Nodes are gone")


Right = tuple[str, str]  # verb, and resource with its group and sub-resource


def granted(cluster: Installation) -> set[Right]:
    """What the roles bound to the operator allow."""
    found = cluster.get("clusterroles,roles", "-A", "-l", "app.kubernetes.io/component=operator")
    rights = set()
    for role in found:
        for rule in role["rules"]:
            for group, resource in product(rule["apiGroups"], rule["resources"]):
                rights |= {(verb, _resource(group, resource)) for verb in rule["verbs"]}
    return rights


def used(requests: list[dict[str, Any]]) -> set[Right]:
    rights = set()
    for event in requests:
        about = event.get("objectRef")
        if about and "resource" in about:
            resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            rights.add((event["verb"], _resource(about.get("apiGroup", ""), resource)))
    return rights


def _resource(group: str, resource: str) -> str:
    name, slash, sub = resource.partition("/")
    return f"{name}.{group}{slash}{sub}" if group else resource


def seldom_used() -> set[Right]:
    """The table of docs/install.md: what nothing asks for while all goes well."""
    text = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    table = text.split("### Rights for what seldom happens")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", table, re.MULTILINE)
    return {(verb, resource) for verbs, resource in rows for verb in verbs.split(", ")}


def test_rights_are_what_is_needed_and_no_more(
    cluster: Installation, operator: Operators, record_property: Callable[[str, object], None]
) -> None:
    """From the API server's audit log of everything above."""
    requests = cluster.requests_of(OPERATOR)
    forbidden = [
        (event["verb"], event["requestURI"])
        for event in requests
        if event["responseStatus"]["code"] == 403
    ]
    assert forbidden == [], "something that is needed is not granted"
    needed = used(requests)
    spare = granted(cluster) - needed
    assert spare <= seldom_used(), "a right without a use"
    assert seldom_used() <= granted(cluster), "the table names what is not granted"
    told = f"{len(granted(cluster))} rights, {len(needed)} used, {len(requests)} requests"
    record_property("measured", f"RBAC: {told}; unused: {sorted(spare)}")


def test_the_webhook_asked_for_nothing(cluster: Installation) -> None:
    assert cluster.requests_of("kaito-webhook") == []
