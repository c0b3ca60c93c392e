"""
The gallery as a web application of this machine: one page, the JSON that it reads, and what its buttons do.

A button orders again, orders a change of an image, cancels what has not begun, or fetches a file again that is gone.
Every path lies under a secret, see `security`. Nothing here knows a file or the ledger: tasks and pictures come from
the service.
"""

import json
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import cast

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from wan_mcp import http_server
from wan_mcp.web.answers import JsonObject, describe_costs, describe_order, make_edit, read_query
from wan_mcp.web.assets import bundle_modules, read_source
from wan_mcp.web.security import AccessControl, Secrets
from wan_mcp_tools.catalogue.prices import describe_cost, estimate
from wan_mcp_tools.domain.errors import (
    AppError,
    ErrorCode,
    FolderNotAllowedError,
    LedgerError,
    LimitError,
    NotFoundError,
    RequestRefusedError,
    SettingsError,
)
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService, OrderState
from wan_mcp_tools.domain.tasks import Task

_SECRET_BYTES = 32
_ANSWER_SECONDS = 2
"""How long answers under way get when a signal ends the server."""
_ORDERS_PER_PAGE = 60
_MOST_OPEN = 100
_THUMBNAIL_SIDE = 448
_INPUT_SIDE = 224
_MOST_IMAGE_BYTES = 512 * 1024 * 1024
_MOST_BODY_BYTES = 40_000
"""A prompt in any script, and a little more."""
_ACCEPTANCE_SECONDS = 6.0
"""How long a request to order waits for the service to name the order; the page follows it in any case."""
_MOST_KEYS = 10_000
_LONGEST_KEY = 200
_THUMBNAIL_CACHING = "private, max-age=86400, immutable"
_STYLES = ("common.css", "gallery.css")
_HTTP_STATUSES: tuple[tuple[type[AppError], int], ...] = (
    (FolderNotAllowedError, 403),
    (LimitError, 429),
    (RequestRefusedError, 422),
    (SettingsError, 422),
    (NotFoundError, 404),
    (LedgerError, 503),
)

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class GalleryUrls:
    """Where the gallery is: its page, and a URL that leads there once, for a browser to be started with."""

    page: str
    one_time: str


async def serve_gallery(service: ImageService, listener: socket.socket, ready: Callable[[GalleryUrls], None]) -> None:
    """
    Serve the gallery of a running service until a signal ends it.

    `ready` is called once requests are answered.
    """
    port = listener.getsockname()[1]
    secrets = Secrets(token_urlsafe(_SECRET_BYTES), token_urlsafe(_SECRET_BYTES))
    home = f"http://127.0.0.1:{port}"
    urls = GalleryUrls(f"{home}/{secrets.token}/", f"{home}/{secrets.ticket}")
    app = make_gallery_app(service, secrets, frozenset({f"127.0.0.1:{port}", f"localhost:{port}"}))
    await http_server.serve(app, [listener], ready=lambda _: ready(urls), answer_seconds=_ANSWER_SECONDS)


