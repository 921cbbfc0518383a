"""From a Workspace and the catalogue to the decision everything else follows: engine and fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from kaito.domain import labels
from kaito.domain.catalogue import Catalogue
from kaito.domain.engine import Engine, EngineChoice, EngineName, choose_engine
from kaito.domain.engine_config import check_engine_config, max_model_len
from kaito.domain.errors import InvalidConfig, InvalidInput, Problem
from kaito.domain.fit import DEFAULT_NODE_LIMIT as NODE_LIMIT
from kaito.domain.fit import DoesNotFit, FitPlan, fit_inference, what_would_fit
from kaito.domain.gpu import InstanceType
from kaito.domain.known_error import Verdict
from kaito.domain.model import ModelProfile
from kaito.domain.partition import mig_profile
from kaito.domain.quantity import gib_text
from kaito.domain.server_request import (
    NOTHING_ASKED,
    ServerRequest,
    at,
    requested_keys,
    server_request,
    uncounted_flags,
)
from kaito.domain.training_config import check_training_config, training_request
from kaito.domain.tuning_fit import TuningRequest, fit_tuning
from kaito.domain.tuning_method import TuningMethod
from kaito.domain.weights_volume import os_disk_bytes
from kaito.domain.workspace import Workspace

# MIG slices cannot talk to each other with NCCL.
# Source: https://docs.nvidia.com/datacenter/tesla/mig-user-guide/ "Application Considerations".
MIG_NODE_LIMIT: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SizingWarning:
    """Something the user should know about a decision; becomes a warning event."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """How the model runs on the Workspace's instance type. `weights_class` is the StorageClass of
    the local disks that its weights live on, empty for the OS disk."""

    model: ModelProfile
    instance_type: InstanceType
    choice: EngineChoice
    fit: FitPlan
    nodes: int
    weights_class: str = ""
    warnings: tuple[SizingWarning, ...] = ()

    @property
    def disk_bytes(self) -> int:
        """OS disk of each machine: image and working space, and weights that do not live on local
        disks."""
        tuning = self.model.tuning
        whole = max(self.model.disk_bytes, tuning.disk_bytes if tuning else 0)
        return os_disk_bytes(self.model, whole) if self.weights_class else whole

    @property
    def subject(self) -> str:
        """What runs."""
        return self.model.name

    @property
    def summary(self) -> str:
        """The decision in one sentence."""
        fit = self.fit
        layout = f"{self.nodes} x {self.instance_type.name}"
        return (
            f"{self.model.name} runs on {layout} with {fit.engine.name} in {fit.dtype}, "
            f"context {fit.max_model_len} tokens, "
            f"{fit.headroom_bytes / 2**30:.1f} GiB per GPU left"
        )


def size(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None = None,
    here: InstanceType | None = None,
) -> Sizing:
    """Choose the engine and lay the model out on `here`; None: on the instance type that the
    Workspace names. `config` is the parsed inference_config.yaml; for tuning, training_config.yaml.

    Raises: UnknownModel, UnknownInstanceType, NoEngine, DoesNotFit, InvalidInput, and of these
    InvalidConfig where the config is at fault.
    """
    preset = workspace.preset
    if preset is None:
        problem = Problem(field="inference.preset", message="is required", rule="preset-required")
        raise InvalidInput([problem])
    model = catalogue.model(preset.name)
    instance_type = here or catalogue.instance_type(workspace.resource.instance_type)
    if workspace.tuning is not None:
        return _size_tuning(workspace, catalogue, model, instance_type, config)
    requested = requested_engine(workspace)
    choice = choose_engine(catalogue.engines, instance_type.gpu, model, requested)
    if choice.warning:
        newer = newer_instance_type(catalogue, model, instance_type, tuning=None)
        choice = choose_engine(
            catalogue.engines, instance_type.gpu, model, requested, newer_instance_type=newer
        )
    limit = MIG_NODE_LIMIT if mig_profile(workspace.resource.partition) else NODE_LIMIT
    check_engine_config(config, choice.engine, model, instance_type, limit)
    context = max_model_len(config)
    adapters = len(workspace.inference.adapters) if workspace.inference else 0
    request = server_request(config)

    def fit_with(asked: ServerRequest) -> FitPlan:
        return fit_inference(
            model,
            instance_type,
            choice,
            max_model_len=context,
            adapters=adapters,
            node_limit=limit,
            asked=asked,
        )

    fit = fit_with(request)
    if fit.nodes > 1 and fit.asked != NOTHING_ASKED and not request.parallel_sizes:
        _check_machines(model, fit, fit_with, requested_keys(config))
    asked = workspace.resource.count
    nodes = asked if fit.engine.name is EngineName.TRANSFORMERS else fit.nodes
    warnings = _old_gpu(choice) + _tight(fit)
    if nodes != asked and "count" in workspace.resource.model_fields_set:
        text = f"resource.count is {asked}, but {model.name} is served by {nodes}: the fit decides"
        warnings += (SizingWarning(reason="CountIgnored", message=text),)
    if fit.engine.name is EngineName.VLLM:
        warnings += _ignored_strengths(workspace) + _uncounted(config)
    return Sizing(
        model=model,
        instance_type=instance_type,
        choice=choice,
        fit=fit,
        nodes=nodes,
        warnings=warnings,
    )


def requested_engine(workspace: Workspace) -> EngineName | None:
    """The engine that the annotation kaito.sh/runtime asks for. Raises: InvalidInput."""
    text = workspace.annotation(labels.RUNTIME)
    if not text:
        return None
    try:
        return EngineName(text)
    except ValueError:
        raise InvalidInput(
            [
                Problem(
                    field=f"metadata.annotations[{labels.RUNTIME}]",
                    message=f"must be one of {', '.join(EngineName)}, got {text!r}",
                    rule="runtime-known",
                )
            ]
        ) from None


def newer_instance_type(
    catalogue: Catalogue,
    model: ModelProfile,
    instance_type: InstanceType,
    *,
    tuning: TuningRequest | None,
) -> str | None:
    """The cheapest type of the same cloud on which current images run the model."""
    return _cheapest_modern(
        model, catalogue.instance_types, catalogue.engines, instance_type.cloud, tuning
    )


@lru_cache(maxsize=1024)  # many Workspaces ask for the same
def _cheapest_modern(
    model: ModelProfile,
    instance_types: tuple[InstanceType, ...],
    engines: tuple[Engine, ...],
    cloud: str,
    tuning: TuningRequest | None,
) -> str | None:
    fitting = what_would_fit(
        model,
        instance_types,
        engines,
        cloud=cloud,
        requested=None if tuning else EngineName.VLLM,
        tuning=tuning,
    )
    modern = [found for found in fitting if found.gpu.has_bfloat16]
    return modern[0].name if modern else None


def _size_tuning(
    workspace: Workspace,
    catalogue: Catalogue,
    model: ModelProfile,
    instance_type: InstanceType,
    config: Mapping[str, Any] | None,
) -> Sizing:
    assert workspace.tuning is not None
    method = tuning_method(workspace.tuning.method)
    check_training_config(config, method)
    request = training_request(config, method)
    gpu, engine = instance_type.gpu, EngineName.TRANSFORMERS
    choice = choose_engine(catalogue.engines, gpu, model, engine)
    if choice.warning:
        newer = newer_instance_type(catalogue, model, instance_type, tuning=request)
        choice = choose_engine(catalogue.engines, gpu, model, engine, newer_instance_type=newer)
    fit = fit_tuning(model, instance_type, request, choice)
    return Sizing(
        model=model,
        instance_type=instance_type,
        choice=choice,
        fit=fit,
        nodes=1,
        warnings=_old_gpu(choice) + _tight(fit),
    )


def tuning_method(text: str) -> TuningMethod:
    """lora or qlora, in any case. Raises: InvalidInput."""
    try:
        return TuningMethod(text.lower())
    except ValueError:
        problem = Problem(
            field="tuning.method",
            message=f"must be lora or qlora, got {text!r}",
            rule="tuning-method",
        )
        raise InvalidInput([problem]) from None


def _ignored_strengths(workspace: Workspace) -> tuple[SizingWarning, ...]:
    """vLLM serves an adapter as a model of its own, always in full."""
    adapters = workspace.inference.adapters if workspace.inference else ()
    weakened = [one.source.name for one in adapters if float(one.strength) < 1.0]
    if not weakened:
        return ()
    text = f"vLLM serves adapters in full: strength is not applied to {', '.join(weakened)}"
    return (SizingWarning(reason="StrengthIgnored", message=text),)


def _check_machines(
    model: ModelProfile,
    fit: FitPlan,
    fit_with: Callable[[ServerRequest], FitPlan],
    keys: Sequence[str],
) -> None:
    """Machines are not bought for what a setting leaves unused, unless they are asked for.

    Raises: InvalidConfig.
    """
    try:
        enough = fit_with(NOTHING_ASKED).nodes
    except DoesNotFit:
        return
    if fit.nodes <= enough:
        return
    problem = Problem(
        field=at(keys[0]),
        message=f"with {', '.join(keys)} {model.name} takes {fit.nodes} machines, and with what "
        f"kaito chooses {enough}",
        remedy=f"Change or remove it, or ask for so many with pipeline-parallel-size: "
        f"{fit.pipeline_parallel}",
        rule="config-machines",
    )
    raise InvalidConfig([problem])


def _uncounted(config: Mapping[str, Any] | None) -> tuple[SizingWarning, ...]:
    """What the engine is told that the fit cannot follow."""
    flags = uncounted_flags(config)
    if not flags:
        return ()
    text = (
        f"inference.config sets {', '.join(flags)}, and what that changes on a GPU is not counted: "
        "the model may need more memory than planned, or leave some unused"
    )
    return (SizingWarning(reason="ConfigNotCounted", message=text),)


def _old_gpu(choice: EngineChoice) -> tuple[SizingWarning, ...]:
    if choice.warning is None:
        return ()
    return (SizingWarning(reason="OldGpu", message=choice.warning),)


def _tight(fit: FitPlan) -> tuple[SizingWarning, ...]:
    if fit.verdict is Verdict.FITS:
        return ()
    text = (
        f"memory is tight: {gib_text(fit.headroom_bytes)} per GPU is left, and the prediction may "
        f"be off by {gib_text(fit.error.size)} ({fit.error.source}). If it does not start, choose "
        "an instance type with more GPU memory, or ask for less"
    )
    return (SizingWarning(reason="MemoryTight", message=text),)
