"""`python -m sim`: run scenarios in a simulated cluster.

Exit codes: 0 as expected, 1 an expectation failed, 2 the input is wrong, 130 interrupted. What
takes long to import is imported by the command that needs it.
"""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TextIO

import typer

from sim.generate import generate
from sim.options import ArmPortOption, ModelsOption

if TYPE_CHECKING:
    from kaito.domain.errors import InvalidInput
    from sim.result import Calibration, Progress, RunResult
    from sim.scenario import Scenario

UNEXPECTED: Final = 1
BAD_INPUT: Final = 2
INTERRUPTED: Final = 130
_PIPE_WIDTH: Final = 110  # cells, where no terminal says how wide it is

app = typer.Typer(
    name="python -m sim",
    help="Run Kubernetes manifests and scenarios in a simulated GPU cluster, in virtual time.",
    epilog="Start with: python -m sim run sim/scenarios/quickstart_phi_3.yaml",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


app.command()(generate)

OutputOption = Annotated[
    Output, typer.Option("--output", "-o", help="table for people, json for programs.")
]


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        app(prog_name="python -m sim")
    except KeyboardInterrupt:  # before a command had begun
        sys.exit(INTERRUPTED)
    sys.exit(0)


@app.command()
def run(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Scenario files, Kubernetes manifests, directories of them, or - for stdin.",
        ),
    ],
    output: OutputOption = Output.TABLE,
    events: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write every event of the run to FILE, as JSON lines."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Seed of everything random, in place of the file's."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DURATION", help="Stop then, such as 30m or 2h, in simulated time."),
    ] = None,
    models: ModelsOption = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="No progress; print only what failed.")
    ] = False,
    seeds: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, metavar="N", help="Run each FILE by itself, under so many seeds."
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes for --seeds; default: one a processor."),
    ] = None,
) -> None:
    """Take manifests from `kubectl apply` to READY in a simulated cluster.

    Plain manifests run in a default world and are expected to become READY. Scenario files say what
    happens when, and what is expected of it; `cloud` says how much the cloud sells (quota, stock,
    failures, spot evictions, throttling), and `guards` what a namespace may have. Secrets that a
    plain manifest names are assumed.

    What must hold in every run is checked after every step. --seeds looks for the run in which it
    does not, or in which an expectation fails, and prints the command that repeats that run.

    \b
    Examples:
      python -m sim run workspace.yaml
      python -m sim run workspace.yaml configmap.yaml --seed 7
      python -m sim run sim/scenarios/delete_while_provisioning.yaml --events events.jsonl
      kubectl get workspace my-model -o yaml | python -m sim run - -o json
      python -m sim run sim/scenarios --seeds 200
      python -m sim run sim/scenarios/node_loss.yaml --seeds 50 --seed 1000 --jobs 4

    Exit code: 0 as expected, 1 an expectation failed, 2 the input is wrong.
    """
    with _input_errors():
        until_s = _until(until)
        if seeds is not None:
            from sim.seeds_command import ManySeeds

            many = ManySeeds(
                files, seeds, first_seed=seed or 0, jobs=jobs, until_s=until_s, models=models
            )
            many.refuse_events(events)
            found = many.run(_console(sys.stderr), quiet=quiet)
            if output is Output.JSON:
                _print_json(found.to_json())
            else:
                many.print(_console(sys.stdout), found, quiet=quiet)
            raise typer.Exit(0 if found.ok else UNEXPECTED)
        scenario = _load(files, models)
        from sim.event_log_file import event_log

        with event_log(events, files) as log:
            result = _simulate(scenario, seed, until_s, log, quiet=quiet)
    if output is Output.JSON:
        _print_json(result.to_json())
    else:
        from sim.report import print_run

        replay = _replay(files, result.seed, until, models)
        print_run(_console(sys.stdout), result, replay=replay, quiet=quiet)
    if not result.ok:
        raise typer.Exit(UNEXPECTED)


@app.command()
def schema() -> None:
    """Print the JSON schema of scenario files, for editors and checks.

    \b
    Example:
      python -m sim schema > scenario.schema.json
    """
    from sim.scenario_file import scenario_schema

    _print_json(scenario_schema())


