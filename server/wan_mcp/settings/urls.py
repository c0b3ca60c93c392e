"""Base URLs: what may stand in for a region's own address."""

from urllib.parse import urlsplit

from wan_mcp_tools.catalogue.regions import REGIONS, Region

_PATH = "/api/v1"
_FORM = "Use https://HOST/api/v1, or http only for this machine (localhost, 127.0.0.1, [::1])."


def check_base_url(text: str) -> tuple[str | None, str]:
    """Give the URL without a slash at its end; or None, and what is wrong with it and what is allowed."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None, f"is no URL. {_FORM}"
    if parts.username is not None or parts.password is not None:
        return None, f"holds a user name or a password. {_FORM}"
    if parts.scheme not in ("https", "http") or not host or port == 0:
        return None, f"is {text!r}, which is no web address. {_FORM}"
    if parts.scheme == "http" and not is_loopback(host):
        return None, f"is {text!r}: over plain http the key could be read on its way. {_FORM}"
    if parts.query or parts.fragment or not parts.path.rstrip("/").endswith(_PATH):
        return None, f"is {text!r}, which does not end in {_PATH}. {_FORM}"
    return text.rstrip("/"), ""


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is this machine's own and nothing else's."""
    from ipaddress import ip_address  # noqa: PLC0415 - most starts need no address arithmetic

    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def region_of_host(url: str) -> Region | None:
    """Find the region that a service address belongs to; None for anybody else's address."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    for region in REGIONS:
        if region.workspace_host is None:
            continue
        if host == region.shared_host or host.endswith(region.workspace_host.removeprefix("{workspace}")):
            return region
    return None
