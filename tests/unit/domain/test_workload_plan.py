from dataclasses import replace
from typing import Any

import pytest

from kaito.domain import labels
from kaito.domain.cluster_view import ConfigView
from kaito.domain.quantity import GIB
from kaito.domain.tuning_attempts import DEFAULT_RETRIES
from kaito.domain.workload import AdapterMount, TuningData, Workload, WorkloadKind
from kaito.domain.workload_plan import plan_workload, start_limit_s
from tests.unit.domain.builders import (
    A10,
    CATALOGUE,
    FOUR_T4,
    GATED,
    LONG,
    MINI,
    TRAINING,
    TUNING,
    TWO_A10,
    TWO_A100,
    V100,
    config,
    wanted,
    workspace,
)

TRANSFORMERS = {labels.RUNTIME: "transformers"}
VOLUME = {"persistentVolumeClaim": {"claimName": "data"}}
REVISION = CATALOGUE.model(MINI).revision


def planned(settings: ConfigView | None = None, **parts: Any) -> Workload:
    return wanted(workspace(**parts), settings).workload


def test_the_command_line_of_vllm() -> None:
    found = planned()
    assert found.kind is WorkloadKind.INFERENCE
    assert found.command == ("python3", "/workspace/vllm/inference_api.py")
    assert found.arguments == (
        f"--served-model-name={MINI}",
        "--model=microsoft/Phi-3-mini-4k-instruct",
        "--download-dir=/workspace/weights",
        "--dtype=bfloat16",
        "--tensor-parallel-size=1",
        "--max-model-len=4096",
        "--gpu-memory-utilization=0.82",
        f"--revision={REVISION}",
    )
    assert found.image == "mcr.microsoft.com/aks/kaito/kaito-base:0.5.0"
    assert (found.gpus, found.replicas, found.model) == (1, 1, MINI)
    assert found.node_labels == {"apps": "phi"}
    assert not found.load_balancer


@pytest.mark.parametrize(
    ("model", "machine", "extra"),
    [
        (MINI, TWO_A10, ["--data-parallel-size=2"]),
        (LONG, TWO_A10, []),
        ("phi-4", FOUR_T4, ["--pipeline-parallel-size=2"]),
    ],
)
def test_vllm_on_several_gpus(model: str, machine: str, extra: list[str]) -> None:
    found = planned(instance_type=machine, inference={"preset": {"name": model}})
    parallel = [
        argument for argument in found.arguments if argument.startswith(("--data-", "--pipeline-"))
    ]
    assert parallel == extra
    assert (found.gpus, found.replicas) == (2 if machine == TWO_A10 else 4, 1)


def test_vllm_with_adapters_gets_a_slot_for_each() -> None:
    image = {
        "name": "style",
        "image": "registry.test/style:1",
        "imagePullSecrets": ["one", "two"],
    }
    volume = {"name": "tone", "volumeSource": VOLUME}
    found = planned(
        inference={
            "preset": {"name": MINI},
            "adapters": [{"source": image, "strength": "0.5"}, {"source": volume}],
        }
    )
    assert found.arguments[-3:] == (
        "--enable-lora",
        "--max-loras=2",
        "--kaito-adapters-dir=/mnt/adapter",
    )
    assert found.adapters == (
        AdapterMount(
            name="style",
            strength="0.5",
            image="registry.test/style:1",
            pull_secrets=("one", "two"),
        ),
        AdapterMount(name="tone", strength="1.0", volume_source=VOLUME),
    )


def test_vllm_with_parsers_of_the_model() -> None:
    sizing = wanted(workspace()).sizing
    model = replace(sizing.model, tool_call_parser="phi4", reasoning_parser="r1", revision=None)
    found = plan_workload(workspace(), replace(sizing, model=model), None)
    assert found.arguments[-3:] == (
        "--tool-call-parser=phi4",
        "--reasoning-parser=r1",
        "--enable-auto-tool-choice",
    )
    assert not any(argument.startswith("--revision") for argument in found.arguments)


