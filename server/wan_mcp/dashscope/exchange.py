"""One call and its answer: the only gate where httpx's exceptions become ours, so that none carries the key out."""

import logging
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import anyio
import httpx

from wan_mcp.dashscope.endpoints import Endpoint
from wan_mcp.dashscope.refusals import Circumstance
from wan_mcp.dashscope.replies import Reply, lost_answer, parse_payload
from wan_mcp.dashscope.retries import read_date, read_retry_after
from wan_mcp.dashscope.values import Timeouts
from wan_mcp_tools.domain.errors import AppError, NotConnectedError, SettingsError

_LOG = logging.getLogger(__name__)
_LARGEST_ANSWER = 8 * 1024 * 1024
# Nothing has been sent when one of these is raised; after any other the service may have the call.
_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP call to a region; `patience` is how long its answer may take, in seconds."""

    method: str
    url: str
    endpoint: Endpoint
    headers: Mapping[str, str]
    patience: float
    body: bytes | None = None


async def exchange(
    client: httpx.AsyncClient, call: Call, where: Circumstance, *, timeouts: Timeouts, now: float
) -> Reply:
    """
    Make one call, once, and read its answer.

    `now` is the time in seconds since 1970, for answers without a date of their own.

    Raises:
        NotConnectedError: no connection was opened, so nothing was sent.
        AnswerLostError: the call was sent and no whole answer came back in time.
        SettingsError: the address of the region, or a proxy's, cannot be used.
    """
    phases = httpx.Timeout(connect=timeouts.connect, read=call.patience, write=timeouts.write, pool=timeouts.pool)
    # An answer that trickles would never run into the limit of a single read.
    whole = timeouts.pool + timeouts.connect + timeouts.write + call.patience
    trouble: AppError
    try:
        with anyio.fail_after(whole):
            reply = await _send(client, call, phases, now)
            _LOG.debug("%s in the region %s: HTTP %d", call.method, where.region, reply.status)
            return reply
    except TimeoutError:
        trouble = lost_answer(where, f"it did not end within {whole:.0f} seconds")
    except _NEVER_SENT as error:
        trouble = _not_connected(error, call, timeouts)
    except httpx.TimeoutException:
        trouble = lost_answer(where, "it took too long")
    except (httpx.HTTPError, httpx.StreamError, OSError):
        trouble = lost_answer(where, "the connection broke")
    except (httpx.InvalidURL, UnicodeError):
        trouble = SettingsError(
            f"The address of the region {where.region} cannot be used.", "Correct DASHSCOPE_HTTP_BASE_URL."
        )
    # Raised here and not where it was caught: httpx's exceptions hold the request, and the request the key.
    raise trouble


async def _send(client: httpx.AsyncClient, call: Call, phases: httpx.Timeout, now: float) -> Reply:
    # httpx shows neither this header nor its value when the object is printed.
    headers = httpx.Headers({**call.headers, "Authorization": f"Bearer {call.endpoint.key.get_secret_value()}"})
    async with client.stream(call.method, call.url, headers=headers, content=call.body, timeout=phases) as response:
        served_at = read_date(response.headers.get("date"))
        retry_after = read_retry_after(response.headers, now=served_at or now)
        payload = parse_payload(await _read(response))
        return Reply(response.status_code, payload, served_at, retry_after)


async def _read(response: httpx.Response) -> bytes | None:
    """Read the body; None if it is larger than any answer of the service can be."""
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _LARGEST_ANSWER:
            return None
    return bytes(content)


def _not_connected(error: httpx.HTTPError, call: Call, timeouts: Timeouts) -> NotConnectedError:
    why, advice = explain_connection(error, timeouts)
    host = httpx.URL(call.url).host
    return NotConnectedError(
        f"No connection to the region {call.endpoint.region} ({host}): {why}. Nothing was sent.", advice
    )


def explain_connection(error: httpx.HTTPError, timeouts: Timeouts) -> tuple[str, str]:
    """Say why no connection was opened, and what to do about it."""
    roots = causes(error)
    if any(isinstance(root, ssl.SSLCertVerificationError) for root in roots):
        return (
            "its certificate is not trusted by this system",
            "Install the system's CA certificates, or name your organisation's in SSL_CERT_FILE.",
        )
    if any(isinstance(root, socket.gaierror) for root in roots):
        return "its name cannot be resolved", "Check the network, and HTTPS_PROXY if a proxy is needed."
    if isinstance(error, httpx.ProxyError):
        return "the proxy refused it", "Check HTTPS_PROXY and NO_PROXY."
    if isinstance(error, httpx.PoolTimeout):
        return "too many calls are under way", "Try again in a moment."
    if isinstance(error, httpx.UnsupportedProtocol):
        return "its address is neither https:// nor http://", "Correct DASHSCOPE_HTTP_BASE_URL."
    if isinstance(error, httpx.ConnectTimeout):
        return f"nothing answered within {timeouts.connect:.0f} seconds", "Check the network, and HTTPS_PROXY."
    return "it could not be opened", "Check the network, and HTTPS_PROXY if a proxy is needed."


def causes(error: BaseException) -> list[BaseException]:
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
