"""The workload that serves or tunes a Workspace's model: image, command line, files.

Command lines are exec forms in a fixed order: no shell reads them, and the same decision always
gives the same text.
"""

from collections.abc import Mapping
from typing import Any, Final

from kaito.domain import labels
from kaito.domain.cluster_view import ConfigView
from kaito.domain.engine import EngineName
from kaito.domain.fit import FitPlan
from kaito.domain.machine import Owner
from kaito.domain.memory import budget_share
from kaito.domain.model import ModelProfile
from kaito.domain.node_shape import NodeShape
from kaito.domain.partition import gpu_resource, mig_profile
from kaito.domain.quantity import GIB
from kaito.domain.ray_group import EXECUTOR, RayGroup, leader_host
from kaito.domain.sizing import Sizing, tuning_method
from kaito.domain.training_config import RESULTS_DIR, results_dir
from kaito.domain.tuning_attempts import tuning_retries
from kaito.domain.tuning_memory import TUNING_LORA_RANK
from kaito.domain.weights_volume import weights_volume
from kaito.domain.workload import AdapterMount, OwnPlace, TuningData, Workload, WorkloadKind
from kaito.domain.workspace import (
    GROUP,
    STORED_VERSION,
    Adapter,
    InferenceSpec,
    TuningMethod,
    TuningSpec,
    Workspace,
)

INFERENCE_CONFIG_KEY: Final = "inference_config.yaml"
TRAINING_CONFIG_KEY: Final = "training_config.yaml"
CONFIG_DIR: Final = "/mnt/config"
WEIGHTS_DIR: Final = "/workspace/weights"
ADAPTERS_DIR: Final = "/mnt/adapter"
DATA_DIR: Final = "/mnt/data"

# Paths in KAITO's base image (facts of v0.12: pkg/model/interface.go).
_VLLM_SERVER: Final = "/workspace/vllm/inference_api.py"
_TRANSFORMERS_SERVER: Final = "/workspace/tfs/inference_api.py"
_TUNING_SCRIPT: Final = "/workspace/tfs/fine_tuning.py"
_CHAT_TEMPLATES: Final = "/workspace/chat_templates"
# On a MIG slice KAITO's server is told not to move KV cache to the host's memory (pkg/model/
# interface.go:487-566).
_NO_CPU_CACHE: Final = "--kaito-kv-cache-cpu-memory-utilization=0"
_HUGGING_FACE_CACHE: Final = "HF_HUB_CACHE"
_ACCELERATE: Final = ("accelerate", "launch")

# Time a model server may take to start: 15 min and 18 s for each GiB of weights, within 30 to
# 180 min (kaito-project/kaito@056b8280b presets/workspace/models/vllm_model.go:33-76).
_START_BASE_S: Final = 15 * 60
_START_S_PER_GIB: Final = 18
_START_LEAST_S: Final = 30 * 60
_START_MOST_S: Final = 180 * 60


def plan_workload(
    workspace: Workspace,
    sizing: Sizing,
    config: ConfigView | None,
    shape: NodeShape | None = None,
) -> Workload:
    """The workload as it should be. `config` is the ConfigMap that the Workspace names, if any;
    `shape` that of the Nodes which its user brings, None where machines are ordered."""
    owner = Owner(uid=workspace.uid, namespace=workspace.namespace, name=workspace.name)
    shared: dict[str, Any] = {
        "owner": owner,
        "owner_api_version": f"{GROUP}/{STORED_VERSION}",
        "model": sizing.model.name,
        "image": _image(workspace, sizing),
        "gpus": sizing.instance_type.gpu_count,
        "gpu_resource": gpu_resource(mig_profile(workspace.resource.partition)),
        "replicas": sizing.nodes,
        "node_labels": workspace.node_labels if shape is None else {},
        "own_place": own_place(workspace, shape) if shape is not None else None,
        "config_map": config.name if config else "",
        "config_hash": config.content_hash if config else "",
        "access_secret": workspace.preset.preset_options.model_access_secret
        if workspace.preset
        else "",
        "token_required": sizing.model.requires_auth and not _own_image(workspace),
        "generation": workspace.metadata.generation,
        "weights": weights_volume(sizing.model, sizing.weights_class),
        "image_pull_secrets": workspace.preset.preset_options.image_pull_secrets
        if workspace.preset
        else (),
        "startup_limit_s": start_limit_s(sizing.model.weight_bytes),
    }
    if workspace.tuning is not None:
        results = results_dir(config.values if config else None)
        return _tuning_workload(workspace, workspace.tuning, sizing, results, shared)
    assert workspace.inference is not None
    return _inference_workload(workspace, workspace.inference, sizing, shared)


