"""training_config.yaml: what the trainer could not work with."""

from typing import Any

import pytest

from kaito.domain.errors import InvalidConfig
from kaito.domain.training_config import (
    RESULTS_DIR,
    check_training_config,
    results_dir,
    training_request,
)
from kaito.domain.tuning_fit import TuningRequest
from kaito.domain.workload_plan import plan_workload, training_config
from kaito.domain.workspace import TuningMethod
from tests.unit.domain.builders import TRAINING, TUNING, config, wanted, workspace

LORA, QLORA = TuningMethod.LORA, TuningMethod.QLORA


def sections(**found: Any) -> dict[str, Any]:
    return {"training_config": found}


def writing_to(directory: Any) -> dict[str, Any]:
    return sections(
        QuantizationConfig={"load_in_4bit": True}, TrainingArguments={"output_dir": directory}
    )


@pytest.mark.parametrize(
    ("values", "method"),
    [
        (None, QLORA),
        (TRAINING, QLORA),
        (sections(QuantizationConfig={"load_in_8bit": True, "load_in_4bit": None}), QLORA),
        (sections(), LORA),
        (sections(LoraConfig=None, QuantizationConfig={"load_in_4bit": False}), LORA),
        (writing_to("/mnt/out"), QLORA),
        (writing_to("/mnt/results/run-1/"), QLORA),
    ],
)
def test_what_the_trainer_takes(values: Any, method: TuningMethod) -> None:
    check_training_config(values, method)


@pytest.mark.parametrize("method", [LORA, QLORA])
def test_what_kaito_itself_writes(method: TuningMethod) -> None:
    sizing = wanted(workspace(tuning=TUNING)).sizing
    check_training_config(training_config(method, sizing), method)


@pytest.mark.parametrize(
    ("values", "method", "text"),
    [
        ({}, LORA, "[training_config]: is required. It has the sections ModelConfig, "),
        ({"training_config": []}, LORA, "[training_config]: must be a mapping of sections"),
        (sections(LoRAConfig={}), LORA, ".LoRAConfig]: unknown section. Did you mean LoraConfig"),
        (sections(LoraConfig=8), LORA, ".LoraConfig]: must be a mapping, got 8"),
        (sections(LoraConfig={"r": 0}), LORA, ".LoraConfig.r]: must be a whole number from 1"),
        (
            sections(TrainingArguments={"per_device_train_batch_size": True}),
            LORA,
            ".per_device_train_batch_size]: must be a whole number from 1, got True",
        ),
        (
            sections(QuantizationConfig={"load_in_4bit": "yes"}),
            QLORA,
            ".QuantizationConfig.load_in_4bit]: must be true or false, got 'yes'",
        ),
        (
            sections(QuantizationConfig={"load_in_4bit": True, "load_in_8bit": True}),
            QLORA,
            "qlora needs exactly one of load_in_4bit and load_in_8bit, has 2",
        ),
        (sections(), QLORA, "has 0. Set load_in_4bit: true"),
        (TRAINING, LORA, "lora trains in 16 bits, but load_in_4bit is true"),
        *[
            (writing_to(directory), QLORA, ".output_dir]: must be a directory of its own below")
            for directory in ("/tmp/x", "/mnt", "/mnt/", "mnt/x", "/mnt/../etc", 5, "/mnt/data/x")
        ],
    ],
)
def test_what_the_trainer_could_not_work_with(
    values: dict[str, Any], method: TuningMethod, text: str
) -> None:
    with pytest.raises(InvalidConfig) as caught:
        check_training_config(values, method)
    (problem,) = caught.value.problems
    assert text in str(problem)


def test_results_are_looked_for_where_the_trainer_writes_them() -> None:
    assert results_dir(None) == results_dir(TRAINING) == RESULTS_DIR
    tuned = workspace(tuning={**TUNING, "config": "settings"})
    settings = config(writing_to("/mnt/output"))
    found = plan_workload(tuned, wanted(tuned, settings).sizing, settings)
    assert found.tuning is not None
    assert found.tuning.results_dir == "/mnt/output"


@pytest.mark.parametrize("method", [LORA, QLORA])
def test_what_kaito_itself_writes_is_what_is_planned_for_without_a_config(
    method: TuningMethod,
) -> None:
    sizing = wanted(workspace(tuning=TUNING)).sizing
    assert training_request(training_config(method, sizing), method) == training_request(
        None, method
    )
    assert training_request(None, method) == TuningRequest(method=method)


def test_what_of_a_config_bears_on_memory() -> None:
    said = sections(LoraConfig={"r": "16"}, TrainingArguments={"per_device_train_batch_size": 2})
    assert training_request(said, QLORA) == TuningRequest(
        method=QLORA, batch_size=2, lora_rank=16, gradient_checkpointing=True
    )
    assert not training_request(said, LORA).gradient_checkpointing
    again = sections(TrainingArguments={"gradient_checkpointing": True})
    assert training_request(again, LORA) == TuningRequest(
        method=LORA, batch_size=8, lora_rank=8, gradient_checkpointing=True
    )
