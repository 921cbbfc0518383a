"""The rules that a Workspace must keep, checked all at once before anything is done for it.

Each rule has an id, so that tests and docs can speak of it. Parsing (`workspace.parse_workspace`)
has already refused unknown keys, missing fields and wrong types.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from kaito.domain import labels, names
from kaito.domain.catalogue import Catalogue, UnknownInstanceType, UnknownModel
from kaito.domain.engine import EngineName, NoEngine
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.fit import DoesNotFit, what_would_fit
from kaito.domain.gpu import InstanceType
from kaito.domain.machine_policy import fallback_problems, policy_rules
from kaito.domain.node_shape import OWN_CLOUD
from kaito.domain.object_rules import volume_problems
from kaito.domain.provisioner import Provisioner
from kaito.domain.resource_rules import resource_problems
from kaito.domain.rollout import rollout_policy
from kaito.domain.sizing import max_model_len, requested_engine, size, tuning_method
from kaito.domain.workspace import (
    Adapter,
    DataDestination,
    DataSource,
    InferenceSpec,
    TuningSpec,
    Workspace,
)

MAX_ADAPTERS: Final = 10
# A pod's label holds its StatefulSet's name, a dash and a hash of 10, in 63 characters; the name of
# a Service begins with a letter (RFC 1035).
MAX_SERVED_NAME_CHARS: Final = 52
# Containers (puller-...), volumes (adapter-...) and a variable are named after an adapter.
MAX_ADAPTER_NAME_CHARS: Final = 55
_LOCAL_DOMAINS: Final = frozenset({"internal", "local", "localhost", "svc"})
_NAMED_ALTERNATIVES: Final = 3
_PLACEHOLDER_HINTS: Final[Mapping[str, str]] = {
    "ACR_REPO_HERE": "the name of your container registry",
    "ADAPTER_HERE": "the repository that holds the adapter",
    "IMAGE_NAME_HERE": "the repository to push the result to",
    "ACR_REGISTRY_SECRET_HERE": "the name of a Secret with the registry's credentials",
}


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
            sizing = size(workspace, catalogue, config)
            if provisioner is Provisioner.KARPENTER:
                problems += fallback_problems(workspace, catalogue, config, sizing)
        except (DoesNotFit, NoEngine, InvalidInput) as error:
            problems += fit_problems(workspace, catalogue, config, error)
    return problems


def can_be_sized(workspace: Workspace, catalogue: Catalogue) -> bool:
    """Whether the Workspace itself says which GPUs it will run on."""
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
        *_placeholders(workspace),
        *_mode(workspace),
    ]
    if workspace.inference is not None:
        problems += _inference(workspace.inference, catalogue)
    if workspace.tuning is not None:
        problems += _tuning(workspace, workspace.tuning, catalogue)
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
        return (Problem(field=field, message=error.message, remedy=error.remedy),)
    remedy = _what_fits(workspace, catalogue, config, here) or error.remedy
    return (Problem(field=field, message=error.message, remedy=remedy),)


def _metadata(workspace: Workspace) -> Iterator[Problem]:
    if not names.is_dns_label(workspace.name):
        yield Problem(
            field="metadata.name",
            message=f"{workspace.name!r} is not a DNS label",
            remedy="Use at most 63 lower-case letters, digits and '-', "
            "starting and ending with a letter or digit",
        )
    elif workspace.inference is not None and not _can_be_served(workspace.name):
        yield Problem(
            field="metadata.name",
            message=f"{workspace.name!r} cannot name a StatefulSet and a Service",
            remedy=f"Use at most {MAX_SERVED_NAME_CHARS} characters, the first of them a letter",
        )
    elif workspace.name in _helper_containers(workspace):
        yield Problem(
            field="metadata.name",
            message=f"{workspace.name!r} is the name of another container of its pods",
            remedy="Choose another name",
        )
    for read in (requested_engine, rollout_policy):
        try:
            read(workspace)
        except InvalidInput as error:
            yield from error.problems


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
        )
    if workspace.inference is not None and workspace.tuning is not None:
        yield Problem(
            field="inference",
            message="both inference and tuning are given",
            remedy="Give exactly one of them, and make a second Workspace for the other",
        )


def _placeholders(workspace: Workspace) -> Iterator[Problem]:
    """Texts that a copied example wants filled in, wherever they stand. What other programs
    annotate is theirs: `kubectl apply` keeps a copy of the manifest there."""
    manifest = workspace.model_dump(by_alias=True, exclude_unset=True)
    annotations = manifest.get("metadata", {}).get("annotations", {})
    for key in [key for key in annotations if not key.startswith(labels.PREFIX)]:
        del annotations[key]
    for path, text in _texts(manifest, ""):
        left = names.placeholders(text)
        if left:
            hints = [_PLACEHOLDER_HINTS.get(name, "a value of your own") for name in left]
            put = "; ".join(
                f"put {hint} in place of {name}" for name, hint in zip(left, hints, strict=True)
            )
            yield Problem(
                field=path,
                message=f"{text!r} still has the placeholder{'s' if len(left) > 1 else ''} "
                f"{', '.join(left)}",
                remedy=put[0].upper() + put[1:],
            )


def _texts(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, f"{path}[{index}]")


def _inference(inference: InferenceSpec, catalogue: Catalogue) -> Iterator[Problem]:
    if inference.template is not None:
        both = inference.preset is not None
        yield Problem(
            field="inference.template",
            message="and inference.preset are both given" if both else "is not reconciled yet",
            remedy="Use inference.preset" if not both else "Give exactly one of them",
        )
    elif inference.preset is None:
        yield Problem(
            field="inference.preset",
            message="is required",
            remedy="Name a model, such as preset: {name: phi-3-mini-4k-instruct}",
        )
    if inference.preset is not None:
        yield from _model_known("inference.preset.name", inference.preset.name, catalogue)
        yield from _object_name(
            "inference.preset.presetOptions.modelAccessSecret",
            inference.preset.preset_options.model_access_secret,
        )
    if len(inference.adapters) > MAX_ADAPTERS:
        yield Problem(
            field="inference.adapters",
            message=f"at most {MAX_ADAPTERS} adapters are possible, got {len(inference.adapters)}",
        )
    yield from _object_name("inference.config", inference.config)
    yield from _adapters(inference.adapters)


def _model_known(field: str, name: str, catalogue: Catalogue) -> Iterator[Problem]:
    try:
        catalogue.model(name)
    except UnknownModel as error:
        yield Problem(field=field, message=error.message, remedy=error.remedy)


def _adapters(adapters: Iterable[Adapter]) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, adapter in enumerate(adapters):
        at = f"inference.adapters[{index}]"
        source = adapter.source
        if not names.is_dns_label(source.name):
            yield Problem(
                field=f"{at}.source.name",
                message=f"{source.name!r} is not a DNS label",
                remedy="Use lower-case letters, digits and '-'",
            )
        elif len(source.name) > MAX_ADAPTER_NAME_CHARS or not source.name[0].isalpha():
            yield Problem(
                field=f"{at}.source.name",
                message=f"{source.name!r} cannot name a container, a volume and a variable",
                remedy=f"Use at most {MAX_ADAPTER_NAME_CHARS} characters, the first of them a "
                "letter",
            )
        if source.name in seen:
            yield Problem(field=f"{at}.source.name", message=f"{source.name!r} is there twice")
        seen.add(source.name)
        if source.urls:
            yield Problem(
                field=f"{at}.source.urls",
                message="adapters cannot be read from URLs",
                remedy="Use an image or a volumeSource",
            )
        elif bool(source.image) == (source.volume_source is not None):
            yield Problem(
                field=f"{at}.source",
                message="needs exactly one of image and volumeSource",
            )
        yield from volume_problems(f"{at}.source.volumeSource", source.volume_source)
        yield from _image(f"{at}.source.image", source.image)
        yield from _secrets(f"{at}.source.imagePullSecrets", source.image_pull_secrets)
        yield from _strength(f"{at}.strength", adapter.strength)


def _strength(field: str, text: str) -> Iterator[Problem]:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0.0 <= value <= 1.0:
        yield Problem(field=field, message=f"must be a number from 0 to 1 as text, got {text!r}")


def _image(field: str, text: str) -> Iterator[Problem]:
    if not text or names.placeholders(text) or names.is_image_reference(text):
        return
    yield Problem(
        field=field,
        message=f"{text!r} is not an image reference",
        remedy="Use registry/repository:tag, the repository in lower case",
    )


def _secrets(field: str, found: Iterable[str]) -> Iterator[Problem]:
    for index, name in enumerate(found):
        yield from _object_name(f"{field}[{index}]", name)


def _object_name(field: str, name: str) -> Iterator[Problem]:
    """A Secret or a ConfigMap that is named, if it is."""
    if not name or names.placeholders(name) or names.is_dns_subdomain(name):
        return
    yield Problem(
        field=field,
        message=f"{name!r} cannot be the name of an object",
        remedy="Use lower-case letters, digits, '-' and '.'",
    )


def _tuning(workspace: Workspace, tuning: TuningSpec, catalogue: Catalogue) -> Iterator[Problem]:
    if tuning.preset is None:
        yield Problem(
            field="tuning.preset",
            message="is required",
            remedy="Name a model, such as preset: {name: phi-3-mini-128k-instruct}",
        )
    else:
        yield from _model_known("tuning.preset.name", tuning.preset.name, catalogue)
    yield from _object_name("tuning.config", tuning.config)
    try:
        tuning_method(tuning.method)
    except InvalidInput as error:
        yield from error.problems
    if workspace.resource.count > 1:
        yield Problem(
            field="resource.count",
            message=f"tuning runs on one machine, got {workspace.resource.count}",
            remedy="Remove it, or choose an instance type with more GPUs",
        )
    if tuning.input is None:
        yield Problem(
            field="tuning.input", message="is required", remedy="Name the data set: urls or image"
        )
    else:
        yield from _data_source(tuning.input)
    if tuning.output is None:
        yield Problem(
            field="tuning.output", message="is required", remedy="Say where the result goes: image"
        )
    else:
        yield from _destination(tuning.output)


def _data_source(source: DataSource) -> Iterator[Problem]:
    given = sum((bool(source.urls), bool(source.image), source.volume_source is not None))
    if given != 1:
        yield Problem(
            field="tuning.input",
            message=f"needs exactly one of urls, image and volumeSource, has {given}",
        )
    for index, url in enumerate(source.urls):
        reason = _unsafe_url(url)
        if reason:
            yield Problem(
                field=f"tuning.input.urls[{index}]",
                message=f"{url!r} {reason}",
                remedy="Use an http or https URL of a public host",
            )
    yield from volume_problems("tuning.input.volumeSource", source.volume_source)
    yield from _image("tuning.input.image", source.image)
    yield from _secrets("tuning.input.imagePullSecrets", source.image_pull_secrets)


def _unsafe_url(url: str) -> str:
    """Why this URL must not be fetched from inside the cluster, or an empty text."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "is not a URL"
    if parts.scheme not in {"http", "https"} or not host:
        return "is not an http or https URL"
    host = host.removesuffix(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return _unsafe_name(host)
    return "" if address.is_global else "names a private or local address"


def _unsafe_name(host: str) -> str:
    last = host.rpartition(".")[2]
    if "." not in host or last in _LOCAL_DOMAINS:
        return "names a host inside the cluster"
    if last.isdigit() or last.startswith("0x"):  # 127.1 and 0x7f.1 are addresses for curl
        return "has an address that is not written as four numbers"
    return ""


def _destination(output: DataDestination) -> Iterator[Problem]:
    given = sum((bool(output.image), output.volume_source is not None))
    if given != 1:
        yield Problem(
            field="tuning.output",
            message=f"needs exactly one of image and volumeSource, has {given}",
        )
    yield from volume_problems("tuning.output.volumeSource", output.volume_source)
    yield from _image("tuning.output.image", output.image)
    yield from _object_name("tuning.output.imagePushSecret", output.image_push_secret)
    if output.image and not output.image_push_secret:
        yield Problem(
            field="tuning.output.imagePushSecret",
            message="is required with tuning.output.image",
            remedy="Name a Secret of type kubernetes.io/dockerconfigjson",
        )


def _what_fits(
    workspace: Workspace,
    catalogue: Catalogue,
    config: Mapping[str, Any] | None,
    here: InstanceType | None,
) -> str:
    assert workspace.preset is not None
    tuning = tuning_method(workspace.tuning.method) if workspace.tuning else None
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
    )
    if not found:
        return ""
    if is_own:
        hardware = dict.fromkeys(f"{one.gpu_count} x {one.gpu.name}" for one in found)
        return f"It fits Nodes with {' or '.join(list(hardware)[:_NAMED_ALTERNATIVES])}"
    named = ", ".join(one.name for one in found[:_NAMED_ALTERNATIVES])
    return f"It fits on {named}, cheapest first"
