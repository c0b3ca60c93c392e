"""Which hosts an image may come from."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wan_mcp.dashscope.errors import clean
from wan_mcp.dashscope.network import USUAL_PORTS
from wan_mcp.dashscope.requests import SANDBOX_HOST
from wan_mcp_tools.domain.errors import HostNotAllowedError, SettingsError

if TYPE_CHECKING:
    import httpx

# The service promises no fixed list of hosts; all that have been seen look like this.
_SERVICE = re.compile(r"dashscope-[a-z0-9-]+\.oss-[a-z0-9-]+\.aliyuncs\.com")

ConfiguredHosts = frozenset[tuple[str, int | None]]
"""The hosts that the operator named, each with its port; None means any."""


class HostKind(Enum):
    """Whose image host it is, and with how much suspicion it is met."""

    SERVICE = auto()
    """One of the service's: over https only, and never at an address of a private network."""
    CONFIGURED = auto()
    """One that the operator named: as it is, wherever it is."""
    IN_PROCESS = auto()
    """The sandbox inside this process."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An address that may be fetched from."""

    url: "httpx.URL"
    host_kind: HostKind


def parse_hosts(entries: Sequence[str]) -> ConfiguredHosts:
    """
    Read the hosts that the operator named: `host`, which means any port of it, or `host:port`.

    Raises:
        SettingsError: an entry is no host.
    """
    return frozenset(_parse_entry(entry) for entry in entries if entry.strip())


def check_image_url(url: "httpx.URL", configured: ConfiguredHosts, *, in_process: bool) -> ImageSource:
    """
    Check an address before anything is sent there; plain http to the service's hosts becomes https.

    `in_process` says that the sandbox inside this process may be meant.

    Raises:
        HostNotAllowedError: the address is outside the allowed hosts.
    """
    host = url.raw_host.decode("ascii", "replace").lower()
    if url.scheme not in USUAL_PORTS or not host or url.userinfo:
        raise HostNotAllowedError(
            "The image address is not a plain https address.", "Use the address as the service gave it."
        )
    if in_process and host == SANDBOX_HOST:
        return ImageSource(url, HostKind.IN_PROCESS)
    port = url.port or USUAL_PORTS[url.scheme]
    if (host, port) in configured or (host, None) in configured:
        return ImageSource(url, HostKind.CONFIGURED)
    if _SERVICE.fullmatch(host) and url.port is None:
        return ImageSource(url.copy_with(scheme="https"), HostKind.SERVICE)
    shown = clean(f"[{host}]" if ":" in host else host) + (f":{url.port}" if url.port else "")
    raise HostNotAllowedError(
        f'"{shown}" is not a host that images may come from.',
        "Only if this host is known and trusted: let the operator add it to WAN_MCP_IMAGE_HOSTS.",
    )


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
