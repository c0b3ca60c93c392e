"""The HTTP calls that are under way, so that they can be ended."""

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ENDING = b"The server is ending. What was ordered is kept; ask again when it is back.\n"


class Calls:
    """An application around another that can end the other's calls."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: set[anyio.CancelScope] = set()
        self._ended = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the other application answer, and finish its answer if it is ended meanwhile."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        with anyio.CancelScope() as call:
            self._open.add(call)
            try:
                await self._app(scope, receive, answer.send)
            finally:
                self._open.discard(call)
                self._ended.set()
        # A stream that the SSE library breaks off, as it does when the server ends, has no end either.
        if call.cancelled_caught or answer.is_started:
            await answer.finish()

    async def end(self, patience: float) -> None:
        """End every call that has no answer after `patience` seconds."""
        with anyio.move_on_after(patience):
            while self._open:
                self._ended = anyio.Event()
                await self._ended.wait()
        for call in tuple(self._open):
            call.cancel()


class _Answer:
    """Knows how far an answer has come."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.is_started = False
        self._is_finished = False

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        self.is_started = True
        self._is_finished = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def finish(self) -> None:
        """Send what is missing of the answer: the end of its body, or a whole answer that says why."""
        if self._is_finished:
            return
        body = b""
        if not self.is_started:
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await self._send({"type": "http.response.start", "status": 503, "headers": headers})
            body = _ENDING
        await self._send({"type": "http.response.body", "body": body, "more_body": False})
