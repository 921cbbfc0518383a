"""InferenceSets are read strictly and judged by the Workspaces that they stand for."""

from typing import Any

import pytest

from kaito.domain.errors import InvalidInput
from kaito.domain.inference_set import (
    MAX_NAME_CHARS,
    parse_inference_set,
    validate_inference_set,
    workspace_of,
)
from kaito.domain.provisioner import Provisioner
from tests.unit.domain.builders import A10, CATALOGUE, MINI, V100

Json = dict[str, Any]


def document(version: str = "v1beta1", name: str = "phi", **spec: Any) -> Json:
    return {
        "apiVersion": f"kaito.sh/{version}",
        "kind": "InferenceSet",
        "metadata": {"name": name, "namespace": "team"},
        "spec": {
            "replicas": 2,
            "labelSelector": {"matchLabels": {"apps": "phi"}},
            "template": template(),
            **spec,
        },
        "status": {"replicas": 1},
    }


def template(**parts: Any) -> Json:
    return {
        "resource": {"instanceType": A10},
        "inference": {"preset": {"name": MINI}},
        **parts,
    }


def told(body: Json, provisioner: Provisioner = Provisioner.KARPENTER) -> list[str]:
    found = validate_inference_set(parse_inference_set(body), CATALOGUE, provisioner)
    return [str(problem) for problem in found]


def unreadable(body: Json) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_inference_set(body)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    "body",
    [
        document(),
        document("v1alpha1", nodeCountLimit=5, updateStrategy={"type": "RollingUpdate"}),
        document(
            "v1alpha1",
            template=template(
                inference={"preset": {"name": MINI, "presetOptions": {"modelAccessSecret": "hf"}}}
            ),
        ),
        document(replicas=0, name="a" * MAX_NAME_CHARS),
        document(autoUpgrade={"enabled": True, "strategy": "Surge"}),
        document(autoUpgrade={"maintenanceWindow": {"schedule": "0 2 * * 6"}}),
    ],
)
def test_what_can_be_made(body: Json) -> None:
    assert told(body) == []


def test_each_workspace_is_of_the_template() -> None:
    annotations = {"kaito.sh/runtime": "transformers"}
    parts = template(metadata={"annotations": annotations, "name": "ignored"})
    found = workspace_of(parse_inference_set(document(template=parts)))
    assert (found.namespace, found.name) == ("team", "phi")
    assert found.metadata.annotations == annotations
    assert found.resource.instance_type == A10
    assert found.resource.label_selector.match_labels == {"apps": "phi"}
    assert found.preset is not None
    assert found.preset.name == MINI


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (document("v2"), "apiVersion: 'kaito.sh/v2' with kind 'InferenceSet' is not an"),
        (document() | {"kind": "Workspace"}, "with kind 'Workspace' is not an InferenceSet"),
        (document(replicas=-1), "spec.replicas: "),
        (document(replica=1), "spec.replica: unknown key. Did you mean replicas"),
        (document(labelSelector=None), "spec.labelSelector: must be a mapping"),
        (document(template={"resource": {}}), "spec.template.inference: is required"),
        (document(autoUpgrade={"strategy": "Big"}), "spec.autoUpgrade.strategy: "),
        (
            document(
                "v1alpha1",
                template=template(resource={"instanceType": A10, "partition": {"mode": "mig"}}),
            ),
            "spec.template.resource.partition: does not exist in this apiVersion",
        ),
    ],
)
def test_what_cannot_be_read(body: Json, text: str) -> None:
    (problem,) = unreadable(body)
    assert text in problem


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (document(name="a.b"), "metadata.name: 'a.b' is not a DNS label"),
        (document(name="a" * (MAX_NAME_CHARS + 1)), "leaves no room for the names of its Work"),
        (document(labelSelector={}), "spec.labelSelector: selects nothing"),
        (
            document(labelSelector={"matchLabels": {"a": "b c"}}),
            "spec.labelSelector.matchLabels.a: 'b c' is not a label value",
        ),
        (
            document(template=template(resource={})),
            "spec.template.resource.instanceType: is required",
        ),
        (
            document(template=template(inference={"preset": {"name": "phi-5"}})),
            "spec.template.inference.preset.name: unknown model 'phi-5'",
        ),
        (
            document(
                template=template(
                    resource={"instanceType": V100}, inference={"preset": {"name": "phi-4"}}
                )
            ),
            "spec.template.resource.instanceType: phi-4 with 2048 tokens",
        ),
        (
            document(template=template(metadata={"annotations": {"kaito.sh/runtime": "x"}})),
            "spec.template.metadata.annotations[kaito.sh/runtime]: must be one of",
        ),
        (
            document(template=template(metadata={"annotations": {"a": 1}})),
            "spec.template.metadata.annotations.a: must be a text, got 1",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(body: Json, text: str) -> None:
    (problem,) = told(body)
    assert text in problem


def test_where_users_bring_nodes_no_type_is_needed() -> None:
    assert told(document(template=template(resource={})), Provisioner.BYO) == []