def test_vllm_with_what_else_a_model_needs() -> None:
    found = planned(
        instance_type="Standard_ND96isr_H200_v5",
        inference={"preset": {"name": "glm-5.2-fp8"}},
    )
    assert "--kv-cache-dtype=fp8" in found.arguments
    mistral = planned(inference={"preset": {"name": "ministral-3-8b-instruct"}})
    assert mistral.arguments[-3:] == (
        "--config-format=mistral",
        "--load-format=mistral",
        "--tokenizer-mode=mistral",
    )
    qwen = planned(
        instance_type="Standard_NC24ads_A100_v4",
        inference={"preset": {"name": "qwen2.5-coder-7b-instruct"}},
    )
    template = "--chat-template=/workspace/chat_templates/tool-chat-hermes.jinja"
    assert template in qwen.arguments
    kimi = planned(
        instance_type="Standard_ND96isr_H200_v5", inference={"preset": {"name": "kimi-k2.5"}}
    )
    assert kimi.arguments[-2:] == ("--enable-auto-tool-choice", "--trust-remote-code")


def test_the_command_line_of_transformers() -> None:
    found = planned(instance_type=V100)
    assert found.command == ("accelerate", "launch")
    assert found.arguments == (
        "--num_processes=1",
        "--num_machines=1",
        "--machine_rank=0",
        "--gpu_ids=all",
        "/workspace/tfs/inference_api.py",
        "--pipeline=text-generation",
        "--pretrained_model_name_or_path=microsoft/Phi-3-mini-4k-instruct",
        "--allow_remote_files",
        "--torch_dtype=float16",
        "--device_map=auto",
        f"--revision={REVISION}",
    )
    assert found.image == "mcr.microsoft.com/aks/kaito/kaito-base:0.0.2"


def test_transformers_takes_the_newest_revision_where_none_is_pinned() -> None:
    sizing = wanted(workspace(instance_type=V100)).sizing
    newest = replace(sizing, model=replace(sizing.model, revision=None))
    assert plan_workload(workspace(), newest, None).arguments[-1] == "--device_map=auto"


@pytest.mark.parametrize("machine", [A10, V100])
def test_a_config_is_mounted_and_named_to_the_server(machine: str) -> None:
    parts = {"inference": {"preset": {"name": MINI}, "config": "settings"}}
    found = planned(config(), instance_type=machine, **parts)
    assert found.arguments[-1] == "--kaito-config-file=/mnt/config/inference_config.yaml"
    assert (found.config_map, found.config_hash) == ("settings", "abc")
    without = planned(instance_type=machine)
    assert (without.config_map, without.config_hash) == ("", "")
    assert not any("config" in argument for argument in without.arguments)


def test_what_a_user_may_set_about_serving() -> None:
    options = {"image": "registry.test/mine:1", "modelAccessSecret": "token"}
    found = planned(
        annotations={labels.ENABLE_LOAD_BALANCER: "True", **TRANSFORMERS},
        resource={"count": 2},
        inference={"preset": {"name": MINI, "presetOptions": options}},
    )
    assert found.image == "registry.test/mine:1"
    assert found.access_secret == "token"
    assert found.load_balancer
    assert found.replicas == 2
    assert found.owner_api_version == "kaito.sh/v1beta1"
    assert found.name == "phi"


def test_a_gated_model_needs_its_token_unless_an_image_may_hold_it() -> None:
    options = {"image": "registry.test/mine:1", "modelAccessSecret": "token"}
    own = {**GATED, "presetOptions": options}
    found = [planned(instance_type=TWO_A100, inference={"preset": one}) for one in (GATED, own)]
    assert [one.token_required for one in found] == [True, False]
    assert not planned().token_required


