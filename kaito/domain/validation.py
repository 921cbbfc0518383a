"""The rules that a Workspace must keep, checked all at once before anything is done for it.

Each rule has an id (docs/validation.md). Parsing (`workspace.parse_workspace`)
has already refused unknown keys, missing fields and wrong types.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from kaito.domain import labels, names
from kaito.domain.adapter_rules import adapter_problems
from kaito.domain.catalogue import Catalogue, UnknownInstanceType
from kaito.domain.engine import EngineName, NoEngine
from kaito.domain.engine_config import max_model_len
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.fit import DoesNotFit, what_would_fit
from kaito.domain.gpu import InstanceType
from kaito.domain.machine_policy import fallback_problems, policy_rules
from kaito.domain.model_rules import preset_problems
from kaito.domain.node_shape import OWN_CLOUD
from kaito.domain.object_rules import object_name_problems
from kaito.domain.partition import mig_profile
from kaito.domain.pause import pause_problems
from kaito.domain.placeholder_rules import placeholder_problems
from kaito.domain.provisioner import Provisioner
from kaito.domain.resource_rules import resource_problems
from kaito.domain.rollout import rollout_policy
from kaito.domain.server_request import at, requested_keys, server_request, without_request
from kaito.domain.sizing import requested_engine, tuning_method
from kaito.domain.template_rules import template_problems
from kaito.domain.template_sizing import size_workspace
from kaito.domain.training_config import training_request
from kaito.domain.tuning_attempts import tuning_retries
from kaito.domain.tuning_rules import tuning_problems
from kaito.domain.workspace import InferenceSpec, Workspace

MAX_ADAPTERS: Final = 10
# A pod's label holds its StatefulSet's name, a dash and a hash of 10, in 63 characters; the name of
# a Service begins with a letter (RFC 1035).
MAX_SERVED_NAME_CHARS: Final = 52
_NAMED_ALTERNATIVES: Final = 3
_IMAGE_FAMILIES: Final = ("azurelinux", "ubuntu")


def validate(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None = None,
    provisioner: Provisioner = Provisioner.KARPENTER,
) -> list[Problem]:
    """Every broken rule; empty when the Workspace can be planned.

    `config` is the parsed inference_config.yaml, when it is known. Of Nodes that users bring only
    the instance type can be known here: without one, whether the model fits is not asked.
    """
    problems = broken_rules(workspace, catalogue, provisioner)
    if not problems and can_be_sized(workspace, catalogue):
        try:
            sizing = size_workspace(workspace, catalogue, config)
            if provisioner is not Provisioner.BYO:
                problems += fallback_problems(workspace, catalogue, config, sizing)
        except (DoesNotFit, NoEngine, InvalidInput) as error:
            problems += fit_problems(workspace, catalogue, config, error)
    return problems


def can_be_sized(workspace: Workspace, catalogue: Catalogue) -> bool:
    """Whether the Workspace itself says which GPUs it will run on. How much memory a MIG slice has,
    its Node says."""
    if mig_profile(workspace.resource.partition):
        return False
    try:
        catalogue.instance_type(workspace.resource.instance_type)
    except UnknownInstanceType:
        return False
    return True


def broken_rules(
    workspace: Workspace,
    catalogue: Catalogue,
    provisioner: Provisioner = Provisioner.KARPENTER,
) -> list[Problem]:
    """Every broken rule but the last: whether the model fits."""
    problems = [
        *_metadata(workspace),
        *resource_problems(workspace, catalogue, provisioner),
        *policy_rules(workspace, catalogue, provisioner),
        *placeholder_problems(workspace),
        *_mode(workspace),
    ]
    if workspace.inference is not None:
        problems += _inference(workspace, workspace.inference, catalogue)
    if workspace.tuning is not None:
        problems += tuning_problems(workspace, workspace.tuning, catalogue)
    return problems


def fit_problems(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None,
    error: DoesNotFit | NoEngine | InvalidInput,
    here: InstanceType | None = None,
) -> tuple[Problem, ...]:
    """What `sizing.size` raised for `here` (None: the instance type that the Workspace names),
    with the field at fault and machines that would do."""
    if isinstance(error, InvalidInput):
        return error.problems
    field = "resource.labelSelector" if here else "resource.instanceType"
    if isinstance(error, NoEngine):
        asked = workspace.annotation(labels.RUNTIME)
        field = f"metadata.annotations[{labels.RUNTIME}]" if asked else field
        return (
            Problem(
                field=field, message=error.message, remedy=error.remedy, rule="engine-available"
            ),
        )
    keys = requested_keys(config)
    if keys and _fits_by_default(workspace, catalogue, config, here):
        remedy = f"With the settings that kaito chooses it fits: remove {', '.join(keys)}"
        return (
            Problem(field=at(keys[0]), message=error.message, remedy=remedy, rule="model-fits"),
        )
    remedy = _what_fits(workspace, catalogue, config, here) or error.remedy
    return (Problem(field=field, message=error.message, remedy=remedy, rule="model-fits"),)


def _metadata(workspace: Workspace) -> Iterator[Problem]:
    if not names.is_dns_label(workspace.name):
        yield Problem(
            field="metadata.name",
            message=f"{workspace.name!r} is not a DNS label",
            remedy="Use at most 63 lower-case letters, digits and '-', "
            "starting and ending with a letter or digit",
            rule="name-dns-label",
        )
    elif workspace.inference is not None and not _can_be_served(workspace.name):
        yield Problem(
            field="metadata.name",
            message=f"{workspace.name!r} cannot name a StatefulSet and a Service",
            remedy=f"Use at most {MAX_SERVED_NAME_CHARS} characters, the first of them a letter",
            rule="name-length",
        )
    elif workspace.name in _helper_containers(workspace):
        yield Problem(
            field="metadata.name",
            message=f"{workspace.name!r} is the name of another container of its pods",
            remedy="Choose another name",
            rule="name-container",
        )
    for read in (requested_engine, rollout_policy, tuning_retries):
        try:
            read(workspace)
        except InvalidInput as error:
            yield from error.problems
    family = workspace.annotation(labels.NODE_IMAGE_FAMILY)
    if family and family.lower() not in _IMAGE_FAMILIES:
        yield Problem(
            field=f"metadata.annotations[{labels.NODE_IMAGE_FAMILY}]",
            message=f"must be one of {', '.join(_IMAGE_FAMILIES)}, got {family!r}",
            rule="node-image-family",
        )
    yield from pause_problems(workspace)


def _helper_containers(workspace: Workspace) -> frozenset[str]:
    if workspace.tuning is not None:
        return frozenset({names.DATA_DOWNLOADER, names.DATA_PULLER, names.RESULTS_PUSHER})
    adapters = workspace.inference.adapters if workspace.inference else ()
    return frozenset(names.adapter_puller(adapter.source.name) for adapter in adapters)


def _can_be_served(name: str) -> bool:
    return len(name) <= MAX_SERVED_NAME_CHARS and name[0].isalpha()


def _mode(workspace: Workspace) -> Iterator[Problem]:
    if workspace.inference is None and workspace.tuning is None:
        yield Problem(
            field="inference",
            message="neither inference nor tuning is given",
            remedy="Give exactly one of them",
            rule="mode-missing",
        )
    if workspace.inference is not None and workspace.tuning is not None:
        yield Problem(
            field="inference",
            message="both inference and tuning are given",
            remedy="Give exactly one of them, and make a second Workspace for the other",
            rule="mode-both",
        )


def _inference(
    workspace: Workspace, inference: InferenceSpec, catalogue: Catalogue
) -> Iterator[Problem]:
    if inference.template is not None and inference.preset is None:
        yield from template_problems(workspace, inference)
    elif inference.template is not None:
        yield Problem(
            field="inference.template",
            message="and inference.preset are both given",
            remedy="Give exactly one of them",
            rule="preset-and-template",
        )
    elif inference.preset is None:
        yield Problem(
            field="inference.preset",
            message="is required",
            remedy="Name a model, such as preset: {name: phi-3-mini-4k-instruct}",
            rule="preset-required",
        )
    if inference.preset is not None:
        yield from preset_problems("inference.preset", inference.preset, catalogue)
    if len(inference.adapters) > MAX_ADAPTERS:
        yield Problem(
            field="inference.adapters",
            message=f"at most {MAX_ADAPTERS} adapters are possible, got {len(inference.adapters)}",
            rule="adapter-limit",
        )
    yield from object_name_problems("inference.config", inference.config)
    yield from adapter_problems("inference.adapters", inference.adapters)


def _fits_by_default(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None,
    here: InstanceType | None,
) -> bool:
    """Whether it is the settings of vLLM in the config that need too much."""
    try:
        size_workspace(workspace, catalogue, without_request(config or {}), here)
    except (DoesNotFit, NoEngine, InvalidInput):
        return False
    return True


def _what_fits(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None,
    here: InstanceType | None,
) -> str:
    assert workspace.preset is not None
    tuning = None
    if workspace.tuning is not None:
        tuning = training_request(config, tuning_method(workspace.tuning.method))
    here = here or catalogue.instance_type(workspace.resource.instance_type)
    is_own = here.cloud == OWN_CLOUD
    requested = requested_engine(workspace) if tuning is None else EngineName.TRANSFORMERS
    found = what_would_fit(
        catalogue.model(workspace.preset.name),
        catalogue.instance_types,
        catalogue.engines,
        cloud=None if is_own else here.cloud,
        requested=requested,
        max_model_len=max_model_len(config) if tuning is None else None,
        adapters=len(workspace.inference.adapters) if workspace.inference else 0,
        tuning=tuning,
        asked=server_request(config),
    )
    if not found:
        return ""
    if is_own:
        hardware = dict.fromkeys(f"{one.gpu_count} x {one.gpu.name}" for one in found)
        return f"It fits Nodes with {' or '.join(list(hardware)[:_NAMED_ALTERNATIVES])}"
    named = ", ".join(one.name for one in found[:_NAMED_ALTERNATIVES])
    return f"It fits on {named}, cheapest first"
