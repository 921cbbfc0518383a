"""The twin's machines on a cluster, and its Azure, in a thread of the test's: what `sim attach
--arm-port 0 --no-machines` serves, for a test that changes the cloud while it is served."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, TypeVar

from kaito.adapters.fake.arm.endpoint import ArmEndpoint
from kaito.adapters.fake.cloud_limits import CloudLimits
from kaito.adapters.fake.machine_life import MachineLife
from kaito.adapters.files import load_catalogue
from kaito.system_clock import running_clock
from sim.attached_world import AttachedWorld
from sim.cloud_world import azure_of
from sim.scenario import World as WorldSettings
from sim.wall_clock import WallClockDriver

_LIMIT_S: Final = 60.0
ResultT = TypeVar("ResultT")


class NoRecorder:
    """A `Recorder` that forgets."""

    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        return

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        return


class AzureTwin:
    """Latencies are divided by `speed`. What is called here runs in the thread that owns the
    world."""

    def __init__(self, kubeconfig: Path, speed: float) -> None:
        self._kubeconfig, self._speed = kubeconfig, speed
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.endpoint: ArmEndpoint

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(_LIMIT_S), "the twin's Azure is served"

    def stop(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.endpoint.stop)
        self._thread.join(_LIMIT_S)
        assert not self._thread.is_alive(), "the twin's Azure is closed"

    def at(self, call: Callable[[], ResultT]) -> ResultT:
        """What the call returns, made in the world's own thread, at the present."""

        async def made() -> ResultT:
            self._driver.catch_up()
            try:
                return call()
            finally:
                self._driver.wake()

        assert self._loop is not None, "started"
        return asyncio.run_coroutine_threadsafe(made(), self._loop).result(_LIMIT_S)

    def change(self, **limits: Any) -> None:
        """Set some of the cloud's limits."""
        self.at(lambda: self._world.cloud.change_limits(CloudLimits(**limits), set(limits)))

    def evict_spot(self) -> None:
        """Want every spot machine back."""
        self.at(lambda: self._world.cloud.evict_spot(1.0))

    def pools(self) -> list[Mapping[str, Any]]:
        """The agent pools, as Azure would list them."""
        return self.at(self.endpoint.front.pools)

    def lives_of(self, uid: str) -> list[MachineLife]:
        """Every machine that was ever ordered for the Workspace with this UID."""
        return self.at(
            lambda: [life for life in self._world.cloud.lives if life.order.owner.uid == uid]
        )

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        now_s = running_clock()
        catalogue = load_catalogue()

        def from_thread(wake: Callable[[], None]) -> Callable[[], None]:
            def woken() -> None:
                wake()
                self._driver.wake()

            def hand_over() -> None:
                with suppress(RuntimeError):  # the loop is closed: a watch's last words
                    loop.call_soon_threadsafe(woken)

            return hand_over

        self._world = world = AttachedWorld(
            kubeconfig=self._kubeconfig,
            seed=0,
            catalogue=catalogue,
            settings=WorldSettings(latency_scale=1.0 / self._speed),
            now_s=now_s,
            recorder=NoRecorder(),
            from_thread=from_thread,
            on_error=lambda key, error: None,
            machines=False,
        )
        self._driver = WallClockDriver(world.env, now_s)
        try:
            self.endpoint = azure_of(
                world.cloud,
                catalogue=catalogue,
                region=WorldSettings().region,
                speed=self._speed,
                now_s=world.clock.now_s,
                port=0,
                catch_up=self._driver.catch_up,
                wake=self._driver.wake,
            )
            world.start()
            driving = asyncio.ensure_future(self._driver.run())
            self._loop = loop
            loop.call_soon(self._started.set)
            try:
                await self.endpoint.run()
            finally:
                driving.cancel()
                with suppress(asyncio.CancelledError):
                    await driving
        finally:
            world.close()


@contextmanager
def azure_twin(kubeconfig: Path, speed: float = 600.0) -> Iterator[AzureTwin]:
    """Serve it."""
    twin = AzureTwin(kubeconfig, speed)
    twin.start()
    try:
        yield twin
    finally:
        twin.stop()
