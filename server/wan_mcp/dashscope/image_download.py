"""
Downloading an image: only from allowed hosts, never with a key, and on from where it broke off.

Whatever goes wrong here is an error of this image alone. What headers say of the bytes decides nothing: whoever gets
them checks whether they are an image.

Source of the image host's refusals: https://www.alibabacloud.com/help/en/oss/developer-reference/error-codes-1
"""

import logging
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx

from wan_mcp.dashscope.body import ResponseBody, read_start
from wan_mcp.dashscope.errors import clean_code
from wan_mcp.dashscope.exchange import explain_no_connection
from wan_mcp.dashscope.image_addresses import (
    ConfiguredHosts,
    HostKind,
    check_image_url,
    check_signature,
    decode_image,
    make_too_large_error,
    read_address,
    read_link_end,
)
from wan_mcp.dashscope.payload import is_image_data
from wan_mcp.dashscope.types import Sink, Timeouts
from wan_mcp_tools.domain.errors import AppError, DownloadError, HostNotAllowedError, LinkExpiredError
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from wan_mcp.clock import Clock
    from wan_mcp.dashscope.connections import ConnectionPool

_LOG = logging.getLogger(__name__)
_PAUSES = (0.5, 1.0)
_MOST_REDIRECTS = 5
_MOST_ETAGS = 256
_LONGEST_REFUSAL = 4096
_LONGEST_PIECE = 65_536
_GOOD, _PART, _FORBIDDEN, _GONE, _RANGE_REFUSED, _SERVER_ERROR = range(200, 300), 206, 403, 410, 416, 500
_PASSING = frozenset({408, 425, 429})
_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-([0-9]{1,18})|\*)/([0-9]{1,18}|\*)")
_DIGITS = re.compile(r"[0-9]{1,18}")
_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_REFUSAL_CODE = re.compile(r"<Code>\s*([^<]{1,64}?)\s*</Code>")


class _TransientError(Exception):
    """Carries an error after which another attempt is worth its while."""

    def __init__(self, error: DownloadError) -> None:
        super().__init__()
        self.error = error


class _Download(Record):
    url: str
    sink: Sink
    in_process: bool
    is_callers: bool


