"""
An ASGI application around the sandbox's that records every request and lets its answer go wrong.

Some faults break the connection: they need the transport, which `LoopbackServer` puts into the scope.
"""

import asyncio  # noqa: TID251  the service has a loop and a thread of its own
import json
import re
import socket
import struct
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fakes.faults import Answer, Fault, FaultQueue

_PLACES = (
    ("create", "POST", re.compile(r"/api/v1/services/")),
    ("cancel", "POST", re.compile(r"/api/v1/tasks/([^/]+)/cancel/?$")),
    ("list", "GET", re.compile(r"/api/v1/tasks/?$")),
    ("query", "GET", re.compile(r"/api/v1/tasks/([^/]+)/?$")),
    ("permit", "GET", re.compile(r"/api/v1/uploads/?$")),
    ("upload", "POST", re.compile(r"/upload$")),
    ("image", "GET", re.compile(r"/results/.*/([0-9a-f-]{36})-([0-9]+)\.png$")),
)
_PIECE = 64 * 1024
PRIVATE = "http://169.254.169.254/latest/meta-data/"
_PAGE = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center><hr>gateway</body></html>"
_EXPIRED = b"<Error>\n  <Code>AccessDenied</Code>\n  <Message>Request has expired.</Message>\n</Error>\n"
# https://help.aliyun.com/zh/model-studio/error-code
_ERRORS = {
    401: ("InvalidApiKey", "Invalid API-key provided."),
    403: ("AccessDenied", "Access denied."),
    404: ("ModelNotFound", "Model can not be found."),
    429: ("Throttling.RateQuota", "Requests rate limit exceeded, please try again later."),
    500: ("InternalError", "An internal error, please try again later or contact service support."),
    502: ("InternalError", "Bad gateway."),
    503: ("ModelUnavailable", "Model is unavailable, please try again later."),
}


@dataclass
class RequestRecord:
    """
    One request and what became of it.

    `time` is the service's, in seconds since 1970. `host` is "api" or "image", `path` the address with its query,
    `headers` have names in lower case. `task_id` and `index` say which task and image it is about; the task of a
    create is that which the service made, whatever its caller was told. `sent` counts the bytes of the answer's body
    that were handed to the operating system; `whole` says that they were a whole image. `releases` counts those of
    held answers before it.
    """

    time: float
    host: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    place: str | None = None
    task_id: str | None = None
    index: int | None = None
    fault: str | None = None
    status: int | None = None
    sent: int = 0
    whole: bool = False
    releases: int = 0


