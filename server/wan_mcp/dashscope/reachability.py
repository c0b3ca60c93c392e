"""
Whether a region can be reached, stage by stage and without its key: proxy, name, connection, certificate.

What stands between us and the service is told apart as finely as the machine tells it, each with its advice.
"""

import errno
import re
import socket
import ssl
from collections.abc import Mapping
from itertools import islice
from typing import TYPE_CHECKING

import anyio
import httpx

from wan_mcp.dashscope.body import read_start
from wan_mcp.dashscope.connections import ConnectionPool
from wan_mcp.dashscope.errors import CallContext, CallKind
from wan_mcp.dashscope.exchange import Call, list_causes, read_date, send
from wan_mcp.dashscope.http_clients import port_of
from wan_mcp.dashscope.network import ProxyCache, find_proxy, hide_password, resolve_name
from wan_mcp.dashscope.payload import KnownKeys, as_text, iterate_objects, parse_object
from wan_mcp.dashscope.requests import PROBE_TASK_ID, build_headers, find_endpoint
from wan_mcp.dashscope.types import Timeouts
from wan_mcp.settings.network_variables import USUAL_PORTS
from wan_mcp_tools.domain.errors import AppError, SettingsError
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from wan_mcp.clock import Clock
    from wan_mcp.dashscope.network import ProxyFinder, Resolver
    from wan_mcp.settings import RegionAccess

_API = "/api/v1"
_MODELS = "/compatible-mode/v1/models"
_MOST_READ = 65_536
_MOST_MODELS = 10_000
_USUAL_PROXY_PORT = 1080
_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# Source: https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_WRONG_TIME = frozenset({9, 10})
_WRONG_HOST = frozenset({62, 64})
_STATUS = re.compile(r"\b([1-5][0-9]{2})\b")
_SIGN_IN = 407
_OWN_CERTIFICATES = (
    "A proxy or a virus scanner of this network may show certificates of its own: let SSL_CERT_FILE name a file with"
    " the certificates of your organisation. If there is none, install the system's CA certificates."
)


class NetworkProblem(Record):
    """What stands in the way, without a full stop, and what helps."""

    what: str
    advice: str


class Route(Record):
    """
    How an address is reached.

    `proxy` is the proxy's address as it may be shown, None for a direct route; `proxy_setting` names who set it.
    """

    host: str
    is_encrypted: bool
    proxy: str | None = None
    proxy_setting: str = ""

    @property
    def advice(self) -> str:
        """What to look at where nothing better is known."""
        if self.proxy is None:
            advice = "Check the network connection and its firewall; if this network is left through a proxy,"
            return f"{advice} set HTTPS_PROXY."
        return f"Correct {self.proxy_setting}, or list the host in NO_PROXY if it can be reached directly."


class Reachability(Record):
    """
    What came of the attempt to reach an address.

    `problem` says what stood in the way. `is_reached` says that something answered, be it the service or not.
    `clock_offset` is the other side's clock minus ours, in seconds; None where it told no time.
    """

    route: Route
    problem: NetworkProblem | None = None
    is_reached: bool = False
    clock_offset: float | None = None


