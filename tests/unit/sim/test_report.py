import io
import json
from dataclasses import replace

import pytest
from rich.console import Console

from kaito.domain.errors import InvalidInput, Problem
from sim.gantt import ASCII, UNICODE, chart
from sim.report import age_text, print_calibration, print_problems, print_run, workspace_table
from sim.result import (
    Calibration,
    EventResult,
    Expectation,
    MachineResult,
    Phase,
    PhaseSpread,
    RunResult,
    WorkspaceResult,
)

SERVED = WorkspaceResult(
    namespace="default",
    name="workspace-phi-3-mini",
    instance_type="Standard_NC6s_v3",
    ready=True,
    ready_at_s=742.3,
    resource_ready="True",
    inference_ready="True",
    workspace_ready="True",
    reason="workspaceSucceeded",
    phases=(
        Phase(name="node_provision", start_s=0.0, end_s=400.0, detail="eastus-1"),
        Phase(name="image_pull", start_s=400.0, end_s=500.0),
        Phase(name="weights_load", start_s=500.0, end_s=742.3),
    ),
)
WAITING = WorkspaceResult(
    namespace="default",
    name="waiting",
    instance_type="Standard_NC24ads_A100_v4",
    ready=False,
    resource_ready="False",
    reason="QuotaExceeded",
    pending="the quota of eastus is used up: ask for more",
    phases=(Phase(name="machine_launch", start_s=10.0),),
)
RESULT = RunResult(
    seed=7,
    simulated_s=800.0,
    wall_s=0.12,
    events=1_234,
    cost_usd=1.5,
    workspaces=(SERVED,),
    machines=(
        MachineResult(
            name="ws0123",
            workspace="default/workspace-phi-3-mini",
            instance_type="Standard_NC6s_v3",
            zone="eastus-1",
            ordered_at_s=1.0,
            ready_at_s=400.0,
            cost_usd=1.5,
        ),
    ),
    expectations=(Expectation(text="it is READY", ok=True),),
)
REPLAY = "python -m sim run x.yaml --seed 7"


def printed(result: RunResult, *, width: int = 110, quiet: bool = False) -> str:
    stream = io.StringIO()
    print_run(Console(file=stream, width=width), result, replay=REPLAY, quiet=quiet)
    return stream.getvalue()


def problems_printed(*problems: Problem) -> str:
    stream = io.StringIO()
    print_problems(Console(file=stream, width=80), InvalidInput(problems))
    return stream.getvalue()


def test_the_table_is_kubectls() -> None:
    assert workspace_table([SERVED], now_s=800.0) == [
        "NAME                   INSTANCE           RESOURCEREADY   INFERENCEREADY   JOBSTARTED   "
        "WORKSPACEREADY   AGE",
        "workspace-phi-3-mini   Standard_NC6s_v3   True            True                          "
        "True             13m",
    ]


def test_the_table_names_namespaces_when_there_are_several() -> None:
    lines = workspace_table([SERVED, replace(SERVED, namespace="team-a")], now_s=10.0)
    assert lines[0].startswith("NAMESPACE   NAME")
    assert lines[2].startswith("team-a")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (330, "5m30s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (12_060, "3h21m"),
        (28_800, "8h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_200, "8d"),
        (86_400 * 800, "2y70d"),
        (86_400 * 365 * 9, "9y"),
    ],
)
def test_an_age_is_kubectls(seconds: float, text: str) -> None:
    assert age_text(seconds) == text


def test_a_chart_shows_each_phase_where_it_happened() -> None:
    header, *lines = chart(SERVED, now_s=800.0, width=100)
    assert header.split() == ["PHASE", "AT", "TOOK"]
    assert [line.split()[:3] for line in lines] == [
        ["node_provision", "+0s", "6m40s"],
        ["image_pull", "+6m40s", "1m40s"],
        ["weights_load", "+8m20s", "4m2s"],
    ]
    starts = [line.index("█") for line in lines]
    assert starts == sorted(starts)
    assert lines[0].endswith("eastus-1")


def test_a_running_phase_is_drawn_to_the_end_of_the_run() -> None:
    _, line = chart(WAITING, now_s=800.0, width=80)
    assert "13m10s..." in line
    assert line.count("░") > 30


@pytest.mark.parametrize("width", [20, 40, 60, 80, 110, 300])
def test_a_chart_keeps_to_the_width(width: int) -> None:
    lines = chart(SERVED, now_s=800.0, width=width)
    assert max(len(line) for line in lines) <= max(width, 50)


def test_a_phase_that_took_no_time_is_visible() -> None:
    phases = (Phase(name="a", start_s=0, end_s=0), Phase(name="b", start_s=100, end_s=100))
    for glyphs in (UNICODE, ASCII):
        _, *lines = chart(replace(SERVED, phases=phases), now_s=100, width=80, glyphs=glyphs)
        assert all(line.rstrip()[-1] in glyphs.ends + glyphs.full for line in lines)
    assert chart(replace(SERVED, phases=(Phase(name="a", start_s=0, end_s=0),)), now_s=0, width=80)


