"""What went over the wire between a host and a server: every message, with its time."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Self

import anyio


@dataclass
class Call:
    """One call of a tool: what the server sent about it. Times are monotonic seconds."""

    tool: str
    arguments: dict[str, Any]
    sent: float
    token: object
    progress: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    answered: float | None = None
    answer: dict[str, Any] | None = None
    late: int = 0

    @property
    def seconds(self) -> float:
        """How long the answer took; for ever if there is none."""
        return float("inf") if self.answered is None else self.answered - self.sent

    @property
    def silences(self) -> list[float]:
        """The seconds without a word: to the first progress, between two, and to the answer."""
        moments = [self.sent, *(moment for moment, _ in self.progress)]
        if self.answered is not None:
            moments.append(self.answered)
        return [later - earlier for earlier, later in pairwise(moments)]

    @property
    def grows(self) -> bool:
        """Whether each progress is more than the one before."""
        values = [told["progress"] for _, told in self.progress]
        return all(earlier < later for earlier, later in pairwise(values))


@dataclass
class WireRecord:
    """Every call on one connection, by its request id."""

    calls: dict[object, Call] = field(default_factory=dict)

    def note_sent(self, message: dict[str, Any]) -> None:
        """Write down what the host sends."""
        if message.get("method") == "tools/call":
            parameters = message["params"]
            token = parameters.get("_meta", {}).get("progressToken")
            call = Call(parameters["name"], parameters.get("arguments", {}), time.monotonic(), token)
            self.calls[message["id"]] = call

    def note_received(self, message: dict[str, Any]) -> None:
        """Write down what the server sends."""
        now = time.monotonic()
        if message.get("method") == "notifications/progress":
            told = message["params"]
            for call in self.calls.values():
                if call.token == told["progressToken"]:
                    call.progress.append((now, told))
                    call.late += call.answered is not None
        elif message.get("id") in self.calls and "method" not in message:
            call = self.calls[message["id"]]
            call.answered, call.answer = now, message.get("result")


class _Noting:
    """A stream for sending that tells the record."""

    def __init__(self, stream: Any, record: WireRecord) -> None:
        self._stream, self._record = stream, record

    async def send(self, item: Any) -> None:
        self._record.note_sent(_plain(item))
        await self._stream.send(item)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


@asynccontextmanager
async def recorded(transport: Any, record: WireRecord) -> AsyncGenerator[tuple[Any, Any]]:
    """Wrap a client's transport so that every message is written down as it passes."""
    async with transport as (read, write), anyio.create_task_group() as group:
        forward, receive = anyio.create_memory_object_stream(1000)

        async def pump() -> None:
            async with forward:
                async for item in read:
                    if not isinstance(item, Exception):
                        record.note_received(_plain(item))
                    await forward.send(item)

        group.start_soon(pump)
        async with receive:
            yield receive, _Noting(write, record)
        group.cancel_scope.cancel()


def _plain(item: Any) -> dict[str, Any]:
    return item.message.model_dump(mode="json", by_alias=True, exclude_none=True)
