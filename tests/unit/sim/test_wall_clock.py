"""The world by the clock on the wall; here the wall's clock is turned by hand."""

import asyncio
import threading

import simpy

from sim.wall_clock import StepThread, WallClockDriver


class Wall:
    """Seconds that stand still unless somebody moves them."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _driver() -> tuple[Wall, simpy.Environment, WallClockDriver]:
    wall = Wall()
    env = simpy.Environment(initial_time=wall.now_s)
    return wall, env, WallClockDriver(env, wall)


def test_what_is_due_happens_when_it_was_due() -> None:
    wall, env, driver = _driver()
    seen: list[float] = []
    for delay_s in (1.0, 2.5, 9.0):
        env.timeout(delay_s).callbacks.append(lambda _event: seen.append(env.now))
    wall.now_s = 103.0
    driver.catch_up()
    assert seen == [101.0, 102.5]
    assert env.now == 103.0


def test_catching_up_leaves_nothing_behind() -> None:
    """Else the driver would be woken for ever by its own doing."""
    wall, env, driver = _driver()
    for _ in range(5):
        wall.now_s += 0.1
        driver.catch_up()
    assert env.now == wall.now_s
    assert env.peek() == float("inf")


def test_busy_world_gives_others_a_turn() -> None:
    _wall, env, driver = _driver()
    count = 0

    def again(_event: simpy.Event) -> None:
        nonlocal count
        count += 1
        env.timeout(0).callbacks.append(again)

    env.timeout(0).callbacks.append(again)
    driver.catch_up()
    assert 0 < count < 100_000


def test_running_driver_is_woken() -> None:
    wall, env, driver = _driver()
    seen: list[float] = []

    async def play() -> None:
        running = asyncio.ensure_future(driver.run())
        await asyncio.sleep(0)
        env.timeout(0).callbacks.append(lambda _event: seen.append(env.now))
        driver.wake()
        await asyncio.sleep(0.01)
        running.cancel()

    asyncio.run(play())
    assert seen == [wall.now_s]


def test_thread_steps_when_due_and_when_woken() -> None:
    steps: list[float] = []
    stepped = threading.Semaphore(0)
    now_s = 0.0

    def step(at_s: float) -> float | None:
        steps.append(at_s)
        stepped.release()
        return at_s + 0.01 if len(steps) == 1 else None  # then only when woken

    thread = StepThread("test", lambda: now_s)
    thread.start(step)
    assert stepped.acquire(timeout=5), "at once"
    assert stepped.acquire(timeout=5), "when it is due"
    now_s = 7.0
    thread.wake()
    assert stepped.acquire(timeout=5)
    assert steps[-1] == 7.0
    thread.stop(5)
    taken = len(steps)
    thread.wake()
    assert not stepped.acquire(timeout=0.05)
    assert len(steps) == taken


def test_thread_that_never_began_can_be_stopped() -> None:
    StepThread("test", lambda: 0.0).stop(5)