def test_a_report_ends_with_seed_and_replay() -> None:
    text = printed(RESULT)
    assert text.splitlines()[-1] == f"seed 7; the same again: {REPLAY}"
    assert "READY 12m22s after it was applied" in text
    assert "Machines and cost: $1.50" in text
    assert "✓ it is READY" in text
    assert "Still pending" not in text


def test_a_report_has_no_escapes_when_piped() -> None:
    assert "\x1b" not in printed(replace(RESULT, workspaces=(SERVED, WAITING)))


def test_a_report_says_what_is_pending_and_why() -> None:
    text = printed(replace(RESULT, workspaces=(WAITING,)))
    assert "default/waiting: the quota of eastus is used up: ask for more" in text
    assert "not READY: QuotaExceeded" in text


def test_a_report_names_what_went_wrong_and_what_was_assumed() -> None:
    event = EventResult(
        at_s=3.0,
        kind="Workspace",
        namespace="default",
        name="ws",
        type="Warning",
        reason="OldGpu",
        message="[red]brackets[/] stay\nin one line",
        count=2,
    )
    failed = Expectation(text="no machines at the end", ok=False, detail="there are 1")
    text = printed(
        replace(
            RESULT,
            warnings=(event,) * 25,
            assumed_secrets=("default/registry",),
            expectations=(failed,),
        )
    )
    assert "OldGpu  Workspace/ws (x2): [red]brackets[/] stay in one line" in text
    assert "... and 5 more" in text
    assert "Secret default/registry" in text
    assert "✗ no machines at the end: there are 1" in text


def test_a_deleted_workspace_has_a_timeline_but_no_row() -> None:
    text = printed(replace(RESULT, workspaces=(replace(SERVED, deleted_at_s=130.0),)))
    assert text.startswith("No Workspaces are left.")
    assert "gone at 2m10s" in text


def test_quiet_prints_only_what_failed() -> None:
    assert printed(RESULT, quiet=True) == ""
    failed = Expectation(text="no machines at the end", ok=False)
    assert printed(replace(RESULT, expectations=(failed,)), quiet=True) == (
        "  ✗ no machines at the end\n"
    )


def test_json_has_the_keys_that_programs_read() -> None:
    values = json.loads(json.dumps(RESULT.to_json()))
    assert values.keys() >= {
        "ok",
        "seed",
        "simulated_s",
        "wall_s",
        "events",
        "cost_usd",
        "workspaces",
        "machines",
        "expectations",
        "assumed_secrets",
        "warnings",
    }
    (workspace,) = values["workspaces"]
    assert workspace.keys() >= {"namespace", "name", "ready", "ready_at_s", "reason", "message"}
    assert workspace["phases"][0] == {
        "name": "node_provision",
        "start_s": 0.0,
        "end_s": 400.0,
        "detail": "eastus-1",
    }
    assert values["expectations"] == [{"text": "it is READY", "ok": True, "detail": ""}]


def test_problems_are_listed_with_their_remedies() -> None:
    text = problems_printed(
        Problem(field="a.yaml:3: resource.count", message="must be a whole number, got 'x'"),
        Problem(field="b.yaml", message="is empty", remedy="Give a manifest"),
    )
    assert text == (
        "2 problems in the input; nothing was run.\n"
        "  a.yaml:3: resource.count: must be a whole number, got 'x'\n"
        "  b.yaml: is empty\n"
        "      Give a manifest\n"
    )


def test_problems_fit_one_screen_and_cannot_draw_on_it() -> None:
    evil = Problem(field="\x1b[2J" + "k" * 5_000, message="line\n" * 1_000, remedy="r" * 5_000)
    text = problems_printed(*[evil] * 30)
    assert "\x1b" not in text
    assert text.endswith("  ... and 10 more\n")
    assert len(text.splitlines()) == 1 + 2 * 20 + 1
    assert max(len(line) for line in text.splitlines()) < 700


def test_a_calibration_marks_what_lies_outside() -> None:
    phases = (
        PhaseSpread(
            name="node_provision",
            median_s=300,
            p95_s=420,
            cited_min_s=180,
            cited_max_s=480,
            source="a proposal",
        ),
        PhaseSpread(
            name="image_pull", median_s=200, p95_s=210, cited_min_s=60, cited_max_s=120, source="b"
        ),
        PhaseSpread(name="machine_launch", median_s=5, p95_s=8),
    )
    calibration = Calibration(scenario="x.yaml", seeds=1_000, wall_s=2.0, phases=phases)
    stream = io.StringIO()
    print_calibration(Console(file=stream, width=110), calibration)
    lines = stream.getvalue().splitlines()
    assert "inside" in lines[1]
    assert "OUTSIDE" in lines[2]
    assert lines[3].endswith("prior")
    assert not calibration.ok
    assert [one["inside"] for one in calibration.to_json()["phases"]] == [True, False, None]
