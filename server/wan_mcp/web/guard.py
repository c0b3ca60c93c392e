"""
Who may see the gallery: whoever knows its address, from a page of its own, and nobody else.

A page of another site may send requests to a port of this machine, and may have a name of its own lead here. So the
address holds a secret, only this machine's own names are answered to, and what a browser says of the sender counts.
"""

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
_UNCACHED = "no-store"


@dataclass(slots=True)
class Secrets:
    """
    The words that open the gallery.

    `token` stands in the address of everything. `ticket` opens the page once, for a browser that is started with an
    address which other users of the machine may see in the list of processes.
    """

    token: str
    ticket: str | None = None


class Guard:
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
        word, slash, rest = str(scope["path"]).removeprefix("/").partition("/")
        sending = _dressed(send)
        if headers.getlist("host") not in [[host] for host in self._hosts]:
            await _refuse(scope, receive, sending)
        elif not rest and not slash and self._spend(word):
            await RedirectResponse(f"/{self._secrets.token}/", status_code=303)(scope, receive, sending)
        elif not slash or not _equal(word, self._secrets.token) or not _is_welcome(scope, headers, rest):
            await _refuse(scope, receive, sending)
        elif scope["method"] not in ("GET", "HEAD") and not self._is_own(headers):
            answer = PlainTextResponse("Only the gallery's own page may do this.", status_code=403)
            await answer(scope, receive, sending)
        else:
            inside = {**scope, "path": f"/{rest}", "raw_path": f"/{rest}".encode(), "root_path": ""}
            await self._app(inside, receive, sending)

    def _spend(self, word: str) -> bool:
        ticket = self._secrets.ticket
        if ticket is None or not _equal(word, ticket):
            return False
        self._secrets.ticket = None
        return True

    def _is_own(self, headers: Headers) -> bool:
        """Say whether a page of ours asks for a change: a browser says so, and another program has to say so too."""
        said = [headers.get("sec-fetch-site"), headers.get("origin")]
        if said == [None, None] or headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return False
        return said[0] in (None, "same-origin") and said[1] in (None, f"http://{headers['host']}")


def _is_welcome(scope: Scope, headers: Headers, rest: str) -> bool:
    """Say whether a request comes from our page, or is a person's way to it from wherever the address was found."""
    site = headers.get("sec-fetch-site", "none")
    if site in ("none", "same-origin"):
        return True
    mode, target = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return not rest and scope["method"] == "GET" and (mode, target) == ("navigate", "document")


def _equal(word: str, secret: str) -> bool:
    return compare_digest(word.encode(errors="surrogateescape"), secret.encode())


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("Not found.", status_code=404)(scope, receive, send)


def _dressed(send: Send) -> Send:
    async def dressed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(_HEADERS)
            headers.setdefault("Cache-Control", _UNCACHED)
        await send(message)

    return dressed
