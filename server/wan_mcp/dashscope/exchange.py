"""One call and its answer: the only gate where httpx's exceptions become ours, so that none carries the key out."""

import email.utils
import logging
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC
from typing import Any, cast

import anyio
import anyio.to_thread
import httpx

from wan_mcp.dashscope.body import read_body
from wan_mcp.dashscope.errors import CallContext, make_lost_error
from wan_mcp.dashscope.payload import LARGEST_ANSWER, LONG_ANSWER, KnownKeys, find_bound, parse_object
from wan_mcp.dashscope.responses import JsonResponse
from wan_mcp.dashscope.types import BeforeSending, RequestBody, Timeouts
from wan_mcp_tools.domain.errors import AppError, NotConnectedError, SettingsError
from wan_mcp_tools.domain.record import Record

_LOG = logging.getLogger(__name__)
_OLDEST, _NEWEST = 946_684_800.0, 4_102_444_800.0
"""Seconds since 1970 of the years 2000 and 2100: what lies outside is no time of a clock."""
_STATUS = re.compile(r"\b([1-5][0-9]{2})\b")
_SIGN_IN = 407
_PIECE = 65_536
_SLOWEST = 25_000.0
"""Bytes a second: a body with pictures in it may take minutes to leave."""
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{0,9})?")
# Nothing has been sent when one of these is raised; after any other the service may have the call.
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class Call(Record):
    """
    One HTTP call to a region.

    `answer_seconds` is how long its answer may take. `proxy` is the one that it goes through, as it may be shown.
    `before` is called once a connection is open, for at most `before_seconds`, and only then is anything sent; what
    it raises reaches the caller.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    answer_seconds: float
    body: RequestBody | None = None
    proxy: str | None = None
    before: BeforeSending | None = None
    before_seconds: float = 0.0


class _Sending:
    """Knows whether a call has begun to be sent, and calls first what is to be done before."""

    def __init__(self, before: BeforeSending | None) -> None:
        self._before = before
        self.has_begun = before is None
        self.failure: Exception | None = None

    async def begin(self) -> None:
        """Do what is to be done before, once; what that raises is kept."""
        if self.has_begun or self._before is None:
            return
        try:
            await self._before()
        except Exception as error:
            self.failure = error
            raise
        self.has_begun = True

    async def trace(self, event: str, facts: Mapping[str, Any]) -> None:
        """
        Take notice of what the HTTP library does; what is raised here breaks it off.

        Source: https://www.encode.io/httpcore/extensions/#trace
        """
        # A proxy is asked for a connection in the same way, and that is not yet the call.
        if event.endswith("send_request_headers.started") and facts["request"].method != b"CONNECT":
            await self.begin()


class _RawResponse(Record):
    """An answer that is not read yet; `content` is None where it is larger than any is read."""

    status: int
    content: bytes | None
    served_at: float | None
    retry_after: float | None


async def send(
    client: httpx.AsyncClient,
    call: Call,
    context: CallContext,
    *,
    keys: KnownKeys,
    timeouts: Timeouts,
    now: float,
    tells_events: bool = True,
) -> JsonResponse:
    """
    Make one call, once, and read its answer, in which none of the `keys` is left.

    `now` is the time in seconds since 1970, for answers without a date of their own. `tells_events` says that the
    client tells when its connection is open; with another, what is to be done before the call is done before that.

    Raises:
        NotConnectedError: no connection was opened, so nothing was sent.
        AnswerLostError: the call was sent and no whole answer came back in time.
        SettingsError: the address of the region, or a proxy's, cannot be used.
    """
    phases = httpx.Timeout(
        connect=timeouts.connect, read=call.answer_seconds, write=timeouts.write, pool=timeouts.pool
    )
    # An answer that trickles would never run into the limit of a single read.
    whole = timeouts.pool + timeouts.connect + timeouts.write + call.answer_seconds + call.before_seconds
    whole += call.body.size / _SLOWEST if call.body is not None else 0.0
    sending = _Sending(call.before)
    failure: AppError
    try:
        with anyio.fail_after(whole):
            if not tells_events:
                await sending.begin()
            raw = await _request(client, call, context, phases, now=now, sending=sending)
        _LOG.debug("%s in the region %s: HTTP %d", call.method, context.region, raw.status)
        return replace(await _read(raw, keys), proxy=call.proxy)
    except TimeoutError:
        failure = make_lost_error(context, f"it did not end within {whole:.0f} seconds")
    except _NEVER_SENT as error:
        failure = _make_not_connected_error(error, call, context, timeouts)
    except httpx.TimeoutException:
        failure = make_lost_error(context, "it took too long")
    except (httpx.HTTPError, httpx.StreamError, OSError):
        failure = make_lost_error(context, "the connection broke")
    except (httpx.InvalidURL, UnicodeError):
        failure = SettingsError(
            f"The address of the region {context.region} cannot be used.", "Correct DASHSCOPE_HTTP_BASE_URL."
        )
    except AppError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - whatever breaks here, the call may have been sent
        _LOG.debug("%s in the region %s: %s", call.method, context.region, type(error).__name__)
        failure = make_lost_error(context, "something unexpected broke")
    # Raised here and not where it was caught: httpx's exceptions hold the request, and the request the key.
    raise failure if sending.has_begun else sending.failure or _tell_unsent(failure, context)


async def _request(
    client: httpx.AsyncClient,
    call: Call,
    context: CallContext,
    phases: httpx.Timeout,
    *,
    now: float,
    sending: _Sending,
) -> _RawResponse:
    # httpx shows neither this header nor its value when the object is printed.
    key = context.endpoint.key.get_secret_value()
    headers = httpx.Headers({**call.headers, "Authorization": f"Bearer {key}"})
    content: AsyncIterator[bytes] | None = None
    if call.body is not None:
        # In pieces, so that each of them has the time of a write.
        content = call.body.pieces(_PIECE)
        headers["Content-Length"] = str(call.body.size)
    async with client.stream(
        call.method,
        call.url,
        headers=headers,
        content=content,
        timeout=phases,
        extensions={"trace": sending.trace} if call.before is not None else None,
    ) as response:
        served_at = read_date(response.headers.get("date"))
        retry_after = read_retry_after(response.headers, now=served_at or now)
        answer = await read_body(response, LARGEST_ANSWER, extend=find_bound)
        return _RawResponse(response.status_code, answer, served_at, retry_after)


async def _read(raw: _RawResponse, keys: KnownKeys) -> JsonResponse:
    is_long = raw.content is not None and len(raw.content) > LONG_ANSWER
    if is_long:
        payload = await anyio.to_thread.run_sync(parse_object, raw.content, keys)
    else:
        payload = parse_object(raw.content, keys)
    return JsonResponse(raw.status, payload, raw.served_at, raw.retry_after, is_long=is_long)


def _tell_unsent(error: AppError, context: CallContext) -> AppError:
    """Give what went wrong before anything was sent as an error that says so."""
    if error.nothing_created:
        return error
    return NotConnectedError(f"The connection to the region {context.region} broke. Nothing was sent.")


def _make_not_connected_error(
    error: httpx.HTTPError, call: Call, context: CallContext, timeouts: Timeouts
) -> NotConnectedError:
    reason, advice = explain_no_connection(error, timeouts, proxy=call.proxy)
    host = httpx.URL(call.url).host
    return NotConnectedError(
        f"No connection to the region {context.region} ({host}): {reason}. Nothing was sent.", advice
    )


def explain_no_connection(error: httpx.HTTPError, timeouts: Timeouts, *, proxy: str | None = None) -> tuple[str, str]:
    """Say why no connection was opened, and what to do about it; `proxy` is the one in use, as it may be shown."""
    causes = list_causes(error)
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in causes):
        return (
            "its certificate is not trusted by this system",
            "Install the system's CA certificates, or name your organisation's in SSL_CERT_FILE.",
        )
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "its name cannot be resolved", "Check the network, and HTTPS_PROXY if a proxy is needed."
    if isinstance(error, httpx.ProxyError):
        return _explain_proxy(error, f"the proxy {proxy}" if proxy else "the proxy")
    if isinstance(error, httpx.PoolTimeout):
        return "too many calls are under way", "Try again in a moment."
    if isinstance(error, httpx.UnsupportedProtocol):
        return "its address is neither https:// nor http://", "Correct DASHSCOPE_HTTP_BASE_URL."
    if isinstance(error, httpx.ConnectTimeout):
        return f"nothing answered within {timeouts.connect:.0f} seconds", "Check the network, and HTTPS_PROXY."
    return "it could not be opened", "Check the network, and HTTPS_PROXY if a proxy is needed."


def _explain_proxy(error: httpx.ProxyError, proxy: str) -> tuple[str, str]:
    status = _STATUS.search(str(error))
    if status is not None and int(status[1]) == _SIGN_IN:
        return (
            f"{proxy} wants a user name and a password (HTTP {_SIGN_IN})",
            "Write them into the address of the proxy (HTTPS_PROXY): http://USER:PASSWORD@HOST:PORT.",
        )
    answer = f" (HTTP {status[1]})" if status else ""
    return (
        f"{proxy} refused it{answer}",
        "Let the proxy pass the host, correct HTTPS_PROXY, or list the host in NO_PROXY if it is reached directly.",
    )


def list_causes(error: BaseException) -> list[BaseException]:
    """Give an exception and everything that led to it."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found.append(each)
        waiting += [one for one in (each.__cause__, each.__context__) if one is not None]
        if isinstance(each, BaseExceptionGroup):
            waiting += cast("BaseExceptionGroup[BaseException]", each).exceptions
    return found


def read_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """
    Read how many seconds the service asks to wait: `retry-after-ms`, or `Retry-After` in seconds or as a date.

    `headers` finds names in lower case; `now` is the service's clock, seconds since 1970. The value is not capped.
    """
    milliseconds = _read_number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    value = headers.get("retry-after")
    seconds = _read_number(value)
    if seconds is not None:
        return seconds
    date = read_date(value)
    return None if date is None else max(0.0, date - now)


def read_date(value: str | None) -> float | None:
    """Read a date of an HTTP header, in seconds since 1970; None if there is none, or none that makes sense."""
    if not value:
        return None
    try:
        date = email.utils.parsedate_to_datetime(value)
        seconds = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None
    return seconds if _OLDEST < seconds < _NEWEST else None


def _read_number(value: str | None) -> float | None:
    return float(value) if value is not None and _NUMBER.fullmatch(value.strip()) else None
