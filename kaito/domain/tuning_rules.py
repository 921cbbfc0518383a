"""Rules of fine-tuning: method, data in, results out."""

import ipaddress
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from kaito.domain.catalogue import Catalogue
from kaito.domain.errors import InvalidInput, Problem
from kaito.domain.model_rules import preset_problems
from kaito.domain.object_rules import (
    image_problems,
    object_name_problems,
    secret_problems,
    volume_problems,
)
from kaito.domain.sizing import tuning_method
from kaito.domain.workspace import DataDestination, DataSource, TuningSpec, Workspace

_LOCAL_DOMAINS: Final = frozenset({"internal", "local", "localhost", "svc"})


def tuning_problems(
    workspace: Workspace, tuning: TuningSpec, catalogue: Catalogue
) -> Iterator[Problem]:
    """Every broken rule but whether the model can be tuned so on its machine."""
    if tuning.preset is None:
        yield Problem(
            field="tuning.preset",
            message="is required",
            remedy="Name a model, such as preset: {name: phi-3-mini-128k-instruct}",
            rule="tuning-preset-required",
        )
    else:
        yield from preset_problems("tuning.preset", tuning.preset, catalogue)
    yield from object_name_problems("tuning.config", tuning.config)
    try:
        tuning_method(tuning.method)
    except InvalidInput as error:
        yield from error.problems
    if workspace.resource.count > 1:
        yield Problem(
            field="resource.count",
            message=f"tuning runs on one machine, got {workspace.resource.count}",
            remedy="Remove it, or choose an instance type with more GPUs",
            rule="tuning-one-machine",
        )
    if tuning.input is None:
        yield Problem(
            field="tuning.input",
            message="is required",
            remedy="Name the data set: urls or image",
            rule="tuning-input-required",
        )
    else:
        yield from _source_problems(tuning.input)
    if tuning.output is None:
        yield Problem(
            field="tuning.output",
            message="is required",
            remedy="Say where the result goes: image",
            rule="tuning-output-required",
        )
    else:
        yield from _destination_problems(tuning.output)


def _source_problems(source: DataSource) -> Iterator[Problem]:
    given = sum((bool(source.urls), bool(source.image), source.volume_source is not None))
    if given != 1:
        yield Problem(
            field="tuning.input",
            message=f"needs exactly one of urls, image and volumeSource, has {given}",
            rule="tuning-input-source",
        )
    for index, url in enumerate(source.urls):
        reason = _unsafe_url(url)
        if reason:
            yield Problem(
                field=f"tuning.input.urls[{index}]",
                message=f"{url!r} {reason}",
                remedy="Use an http or https URL of a public host",
                rule="tuning-input-url",
            )
    yield from volume_problems("tuning.input.volumeSource", source.volume_source)
    yield from image_problems("tuning.input.image", source.image)
    yield from secret_problems("tuning.input.imagePullSecrets", source.image_pull_secrets)


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


def _destination_problems(output: DataDestination) -> Iterator[Problem]:
    given = sum((bool(output.image), output.volume_source is not None))
    if given != 1:
        yield Problem(
            field="tuning.output",
            message=f"needs exactly one of image and volumeSource, has {given}",
            rule="tuning-output-target",
        )
    yield from volume_problems("tuning.output.volumeSource", output.volume_source)
    yield from image_problems("tuning.output.image", output.image)
    yield from object_name_problems("tuning.output.imagePushSecret", output.image_push_secret)
    if output.image and not output.image_push_secret:
        yield Problem(
            field="tuning.output.imagePushSecret",
            message="is required with tuning.output.image",
            remedy="Name a Secret of type kubernetes.io/dockerconfigjson",
            rule="tuning-push-secret",
        )
