"""One client over stdin and stdout."""

import io
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, BinaryIO, Protocol, Self, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError

from wan_mcp.concurrency import run_in_daemon_thread
from wan_mcp.mcp_server.messages import (
    HEAD_BYTES,
    MOST_BYTES,
    TAIL_BYTES,
    UnreadableMessageError,
    read_message,
    too_long,
)
from wan_mcp.mcp_server.size_limits import shorten_error

_STDIN, _STDERR = 0, 2


class Writer(Protocol):
    """What takes messages for the client: the SDK's stream."""

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message."""
        ...


def serve_stdio(
    run: Callable[[Any, Any], Awaitable[None]], *, ready: Callable[[], None], stop: Callable[[], Awaitable[None]]
) -> None:
    """
    Serve one client over stdin and stdout until stdin closes.

    `run` serves a pair of streams of messages. `ready` gives stdout to the protocol; `stop` writes down what is under
    way before a signal ends the process.
    """
    # Python's own answer to Ctrl-C would wait for the reader of stdin, which cannot be interrupted.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    async def serve() -> None:
        async with anyio.create_task_group() as group:
            if os.name == "posix":
                group.start_soon(_end_on_signal, stop)
            ready()
            lines = ReadableLines(_take_stdin())
            async with stdio_server(stdin=cast("anyio.AsyncFile[str]", lines)) as (read, write):
                lines.answers = ShortErrors(write)
                await run(read, lines.answers)
            group.cancel_scope.cancel()

    anyio.run(serve)


class ReadableLines:
    """
    The lines of a client that are messages, as text; every other line is answered with an error.

    `answers` takes those errors, and has to be there before the first line is read.
    """

    answers: Writer

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[str]:
        """Give line by line until the stream ends."""
        # A thread that waits for a silent client must not hold up the end of a server that cannot answer any more.
        while line := await run_in_daemon_thread(self._read):
            try:
                if isinstance(line, UnreadableMessageError):
                    raise line
                if line.strip():
                    yield read_message(line).decode()
            except UnreadableMessageError as error:
                for answer in error.answers:
                    await self.answers.send(SessionMessage(answer))

    def _read(self) -> bytes | UnreadableMessageError:
        """Read one line; of one that is too long only what its id can be found in is kept."""
        line = self._stream.readline(MOST_BYTES + 1)
        if len(line) <= MOST_BYTES or line.endswith(b"\n"):
            return line
        head, tail, size = line[:HEAD_BYTES], line[-TAIL_BYTES:], len(line)
        while line and not line.endswith(b"\n"):
            line = self._stream.readline(MOST_BYTES)
            tail, size = (tail + line)[-TAIL_BYTES:], size + len(line)
        return too_long(head, tail, size)


class ShortErrors:
    """A stream of messages to the client on which no error is long."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - the SDK's stream, of a private type
        self._stream = stream

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message; what is too long of an error is cut."""
        if isinstance(item.message, JSONRPCError):
            short = item.message.model_copy(update={"error": shorten_error(item.message.error)})
            item = SessionMessage(short, metadata=item.metadata)
        await self._stream.send(item)

    async def aclose(self) -> None:
        """Close the stream."""
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        """Close the stream at the end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the stream."""
        await self.aclose()


def _take_stdin() -> BinaryIO:
    """
    Give the client's end of stdin, and leave an empty one in its place.

    So no library and no child process reads what is meant for the server.
    """
    if sys.stdin is None:  # pyright: ignore[reportUnnecessaryComparison] - started without one
        return io.BytesIO()
    wire = os.dup(_STDIN)
    if wire <= _STDERR or os.name != "posix":
        # One of the three is closed, and a duplicate in its place would only confuse; or Windows has handles besides.
        os.close(wire)
        return sys.stdin.buffer
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, _STDIN)
    os.close(empty)
    # The thread that waits for a line may outlive the server: the descriptor is never closed.
    return os.fdopen(wire, "rb", closefd=False)


async def _end_on_signal(stop: Callable[[], Awaitable[None]]) -> None:
    """Write down what is under way, which takes an instant unless an order is just being answered, and end."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            await stop()
            # The reader of stdin holds a thread that nothing can end.
            os._exit(128 + number)
