"""
The keys of an OAuth issuer, found by its own description.

This module is imported late, for it loads the HTTP library.

Sources: https://www.rfc-editor.org/rfc/rfc8414, https://openid.net/specs/openid-connect-discovery-1_0.html and
https://www.rfc-editor.org/rfc/rfc7517
"""

import json
import logging
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx
from anyio import to_thread

from wan_mcp import __version__
from wan_mcp.auth.errors import IssuerError
from wan_mcp.clock import Clock
from wan_mcp.settings.region_access import is_loopback
from wan_mcp_tools.domain.errors import SettingsError
from wan_mcp_tools.domain.record import Record

_MOST_BYTES = 256 * 1024
_MOST_KEYS = 100
_FETCH_SECONDS = 5.0
"""For one question to the issuer, from the connection to the last byte."""
_FRESH_SECONDS = 600.0
"""How long keys are used before they are asked for again: a key that the issuer has withdrawn is gone by then."""
_KEPT_SECONDS = 24 * 3600.0
"""How long keys are used while the issuer does not answer."""
_UNKNOWN_SECONDS = 60.0
"""At most so often is the issuer asked because a token names a key that is not known."""
_RETRY_SECONDS = 5.0
"""At most so often is it asked while there are no keys at all."""
_OK = 200
_HEADERS = {"User-Agent": f"wan-mcp/{__version__}", "Accept": "application/json", "Accept-Encoding": "identity"}

Jwk = Mapping[str, Any]

_log = logging.getLogger(__name__)


class IssuerNetwork(Record):
    """
    How the issuer is reached: whom to trust, and through which proxy.

    `make_trust` gives a context for TLS, `find_proxy` takes scheme, host and port. Both may block.
    """

    make_trust: Callable[[], ssl.SSLContext]
    find_proxy: Callable[[str, str, int], str | None]


