"""The HTTP clients. This module is imported late, because httpx costs start-up time and no tool list needs it."""

import logging
import os
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any

import httpx
import truststore

from wan_mcp import __version__
from wan_mcp.dashscope.network import USUAL_PORTS, ProxyCache
from wan_mcp.settings.certificates import CERT_FILE, find_certificate_problem, read_certificate_variables
from wan_mcp_tools.domain.errors import SettingsError

_ORDERS_AT_ONCE = 20
_CALLS_AT_ONCE = 20
_IMAGES_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class HttpClients:
    """
    Three clients, none of which follows a redirect or keeps a cookie.

    `orders` opens a fresh connection each time: a kept one that the service has just closed would look like an
    order whose answer was lost. `calls` keeps its connections. `images` never carries a key.
    """

    orders: httpx.AsyncClient
    calls: httpx.AsyncClient
    images: httpx.AsyncClient

    async def aclose(self) -> None:
        """Close every connection."""
        for client in (self.orders, self.calls, self.images):
            await client.aclose()


def open_network(proxies: ProxyCache) -> HttpClients:
    """Open connections to the network. This reads certificates from the disk: call it in a thread."""
    silence_loggers()
    trust = make_trust()
    fresh = httpx.Limits(max_connections=_ORDERS_AT_ONCE, max_keepalive_connections=0)
    kept = httpx.Limits(max_connections=_CALLS_AT_ONCE, max_keepalive_connections=4)
    images = httpx.Limits(max_connections=_IMAGES_AT_ONCE, max_keepalive_connections=4)
    return HttpClients(*(_make_client(_ProxyTransport(trust, limits, proxies)) for limits in (fresh, kept, images)))


def open_in_process(app: Any) -> HttpClients:  # noqa: ANN401 - any ASGI application
    """Open connections to an application inside this process."""
    return open_through(httpx.ASGITransport(app=app, raise_app_exceptions=False))


def open_through(transport: httpx.AsyncBaseTransport) -> HttpClients:
    """Send everything through one given transport."""
    silence_loggers()
    return HttpClients(*(_make_client(transport) for _ in range(3)))


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
        raise SettingsError(f"{problem.name} {problem.trouble}.", problem.remedy)
    if platform in ("win32", "darwin"):
        trust: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        _add_certificates(trust, named.file, None)
        return trust
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if named.file is None and named.folders is None:
        trust.set_default_verify_paths()
        if not trust.cert_store_stats()["x509_ca"]:
            return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return trust
    usual = ssl.get_default_verify_paths()
    _add_certificates(trust, named.file, named.folders or usual.openssl_capath)
    if named.file is None and Path(usual.openssl_cafile).is_file():
        trust.load_verify_locations(cafile=usual.openssl_cafile)
    return trust


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
        headers={"User-Agent": f"wan-mcp/{__version__}"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
    )


class _ProxyTransport(httpx.AsyncBaseTransport):
    """Connects directly, or through the proxy that the environment names for the address."""

    def __init__(self, trust: ssl.SSLContext, limits: httpx.Limits, proxies: ProxyCache) -> None:
        self._trust = trust
        self._limits = limits
        self._proxies = proxies
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