def test_the_command_line_of_tuning() -> None:
    found = planned(instance_type=V100, tuning=TUNING)
    assert found.kind is WorkloadKind.TUNING
    assert found.command == ("accelerate", "launch")
    assert found.arguments == (
        "--num_processes=1",
        "--num_machines=1",
        "--machine_rank=0",
        "--gpu_ids=all",
        "/workspace/tfs/fine_tuning.py",
        "--pretrained_model_name_or_path=microsoft/Phi-3-mini-128k-instruct",
    )
    assert found.environment == (
        ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True"),
        ("DEFAULT_TARGET_MODULES", "qkv_proj,o_proj,gate_up_proj,down_proj"),
    )
    assert found.tuning == TuningData(
        urls=("https://example.com/data.parquet?download=true",),
        output_image="registry.test/result:1",
        push_secret="push",
        retries=DEFAULT_RETRIES,
    )


def test_tuning_uses_one_process_for_each_gpu() -> None:
    assert planned(instance_type=TWO_A10, tuning=TUNING).arguments[0] == "--num_processes=2"


def test_tuning_from_an_image_or_a_volume_to_a_volume() -> None:
    from_image = planned(
        tuning={
            **TUNING,
            "input": {"image": "registry.test/data:1", "imagePullSecrets": ["pull"]},
            "output": {"volumeSource": VOLUME},
        }
    ).tuning
    assert from_image == TuningData(
        input_image="registry.test/data:1",
        input_pull_secrets=("pull",),
        output_volume=VOLUME,
        retries=DEFAULT_RETRIES,
    )
    from_volume = planned(tuning={**TUNING, "input": {"volumeSource": VOLUME}}).tuning
    assert from_volume is not None
    assert from_volume.input_volume == VOLUME


@pytest.mark.parametrize(
    ("method", "machine", "four_bits", "dtype"),
    [("lora", A10, False, "bfloat16"), ("QLoRA", V100, True, "float16")],
)
def test_the_settings_of_a_tuning_job_that_names_none(
    method: str, machine: str, four_bits: bool, dtype: str
) -> None:
    settings = planned(instance_type=machine, tuning={**TUNING, "method": method}).training_config
    assert settings is not None
    sections = settings["training_config"]
    assert list(sections) == [
        "ModelConfig",
        "QuantizationConfig",
        "LoraConfig",
        "TrainingArguments",
        "DataCollator",
        "DatasetConfig",
    ]
    assert sections["ModelConfig"]["torch_dtype"] == dtype
    assert sections["QuantizationConfig"]["load_in_4bit"] is four_bits
    assert sections["QuantizationConfig"]["bnb_4bit_compute_dtype"] == dtype
    assert (sections["LoraConfig"]["r"], sections["LoraConfig"]["lora_alpha"]) == (8, 8)
    arguments = sections["TrainingArguments"]
    assert arguments["output_dir"] == "/mnt/results"
    assert (arguments["bf16"], arguments["fp16"]) == (dtype == "bfloat16", dtype == "float16")
    assert arguments["gradient_checkpointing"], "the fit counts on it"


def test_settings_of_the_users_own_are_left_alone() -> None:
    found = planned(config(TRAINING), tuning={**TUNING, "config": "settings"})
    assert found.training_config is None
    assert found.config_map == "settings"


def test_a_model_without_known_modules_is_left_to_the_trainer() -> None:
    sizing = wanted(workspace(tuning=TUNING)).sizing
    unknown = replace(sizing, model=replace(sizing.model, tuning=None))
    found = plan_workload(workspace(tuning=TUNING), unknown, None)
    assert [name for name, _ in found.environment] == ["PYTORCH_CUDA_ALLOC_CONF"]


@pytest.mark.parametrize(
    ("gib", "seconds"), [(0, 1800), (50, 1800), (100, 2700), (500, 9900), (1000, 10800)]
)
def test_larger_models_may_take_longer_to_start(gib: int, seconds: int) -> None:
    assert start_limit_s(gib * GIB) == seconds


def test_the_same_decision_gives_the_same_workload() -> None:
    assert planned(tuning=TUNING) == planned(tuning=TUNING)
    assert planned() == planned()
