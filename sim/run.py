"""Plays a scenario in a world, and says what came of it."""

from collections.abc import Callable
from typing import Final, TextIO

import simpy

from kaito.adapters.kube_api import (
    POD,
    WORKSPACE,
    KubeApiError,
    KubeObject,
    condition_of,
    name_of,
    namespace_of,
)
from kaito.domain import status as st
from kaito.system_clock import monotonic_s
from sim.actions import perform, prepare
from sim.clockwork import EPOCH_S
from sim.event_log import EventLog
from sim.expectations import judge
from sim.recorder import WorkspaceTrack, is_ready
from sim.result import (
    EventResult,
    MachineResult,
    Progress,
    RunResult,
    WorkspaceResult,
)
from sim.scenario import ChangeCloud, Inject, Scenario, Step, Unreconciled
from sim.scenario_file import StaleRead
from sim.world import World

LONGEST_S: Final = 86_400.0  # a run without `until` that never comes to rest ends here
QUIET_S: Final = 30.0  # a world in which nothing has happened for so long may be at rest
_PROGRESS_EVERY_STEPS: Final = 500
# What kube-apiserver does to etcd by itself: --etcd-compaction-interval.
# Source: https://kubernetes.io/docs/reference/command-line-tools-reference/kube-apiserver/
COMPACTION_S: Final = 300.0

OnProgress = Callable[[Progress], None]
# Given the world before anything happens; what it returns is called after every step of the run.
Observer = Callable[[World], Callable[[], None]]


def simulate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    until_s: float | None = None,
    on_progress: OnProgress | None = None,
    observer: Observer | None = None,
    events: TextIO | None = None,
) -> RunResult:
    """Run the scenario to its end: `until_s`, the scenario's `until`, or when the world rests.

    The same scenario and seed give the same result and the same `events`, byte for byte.
    """
    began_s = monotonic_s()
    run = _Run(scenario, scenario.seed if seed is None else seed, EventLog(events))
    run.play(scenario.until_s if until_s is None else until_s, on_progress, observer)
    return run.result(monotonic_s() - began_s)


