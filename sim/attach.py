"""A simulated cloud, with its kubelets and engines, for a real Kubernetes API server."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import simpy

from kaito.domain.errors import InvalidInput, PortError, Problem
from kaito.system_clock import running_clock
from sim.attached_world import AttachedWorld
from sim.cloud_file import CloudChange, GuardsPart
from sim.cloud_world import azure_of, change_cloud
from sim.scenario import ChangeCloud, Scenario
from sim.serve import OnAzure, Served, access_directory
from sim.wall_clock import WallClockDriver

OnPhase = Callable[[str, str, float | None, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachSettings:
    """How to attach. `speed` divides the world's latencies and the scenario's times. With an
    `arm_port` the cloud is served as Azure; without `machines` nobody here orders any, so that an
    operator does it there."""

    kubeconfig: Path
    speed: float
    seed: int | None = None
    arm_port: int | None = None
    machines: bool = True


def attach(
    scenario: Scenario,
    settings: AttachSettings,
    *,
    on_ready: Callable[[str, Sequence[str]], None],
    on_phase: OnPhase,
    on_error: Callable[[str, PortError], None],
    on_azure: OnAzure = lambda _url, _environment: None,
) -> Sequence[str]:
    """Play the machines of a cluster until SIGINT or SIGTERM; the Nodes that are left then. The
    scenario says how the cloud is, and how that changes.

    `on_ready` gets the API server's address and the Nodes of an earlier run that were taken up;
    `on_phase` what begins (no seconds) and what has ended (after so many seconds); `on_azure` as
    `serve`.

    Raises: InvalidInput (no such cluster, a port is taken, the scenario is of more than the cloud),
    KubeApiError (it does not answer or does not allow it).
    """
    problems = _beyond_the_cloud(scenario)
    if problems:
        raise InvalidInput(problems)
    return asyncio.run(_attach(scenario, settings, on_ready, on_phase, on_error, on_azure))


def _beyond_the_cloud(scenario: Scenario) -> list[Problem]:
    """What the scenario says of a cluster and an operator, which are the user's own."""
    steps = (*scenario.steps, *scenario.unreconciled)
    beyond = [
        Problem(
            field=step.source,
            message="only what happens to the cloud can be played on a cluster of yours",
            remedy="Remove it, and use kubectl for objects",
        )
        for step in steps
        if not isinstance(step, ChangeCloud)
    ]
    if scenario.world.guards != GuardsPart():
        remedy = "Remove them, and give `kaito operator run` its flags"
        beyond.append(Problem(field="guards", message="are the operator's", remedy=remedy))
    return beyond


async def _attach(
    scenario: Scenario,
    settings: AttachSettings,
    on_ready: Callable[[str, Sequence[str]], None],
    on_phase: OnPhase,
    on_error: Callable[[str, PortError], None],
    on_azure: OnAzure,
) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    now_s = running_clock()
    drivers: list[WallClockDriver] = []

    def from_thread(wake: Callable[[], None]) -> Callable[[], None]:
        def woken() -> None:
            wake()
            for driver in drivers:
                driver.wake()

        return lambda: _hand_over(loop, woken)

    world = AttachedWorld(
        kubeconfig=settings.kubeconfig,
        seed=scenario.seed if settings.seed is None else settings.seed,
        catalogue=scenario.catalogue,
        settings=replace(
            scenario.world, latency_scale=scenario.world.latency_scale / settings.speed
        ),
        now_s=now_s,
        recorder=_PhaseReporter(on_phase),
        from_thread=from_thread,
        on_error=on_error,
        machines=settings.machines,
    )
    access = access_directory(settings.kubeconfig)
    azure = None
    try:
        driver = WallClockDriver(world.env, now_s)
        if settings.arm_port is not None:
            azure = azure_of(
                world.cloud,
                catalogue=scenario.catalogue,
                region=scenario.world.region,
                speed=settings.speed,
                now_s=world.clock.now_s,
                port=settings.arm_port,
                catch_up=driver.catch_up,
                wake=driver.wake,
            )
        on_ready(world.url, world.start())
        _schedule(world, scenario, settings.speed)
        drivers.append(driver)
        if azure is not None:
            on_azure(azure.url, azure.write_access(access))
        running = asyncio.ensure_future(_run(driver, azure))
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.cancel)
        try:
            await running
        except asyncio.CancelledError:
            return world.nodes()
        raise AssertionError("the driver runs until it is cancelled")
    finally:
        if azure is not None:
            azure.remove_access(access)
        world.close()


def _schedule(world: AttachedWorld, scenario: Scenario, speed: float) -> None:
    for step in scenario.steps:
        assert isinstance(step, ChangeCloud), "nothing else is taken"
        due = world.env.timeout(step.at_s / speed)
        due.callbacks.append(_changer(world, step.change))


def _changer(world: AttachedWorld, change: CloudChange) -> Callable[[simpy.Event], None]:
    return lambda _event: change_cloud(world.cloud, change)


async def _run(driver: WallClockDriver, azure: Served | None) -> None:
    """Until it is cancelled; Azure says goodbye."""
    if azure is None:
        await driver.run()
        return
    serving = asyncio.ensure_future(azure.run())
    try:
        await driver.run()
    finally:
        azure.stop()
        await serving


def _hand_over(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    """Let the loop's thread do it. A watch may speak a last time when the loop is closed."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(call)


class _PhaseReporter:
    """The twin's `Recorder`, for people who watch it work."""

    def __init__(self, on_phase: OnPhase) -> None:
        self._on_phase = on_phase

    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        self._on_phase(subject, name, None, detail)

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        self._on_phase(subject, name, end_s - start_s, detail)
