"""
Who may see the gallery of this machine: whoever knows its address, from a page of its own, and nobody else.

A page of another site may send requests to a port of this machine, and may have a name of its own lead here. So the
address holds a secret, only this machine's own names are answered to, and what a browser says of the sender counts.
What a browser is told, and what it says, is the same where people sign in, see `team_gallery`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from hmac import compare_digest

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(slots=True)
class Secrets:
    """
    The secrets that open the gallery.

    `token` stands in the address of everything. `ticket` opens the page once, for a browser that is started with an
    address which other users of the machine may see in the list of processes.
    """

    token: str
    ticket: str | None = None


class AccessControl:
    """Answers "not found" to strangers, and puts the headers on everything else; `hosts` are names with a port."""

    def __init__(self, app: ASGIApp, secrets: Secrets, hosts: frozenset[str]) -> None:
        self._app = app
        self._secrets = secrets
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        headers = Headers(scope=scope)
        secret, slash, rest = str(scope["path"]).removeprefix("/").partition("/")
        send_with_headers = with_headers(send)
        if headers.getlist("host") not in [[host] for host in self._hosts]:
            await refuse(scope, receive, send_with_headers)
        elif not rest and not slash and self._redeem(secret):
            await RedirectResponse(f"/{self._secrets.token}/", status_code=303)(scope, receive, send_with_headers)
        elif (
            not slash
            or not _equal(secret, self._secrets.token)
            or not is_allowed_sender(scope, headers, is_page=not rest)
        ):
            await refuse(scope, receive, send_with_headers)
        elif scope["method"] not in ("GET", "HEAD") and not is_own_page(headers, {f"http://{headers['host']}"}):
            await refuse_change(scope, receive, send_with_headers)
        else:
            inside = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), "root_path": ""}
            await self._app(inside, receive, send_with_headers)

    def _redeem(self, secret: str) -> bool:
        ticket = self._secrets.ticket
        if ticket is None or not _equal(secret, ticket):
            return False
        self._secrets.ticket = None
        return True


def is_allowed_sender(scope: Scope, headers: Headers, *, is_page: bool) -> bool:
    """Say whether a request comes from our page, or is a person's way to a page from wherever they found it."""
    site = headers.get("sec-fetch-site", "none")
    if site in ("none", "same-origin"):
        return True
    mode, target = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return is_page and scope["method"] == "GET" and (mode, target) == ("navigate", "document")


def is_own_page(headers: Headers, origins: Collection[str]) -> bool:
    """
    Say whether a page of ours asks for a change: a browser says so, and another program has to say so too.

    `origins` are those that our pages have.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    content_type = headers.get("content-type", "").partition(";")[0].strip()
    if (site is None and origin is None) or content_type != "application/json":
        return False
    return site in (None, "same-origin") and (origin is None or origin in origins)


def _equal(given: str, secret: str) -> bool:
    return compare_digest(given.encode(errors="surrogateescape"), secret.encode())


async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that there is nothing, whatever there may be."""
    await PlainTextResponse("Not found.", status_code=404)(scope, receive, send)


async def refuse_change(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer that somebody else's page may change nothing."""
    await PlainTextResponse("Only the gallery's own page may do this.", status_code=403)(scope, receive, send)


def with_headers(send: Send) -> Send:
    """Put on every answer what tells a browser to be strict."""

    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers.setdefault("Cache-Control", "no-store")
        await send(message)

    return send_with_headers
