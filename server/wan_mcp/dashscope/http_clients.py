"""The HTTP clients. This module is imported late, because httpx costs start-up time and no tool list needs it."""

import importlib.util
import logging
import os
import ssl
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, cast

import anyio
import httpcore
import httpx
import truststore

from wan_mcp import __version__
from wan_mcp.dashscope.network import ProxyCache, Resolver, find_public_addresses
from wan_mcp.settings.network_variables import (
    CERT_FILE,
    USUAL_PORTS,
    find_certificate_problem,
    read_certificate_variables,
)
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.record import Record

if "sniffio" not in sys.modules and importlib.util.find_spec("sniffio") is None:
    # The HTTP library asks for it some ten times a call and does without. That it is not there is found out once, not
    # each time in every folder. Source: https://docs.python.org/3/reference/import.html#the-module-cache
    sys.modules["sniffio"] = None  # pyright: ignore[reportArgumentType] - the way to say that there is no such module

_ORDERS_AT_ONCE = 20
_CALLS_AT_ONCE = 20
_IMAGES_AT_ONCE = 20
_WIDE_READ = 262_144
"""Bytes: as much as asyncio takes from a socket at once."""
_NEXT_ADDRESS = 0.25
"""Seconds after which the next address of a host is tried beside the first (RFC 8305)."""


class HttpClients(Record):
    """
    Four clients, none of which follows a redirect or keeps a cookie.

    `orders` opens a fresh connection each time: a kept one that the service has just closed would look like an
    order whose answer was lost. `calls` keeps its connections. The others never carry a key: `images` connects to no
    address of a private network, `named_images` is for hosts that the operator has named, wherever they are.
    `tells_events` says that they tell when a connection is open.
    """

    orders: httpx.AsyncClient
    calls: httpx.AsyncClient
    images: httpx.AsyncClient
    named_images: httpx.AsyncClient
    tells_events: bool

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (self.orders, self.calls, self.images, self.named_images):
            await client.aclose()


def open_network(proxies: ProxyCache, resolve: Resolver) -> HttpClients:
    """
    Open connections to the network. This reads certificates from the disk: call it in a thread.

    `resolve` looks up the names of image hosts.
    """
    silence_loggers()
    trust = make_trust()
    fresh = httpx.Limits(max_connections=_ORDERS_AT_ONCE, max_keepalive_connections=0)
    kept = httpx.Limits(max_connections=_CALLS_AT_ONCE, max_keepalive_connections=4)
    images = httpx.Limits(max_connections=_IMAGES_AT_ONCE, max_keepalive_connections=4)
    return HttpClients(
        orders=_make_client(_ProxyTransport(trust, fresh, proxies)),
        calls=_make_client(_ProxyTransport(trust, kept, proxies)),
        images=_make_client(_ProxyTransport(trust, images, proxies, PublicNetwork(resolve, LargeReadNetwork()))),
        named_images=_make_client(_ProxyTransport(trust, images, proxies, LargeReadNetwork())),
        tells_events=True,
    )


def open_in_process(app: Any) -> HttpClients:  # noqa: ANN401 - any ASGI application
    """Open connections to an application inside this process."""
    return open_through(httpx.ASGITransport(app=app, raise_app_exceptions=False))


def open_through(transport: httpx.AsyncBaseTransport) -> HttpClients:
    """Send everything through one given transport."""
    silence_loggers()
    return HttpClients(*(_make_client(transport) for _ in range(4)), tells_events=False)


def silence_loggers() -> None:
    """Keep httpx from logging addresses: those of images carry signatures."""
    for name in ("httpx", "httpcore"):
        logger = logging.getLogger(name)
        logger.setLevel(max(logging.WARNING, logger.level))


