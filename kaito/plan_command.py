"""`kaito plan`: which instance type, how many, how long a context, how fast, what it costs, and how
sure that is."""

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kaito.adapters.workspace_file import WorkspaceFile
    from kaito.domain.catalogue import Catalogue
    from kaito.domain.fit_options import LayoutOption
    from kaito.domain.fit_ranking import Ranking
    from kaito.domain.fit_request import FitRequest
    from kaito.domain.gpu import InstanceType
    from kaito.domain.model import ModelProfile
    from kaito.domain.tuning_fit import TuningRequest
    from kaito.plan_report.report import PlanReport

_CLOUD = "azure"
_ANY_CLOUD = "all"
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s)?")


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


class Tuning(StrEnum):
    LORA = "lora"
    QLORA = "qlora"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What the command line says of a tuning job."""

    method: Tuning | None
    sequence_length: int | None
    batch_size: int | None
    rank: int | None

    @property
    def given(self) -> tuple[str, ...]:
        """The options that say something of it."""
        values = {
            "--tuning": self.method,
            "--sequence-length": self.sequence_length,
            "--batch-size": self.batch_size,
            "--rank": self.rank,
        }
        return tuple(name for name, value in values.items() if value is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machines:
    """Which machines are looked at, and whose prices count."""

    names: tuple[str, ...]
    clouds: tuple[str, ...]
    region: str | None
    spot: bool

    def types(self, catalogue: "Catalogue") -> tuple["InstanceType", ...]:
        """Raises: InvalidInput."""
        from kaito.domain.fit_ranking import instance_types_of

        clouds = () if _ANY_CLOUD in self.clouds else self.clouds
        return instance_types_of(
            catalogue.instance_types, clouds=clouds, region=self.region, names=self.names
        )


def plan(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|PATH",
            help="A model of kaito's catalogue (name, alias or Hugging Face id), the folder or "
            "config.json of another, or its organisation/model on the hub.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Plan for a Workspace, serving or tuning: its model, instance type, fallbacks, "
            "adapters, capacity type, and what its ConfigMap asks for where that is in the file. "
            "- is stdin.",
        ),
    ] = None,
    instance_type: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Look at this type alone, and closely. Repeatable."),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            metavar="TOKENS",
            help="Length of one sequence. Without it: as much of the model's limit as fits.",
        ),
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(metavar="N", help="Sequences of that length held at once.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="R", help="Requests per second, at random (Poisson).")
    ] = None,
    input_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Of a mean request; without it 1000.")
    ] = None,
    output_tokens: Annotated[
        int | None, typer.Option(metavar="N", help="Of a mean request; without it 200.")
    ] = None,
    ttft: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Longest mean time to the first token, such as 1s."),
    ] = None,
    tpot: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Longest mean time per further token, such as 50ms."),
    ] = None,
    tuning: Annotated[
        Tuning | None, typer.Option(help="Plan for tuning the model, not for serving it.")
    ] = None,
    sequence_length: Annotated[
        int | None,
        typer.Option(metavar="TOKENS", help="Of the longest sequence to tune on; without it 1024."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Sequences to tune on at a time, each GPU; without it 1."),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(metavar="R", help="Of the adapter that is tuned; without it 8.")
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            metavar="REGION", help="Whose prices count. Without it: where each type is cheapest."
        ),
    ] = None,
    cloud: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CLOUD",
            help="azure unless named; aws, arc, all. Repeatable.",
            show_default=False,
        ),
    ] = None,
    spot: Annotated[
        bool, typer.Option("--spot", help="Count spot prices, where they are known.")
    ] = False,
    models: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            envvar="KAITO_MODELS",
            help="Models of your own beside kaito's: a file that describes one, or a folder.",
        ),
    ] = None,
    output: Annotated[
        Output,
        typer.Option(
            "--output", "-o", help="table for people, json for programs, html for a page to share."
        ),
    ] = Output.TABLE,
) -> None:
    """Rank instance types for a model by what they cost, and say what each can hold.

    What does not fit is never recommended, and says why. Nothing is bought and no cluster is asked.

    \b
    Examples:
      kaito plan phi-4
      kaito plan phi-4 --context 16384 --concurrency 20 --region eastus
      kaito plan llama-3.3-70b-instruct --rate 4 --input-tokens 1500 --output-tokens 300 \\
                 --ttft 1s --tpot 50ms
      kaito plan ./my-model --instance-type Standard_NC24ads_A100_v4
      kaito plan Qwen/Qwen3-8B --cloud all --spot
      kaito plan -f workspace.yaml
      kaito plan phi-4 --tuning qlora --sequence-length 2048 --batch-size 4
      kaito plan phi-4 -o html > plan.html

    Exit code: 0 something does what is asked, 1 nothing does, 2 the input is wrong or no instance
    type keeps the times or carries the load (the closest is named).
    """
    from kaito.domain.catalogue import UnknownName
    from kaito.domain.errors import InvalidInput
    from kaito.domain.fit_request import FitRequest

    try:
        request = FitRequest(
            context=context,
            concurrency=concurrency,
            rate=rate,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            ttft_s=_seconds("--ttft", ttft),
            tpot_s=_seconds("--tpot", tpot),
        )
        report = _report(
            model,
            file,
            request,
            _Job(method=tuning, sequence_length=sequence_length, batch_size=batch_size, rank=rank),
            _Machines(
                names=tuple(instance_type or ()),
                clouds=tuple(cloud or ()) or (_CLOUD,),
                region=region,
                spot=spot,
            ),
            models,
        )
    except (InvalidInput, UnknownName) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from error
    typer.echo(_rendered(report, output))
    if not report.ranking.offers:
        raise typer.Exit(1)


def _report(
    name: str | None,
    file: str | None,
    request: "FitRequest",
    job: _Job,
    machines: _Machines,
    models: Path | None,
) -> "PlanReport":
    """Raises: InvalidInput, UnknownName."""
    from kaito.adapters.files import load_catalogue

    if (name is None) == (file is None):
        raise _problem("MODEL|PATH, -f", "give one of the two", "Try: kaito plan phi-4")
    catalogue = load_catalogue(models=models)
    read = None
    if file is not None:
        from kaito.adapters.workspace_file import read_workspace_file

        read = read_workspace_file(file)
    if job.method is not None or (read is not None and read.workspace.tuning is not None):
        if request.given:
            raise _problem(
                ", ".join(request.given),
                "is about serving, and a tuning job is planned",
                "It is described by --sequence-length, --batch-size and --rank",
            )
        return _tuning_report(name, read, job, machines, catalogue)
    if job.given:
        raise _problem(
            ", ".join(job.given),
            "is about tuning, and a model is to be served",
            "Add --tuning lora or --tuning qlora",
        )
    return _serving_report(name, read, request, machines, catalogue)


def _serving_report(
    name: str | None,
    read: "WorkspaceFile | None",
    request: "FitRequest",
    machines: _Machines,
    catalogue: "Catalogue",
) -> "PlanReport":
    from kaito.domain.fit_ranking import rank, refuse_unmet
    from kaito.plan_report.report import PlanReport

    remarks: tuple[str, ...] = ()
    if read is not None:
        from kaito.domain.workspace_request import workspace_request

        asked = workspace_request(read.workspace, catalogue, read.config, request)
        profile, request, remarks = asked.model, asked.request, asked.remarks
        machines = _with(machines, asked.instance_types, spot=asked.spot)
        if read.config_missing:
            remarks += (
                f"ConfigMap {read.config_missing} is not in the file: no max-model-len is known",
            )
    else:
        assert name is not None
        profile = _model(name, catalogue)
    types, region, spot = machines.types(catalogue), machines.region, machines.spot
    ranking = rank(profile, types, catalogue.engines, request, region=region, spot=spot)
    refuse_unmet(ranking, request)
    return PlanReport(
        model=profile,
        request=request,
        ranking=ranking,
        clouds=() if machines.names else machines.clouds,
        region=region,
        spot=spot,
        options=_options(profile, ranking, catalogue, request) if machines.names else {},
        remarks=remarks,
    )


def _tuning_report(
    name: str | None,
    read: "WorkspaceFile | None",
    job: _Job,
    machines: _Machines,
    catalogue: "Catalogue",
) -> "PlanReport":
    from kaito.domain.fit_ranking import rank_tuning
    from kaito.domain.tuning_fit import TuningRequest
    from kaito.domain.tuning_method import TuningMethod
    from kaito.plan_report.report import PlanReport

    method = TuningMethod(job.method.value) if job.method else None
    remarks: tuple[str, ...] = ()
    if read is not None:
        from kaito.domain.workspace_request import workspace_tuning

        asked = workspace_tuning(read.workspace, catalogue, read.config, method)
        profile, request, remarks = asked.model, asked.request, asked.remarks
        machines = _with(machines, asked.instance_types, spot=asked.spot)
        if read.config_missing:
            remarks += (
                f"ConfigMap {read.config_missing} is not in the file: its batch size and rank are "
                "not known",
            )
    else:
        assert name is not None
        assert method is not None
        profile, request = _model(name, catalogue), TuningRequest(method=method)
    request = _sized(request, job)
    types, region, spot = machines.types(catalogue), machines.region, machines.spot
    return PlanReport(
        model=profile,
        tuning=request,
        ranking=rank_tuning(profile, types, catalogue.engines, request, region=region, spot=spot),
        clouds=() if machines.names else machines.clouds,
        region=region,
        spot=spot,
        remarks=remarks,
    )


def _sized(request: "TuningRequest", job: _Job) -> "TuningRequest":
    """With the sizes that the command line says."""
    from dataclasses import replace

    length, batch, rank = job.sequence_length, job.batch_size, job.rank
    return replace(
        request,
        sequence_tokens=request.sequence_tokens if length is None else length,
        batch_size=request.batch_size if batch is None else batch,
        lora_rank=request.lora_rank if rank is None else rank,
    )


def _with(machines: _Machines, names: tuple[str, ...], *, spot: bool) -> _Machines:
    """With what a Workspace asks for, where the command line does not."""
    return _Machines(
        names=machines.names or names,
        clouds=machines.clouds,
        region=machines.region,
        spot=machines.spot or spot,
    )


def _options(
    model: "ModelProfile", ranking: "Ranking", catalogue: "Catalogue", request: "FitRequest"
) -> dict[str, tuple["LayoutOption", ...]]:
    from kaito.domain.fit_options import layout_options

    return {
        one.instance_type.name: layout_options(model, one, catalogue.engines, request)
        for one in (*ranking.offers, *ranking.rejected)
    }


def _model(reference: str, catalogue: "Catalogue") -> "ModelProfile":
    """Of the catalogue, else of a path or of the hub. Raises: UnknownModel, InvalidInput."""
    from kaito.domain.catalogue import UnknownModel

    is_path = Path(reference).exists()
    try:
        if not is_path or "/" not in reference:
            return catalogue.model(reference)
    except UnknownModel:
        if not is_path and "/" not in reference:
            raise
    from kaito.adapters.hugging_face import read_model

    return read_model(reference)


def _rendered(report: "PlanReport", output: Output) -> str:
    if output is Output.JSON:
        import json

        from kaito.plan_report.document import document

        return json.dumps(document(report), indent=2)
    if output is Output.HTML:
        from kaito.plan_report.page import page

        return page(report)
    if output is Output.MARKDOWN:
        from kaito.plan_report.markdown import markdown_lines

        return "\n".join(markdown_lines(report))
    from kaito.plan_report.table import table_lines

    return "\n".join(table_lines(report))


def _seconds(option: str, text: str | None) -> float | None:
    """Raises: InvalidInput."""
    if text is None:
        return None
    found = _TIME.fullmatch(text.strip())
    if found is None:
        raise _problem(option, f"must be a time, got {text!r}", "Write it such as 1s or 50ms")
    return float(found[1]) * (1e-3 if found[2] == "ms" else 1.0)


def _problem(field: str, message: str, remedy: str = "") -> Exception:
    from kaito.domain.errors import InvalidInput, Problem

    return InvalidInput([Problem(field=field, message=message, remedy=remedy)])
