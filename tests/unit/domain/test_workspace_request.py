from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.catalogue import UnknownModel
from kaito.domain.errors import InvalidInput
from kaito.domain.fit_request import FitRequest
from kaito.domain.model import EngineName
from kaito.domain.tuning_fit import TuningRequest
from kaito.domain.tuning_method import TuningMethod
from kaito.domain.workspace_request import (
    WorkspaceRequest,
    workspace_request,
    workspace_tuning,
)
from tests.unit.domain.builders import A10, A100, CATALOGUE, LONG, MINI, TUNING, workspace


def asked(
    config: dict[str, Any] | None = None, request: FitRequest | None = None, **parts: Any
) -> WorkspaceRequest:
    return workspace_request(workspace(**parts), CATALOGUE, config, request or FitRequest())


def test_a_plain_one_asks_for_its_model_on_its_type() -> None:
    found = asked()
    assert found.model.name == MINI
    assert found.instance_types == (A10,)
    assert found.request == FitRequest()
    assert not found.spot
    assert found.remarks == ()


def test_its_annotations_count() -> None:
    found = asked(
        annotations={
            labels.FALLBACK_INSTANCE_TYPES: f"{A100}, {A10}",
            labels.CAPACITY_CHOICE: "spot",
            labels.RUNTIME: "transformers",
        }
    )
    assert found.instance_types == (A10, A100)
    assert found.spot
    assert found.request.engine is EngineName.TRANSFORMERS


def test_its_config_says_the_context_unless_the_question_does() -> None:
    config = {"vllm": {"max-model-len": 1024}}
    assert asked(config).request.context == 1024
    assert asked(config, FitRequest(context=512)).request.context == 512


def test_its_config_may_not_ask_for_more_than_the_model_has() -> None:
    with pytest.raises(InvalidInput, match=r"max-model-len\]: is 5000, and the limit of .* 4096"):
        asked({"vllm": {"max-model-len": 5000}})


def test_its_adapters_count() -> None:
    adapters = [{"source": {"name": "a", "image": "registry.test/a:1"}}]
    found = asked(inference={"preset": {"name": MINI}, "adapters": adapters})
    assert found.request.adapters == 1


def test_a_part_of_a_machine_is_not_planned_for() -> None:
    for partition in ({"mode": "mig", "profile": "1g.10gb"}, {"mode": "accelerator", "count": 1}):
        found = asked(resource={"partition": partition})
        assert "resource.partition is not counted" in found.remarks[0]


def test_nodes_of_ones_own_leave_the_type_open() -> None:
    assert asked(instance_type="").instance_types == ()


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({"tuning": TUNING}, "tunes a model"),
        ({"inference": {"template": {"spec": {}}}}, "has a pod template of its own"),
    ],
)
def test_only_presets_that_are_served_can_be_planned_for(parts: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        asked(**parts)


def test_an_unknown_model_is_told() -> None:
    with pytest.raises(UnknownModel):
        asked(inference={"preset": {"name": "phi-99"}})


def test_a_tuning_job_with_its_config() -> None:
    sizes = {"TrainingArguments": {"per_device_train_batch_size": 4}, "LoraConfig": {"r": 32}}
    config = {"training_config": {**sizes, "QuantizationConfig": {"load_in_4bit": True}}}
    found = workspace_tuning(workspace(tuning=TUNING), CATALOGUE, config)
    assert found.model.name == LONG
    assert found.request == TuningRequest(
        method=TuningMethod.QLORA, batch_size=4, lora_rank=32, gradient_checkpointing=True
    )
    assert found.instance_types == (A10,)
    assert not found.spot
    other = workspace_tuning(workspace(tuning=TUNING), CATALOGUE, None, TuningMethod.LORA)
    assert other.request == TuningRequest(method=TuningMethod.LORA)


@pytest.mark.parametrize(
    ("parts", "what"),
    [
        ({}, "serves a model"),
        ({"tuning": {**TUNING, "preset": None}}, "names no model"),
        ({"tuning": {**TUNING, "method": "full"}}, "must be lora or qlora, got 'full'"),
    ],
)
def test_only_models_that_are_tuned_can_be_planned_for(parts: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        workspace_tuning(workspace(**parts), CATALOGUE, None)


def test_a_config_that_the_trainer_cannot_work_with_is_told() -> None:
    with pytest.raises(InvalidInput, match="is required"):
        workspace_tuning(workspace(tuning=TUNING), CATALOGUE, {})
