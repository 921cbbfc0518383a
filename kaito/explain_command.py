"""`kaito explain`: what the operator would do for a Workspace, and why."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

_DOES_NOT_FIT: Final = 1
_BAD_INPUT: Final = 2
_LABEL_WIDTH: Final = 26
_PARTS: Final = {"kv_cache": "KV cache", "cuda_graphs": "CUDA graphs", "adapters": "LoRA adapters"}


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"


def explain(
    file: Annotated[
        str,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Manifests with the Workspaces to explain, in YAML or JSON; - is standard input. "
            "ConfigMaps beside them are found by their names, other kinds are left alone.",
        ),
    ],
    config: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Manifests with the ConfigMap that a Workspace names, where FILE has it not.",
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            envvar="KAITO_MODELS",
            help="Models of your own beside kaito's: a file or a folder, as for the operator.",
        ),
    ] = None,
    region: Annotated[
        str,
        typer.Option(
            envvar="KAITO_REGION",
            help="Region whose prices are shown, such as eastus. Empty: the cheapest of each type.",
        ),
    ] = "",
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TEXT,
) -> None:
    """Say what the operator would do for a Workspace, and why, without a cluster.

    Machines and their price, engine, image and command line, how every GPU's memory is used, the
    context and the load that follow, warnings, and what KAITO v0.12's formula would have chosen.
    The decision is the operator's own. Machines are taken to be ordered, and weights to live on
    the OS disk; what only a cluster knows, such as quotas or Nodes of your own, is not looked at.

    kaito explain -f workspace.yaml

    kaito explain -f workspace.yaml --config configmap.yaml -o json

    Exit code: 0 it would run, 1 the manifest is valid and the model does not fit, 2 the manifest or
    another input is wrong.
    """
    from kaito.adapters.documents import read
    from kaito.adapters.files import load_catalogue
    from kaito.adapters.workspace_documents import config_of, workspaces_of
    from kaito.domain.errors import InvalidInput
    from kaito.domain.explanation import explain as explanation

    try:
        given = read(file)
        beside = [*given, *(read(config) if config is not None else ())]
        catalogue = load_catalogue(models=models)
        workspaces = workspaces_of(given, file)
        _check_region(region, {name for one in catalogue.instance_types for name in one.prices})
        found = [
            explanation(workspace, catalogue, config_of(workspace, beside), region=region)
            for workspace in workspaces
        ]
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(_BAD_INPUT) from error
    if output is Output.JSON:
        typer.echo(json.dumps({"workspaces": found}, indent=2))
    else:
        for index, one in enumerate(found):
            typer.echo("\n".join((*([""] if index else []), *explanation_lines(one))))
    code = max(_exit_code(one) for one in found)
    if code:
        raise typer.Exit(code)


def _check_region(region: str, known: set[str]) -> None:
    """Raises: InvalidInput."""
    from kaito.domain.errors import InvalidInput, Problem
    from kaito.domain.names import did_you_mean

    if region and region not in known:
        message = f"no price is known in {region!r}"
        remedy = did_you_mean(region, sorted(known))
        raise InvalidInput([Problem(field="--region", message=message, remedy=remedy)])


def _exit_code(found: Mapping[str, Any]) -> int:
    from kaito.domain.explanation import DOES_NOT_FIT

    if found["verdict"] == "runs":
        return 0
    return _DOES_NOT_FIT if found["refusal"]["reason"] == DOES_NOT_FIT else _BAD_INPUT


def explanation_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """One Workspace's document for people."""
    subject = found["workspace"]
    yield f"Workspace {subject['namespace']}/{subject['name']}"
    if found["verdict"] == "refused":
        yield f"  would be refused: {found['refusal']['reason']}"
        for one in found["refusal"]["problems"]:
            broken = f" ({one['rule']})" if one["rule"] else ""
            yield f"  - {one['field']}: {one['message']}{broken}"
            if one["remedy"]:
                yield f"    {one['remedy']}"
    else:
        yield f"  {found['summary']}"
        yield from _machine_lines(found["machines"])
        if "memory_per_gpu" in found:
            yield from _memory_lines(found["memory_per_gpu"])
            yield from _serving_lines(found["serving"], found["layout"])
            yield from _engine_lines(found["engine"])
            told = {one["message"] for one in found["warnings"]}
            yield from _list("Why", [one for one in found["reasons"] if one not in told])
        warnings = [f"{one['reason']}: {one['message']}" for one in found["warnings"]]
        yield from _list("Warnings", warnings)
    if "kaito_v0_12" in found:
        yield from _upstream_lines(found["kaito_v0_12"])


