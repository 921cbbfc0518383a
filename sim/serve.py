"""A simulated world behind the Kubernetes protocol, for as long as somebody wants to try it."""

import asyncio
import shlex
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import simpy

from kaito.adapters.kube_api import KubeApiError
from kaito.system_clock import running_clock
from sim.actions import perform, prepare
from sim.cloud_world import azure_of
from sim.event_log import EventLog
from sim.scenario import ChangeCloud, Inject, Scenario, Step
from sim.wall_clock import WallClockDriver
from sim.world import World

LOOPBACK: Final = "127.0.0.1"
OnAzure = Callable[[str, Mapping[str, str]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """How to serve. `speed` divides the world's latencies and the scenario's times. With an
    `arm_port` the cloud is served as Azure, too; 0 takes a free one."""

    kubeconfig: Path
    speed: float
    host: str = LOOPBACK
    port: int = 0
    page_port: int = 0
    operator: bool = True
    seed: int | None = None
    arm_port: int | None = None


def serve(
    scenario: Scenario,
    settings: ServeSettings,
    *,
    on_ready: Callable[[str, str], None],
    on_refused: Callable[[str], None],
    on_azure: OnAzure = lambda _url, _environment: None,
) -> None:
    """Serve until SIGINT or SIGTERM. `on_ready` gets the addresses of the API and of the page, once
    they answer; `on_refused` why the API server refused a step of the scenario; `on_azure` the
    address of Azure, and what the environment of a program that signs in there has to say.

    Raises: InvalidInput (a port is taken, the kubeconfig is somebody else's).
    """
    asyncio.run(_serve(scenario, settings, on_ready, on_refused, on_azure))


def default_kubeconfig() -> Path:
    """A file of the user's own, beside but never in place of kubectl's."""
    return Path.home() / ".kube" / "kaito-twin.yaml"


def access_directory(kubeconfig: Path) -> Path:
    """Where the credentials for the twin's Azure lie: beside the kubeconfig."""
    return kubeconfig.with_name(f"{kubeconfig.stem}.azure")


def first_commands(kubeconfig: Path) -> tuple[str, ...]:
    """What to type in another terminal, in a checkout, to see something happen."""
    return (
        f"export KUBECONFIG={shlex.quote(str(kubeconfig))}",
        "kubectl apply -f examples/inference/kaito_workspace_phi_3.yaml",
        "kubectl get workspace workspace-phi-3-mini -w",
    )


class Served(Protocol):
    """A server that runs until it is stopped."""

    async def run(self) -> None: ...

    def stop(self) -> None: ...


async def _serve(
    scenario: Scenario,
    settings: ServeSettings,
    on_ready: Callable[[str, str], None],
    on_refused: Callable[[str], None],
    on_azure: OnAzure,
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

    azure = None
    if settings.arm_port is not None:
        azure = azure_of(
            world.cloud,
            catalogue=scenario.catalogue,
            region=world.region,
            speed=settings.speed,
            now_s=world.clock.now_s,
            port=settings.arm_port,
            catch_up=driver.catch_up,
            wake=driver.wake,
        )
    servers: tuple[Served, ...] = (page, endpoint) if azure is None else (page, endpoint, azure)

    def stop() -> None:
        for server in servers:
            server.stop()

    endpoint.write_kubeconfig(settings.kubeconfig)
    access = access_directory(settings.kubeconfig)
    try:
        prepare(world.store, scenario)
        _schedule(world, scenario, settings.speed, on_refused)
        if settings.operator:
            world.operator.start()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        on_ready(endpoint.url, page.url)
        if azure is not None:
            on_azure(azure.url, azure.write_access(access))
        await _until_stopped(_all(*(server.run() for server in servers)), driver.run())
    finally:
        endpoint.remove_kubeconfig(settings.kubeconfig)
        if azure is not None:
            azure.remove_access(access)


async def _all(*servers: Coroutine[Any, Any, None]) -> None:
    """None is cut off because another has said goodbye."""
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
