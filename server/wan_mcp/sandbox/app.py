"""The sandbox as an ASGI application, and over HTTP for other programs."""

from collections.abc import Callable, Iterable
from email.utils import formatdate
from pathlib import Path

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wan_mcp.clock import Clock, SystemClock
from wan_mcp.sandbox import errors
from wan_mcp.sandbox.catalogue.extra_models import Row
from wan_mcp.sandbox.catalogue.model import WireProtocol
from wan_mcp.sandbox.errors import RefusalError
from wan_mcp.sandbox.file_store import FileStore
from wan_mcp.sandbox.image_host import ImageHost, Painter, paint_image
from wan_mcp.sandbox.service import SandboxOptions, SandboxService, TaskPlan, error_response
from wan_mcp.sandbox.stores import MemoryStore, SandboxStore
from wan_mcp.sandbox.tasks import plan_task
from wan_mcp.sandbox.uploads import UPLOAD_PATH, UploadHost

IN_PROCESS_URL = "http://sandbox.invalid"
"""The host of the sandbox inside this process: a name that no resolver answers."""
IN_PROCESS_UPLOAD_URL = "http://upload.sandbox.invalid"
"""The upload host of the sandbox inside this process."""

_API = "/api/v1"
_NOT_FOUND, _WRONG_METHOD = 404, 405
_ANSWER_SECONDS = 5
"""How long answers that are under way get when the server ends."""


def create_app(
    options: SandboxOptions,
    *,
    store: SandboxStore | None = None,
    clock: Clock | None = None,
    plan: TaskPlan = plan_task,
    paint: Painter = paint_image,
) -> Starlette:
    """
    Build the look-alike. It needs no start-up and no shutdown events.

    Without a `store` the tasks live as long as the application. `plan` says what becomes of an order, and `paint`
    makes its images. `keys_seen` of `app.state.image_host` and of `app.state.upload_host` counts the requests to that
    host that brought an Authorization header.
    """
    clock = clock or SystemClock()
    store = store or MemoryStore(clock)
    service, image_host = SandboxService(options, store, clock, plan=plan), ImageHost(store, clock, paint)
    upload_host = UploadHost(store, clock)
    app = Starlette(
        routes=_routes(service, image_host, upload_host),
        middleware=[Middleware(_Dated, clock=clock)],
        exception_handlers={
            RefusalError: _answer_refusal,
            HTTPException: _answer_http,
            OSError: _answer_failure,
            ClientDisconnect: _answer_nobody,
        },
    )
    # The service redirects nowhere, and a redirect would cost the key.
    app.router.redirect_slashes = False
    app.state.image_host, app.state.upload_host = image_host, upload_host
    return app


def in_process_app(state_dir: Path, clock: Clock | None = None, extra_models: Iterable[Row] = ()) -> Starlette:
    """
    Build the look-alike for use inside this process; its tasks outlive it in a file of `state_dir`.

    `extra_models` are the operator's rows of WAN_MCP_EXTRA_MODELS.
    """
    options = SandboxOptions(
        public_url=IN_PROCESS_URL, upload_url=IN_PROCESS_UPLOAD_URL, extra_models=tuple(extra_models)
    )
    return create_app(options, store=FileStore(state_dir, clock), clock=clock)


async def serve(
    options: SandboxOptions,
    host: str,
    port: int,
    state_dir: Path | None,
    *,
    ready: Callable[[str], None] | None = None,
    clock: Clock | None = None,
) -> None:
    """
    Serve until a signal or a cancellation ends it; answers under way are finished first.

    `ready` is called with the URL once connections are accepted; with port 0 it holds the port that was found.
    Without `state_dir` the tasks end with the server. Nothing is printed; what goes wrong goes to uvicorn's log.

    Raises:
        OSError: the address cannot be used.
    """
    store = FileStore(state_dir, clock) if state_dir else None
    app = create_app(options, store=store, clock=clock)
    from wan_mcp import http_server  # noqa: PLC0415 - the sandbox inside the process has no port

    listeners = await anyio.to_thread.run_sync(http_server.listen, host, port)
    await http_server.serve(app, listeners, ready=ready, answer_seconds=_ANSWER_SECONDS, date_header=False)


def _routes(service: SandboxService, image_host: ImageHost, upload_host: UploadHost) -> list[Route]:
    services = f"{_API}/services/aigc"
    return [
        Route(f"{services}/{WireProtocol.SYNC}", service.create_sync, methods=["POST"]),
        Route(f"{services}/{WireProtocol.ASYNC}", service.create_async, methods=["POST"]),
        Route(f"{services}/{WireProtocol.LEGACY}", service.create_legacy, methods=["POST"]),
        Route(f"{services}/{WireProtocol.LEGACY_EDIT}", service.create_legacy_edit, methods=["POST"]),
        Route(f"{_API}/services/{{path:path}}", service.refuse_path, methods=["POST"]),
        Route("/results/{path:path}", image_host.get_image, methods=["GET"]),
        # The service's own upload hosts have no path.
        *(Route(path, upload_host.post_file, methods=["POST"]) for path in ("/", UPLOAD_PATH)),
        # The official SDK ends these paths with a slash in its asynchronous calls, and that of the list in all.
        *(
            route
            for slash in ("", "/")
            for route in (
                Route(f"{_API}/uploads{slash}", service.get_permit, methods=["GET"]),
                Route(f"{_API}/tasks{slash}", service.list_tasks, methods=["GET"]),
                Route(f"{_API}/tasks/{{task_id}}{slash}", service.get_task, methods=["GET"]),
                Route(f"{_API}/tasks/{{task_id}}/cancel{slash}", service.cancel_task, methods=["POST"]),
            )
        ),
    ]


async def _answer_refusal(_request: Request, error: Exception) -> Response:
    return error_response(error.error if isinstance(error, RefusalError) else errors.INTERNAL_ERROR)


async def _answer_http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else _NOT_FOUND
    return error_response(errors.wrong_method(request.method) if status == _WRONG_METHOD else errors.UNKNOWN_PATH)


async def _answer_failure(_request: Request, _error: Exception) -> Response:
    return error_response(errors.INTERNAL_ERROR)


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
