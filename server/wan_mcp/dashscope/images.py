"""Fetching an image: only from allowed hosts, never with a key, and on from where it broke off."""

import re
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import httpx

from wan_mcp.dashscope.connections import port_of
from wan_mcp.dashscope.exchange import explain_connection
from wan_mcp.dashscope.hosts import ImageHosts, Route
from wan_mcp.dashscope.image_refusals import is_passing, refuse_image
from wan_mcp.dashscope.switchboard import Switchboard
from wan_mcp.dashscope.values import Sink, Timeouts
from wan_mcp_tools.domain.errors import DownloadError, HostNotAllowedError, NotAnImageError, TooLargeError

if TYPE_CHECKING:
    from wan_mcp.clock import Clock
    from wan_mcp.dashscope.addresses import AddressCheck

_PAUSES = (0.5, 1.0)
_MOST_REDIRECTS = 5
_MOST_MARKS = 256
_LONGEST_REFUSAL = 4096
_OK, _PART, _RANGE_REFUSED = 200, 206, 416
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)")
_DIGITS = re.compile(r"[0-9]{1,18}")
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')


class _BrokenOffError(Exception):
    """Carries an error after which another attempt is worth its while."""

    def __init__(self, error: DownloadError) -> None:
        super().__init__()
        self.error = error


@dataclass(frozen=True, slots=True)
class _Job:
    url: str
    sink: Sink
    in_process: bool