@app.command()
def calibrate(
    file: Annotated[
        str | None,
        typer.Argument(metavar="[FILE]", help="Scenario or manifest; default: phi-3 quick start."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, max=100_000, help="How many runs.")] = 1_000,
    models: ModelsOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Hold simulated phase times against published measurements, over many seeds.

    \b
    Examples:
      python -m sim calibrate
      python -m sim calibrate workspace.yaml --seeds 200 -o json

    Exit code: 0 all medians inside the published ranges, 1 some are not, 2 the input is wrong.
    """
    with _input_errors():
        path = file or str(Path(__file__).parent / "scenarios" / "quickstart_phi_3.yaml")
        result = _calibrate(_load([path], models), seeds)
    if output is Output.JSON:
        _print_json(result.to_json())
    else:
        from sim.report import print_calibration

        print_calibration(_console(sys.stdout), result)
    if not result.ok:
        raise typer.Exit(UNEXPECTED)


@app.command()
def serve(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO...]", help="Scenarios or manifests to begin with."),
    ] = None,
    speed: Annotated[
        float,
        typer.Option(min=0.1, max=1000, help="How many times as fast as a real cloud."),
    ] = 60.0,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 0,
    page_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the live page; 0 takes a free one.")
    ] = 0,
    kubeconfig: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it; default ~/.kube/kaito-twin.yaml."),
    ] = None,
    operator: Annotated[
        bool, typer.Option("--operator/--no-operator", help="Reconcile, or let others do it.")
    ] = True,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Seed of everything random, in place of the file's."),
    ] = None,
    arm_port: ArmPortOption = None,
    models: ModelsOption = None,
) -> None:
    """Serve the simulated cluster as a Kubernetes API that kubectl can talk to.

    It listens on this machine only, with a certificate and a token of its own, until Ctrl-C.
    Clients see the time on the wall; --speed divides how long machines, images and models take.
    A page for the browser shows what happens; it needs no token, cannot change anything and shows
    no Secrets. With --arm-port the cloud answers as Azure Resource Manager, too.

    \b
    Examples:
      python -m sim serve
      python -m sim serve --speed 1 --port 6443 sim/scenarios/quickstart_phi_3.yaml
    """
    from sim import said
    from sim.serve import ServeSettings, default_kubeconfig
    from sim.serve import serve as serve_scenario

    path = (kubeconfig or default_kubeconfig()).absolute()
    with _input_errors():
        scenario = _load(files or [], models)
        for left in scenario.unreconciled:
            typer.echo(f"warning: {left.source}: {left.key}: {left.message}", err=True)
        serve_scenario(
            scenario,
            ServeSettings(
                kubeconfig=path,
                speed=speed,
                port=port,
                page_port=page_port,
                operator=operator,
                seed=seed,
                arm_port=arm_port,
            ),
            on_ready=lambda url, page_url: said.next_steps(url, page_url, path, speed),
            on_azure=said.azure,
            on_refused=lambda text: typer.echo(f"refused: {text}", err=True),
        )


@app.command()
def attach(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SCENARIO...]", help="How the cloud is, and how that changes."),
    ] = None,
    *,
    kubeconfig: Annotated[
        Path, typer.Option(metavar="FILE", help="The cluster; an administrator's access.")
    ],
    speed: Annotated[
        float,
        typer.Option(min=0.1, max=1000, help="How many times as fast as a real cloud."),
    ] = 60.0,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Seed of everything random, in place of the file's."),
    ] = None,
    models: ModelsOption = None,
    arm_port: ArmPortOption = None,
    machines: Annotated[
        bool, typer.Option("--machines/--no-machines", help="Act on NodeClaims, or leave them.")
    ] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print no phases.")] = False,
) -> None:
    """Play the GPU machines of a real cluster, and the pods on them.

    NodeClaims that kaito wrote become Nodes with GPUs, as Karpenter's would, and pods on them
    pull, load and serve in pretence: `kaito operator run` can be tried end to end on a cluster
    without GPUs. The cluster's own scheduler and controllers do their part; Nodes and pods of
    others are left alone. Do not attach to a cluster in which Karpenter or the gpu-provisioner acts
    on the same NodeClaims: both would make a machine. --arm-port serves the cloud as Azure; with
    --no-machines an operator orders the machines there. A SCENARIO may have `world` and `cloud`,
    and changes of the cloud in its timeline.

    Stopped, it leaves its Nodes; started again, it takes them up. To remove all of it, delete the
    Workspaces while it runs.

    \b
    Examples:
      python -m sim attach --kubeconfig ~/.kube/kind
      python -m sim attach --kubeconfig ~/.kube/kind --speed 600 --seed 7
      python -m sim attach --kubeconfig ~/.kube/kind sold_out.yaml --arm-port 0 --no-machines

    Exit code: 0 stopped, 1 the cluster does not answer or does not allow it, 2 no such cluster, or
    the input is wrong.
    """
    from kaito.adapters.kube_api import KubeApiError
    from sim import said
    from sim.attach import AttachSettings
    from sim.attach import attach as attach_to

    settings = AttachSettings(
        kubeconfig=kubeconfig,
        speed=speed,
        seed=seed,
        arm_port=arm_port,
        machines=machines,
    )
    with _input_errors():
        scenario = _load(files or [], models)
        try:
            left = attach_to(
                scenario,
                settings,
                on_ready=lambda url, found: said.attached(url, found, speed),
                on_azure=said.azure,
                on_phase=(lambda *_phase: None) if quiet else said.phase,
                on_error=lambda key, error: typer.echo(f"{key}: {error}", err=True),
            )
        except KubeApiError as error:
            typer.echo(f"{kubeconfig}: {error}", err=True)
            raise typer.Exit(UNEXPECTED) from error
    if left:
        said.left(left)


def _load(files: list[str], models: Path | None) -> "Scenario":
    from sim.loading import load

    return load(files, models)


def _simulate(
    scenario: "Scenario",
    seed: int | None,
    until_s: float | None,
    log: TextIO | None,
    *,
    quiet: bool,
) -> "RunResult":
    from sim.checked import simulate_checked

    with _progress(shown=not quiet) as on_progress:
        return simulate_checked(
            scenario, seed=seed, until_s=until_s, on_progress=on_progress, events=log
        )


def _calibrate(scenario: "Scenario", seeds: int) -> "Calibration":
    from sim.calibration import calibrate as calibrate_scenario

    return calibrate_scenario(scenario, seeds=seeds)


@contextmanager
def _input_errors() -> Iterator[None]:
    """Print what is wrong with the input and exit with 2."""
    from kaito.domain.errors import InvalidInput

    try:
        yield
    except InvalidInput as error:
        _print_problems(error)
        raise typer.Exit(BAD_INPUT) from error


def _print_problems(error: "InvalidInput") -> None:
    from sim.report import print_problems

    print_problems(_console(sys.stderr), error)


def _until(text: str | None) -> float | None:
    from kaito.domain.durations import EXAMPLES, parse_duration
    from kaito.domain.errors import InvalidInput, Problem

    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        problem = Problem(
            field="--until", message=f"{error}, got {text!r}", remedy=f"Write {EXAMPLES}"
        )
        raise InvalidInput([problem]) from error


@contextmanager
def _progress(*, shown: bool) -> Iterator["Callable[[Progress], None] | None"]:
    """A line on stderr that follows the run, where a terminal can show it."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    from rich.markup import escape

    from kaito.domain.durations import duration_text

    with _console(sys.stderr).status("starting") as status:

        def follow(progress: "Progress") -> None:
            now = duration_text(progress.now_s)
            count = f"{progress.ready}/{progress.total} ready"
            status.update(escape(f"{now}  {count}  {progress.current}".rstrip()))

        yield follow


def _console(stream: TextIO) -> Any:
    """A console that keeps colours to terminals and asks them how wide they are."""
    from rich.console import Console

    is_sized = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if is_sized else _PIPE_WIDTH)


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, allow_nan=False))


def _replay(files: list[str], seed: int, until: str | None, models: Path | None) -> str:
    """The command that runs the same again."""
    command = ["python", "-m", "sim", "run", *files, "--seed", str(seed)]
    if until is not None:
        command += ["--until", until]
    if models is not None:
        command += ["--models", str(models)]
    return shlex.join(command)
