"""What a Workspace asks for, as a plan takes it: to serve a model, or to tune one."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kaito.domain.catalogue import Catalogue
from kaito.domain.engine_config import max_model_len
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.fit_request import FitRequest
from kaito.domain.labels import CAPACITY_SPOT
from kaito.domain.machine_policy import capacity_types, fallback_names
from kaito.domain.model import ModelProfile
from kaito.domain.partition import mig_profile, whole_gpus
from kaito.domain.sizing import requested_engine, tuning_method
from kaito.domain.training_config import check_training_config, training_request
from kaito.domain.tuning_fit import TuningRequest
from kaito.domain.tuning_method import TuningMethod
from kaito.domain.workspace import Workspace

__all__ = ["WorkspaceRequest", "WorkspaceTuning", "workspace_request", "workspace_tuning"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceRequest:
    """`instance_types` are names, the Workspace's own and then its fallbacks; none where it leaves
    the choice to its Nodes. `spot`: spot machines are asked for first."""

    model: ModelProfile
    request: FitRequest
    instance_types: tuple[str, ...]
    spot: bool
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkspaceTuning:
    """As `WorkspaceRequest`, for a tuning job."""

    model: ModelProfile
    request: TuningRequest
    instance_types: tuple[str, ...]
    spot: bool
    remarks: tuple[str, ...] = ()


def workspace_request(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None,
    request: FitRequest,
) -> WorkspaceRequest:
    """`request` with what the Workspace says: context (a context in `request` wins over that of
    the config), adapters, engine.

    `config` is the parsed inference_config.yaml.
    Raises: UnknownModel, InvalidInput (no preset to serve, or values that are none).
    """
    inference = workspace.inference
    if inference is None or inference.preset is None:
        what = "tunes a model" if inference is None else "has a pod template of its own"
        problem = Problem(
            field="inference.preset",
            message=f"Workspace {workspace.name} {what}, and a preset is to be served",
            remedy="Name the model: kaito plan MODEL",
        )
        raise InvalidInput([problem])
    model = catalogue.model(inference.preset.name)
    context = request.context if request.context is not None else max_model_len(config)
    if request.context is None and context is not None and context > model.token_limit:
        problem = Problem(
            field="inference.config[vllm.max-model-len]",
            message=f"is {context}, and the limit of {model.name} is {model.token_limit} tokens",
            remedy=f"Ask for at most {model.token_limit}",
        )
        raise InvalidInput([problem])
    return WorkspaceRequest(
        model=model,
        request=replace(
            request,
            context=context,
            adapters=len(inference.adapters),
            engine=requested_engine(workspace),
        ),
        instance_types=_instance_types(workspace),
        spot=capacity_types(workspace)[0] == CAPACITY_SPOT,
        remarks=_remarks(workspace),
    )


def workspace_tuning(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None,
    method: TuningMethod | None = None,
) -> WorkspaceTuning:
    """The tuning job of a Workspace, with another `method` where one is given. `config` is the
    parsed training_config.yaml, None kaito's own.

    Raises: UnknownModel, InvalidInput (no model to tune, an unknown method, or a config with which
    the trainer cannot work).
    """
    tuning = workspace.tuning
    if tuning is None or tuning.preset is None:
        what = "serves a model" if tuning is None else "names no model"
        problem = Problem(
            field="tuning.preset",
            message=f"Workspace {workspace.name} {what}, and a tuning job is to be planned",
            remedy="Name the model: kaito plan MODEL --tuning lora",
        )
        raise InvalidInput([problem])
    method = method or tuning_method(tuning.method)
    check_training_config(config, method)
    return WorkspaceTuning(
        model=catalogue.model(tuning.preset.name),
        request=training_request(config, method),
        instance_types=_instance_types(workspace),
        spot=capacity_types(workspace)[0] == CAPACITY_SPOT,
        remarks=_remarks(workspace),
    )


def _instance_types(workspace: Workspace) -> tuple[str, ...]:
    own = workspace.resource.instance_type
    return tuple(dict.fromkeys(([own] if own else []) + list(fallback_names(workspace))))


def _remarks(workspace: Workspace) -> tuple[str, ...]:
    partition = workspace.resource.partition
    if mig_profile(partition) or whole_gpus(partition):
        return ("resource.partition is not counted: whole machines are planned with",)
    return ()
