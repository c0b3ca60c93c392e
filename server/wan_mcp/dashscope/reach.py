"""Whether a region can be reached, stage by stage and without its key: proxy, name, connection, certificate."""

import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import httpx

from wan_mcp.dashscope.endpoints import PROBE_TASK_ID, find_endpoint, make_headers
from wan_mcp.dashscope.exchange import Call, exchange
from wan_mcp.dashscope.loose import read_maps, read_text
from wan_mcp.dashscope.obstacles import Obstacle, Way, explain_answer, explain_failure, explain_lookup
from wan_mcp.dashscope.proxies import Proxies, find_proxy
from wan_mcp.dashscope.refusals import Circumstance, Moment
from wan_mcp.dashscope.replies import parse_payload
from wan_mcp.dashscope.retries import read_date
from wan_mcp.dashscope.switchboard import Switchboard
from wan_mcp.dashscope.values import Timeouts
from wan_mcp_tools.domain.errors import AppError, SettingsError

if TYPE_CHECKING:
    from wan_mcp.clock import Clock
    from wan_mcp.dashscope.addresses import Resolver
    from wan_mcp.dashscope.proxies import ProxyFinder
    from wan_mcp.settings import RegionAccess

_API = "/api/v1"
_MODELS = "/compatible-mode/v1/models"
_LARGEST_GLANCE = 65_536
_USUAL_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Contact:
    """
    What came of the attempt to reach an address.

    `obstacle` says what stood in the way. `is_reached` says that something answered, be it the service or not.
    `clock_offset` is the other side's clock minus ours, in seconds; None where it told no time.
    """

    way: Way
    obstacle: Obstacle | None = None
    is_reached: bool = False
    clock_offset: float | None = None


class Scout:
    """
    Looks at the way to an address as the client would take it: the same proxies, the same trusted certificates.

    Each look ends within `patience` seconds. `look_up` finds the addresses of a host; without one, and with a
    `transport` in the place of the network, no name is looked up.
    """

    def __init__(
        self,
        *,
        clock: "Clock",
        environ: Mapping[str, str],
        patience: float,
        look_up: "Resolver | None" = None,
        find_proxy: "ProxyFinder" = find_proxy,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock
        self._environ = environ
        self._patience = patience
        self._look_up = look_up
        self._proxies = Proxies(find_proxy)
        self._switchboard = Switchboard(sandbox=None, transport=transport, proxies=self._proxies)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._switchboard.aclose()

    async def reach(self, base_url: str) -> Contact:
        """Try to reach an address, which ends in `/api/v1`; nothing of the operator's is sent there."""
        url = httpx.URL(f"{base_url}/tasks/{PROBE_TASK_ID}")
        ends = anyio.current_time() + self._patience
        way, obstacle = await self.find_way(base_url)
        if obstacle is not None:
            return Contact(way, obstacle)
        with anyio.CancelScope(deadline=ends):
            return await self._knock(url, way)
        return Contact(way, explain_failure(httpx.ConnectTimeout(""), way))

    async def find_way(self, base_url: str) -> tuple[Way, Obstacle | None]:
        """Find the way to an address, and what keeps its name, or the name of its proxy, from being looked up."""
        url = httpx.URL(base_url)
        host, port = url.host, url.port or _USUAL_PORTS.get(url.scheme, 443)
        proxy = await self._proxies.find(url.scheme, host, port)
        way = Way.through(host, url.scheme, proxy, self._environ)
        return way, await self._find_name(way, host, port, proxy)

    async def list_models(self, access: "RegionAccess", *, patience: float) -> frozenset[str]:
        """
        Give the ids of the models that the service shows to the key; none if it does not say.

        The list was seen at the service and is not promised by it: that a model is missing proves nothing alone.
        """
        endpoint = find_endpoint({access.region: access}, access.region)
        url = endpoint.base_url.removesuffix(_API) + _MODELS
        where = Circumstance(endpoint.region, endpoint.key_setting, Moment.ASK, secret=endpoint.key)
        timeouts = Timeouts(connect=patience, write=patience, pool=patience)
        call = Call("GET", url, endpoint, make_headers(endpoint), patience)
        connections = await self._switchboard.connect(in_process=False)
        try:
            with anyio.fail_after(patience):
                reply = await exchange(connections.calls, call, where, timeouts=timeouts, now=self._clock.now())
        except (AppError, TimeoutError):
            return frozenset()
        rows = read_maps((reply.payload or {}).get("data"))
        return frozenset(name for row in rows if (name := read_text(row.get("id"))))

    async def _find_name(self, way: Way, host: str, port: int, proxy: str | None) -> Obstacle | None:
        if self._look_up is None:
            return None
        if proxy is not None:
            url = httpx.URL(proxy)
            host, port = url.host, url.port or _USUAL_PORTS.get(url.scheme, 1080)
        # Most of the time is left for the connection: who has a name service hears from it soon.
        with anyio.move_on_after(self._patience * 0.7):
            try:
                await self._look_up(host, port)
            except OSError as error:
                return explain_lookup(error, host, way)
            return None
        return explain_lookup(None, host, way)

    async def _knock(self, url: httpx.URL, way: Way) -> Contact:
        try:
            connections = await self._switchboard.connect(in_process=False)
            timeout = httpx.Timeout(self._patience)
            async with connections.calls.stream("GET", url, timeout=timeout) as response:
                date = read_date(response.headers.get("date"))
                offset = None if date is None else date - self._clock.now()
                content = await _glance(response)
        except SettingsError as error:
            return Contact(way, Obstacle(error.message.rstrip("."), error.advice))
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            return Contact(way, explain_failure(error, way))
        obstacle = explain_answer(response.status_code, way) if parse_payload(content) is None else None
        return Contact(way, obstacle, is_reached=True, clock_offset=offset)


def resolve(host: str, port: int) -> list[str]:
    """
    Ask the system's name service, and wait as long as that takes.

    Raises:
        OSError: the name is not known, or nobody answers.
    """
    return [str(address[0]) for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


async def _glance(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > _LARGEST_GLANCE:
            break
    return bytes(content)
