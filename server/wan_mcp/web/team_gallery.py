"""
The gallery of a server that people sign in to: each sees their own pictures, in a session of the browser.

`POST /gallery/links` answers whoever has a token with an address that works once. Its page sends the ticket in it and
gets a cookie; from then on every request is the session's principal's. Where somebody else's session is open in the
browser, the page asks before it ends: a link may come from anybody.

A browser keeps the cookie to itself where another site leads to the gallery. Then the page that says so asks by
itself whether there is a session, and goes on to the gallery as a page of our own.

Sources: https://www.rfc-editor.org/rfc/rfc6265 and
https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#name-cookie-name-prefixes
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as Connection

from wan_mcp.auth.sessions import (
    ENTRY_PATH,
    GALLERY_PATH,
    GalleryLink,
    GalleryLinkMaker,
    Session,
    Sessions,
    UsedNames,
)
from wan_mcp.settings.network_variables import USUAL_PORTS
from wan_mcp.settings.region_access import is_loopback
from wan_mcp.web.api import (
    GalleryApi,
    Hide,
    TakeKey,
    describe_error,
    make_asset_routes,
    make_gallery,
    read_json,
    serve_source,
)
from wan_mcp.web.assets import read_source
from wan_mcp.web.security import is_allowed_sender, is_own_page, refuse, refuse_change, with_headers
from wan_mcp_tools.domain.errors import AppError
from wan_mcp_tools.domain.principals import NOBODY, Scope, acting_as, current_principal, name_principal
from wan_mcp_tools.domain.service import ImageService

if TYPE_CHECKING:
    from wan_mcp.auth.gate import AuthGate

LINKS_PATH = f"{GALLERY_PATH}/links"
_ENTRY = ENTRY_PATH.removeprefix(GALLERY_PATH)
_OPEN_PATHS = frozenset({_ENTRY, "/enter.js", "/common.css", "/gallery.css", "/session"})
"""What is answered to who has no session yet."""
_PAGES = frozenset({"/", _ENTRY})
_COOKIE = "wan-gallery"
_SESSION_KEY = "wan_mcp.session"
_UNAUTHORIZED, _CONFLICT = 401, 409
_KEY_SECONDS = 86_400.0
_NO_SESSION = {
    "message": "You are not signed in here any more.",
    "advice": "Ask your agent for a new link to the gallery.",
}
_BAD_TICKET = {
    "message": "This link was used already, or is over.",
    "advice": "Ask your agent for a new one: it works once, within five minutes.",
}
_NO_STORE = {"Cache-Control": "no-store"}


def make_team_gallery(
    service: ImageService,
    gate: "AuthGate",
    *,
    sessions: Sessions,
    links: GalleryLinkMaker,
    take_key: TakeKey,
    hide: Hide,
    limit: Callable[[ASGIApp], ASGIApp],
    address: str,
) -> list[BaseRoute]:
    """
    Make the routes of the gallery at a server's address.

    `take_key` takes the keys of pressed buttons; `hide` leaves places of the server out of answers; `limit` bounds
    how many requests of each are under way.
    """
    cookie = _Cookie(address)
    session = _SessionCalls(sessions, cookie)
    inside = make_gallery(
        GalleryApi(service, take_key, hide),
        [
            Route(_ENTRY, serve_source("enter.html", "text/html"), methods=["GET"]),
            make_asset_routes("enter.js")[0],
            Route("/session", session.tell, methods=["GET"]),
            Route("/session", session.open, methods=["POST"]),
            Route("/sign-out", session.end, methods=["POST"]),
        ],
    )

    async def answer_link(_: Request) -> Response:
        return JSONResponse(describe_link(links.make_link(current_principal())), headers=_NO_STORE)

    link_route = Route(LINKS_PATH, answer_link, methods=["POST"])
    link_route.app = gate.protect(limit(link_route.app), Scope.READ)
    return [
        link_route,
        Route(GALLERY_PATH, _lead_to_page, methods=["GET"]),
        Mount(GALLERY_PATH, SessionGate(inside, limit(inside), sessions, cookie, _list_origins(address))),
    ]


def describe_link(link: GalleryLink) -> dict[str, str]:
    """Give a link as JSON."""
    expires_at = datetime.fromtimestamp(link.ends_at, UTC).isoformat(timespec="seconds")
    return {"url": link.url, "expires_at": expires_at}


def make_key_taker(used: UsedNames, count_call: Callable[[], Awaitable[None]]) -> TakeKey:
    """Make what takes the keys of pressed buttons for all replicas together, and counts each as a call."""

    async def take_key(key: str) -> bool:
        await count_call()
        # Somebody else's page may have made the same key.
        whose = hashlib.sha256(f"{current_principal().id}\0{key}".encode(errors="replace")).hexdigest()
        return await used.use(f"gallery-press/{whose}", seconds=_KEY_SECONDS)

    return take_key


class SessionGate:
    """
    Lets requests in by the session's cookie, and runs them for its principal.

    `entrance` is what answers who has no session, `app` what answers the others; `origins` are those of our pages, by
    the Host header.
    """

    def __init__(
        self,
        entrance: ASGIApp,
        app: ASGIApp,
        sessions: Sessions,
        cookie: "_Cookie",
        origins: Callable[[str], frozenset[str]],
    ) -> None:
        self._entrance = entrance
        self._app = app
        self._sessions = sessions
        self._cookie = cookie
        self._origins = origins

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers, send = Headers(scope=scope), with_headers(send)
        path: str = scope["path"].removeprefix(scope["root_path"])
        if not is_allowed_sender(scope, headers, is_page=path in _PAGES):
            await refuse(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD") and not is_own_page(
            headers, self._origins(headers.get("host", ""))
        ):
            await refuse_change(scope, receive, send)
        elif path in _OPEN_PATHS:
            with acting_as(NOBODY):
                await self._entrance(scope, receive, send)
        else:
            await self._answer(path, headers, scope, receive, _for_session(send))

    async def _answer(self, path: str, headers: Headers, scope: Connection, receive: Receive, send: Send) -> None:
        value = self._cookie.read(headers)
        try:
            session = None if value is None else await self._sessions.find(value)
        except AppError as error:
            with acting_as(NOBODY):
                facts, status = describe_error(error)
            await JSONResponse(facts, status)(scope, receive, send)
            return
        if session is None:
            await (await _answer_stranger(path))(scope, receive, send)
            return
        with acting_as(session.principal):
            await self._app({**scope, _SESSION_KEY: session}, receive, send)


class _Cookie:
    """
    The cookie of a session at an address.

    By the beginning of its name a browser takes it only from the very host, and by https. With a prefix in the
    address other programs may share that host: then it is sent to ours alone.
    """

    def __init__(self, address: str) -> None:
        prefix = urlsplit(address).path
        self._name = f"__Secure-{_COOKIE}" if prefix else f"__Host-{_COOKIE}"
        self._path = f"{prefix}{GALLERY_PATH}" if prefix else "/"

    def read(self, headers: Headers) -> str | None:
        """Give the value that a request has."""
        return cookie_parser("; ".join(headers.getlist("cookie"))).get(self._name)

    def set(self, response: Response, value: str, seconds: int) -> None:
        """Let a browser keep a value for some seconds; for none, forget it."""
        response.set_cookie(
            self._name, value, max_age=seconds, path=self._path, secure=True, httponly=True, samesite="strict"
        )


class _SessionCalls:
    """The calls that open a session and end it."""

    def __init__(self, sessions: Sessions, cookie: _Cookie) -> None:
        self._sessions = sessions
        self._cookie = cookie

    async def tell(self, request: Request) -> Response:
        """Say whose session is open in the browser, if one is."""
        session = await self._find(request)
        return JSONResponse({} if session is None else {"person": name_principal(session.principal.id)})

    async def open(self, request: Request) -> Response:
        """Take a ticket, once; while somebody else's session is open, only where the page says to replace that."""
        sent = await read_json(request)
        ticket = sent.get("ticket")
        if not isinstance(ticket, str):
            return JSONResponse(_BAD_TICKET, _UNAUTHORIZED)
        principal, others = await self._sessions.read_ticket(ticket), await self._find(request)
        if principal is None or (others is not None and others.principal.id == principal.id):
            others = None
        if principal is not None and others is not None and sent.get("replace") is not True:
            facts = {"person": name_principal(others.principal.id), "next": name_principal(principal.id)}
            return JSONResponse(facts, _CONFLICT)
        opened = await self._sessions.open(ticket)
        if opened is None:
            return JSONResponse(_BAD_TICKET, _UNAUTHORIZED)
        if others is not None:
            await self._sessions.end(others)
        session, value = opened
        response = JSONResponse({})
        self._cookie.set(response, value, self._sessions.seconds_left(session))
        return response

    async def end(self, request: Request) -> Response:
        """End the session of the request."""
        await self._sessions.end(request.scope[_SESSION_KEY])
        response = JSONResponse({})
        self._cookie.set(response, "", 0)
        return response

    async def _find(self, request: Request) -> Session | None:
        value = self._cookie.read(request.headers)
        return None if value is None else await self._sessions.find(value)


