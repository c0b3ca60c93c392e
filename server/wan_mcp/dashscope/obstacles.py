"""What can stand between us and the service, told apart as finely as the machine tells it, each with its remedy."""

import errno
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import httpx

from wan_mcp.dashscope.exchange import causes

_NO_SUCH_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})
# Source: https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_WRONG_TIME = frozenset({9, 10})
_WRONG_HOST = frozenset({62, 64})
_STATUS = re.compile(r"\b([1-5][0-9]{2})\b")
_SIGN_IN = 407
_NETWORK = "Check the network connection"
_OWN_CERTIFICATES = (
    "A proxy or a virus scanner of this network may show certificates of its own: let SSL_CERT_FILE name a file with"
    " the certificates of your organisation. If there is none, install the system's CA certificates."
)


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stands in the way, without a full stop, and what helps."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Way:
    """
    How an address is reached.

    `proxy` is the proxy's address as it may be shown, None for a direct way; `proxy_setting` names who set it.
    """

    host: str
    secure: bool
    proxy: str | None = None
    proxy_setting: str = ""

    @classmethod
    def through(cls, host: str, scheme: str, proxy: str | None, environ: Mapping[str, str]) -> Self:
        """Describe the way through a proxy, or the direct one."""
        if proxy is None:
            return cls(host, scheme == "https")
        return cls(host, scheme == "https", _show_proxy(proxy), _find_setting(scheme, environ))

    @property
    def blame(self) -> str:
        """What to look at where nothing better is known."""
        if self.proxy is None:
            return f"{_NETWORK} and its firewall; if this network is left through a proxy, set HTTPS_PROXY."
        return f"Correct {self.proxy_setting}, or list the host in NO_PROXY if it can be reached directly."


def explain_lookup(error: OSError | None, host: str, way: Way) -> Obstacle:
    """Say why a name was not found; without an error, the name service did not answer in time."""
    # Without the host, which stands beside it anyway, regions with the same trouble can share a line.
    name = f"the proxy's name {host}" if way.proxy is not None else "its name"
    if isinstance(error, socket.gaierror) and error.errno in _NO_SUCH_NAME:
        return Obstacle(f"{name} is not known to this machine's name service", way.blame)
    return Obstacle(f"{name} cannot be looked up: no name service answers", way.blame)


def explain_failure(error: Exception, way: Way) -> Obstacle:
    """Say why nothing came back."""
    roots = causes(error)
    for root in roots:
        if isinstance(root, ssl.SSLCertVerificationError):
            return _explain_certificate(root, way)
    for root in roots:
        if isinstance(root, ssl.SSLError):
            said = (root.reason or "").replace("_", " ").lower() or "no reason is given"
            return Obstacle(
                f"what answers does not speak TLS as it should ({said})",
                f"Something in between may answer in its place. {way.blame}",
            )
    if isinstance(error, httpx.ProxyError):
        return _explain_proxy(error, way)
    if isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout):
        return Obstacle(f"{_who(way)} does not answer in time", way.blame)
    if isinstance(error, httpx.ConnectError):
        return Obstacle(f"{_who(way)} {_explain_refusal(roots)}", way.blame)
    if isinstance(error, httpx.TimeoutException):
        return Obstacle("a connection is opened, and no answer comes in time", f"Try again in a moment. {way.blame}")
    return Obstacle("the connection breaks before an answer has come", f"Try again in a moment. {way.blame}")


def explain_answer(status: int, way: Way) -> Obstacle:
    """Say what it means that something answered that is not the service."""
    return Obstacle(
        f"something answers that is not the service (HTTP {status})",
        f"A sign-in page of the network may stand in between: open any web page and sign in. {way.blame}",
    )


def _explain_certificate(error: ssl.SSLCertVerificationError, way: Way) -> Obstacle:
    said = error.verify_message or "no reason is given"
    what = f"its certificate is not trusted ({said.rstrip('.')})"
    if error.verify_code in _WRONG_TIME:
        return Obstacle(what, f"Check this machine's date and time. {_OWN_CERTIFICATES}")
    if error.verify_code in _WRONG_HOST:
        return Obstacle(what, f"Something else answers under the name {way.host}. {way.blame}")
    return Obstacle(what, _OWN_CERTIFICATES)


def _explain_proxy(error: httpx.ProxyError, way: Way) -> Obstacle:
    status = _STATUS.search(str(error))
    if status and int(status[1]) == _SIGN_IN:
        return Obstacle(
            f"the proxy {way.proxy} wants a user name and a password (HTTP {_SIGN_IN})",
            f"Write them into {way.proxy_setting}: http://USER:PASSWORD@HOST:PORT.",
        )
    answer = f" (HTTP {status[1]})" if status else ""
    return Obstacle(f"the proxy {way.proxy} refuses to connect to it{answer}", way.blame)


def _explain_refusal(roots: list[BaseException]) -> str:
    codes = {root.errno for root in roots if isinstance(root, OSError)}
    if errno.ECONNREFUSED in codes:
        return "refuses the connection"
    if codes & {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL}:
        return "cannot be reached: this machine has no way there"
    return "cannot be connected to"


def _who(way: Way) -> str:
    return f"the proxy {way.proxy}" if way.proxy is not None else "it"


def _show_proxy(proxy: str) -> str:
    """Give the address of a proxy without the password that it may hold."""
    try:
        parts = urlsplit(proxy)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return "that is set"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}" + (f":{port}" if port else "")


def _find_setting(scheme: str, environ: Mapping[str, str]) -> str:
    """Name the variable that a proxy comes from; small letters win, as they do where it is read."""
    for name in (f"{scheme}_proxy", "all_proxy"):
        for spelling in (name, name.upper()):
            if environ.get(spelling, "").strip():
                return spelling
    return "the proxy settings of this system"
