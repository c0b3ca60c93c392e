"""Work that may hang for minutes, such as a dead network drive, in a thread that nobody has to wait for."""

from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar

import anyio
from anyio.from_thread import BlockingPortal

T = TypeVar("T")


async def run_apart(work: Callable[[], T]) -> T:
    """
    Run blocking work and give its result; when the caller is cancelled, the work is left behind.

    Threads of an event loop hold up the end of the program until their work is done. This one does not.
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

        Thread(target=run, name="wan-mcp doctor", daemon=True).start()
        await finished.wait()
    if failures:
        raise failures[0]
    return results[0]