def make_trust(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> ssl.SSLContext:
    """
    Trust whom the operating system trusts, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.

    On Linux and its like OpenSSL reads the system's certificates itself, once; truststore would read them again
    for each connection, so it only helps where OpenSSL's own paths are empty. Elsewhere the file is added to them.

    Raises:
        SettingsError: what is named does not exist or holds no certificates.
    """
    named = read_certificate_variables(environ)
    problem = find_certificate_problem(named)
    if problem is not None:
        raise SettingsError(f"{problem.name} {problem.statement}.", problem.advice)
    if platform in ("win32", "darwin"):
        trust: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _add_certificates(trust, named.file, None)
        return trust
    usual = ssl.get_default_verify_paths()
    if named.file is None and named.folders is None:
        return _trust_system(usual, _find_change(usual.cafile))
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _add_certificates(trust, named.file, named.folders or usual.openssl_capath)
    if named.file is None and Path(usual.openssl_cafile).is_file():
        trust.load_verify_locations(cafile=usual.openssl_cafile)
    return trust


@lru_cache(maxsize=1)
def _trust_system(*_read_from: object) -> ssl.SSLContext:
    """Trust whom OpenSSL trusts by itself. As that takes a while, only another or a changed file is read anew."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.set_default_verify_paths()
    if not trust.cert_store_stats()["x509_ca"]:
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return trust


def _find_change(file: str | None) -> int | None:
    """Give when a file was changed last, in nanoseconds since 1970; None where there is none."""
    try:
        return Path(file).stat().st_mtime_ns if file else None
    except OSError:
        return None


def _add_certificates(trust: ssl.SSLContext, file: str | None, folders: str | None) -> None:
    try:
        if file is not None:
            trust.load_verify_locations(cafile=file)
        if folders is not None:
            trust.load_verify_locations(capath=folders)
    except (ssl.SSLError, OSError) as error:
        raise SettingsError(
            f"{CERT_FILE} names {file}, which holds no certificates.", "Correct or remove it."
        ) from error


def _make_client(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        # Packed answers are read, but never asked for: what they stand for may be far larger than what came.
        headers={"User-Agent": f"wan-mcp/{__version__}", "Accept-Encoding": "identity"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
    )


def _open_usual_network() -> httpcore.AsyncNetworkBackend:
    # Its class is one of two, of which the other is for an installation without anyio.
    return cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())


class PublicNetwork(httpcore.AsyncNetworkBackend):
    """
    Connects to hosts on the public internet and refuses any other.

    A name is looked up once, and the connection goes to one of the very addresses that were checked: a name service
    that answers otherwise the next time changes nothing.
    """

    def __init__(self, resolve: Resolver, network: httpcore.AsyncNetworkBackend | None = None) -> None:
        self._resolve = resolve
        self._network = network or _open_usual_network()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the HTTP library
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """
        Connect to the first address that answers; each is given a head start over the next.

        Raises:
            HostNotAllowedError: an address of the host is not public.
            DownloadError: the name cannot be resolved.
            httpcore.ConnectError: no address can be connected to.
        """
        addresses = await find_public_addresses(host, port, resolve=self._resolve)
        opened: list[httpcore.AsyncNetworkStream] = []
        failures: list[Exception] = []

        async def connect(address: str, failed: anyio.Event, scope: anyio.CancelScope) -> None:
            try:
                stream = await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
                failures.append(failure)
                failed.set()
                return
            if opened:
                with anyio.CancelScope(shield=True):
                    await stream.aclose()
                return
            opened.append(stream)
            scope.cancel()

        async with anyio.create_task_group() as group:
            for address in addresses:
                failed = anyio.Event()
                group.start_soon(connect, address, failed, group.cancel_scope)
                with anyio.move_on_after(_NEXT_ADDRESS):
                    await failed.wait()
        if opened:
            return opened[0]
        raise failures[0]

    async def sleep(self, seconds: float) -> None:
        """Wait, as the HTTP library does between attempts."""
        await self._network.sleep(seconds)


class LargeReadNetwork(httpcore.AsyncNetworkBackend):
    """
    Connects to any host, and reads what came in pieces as large as the event loop has them.

    The HTTP library asks for 64 KiB at a time. Of an image of 20 MB that makes three hundred turns of everything that
    a piece goes through, and each of them costs more than the bytes.
    """

    def __init__(self) -> None:
        self._network = _open_usual_network()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the interface of the HTTP library
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """
        Connect to a host.

        Raises:
            httpcore.ConnectError: it cannot be connected to.
            httpcore.ConnectTimeout: it took too long.
        """
        return _WideStream(await self._network.connect_tcp(host, port, timeout, local_address, socket_options))

    async def sleep(self, seconds: float) -> None:
        """Wait, as the HTTP library does between attempts."""
        await self._network.sleep(seconds)


class _WideStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as above
        return await self._stream.read(max(max_bytes, _WIDE_READ), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as above
    ) -> httpcore.AsyncNetworkStream:
        return _WideStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - the interface of the HTTP library
        return self._stream.get_extra_info(info)


class _DirectTransport(httpx.AsyncHTTPTransport):
    """Connects directly, through a network of our own choice."""

    def __init__(self, trust: ssl.SSLContext, limits: httpx.Limits, network: httpcore.AsyncNetworkBackend) -> None:
        super().__init__(verify=trust, limits=limits)
        # httpx passes everything on to its pool but the network, which its own constructor does not take.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=network,
        )


class _ProxyTransport(httpx.AsyncBaseTransport):
    """
    Connects directly, or through the proxy that the environment names for the address.

    `network` is what direct connections go through; what is behind a proxy is the proxy's affair.
    """

    def __init__(
        self,
        trust: ssl.SSLContext,
        limits: httpx.Limits,
        proxies: ProxyCache,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self._trust = trust
        self._limits = limits
        self._proxies = proxies
        self._network = network
        # The direct transport is opened here, in a thread, because it loads the rest of the HTTP library.
        self._transports: dict[str | None, httpx.AsyncHTTPTransport] = {None: self._open(None)}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        proxy = await self._proxies.find(url.scheme, url.raw_host.decode("ascii"), port_of(url))
        if proxy not in self._transports:
            self._transports[proxy] = self._open(proxy)
        return await self._transports[proxy].handle_async_request(request)

    async def aclose(self) -> None:
        for transport in self._transports.values():
            await transport.aclose()

    def _open(self, proxy: str | None) -> httpx.AsyncHTTPTransport:
        if proxy is None and self._network is not None:
            return _DirectTransport(self._trust, self._limits, self._network)
        if proxy is None:
            return httpx.AsyncHTTPTransport(verify=self._trust, limits=self._limits)
        try:
            trust = self._trust if proxy.lower().startswith("https:") else None
            return httpx.AsyncHTTPTransport(
                verify=self._trust, limits=self._limits, proxy=httpx.Proxy(proxy, ssl_context=trust)
            )
        except (httpx.InvalidURL, ValueError, ImportError):
            # The address of a proxy may hold a password: neither it nor its cause is shown.
            pass
        raise SettingsError(
            "The proxy that the environment names cannot be used.",
            "Set HTTPS_PROXY or ALL_PROXY to an address such as http://host:3128 or socks5://host:1080.",
        )


def port_of(url: httpx.URL) -> int:
    """Give the port of an address, also where it is the usual one."""
    return url.port or USUAL_PORTS.get(url.scheme, 80)
