"""The rules of `resource` where users bring their Nodes; the others are in test_validation.py."""

from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.provisioner import Provisioner
from kaito.domain.validation import validate
from kaito.domain.workspace import Workspace
from tests.unit.domain.builders import A100, CATALOGUE, V100, byo, workspace


def problems(found: Workspace) -> list[str]:
    return [str(one) for one in validate(found, CATALOGUE, provisioner=Provisioner.BYO)]


def selecting(**selector: Any) -> Workspace:
    return byo({"labelSelector": selector})


@pytest.mark.parametrize(
    "found",
    [
        byo(),
        workspace(instance_type=A100),
        workspace(instance_type="p4d.24xlarge"),
        byo({"preferredNodes": ["gpu-0", "ip-10-0-0-1.ec2.internal"], "count": 500}),
        selecting(matchLabels={"kubernetes.io/hostname": "gpu-0", labels.ACCELERATOR: "nvidia"}),
        selecting(matchLabels={labels.NODE_POOL: "gpus"}),
        selecting(matchExpressions=[{"key": "pool", "operator": "In", "values": ["a", "b"]}]),
        selecting(matchExpressions=[{"key": "example.com/gpu", "operator": "Exists"}]),
    ],
)
def test_any_label_of_a_node_may_be_asked_for(found: Workspace) -> None:
    assert problems(found) == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (selecting(), "resource.labelSelector: selects nothing"),
        (
            byo({"instanceType": "not a label"}),
            "resource.instanceType: 'not a label' is not a label value",
        ),
        (
            selecting(matchLabels={"a b": "c"}),
            "resource.labelSelector.matchLabels: 'a b' is not a label key",
        ),
        (
            selecting(matchLabels={"a": "b c"}),
            "resource.labelSelector.matchLabels.a: 'b c' is not a label value",
        ),
        (
            selecting(matchExpressions=[{"key": "-", "operator": "Exists"}]),
            "resource.labelSelector.matchExpressions[0].key: '-' is not a label key",
        ),
        (
            selecting(matchExpressions=[{"key": "a", "operator": "In"}]),
            "resource.labelSelector.matchExpressions[0].values: is required with In",
        ),
        (
            selecting(matchExpressions=[{"key": "a", "operator": "Exists", "values": ["b"]}]),
            "resource.labelSelector.matchExpressions[0].values: is not possible with Exists",
        ),
        (
            selecting(matchExpressions=[{"key": "a", "operator": "NotIn", "values": ["b c"]}]),
            "resource.labelSelector.matchExpressions[0].values: 'b c' is not a label value",
        ),
        (
            byo({"preferredNodes": ["gpu-0", "GPU 1"]}),
            "resource.preferredNodes[1]: 'GPU 1' cannot be the name of a Node",
        ),
    ],
)
def test_what_no_node_could_have(found: Workspace, told: str) -> None:
    (problem,) = problems(found)
    assert problem.startswith(told)


def test_whether_the_model_fits_is_asked_where_the_type_is_known() -> None:
    large = {"inference": {"preset": {"name": "phi-4"}}}
    (problem,) = problems(workspace(instance_type=V100, **large))
    assert problem.startswith("resource.instanceType: phi-4 with 2048 tokens")
    assert problems(byo(**large)) == []


def test_the_other_rules_are_the_same() -> None:
    wrong = byo(inference={"preset": {"name": "phi-5"}})
    (problem,) = problems(wrong)
    assert problem.startswith("inference.preset.name: unknown model")


def test_machines_that_are_ordered_need_a_type() -> None:
    fields = [one.field for one in validate(byo(), CATALOGUE)]
    assert fields == ["resource.instanceType"]


@pytest.mark.parametrize(
    "found", [workspace(), workspace(instance_type=""), byo(), workspace(instance_type=V100)]
)
def test_machines_on_aks_are_ordered_as_others_are(found: Workspace) -> None:
    told = validate(found, CATALOGUE, provisioner=Provisioner.AKS)
    assert told == validate(found, CATALOGUE, provisioner=Provisioner.KARPENTER)