class ReachabilityProbe:
    """
    Tries to reach addresses as the client would: through the same proxies, trusting the same certificates.

    Each attempt ends within `seconds`. Without `resolve` no name is looked up. `transport` takes the place
    of the network.
    """

    def __init__(
        self,
        *,
        clock: "Clock",
        environ: Mapping[str, str],
        seconds: float,
        resolve: "Resolver | None" = None,
        find_proxy: "ProxyFinder" = find_proxy,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock
        self._environ = environ
        self._seconds = seconds
        self._resolve = resolve
        self._proxies = ProxyCache(find_proxy)
        self._connections = ConnectionPool(
            sandbox=None, transport=transport, proxies=self._proxies, resolve=resolve_name
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._connections.aclose()

    async def reach(self, base_url: str) -> Reachability:
        """Try to reach an address, which ends in `/api/v1`; nothing of the operator's is sent there."""
        url = httpx.URL(f"{base_url}/tasks/{PROBE_TASK_ID}")
        ends = anyio.current_time() + self._seconds
        route, problem = await self.find_route(base_url)
        if problem is not None:
            return Reachability(route, problem)
        with anyio.CancelScope(deadline=ends):
            return await self._request(url, route)
        return Reachability(route, _explain_error(httpx.ConnectTimeout(""), route))

    async def find_route(self, base_url: str) -> tuple[Route, NetworkProblem | None]:
        """Find the route to an address, and what keeps its name, or the name of its proxy, from being looked up."""
        url = httpx.URL(base_url)
        host, port = url.host, port_of(url)
        try:
            proxy = await self._proxies.find(url.scheme, host, port)
        except SettingsError as error:
            return _make_route(host, url.scheme, None, {}), NetworkProblem(error.message.rstrip("."), error.advice)
        route = _make_route(host, url.scheme, proxy, self._environ)
        return route, await self._find_name(route, host, port, proxy)

    async def list_models(self, access: "RegionAccess", *, seconds: float) -> frozenset[str]:
        """
        Give the ids of the models that the service shows to the key; none if it does not say.

        The list was seen at the service and is not promised by it: that a model is missing proves nothing alone.
        """
        endpoint = find_endpoint({access.region: access}, access.region)
        url = endpoint.base_url.removesuffix(_API) + _MODELS
        context = CallContext(endpoint, CallKind.QUESTION)
        keys = KnownKeys([endpoint.key.get_secret_value()])
        timeouts = Timeouts(connect=seconds, write=seconds, pool=seconds)
        call = Call("GET", url, build_headers(endpoint), seconds)
        clients = await self._connections.open(in_process=False)
        try:
            with anyio.fail_after(seconds):
                response = await send(
                    clients.calls, call, context, keys=keys, timeouts=timeouts, now=self._clock.now()
                )
        except (AppError, TimeoutError):
            return frozenset()
        rows = islice(iterate_objects((response.payload or {}).get("data")), _MOST_MODELS)
        return frozenset(name for row in rows if (name := as_text(row.get("id"))))

    async def _find_name(self, route: Route, host: str, port: int, proxy: str | None) -> NetworkProblem | None:
        if self._resolve is None:
            return None
        if proxy is not None:
            url = httpx.URL(proxy)
            host, port = url.host, url.port or USUAL_PORTS.get(url.scheme, _USUAL_PROXY_PORT)
        # Most of the time is left for the connection: who has a name service hears from it soon.
        with anyio.move_on_after(self._seconds * 0.7):
            try:
                await self._resolve(host, port)
            except OSError as error:
                return _explain_lookup(error, host, route)
            return None
        return _explain_lookup(None, host, route)

    async def _request(self, url: httpx.URL, route: Route) -> Reachability:
        try:
            clients = await self._connections.open(in_process=False)
            timeout = httpx.Timeout(self._seconds)
            async with clients.calls.stream("GET", url, timeout=timeout) as response:
                date = read_date(response.headers.get("date"))
                offset = None if date is None else date - self._clock.now()
                content = await read_start(response, _MOST_READ + 1)
        except SettingsError as error:
            return Reachability(route, NetworkProblem(error.message.rstrip("."), error.advice))
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError) as error:
            return Reachability(route, _explain_error(error, route))
        problem = _explain_answer(response.status_code, route) if parse_object(content, KnownKeys()) is None else None
        return Reachability(route, problem, is_reached=True, clock_offset=offset)


def _make_route(host: str, scheme: str, proxy: str | None, environ: Mapping[str, str]) -> Route:
    """Describe the route through a proxy, or the direct one."""
    if proxy is None:
        return Route(host, scheme == "https")
    return Route(host, scheme == "https", hide_password(proxy), _find_setting(scheme, environ))


def _explain_lookup(error: OSError | None, host: str, route: Route) -> NetworkProblem:
    """Say why a name was not found; without an error, the name service did not answer in time."""
    # Without the host, which stands beside it anyway, regions with the same trouble can share a line.
    name = f"the proxy's name {host}" if route.proxy is not None else "its name"
    if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME:
        return NetworkProblem(f"{name} is not known to this machine's name service", route.advice)
    return NetworkProblem(f"{name} cannot be looked up: no name service answers", route.advice)


def _explain_error(error: Exception, route: Route) -> NetworkProblem:
    """Say why nothing came back."""
    causes = list_causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _explain_certificate(cause, route)
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            said = (cause.reason or "").replace("_", " ").lower() or "no reason is given"
            return NetworkProblem(
                f"what answers does not speak TLS as it should ({said})",
                f"Something in between may answer in its place. {route.advice}",
            )
    if isinstance(error, httpx.ProxyError):
        return _explain_proxy(error, route)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return NetworkProblem(f"{_who(route)} does not answer in time", route.advice)
    if isinstance(error, httpx.ConnectError):
        return NetworkProblem(f"{_who(route)} {_explain_refusal(causes)}", route.advice)
    if isinstance(error, httpx.TimeoutException):
        return NetworkProblem(
            "a connection is opened, and no answer comes in time", f"Try again in a moment. {route.advice}"
        )
    return NetworkProblem("the connection breaks before an answer has come", f"Try again in a moment. {route.advice}")


def _explain_answer(status: int, route: Route) -> NetworkProblem:
    """Say what it means that something answered that is not the service."""
    return NetworkProblem(
        f"something answers that is not the service (HTTP {status})",
        f"A sign-in page of the network may stand in between: open any web page and sign in. {route.advice}",
    )


def _explain_certificate(error: ssl.SSLCertVerificationError, route: Route) -> NetworkProblem:
    said = error.verify_message or "no reason is given"
    what = f"its certificate is not trusted ({said.rstrip('.')})"
    if error.verify_code in _WRONG_TIME:
        return NetworkProblem(what, f"Check this machine's date and time. {_OWN_CERTIFICATES}")
    if error.verify_code in _WRONG_HOST:
        return NetworkProblem(what, f"Something else answers under the name {route.host}. {route.advice}")
    return NetworkProblem(what, _OWN_CERTIFICATES)


def _explain_proxy(error: httpx.ProxyError, route: Route) -> NetworkProblem:
    status = _STATUS.search(str(error))
    if status and int(status[1]) == _SIGN_IN:
        return NetworkProblem(
            f"the proxy {route.proxy} wants a user name and a password (HTTP {_SIGN_IN})",
            f"Write them into {route.proxy_setting}: http://USER:PASSWORD@HOST:PORT.",
        )
    answer = f" (HTTP {status[1]})" if status else ""
    return NetworkProblem(f"the proxy {route.proxy} refuses to connect to it{answer}", route.advice)


def _explain_refusal(causes: list[BaseException]) -> str:
    codes = {cause.errno for cause in causes if isinstance(cause, OSError)}
    if errno.ECONNREFUSED in codes:
        return "refuses the connection"
    if codes & {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}:
        return "cannot be reached: this machine has no way there"
    return "cannot be connected to"


def _who(route: Route) -> str:
    return f"the proxy {route.proxy}" if route.proxy is not None else "it"


def _find_setting(scheme: str, environ: Mapping[str, str]) -> str:
    """Name the variable that a proxy comes from; small letters win, as they do where it is read."""
    for name in (f"{scheme}_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            if environ.get(spelling, "").strip():
                return spelling
    return "the proxy settings of this system"
