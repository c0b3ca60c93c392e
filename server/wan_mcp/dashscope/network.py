"""
What this machine says of a host before it is reached: which proxy leads there, and at which addresses it is.

Nothing here loads the HTTP library.
"""

import os
import socket
import sys
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from wan_mcp.settings.network_variables import find_proxy_variable, is_left_out, names_any_proxy, read_proxy_variable
from wan_mcp_tools.domain.errors import DownloadError, HostNotAllowedError, SettingsError

ProxyFinder = Callable[[str, str, int], str | None]
"""Takes scheme, host and port; gives the address of a proxy, or None for a direct connection. May block."""

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Takes a host and a port; gives its addresses. Raises OSError if the name is not known."""

_LONGEST_LOOKUP = 10.0
# Local proxies that answer every name with a made-up address take it from these ranges and resolve the name
# themselves. The second is only believed beside the first, because real private networks use it too.
_MADE_UP = ip_network("198.18.0.0/15")
_MADE_UP_BESIDE = ip_network("fc00::/18")
_TRANSLATED = ip_network("64:ff9b::/96")


def find_proxy(scheme: str, host: str, port: int) -> str | None:
    """
    Find the proxy of the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, …) or of the operating system.

    This machine itself is never reached through one.

    Raises:
        SettingsError: the proxy that the environment names cannot be used; the message says which variable, and why.
    """
    if _is_this_machine(host) or is_left_out(os.environ, host, port):
        return None
    variable = find_proxy_variable(os.environ, scheme)
    if variable is None:
        return None if names_any_proxy(os.environ) else _find_system_proxy(scheme, host)
    if variable.problem is not None:
        # The value may hold a password: it is not repeated.
        raise SettingsError(f"{variable.name} {variable.problem.statement}.", variable.problem.advice)
    return variable.address


def _find_system_proxy(scheme: str, host: str) -> str | None:
    """Ask the operating system, which on Linux and its like knows of none."""
    if sys.platform not in ("win32", "darwin"):
        return None
    import urllib.request  # noqa: PLC0415 - heavy, and needed only by the first call

    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(host):
        return None
    return read_proxy_variable("the proxy settings of this system", proxy).address


class ProxyCache:
    """Remembers the proxy of each address, because the operating system may answer slowly."""

    def __init__(self, find: ProxyFinder = find_proxy) -> None:
        self._find = find
        self._known: dict[tuple[str, str, int], str | None] = {}

    async def find(self, scheme: str, host: str, port: int) -> str | None:
        """
        Give the address of the proxy, or None for a direct connection.

        Raises:
            SettingsError: what is set as proxy cannot be one.
        """
        key = (scheme, host, port)
        if key not in self._known:
            self._known[key] = await anyio.to_thread.run_sync(self._find, *key)
        return self._known[key]


async def resolve_name(host: str, port: int) -> list[str]:
    """
    Ask the system's name service.

    Raises:
        OSError: the name is not known, or nobody answers.
    """
    return _list_addresses(await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM))


def resolve_name_blocking(host: str, port: int) -> list[str]:
    """
    Ask the system's name service, and wait as long as that takes.

    Raises:
        OSError: the name is not known, or nobody answers.
    """
    return _list_addresses(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


async def find_public_addresses(host: str, port: int, *, resolve: Resolver) -> Sequence[str]:
    """
    Find the addresses of a host, none of which leads into a private network.

    Whoever connects must connect to one of these, and not look the name up once more: it may mean another address
    by then.

    Raises:
        HostNotAllowedError: one of the addresses is not public.
        DownloadError: the name cannot be resolved.
        SettingsError: what is set as proxy cannot be one.
    """
    found: Sequence[str] = ()
    with anyio.move_on_after(_LONGEST_LOOKUP):
        try:
            found = await resolve(host, port)
        except (OSError, UnicodeError):
            found = ()
    if not found:
        raise DownloadError(f"The name of the image host {host} cannot be resolved.", "Check the network.")
    if not are_public(found):
        raise HostNotAllowedError(
            f"The image host {host} leads to an address that is not on the public internet.",
            f"Only if that is known and intended: add {host} to WAN_MCP_IMAGE_HOSTS.",
        )
    # Each address once, in the order of the system, which knows what it can reach best.
    return list(dict.fromkeys(found))


def are_public(addresses: Sequence[str]) -> bool:
    """Tell whether every address is public, or made up by a local proxy."""
    parsed = [_parse_address(address) for address in addresses]
    made_up = any(address in _MADE_UP for address in parsed)
    return all(
        _is_public(address) or address in _MADE_UP or (made_up and address in _MADE_UP_BESIDE) for address in parsed
    )


def hide_password(proxy: str) -> str:
    """Give the address of a proxy without the user name and the password that it may hold."""
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "that is set"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _list_addresses(found: Sequence[tuple[object, object, object, object, Sequence[object]]]) -> list[str]:
    return [str(socket_address[0]) for *_, socket_address in found]


def _parse_address(text: str) -> IPv4Address | IPv6Address:
    """Read an address; one that only wraps an IPv4 address counts as that."""
    address = ip_address(text.split("%", maxsplit=1)[0])
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
