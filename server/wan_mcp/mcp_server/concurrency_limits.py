"""
How many calls may be under way at once, and how long a body may take to arrive.

Both keep one client from taking a server away from the others. A call that waits for a picture holds a connection and
little else, so that many may.
"""

import math
from collections import Counter
from typing import TYPE_CHECKING

import anyio

from wan_mcp_tools.domain.principals import current_principal
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TOO_MANY, _UNAVAILABLE, _TOO_SLOW = 429, 503, 408
_RETRY_SECONDS = 5
_BODY_SECONDS = 30.0
"""How long a body may take, beside what its bytes take at the slowest speed."""
_SLOWEST = 32_768.0
"""Bytes a second."""


class ConcurrencyLimits(Record):
    """How many calls may be under way in this process: of all callers together, and of each who has signed in."""

    most: int = 10_000
    most_each: int = 200


class ConcurrencyLimiter:
    """An application around another that refuses calls beyond the limits. It has to stand behind the sign-in."""

    def __init__(self, app: "ASGIApp", limits: ConcurrencyLimits) -> None:
        self._app = app
        self._limits = limits
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a call on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        principal = current_principal()
        if self._open.total() >= self._limits.most:
            await _refuse(send, _UNAVAILABLE, b"Too many calls are under way. Try again in a moment.\n")
            return
        if not principal.is_local and self._open[principal.id] >= self._limits.most_each:
            await _refuse(send, _TOO_MANY, b"Too many of your calls are under way. Wait until one of them ends.\n")
            return
        self._open[principal.id] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._open[principal.id] -= 1
            if not self._open[principal.id]:
                del self._open[principal.id]


class _TooSlowError(Exception):
    """Raised to the application that reads a body which does not arrive."""


class BodyTimeout:
    """An application around another that ends a request whose body does not arrive in time, with 408."""

    def __init__(self, app: "ASGIApp", *, seconds: float = _BODY_SECONDS, slowest: float = _SLOWEST) -> None:
        self._app = app
        self._seconds = seconds
        self._slowest = slowest

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ends = anyio.current_time() + self._seconds
        is_whole = is_answered = False

        async def receive_in_time() -> "Message":
            nonlocal ends, is_whole
            if is_whole:
                return await receive()
            with anyio.move_on_after(max(0.0, ends - anyio.current_time())) as limit:
                message = await receive()
                ends += len(message.get("body", b"")) / self._slowest
                is_whole = not message.get("more_body", False)
                return message
            if limit.cancelled_caught:
                is_whole = True
            raise _TooSlowError

        async def note(message: "Message") -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, receive_in_time, note)
        except* _TooSlowError:
            if not is_answered:
                text = f"The body did not arrive within {math.ceil(self._seconds)} seconds.\n"
                await _refuse(send, _TOO_SLOW, text.encode(), closes=True)


async def _refuse(send: "Send", status: int, text: bytes, *, closes: bool = False) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(text)).encode())]
    headers.append((b"connection", b"close") if closes else (b"retry-after", str(_RETRY_SECONDS).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": text, "more_body": False})