def own_place(workspace: Workspace, shape: NodeShape) -> OwnPlace:
    """Where on the Nodes that users bring its pods may run."""
    resource = workspace.resource
    return OwnPlace(
        selector=resource.label_selector,
        shape=shape,
        preferred=tuple(dict.fromkeys(resource.preferred_nodes)),
    )


def start_limit_s(weight_bytes: int) -> int:
    """Seconds that a server may take until it answers /health."""
    wanted = _START_BASE_S + int(_START_S_PER_GIB * weight_bytes / GIB)
    return min(max(wanted, _START_LEAST_S), _START_MOST_S)


def _image(workspace: Workspace, sizing: Sizing) -> str:
    return _own_image(workspace) or sizing.choice.engine.image


def _own_image(workspace: Workspace) -> str:
    """The user's, which may hold the weights; empty where there is none."""
    preset = workspace.preset
    return preset.preset_options.image if preset else ""


def _inference_workload(
    workspace: Workspace, inference: InferenceSpec, sizing: Sizing, shared: Mapping[str, Any]
) -> Workload:
    adapters = tuple(_adapter(adapter) for adapter in inference.adapters)
    if sizing.choice.engine.name is EngineName.VLLM:
        command: tuple[str, ...] = ("python3", _VLLM_SERVER)
        arguments = _vllm_arguments(sizing, len(adapters))
        if mig_profile(workspace.resource.partition):
            arguments += (_NO_CPU_CACHE,)
    else:
        command, arguments = _ACCELERATE, _transformers_arguments(sizing)
    if inference.config:
        arguments += (f"--kaito-config-file={CONFIG_DIR}/{INFERENCE_CONFIG_KEY}",)
    return Workload(
        kind=WorkloadKind.INFERENCE,
        command=command,
        arguments=arguments,
        environment=_downloads(sizing),
        group=_group(sizing, shared["owner"], shared["startup_limit_s"]),
        adapters=adapters,
        load_balancer=workspace.annotation(labels.ENABLE_LOAD_BALANCER) == "True",
        **shared,
    )


def _downloads(sizing: Sizing) -> tuple[tuple[str, str], ...]:
    """Where downloads go. vLLM is told by an option; KAITO's other programs leave it to Hugging
    Face's library, whose cache is in the container (huggingface_hub, environment variables)."""
    told = sizing.choice.engine.name is EngineName.VLLM
    return ((_HUGGING_FACE_CACHE, WEIGHTS_DIR),) if sizing.weights_class and not told else ()


def _group(sizing: Sizing, owner: Owner, limit_s: int) -> RayGroup | None:
    """Whether the pods serve one model together. The start-up probe ends a wait for members, not
    Ray: a machine that is replaced meanwhile takes longer than Ray would wait by itself."""
    if sizing.fit.nodes == 1:
        return None
    host = leader_host(owner.name, owner.namespace)
    return RayGroup(size=sizing.fit.nodes, leader_host=host, join_limit_s=limit_s)


def _vllm_arguments(sizing: Sizing, adapters: int) -> tuple[str, ...]:
    """What the fit assumed, said in full: entries of a mounted config come behind it and agree."""
    model, fit = sizing.model, sizing.fit
    share = budget_share(sizing.instance_type.gpu, fit.engine.name, fit.asked.utilization)
    flags: dict[str, str] = {
        "served-model-name": model.name,
        "model": model.hf_id,
        "download-dir": WEIGHTS_DIR,
        "dtype": fit.dtype,
        "tensor-parallel-size": str(fit.tensor_parallel),
        "max-model-len": str(fit.max_model_len),
        "gpu-memory-utilization": str(float(share)),
    }
    if model.revision:
        flags["revision"] = model.revision
    flags |= _parallel_flags(fit) | _model_flags(model) | fit.asked.flags
    arguments = [_argument(flag, value) for flag, value in flags.items()]
    if model.tool_call_parser:
        arguments.append("--enable-auto-tool-choice")
    more = sorted(model.vllm_arguments.items())
    arguments += [_argument(flag, value) for flag, value in more]
    slots = fit.asked.lora_slots(adapters)
    if slots:
        arguments += ["--enable-lora", f"--max-loras={slots}"]
        if fit.asked.max_lora_rank:
            arguments.append(f"--max-lora-rank={fit.asked.max_lora_rank}")
    if adapters:
        arguments.append(f"--kaito-adapters-dir={ADAPTERS_DIR}")
    return tuple(arguments)


def _argument(flag: str, value: str) -> str:
    return f"--{flag}={value}" if value else f"--{flag}"


