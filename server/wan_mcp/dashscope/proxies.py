"""Which proxy the environment names for an address."""

from collections.abc import Callable
from ipaddress import ip_address

import anyio.to_thread

ProxyFinder = Callable[[str, str, int], str | None]
"""Takes scheme, host and port; gives the address of a proxy, or None for a direct connection. May block."""


def find_proxy(scheme: str, host: str, port: int) -> str | None:
    """
    Find the proxy of the environment (`HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`, …) or of the operating system.

    This machine itself is never reached through one.
    """
    import urllib.request  # noqa: PLC0415 - heavy, and needed only by the first call

    if _is_loopback(host):
        return None
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(f"{host}:{port}" if ":" not in host else host):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


class Proxies:
    """Remembers the proxy of each address, because the operating system may answer slowly."""

    def __init__(self, find: ProxyFinder = find_proxy) -> None:
        self._find = find
        self._known: dict[tuple[str, str, int], str | None] = {}

    async def find(self, scheme: str, host: str, port: int) -> str | None:
        """Give the address of the proxy, or None for a direct connection."""
        key = (scheme, host, port)
        if key not in self._known:
            self._known[key] = await anyio.to_thread.run_sync(self._find, *key)
        return self._known[key]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
