"""A simulated cloud, with its kubelets and engines, for a real Kubernetes API server."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kaito.adapters.files import load_catalogue
from kaito.domain.errors import PortError
from kaito.system_clock import running_clock
from sim.attached_world import AttachedWorld
from sim.cloud_world import azure_of
from sim.scenario import World as WorldSettings
from sim.serve import OnAzure, Served, access_directory
from sim.wall_clock import WallClockDriver

OnPhase = Callable[[str, str, float | None, str], None]
DEFAULT_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachSettings:
    """How to attach. `speed` divides the world's latencies. With an `arm_port` the cloud is served
    as Azure; without `machines` nobody here orders any, so that an operator does it there."""

    kubeconfig: Path
    speed: float
    seed: int = DEFAULT_SEED
    region: str = WorldSettings().region
    models: Path | None = None  # a file or folder of the user's own
    arm_port: int | None = None
    machines: bool = True


def attach(
    settings: AttachSettings,
    *,
    on_ready: Callable[[str, Sequence[str]], None],
    on_phase: OnPhase,
    on_error: Callable[[str, PortError], None],
    on_azure: OnAzure = lambda _url, _environment: None,
) -> Sequence[str]:
    """Play the machines of a cluster until SIGINT or SIGTERM; the Nodes that are left then.

    `on_ready` gets the API server's address and the Nodes of an earlier run that were taken up;
    `on_phase` what begins (no seconds) and what has ended (after so many seconds); `on_azure` as
    `serve`.

    Raises: InvalidInput (no such cluster, a port is taken), KubeApiError (it does not answer or
    does not allow it).
    """
    return asyncio.run(_attach(settings, on_ready, on_phase, on_error, on_azure))


async def _attach(
    settings: AttachSettings,
    on_ready: Callable[[str, Sequence[str]], None],
    on_phase: OnPhase,
    on_error: Callable[[str, PortError], None],
    on_azure: OnAzure,
) -> Sequence[str]:
    loop = asyncio.get_running_loop()
    now_s = running_clock()
    drivers: list[WallClockDriver] = []
    catalogue = load_catalogue(models=settings.models)

    def from_thread(wake: Callable[[], None]) -> Callable[[], None]:
        def woken() -> None:
            wake()
            for driver in drivers:
                driver.wake()

        return lambda: _hand_over(loop, woken)

    world = AttachedWorld(
        kubeconfig=settings.kubeconfig,
        seed=settings.seed,
        catalogue=catalogue,
        settings=WorldSettings(region=settings.region, latency_scale=1.0 / settings.speed),
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
                catalogue=catalogue,
                region=settings.region,
                speed=settings.speed,
                now_s=world.clock.now_s,
                port=settings.arm_port,
                catch_up=driver.catch_up,
                wake=driver.wake,
            )
        on_ready(world.url, world.start())
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
