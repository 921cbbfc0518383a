"""Tuning jobs that fail, are interrupted and run again, on good and on bad days of the operator."""

from collections.abc import Mapping
from typing import Any

import pytest

from kaito.adapters.fake.faults import FailAfter, Fault
from kaito.adapters.kube_api import EVENT, JOB, WORKSPACE, annotations_of, condition_of
from kaito.domain import labels
from kaito.domain.tuning_attempts import ExitCode
from sim.cloud_file import CloudChange
from sim.fault_kinds import ContainerExit, NodeLoss
from sim.result import RunResult
from sim.scenario import Apply, ChangeCloud, Inject, Patch, Scenario, Step
from sim.scenario import World as WorldSettings
from sim.world import World
from tests.simulation.checked_run import quickstart, run_checked, workspace_key
from tests.simulation.test_crash_everywhere import Deaths

NAME = "quickstart_tuning_phi_3"
KEY = workspace_key(quickstart(NAME))
SEED = 5
SEEDS = range(4)
RETRY_AT_S = 3600.0
TRAINING_S = 3600.0
LOADER = "data-downloader"
TRAINER = KEY.name


def scenario(*more: Step, annotations: Mapping[str, str] | None = None) -> Scenario:
    """The quick start of tuning, which trains for an hour."""
    steps: list[Step] = []
    for step in quickstart(NAME).steps:
        if isinstance(step, Apply) and step.key == KEY:
            manifest = dict(step.manifest)
            manifest["metadata"] = {**manifest["metadata"], "annotations": dict(annotations or {})}
            steps.append(Apply(at_s=step.at_s, manifest=manifest, source=step.source, key=step.key))
        else:
            steps.append(step)
    together = sorted([*steps, *more], key=lambda step: step.at_s)
    world = WorldSettings(latencies_s={"training": TRAINING_S})
    return Scenario(files=("test",), steps=tuple(together), world=world)


def exits(code: int, container: str = TRAINER, *, at_s: float = 0.0, **more: Any) -> Inject:
    fault = {
        "kind": "container-exit",
        "workspace": KEY.name,
        "container": container,
        "code": code,
        **more,
    }
    return Inject(at_s=at_s, fault=ContainerExit.model_validate(fault), source="test")


def annotated(at_s: float, key: str, value: str | None) -> Patch:
    merge = {"metadata": {"annotations": {key: value}}}
    return Patch(at_s=at_s, key=KEY, merge=merge, source="test")


def lost(at_s: float, how: str = "vanishes") -> Inject:
    fault = {"kind": "node-loss", "workspace": KEY.name, "how": how}
    return Inject(at_s=at_s, fault=NodeLoss.model_validate(fault), source="test")


def phases(result: RunResult, name: str) -> int:
    """How often that happened in the pods of the Workspace."""
    (workspace,) = result.workspaces
    return sum(phase.name == name for phase in workspace.phases)


def told(world: World, reason: str) -> int:
    """How often the Workspace was told that."""
    events = [one for one in world.objects(EVENT) if one["reason"] == reason]
    return sum(one["count"] for one in events if one["involvedObject"]["kind"] == WORKSPACE.kind)


def is_ready(result: RunResult) -> bool:
    return [one.ready for one in result.workspaces] == [True]


def job_started(world: World) -> str:
    found = condition_of(world.store.get(WORKSPACE, KEY.name, "default"), "JobStarted")
    assert found is not None
    return str(found["message"])


def wish_on_the_job(world: World) -> str:
    return annotations_of(world.store.get(JOB, KEY.name, "default")).get(labels.RETRY, "")


# --- what counts ---


@pytest.mark.parametrize("seed", SEEDS)
def test_a_spot_machine_that_is_taken_back_twice_costs_no_attempt(seed: int) -> None:
    evicted = [
        ChangeCloud(at_s=at_s, change=CloudChange(evict_spot=1.0), source="test")
        for at_s in (2400.0, 6000.0)
    ]
    spot = {labels.CAPACITY_CHOICE: "spot", labels.TUNING_RETRIES: "0"}
    result, world = run_checked(scenario(*evicted, annotations=spot), seed=seed)
    assert is_ready(result)
    assert phases(result, "training") == 3
    assert phases(result, "results push") == 1
    assert told(world, "TuningInterrupted") == 2
    assert "failed" not in world.store.get(JOB, KEY.name, "default")["status"]


@pytest.mark.parametrize("how", ["vanishes", "not-ready"])
def test_a_machine_that_is_lost_is_replaced_and_costs_no_attempt(how: str) -> None:
    none = {labels.TUNING_RETRIES: "0"}
    result, _ = run_checked(scenario(lost(2400.0, how), annotations=none), seed=SEED)
    assert is_ready(result)
    assert phases(result, "results push") == 1
    assert len(result.machines) == 2


@pytest.mark.parametrize(
    ("code", "reason"), [(1, "Error"), (137, "OOMKilled"), (ExitCode.TRY_AGAIN, "Error")]
)
def test_what_may_pass_is_tried_as_often_as_may_be(code: int, reason: str) -> None:
    faults = exits(code, reason=reason, count=2)
    passes, world = run_checked(
        scenario(faults, annotations={labels.TUNING_RETRIES: "2"}), seed=SEED
    )
    assert is_ready(passes)
    assert told(world, "TuningAttemptFailed") == 2
    fails, world = run_checked(
        scenario(faults, annotations={labels.TUNING_RETRIES: "1"}), seed=SEED
    )
    assert not is_ready(fails)
    assert phases(fails, "data download") == 2
    message = job_started(world)
    assert "reached the specified backoff limit" in message
    assert ("ran out of memory" if reason == "OOMKilled" else f"exited with {code}") in message