class ImageDownloader:
    """
    Downloads images into sinks.

    The versions of images (ETags) are remembered for each address, so that a later attempt continues only what has
    not changed.
    """

    def __init__(
        self,
        connections: "ConnectionPool",
        *,
        hosts: ConfiguredHosts,
        max_bytes: int,
        clock: "Clock",
        timeouts: Timeouts,
    ) -> None:
        self._connections = connections
        self._hosts = hosts
        self._max_bytes = max_bytes
        self._clock = clock
        self._timeouts = timeouts
        self._etags: OrderedDict[str, str] = OrderedDict()

    async def download(self, url: str, sink: Sink, *, in_process: bool, is_callers: bool = False) -> None:
        """
        Download one image, in at most three attempts; one that stands in its address is decoded.

        An address that a caller brings (`is_callers`) must be signed and lead to a known host.

        Raises:
            DownloadError: it could not be had; what came stays in the sink.
            StorageError: the sink refuses.
        """
        url = read_address(url) or ""
        if is_image_data(url):
            await self._decode(url, sink, is_callers=is_callers)
            return
        if is_callers:
            check_image_url(_parse_url(url), self._hosts, in_process=in_process, is_callers=True)
            check_signature(url)
        download = _Download(url, sink, in_process, is_callers)
        for pause in (*_PAUSES, None):
            try:
                await self._attempt(download)
            except _TransientError as passing:
                failure = passing.error
            else:
                self._etags.pop(url, None)
                return
            if pause is None:
                raise failure
            await self._clock.sleep(pause)

    async def _decode(self, url: str, sink: Sink, *, is_callers: bool) -> None:
        if is_callers:
            raise HostNotAllowedError(
                "The address holds its content itself, and only links to results of the service are fetched.",
                "Give the link as the service gave it, or name the task and the index of the image instead.",
            )
        content = await anyio.to_thread.run_sync(decode_image, url, self._max_bytes)
        if sink.size:
            await sink.restart()
        for start in range(0, len(content), _LONGEST_PIECE):
            await sink.write(content[start : start + _LONGEST_PIECE])

    async def _attempt(self, download: _Download) -> None:
        etag = self._etags.get(download.url)
        if download.sink.size and etag is None:
            # Nothing proves that the host still has the version that these bytes are the beginning of.
            await download.sink.restart()
        headers = {"Accept": "image/*", "Accept-Encoding": "identity"}
        if download.sink.size and etag is not None:
            headers |= {"Range": f"bytes={download.sink.size}-", "If-Range": etag}
        try:
            # An answer whose head trickles, or a refusal that does, would never run into the limit of a single read.
            with anyio.fail_after(self._timeouts.image_total):
                async with self._open(download, headers) as response:
                    await self._receive(download, response)
        except (AppError, _TransientError):
            raise
        except TimeoutError:
            failure = _make_broken_error(_find_host(download.url), download.sink.size, None)
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            failure = self._explain(error, download.url)
        except (httpx.InvalidURL, ValueError):
            # Of a redirect: the first address could be read.
            host = _find_host(download.url)
            refused = f"The image host {host} sends to an address that cannot be read."
            raise HostNotAllowedError(refused, "Ask for the task again.") from None
        except Exception as error:  # noqa: BLE001 - an image that nobody thought of must not spoil the others
            _LOG.warning("an image could not be fetched: %s", type(error).__name__)
            failure = _make_broken_error(_find_host(download.url), download.sink.size, None)
        else:
            return
        raise _TransientError(failure)

    @asynccontextmanager
    async def _open(self, download: _Download, headers: dict[str, str]) -> AsyncGenerator[httpx.Response]:
        """Send the request, following redirects by hand: each host is checked before it is reached."""
        url = _parse_url(download.url)
        for _ in range(_MOST_REDIRECTS + 1):
            source = check_image_url(url, self._hosts, in_process=download.in_process, is_callers=download.is_callers)
            url = source.url
            clients = await self._connections.open(in_process=source.host_kind is HostKind.IN_PROCESS)
            limits = self._timeouts
            timeout = httpx.Timeout(connect=limits.connect, read=limits.image, write=limits.write, pool=limits.pool)
            client = clients.images if source.host_kind is HostKind.SERVICE else clients.named_images
            request = client.build_request("GET", url, headers=headers, timeout=timeout)
            response = await client.send(request, stream=True, auth=None)
            try:
                if response.next_request is None:
                    yield response
                    return
                url = response.next_request.url
            finally:
                await response.aclose()
        raise DownloadError(f"The image host {url.host} redirects in a circle.", "Ask for the task again.")

    async def _receive(self, download: _Download, response: httpx.Response) -> None:
        host, sink = response.url.host, download.sink
        if response.status_code not in _GOOD:
            await self._refuse(download, response)
            return
        expected = await self._align(download, response)
        self._check_size(expected)
        began = self._clock.monotonic()
        body = ResponseBody(response, as_is=sink.size > 0)
        async with aclosing(body.pieces()) as pieces:
            async for piece in pieces:
                self._check_size(max(sink.size + len(piece), body.received))
                if body.is_packed:
                    # If it breaks off, the rest cannot be asked for: places count in the packed bytes.
                    self._etags.pop(download.url, None)
                await sink.write(piece)
                if self._clock.monotonic() - began > self._timeouts.image_total:
                    raise _TransientError(_make_broken_error(host, sink.size, expected))
        came = body.received if body.is_packed else sink.size
        if expected is not None and came < expected:
            raise _TransientError(_make_broken_error(host, came, expected))

    async def _align(self, download: _Download, response: httpx.Response) -> int | None:
        """Bring sink and answer to the same place; give how many bytes the image has in all, if known."""
        sink = download.sink
        part = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        starts_over = not sink.size and (part is None or part.group(1) in (None, "0"))
        if response.status_code != _PART or starts_over:
            if sink.size:
                await sink.restart()
            self._remember(download.url, response.headers.get("etag", ""))
            length = response.headers.get("content-length", "")
            if response.status_code == _PART and part is not None and part.group(3) != "*":
                length = part.group(3)
            return int(length) if _DIGITS.fullmatch(length) else None
        # A host may ignore If-Range, so the version is compared here as well.
        etag = self._etags.get(download.url)
        changed = response.headers.get("etag", etag) != etag
        if changed or part is None or part.group(1) != str(sink.size):
            await self._forget(download)
            raise _TransientError(_make_broken_error(response.url.host, 0, None))
        return int(part.group(3)) if part.group(3) != "*" else int(part.group(2)) + 1

    async def _refuse(self, download: _Download, response: httpx.Response) -> None:
        """Raise what a refusal means. One is none: the rest of an image that is already complete."""
        status, sink = response.status_code, download.sink
        if status == _RANGE_REFUSED and sink.size:
            part = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
            if part is not None and part.group(3) == str(sink.size):
                return
            await self._forget(download)
            raise _TransientError(_make_broken_error(response.url.host, 0, None))
        body = (await read_start(response, _LONGEST_REFUSAL)).decode("utf-8", "replace")
        error = _make_refused_error(response, body, now=self._clock.now())
        raise _TransientError(error) if _is_transient(status) else error

    async def _forget(self, download: _Download) -> None:
        """Drop what came, so that the next attempt begins at the first byte."""
        self._etags.pop(download.url, None)
        await download.sink.restart()

    def _check_size(self, size: int | None) -> None:
        if size is not None and size > self._max_bytes:
            raise make_too_large_error(self._max_bytes)

    def _remember(self, url: str, etag: str) -> None:
        self._etags.pop(url, None)
        if _STRONG_ETAG.fullmatch(etag):
            self._etags[url] = etag
            while len(self._etags) > _MOST_ETAGS:
                self._etags.popitem(last=False)

    def _explain(self, error: Exception, url: str) -> DownloadError:
        host = _find_host(url)
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError):
            reason, advice = explain_no_connection(error, self._timeouts)
            return DownloadError(f"No connection to the image host {host}: {reason}.", advice)
        return DownloadError(f"The connection to the image host {host} broke.", "Try again in a moment.")