async def _lead_to_page(_: Request) -> Response:
    # Relative: a proxy may have taken the prefix of the public address away.
    return RedirectResponse(f".{GALLERY_PATH}/", headers=_NO_STORE)


async def _answer_stranger(path: str) -> Response:
    if path not in _PAGES:
        return JSONResponse(_NO_SESSION, _UNAUTHORIZED)
    return Response(await run_sync(read_source, "enter.html"), _UNAUTHORIZED, media_type="text/html")


def _list_origins(address: str) -> Callable[[str], frozenset[str]]:
    parts = urlsplit(address)
    port = "" if parts.port in (None, USUAL_PORTS.get(parts.scheme)) else f":{parts.port}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    own = f"{parts.scheme}://{host}{port}"

    def list_origins(host: str) -> frozenset[str]:
        # This machine has several names, and is reached at them without the proxy.
        is_own_name = is_loopback(urlsplit(f"//{host}").hostname or "")
        return frozenset({own, f"http://{host}"} if is_own_name else {own})

    return list_origins


def _for_session(send: Send) -> Send:
    async def send_for_session(message: Message) -> None:
        if message["type"] == "http.response.start":
            # What a browser keeps of one person's pictures is not shown to the next one who signs in there.
            MutableHeaders(scope=message).add_vary_header("Cookie")
        await send(message)

    return send_for_session