class ImageFetcher:
    """
    Fetches images into sinks.

    The marks of versions (ETags) are
    remembered for each address, so that a later attempt continues only what has not changed.
    """

    def __init__(
        self,
        switchboard: Switchboard,
        hosts: ImageHosts,
        addresses: "AddressCheck | None",
        *,
        max_bytes: int,
        clock: "Clock",
        timeouts: Timeouts,
    ) -> None:
        self._switchboard = switchboard
        self._hosts = hosts
        self._addresses = addresses
        self._max_bytes = max_bytes
        self._clock = clock
        self._timeouts = timeouts
        self._marks: OrderedDict[str, str] = OrderedDict()

    async def fetch(self, url: str, sink: Sink, *, in_process: bool) -> None:
        """
        Fetch one image, in at most three attempts.

        Raises:
            DownloadError: it could not be had; what came stays in the sink.
        """
        job = _Job(url, sink, in_process)
        for pause in (*_PAUSES, None):
            try:
                await self._attempt(job)
            except _BrokenOffError as broken:
                trouble = broken.error
            else:
                self._marks.pop(url, None)
                return
            if pause is None:
                raise trouble
            await self._clock.sleep(pause)

    async def _attempt(self, job: _Job) -> None:
        mark = self._marks.get(job.url)
        if job.sink.size and mark is None:
            # Nothing proves that the host still has the version that these bytes are the beginning of.
            await job.sink.restart()
        headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
        if job.sink.size and mark is not None:
            headers |= {"Range": f"bytes={job.sink.size}-", "If-Range": mark}
        try:
            # An answer whose head trickles, or a refusal that does, would never run into the limit of a single read.
            with anyio.fail_after(self._timeouts.image_total):
                async with self._open(job, headers) as response:
                    await self._receive(job, response)
        except TimeoutError:
            trouble = _broke_off(parse_address(job.url).host, job.sink.size, None)
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            trouble = self._explain(error, job.url)
        else:
            return
        raise _BrokenOffError(trouble)

    @asynccontextmanager
    async def _open(self, job: _Job, headers: dict[str, str]) -> AsyncGenerator[httpx.Response]:
        """Send the request, following redirects by hand: each host is checked before it is reached."""
        url = parse_address(job.url)
        for _ in range(_MOST_REDIRECTS + 1):
            source = self._hosts.admit(url, in_process=job.in_process)
            if source.route is Route.SERVICE and self._addresses is not None:
                await self._addresses.check(source.url.scheme, source.url.host, port_of(source.url))
            connections = await self._switchboard.connect(in_process=source.route is Route.INSIDE)
            limits = self._timeouts
            timeout = httpx.Timeout(connect=limits.connect, read=limits.image, write=limits.write, pool=limits.pool)
            request = connections.images.build_request("GET", source.url, headers=headers, timeout=timeout)
            response = await connections.images.send(request, stream=True, auth=None)
            try:
                if response.next_request is None:
                    yield response
                    return
                url = response.next_request.url
            finally:
                await response.aclose()
        raise DownloadError(f"The image host {url.host} redirects in a circle.", "Ask for the task again.")

    async def _receive(self, job: _Job, response: httpx.Response) -> None:
        host = response.url.host
        if response.status_code not in (_OK, _PART):
            await self._refuse(job, response)
            return
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise NotAnImageError(
                f"The image host {host} answered with something that is no picture.",
                "Check the network for a proxy or a sign-in page, then try again.",
            )
        expected = await self._align(job, response)
        self._check_size(expected)
        began = self._clock.monotonic()
        async for chunk in response.aiter_bytes():
            self._check_size(job.sink.size + len(chunk))
            await job.sink.write(chunk)
            if self._clock.monotonic() - began > self._timeouts.image_total:
                raise _BrokenOffError(_broke_off(host, job.sink.size, expected))
        if expected is not None and job.sink.size < expected:
            raise _BrokenOffError(_broke_off(host, job.sink.size, expected))

    async def _align(self, job: _Job, response: httpx.Response) -> int | None:
        """Bring sink and answer to the same place; give how many bytes the image has in all, if known."""
        length = _whole(response.headers.get("content-length"))
        if response.status_code == _OK:
            if job.sink.size:
                await job.sink.restart()
            self._remember(job.url, response.headers.get("etag", ""))
            return length
        part = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        # A host may ignore If-Range, so the version is compared here as well.
        mark = self._marks.get(job.url)
        changed = response.headers.get("etag", mark) != mark
        if changed or not job.sink.size or part is None or part.group(1) != str(job.sink.size):
            await self._forget(job)
            raise _BrokenOffError(_broke_off(response.url.host, 0, None))
        return int(part.group(3)) if part.group(3) != "*" else int(part.group(2)) + 1

    async def _refuse(self, job: _Job, response: httpx.Response) -> None:
        """Raise what a refusal means. One is none: the rest of an image that is already complete."""
        status = response.status_code
        if status == _RANGE_REFUSED and job.sink.size:
            part = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
            if part is not None and part.group(3) == str(job.sink.size):
                return
            await self._forget(job)
            raise _BrokenOffError(_broke_off(response.url.host, 0, None))
        body = await _read_start(response)
        query = response.url.query.decode("ascii", "replace")
        error = refuse_image(status, body, host=response.url.host, query=query, now=self._clock.now())
        if is_passing(status):
            raise _BrokenOffError(error)
        raise error

    def _check_size(self, size: int | None) -> None:
        if size is not None and size > self._max_bytes:
            raise TooLargeError(
                f"The image has more than {self._max_bytes} bytes, the most that is accepted.",
                "Raise WAN_MCP_MAX_IMAGE_BYTES and fetch it again.",
            )

    def _remember(self, url: str, mark: str) -> None:
        self._marks.pop(url, None)
        if _STRONG_TAG.fullmatch(mark):
            self._marks[url] = mark
            while len(self._marks) > _MOST_MARKS:
                self._marks.popitem(last=False)

    async def _forget(self, job: _Job) -> None:
        self._marks.pop(job.url, None)
        await job.sink.restart()

    def _explain(self, error: Exception, url: str) -> DownloadError:
        host = parse_address(url).host
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError):
            why, advice = explain_connection(error, self._timeouts)
            return DownloadError(f"No connection to the image host {host}: {why}.", advice)
        return DownloadError(f"The connection to the image host {host} broke.", "Try again in a moment.")


def parse_address(text: str) -> httpx.URL:
    """
    Read an image address, leaving its query byte for byte: the signature covers it.

    Raises:
        HostNotAllowedError: it is no address.
    """
    try:
        return httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError):
        pass
    raise HostNotAllowedError("The image address is not an address.", "Use it as the service gave it.")


async def _read_start(response: httpx.Response) -> str:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) >= _LONGEST_REFUSAL:
            break
    return content[:_LONGEST_REFUSAL].decode("utf-8", "replace")


def _broke_off(host: str, got: int, expected: int | None) -> DownloadError:
    of = f" of {expected}" if expected is not None else ""
    return DownloadError(f"The transfer from the image host {host} broke off after {got}{of} bytes.", "Try again.")


def _whole(value: str | None) -> int | None:
    return int(value) if value and _DIGITS.fullmatch(value) else None
