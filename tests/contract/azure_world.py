"""The twin's Azure, served over TLS by a thread, for the real SDK: the world of one test."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar

import simpy

from kaito.adapters.fake.arm.app import ArmFront
from kaito.adapters.fake.arm.endpoint import ArmEndpoint
from kaito.adapters.fake.arm.place import Place
from kaito.adapters.fake.cloud import FakeGpuCloud
from kaito.adapters.fake.cloud_limits import CloudLimits
from kaito.adapters.fake.latencies import Latencies, load_latencies
from kaito.adapters.fake.store import ObjectStore
from kaito.adapters.fake.streams import Streams
from kaito.adapters.files import default_directory, load_catalogue
from kaito.adapters.kube_api import NODE, KubeObject, labels_of
from kaito.domain.catalogue import Catalogue
from kaito.system_clock import running_clock
from sim.clockwork import Slot, VirtualClock
from sim.wall_clock import WallClockDriver

REGION: Final = "eastus"
SIZE: Final = "Standard_NC24ads_A100_v4"
_SPEED: Final = 600.0
_LIMIT_S: Final = 20.0

ResultT = TypeVar("ResultT")


@cache
def _presets() -> tuple[Catalogue, Latencies]:
    return load_catalogue(), load_latencies(default_directory() / "latencies.yaml")


class NoRecorder:
    """A `Recorder` that forgets."""

    def begin(self, subject: str, name: str, start_s: float, detail: str) -> None:
        return

    def phase(self, subject: str, name: str, start_s: float, end_s: float, detail: str) -> None:
        return


class AzureWorld:
    """A cloud behind ARM, 600 times as fast as a real one; `skip` lets more time pass at once.

    What is called here runs in the thread that owns the world, through `at`.
    """

    def __init__(
        self, *, limits: CloudLimits | None = None, speed: float = _SPEED, seed: int = 0
    ) -> None:
        steady_s = running_clock()
        self._skipped_s = 0.0
        self._now_s: Callable[[], float] = lambda: steady_s() + self._skipped_s
        self.env = simpy.Environment(initial_time=self._now_s())
        clock, numbers = VirtualClock(self.env), itertools.count(1)
        self.store = ObjectStore(now_s=clock.now_s, new_uid=lambda: f"uid-{next(numbers)}")
        slot = Slot(self.env)
        catalogue, latencies = _presets()
        self.cloud = FakeGpuCloud(
            api=self.store,
            catalogue=catalogue,
            latencies=latencies.adjusted(scale=1.0 / speed, fixed_s={}),
            streams=Streams(seed),
            region=REGION,
            now_s=clock.now_s,
            wake=slot.wake,
            recorder=NoRecorder(),
            limits=limits or CloudLimits(late_shortages=True),
        )
        slot.attach(self.cloud.step)
        self.place = Place(region=REGION)
        self.cloud.names = self.place.node_names
        driver = WallClockDriver(self.env, self._now_s)
        self._driver = driver
        self.front = ArmFront(
            self.cloud,
            catalogue=catalogue,
            place=self.place,
            now_s=clock.now_s,
            poll_after_s=0,
            stop_s=60.0 / speed,
            catch_up=driver.catch_up,
            wake=lambda: driver.wake(),
        )
        self.endpoint = ArmEndpoint(self.front)
        self.url = self.endpoint.url
        self._started = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> "AzureWorld":
        self._thread.start()
        assert self._started.wait(_LIMIT_S)
        return self

    def __exit__(self, *_raised: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self.endpoint.stop)
        self._thread.join(_LIMIT_S)
        assert not self._thread.is_alive()

    def now_s(self) -> float:
        """Seconds since the epoch, with what was skipped."""
        return self._now_s()

    def at(self, call: Callable[[], ResultT]) -> ResultT:
        """What the call returns, made in the world's own thread, at the present."""

        async def made() -> ResultT:
            self._driver.catch_up()
            try:
                return call()
            finally:
                self._driver.wake()

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(made(), self._loop).result(_LIMIT_S)

    def skip(self, seconds: float) -> None:
        """Let so much time pass now."""

        def pass_by() -> None:
            self._skipped_s += seconds
            self._driver.catch_up()

        self.at(pass_by)

    def settle(self) -> None:
        """Let time pass until nothing is under way."""

        def pass_by() -> None:
            while self.env.peek() != float("inf"):
                self._skipped_s += max(self.env.peek() - self._now_s(), 0.0)
                self._driver.catch_up()

        self.at(pass_by)

    def change(self, **limits: Any) -> None:
        """Set some of the cloud's limits."""
        self.at(lambda: self.cloud.change_limits(CloudLimits(**limits), set(limits)))

    def billed(self) -> list[str]:
        """The machines that cost money now."""
        return self.at(
            lambda: [
                life.order.name
                for life in self.cloud.live.values()
                if life.shortage is None and life.stopped_at_s is None
            ]
        )

    def nodes(self) -> list[KubeObject]:
        return self.at(lambda: list(self.store.list(NODE).items))

    def node_labels(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of every Node by its provider id."""
        return {node["spec"]["providerID"]: labels_of(node) for node in self.nodes()}

    def authority_file(self, directory: Path) -> str:
        """The certificate to trust, as a file."""
        path = directory / "ca.pem"
        path.write_bytes(self.endpoint.authority)
        return str(path)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        driving = asyncio.ensure_future(self._driver.run())
        self._loop.call_soon(self._started.set)
        try:
            await self.endpoint.run()
        finally:
            driving.cancel()
            with suppress(asyncio.CancelledError):
                await driving
