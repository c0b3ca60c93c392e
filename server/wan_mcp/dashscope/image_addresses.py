"""The addresses of images: how they are spelled, when they end, and which hosts they may lead to."""

import binascii
import re
from base64 import b64decode
from collections.abc import Sequence
from enum import Enum, auto
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes, urlsplit

from wan_mcp.dashscope.errors import redact_quote
from wan_mcp.dashscope.network import are_public
from wan_mcp.dashscope.payload import is_image_data
from wan_mcp.dashscope.requests import SANDBOX_HOST
from wan_mcp.settings.network_variables import USUAL_PORTS
from wan_mcp_tools.domain.errors import (
    HostNotAllowedError,
    NotAnImageError,
    RequestRefusedError,
    SettingsError,
    TooLargeError,
)
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    import httpx

LONGEST_ADDRESS = 8192
"""Characters. Those of the service have some four hundred."""

# The service promises no fixed list of hosts; all that have been seen look like this.
_SERVICE = re.compile(r"dashscope-[a-z0-9-]+\.oss-[a-z0-9-]+\.aliyuncs\.com")
_CITIES = (
    ("bj", "beijing"),
    ("hz", "hangzhou"),
    ("sh", "shanghai"),
    ("wlcb", "wulanchabu"),
    ("wlcb-acdr-1", "wulanchabu-acdr-1"),
    ("zjk", "zhangjiakou"),
    ("sz", "shenzhen"),
    ("hy", "heyuan"),
    ("cd", "chengdu"),
    ("gz", "guangzhou"),
)
KNOWN_HOSTS = frozenset(
    {f"dashscope-result-{short}.oss-cn-{city}.aliyuncs.com" for short, city in _CITIES}
    | {f"dashscope-{bucket}.oss-accelerate.aliyuncs.com" for bucket in ("a717", "7c2c", "463f", "result-sh")}
    | {f"dashscope-result.oss-cn-{city}.aliyuncs.com" for city in ("beijing", "shanghai")}
    | {"dashscope-result-sgp.oss-ap-southeast-1.aliyuncs.com"}
)
"""
The hosts that the service's documents name, and those that its answers have been seen to name.

Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference
"""

_LONGEST_RIDDLE = 1000
"""Characters of what can be no address."""
_DATA = re.compile(r"data:(?P<kind>[^,]{0,200}),", re.IGNORECASE)
_AROUND = " \t\r\n\f\v\0\xa0\u200b\ufeff\ufffd\"'<>`"
"""What may stand around an address and is no part of it."""
_LONGEST_SHOWN = 100
_NUMBERS = re.compile(r"(?:(?:0x[0-9a-f]*|[0-9]+)(?:\.|$))+", re.IGNORECASE)
_PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".lan", ".home.arpa", ".intranet", ".corp", ".home", ".test")
"""Of names that mean something in a private network only. Sources: RFC 6761, RFC 6762, RFC 8375."""
_INSIDE = re.compile(r"[\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060\ufeff\ufffd]+")
_SCHEME = re.compile(r"(https?):[\\/]*", re.IGNORECASE)
_ESCAPED_SLASHES = re.compile(r"(?:https?:)?\\/\\/", re.IGNORECASE)
_ESCAPED_SIGN = re.compile(r"\\u00([2-7][0-9a-f])", re.IGNORECASE)
_TWO_SLASHES = re.compile(r"[\\/]{2,}")
_BARE_HOST = re.compile(r"(?:[a-z0-9-]+\.)+[a-z]{2,}(?::[0-9]{1,5})?/", re.IGNORECASE)
_DOT_AFTER_HOST = re.compile(r"(https?://[^/?#:@]*[^/?#:@.])\.(?=[:/?#]|$)")
_END = re.compile(r"[?&]Expires=([0-9]{1,15})(?=&|$)")
_SIGNATURE = re.compile(
    r"[?&](?:x-oss-signature|x-amz-signature|x-goog-signature|signature|sig)=[^&#]", re.IGNORECASE
)

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