class Issuer:
    """
    An issuer and its keys.

    Keys are asked for again every ten minutes, when a token names one that is not known (once a minute at most), and
    kept for a day while the issuer does not answer. Without keys nothing can be checked.
    """

    def __init__(self, url: str, *, network: IssuerNetwork, clock: Clock) -> None:
        self.url = url
        self._network = network
        self._clock = clock
        self._lock = anyio.Lock()
        self._keys: Sequence[Jwk] | None = None
        self._fetched_at = 0.0
        self._tried_at: float | None = None

    async def find_keys(self, key_id: str | None) -> Sequence[Jwk]:
        """
        Give the keys that a token may be signed with: those of an id, or all where it names none.

        Raises:
            IssuerError: no keys are known, and the issuer gives none.
        """
        found = self._select(key_id)
        if self._is_due(is_known=bool(found)):
            if found and self._lock.statistics().locked:
                # Somebody asks already; what is known holds meanwhile.
                return found
            async with self._lock:
                found = self._select(key_id)
                if self._is_due(is_known=bool(found)):
                    await self._refresh()
        if self._usable() is None:
            raise IssuerError("gives no keys now")
        return self._select(key_id)

    async def fetch_keys(self) -> Sequence[Jwk]:
        """
        Ask for the keys, whatever is known.

        Raises:
            IssuerError: it does not answer, or not with keys.
        """
        address = await self._discover()
        answer = await self._fetch(address)
        keys = answer.get("keys")
        if not isinstance(keys, list):
            raise IssuerError(f"gives no list of keys at {address}")
        listed = [cast("Jwk", key) for key in cast("list[object]", keys)[:_MOST_KEYS] if isinstance(key, dict)]
        return [key for key in listed if key.get("use", "sig") == "sig" and key.get("kty") in ("RSA", "EC", "OKP")]

    def _usable(self) -> Sequence[Jwk] | None:
        if self._keys is None or self._clock.monotonic() - self._fetched_at >= _KEPT_SECONDS:
            return None
        return self._keys

    def _select(self, key_id: str | None) -> Sequence[Jwk]:
        keys = self._usable() or ()
        return keys if key_id is None else [key for key in keys if key.get("kid") == key_id]

    def _is_due(self, *, is_known: bool) -> bool:
        """Tell whether the issuer is to be asked now."""
        now = self._clock.monotonic()
        waited = None if self._tried_at is None else now - self._tried_at
        if self._usable() is None:
            return waited is None or waited >= _RETRY_SECONDS
        is_old = now - self._fetched_at >= _FRESH_SECONDS
        return (is_old or not is_known) and (waited is None or waited >= _UNKNOWN_SECONDS)

    async def _refresh(self) -> None:
        self._tried_at = self._clock.monotonic()
        try:
            self._keys = await self.fetch_keys()
            self._fetched_at = self._clock.monotonic()
        except IssuerError as error:
            _log.warning("The issuer %s %s.", self.url, error)

    async def _discover(self) -> str:
        """Find where the keys are."""
        failure = IssuerError("describes itself nowhere")
        for address in list_descriptions(self.url):
            try:
                description = await self._fetch(address)
            except IssuerError as error:
                failure = error
                continue
            named, keys = description.get("issuer"), description.get("jwks_uri")
            if named != self.url:
                shown = named[:200] if isinstance(named, str) and named.isprintable() else "something else"
                failure = IssuerError(f"is called {shown} by its own description at {address}")
                continue
            if not isinstance(keys, str) or not self._may_fetch(keys):
                failure = IssuerError(f"names no address of keys over https at {address}")
                continue
            return keys
        raise failure

    def _may_fetch(self, address: str) -> bool:
        """Tell whether an address is one for keys: over https, or on this machine where the issuer is as well."""
        try:
            parts = urlsplit(address)
            host, _ = parts.hostname or "", parts.port
        except ValueError:
            return False
        if parts.username is not None or not host:
            return False
        if parts.scheme == "https":
            return True
        return parts.scheme == "http" and is_loopback(host) and is_loopback(urlsplit(self.url).hostname or "")

    async def _fetch(self, address: str) -> Mapping[str, Any]:
        """Get a JSON object. Redirects are not followed."""
        parts = urlsplit(address)
        try:
            with anyio.fail_after(_FETCH_SECONDS):
                trust, proxy = await to_thread.run_sync(self._open, parts.scheme, parts.hostname or "", parts.port)
                async with (
                    httpx.AsyncClient(verify=trust, proxy=proxy, trust_env=False, follow_redirects=False) as client,
                    client.stream("GET", address, headers=_HEADERS) as answer,
                ):
                    if answer.status_code != _OK:
                        raise IssuerError(f"answers {answer.status_code} at {address}")
                    body = b""
                    async for part in answer.aiter_raw():
                        body += part
                        if len(body) > _MOST_BYTES:
                            raise IssuerError(f"answers with more than {_MOST_BYTES} bytes at {address}")
        except TimeoutError as error:
            raise IssuerError(f"does not answer in {_FETCH_SECONDS:g} seconds at {address}") from error
        except (httpx.HTTPError, httpx.InvalidURL, SettingsError, OSError) as error:
            raise IssuerError(f"cannot be reached at {address}") from error
        try:
            found: object = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise IssuerError(f"answers with no JSON at {address}") from error
        if not isinstance(found, dict):
            raise IssuerError(f"answers with no JSON object at {address}")
        return cast("Mapping[str, Any]", found)

    def _open(self, scheme: str, host: str, port: int | None) -> tuple[ssl.SSLContext, str | None]:
        usual = 443 if scheme == "https" else 80
        return self._network.make_trust(), self._network.find_proxy(scheme, host, port or usual)


def list_descriptions(issuer: str) -> tuple[str, ...]:
    """Give the addresses where an issuer may describe itself, in the order in which clients look."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
    return tuple(dict.fromkeys([f"{origin}{oauth}{path}", f"{origin}{openid}{path}", f"{origin}{path}{openid}"]))