def _row(name: str, value: str) -> str:
    return f"  {name:<{_LABEL_WIDTH}}{value}".rstrip()


def _list(title: str, texts: Sequence[str]) -> Iterator[str]:
    if texts:
        yield ""
        yield title
        yield from (f"  - {text}" for text in texts)


def _gib(size: int) -> str:
    return f"{size / 2**30:8.2f} GiB"


def _machine_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "Machines"
    yield _row("type", f"{found['count']} x {_offer_text(found)}")
    yield _row("price", _price_text(found["price"]))
    yield _row("bought", ", then ".join(found["capacity_types"]))
    for one in found["fallbacks"]:
        yield _row("or else", f"{_offer_text(one)}, {_price_text(one['price'])}")
    disk = f"{found['os_disk_bytes'] / 2**30:.0f} GiB each"
    if found["local_nvme"]:
        disk += ", less where the cluster has a StorageClass for their NVMe disks"
    yield _row("OS disk", disk)


def _offer_text(found: Mapping[str, Any]) -> str:
    return f"{found['instance_type']} ({found['gpus']} x {found['gpu']}, {found['cloud']})"


def _price_text(price: Mapping[str, Any]) -> str:
    where = f" in {price['region']}" if price["region"] else ""
    if price["usd_per_hour"] is None:
        return f"unknown{where}"
    text = f"{price['usd_per_hour']:.2f} USD per hour{where}"
    if "spot_usd_per_hour" not in price:
        return text
    spot = price["spot_usd_per_hour"]
    return f"{text}, as spot {'unknown' if spot is None else f'{spot:.2f}'}"


def _memory_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield f"Memory of the fullest GPU, {found['gpu']}"
    assumed = " (assumed)" if found["reported_is_assumed"] else ""
    yield _row("reported", f"{_gib(found['reported_bytes'])}{assumed}")
    yield _row(f"budget, {100 * found['share']:g}% of it", _gib(found["budget_bytes"]))
    for name, size in found["parts_bytes"].items():
        if size:
            yield _row(f"  {_PARTS.get(name, name)}", _gib(size))
    yield _row("  head-room", _gib(found["headroom_bytes"]))
    yield _row("kept back", _gib(found["kept_back_bytes"]))
    yield _row("known error", _gib(found["known_error_bytes"]))
    yield _row("verdict", found["verdict"])


def _serving_lines(found: Mapping[str, Any], layout: Mapping[str, int]) -> Iterator[str]:
    yield ""
    yield "Layout and load"
    gpus = layout["machines_per_replica"] * layout["gpus_per_machine"]
    machines = layout["machines_per_replica"]
    yield _row("GPUs", f"{gpus} on {machines} machines together" if machines > 1 else str(gpus))
    for name in ("tensor", "pipeline", "data"):
        yield _row(f"{name} parallel", str(layout[f"{name}_parallel"]))
    limit = f"{found['context_tokens']} of the model's {found['model_limit_tokens']} tokens"
    yield _row("context", limit)
    if "cached_tokens_per_replica" in found:
        size = found["cache_bytes_per_token"] / 1024
        yield _row("KV cache", f"{found['cached_tokens_per_replica']} tokens a replica")
        apart = "" if found["cache_grows_evenly"] else ", windows and states apart"
        yield _row("  of a token", f"{size:.0f} KiB per GPU{apart}")
        yield _row("whole contexts at once", str(found["whole_contexts_at_once"]))


def _engine_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "Engine"
    yield _row("engine", f"{found['name']} {found['version']} in {found['dtype']}")
    yield _row("image", found["image"])
    together = ", which serve one model together" if found["one_group"] else ""
    yield _row("pods", f"{found['pods']}{together}")
    yield _row("has to start within", f"{found['startup_limit_s'] / 60:.0f} min")
    yield "  command"
    yield from (f"    {shlex.quote(word)}" for word in found["command"])


def _upstream_lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "KAITO v0.12, for comparison"
    machines = found["machines"]
    yield _row("machines", "none" if machines is None else str(machines))
    yield from (f"  - {text}" for text in found["differences"])