class ImageSource(Record):
    """An address that may be fetched from."""

    url: "httpx.URL"
    host_kind: HostKind


# How addresses are spelled.


def read_address(text: str) -> str | None:
    """
    Bring an address into its usual spelling, leaving what its signature covers byte for byte.

    An image in the place of its address becomes a `data:` address. What can be no address comes back as visible
    characters, for a person to look at; None for what is longer than any address.
    """
    text = text.strip(_AROUND)
    if is_image_data(text):
        return f"data:{text[5:]}" if _DATA.match(text) else f"data:;base64,{text}"
    text = _INSIDE.sub("", text).strip(_AROUND)
    if len(text) > LONGEST_ADDRESS:
        return None
    if _ESCAPED_SLASHES.match(text):
        text = text.replace("\\/", "/")
    text = _ESCAPED_SIGN.sub(lambda found: chr(int(found[1], 16)), text)
    place, mark, query = text.partition("?")
    place = place.replace("\\", "/")
    if scheme := _SCHEME.match(place):
        place = f"{scheme[1].lower()}://{place[scheme.end() :].lstrip('/')}"
    elif slashes := _TWO_SLASHES.match(place):
        place = f"https://{place[slashes.end() :]}"
    elif _BARE_HOST.match(place):
        place = f"https://{place}"
    address = _DOT_AFTER_HOST.sub(r"\1", place) + mark + query.replace("&amp;", "&")
    address = "".join(sign if "!" <= sign <= "~" else quote(sign) for sign in address)
    return address if is_readable(address) else address[:_LONGEST_RIDDLE]


def is_readable(address: str) -> bool:
    """Tell whether something can be made of an address: it is one of the web, or an image itself."""
    return address.startswith(("https://", "http://")) or _DATA.match(address) is not None


def read_link_end(address: str) -> float | None:
    """Read from a signed address when it ends, in seconds since 1970; None if it does not tell."""
    found = _END.search(address) if len(address) <= LONGEST_ADDRESS else None
    return float(found[1]) if found else None


def decode_image(address: str, most_bytes: int) -> bytes:
    """
    Give the image that stands in a `data:` address.

    Raises:
        TooLargeError: it has more than `most_bytes`.
        NotAnImageError: it cannot be decoded.
    """
    found = _DATA.match(address)
    if found is None:
        raise NotAnImageError("The service gave something else in the place of the image.", "Ask for the task again.")
    content = unquote_to_bytes(address[found.end() :])
    if found["kind"].lower().replace(" ", "").endswith(";base64"):
        # Without blanks, in either alphabet, with or without its end.
        content = content.translate(bytes.maketrans(b"-_", b"+/"), b" \t\r\n\f\v=")
        try:
            content = b64decode(content + b"=" * (-len(content) % 4))
        except binascii.Error as error:
            raise NotAnImageError(
                "The image in the service's answer is no base64.", "Ask for the task again."
            ) from error
    if len(content) > most_bytes:
        raise make_too_large_error(most_bytes)
    return content


def make_too_large_error(most_bytes: int) -> TooLargeError:
    """Give the error for an image with more bytes than are accepted."""
    return TooLargeError(
        f"The image has more than {most_bytes} bytes, the most that is accepted.",
        "Raise WAN_MCP_MAX_IMAGE_BYTES and fetch it again.",
    )


# Where they may lead.


def parse_hosts(entries: Sequence[str]) -> ConfiguredHosts:
    """
    Read the hosts that the operator named: `host`, which means any port of it, or `host:port`.

    Raises:
        SettingsError: an entry is no host.
    """
    return frozenset(_parse_entry(entry) for entry in entries if entry.strip())


