from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.catalogue import UnknownInstanceType, UnknownModel
from kaito.domain.engine import EngineName, NoEngine
from kaito.domain.engine_config import max_model_len
from kaito.domain.errors import InvalidInput
from kaito.domain.fit import DoesNotFit
from kaito.domain.sizing import Sizing, requested_engine, size, tuning_method
from kaito.domain.workspace import TuningMethod, parse_workspace
from tests.unit.domain.builders import (
    A10,
    A100,
    CATALOGUE,
    FOUR_T4,
    H100,
    LLAMA_70B,
    LONG,
    MINI,
    T4,
    TUNING,
    TWO_A10,
    TWO_A100,
    V100,
    manifest,
    workspace,
)

TRANSFORMERS = {labels.RUNTIME: "transformers"}


def sized(config: dict[str, Any] | None = None, **parts: Any) -> Sizing:
    return size(workspace(**parts), CATALOGUE, config)


def serve(model: str) -> dict[str, Any]:
    return {"inference": {"preset": {"name": model}}}


@pytest.mark.parametrize(
    ("model", "machine", "engine", "dtype", "layout", "context"),
    [
        # layout: nodes, tensor parallel, pipeline, data parallel
        (MINI, A10, "vllm", "bfloat16", (1, 1, 1, 1), 4096),
        (MINI, T4, "vllm", "float16", (1, 1, 1, 1), 4096),
        (MINI, V100, "transformers", "float16", (1, 1, 1, 1), 4096),
        (MINI, TWO_A10, "vllm", "bfloat16", (1, 1, 1, 2), 4096),
        (LONG, A100, "vllm", "bfloat16", (1, 1, 1, 1), 131072),
        (LONG, TWO_A10, "vllm", "bfloat16", (1, 2, 1, 1), 50800),
        ("phi-4", FOUR_T4, "vllm", "float16", (1, 2, 2, 1), 16384),
        ("phi-4", "Standard_NC12s_v3", "transformers", "float16", (1, 1, 2, 1), 2048),
    ],
)
def test_how_the_presets_are_laid_out(
    model: str,
    machine: str,
    engine: str,
    dtype: str,
    layout: tuple[int, int, int, int],
    context: int,
) -> None:
    found = sized(instance_type=machine, **serve(model))
    fit = found.fit
    assert (fit.engine.name, fit.dtype) == (engine, dtype)
    assert (
        found.nodes,
        fit.tensor_parallel,
        fit.pipeline_parallel,
        fit.data_parallel,
    ) == layout
    assert fit.max_model_len == context


def test_the_decision_in_one_sentence() -> None:
    found = sized()
    left = found.fit.headroom_bytes / 2**30
    assert found.summary == (
        f"{MINI} runs on 1 x {A10} with vllm in bfloat16, context 4096 tokens, "
        f"{left:.1f} GiB per GPU left"
    )


def test_the_config_may_ask_for_a_shorter_context() -> None:
    assert sized({"vllm": {"max-model-len": "1024"}}).fit.max_model_len == 1024
    with pytest.raises(DoesNotFit, match="131072 tokens of context"):
        sized({"vllm": {"max-model-len": 131072}}, instance_type=V100, **serve(LONG))


def test_an_old_gpu_comes_with_a_warning_that_names_a_newer_type() -> None:
    (warning,) = sized(instance_type=V100).warnings
    assert warning.reason == "OldGpu"
    advised = warning.message.rsplit("; ", 1)[-1].removesuffix(" fits and runs vLLM")
    assert sized(instance_type=advised).fit.engine.name is EngineName.VLLM
    assert sized().warnings == ()


def test_an_old_gpu_is_warned_about_for_tuning_too() -> None:
    found = sized(instance_type=V100, tuning=TUNING)
    assert [warning.reason for warning in found.warnings] == ["OldGpu"]
    assert "float16" in found.warnings[0].message
    assert (found.fit.dtype, found.nodes) == ("float16", 1)


def test_what_is_tight_starts_with_a_warning() -> None:
    (warning,) = sized(instance_type=TWO_A10, **serve("phi-4")).warnings
    assert warning.reason == "MemoryTight"
    assert "0.46 GiB per GPU is left" in warning.message
    assert "off by 1.54 GiB (assumed, the worst of all measured families" in warning.message
    sizes = {"LoraConfig": {"r": 8}, "TrainingArguments": {"per_device_train_batch_size": 6}}
    config = {"training_config": {**sizes, "QuantizationConfig": {"load_in_4bit": True}}}
    tuning = {**TUNING, "preset": {"name": "phi-4"}, "method": "qlora"}
    assert [one.reason for one in sized(config, instance_type=A10, tuning=tuning).warnings] == [
        "MemoryTight"
    ]


def test_on_vllm_the_fit_decides_the_number_of_machines() -> None:
    found = sized(resource={"count": 3})
    assert found.nodes == 1
    (warning,) = found.warnings
    assert warning.reason == "CountIgnored"
    assert warning.message == (f"resource.count is 3, but {MINI} is served by 1: the fit decides")
    assert sized(resource={"count": 1}).warnings == ()


