"""A simulated world behind the Kubernetes protocol, for as long as somebody wants to try it."""

import asyncio
import shlex
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import simpy

from kaito.adapters.kube_api import KubeApiError
from kaito.system_clock import running_clock
from sim.actions import perform, prepare
from sim.event_log import EventLog
from sim.scenario import ChangeCloud, Inject, Scenario, Step
from sim.wall_clock import WallClockDriver
from sim.world import World

LOOPBACK: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How to serve. `speed` divides the world's latencies and the scenario's times."""

    kubeconfig: Path
    speed: float
    host: str = LOOPBACK
    port: int = 0
    page_port: int = 0
    operator: bool = True
    seed: int | None = None


def serve(
    scenario: Scenario,
    settings: ServeSettings,
    *,
    on_ready: Callable[[str, str], None],
    on_refused: Callable[[str], None],
) -> None:
    """Serve until SIGINT or SIGTERM. `on_ready` gets the addresses of the API and of the page, once
    they answer; `on_refused` why the API server refused a step of the scenario.

    Raises: InvalidInput (a port is taken, the kubeconfig is somebody else's).
    """
    asyncio.run(_serve(scenario, settings, on_ready, on_refused))


def default_kubeconfig() -> Path:
    """A file of the user's own, beside but never in place of kubectl's."""
    return Path.home() / ".kube" / "kaito-twin.yaml"


def first_commands(kubeconfig: Path) -> tuple[str, ...]:
    """What to type in another terminal, in a checkout, to see something happen."""
    return (
        f"export KUBECONFIG={shlex.quote(str(kubeconfig))}",
        "kubectl apply -f examples/inference/kaito_workspace_phi_3.yaml",
        "kubectl get workspace workspace-phi-3-mini -w",
    )


async def _serve(
    scenario: Scenario,
    settings: ServeSettings,
    on_ready: Callable[[str, str], None],
    on_refused: Callable[[str], None],
) -> None:
    now_s = running_clock()
    world = World(
        seed=scenario.seed if settings.seed is None else settings.seed,
        catalogue=scenario.catalogue,
        settings=replace(
            scenario.world, latency_scale=scenario.world.latency_scale / settings.speed
        ),
        log=EventLog(None),
        epoch_s=now_s(),
    )
    driver = WallClockDriver(world.env, now_s)
    page = world.page(
        port=settings.page_port,
        speed=settings.speed,
        commands=first_commands(settings.kubeconfig),
        catch_up=driver.catch_up,
    )
    endpoint = world.endpoint(
        host=settings.host,
        port=settings.port,
        catch_up=driver.catch_up,
        wake=driver.wake,
        page_url=page.url,
    )

    def stop() -> None:
        page.stop()
        endpoint.stop()

    endpoint.write_kubeconfig(settings.kubeconfig)
    try:
        prepare(world.store, scenario)
        _schedule(world, scenario, settings.speed, on_refused)
        if settings.operator:
            world.operator.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        on_ready(endpoint.url, page.url)
        await _until_stopped(_both(endpoint.run(), page.run()), driver.run())
    finally:
        endpoint.remove_kubeconfig(settings.kubeconfig)


async def _both(*servers: Coroutine[Any, Any, None]) -> None:
    """Neither is cut off because the other has said goodbye."""
    await asyncio.gather(*servers)


async def _until_stopped(*running: Coroutine[Any, Any, None]) -> None:
    """Run until one of them ends; what it raises is raised here."""
    tasks = [asyncio.ensure_future(one) for one in running]
    try:
        done, _running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _schedule(
    world: World, scenario: Scenario, speed: float, on_refused: Callable[[str], None]
) -> None:
    for step in scenario.steps:
        timeout = world.env.timeout(step.at_s / speed)
        timeout.callbacks.append(_performer(world, step, on_refused))


def _performer(
    world: World, step: Step, on_refused: Callable[[str], None]
) -> Callable[[simpy.Event], None]:
    def do(_event: simpy.Event) -> None:
        if isinstance(step, Inject):
            world.inject(step.fault)
            return
        if isinstance(step, ChangeCloud):
            world.change_cloud(step.change)
            return
        try:
            perform(world.store, step)
        except KubeApiError as error:
            on_refused(f"{step.source}: {error}")

    return do
