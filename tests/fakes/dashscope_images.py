"""
The image host: signed links that die, ranges, and every way a download goes wrong.

The facts: links live 24 hours, the signature covers the query byte for byte, an expired link is 403 with XML, and no
Authorization header belongs here.
"""

import asyncio  # noqa: TID251  the fake owns its loop and thread and must reach the bare transport
import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import quote

from fakes import tiny_png
from fakes.dashscope_account import Account, Task
from fakes.dashscope_faults import Fault, FaultBook
from fakes.dashscope_wire import HTML, Connection, Request, Response, make_json

_FILE = re.compile(r"/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})-(\d+)\.png$")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)$")
_PIECE = 64 * 1024
_MOVED = "/moved"
PRIVATE = "http://169.254.169.254/latest/meta-data/"


@dataclass
class OrderImage:
    """One answer of the image host; `sent` counts body bytes handed to the operating system."""

    time: float
    path: str
    task_id: str | None
    index: int | None
    status: int
    sent: int = 0
    whole: bool = False
    fault: str | None = None
    range: str | None = None


class ImageHost:
    """Serves the images of an account. `served` is the log, newest last."""

    def __init__(self, account: Account, faults: FaultBook, now: Callable[[], float]) -> None:
        self._account, self._faults, self.now = account, faults, now
        self.served: list[OrderImage] = []
        self.host = ""
        self.link_seconds = 86400.0
        self.honour_range = True
        self.image_padding = 0

    def link(self, task: Task, index: int) -> str:
        """Answer the signed link of one image, always the same for the same image."""
        return f"http://{self.host}{self._target(task, index)}"

    def draw(self, task: Task, index: int) -> bytes:
        """Answer the file of one image; its text chunks say which one it is."""
        colour = hashlib.sha256(f"{task.id}-{index}".encode()).digest()
        texts = {"task_id": task.id, "index": str(index), "prompt": task.order.prompt}
        return tiny_png.encode(
            task.order.width,
            task.order.height,
            colour=(colour[0], colour[1], colour[2]),
            texts=texts,
            padding=self.image_padding,
        )

    async def handle(self, connection: Connection, request: Request) -> bool:
        """Answer one request; True keeps the connection."""
        if request.path == "/elsewhere":
            # A client that follows a redirected order here would take this for its task.
            trap = {"request_id": "trap", "output": {"task_id": "redirected", "task_status": "PENDING"}}
            return await connection.send(make_json(200, trap))
        match = _FILE.search(request.path)
        task = self._account.tasks.get(match[1]) if match else None
        index = int(match[2]) if match else None
        fault = self._faults.take("image", request.target)
        record = OrderImage(self.now(), request.path, task and task.id, index, 0)
        record.fault, record.range = fault and fault.kind, request.headers.get("range")
        self.served.append(record)
        if task is None or index not in task.good_images:
            return await self._refuse(connection, record, 404, "NoSuchKey", "The specified key does not exist.")
        if request.method != "GET" or request.target.removeprefix(_MOVED) != self._target(task, index):
            text = "The request signature we calculated does not match the signature you provided."
            return await self._refuse(connection, record, 403, "SignatureDoesNotMatch", text)
        if self.now() > int(task.finished) + self.link_seconds or (fault and fault.action == "expired"):
            return await self._refuse(connection, record, 403, "AccessDenied", "Request has expired.")
        return await _Sending(self, connection, request, record, task=task, index=index).run(fault)

    def choose_range(self, request: Request, tag: str, total: int) -> tuple[int, int] | None:
        """Answer the bytes [start, stop) asked for; None for the whole file."""
        match = _RANGE.match(request.headers.get("range", ""))
        if not self.honour_range or match is None or request.headers.get("if-range", tag) != tag:
            return None
        return int(match[1]), min(int(match[2]) + 1 if match[2] else total, total)

    def _target(self, task: Task, index: int) -> str:
        day = datetime.fromtimestamp(task.created, UTC).strftime("%Y%m%d")
        path = f"/1d/{task.id[:2]}/{day}/{task.request_id[:8]}/{task.id}-{index}.png"
        expires = int(task.finished + self.link_seconds)
        digest = hmac.digest(b"the fake's own secret", f"{path}\n{expires}".encode(), "sha1")
        signature = quote(base64.b64encode(digest).decode(), safe="")
        return f"{path}?Expires={expires}&OSSAccessKeyId=LTAI5tFakeFakeFakeFake&Signature={signature}"

    async def _refuse(self, connection: Connection, record: OrderImage, status: int, code: str, text: str) -> bool:
        record.status = status
        xml = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n  <Code>{code}</Code>\n  <Message>{text}</Message>\n'
        xml += f"  <HostId>{self.host}</HostId>\n</Error>\n"
        return await connection.send(Response(status, xml.encode(), "application/xml"))