def _parse_url(text: str) -> httpx.URL:
    """
    Read an image address, leaving its query byte for byte: the signature covers it.

    Raises:
        HostNotAllowedError: it is no address.
    """
    try:
        url = httpx.URL(text)
        # Only now the library looks at what the host stands for.
        _ = url.host
    except (httpx.InvalidURL, ValueError):
        pass
    else:
        return url
    raise HostNotAllowedError("The image address is not an address.", "Use it as the service gave it.")


def _find_host(text: str) -> str:
    return _parse_url(text).host


def _is_transient(status: int) -> bool:
    """Tell whether the same request may succeed soon."""
    return status >= _SERVER_ERROR or status in _PASSING


def _make_refused_error(response: httpx.Response, body: str, *, now: float) -> DownloadError:
    """
    Turn a refusal of the image host into our error for it.

    `body` is the start of its answer, `now` in seconds since 1970.
    """
    status, host = response.status_code, response.url.host
    found = _REFUSAL_CODE.search(body)
    code = clean_code(found.group(1)) if found else None
    link_end = read_link_end(str(response.url))
    expired = status == _FORBIDDEN and ("has expired" in body or (link_end is not None and link_end < now))
    if expired or status == _GONE or code == "NoSuchKey":
        return LinkExpiredError(
            f"The link to the image at {host} is over: links live for 24 hours.",
            "Ask for the task again; if it is not older than a day it brings a new link.",
        )
    if _is_transient(status):
        return DownloadError(
            f"The image host {host} had trouble (HTTP {status}).", "Try again in a moment.", code=code
        )
    return DownloadError(
        f"The image host {host} refused to give the image (HTTP {status}).",
        "An address that was copied must be exactly as the service gave it: one changed sign breaks its signature.",
        code=code,
        retryable=False,
    )


def _make_broken_error(host: str, received: int, expected: int | None) -> DownloadError:
    of = f" of {expected}" if expected is not None else ""
    return DownloadError(
        f"The transfer from the image host {host} broke off after {received}{of} bytes.", "Try again."
    )
