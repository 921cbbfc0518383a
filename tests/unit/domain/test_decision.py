from dataclasses import replace
from typing import Any

import pytest

from kaito.domain.cluster_view import ConfigView
from kaito.domain.decision import Refusal, Wanted, decide
from kaito.domain.machine import Owner
from tests.unit.domain.builders import (
    A100,
    CATALOGUE,
    LONG,
    MINI,
    TUNING,
    UID,
    V100,
    config,
    refusal,
    wanted,
    workspace,
)


def test_a_workspace_that_can_be_planned() -> None:
    found = wanted(workspace())
    assert found.workload.owner == Owner(uid=UID, namespace="default", name="phi")
    assert found.workload.replicas == found.sizing.nodes == 1


def test_the_config_is_part_of_the_decision() -> None:
    found = wanted(workspace(), config({"vllm": {"max-model-len": 512}}))
    assert found.sizing.fit.max_model_len == 512
    assert found.workload.config_hash == "abc"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"tuning": TUNING}, "qlora-params-template"),
        ({"inference": {"preset": {"name": MINI}}}, "inference-params-template"),
    ],
)
def test_a_config_that_kaito_ships_means_the_defaults(parts: dict[str, Any], name: str) -> None:
    (mode, part), *_ = parts.items()
    named = {mode: {**part, "config": name}}
    gone = ConfigView(name=name, missing=True, problem=f"ConfigMap {name!r} does not exist")
    assert decide(workspace(**named), CATALOGUE, gone) == decide(
        workspace(**parts), CATALOGUE, None
    )
    other = replace(gone, name="mine")
    assert isinstance(decide(workspace(**named), CATALOGUE, other), Refusal)


def test_every_broken_rule_is_in_the_refusal() -> None:
    found = refusal(workspace(name="Phi", instance_type="V100"))
    assert found.reason == "InvalidSpec"
    assert [problem.field for problem in found.problems] == [
        "metadata.name",
        "resource.instanceType",
    ]
    assert found.message == "; ".join(str(problem) for problem in found.problems)


@pytest.mark.parametrize(
    ("parts", "settings", "reason", "field"),
    [
        (
            {},
            config(missing=True, problem="ConfigMap 'settings' does not exist"),
            "ConfigMapNotFound",
            "inference.config",
        ),
        ({}, config(problem="is not YAML"), "ConfigMapInvalid", "inference.config"),
        (
            {"tuning": TUNING},
            config(problem="is not YAML"),
            "ConfigMapInvalid",
            "tuning.config",
        ),
        (
            {"instance_type": V100, "inference": {"preset": {"name": "phi-4"}}},
            None,
            "ModelDoesNotFit",
            "resource.instanceType",
        ),
        (
            {"instance_type": V100, "inference": {"preset": {"name": LONG}}},
            config({"vllm": {"max-model-len": 131072}}),
            "ModelDoesNotFit",
            "resource.instanceType",
        ),
        (
            {"instance_type": V100, "annotations": {"kaito.sh/runtime": "vllm"}},
            None,
            "InvalidSpec",
            "metadata.annotations[kaito.sh/runtime]",
        ),
        (
            {},
            config({"vllm": {"max-model-len": "x"}}),
            "ConfigMapInvalid",
            "inference.config[vllm.max-model-len]",
        ),
    ],
)
def test_a_refusal_names_the_field(
    parts: dict[str, Any], settings: Any, reason: str, field: str
) -> None:
    found = refusal(workspace(**parts), settings)
    assert (found.reason, [problem.field for problem in found.problems]) == (reason, [field])


def test_deciding_is_pure() -> None:
    found = workspace(tuning=TUNING)
    assert decide(found, CATALOGUE, None) == decide(found, CATALOGUE, None)
    assert isinstance(decide(found, CATALOGUE, None), Wanted)


def test_a_tuning_job_counts_what_its_config_asks_for() -> None:
    sections = {"QuantizationConfig": {"load_in_4bit": True}}
    sizes = {"TrainingArguments": {"per_device_train_batch_size": 64}}
    tuned = workspace(tuning={**TUNING, "config": "training"})
    assert isinstance(decide(tuned, CATALOGUE, config({"training_config": sections})), Wanted)
    found = decide(tuned, CATALOGUE, config({"training_config": sections | sizes}))
    assert isinstance(found, Refusal)
    assert found.reason == "ModelDoesNotFit"
    assert "1024 tokens a sequence does not fit" in found.message
    assert f"It fits on {A100}" in found.message
