"""Waiting for whatever comes first, and work that nobody has to wait for."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

from wan_mcp.clock import Clock

T = TypeVar("T")


async def run_in_daemon_thread(work: Callable[[], T]) -> T:
    """
    Run blocking work and give its result; when the caller is cancelled, the work is left behind.

    For work that may hang for minutes, such as a look at a dead network drive. The threads of an event loop hold up
    the end of the program until their work is done; this one does not.
    """
    results: list[T] = []
    failures: list[Exception] = []
    finished = anyio.Event()
    async with BlockingPortal() as portal:

        def run() -> None:
            try:
                results.append(work())
            except Exception as error:  # noqa: BLE001 - it is raised again where it is waited for
                failures.append(error)
            with suppress(RuntimeError):
                # Nobody listens any more if the caller was cancelled.
                portal.start_task_soon(finished.set)

        Thread(target=run, name="wan-mcp blocking work", daemon=True).start()
        await finished.wait()
    if failures:
        raise failures[0]
    return results[0]


async def wait_first(clock: Clock, arrival: Callable[[], Awaitable[object]], seconds: float) -> bool:
    """Wait for `arrival` or for `seconds` to pass; say whether it was the arrival."""
    arrived = False
    async with anyio.create_task_group() as group:

        async def sleep() -> None:
            await clock.sleep(max(0.0, seconds))
            group.cancel_scope.cancel()

        group.start_soon(sleep)
        await arrival()
        arrived = True
        group.cancel_scope.cancel()
    return arrived


async def wait_any(*events: anyio.Event) -> None:
    """Wait for one of several events."""
    async with anyio.create_task_group() as group:

        async def wait(event: anyio.Event) -> None:
            await event.wait()
            group.cancel_scope.cancel()

        for event in events:
            group.start_soon(wait, event)