class FaultMiddleware:
    """
    Answers as `app` does, but for the faults. `now` dates the answers; `hosts` names the ports.

    `errors` holds the tracebacks of what went wrong in the application and here: what clients saw proves nothing then.
    """

    def __init__(self, app: ASGIApp, faults: FaultQueue, now: Callable[[], float], hosts: Mapping[int, str]) -> None:
        self.app, self.faults, self.now, self._hosts = app, faults, now, hosts
        self.requests: list[RequestRecord] = []
        self.errors: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        record = self._note(scope, await _read_body(receive))
        exchange = _Exchange(self, (scope, receive, send), record)
        fault = self.faults.take(record.place) if record.place else None
        record.fault = fault and fault.kind
        try:
            await exchange.answer(fault)
        except asyncio.CancelledError:
            # The service stops, and every connection is closed.
            return
        except Exception:  # noqa: BLE001  told when the service stops
            self.errors.append(traceback.format_exc())
            await exchange.drop()

    def _note(self, scope: Scope, body: bytes) -> RequestRecord:
        path, query = scope["path"], scope["query_string"].decode()
        record = RequestRecord(
            time=self.now(),
            host=self._hosts[scope["server"][1]],
            method=scope["method"],
            path=f"{path}?{query}" if query else path,
            headers={name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
            body=body,
            # Whoever sees the request in the record may release it at once.
            releases=self.faults.releases,
        )
        for place, method, pattern in _PLACES:
            if method == record.method and (match := pattern.search(path)):
                record.place = place
                record.task_id = match[1] if pattern.groups else None
                record.index = int(match[2]) if place == "image" else None
        self.requests.append(record)
        return record


class _Exchange:
    """One request on its connection, with every way to answer it."""

    def __init__(
        self, middleware: "FaultMiddleware", call: tuple[Scope, Receive, Send], record: RequestRecord
    ) -> None:
        self._app, self._faults, self._now, self._record = middleware.app, middleware.faults, middleware.now, record
        scope, self._receive, self._send = call
        self._scope = scope
        self._transport: asyncio.Transport = scope["state"]["transport"]

    async def answer(self, fault: Fault | None) -> None:
        """Let the service work, and give its answer or what the fault makes of it."""
        if fault is not None and fault.before:
            await self._hold(fault)
            if fault.action not in {"slow", "held"}:
                await self._break(fault, None)
                return
            await asyncio.sleep(fault.seconds if fault.action == "slow" else 0)
            fault = None
        answer = await self._ask()
        if fault is not None and not (fault.action == "held" and self._record.place == "image"):
            await self._hold(fault)
        if fault is None:
            await self._give(answer, whole=answer.status == HTTPStatus.OK)
        else:
            await self._break(fault, answer)

    async def drop(self) -> None:
        """Close the connection in the middle of whatever was said."""
        self._transport.close()
        await self._hang()

    async def _break(self, fault: Fault, answer: Answer | None) -> None:
        """Do what the fault says; `answer` is that of the service if it has done its work."""
        match fault.action:
            case "drop":
                await self.drop()
            case "reset":
                self._reset()
                await self._hang()
            case "hang":
                await self._hang()
            case "garbage":
                self._transport.write(b"\x16\x03\x01 not http at all\r\n\r\n" + bytes(range(256)))
                await self.drop()
            case "error" | "html" | "redirect" | "redirect-private" | "redirect-loop" | "expired":
                await self._give(self._wrong_answer(fault))
            case "endless":
                await self._give_for_ever(answer)
            case "slow" | "held" if self._record.place == "image":
                await self._give(answer, fault=fault, whole=answer.status == HTTPStatus.OK)
            case "held":
                await self._give(answer)
            case "slow":
                await asyncio.sleep(fault.seconds)
                await self._give(answer)
            case "cut" | "cut-body":
                await self._give(answer, fault=fault, part=fault.part)
            case _:
                await self._give(_change(answer, fault))

    async def _ask(self) -> Answer:
        """Give the service's answer, and write down which task it made."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        told = False

        async def tell() -> Message:
            nonlocal told
            if told:
                return await self._receive()
            told = True
            return {"type": "http.request", "body": self._record.body, "more_body": False}

        await self._app(self._scope, tell, keep)
        headers = {name.decode(): value.decode("latin-1") for name, value in messages[0]["headers"]}
        answer = Answer(messages[0]["status"], headers, b"".join(each.get("body", b"") for each in messages[1:]))
        if self._record.place == "create" and answer.status == HTTPStatus.OK:
            self._record.task_id = json.loads(answer.body)["output"].get("task_id")
        return answer

    async def _hold(self, fault: Fault) -> None:
        """Wait for the release of what is held."""
        while fault.held and self._faults.releases == self._record.releases:
            await asyncio.sleep(0.01)

    async def _give(
        self, answer: Answer, *, fault: Fault | None = None, part: float = 1.0, whole: bool = False
    ) -> None:
        """Send an answer in pieces, slowly or held in the middle by `fault`; `part` below 1 breaks it off there."""
        seconds = fault.seconds if fault and fault.action == "slow" else 0.0
        held = fault is not None and fault.action == "held"
        body, end = answer.body, max(1, int(len(answer.body) * part))
        await self._begin(answer, {"content-length": str(len(body))})
        step = max(1, end // 10) if seconds else max(1, end // 2 + 1) if held else _PIECE
        for start in range(0, end, step):
            piece = body[start : min(start + step, end)]
            # Written down before it is sent: a test must never see bytes that are not in the record yet.
            self._record.sent += len(piece)
            self._record.whole = whole and self._record.place == "image" and self._record.sent == len(body)
            more = start + step < end or part < 1
            await self._send({"type": "http.response.body", "body": piece, "more_body": more})
            if self._transport.is_closing():
                await self._hang()
                return
            if held and start == 0:
                await self._hold(fault)
            await asyncio.sleep(seconds / 10)
        if part < 1:
            await self.drop()

    async def _give_for_ever(self, answer: Answer) -> None:
        """Stream an image that begins as the true one, until the client goes away."""
        await self._begin(answer, {})
        piece = answer.body
        while not self._transport.is_closing():
            self._record.sent += len(piece)
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = bytes(_PIECE)
            await asyncio.sleep(0)
        await self._hang()

    async def _begin(self, answer: Answer, length: Mapping[str, str]) -> None:
        self._record.status = answer.status
        headers = {name: value for name, value in answer.headers.items() if name != "content-length"}
        headers = {"date": formatdate(self._now(), usegmt=True), **headers, **length}
        rows = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": rows})

    async def _hang(self) -> None:
        """Wait until the connection is closed."""
        while (await self._receive())["type"] != "http.disconnect":
            continue

    def _reset(self) -> None:
        """Abort with RST instead of FIN."""
        raw = self._transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _wrong_answer(self, fault: Fault) -> Answer:
        """Give an answer that is not the service's."""
        if fault.action == "expired":
            return Answer(403, {"content-type": "application/xml"}, _EXPIRED)
        headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
        if fault.action == "html":
            title = f"{fault.status} {HTTPStatus(fault.status).phrase}"
            return Answer(fault.status, headers | {"content-type": "text/html"}, _PAGE.format(title).encode())
        if fault.action == "error":
            code, message = _ERRORS.get(fault.status, _ERRORS[500])
            body = {"request_id": "fault", "code": fault.code or code, "message": fault.message or message}
            return Answer(fault.status, headers | {"content-type": "application/json"}, json.dumps(body).encode())
        return Answer(fault.status or 302, {"location": fault.location or self._find_location(fault)}, b"")

    def _find_location(self, fault: Fault) -> str:
        """Give where a redirect leads to."""
        if fault.action == "redirect-private":
            return PRIVATE
        here = f"http://{self._record.headers['host']}"
        if fault.action == "redirect-loop":
            return f"{here}{self._record.path}"
        # Images are there as well; an order that is sent there counts as another one.
        there = "moved" if self._record.place == "image" else "elsewhere"
        return f"{here}/{there}{self._record.path}"


def _change(answer: Answer, fault: Fault) -> Answer:
    """Make another answer of the true one."""
    if fault.action == "change":
        return fault.change(answer)
    if fault.action == "half-json":
        return replace(answer, body=answer.body[: int(len(answer.body) * fault.part)])
    if fault.action == "wrong-bytes":
        return replace(answer, body=answer.body[:33] + bytes(len(answer.body) - 33))
    body: dict[str, Any] = json.loads(answer.body)
    output = body.get("output", {})
    if fault.action == "no-prompt":
        for result in output.get("results", ()):
            result.pop("orig_prompt", None)
    elif "task_id" in output:
        word = "UNKNOWN" if fault.action == "unknown" else fault.word
        body = {"request_id": body["request_id"], "output": {"task_id": output["task_id"], "task_status": word}}
    return replace(answer, body=json.dumps(body).encode())


async def _read_body(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body
