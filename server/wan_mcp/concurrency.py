"""Work beside the event loop."""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

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
