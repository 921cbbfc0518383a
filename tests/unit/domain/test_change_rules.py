"""What may not be changed in a Workspace that exists."""

from typing import Any

import pytest

from kaito.domain.change_rules import change_problems
from tests.unit.domain.builders import A100, LONG, MINI, TUNING, workspace

OLD = workspace()
OTHER_MODEL = {"preset": {"name": LONG}}


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"instance_type": A100}, ["resource.instanceType"]),
        ({"resource": {"count": 2}}, ["resource.count"]),
        (
            {"resource": {"labelSelector": {"matchLabels": {"apps": "other"}}}},
            ["resource.labelSelector.matchLabels"],
        ),
        ({"inference": OTHER_MODEL}, ["inference.preset.name"]),
        ({"tuning": TUNING}, ["inference", "tuning", "inference.preset.name"]),
        ({"inference": {}}, []),
        ({"inference": {"template": {"spec": {}}}}, ["inference.template"]),
        ({"inference": {"preset": {"name": MINI}, "config": "settings"}}, []),
        ({"annotations": {"kaito.sh/runtime": "transformers"}}, []),
        ({}, []),
    ],
)
def test_a_change_of_inference(changed: dict[str, Any], fields: list[str]) -> None:
    found = change_problems(OLD, workspace(**changed))
    expected = [field.replace("inference.preset", "tuning.preset") for field in fields]
    if "tuning" not in changed:
        expected = fields
    assert [problem.field for problem in found] == expected
    assert all(problem.remedy == "Delete the Workspace and make a new one" for problem in found)


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"method": "lora"}, ["tuning.method"]),
        ({"method": "QLoRA"}, []),
        ({"preset": {"name": MINI}}, ["tuning.preset.name"]),
        ({"input": {"image": "registry.test/data:2"}}, []),
    ],
)
def test_a_change_of_tuning(changed: dict[str, Any], fields: list[str]) -> None:
    found = change_problems(workspace(tuning=TUNING), workspace(tuning={**TUNING, **changed}))
    assert [problem.field for problem in found] == fields


def test_both_values_are_shown() -> None:
    (problem,) = change_problems(OLD, workspace(instance_type=A100))
    assert problem.message == (
        "cannot be changed, from 'Standard_NV36ads_A10_v5' to 'Standard_NC24ads_A100_v4'"
    )