def check_signature(address: str) -> None:
    """
    Check that an address which a caller brings is signed, as every link to a result is.

    Raises:
        HostNotAllowedError: it is not.
    """
    if not _SIGNATURE.search(address):
        raise HostNotAllowedError(
            "The address has no signature in it, so it is not a link to a result of the service.",
            "Use the whole link as the service gave it, or name the task and the index of the image instead.",
        )


def check_input_url(address: str) -> None:
    """
    Check the address of a picture that a caller wants the service to fetch; nothing is fetched, or looked up, here.

    Raises:
        RequestRefusedError: it is no plain address of the public web.
    """
    host, fault = "", ""
    try:
        parts = urlsplit(address)
        host, _ = (parts.hostname or "").rstrip("."), parts.port
        if "@" in parts.netloc:
            fault = "has a user name or a password in it"
    except ValueError:
        fault = "cannot be read"
    if len(address) > LONGEST_ADDRESS:
        fault = fault or "is longer than any address"
    elif not all("!" <= sign <= "~" for sign in address) or not host:
        fault = fault or "is no address as it must be written"
    elif _is_private_host(host):
        fault = fault or "leads to this machine or into a private network, where the service cannot fetch it"
    elif not address.lower().startswith("https://"):
        # On its way to the service anybody could change the picture.
        fault = fault or "does not begin with https://"
    if fault:
        # No more of it is repeated: the rest may hold a password or a signature.
        named = f"The address of a picture at {host[:_LONGEST_SHOWN]!r}" if host else "The address of a picture"
        raise RequestRefusedError(
            f"{named} {fault}.", "Give a public https address, or the path of the picture's file."
        )


def _is_private_host(host: str) -> bool:
    """Tell whether a host is no public one by its name alone."""
    if ":" in host or _NUMBERS.fullmatch(host):
        try:
            return not are_public([host])
        except ValueError:
            # One of the odd spellings of a number, which nobody means well.
            return True
    name = host.lower()
    return "." not in name or name.endswith(_PRIVATE_ENDINGS)


def check_image_url(
    url: "httpx.URL", configured: ConfiguredHosts, *, in_process: bool, is_callers: bool = False
) -> ImageSource:
    """
    Check an address before anything is sent there; plain http to the service's hosts becomes https.

    `in_process` says that the sandbox inside this process may be meant. An address of the service's own answer may
    lead to any host that looks like its own; one that a caller brings (`is_callers`) only to those that are known.

    Raises:
        HostNotAllowedError: the address is outside the allowed hosts.
    """
    host = url.raw_host.decode("ascii", "replace").lower().rstrip(".")
    if url.scheme not in USUAL_PORTS or not host or url.userinfo:
        raise HostNotAllowedError(
            "The image address is not a plain https address.", "Use the address as the service gave it."
        )
    if in_process and host in (SANDBOX_HOST, f"upload.{SANDBOX_HOST}"):
        return ImageSource(url, HostKind.IN_PROCESS)
    port = url.port or USUAL_PORTS[url.scheme]
    if (host, port) in configured or (host, None) in configured:
        return ImageSource(url, HostKind.CONFIGURED)
    is_known = host in KNOWN_HOSTS or (not is_callers and _SERVICE.fullmatch(host))
    if is_known and url.port is None:
        return ImageSource(url.copy_with(scheme="https"), HostKind.SERVICE)
    shown = redact_quote(f"[{host}]" if ":" in host else host) + (f":{url.port}" if url.port else "")
    if is_callers and _SERVICE.fullmatch(host):
        raise HostNotAllowedError(
            f'"{shown}" is none of the hosts whose results are known; anybody may have such a name.',
            "If it is the image of a task, name the task and the index of the image instead. Otherwise let the"
            " operator add the host to WAN_MCP_IMAGE_HOSTS, if it is known and trusted.",
        )
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
        raise SettingsError(
            f"{redact_quote(entry)!r} in WAN_MCP_IMAGE_HOSTS is not a host.", "Write host, or host:port."
        )
    return host, port
