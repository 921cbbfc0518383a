"""The CRD: a structural schema that takes what the examples write, and the columns users read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from kaito.adapters.k8s import crds
from kaito.adapters.k8s.conditions_json import to_json
from kaito.adapters.k8s.node_claims import to_node_claim
from kaito.adapters.k8s.workspaces import status_to_json
from kaito.domain.status import WorkspaceStatus
from tests.unit.domain.builders import MINI, NOW_S, TUNING, condition, machine_spec, manifest

Json = dict[str, Any]
ROOT = Path(__file__).parents[4]
VERSIONS = ("v1alpha1", "v1beta1")


def schema(version: str) -> Json:
    (found,) = [one for one in crds.workspace_crd()["spec"]["versions"] if one["name"] == version]
    structure: Json = found["schema"]["openAPIV3Schema"]
    return structure


def nodes(found: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    yield path, found
    for name, part in found.get("properties", {}).items():
        yield from nodes(part, f"{path}.{name}")
    if "items" in found:
        yield from nodes(found["items"], f"{path}[]")
    if isinstance(found.get("additionalProperties"), dict):
        yield from nodes(found["additionalProperties"], f"{path}.*")


def problems(document: Json, version: str) -> list[str]:
    """What the API server would say: fields with a wrong value, and unknown ones as strict does."""
    found = strict(schema(version))
    return sorted(
        error.json_path for error in jsonschema.Draft7Validator(found).iter_errors(document)
    )


def strict(found: Json) -> Json:
    """The schema with unknown fields refused, which a server only prunes."""
    made = dict(found)
    if "properties" in found:
        made["properties"] = {name: strict(part) for name, part in found["properties"].items()}
        made["additionalProperties"] = False
    if "items" in found:
        made["items"] = strict(found["items"])
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schema_is_structural(version: str) -> None:
    root = schema(version)
    assert root["type"] == "object"
    seen = dict(nodes(root))
    assert len(seen) > 60
    for path, found in seen.items():
        assert "type" in found, path
        assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "const", "nullable"} & set(found)
        if found["type"] == "object" and path != ".metadata":
            ways = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"}
            assert len(ways & set(found)) == 1, path
        if found["type"] == "array":
            assert "items" in found, path
        assert found.get("additionalProperties") is not False, path
    assert seen[".inference.template"] == {
        "type": "object",
        "description": "A pod template of your own.",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    assert set(seen[".resource"]["required"]) == {"labelSelector"}
    assert seen[".resource.labelSelector.matchLabels"]["additionalProperties"] == {"type": "string"}


def test_what_only_v1beta1_has() -> None:
    old, new = dict(nodes(schema("v1alpha1"))), dict(nodes(schema("v1beta1")))
    assert set(old) < set(new)
    added = set(new) - set(old)
    assert {
        ".resource.partition",
        ".inference.preset.presetOptions.modelAccessSecret",
        ".tuning.preset.presetOptions.modelAccessSecret",
        ".status.targetNodeCount",
        ".status.state",
    } <= added
    assert old[".resource.instanceType"]["default"] == "Standard_NC24ads_A100_v4"
    assert "default" not in new[".resource.instanceType"]


EXAMPLES: dict[str, Json] = {
    "phi_3": {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "workspace-phi-3-mini"},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"apps": "phi-3"}},
        },
        "inference": {"preset": {"name": "phi-3-mini-4k-instruct"}},
    },
    "phi_3_with_adapters": {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "workspace-phi-3-mini-adapter"},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"apps": "phi-3-adapter"}},
        },
        "inference": {
            "preset": {"name": "phi-3-mini-128k-instruct"},
            "adapters": [
                {
                    "source": {
                        "name": "phi-3-adapter",
                        "image": "ACR_REPO_HERE.azurecr.io/ADAPTER_HERE:0.0.1",
                    },
                    "strength": "1.0",
                }
            ],
        },
    },
    "tuning_phi_3": {
        "apiVersion": "kaito.sh/v1alpha1",
        "kind": "Workspace",
        "metadata": {"name": "workspace-tuning-phi-3"},
        "resource": {
            "instanceType": "Standard_NC6s_v3",
            "labelSelector": {"matchLabels": {"app": "tuning-phi-3"}},
        },
        "tuning": {
            "preset": {"name": "phi-3-mini-128k-instruct"},
            "method": "qlora",
            "input": {"urls": ["https://huggingface.co/data.parquet?download=true"]},
            "output": {
                "image": "ACR_REPO_HERE.azurecr.io/IMAGE_NAME_HERE:0.0.1",
                "imagePushSecret": "ACR_REGISTRY_SECRET_HERE",
            },
        },
    },
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_match(name: str, version: str) -> None:
    assert problems({**EXAMPLES[name], "apiVersion": f"kaito.sh/{version}"}, version) == []


def test_what_the_schema_refuses() -> None:
    bad = manifest(
        resource={"count": 0, "labelSelector": {"matchLabels": {"a": 1}}, "preferredNodes": "n"},
        inference={"preset": {"accessMode": "secret"}, "adapter": []},
    )
    assert problems(bad, "v1beta1") == [
        "$.inference",
        "$.inference.preset",
        "$.inference.preset.accessMode",
        "$.resource.count",
        "$.resource.labelSelector.matchLabels.a",
        "$.resource.preferredNodes",
    ]
    newer = manifest(
        inference={"preset": {"name": MINI, "presetOptions": {"modelAccessSecret": "x"}}}
    )
    assert problems(newer, "v1alpha1") == ["$.inference.preset.presetOptions"]
    assert problems(newer, "v1beta1") == []
    assert problems(manifest(tuning=TUNING), "v1beta1") == []


def test_what_kaito_writes_as_a_status_matches() -> None:
    status = WorkspaceStatus(
        conditions=(condition("WorkspaceSucceeded", "True", since_s=NOW_S),),
        worker_nodes=("node",),
        target_node_count=1,
        state="NotReady",
    )
    assert problems(manifest(status=status_to_json(status)), "v1beta1") == []
    (bad,) = to_json([condition("Ready", "True", since_s=NOW_S)])
    bad["status"] = "Maybe"
    assert problems(manifest(status={"conditions": [bad], "state": "Gone"}), "v1beta1") == [
        "$.status.conditions[0].status",
        "$.status.state",
    ]


def test_the_columns() -> None:
    narrow = [
        "Instance",
        "ResourceReady",
        "InferenceReady",
        "JobStarted",
        "WorkspaceReady",
        "Age",
    ]
    for version in VERSIONS:
        found = crds.columns(version)
        assert [one["name"] for one in found if not one.get("priority")] == narrow
    wide = [one["name"] for one in crds.columns("v1beta1") if one.get("priority") == 1]
    assert wide == ["WorkspaceSucceeded", "TargetNodeCount", "State"]
    paths = {one["name"]: one["jsonPath"] for one in crds.columns("v1beta1")}
    assert paths["Instance"] == ".resource.instanceType"
    assert paths["WorkspaceReady"] == '.status.conditions[?(@.type=="WorkspaceReady")].status'
    assert paths["Age"] == ".metadata.creationTimestamp"


def test_one_version_is_stored_and_both_are_served() -> None:
    crd = crds.workspace_crd()
    assert crd["metadata"]["name"] == "workspaces.kaito.sh"
    assert crd["spec"]["scope"] == "Namespaced"
    assert crd["spec"]["names"]["shortNames"] == ["wk", "wks"]
    assert [(one["name"], one["served"], one["storage"]) for one in crd["spec"]["versions"]] == [
        ("v1alpha1", True, False),
        ("v1beta1", True, True),
    ]
    assert all(one["subresources"] == {"status": {}} for one in crd["spec"]["versions"])


def test_what_is_pruned_of_a_node_claim_is_nothing() -> None:
    (version,) = crds.node_claim_crd()["spec"]["versions"]
    found = version["schema"]["openAPIV3Schema"]
    for part in ("spec", "status"):
        assert found["properties"][part]["x-kubernetes-preserve-unknown-fields"] is True
    claim = to_node_claim(machine_spec())
    assert list(jsonschema.Draft7Validator(found).iter_errors(claim)) == []
    assert crds.node_claim_crd()["spec"]["scope"] == "Cluster"


@pytest.mark.parametrize(
    ("crd", "folder"),
    [
        (crds.workspace_crd(), "crds"),
        (crds.node_claim_crd(), "crds"),
        (crds.machine_crd(), "components/machine-mirror"),
    ],
)
def test_the_files_that_are_installed_are_current(crd: Json, folder: str) -> None:
    text = (ROOT / "deploy" / folder / crds.file_name(crd)).read_text(encoding="utf-8")
    assert text == crds.to_yaml(crd)
    assert yaml.safe_load(text) == crd
