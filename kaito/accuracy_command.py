"""`kaito accuracy`: predictions against published measurements."""

import json
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from kaito.domain.accuracy import Figures, MemoryAccuracy


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


def accuracy(
    memory: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measured start-ups (JSON or YAML, see docs/accuracy.md). Without it: kaito's own "
            "table of published ones.",
        ),
    ] = None,
    perf: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Measured latencies (JSON, see docs/throughput.md). Without it: kaito's own table "
            "of published ones.",
        ),
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="config.json contents by the names of the models in --memory and --perf, beside "
            "those that kaito's own table and catalogue have.",
        ),
    ] = None,
    output: Annotated[Output, typer.Option("--output", "-o", help="How to print.")] = Output.TABLE,
) -> None:
    """Predict each measured point and print the errors.

    Every model family is judged by constants that were fitted without it, and has one vote. Where
    only one of --memory and --perf is given, only that half is judged.

    kaito accuracy

    kaito accuracy --memory measured.json --perf latencies.json --models configs.json -o json

    Exit code: 0 printed, 2 a file cannot be read.
    """
    from kaito.adapters.files import default_directory, load_catalogue
    from kaito.adapters.latency_accuracy import latency_accuracy
    from kaito.adapters.measured_memory import load_configs, load_measured_memory
    from kaito.domain.accuracy import memory_accuracy
    from kaito.domain.accuracy_perf import report_lines
    from kaito.domain.errors import InvalidInput

    own = default_directory() / "calibration"
    catalogue = load_catalogue()
    document: dict[str, Any] = {"skipped": []}
    lines: list[str] = []
    try:
        configs = load_configs(own / "models.yaml")
        if models is not None:
            configs |= load_configs(models)
        if memory is not None or perf is None:
            points = load_measured_memory(memory or own / "memory.yaml")
            result = memory_accuracy(points, configs, catalogue.gpus)
            document["memory"] = result.as_json()
            document["skipped"] += result.skipped_json()
            lines += ["## Memory", "", *memory_lines(result)]
        if perf is not None or memory is None:
            report = latency_accuracy(catalogue, measured=perf, shapes=configs)
            document["perf"] = report["perf"]
            document["skipped"] += report["skipped"]
            lines += [*([""] if lines else []), "## Latency", "", *report_lines(report)]
    except InvalidInput as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    if output is Output.JSON:
        lines = [json.dumps(document, indent=2)]
    for line in lines:
        typer.echo(line)


def memory_lines(result: "MemoryAccuracy") -> Iterator[str]:
    """The report for people, as Markdown: docs/accuracy.md holds these lines."""
    yield f"{len(result.points)} start-ups of {len(result.families)} model families"
    yield ""
    yield "| | points | median | mean | most over | most under |"
    yield "|---|---|---|---|---|---|"
    yield _row("weights per GPU", result.weights)
    yield _row("KV cache per GPU", result.kv_gib)
    yield _row("KV cache in tokens", result.kv_tokens)
    for name, figures in result.baselines.items():
        yield _row(f"KV cache by {_BASELINES[name]}", figures)
    yield ""
    found = result.verdicts
    yield f"{found.true_fit} started as foretold, {found.false_no_fit} started against it"
    yield f"{found.true_no_fit} failed as foretold, {found.false_fit} failed against it"
    yield ""
    yield "| family | point | weights GiB | error | KV cache GiB | error |"
    yield "|---|---|---|---|---|---|"
    for one in sorted(result.points, key=lambda one: (one.family, one.point.id)):
        point, predicted = one.point, one.predicted
        weights = _cells(predicted.weights_gib, point.weights_gib)
        cache = _cells(predicted.kv_gib, point.kv_gib)
        yield f"| {one.family} | {point.id} | {weights} | {cache} |"
    if result.skipped:
        yield ""
        yield "| not judged | reason |"
        yield "|---|---|"
        for name, reason in result.skipped:
            yield f"| {name} | {reason} |"


_BASELINES = {
    "kaito_v0_12": "KAITO v0.12's overheads, our weights",
    "weights_only": "share of the card less our weights",
}


def _row(name: str, figures: "Figures") -> str:
    if figures.median_pct is None or figures.mean_pct is None:
        return f"| {name} | 0 | | | | |"
    over = f"{figures.worst_over_pct:.1f} %"
    if figures.worst_over_gib is not None:
        over = f"{over}, {figures.worst_over_gib:.2f} GiB"
    return (
        f"| {name} | {figures.n} | {figures.median_pct:.2f} % | {figures.mean_pct:.2f} % | "
        f"{over} | {figures.worst_under_pct:.1f} % |"
    )


def _cells(predicted: float | None, measured: float | None) -> str:
    """Predicted beside measured, and the error; blank where nothing was measured."""
    if predicted is None or measured is None:
        return " | "
    error = f"{100 * (predicted - measured) / measured:+.2f} %" if measured > 0 else ""
    return f"{predicted:.2f} / {measured:.2f} | {error}"