class _Run:
    def __init__(self, scenario: Scenario, seed: int, log: EventLog) -> None:
        self._scenario = scenario
        self._seed = seed
        self._log = log
        stale = any(
            isinstance(step, Inject) and isinstance(step.fault, StaleRead)
            for step in scenario.steps
        )
        self._world = World(
            seed=seed,
            catalogue=scenario.catalogue,
            settings=scenario.world,
            log=log,
            stale_reads=stale,
        )
        self._steps_left = len(scenario.steps)
        self._refused = [_not_reconciled(left) for left in scenario.unreconciled]
        self._over = self._world.env.event()
        self._world.operator.start()
        prepare(self._world.store, scenario)
        for step in scenario.steps:
            timeout = self._world.env.timeout(step.at_s)
            timeout.callbacks.append(self._performer(step))

    def play(
        self, until_s: float | None, on_progress: OnProgress | None, observer: Observer | None
    ) -> None:
        env = self._world.env
        after_step = observer(self._world) if observer else None
        end_s = EPOCH_S + (LONGEST_S if until_s is None else until_s)
        env.process(self._compact())
        if until_s is None:
            env.process(self._watch_for_rest())
        count = 0
        while not self._over.triggered and env.peek() <= end_s:
            env.step()
            if after_step is not None:
                after_step()
            count += 1
            if on_progress is not None and count % _PROGRESS_EVERY_STEPS == 0:
                on_progress(self._progress())
        if not self._over.triggered and env.now < end_s:
            env.run(until=end_s)

    def result(self, wall_s: float) -> RunResult:
        world, now_s = self._world, self._world.now_s()
        recorder = world.recorder
        workspaces = tuple(self._workspace_result(track) for track in recorder.workspaces.values())
        all_events = sorted([*recorder.events(), *self._refused], key=lambda event: event.at_s)
        expectations = judge(
            self._scenario.expectations,
            workspaces=workspaces,
            machines=len(world.running_machines()),
            pods=len(world.objects(POD)),
            events=all_events,
        )
        return RunResult(
            seed=self._seed,
            simulated_s=now_s,
            wall_s=wall_s,
            events=self._log.count,
            cost_usd=sum(world.costs_usd().values()),
            workspaces=workspaces,
            machines=self._machine_results(),
            expectations=expectations,
            assumed_secrets=tuple(
                f"{namespace}/{name}" for namespace, name in self._scenario.assumed_secrets
            ),
            warnings=tuple(event for event in all_events if event.type == "Warning"),
        )

    def _performer(self, step: Step) -> Callable[[simpy.Event], None]:
        def do(_event: simpy.Event) -> None:
            self._steps_left -= 1
            world, at_s = self._world, self._world.now_s()
            world.recorder.last_change_s = at_s
            if isinstance(step, Inject):
                self._log.write(at_s, "FAULT", fault=step.fault.kind)
                world.inject(step.fault)
                return
            if isinstance(step, ChangeCloud):
                told = step.change.model_dump_json(by_alias=True, exclude_unset=True)
                self._log.write(at_s, "CLOUD", change=told)
                world.change_cloud(step.change)
                return
            verb = type(step).__name__.upper()
            self._log.write(at_s, verb, object=str(step.key))
            try:
                perform(world.store, step)
            except KubeApiError as error:
                refused = EventResult(
                    at_s=at_s,
                    kind=step.key.kind,
                    namespace=step.key.namespace,
                    name=step.key.name,
                    type="Warning",
                    reason=f"{type(step).__name__}Failed",
                    message=str(error),
                )
                self._refused.append(refused)

        return do

    def _compact(self) -> simpy.events.ProcessGenerator:
        """Forget what changed before the last time: nobody asks for it any more."""
        store = self._world.store
        while True:
            version = store.resource_version
            yield self._world.env.timeout(COMPACTION_S)
            store.compact(version)

    def _watch_for_rest(self) -> simpy.events.ProcessGenerator:
        env = self._world.env
        while True:
            yield env.timeout(QUIET_S)
            quiet_s = self._world.now_s() - self._world.recorder.last_change_s
            if self._steps_left == 0 and quiet_s >= QUIET_S and self._is_at_rest():
                self._over.succeed()
                return

    def _is_at_rest(self) -> bool:
        """Every Workspace is READY, blocked for a named reason or gone; nothing is under way."""
        world = self._world
        if not world.operator.is_idle() or world.recorder.running_phases():
            return False
        if world.now_s() < world.unsettled_until_s:
            return False
        return all(_is_settled(workspace) for workspace in world.objects(WORKSPACE))

    def _progress(self) -> Progress:
        found = self._world.objects(WORKSPACE)
        return Progress(
            now_s=self._world.now_s(),
            ready=sum(is_ready(workspace) for workspace in found),
            total=len(found),
            current=", ".join(self._world.recorder.running_phases()),
        )

    def _workspace_result(self, track: WorkspaceTrack) -> WorkspaceResult:
        last = track.last
        namespace, name = namespace_of(last), name_of(last)
        phases = self._world.recorder.phases_of(namespace, name)
        done = condition_of(last, st.SUCCEEDED) or {}
        ready = is_ready(last) and track.deleted_at_s is None
        running = [phase.name for phase in phases if phase.end_s is None]
        pending = None
        if not ready and track.deleted_at_s is None:
            doing = ", ".join(running)
            why = done.get("message", "") or "the operator has not seen it yet"
            trouble = self._world.recorder.trouble_of(namespace, name)
            why = f"{why}; {trouble}" if trouble else why
            pending = f"{doing} ({why})" if doing else why
        return WorkspaceResult(
            namespace=namespace,
            name=name,
            instance_type=last["resource"].get("instanceType", ""),
            ready=ready,
            ready_at_s=track.ready_at_s,
            resource_ready=_truth(last, st.RESOURCE_READY),
            inference_ready=_truth(last, st.INFERENCE_READY),
            job_started=_truth(last, st.JOB_STARTED),
            workspace_ready=_truth(last, st.READY),
            reason=done.get("reason", ""),
            message=done.get("message", ""),
            created_at_s=track.created_at_s,
            deleted_at_s=track.deleted_at_s,
            phases=tuple(phase for phase in phases if phase.start_s >= track.created_at_s),
            pending=pending,
        )

    def _machine_results(self) -> tuple[MachineResult, ...]:
        costs = self._world.costs_usd()
        return tuple(
            MachineResult(
                name=life.order.name,
                workspace=f"{life.order.owner.namespace}/{life.order.owner.name}",
                instance_type=life.instance_type.name,
                zone=life.zone,
                ordered_at_s=life.ordered_at_s - EPOCH_S,
                ready_at_s=_since_start(life.ready_at_s),
                released_at_s=_since_start(life.released_at_s),
                cost_usd=costs[life.order.name],
                capacity_type=life.order.capacity_type.value,
            )
            for life in self._world.cloud.lives
        )


def _not_reconciled(left: Unreconciled) -> EventResult:
    """The answer to an object that nothing acts on."""
    return EventResult(
        at_s=left.at_s,
        kind=left.key.kind,
        namespace=left.key.namespace,
        name=left.key.name,
        type="Warning",
        reason="NotReconciled",
        message=left.message,
    )


def _is_settled(workspace: KubeObject) -> bool:
    if "deletionTimestamp" in workspace["metadata"]:
        return False
    done = condition_of(workspace, st.SUCCEEDED)
    if done is None or done.get("observedGeneration") != workspace["metadata"]["generation"]:
        return False
    return done["status"] == "True" or done["reason"] in st.BLOCKED_REASONS


def _truth(workspace: KubeObject, condition_type: str) -> str:
    found = condition_of(workspace, condition_type)
    return str(found["status"]) if found else ""


def _since_start(at_s: float | None) -> float | None:
    return None if at_s is None else at_s - EPOCH_S
