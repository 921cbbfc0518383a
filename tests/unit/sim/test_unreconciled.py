"""Kinds that nothing acts on yet: checked, answered with a warning, and never in the way."""

import json
from pathlib import Path

import pytest

from kaito.domain.errors import InvalidInput
from sim.loading import load
from sim.manifests import Key
from sim.run import simulate

WORKSPACE = """\
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: ws}
resource:
  instanceType: Standard_NC24ads_A100_v4
  labelSelector: {matchLabels: {apps: ws}}
inference:
  preset: {name: phi-4-mini-instruct}
"""
INFERENCE_SET = """\
apiVersion: kaito.sh/v1alpha1
kind: InferenceSet
metadata: {name: set}
spec:
  labelSelector: {matchLabels: {apps: set}}
  template:
    resource: {instanceType: Standard_NC24ads_A100_v4}
    inference:
      preset: {name: phi-4-mini-instruct}
"""
OTHERS = """\
apiVersion: kaito.sh/v1beta1
kind: RAGEngine
metadata: {name: rag, namespace: team}
spec: {anything: goes}
---
apiVersion: kaito.sh/v1alpha1
kind: MultiRoleInference
metadata: {name: roles}
---
apiVersion: kaito.sh/v1alpha1
kind: ModelMirror
metadata: {name: mirror}
"""


def written(folder: Path, text: str) -> str:
    file = folder / "x.yaml"
    file.write_text(text, encoding="utf-8")
    return str(file)


def test_each_is_answered_with_a_warning(tmp_path: Path) -> None:
    result = simulate(load([written(tmp_path, f"{INFERENCE_SET}---\n{OTHERS}")]))
    assert result.ok
    assert result.workspaces == ()
    assert {one.reason for one in result.warnings} == {"NotReconciled"}
    told = [(one.kind, one.namespace, one.name, one.message) for one in result.warnings]
    nothing = "is not reconciled yet: nothing is made for it"
    assert told == [
        ("InferenceSet", "default", "set", f"kaito.sh/v1alpha1 InferenceSet {nothing}"),
        ("RAGEngine", "team", "rag", f"kaito.sh/v1beta1 RAGEngine {nothing}"),
        (
            "MultiRoleInference",
            "default",
            "roles",
            f"kaito.sh/v1alpha1 MultiRoleInference {nothing}",
        ),
        ("ModelMirror", "", "mirror", f"kaito.sh/v1alpha1 ModelMirror {nothing}"),
    ]
    assert len(json.loads(json.dumps(result.to_json()))["warnings"]) == 4


def test_what_stands_beside_them_runs(tmp_path: Path) -> None:
    scenario = load([written(tmp_path, f"{OTHERS}---\n{WORKSPACE}---\n{INFERENCE_SET}")])
    assert [one.key for one in scenario.steps] == [Key("Workspace", "default", "ws")]  # type: ignore[union-attr]
    assert [one.key.name for one in scenario.unreconciled] == ["rag", "roles", "mirror", "set"]
    result = simulate(scenario)
    assert result.ok
    assert [one.ready for one in result.workspaces] == [True]


@pytest.mark.parametrize(
    ("old", "new", "rule", "field"),
    [
        ("replicas", "", "", ""),
        ("phi-4-mini", "phi-5-mini", "model-known", "spec.template.inference.preset.name"),
        ("apps: set", "apps: a b", "label-value", "spec.labelSelector.matchLabels.apps"),
        ("template:", "tmplate:", "unknown-field", "spec.tmplate"),
        ("name: set", "name: S", "name-dns-label", "metadata.name"),
    ],
)
def test_an_inference_set_is_checked(
    tmp_path: Path, old: str, new: str, rule: str, field: str
) -> None:
    file = written(tmp_path, INFERENCE_SET.replace(old, new))
    if not rule:
        assert load([file]).unreconciled
        return
    with pytest.raises(InvalidInput) as caught:
        load([file])
    found = [(one.rule, one.field.rpartition(": ")[2]) for one in caught.value.problems]
    assert (rule, field) in found


def test_in_a_timeline_it_counts_from_then(tmp_path: Path) -> None:
    written(tmp_path, INFERENCE_SET)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("timeline:\n- at: 10m\n  apply: x.yaml\n", encoding="utf-8")
    (left,) = load([str(scenario)]).unreconciled
    assert left.at_s == 600.0
    assert left.source.endswith("x.yaml:1")
