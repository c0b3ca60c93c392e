"""Whether a host's addresses are on the public internet: a name must not lead into a private network."""

import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

import anyio

from wan_mcp_tools.domain.errors import DownloadError, HostNotAllowedError

if TYPE_CHECKING:
    from wan_mcp.dashscope.proxies import Proxies

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Takes a host and a port; gives its addresses. Raises OSError if the name is not known."""

# Local proxies that answer every name with a made-up address take it from these ranges and resolve the name
# themselves. The second is only believed beside the first, because real private networks use it too.
_MADE_UP = ip_network("198.18.0.0/15")
_MADE_UP_BESIDE = ip_network("fc00::/18")
_TRANSLATED = ip_network("64:ff9b::/96")
_LONGEST_LOOKUP = 10.0


async def look_up(host: str, port: int) -> list[str]:
    """Ask the system's name service."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(socket_address[0]) for _, _, _, _, socket_address in found]


class AddressCheck:
    """Refuses hosts that lead to addresses which are not public."""

    def __init__(self, resolve: Resolver, proxies: "Proxies") -> None:
        self._resolve = resolve
        self._proxies = proxies

    async def check(self, scheme: str, host: str, port: int) -> None:
        """
        Check a host before connecting to it. Behind a proxy there is nothing to check: it resolves the name.

        Raises:
            HostNotAllowedError: one of the addresses is not public.
            DownloadError: the name cannot be resolved.
        """
        if await self._proxies.find(scheme, host, port) is not None:
            return
        found: Sequence[str] = ()
        with anyio.move_on_after(_LONGEST_LOOKUP):
            try:
                found = await self._resolve(host, port)
            except OSError:
                found = ()
        if not found:
            raise DownloadError(f"The name of the image host {host} cannot be resolved.", "Check the network.")
        if not are_public(found):
            raise HostNotAllowedError(
                f"The image host {host} leads to an address that is not on the public internet.",
                f"Only if that is known and intended: add {host} to WAN_MCP_IMAGE_HOSTS.",
            )


def are_public(addresses: Sequence[str]) -> bool:
    """Tell whether every address is public, or made up by a local proxy."""
    parsed = [_parse(address) for address in addresses]
    made_up = any(address in _MADE_UP for address in parsed)
    return all(
        _is_public(address) or address in _MADE_UP or (made_up and address in _MADE_UP_BESIDE) for address in parsed
    )


def _parse(text: str) -> IPv4Address | IPv6Address:
    """Read an address; one that only wraps an IPv4 address counts as that."""
    address = ip_address(text.split("%", maxsplit=1)[0])
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved
