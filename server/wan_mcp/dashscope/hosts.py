"""Which hosts an image may come from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wan_mcp.dashscope.endpoints import SANDBOX_HOST
from wan_mcp.dashscope.quotes import clean
from wan_mcp_tools.domain.errors import HostNotAllowedError, SettingsError

if TYPE_CHECKING:
    import httpx

# The service promises no fixed list of hosts; all that have been seen look like this.
_SERVICE = re.compile(r"dashscope-[a-z0-9-]+\.oss-[a-z0-9-]+\.aliyuncs\.com")
_USUAL_PORTS = {"https": 443, "http": 80}


class Route(Enum):
    """How an image host is reached, and with how much suspicion."""

    SERVICE = auto()
    """One of the service's: over https only, and never at an address of a private network."""
    CONFIGURED = auto()
    """One that the operator named: as it is, wherever it is."""
    INSIDE = auto()
    """The sandbox inside this process."""


@dataclass(frozen=True, slots=True)
class Source:
    """An address that may be fetched from."""

    url: "httpx.URL"
    route: Route


class ImageHosts:
    """
    The allowed hosts: the service's by their pattern, and those that the operator named.

    An entry is `host`, which means the usual port, or `host:port`.

    Raises:
        SettingsError: an entry is no host.
    """

    def __init__(self, configured: Sequence[str] = ()) -> None:
        self._configured = frozenset(_parse_entry(entry) for entry in configured if entry.strip())

    def admit(self, url: "httpx.URL", *, in_process: bool) -> Source:
        """
        Check an address before anything is sent there; plain http to the service's hosts becomes https.

        Raises:
            HostNotAllowedError: the address is outside the allowed hosts.
        """
        host = url.raw_host.decode("ascii", "replace").lower()
        if url.scheme not in _USUAL_PORTS or not host or url.userinfo:
            raise HostNotAllowedError(
                "The image address is not a plain https address.", "Use the address as the service gave it."
            )
        if in_process and host == SANDBOX_HOST:
            return Source(url, Route.INSIDE)
        if self._is_configured(url, host):
            return Source(url, Route.CONFIGURED)
        if _SERVICE.fullmatch(host) and url.port is None:
            return Source(url.copy_with(scheme="https"), Route.SERVICE)
        shown = clean(f"[{host}]" if ":" in host else host) + (f":{url.port}" if url.port else "")
        raise HostNotAllowedError(
            f'"{shown}" is not a host that images may come from.',
            "Only if this host is known and trusted: let the operator add it to WAN_MCP_IMAGE_HOSTS.",
        )

    def _is_configured(self, url: "httpx.URL", host: str) -> bool:
        port = url.port or _USUAL_PORTS[url.scheme]
        return (host, port) in self._configured or (host, None) in self._configured


def _parse_entry(entry: str) -> tuple[str, int | None]:
    text = entry.strip()
    if text.count(":") > 1 and not text.startswith("["):
        text = f"[{text}]"
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = (parts.hostname or "").encode("idna").decode("ascii"), parts.port
    except ValueError:
        host, port = "", None
    if not host:
        raise SettingsError(f"{clean(entry)!r} in WAN_MCP_IMAGE_HOSTS is not a host.", "Write host, or host:port.")
    return host, port