def make_gallery_app(service: ImageService, secrets: Secrets, hosts: frozenset[str]) -> ASGIApp:
    """Build the application for a running service; `hosts` are the names, with a port, that it answers to."""
    api = GalleryApi(service)
    routes = [
        Route("/", _asset("gallery.html", "text/html"), methods=["GET"]),
        Route("/gallery.js", _asset("gallery.js", "text/javascript", bundle_modules), methods=["GET"]),
        *(Route(f"/{name}", _asset(name, "text/css"), methods=["GET"]) for name in _STYLES),
        Route("/orders", api.list_orders, methods=["GET"]),
        Route("/open", api.list_open, methods=["GET"]),
        Route("/costs", api.sum_costs, methods=["GET"]),
        Route("/orders/{id}", api.show_order, methods=["GET"]),
        Route("/orders/{id}/again", api.order_again, methods=["POST"]),
        Route("/orders/{id}/edit/{index:int}", api.quote_edit, methods=["GET"]),
        Route("/orders/{id}/edit/{index:int}", api.order_edit, methods=["POST"]),
        Route("/orders/{id}/cancel", api.cancel, methods=["POST"]),
        Route("/orders/{id}/fetch", api.fetch, methods=["POST"]),
        Route("/thumbnails/{id}/{index:int}", api.draw_thumbnail, methods=["GET"]),
        Route("/inputs/{id}/{number:int}", api.draw_input, methods=["GET"]),
        Route("/images/{id}/{index:int}", api.show_image, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={AppError: _respond_with_error})
    app.router.redirect_slashes = False
    return AccessControl(app, secrets, hosts)


class GalleryApi:
    """The answers of the gallery, each from one request."""

    def __init__(self, service: ImageService) -> None:
        self._service = service
        self._used_keys: dict[str, None] = {}

    async def list_orders(self, request: Request) -> Response:
        """Give one page of orders; without a state, those that go on are left out, because `/open` has them."""
        query = read_query({"state": OrderState.ENDED, **{k: v for k, v in request.query_params.items() if v}})
        page = await self._service.find_orders(
            query, limit=_ORDERS_PER_PAGE, cursor=request.query_params.get("cursor")
        )
        catalogue = self._service.catalogue
        orders = [describe_order(task, catalogue) for task in page.tasks]
        return JSONResponse({"orders": orders, "cursor": page.cursor})

    async def list_open(self, request: Request) -> Response:
        """Give the orders that go on, and the numbers of all that are meant: they tell whether anything is new."""
        service, catalogue = self._service, self._service.catalogue
        parameters = dict(request.query_params)
        totals = await service.count_orders(read_query(parameters))
        query = read_query({**parameters, "state": OrderState.OPEN})
        page = await service.find_orders(query, limit=_MOST_OPEN, cursor=None)
        return JSONResponse(
            {
                "orders": [describe_order(task, catalogue) for task in page.tasks],
                "count": {"orders": totals.orders, "images": totals.images},
                "models": totals.models,
                "regions": totals.regions,
            }
        )

    async def sum_costs(self, _: Request) -> Response:
        """Give what all images cost."""
        report = await self._service.report_costs(since=None, until=None)
        return JSONResponse(describe_costs(report, self._service.catalogue))

    async def show_order(self, request: Request) -> Response:
        """Give one order."""
        return self._respond(await self._find(request))

    async def order_again(self, request: Request) -> Response:
        """Order anew with the same settings, once for each press of a button."""
        body = await _read_body(request)
        task = await self._find(request)
        if task.request is None:
            raise RequestRefusedError("What was ordered is not known: this task was found at the service.")
        arguments = task.request.to_arguments()
        return await self._order_once(body, lambda: self._service.catalogue.make_request(**arguments))

    async def quote_edit(self, request: Request) -> Response:
        """Give what a change of an image would be ordered from, and what it costs."""
        catalogue, index = self._service.catalogue, request.path_params["index"]
        edit = make_edit(await self._find(request), index, "a change", catalogue)
        cost = describe_cost(estimate([edit], catalogue))
        return JSONResponse({"model": edit.model, "region": edit.region, "cost": cost})

    async def order_edit(self, request: Request) -> Response:
        """Order a change of a saved image in words, once for each press of a button."""
        body, index = await _read_body(request), request.path_params["index"]
        task, prompt = await self._find(request), body.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise RequestRefusedError("What is to be changed is not said.", "Say it in words.")
        return await self._order_once(body, lambda: make_edit(task, index, prompt, self._service.catalogue))

    async def cancel(self, request: Request) -> Response:
        """Cancel an order that the service has not begun."""
        task = await self._find(request)
        return self._respond(await self._service.cancel(task.task_id))

    async def fetch(self, request: Request) -> Response:
        """Fetch the files of an order that are gone again, free of charge, while the service has them."""
        task = await self._find(request)
        for image in task.images:
            # What is still there stays as it is.
            await self._service.download_image(
                task_id=task.task_id, index=image.index, url=None, output_dir=None, filename=None
            )
        return self._respond(await self._find(request))

    async def draw_thumbnail(self, request: Request) -> Response:
        """Give a thumbnail of an image."""
        task_id, index = request.path_params["id"], request.path_params["index"]
        small = await self._service.draw_thumbnail(task_id=task_id, index=index, side=_THUMBNAIL_SIDE)
        return Response(small.data, media_type=small.mime_type, headers={"Cache-Control": _THUMBNAIL_CACHING})

    async def draw_input(self, request: Request) -> Response:
        """Give a thumbnail of what an order was given as input; an address of the web is never fetched."""
        task_id, number = request.path_params["id"], request.path_params["number"]
        small = await self._service.draw_input(task_id=task_id, number=number, side=_INPUT_SIDE)
        return Response(small.data, media_type=small.mime_type)

    async def show_image(self, request: Request) -> Response:
        """Give an image as it is on the disk."""
        task_id, index = request.path_params["id"], request.path_params["index"]
        picture = await self._service.read_image(task_id=task_id, index=index, most_bytes=_MOST_IMAGE_BYTES)
        return Response(picture.data, media_type=picture.mime_type)

    async def _order_once(self, body: JsonObject, make_request: Callable[[], ImageRequest]) -> Response:
        """
        Order, unless this press of a button was an order already.

        Raises:
            AppError: the order is refused; the press may be repeated then.
        """
        key = body["idempotency_key"]
        if key in self._used_keys:
            return JSONResponse({"message": "This was ordered already."}, status_code=409)
        asked = make_request()
        self._used_keys[key] = None
        if len(self._used_keys) > _MOST_KEYS:
            del self._used_keys[next(iter(self._used_keys))]
        ordered = await self._service.order(
            asked, wait_seconds=_ACCEPTANCE_SECONDS, until_accepted=True, fresh=True, report=None
        )
        return self._respond(ordered)

    async def _find(self, request: Request) -> Task:
        """
        Find the order that a request is about.

        Raises:
            NotFoundError: the ledger has none of this id.
        """
        order_id = request.path_params["id"]
        task = await self._service.peek(order_id)
        if task is None:
            raise NotFoundError(f"No order {order_id[:80]} is in this ledger.", code=ErrorCode.TASK_NOT_FOUND)
        return task

    def _respond(self, task: Task) -> Response:
        return JSONResponse(describe_order(task, self._service.catalogue))


def _asset(name: str, media_type: str, read: Callable[[str], str] = read_source) -> Endpoint:
    async def respond(_: Request) -> Response:
        return Response(await run_sync(read, name), media_type=media_type)

    return respond


async def _read_body(request: Request) -> JsonObject:
    """
    Read what the page sends: an object with the key that it makes for each press of a button.

    By `idempotency_key`, a text, a request which arrives twice is one order.

    Raises:
        RequestRefusedError: the body is not what the page sends.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BODY_BYTES:
            break
    try:
        sent = json.loads(body) if len(body) <= _MOST_BODY_BYTES else None
    except (ValueError, RecursionError):
        sent = None
    values = cast("JsonObject", sent) if isinstance(sent, dict) else {}
    key = values.get("idempotency_key")
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise RequestRefusedError("The order cannot be read.", "Reload the page.")
    return values


async def _respond_with_error(_: Request, error: Exception) -> Response:
    if not isinstance(error, AppError):
        raise error
    status = next((status for kind, status in _HTTP_STATUSES if isinstance(error, kind)), 502)
    return JSONResponse({"message": error.message, "advice": error.advice, "code": error.code}, status_code=status)