@pytest.mark.parametrize(
    ("model", "machine", "context", "layout"),
    [
        # layout: nodes, tensor parallel, pipeline
        ("phi-4", T4, None, (3, 1, 3)),
        ("phi-4", A10, None, (2, 1, 2)),
        (LLAMA_70B, TWO_A100, None, (2, 2, 2)),
        (LLAMA_70B, H100, None, (2, 1, 2)),
        (LLAMA_70B, H100, 131072, (3, 1, 3)),
    ],
)
def test_a_model_is_spread_over_as_few_machines_as_hold_it(
    model: str, machine: str, context: int | None, layout: tuple[int, int, int]
) -> None:
    config = {"vllm": {"max-model-len": context}} if context else None
    found = sized(config, instance_type=machine, **serve(model))
    fit = found.fit
    assert (found.nodes, fit.tensor_parallel, fit.pipeline_parallel) == layout
    assert fit.data_parallel == 1
    assert fit.max_model_len >= (context or 2048)
    assert found.summary.startswith(f"{model} runs on {layout[0]} x {machine} with vllm")


def test_no_more_machines_than_vllm_is_planned_for() -> None:
    with pytest.raises(DoesNotFit, match=f"does not fit 8 x {T4}: vllm needs"):
        sized(instance_type=T4, **serve(LLAMA_70B))


def test_on_transformers_the_count_is_the_number_of_replicas() -> None:
    found = sized(resource={"count": 3}, annotations=TRANSFORMERS)
    assert (found.nodes, found.fit.nodes, found.warnings) == (3, 1, ())


def test_the_disk_is_for_serving_or_tuning_whichever_needs_more() -> None:
    found = sized()
    model = CATALOGUE.model(MINI)
    assert model.tuning is not None
    assert found.disk_bytes == max(model.disk_bytes, model.tuning.disk_bytes) == 87 << 30
    plain = CATALOGUE.model("phi-4")
    assert sized(instance_type=A100, **serve("phi-4")).disk_bytes >= plain.disk_bytes


@pytest.mark.parametrize(
    ("parts", "error"),
    [
        (serve("phi-5"), UnknownModel),
        ({"instance_type": "Standard_D2s"}, UnknownInstanceType),
        ({"instance_type": V100, "annotations": {labels.RUNTIME: "vllm"}}, NoEngine),
        ({"instance_type": V100, **serve("phi-4")}, DoesNotFit),
        ({"annotations": {labels.RUNTIME: "llama.cpp"}}, InvalidInput),
        ({"tuning": {**TUNING, "method": "full"}}, InvalidInput),
    ],
)
def test_what_cannot_be_sized(parts: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        sized(**parts)


def test_without_a_preset_there_is_nothing_to_size() -> None:
    document = manifest()
    del document["inference"]
    with pytest.raises(InvalidInput, match=r"inference\.preset: is required"):
        size(parse_workspace(document), CATALOGUE)


def test_the_requested_engine() -> None:
    assert requested_engine(workspace()) is None
    assert requested_engine(workspace(annotations=TRANSFORMERS)) is EngineName.TRANSFORMERS


@pytest.mark.parametrize("text", ["lora", "LoRA", "LORA"])
def test_the_tuning_method_ignores_case(text: str) -> None:
    assert tuning_method(text) is TuningMethod.LORA
    assert tuning_method(f"q{text}") is TuningMethod.QLORA


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        (None, None),
        ({}, None),
        ({"vllm": None}, None),
        ({"vllm": ["max-model-len"]}, None),
        ({"vllm": {}}, None),
        ({"vllm": {"max-model-len": "auto"}}, None),
        ({"vllm": {"max-model-len": None}}, None),
        ({"vllm": {"max-model-len": 2048}}, 2048),
        ({"vllm": {"max-model-len": "2048"}}, 2048),
        ({"vllm": {"max_model_len": 2048}}, 2048),
        ({"vllm": {"max-model-len": 1024, "max_model_len": 2048}}, 2048),
    ],
)
def test_the_context_that_a_config_asks_for(config: Any, tokens: int | None) -> None:
    assert max_model_len(config) == tokens


@pytest.mark.parametrize("value", [True, 0, -1, 1.5, "1k", "²", "", "\u0661", [1]])
def test_a_context_that_is_no_number_of_tokens(value: object) -> None:
    with pytest.raises(InvalidInput) as caught:
        max_model_len({"vllm": {"max-model-len": value}})
    (problem,) = caught.value.problems
    assert problem.field == "inference.config[vllm.max-model-len]"
    assert problem.rule == "context-number"
    assert problem.message == f"must be a whole number of tokens, got {value!r}"


def test_a_strength_that_vllm_cannot_apply_is_told() -> None:
    source = {"name": "tone", "image": "registry.test/tone:1"}
    found = sized(
        inference={
            "preset": {"name": MINI},
            "adapters": [
                {"source": source, "strength": "0.5"},
                {"source": {**source, "name": "facts"}, "strength": "1.0"},
            ],
        }
    )
    (warning,) = found.warnings
    assert warning.reason == "StrengthIgnored"
    assert warning.message.endswith("not applied to tone")
