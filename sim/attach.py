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
from sim.scenario import World as WorldSettings
from sim.wall_clock import WallClockDriver

OnPhase = Callable[[str, str, float | None, str], None]
DEFAULT_SEED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachSettings:
    """How to attach. `speed` divides the world's latencies."""

    kubeconfig: Path
    speed: float
    seed: int = DEFAULT_SEED
    region: str = WorldSettings().region
    models: Path | None = None  # a file or folder of the user's own


def attach(
    settings: AttachSettings,
    *,
    on_ready: Callable[[str, Sequence[str]], None],
    on_phase: OnPhase,
    on_error: Callable[[str, PortError], None],
) -> Sequence[str]:
    """Play the machines of a cluster until SIGINT or SIGTERM; the Nodes that are left then.

    `on_ready` gets the API server's address and the Nodes of an earlier run that were taken up;
    `on_phase` what begins (no seconds) and what has ended (after so many seconds).

    Raises: InvalidInput (no such cluster), KubeApiError (it does not answer or does not allow it).
    """
    return asyncio.run(_attach(settings, on_ready, on_phase, on_error))


async def _attach(
    settings: AttachSettings,
    on_ready: Callable[[str, Sequence[str]], None],
    on_phase: OnPhase,
    on_error: Callable[[str, PortError], None],
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
        seed=settings.seed,
        catalogue=load_catalogue(models=settings.models),
        settings=WorldSettings(region=settings.region, latency_scale=1.0 / settings.speed),
        now_s=now_s,
        recorder=_PhaseReporter(on_phase),
        from_thread=from_thread,
        on_error=on_error,
    )
    try:
        on_ready(world.url, world.start())
        driver = WallClockDriver(world.env, now_s)
        drivers.append(driver)
        running = asyncio.ensure_future(driver.run())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, running.cancel)
        try:
            await running
        except asyncio.CancelledError:
            return world.nodes()
        raise AssertionError("the driver runs until it is cancelled")
    finally:
        world.close()


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
