"""The sandbox as an ASGI application."""

from email.utils import formatdate
from pathlib import Path

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.sandbox import refusals
from wan_mcp.sandbox.bucket import Bucket
from wan_mcp.sandbox.journal import JournalStore
from wan_mcp.sandbox.models import Wire
from wan_mcp.sandbox.options import SandboxOptions
from wan_mcp.sandbox.refusals import RefusalError
from wan_mcp.sandbox.service import Service, refusal_response
from wan_mcp.sandbox.store import MemoryStore, Store

IN_PROCESS_URL = "http://sandbox.invalid"
"""The host of the sandbox inside this process: a name that no resolver answers."""

_API = "/api/v1"
_NOT_FOUND, _WRONG_METHOD = 404, 405


def create_app(options: SandboxOptions, *, store: Store | None = None, clock: Clock | None = None) -> Starlette:
    """
    Build the look-alike. It needs no start-up and no shutdown events.

    Without a `store` the tasks live as long as the application. `app.state.bucket.keys_seen` counts the requests
    to the image host that brought an Authorization header.
    """
    clock = clock or SystemClock()
    store = store or MemoryStore(clock)
    service, bucket = Service(options, store, clock), Bucket(store, clock)
    app = Starlette(
        routes=_routes(service, bucket),
        middleware=[Middleware(_Dated, clock=clock)],
        exception_handlers={
            RefusalError: _answer_refusal,
            HTTPException: _answer_http,
            OSError: _answer_fault,
            ClientDisconnect: _answer_nobody,
        },
    )
    # The service redirects nowhere, and a redirect would cost the key.
    app.router.redirect_slashes = False
    app.state.bucket = bucket
    return app


def in_process_app(state_dir: Path, clock: Clock | None = None) -> Starlette:
    """Build the look-alike for use inside this process; its tasks outlive it in a file of `state_dir`."""
    options = SandboxOptions(public_url=IN_PROCESS_URL)
    return create_app(options, store=JournalStore(state_dir, clock), clock=clock)


def _routes(service: Service, bucket: Bucket) -> list[Route]:
    services = f"{_API}/services/aigc"
    return [
        Route(f"{services}/{Wire.SYNC}", service.create_sync, methods=["POST"]),
        Route(f"{services}/{Wire.ASYNC}", service.create_async, methods=["POST"]),
        Route(f"{services}/{Wire.LEGACY}", service.create_legacy, methods=["POST"]),
        Route(f"{_API}/services/{{path:path}}", service.refuse_path, methods=["POST"]),
        Route(f"{_API}/tasks", service.list_tasks, methods=["GET"]),
        Route(f"{_API}/tasks/", service.list_tasks, methods=["GET"]),
        Route(f"{_API}/tasks/{{task_id}}", service.query, methods=["GET"]),
        Route(f"{_API}/tasks/{{task_id}}/cancel", service.cancel, methods=["POST"]),
        Route("/results/{path:path}", bucket.give, methods=["GET"]),
    ]


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    refusal = error if isinstance(error, RefusalError) else refusals.own_fault()
    return refusal_response(refusal.trouble, refusal.status)


async def _answer_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else _NOT_FOUND
    refusal = refusals.wrong_method(request.method) if status == _WRONG_METHOD else refusals.no_such_call()
    return refusal_response(refusal.trouble, refusal.status)


async def _answer_fault(_request: Request, _error: Exception) -> Response:
    refusal = refusals.own_fault()
    return refusal_response(refusal.trouble, refusal.status)


async def _answer_nobody(_request: Request, _error: Exception) -> Response:
    return Response(status_code=400)


class _Dated:
    """Puts the sandbox's own time on every answer: callers read from it how far their clock is off."""

    def __init__(self, app: ASGIApp, clock: Clock) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_dated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["date"] = formatdate(self._clock.now(), usegmt=True)
            await send(message)

        await self._app(scope, receive, send_dated)
