"""
What is answered to those who may not call, and where they learn how to sign in.

Sources: https://www.rfc-editor.org/rfc/rfc6750#section-3, https://www.rfc-editor.org/rfc/rfc9728 and
https://modelcontextprotocol.io/specification/2026-07-28/basic/authorization
"""

import json
import math
from collections.abc import Iterable, Sequence
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wan_mcp_tools.domain.errors import CallLimitError
from wan_mcp_tools.domain.principals import Scope
from wan_mcp_tools.domain.record import Record

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

_WELL_KNOWN = "/.well-known/oauth-protected-resource"
_DOCUMENTATION = "https://github.com/wan-mcp/wan-mcp/blob/main/docs/team.md"
_NAME = "Pictures by Wan, Qwen-Image and Z-Image (wan-mcp)"
_SECONDS = 3600
"""How long the metadata may be kept by whoever has read it."""
_RETRY_SECONDS = 5


class AuthError(StrEnum):
    """What is wrong, in the words of RFC 6750."""

    INVALID_REQUEST = "invalid_request"
    INVALID_TOKEN = "invalid_token"  # noqa: S105 - a code, no token
    INSUFFICIENT_SCOPE = "insufficient_scope"


_STATUS = {
    AuthError.INVALID_REQUEST: HTTPStatus.BAD_REQUEST,
    AuthError.INVALID_TOKEN: HTTPStatus.UNAUTHORIZED,
    AuthError.INSUFFICIENT_SCOPE: HTTPStatus.FORBIDDEN,
}


class ProtectedResource(Record):
    """
    The MCP endpoint as clients know it: its address, and who issues tokens for it.

    `public_url` is the address of the server without a slash at its end.
    """

    public_url: str
    issuer: str

    @property
    def address(self) -> str:
        """The address of the endpoint."""
        return f"{self.public_url}/mcp"

    @property
    def metadata_address(self) -> str:
        """Where clients read about it."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}{_WELL_KNOWN}{parts.path}/mcp"

    def make_routes(self) -> "Sequence[Route]":
        """
        Make the routes of the metadata, at every address where clients look for it.

        Anybody may read it, a web page of others too.
        """
        from starlette.routing import Route  # noqa: PLC0415 - the SDK has loaded it by now

        paths = (f"{_WELL_KNOWN}{urlsplit(self.public_url).path}/mcp", f"{_WELL_KNOWN}/mcp", _WELL_KNOWN)
        return [
            Route(path, self._answer, methods=["GET", "OPTIONS"], include_in_schema=False)
            for path in dict.fromkeys(paths)
        ]

    async def _answer(self, request: "Request") -> "Response":
        from starlette.responses import Response  # noqa: PLC0415 - the same

        shared = {"Access-Control-Allow-Origin": "*"}
        if request.method == "OPTIONS":
            allowed = {"Access-Control-Allow-Methods": "GET, OPTIONS", "Access-Control-Allow-Headers": "*"}
            return Response(status_code=HTTPStatus.NO_CONTENT, headers=shared | allowed)
        content = {
            "resource": self.address,
            "authorization_servers": [self.issuer],
            "scopes_supported": [scope.value for scope in Scope],
            "bearer_methods_supported": ["header"],
            "resource_name": _NAME,
            "resource_documentation": _DOCUMENTATION,
        }
        headers = shared | {"Cache-Control": f"public, max-age={_SECONDS}"}
        return Response(json.dumps(content), media_type="application/json", headers=headers)


def refuse(
    error: AuthError | None, description: str, scopes: Iterable[Scope], resource: ProtectedResource | None
) -> "Response":
    """
    Refuse a request with a challenge: what is wrong, which scopes are needed, and where to read how to get them.

    No error means that there was no token: that is nobody's mistake (RFC 6750, section 3.1).
    """
    from starlette.responses import Response  # noqa: PLC0415 - the SDK has loaded it by now

    parts: dict[str, str] = {}
    if error is not None:
        parts |= {"error": error, "error_description": description}
    parts["scope"] = " ".join(scopes)
    if resource is not None:
        parts["resource_metadata"] = resource.metadata_address
    challenge = ", ".join(f'{name}="{value}"' for name, value in parts.items())
    body = {"error": error or "unauthorized", "error_description": description}
    return Response(
        json.dumps(body),
        status_code=HTTPStatus.UNAUTHORIZED if error is None else _STATUS[error],
        media_type="application/json",
        headers={"WWW-Authenticate": f"Bearer {challenge}", "Cache-Control": "no-store"},
    )


def refuse_for_now() -> "Response":
    """Say that a token cannot be checked at the moment: to sign in anew would not help."""
    from starlette.responses import Response  # noqa: PLC0415 - the SDK has loaded it by now

    body = {"error": "temporarily_unavailable", "error_description": "Tokens cannot be checked now. Try again soon."}
    return Response(
        json.dumps(body),
        status_code=HTTPStatus.SERVICE_UNAVAILABLE,
        media_type="application/json",
        headers={"Retry-After": str(_RETRY_SECONDS), "Cache-Control": "no-store"},
    )


def refuse_call(error: CallLimitError) -> "Response":
    """Say that somebody calls too often, and when to call again."""
    from starlette.responses import PlainTextResponse  # noqa: PLC0415 - the SDK has loaded it by now

    headers = {"Retry-After": str(math.ceil(error.retry_after)), "Cache-Control": "no-store"}
    return PlainTextResponse(f"{error}\n", HTTPStatus.TOO_MANY_REQUESTS, headers)