def _parallel_flags(fit: FitPlan) -> dict[str, str]:
    flags: dict[str, str] = {}
    if fit.pipeline_parallel > 1:
        flags["pipeline-parallel-size"] = str(fit.pipeline_parallel)
    if fit.nodes > 1:
        flags["distributed-executor-backend"] = EXECUTOR
    if fit.data_parallel > 1:
        flags["data-parallel-size"] = str(fit.data_parallel)
    return flags


def _model_flags(model: ModelProfile) -> dict[str, str]:
    template = model.chat_template if model.tool_call_parser else None
    flags = {
        "tool-call-parser": model.tool_call_parser,
        "reasoning-parser": model.reasoning_parser,
        "chat-template": template and f"{_CHAT_TEMPLATES}/{template}",
        "kv-cache-dtype": model.kv_cache_dtype,
    }
    return {flag: value for flag, value in flags.items() if value}


def _transformers_arguments(sizing: Sizing) -> tuple[str, ...]:
    model = sizing.model
    arguments = [
        "--num_processes=1",
        "--num_machines=1",
        "--machine_rank=0",
        "--gpu_ids=all",
        _TRANSFORMERS_SERVER,
        "--pipeline=text-generation",
        f"--pretrained_model_name_or_path={model.hf_id}",
        "--allow_remote_files",
        f"--torch_dtype={sizing.fit.dtype}",
        "--device_map=auto",
    ]
    if model.revision:
        arguments.append(f"--revision={model.revision}")
    return tuple(arguments)


def _adapter(adapter: Adapter) -> AdapterMount:
    source = adapter.source
    return AdapterMount(
        name=source.name,
        strength=adapter.strength,
        image=source.image,
        pull_secrets=source.image_pull_secrets,
        volume_source=source.volume_source,
    )


def _tuning_workload(
    workspace: Workspace,
    tuning: TuningSpec,
    sizing: Sizing,
    results: str,
    shared: Mapping[str, Any],
) -> Workload:
    method = tuning_method(tuning.method)
    source, output = tuning.input, tuning.output
    assert source is not None, "validated"
    assert output is not None, "validated"
    model = sizing.model
    modules = model.tuning.target_modules if model.tuning else ()
    environment = [("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")]
    if modules:
        environment.append(("DEFAULT_TARGET_MODULES", ",".join(modules)))
    environment += _downloads(sizing)
    arguments = (
        f"--num_processes={sizing.instance_type.gpu_count}",
        "--num_machines=1",
        "--machine_rank=0",
        "--gpu_ids=all",
        _TUNING_SCRIPT,
        f"--pretrained_model_name_or_path={model.hf_id}",
    )
    data = TuningData(
        urls=source.urls,
        input_image=source.image,
        input_pull_secrets=source.image_pull_secrets,
        input_volume=source.volume_source,
        output_image=output.image,
        push_secret=output.image_push_secret,
        output_volume=output.volume_source,
        results_dir=results,
        retries=tuning_retries(workspace),
        retry=workspace.annotation(labels.RETRY),
    )
    return Workload(
        kind=WorkloadKind.TUNING,
        command=_ACCELERATE,
        arguments=arguments,
        environment=tuple(environment),
        tuning=data,
        training_config=None if tuning.config else training_config(method, sizing),
        **shared,
    )


def training_config(method: TuningMethod, sizing: Sizing) -> dict[str, Any]:
    """The settings of a tuning job that names no ConfigMap.

    KAITO v0.12's templates (charts/kaito/workspace/templates/{lora,qlora}-params.yaml), with the
    number format of the GPU and the gradient checkpointing that the fit counts on.
    """
    dtype = sizing.fit.dtype
    return {
        "training_config": {
            "ModelConfig": {
                "torch_dtype": dtype,
                "local_files_only": True,
                "device_map": "auto",
            },
            "QuantizationConfig": {
                "load_in_4bit": method is TuningMethod.QLORA,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_compute_dtype": dtype,
                "bnb_4bit_use_double_quant": True,
            },
            "LoraConfig": {
                "r": TUNING_LORA_RANK,
                "lora_alpha": TUNING_LORA_RANK,
                "lora_dropout": 0.0,
            },
            "TrainingArguments": {
                "output_dir": RESULTS_DIR,
                "ddp_find_unused_parameters": False,
                "save_strategy": "no",
                "per_device_train_batch_size": 1,
                "gradient_checkpointing": True,
                "bf16": dtype == "bfloat16",
                "fp16": dtype == "float16",
            },
            "DataCollator": {"mlm": True},
            "DatasetConfig": {"shuffle_dataset": True, "train_test_split": 1},
        }
    }
