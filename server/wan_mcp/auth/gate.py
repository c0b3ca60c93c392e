"""The gate of the HTTP server: lets a request in by its token, and its messages by the token's scopes."""

import logging
import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

import anyio

from wan_mcp.auth.challenges import AuthError, ProtectedResource, refuse, refuse_call, refuse_for_now
from wan_mcp.auth.errors import IssuerError, TokenRefusedError
from wan_mcp.auth.required_scopes import find_scopes
from wan_mcp.auth.tokens import TokenFile, is_static
from wan_mcp_tools.domain.errors import CallLimitError
from wan_mcp_tools.domain.principals import Principal, Scope, acting_as, current_principal

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Send
    from starlette.types import Scope as Connection

VerifyToken = Callable[[str], Awaitable[Principal]]
"""Takes an issuer's token; raises TokenRefusedError or IssuerError."""

CountCall = Callable[[], Awaitable[None]]
"""Counts a call of the current principal; raises CallLimitError where it is one too many."""

_LONGEST_TOKEN = 16 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_MOST_DRAINED, _DRAIN_SECONDS = 1 << 20, 1.0
"""How much of a refused body is read, and for how long: who still sends does not hear an answer."""

_NO_TOKEN = "Sign in: send a token in the Authorization header."  # noqa: S105 - words for people
_BAD_TOKEN = "The token is not valid here."  # noqa: S105 - the same
_IN_QUERY = "A token belongs in the Authorization header, never in the address."
_MALFORMED = "There is one Authorization header, and it reads: Bearer TOKEN."

_log = logging.getLogger(__name__)


class AuthGate:
    """
    Knows who comes with a token.

    `tokens` are those of the operator's file, `verify` checks those of the issuer; there is at least one of them.
    `resource` is what clients are told about signing in, and whose tokens hold; it comes with `verify`.
    """

    def __init__(
        self,
        *,
        tokens: TokenFile | None = None,
        verify: VerifyToken | None = None,
        resource: ProtectedResource | None = None,
    ) -> None:
        self._tokens = tokens
        self._verify = verify
        self.resource = resource

    def protect(self, app: "ASGIApp", scope: Scope | None = None) -> "ASGIApp":
        """
        Put an application behind the gate: it is run for a principal who has the scope, if one is named.

        Inside, `current_principal()` is who calls.
        """

        async def protected(connection: "Connection", receive: "Receive", send: "Send") -> None:
            if connection["type"] != "http":
                await app(connection, receive, send)
                return
            found = await self.admit(connection)
            if isinstance(found, Principal) and scope is not None and not found.may(scope):
                found = self._refuse_scopes(frozenset({scope}))
            if not isinstance(found, Principal):
                await _drain(receive)
                await found(connection, receive, send)
                return
            with acting_as(found):
                await app(connection, receive, send)

        return protected

    def check_messages(self, app: "ASGIApp", *, count_call: CountCall) -> "ASGIApp":
        """
        Put an application that takes messages behind the check of their scopes; inside of `protect`.

        What needs a scope counts as a call.
        """

        async def checked(connection: "Connection", receive: "Receive", send: "Send") -> None:
            if connection["type"] != "http" or connection["method"] != "POST":
                await app(connection, receive, send)
                return
            parts: list[Message] = [await receive()]
            while parts[-1]["type"] == "http.request" and parts[-1].get("more_body", False):
                parts.append(await receive())
            principal = current_principal()
            needed = find_scopes(b"".join(part.get("body", b"") for part in parts))
            if not all(principal.may(scope) for scope in needed):
                await self._refuse_scopes(needed)(connection, receive, send)
                return
            if needed:
                try:
                    await count_call()
                except CallLimitError as error:
                    await refuse_call(error)(connection, receive, send)
                    return
            parts.reverse()

            async def replay() -> "Message":
                return parts.pop() if parts else await receive()

            await app(connection, replay, send)

        return checked

    async def admit(self, connection: "Connection") -> "Principal | Response":
        """Find who makes a request by the token in its header, or give the answer that refuses it."""
        fields = parse_qsl(connection.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
        if any(name.lower() == "access_token" for name, _ in fields):
            return self._refuse(AuthError.INVALID_REQUEST, _IN_QUERY)
        headers = [value for name, value in connection["headers"] if name == b"authorization"]
        if not headers:
            return self._refuse(None, _NO_TOKEN)
        scheme, _, text = headers[0].decode("latin-1").strip().partition(" ")
        if len(headers) == 1 and scheme.lower() != "bearer":
            return self._refuse(None, _NO_TOKEN)
        token = text.strip()
        if len(headers) > 1 or not _TOKEN.fullmatch(token):
            return self._refuse(AuthError.INVALID_REQUEST, _MALFORMED)
        try:
            return await self._find_principal(token)
        except TokenRefusedError as error:
            _log.warning("A token was refused: it %s.", error)
            return self._refuse(AuthError.INVALID_TOKEN, _BAD_TOKEN)
        except IssuerError as error:
            _log.warning("A token could not be checked: the issuer %s.", error)
            return refuse_for_now()

    async def confirm(self, principal: Principal) -> Principal | None:
        """
        Give somebody who has signed in before with what is still allowed; None if that is nothing any more.

        What the issuer has granted is not asked for again: that holds until the end of its token. What another one
        has granted, which was set before, holds no more.
        """
        if is_static(principal):
            return None if self._tokens is None else await self._tokens.confirm(principal)
        if self._verify is None or self.resource is None:
            return None
        # The address of an issuer has no "#"; the subject may have some.
        issuer, mark, _ = principal.id.partition("#")
        return principal if mark and issuer == self.resource.issuer else None

    async def _find_principal(self, token: str) -> Principal:
        if len(token) > _LONGEST_TOKEN:
            raise TokenRefusedError("is longer than any")
        if self._tokens is not None and (principal := await self._tokens.find(token)) is not None:
            return principal
        if self._verify is None:
            raise TokenRefusedError("is none that is known")
        return await self._verify(token)

    def _refuse(self, error: AuthError | None, description: str) -> "Response":
        # Which operation it was is not known yet. What is needed beyond the least is told when it is.
        return refuse(error, description, (Scope.READ,), self.resource)

    def _refuse_scopes(self, needed: frozenset[Scope]) -> "Response":
        listed = sorted(needed)
        description = f"This needs the scope {' and '.join(listed)}."
        return refuse(AuthError.INSUFFICIENT_SCOPE, description, listed, self.resource)


async def _drain(receive: "Receive") -> None:
    size = 0
    with anyio.move_on_after(_DRAIN_SECONDS):
        while size <= _MOST_DRAINED:
            message = await receive()
            size += len(message.get("body", b""))
            if message["type"] != "http.request" or not message.get("more_body", False):
                return
