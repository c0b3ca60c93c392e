"""Clocks that a test moves by hand, and waits for what no clock can be moved for."""

import threading
import time
from collections.abc import Callable

import anyio
import anyio.lowlevel

from wan_mcp.clock import SystemClock

LONGEST = 45.0
"""Seconds that end a broken test: what works takes less, however busy the machine is."""


async def until(happens: Callable[[], object]) -> None:
    """Wait for something that must come by itself."""
    with anyio.fail_after(LONGEST):
        while not happens():
            await anyio.sleep(0.02)


def wait_until(happens: Callable[[], object]) -> None:
    """Wait, outside an event loop, for something that must come by itself."""
    ends, pause = time.monotonic() + LONGEST, threading.Event()
    while not happens():
        assert time.monotonic() < ends, "it did not happen in time"
        pause.wait(0.02)


class FakeClock:
    """
    Implements `wan_mcp.clock.Clock`: time stands still until the test moves it.

    `advance` moves both clocks and wakes who has slept long enough; `set_back` is a person who corrects the wall
    clock, which the monotonic one does not see.
    """

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self._wall = now
        self._elapsed = 0.0
        self._moved = anyio.Event()

    def now(self) -> float:
        return self._wall

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        until = self._elapsed + seconds
        await anyio.lowlevel.checkpoint()
        while self._elapsed < until:
            await self._moved.wait()

    def advance(self, seconds: float) -> None:
        self._elapsed += seconds
        self._wall += seconds
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    def set_back(self, seconds: float) -> None:
        self._wall -= seconds


class StillClock(FakeClock):
    """
    A clock that stands still, and never lets anybody sleep for long.

    For a ledger in a real database: on a busy machine the database may end a transaction, which is repeated after a
    pause.
    """

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(min(seconds, 0.05))


class SlowedClock:
    """The machine's clock, but that waits last ten times as long: what is in time by it can be held up a little."""

    def __init__(self, times: float = 10.0) -> None:
        self._times = times
        self._machine = SystemClock()

    def now(self) -> float:
        return self._machine.now()

    def monotonic(self) -> float:
        return self._machine.monotonic() / self._times

    async def sleep(self, seconds: float) -> None:
        await self._machine.sleep(seconds * self._times)


class ShiftedClock:
    """The machine's clock, with a wall clock that a person corrects by `shift` seconds."""

    def __init__(self) -> None:
        self.shift = 0.0
        self._machine = SystemClock()

    def now(self) -> float:
        return self._machine.now() + self.shift

    def monotonic(self) -> float:
        return self._machine.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._machine.sleep(seconds)


class HurriedClock:
    """
    The machine's clock, `times` as fast, so that pauses are short; a wait that ends a broken test lasts as much longer.

    `advance` moves it on at once and wakes who has slept long enough. `sleeping` tells for how many seconds others sleep.
    """

    def __init__(self, times: float = 1.0) -> None:
        self.times = times
        self.sleeping: list[float] = []
        self._machine = SystemClock()
        self._wall, self._began = self._machine.now(), self._machine.monotonic()
        self._ahead = 0.0
        self._moved = anyio.Event()

    def now(self) -> float:
        return self._wall + self._elapsed()

    def monotonic(self) -> float:
        return self._began + self._elapsed()

    async def sleep(self, seconds: float) -> None:
        ends = self.monotonic() + seconds
        self.sleeping.append(seconds)
        try:
            await anyio.lowlevel.checkpoint()
            while (left := ends - self.monotonic()) > 0:
                moved = self._moved
                with anyio.move_on_after(left / self.times):
                    await moved.wait()
        finally:
            self.sleeping.remove(seconds)

    def advance(self, seconds: float) -> None:
        self._ahead += seconds
        moved, self._moved = self._moved, anyio.Event()
        moved.set()

    def _elapsed(self) -> float:
        return (self._machine.monotonic() - self._began) * self.times + self._ahead