@pytest.mark.parametrize(
    ("code", "container"),
    [
        (ExitCode.DATA_NOT_FOUND, LOADER),
        (ExitCode.DATA_INVALID, LOADER),
        (ExitCode.NOT_PERMITTED, "pusher"),
    ],
)
def test_what_would_fail_again_fails_at_once(code: int, container: str) -> None:
    result, world = run_checked(scenario(exits(code, container, message="so it is")), seed=SEED)
    assert not is_ready(result)
    assert phases(result, "data download") == 1
    message = job_started(world)
    assert f"container {container} exited with {int(code)}" in message
    assert "so it is" in message
    assert len(world.running_machines()) == 1, "the machine stays"


def test_more_retries_for_a_job_that_runs() -> None:
    more = annotated(1800.0, labels.TUNING_RETRIES, "2")
    faults = exits(1, after="30m", count=2)
    result, _ = run_checked(
        scenario(faults, more, annotations={labels.TUNING_RETRIES: "0"}), seed=SEED
    )
    assert is_ready(result)
    assert phases(result, "training") == 3


def test_why_it_failed_is_still_told_when_the_pods_are_gone() -> None:
    broken = exits(ExitCode.DATA_NOT_FOUND, LOADER, message="HTTP status 404")
    _, world = run_checked(scenario(broken, lost(RETRY_AT_S)), seed=SEED)
    assert "HTTP status 404" in job_started(world)


# --- once more ---


def broken_once() -> Scenario:
    """The data set is not there at first; the user then asks for another run."""
    fault = exits(ExitCode.DATA_NOT_FOUND, LOADER)
    return scenario(fault, annotated(RETRY_AT_S, labels.RETRY, "1"))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_job_that_failed_is_run_again_on_wish(seed: int) -> None:
    result, world = run_checked(broken_once(), seed=seed)
    assert is_ready(result)
    assert (phases(result, "data download"), phases(result, "training")) == (2, 1)
    assert told(world, "TuningRetried") == 1
    assert len(result.machines) == 1, "the machine stays"
    assert wish_on_the_job(world) == "1"


def test_each_wish_is_granted_once() -> None:
    broken = exits(ExitCode.DATA_NOT_FOUND, LOADER, count=9)
    wishes = [
        annotated(RETRY_AT_S + 600.0 * number, labels.RETRY, text)
        for number, text in enumerate(("1", "1", None, "2", "2"))
    ]
    result, world = run_checked(scenario(broken, *wishes), seed=SEED)
    assert phases(result, "data download") == 3
    assert told(world, "TuningRetried") == 2
    assert wish_on_the_job(world) == "2"


def test_a_wish_while_it_runs_is_for_nothing() -> None:
    early = annotated(1500.0, labels.RETRY, "1")
    fails = exits(ExitCode.NOT_PERMITTED, "pusher")
    result, world = run_checked(scenario(early, fails), seed=SEED)
    assert not is_ready(result)
    assert phases(result, "training") == 1
    assert wish_on_the_job(world) == "1"


def test_a_job_that_has_finished_is_not_run_again() -> None:
    late = annotated(4 * 3600.0, labels.RETRY, "1")
    result, world = run_checked(scenario(late), seed=SEED)
    assert is_ready(result)
    assert phases(result, "training") == 1
    assert told(world, "TuningRetried") == 0


class Clocked(Deaths):
    """An operator that lives, and the times of its writes."""

    def __init__(self) -> None:
        super().__init__(at_write=0)
        self.moments_s: list[float] = []

    def _count(self, verb: str) -> Fault | None:
        before = self.writes
        super()._count(verb)
        if self.writes > before:
            assert self._world is not None, "installed"
            self.moments_s.append(self._world.now_s())
        return None


def writes_between(first_s: float, last_s: float, played: Scenario) -> list[int]:
    """The numbers of the operator's writes at that time of an ordinary run."""
    clocked = Clocked()
    run_checked(played, seed=SEED, prepare=clocked.install)
    found = enumerate(clocked.moments_s, start=1)
    return [number for number, moment_s in found if first_s <= moment_s <= last_s]


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
def test_the_operator_fails_at_each_write_around_a_retry(fault: Fault | None) -> None:
    played = broken_once()
    numbers = writes_between(RETRY_AT_S, RETRY_AT_S + 300.0, played)
    assert len(numbers) >= 6, "notes, the status, the deletion, the new job"
    for number in numbers:
        deaths = Deaths(number, fault)
        result, world = run_checked(played, seed=SEED, prepare=deaths.install)
        where = f"write {number}: {deaths.found}"
        assert is_ready(result), where
        assert (phases(result, "data download"), phases(result, "training")) == (2, 1), where
        assert len(result.machines) == 1, where
        assert wish_on_the_job(world) == "1", where


@pytest.mark.parametrize("fault", [None, FailAfter()], ids=["dies", "loses the answer"])
def test_the_operator_fails_at_each_write_while_a_job_fails(fault: Fault | None) -> None:
    played = scenario(exits(ExitCode.DATA_NOT_FOUND, LOADER))
    usual, usual_world = run_checked(played, seed=SEED)
    message = job_started(usual_world)
    for number in writes_between(0.0, RETRY_AT_S, played):
        deaths = Deaths(number, fault)
        result, world = run_checked(played, seed=SEED, prepare=deaths.install)
        where = f"write {number}: {deaths.found}"
        assert phases(result, "data download") == 1, where
        assert "the data set is not there" in job_started(world), where
        assert len(result.machines) == len(usual.machines) == 1, where
    assert "the data set is not there" in message