class _Sending:
    """One download of one existing image, good or bad."""

    def __init__(
        self,
        host: ImageHost,
        connection: Connection,
        request: Request,
        record: OrderImage,
        *,
        task: Task,
        index: int,
    ) -> None:
        self._host, self._connection, self._request = host, connection, request
        self._record, self._task, self._index = record, task, index
        self._data = host.draw(task, index)

    async def run(self, fault: Fault | None) -> bool:
        if fault is None:
            return await self._send_file()
        self._record.status = fault.status
        match fault.action:
            case "cut":
                return await self._send_file(part=fault.part)
            case "slow":
                return await self._send_file(seconds=fault.seconds)
            case "wrong-bytes":
                self._record.status = 200
                wrong = self._data[:33] + bytes(len(self._data) - 33)
                return await self._connection.send(Response(200, wrong, "image/png"))
            case "endless":
                return await self._send_for_ever()
            case "redirect-private" | "redirect-loop" | "redirect":
                return await self._send_away(fault)
            case "html":
                title = "Sign in to the network"
                return await self._connection.send(Response(fault.status, HTML.format(title).encode(), "text/html"))
            case _:
                return await self._connection.break_with(fault, self._never)

    async def _send_file(self, *, part: float = 1.0, seconds: float = 0.0) -> bool:
        """Send the range asked for; `part` below 1 closes after that share, `seconds` spreads it over time."""
        total, tag = len(self._data), f'"{hashlib.md5(self._data, usedforsecurity=False).hexdigest().upper()}"'
        headers = {"ETag": tag, "Accept-Ranges": "bytes"}
        headers["Last-Modified"] = formatdate(self._task.finished, usegmt=True)
        chosen = self._host.choose_range(self._request, tag, total)
        start, stop = chosen or (0, total)
        if start >= total or start >= stop:
            self._record.status = 416
            return await self._connection.send(Response(416, b"", headers={"Content-Range": f"bytes */{total}"}))
        if chosen is not None:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{total}"
        self._record.status = 200 if chosen is None else 206
        response = Response(self._record.status, b"", "image/png", headers)
        await self._connection.begin(response, length=stop - start)
        end = start + max(1, int((stop - start) * part))
        step = max(1, (end - start) // 10) if seconds else _PIECE
        for at in range(start, end, step):
            await self._send_piece(at, min(at + step, end), total)
            if seconds:
                await asyncio.sleep(seconds / 10)
        return end == stop

    async def _send_piece(self, start: int, stop: int, total: int) -> None:
        """Write down, then send: a test must never see bytes that are not yet in the log. Take it back on failure."""
        spans = self._task.served.setdefault(self._index, [])
        self._task.lengths[self._index] = total
        self._count((start, stop), total)
        spans.append((start, stop))
        try:
            await self._connection.write(self._data[start:stop])
        except (ConnectionError, asyncio.CancelledError):
            spans.remove((start, stop))
            self._count((stop, start), total)
            raise

    def _count(self, span: tuple[int, int], total: int) -> None:
        self._record.sent += span[1] - span[0]
        self._record.whole = self._record.sent == total

    async def _send_for_ever(self) -> bool:
        """Stream chunks that begin as the image does, until the client goes away."""
        self._record.status = 200
        await self._connection.begin(Response(200, b"", "image/png"), length=None)
        await self._connection.write(f"{len(self._data):x}\r\n".encode() + self._data + b"\r\n")
        piece = f"{_PIECE:x}\r\n".encode() + bytes(_PIECE) + b"\r\n"
        while True:
            await self._connection.write(piece)
            self._record.sent += _PIECE
            await asyncio.sleep(0)

    async def _send_away(self, fault: Fault) -> bool:
        self._record.status = status = fault.status or 302
        target = self._request.target
        moved = target if fault.action == "redirect-loop" else _MOVED + target.removeprefix(_MOVED)
        location = PRIVATE if fault.action == "redirect-private" else f"http://{self._host.host}{moved}"
        return await self._connection.send(
            Response(status, b"", "text/plain", {"Location": fault.location or location})
        )

    async def _never(self) -> Response:
        raise AssertionError("no fault of an image asks for the true answer here")
