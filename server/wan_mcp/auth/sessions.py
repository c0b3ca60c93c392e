"""
Sessions in the browser for people who sign in by a token: opened by a link that works once, kept in a cookie.

Ticket and session are both what somebody may do and until when, signed with a key that is for this alone. Nothing is
kept of them but which were used up, so that every replica knows every session.
"""

import hashlib
import hmac
import json
import math
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

from wan_mcp.auth.secret_key import derive_key
from wan_mcp.clock import Clock
from wan_mcp_tools.domain.principals import Principal, Scope, SignIn
from wan_mcp_tools.domain.record import Record

GALLERY_PATH = "/gallery"
ENTRY_PATH = f"{GALLERY_PATH}/enter"
TICKET_SECONDS = 300.0
SESSION_SECONDS = 3600.0
_CLOCK_SECONDS = 300.0
"""By which the clocks of replicas may differ without a ticket being taken twice."""
_RANDOM_BYTES = 16
_LONGEST = 4_000
"""Characters of what is signed: more is kept by no browser as a cookie."""

ConfirmPrincipal = Callable[[Principal], Awaitable[Principal | None]]
"""Gives somebody who has signed in before with what is still allowed, or None."""


class UsedNames(Protocol):
    """What every replica knows to be used up."""

    def use(self, name: str, *, seconds: float) -> Awaitable[bool]:
        """Use a name up for some seconds; say whether this is the first time."""
        ...

    def is_used(self, name: str) -> Awaitable[bool]:
        """Say whether a name is used up."""
        ...


class GalleryLink(Record):
    """An address that opens somebody's gallery once, until `ends_at` in seconds since 1970."""

    url: str
    ends_at: float


class Session(Record):
    """What was signed: who may act, and until when, in seconds since 1970; `id` is by chance."""

    id: str
    principal: Principal
    ends_at: float


class GalleryLinkMaker:
    """Makes links that open a gallery, whose server has an address and a secret."""

    def __init__(self, secret: bytes, *, address: str, clock: Clock) -> None:
        self._key = derive_key(secret, "gallery ticket")
        self._address = address
        self._clock = clock

    def make_link(self, principal: Principal) -> GalleryLink:
        """
        Make a link for somebody who has signed in.

        The ticket stands behind `#`: browsers send that to nobody, so that it is in no log.
        """
        ends_at = self._clock.now() + TICKET_SECONDS
        if principal.sign_in.ends_at is not None:
            ends_at = min(ends_at, principal.sign_in.ends_at)
        ticket = _sign(self._key, _make_session(principal, ends_at))
        return GalleryLink(f"{self._address}{ENTRY_PATH}#{ticket}", ends_at)


class Sessions:
    """Opens, finds and ends sessions; `used` is shared with the other replicas."""

    def __init__(self, secret: bytes, *, confirm: ConfirmPrincipal, used: UsedNames, clock: Clock) -> None:
        self._ticket_key = derive_key(secret, "gallery ticket")
        self._session_key = derive_key(secret, "gallery session")
        self._confirm = confirm
        self._used = used
        self._clock = clock

    async def read_ticket(self, ticket: str) -> Principal | None:
        """Say whose gallery a ticket opens, without taking it; None if it opens nothing, or is forged or over."""
        found = await self._check(self._ticket_key, ticket)
        return None if found is None else found.principal

    async def open(self, ticket: str) -> tuple[Session, str] | None:
        """Take a ticket; give the session that it opens and the value of its cookie. None if it opens nothing."""
        found = await self._check(self._ticket_key, ticket)
        if found is None or not await self._used.use(
            f"gallery-ticket/{found.id}", seconds=TICKET_SECONDS + 2 * _CLOCK_SECONDS
        ):
            return None
        ends_at = self._clock.now() + SESSION_SECONDS
        if found.principal.sign_in.ends_at is not None:
            ends_at = min(ends_at, found.principal.sign_in.ends_at)
        session = _make_session(found.principal, ends_at)
        return session, _sign(self._session_key, session)

    async def find(self, value: str) -> Session | None:
        """Find the session of a cookie, with what its principal may still do."""
        found = await self._check(self._session_key, value)
        return None if found is None or await self._used.is_used(_name(found)) else found

    async def end(self, session: Session) -> None:
        """End a session: its cookie is worth nothing any more, wherever it was copied to."""
        await self._used.use(_name(session), seconds=SESSION_SECONDS + 2 * _CLOCK_SECONDS)

    async def _check(self, key: bytes, text: str) -> Session | None:
        found = _read(key, text)
        if found is None or found.ends_at <= self._clock.now():
            return None
        principal = await self._confirm(found.principal)
        if principal is None or not principal.may(Scope.READ):
            return None
        return Session(found.id, principal, found.ends_at)

    def seconds_left(self, session: Session) -> int:
        """Give how long a session still lasts."""
        return max(1, math.floor(session.ends_at - self._clock.now()))


def _name(session: Session) -> str:
    return f"gallery-session/{session.id}"


def _make_session(principal: Principal, ends_at: float) -> Session:
    return Session(secrets.token_urlsafe(_RANDOM_BYTES), principal, ends_at)


def _sign(key: bytes, session: Session) -> str:
    principal = session.principal
    facts = {
        "id": session.id,
        "ends_at": session.ends_at,
        "principal": principal.id,
        "scopes": sorted(principal.scopes),
        "token": principal.sign_in.token,
        "token_ends_at": principal.sign_in.ends_at,
    }
    payload = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()
    return f"{_encode(payload)}.{_encode(hmac.digest(key, payload, hashlib.sha256))}"


def _read(key: bytes, text: str) -> Session | None:
    """Read what was signed with a key; None if nothing was."""
    first, dot, second = text.partition(".")
    if not dot or not text.isascii() or len(text) > _LONGEST:
        return None
    try:
        payload, signature = _decode(first), _decode(second)
    except ValueError:
        return None
    if not hmac.compare_digest(signature, hmac.digest(key, payload, hashlib.sha256)):
        return None
    # From here on it is as we have written it.
    facts = cast("dict[str, Any]", json.loads(payload))
    sign_in = SignIn(ends_at=facts["token_ends_at"], token=facts["token"])
    scopes = frozenset(scope for scope in Scope if scope in facts["scopes"])
    return Session(facts["id"], Principal(facts["principal"], scopes, sign_in), facts["ends_at"])


def _encode(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
