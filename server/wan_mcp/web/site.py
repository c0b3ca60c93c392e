"""
The gallery as a site of this machine: one page, what it reads, and what a press can do.

A press orders again, cancels what has not begun, or fetches a file again that is gone. Every path lies under a
secret, see `guard`. Nothing here knows a file or the ledger: facts and pictures come from the service.
"""

import json
from collections.abc import Awaitable, Callable

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from wan_mcp.web.assembly import join_modules, read_source
from wan_mcp.web.facts import describe_costs, describe_order, read_query
from wan_mcp.web.guard import Guard, Secrets
from wan_mcp_tools.domain.errors import (
    AppError,
    DailyLimitError,
    ErrorCode,
    FolderNotAllowedError,
    LedgerError,
    NotFoundError,
    RequestRefusedError,
    SettingsError,
)
from wan_mcp_tools.domain.service import AlbumState, ImageService
from wan_mcp_tools.domain.tasks import Task

_PAGE = 60
"""Orders in one answer."""
_MOST_OPEN = 100
_ALL_DAYS = 3660
_THUMBNAIL_SIDE = 448
_MOST_IMAGE_BYTES = 512 * 1024 * 1024
_MOST_BODY = 2_000
_NAMING_SECONDS = 6.0
"""How long a press waits for the service to name the order; the page follows it in any case."""
_MOST_PRESSES = 10_000
_DRAWN = "private, max-age=86400, immutable"
_STYLES = ("tokens.css", "parts.css", "gallery.css")
_STATUSES: tuple[tuple[type[AppError], int], ...] = (
    (FolderNotAllowedError, 403),
    (DailyLimitError, 429),
    (RequestRefusedError, 422),
    (SettingsError, 422),
    (NotFoundError, 404),
    (LedgerError, 503),
)

Answer = Callable[[Request], Awaitable[Response]]


def make_site(service: ImageService, secrets: Secrets, hosts: frozenset[str]) -> ASGIApp:
    """Build the site for a running service; `hosts` are the names, with a port, that it answers to."""
    site = Site(service)
    routes = [
        Route("/", _source("gallery.html", "text/html"), methods=["GET"]),
        Route("/gallery.js", _source("gallery.js", "text/javascript", join_modules), methods=["GET"]),
        *(Route(f"/{name}", _source(name, "text/css"), methods=["GET"]) for name in _STYLES),
        Route("/orders", site.list_orders, methods=["GET"]),
        Route("/open", site.list_open, methods=["GET"]),
        Route("/costs", site.sum_costs, methods=["GET"]),
        Route("/orders/{id}", site.show_order, methods=["GET"]),
        Route("/orders/{id}/again", site.order_again, methods=["POST"]),
        Route("/orders/{id}/cancel", site.cancel, methods=["POST"]),
        Route("/orders/{id}/fetch", site.fetch, methods=["POST"]),
        Route("/thumbnails/{id}/{index:int}", site.draw_thumbnail, methods=["GET"]),
        Route("/images/{id}/{index:int}", site.show_image, methods=["GET"]),
    ]
    app = Starlette(routes=routes, exception_handlers={AppError: _tell_failure})
    app.router.redirect_slashes = False
    return Guard(app, secrets, hosts)


class Site:
    """The answers of the gallery."""

    def __init__(self, service: ImageService) -> None:
        self._service = service
        self._presses: dict[str, None] = {}

    async def list_orders(self, request: Request) -> Response:
        """Give one page of orders; without a state, those that go on are left out, because `/open` has them."""
        query = read_query({"state": AlbumState.ENDED, **{k: v for k, v in request.query_params.items() if v}})
        page = await self._service.album.page(query, limit=_PAGE, cursor=request.query_params.get("cursor"))
        catalogue = self._service.catalogue
        orders = [describe_order(task, catalogue) for task in page.tasks]
        return JSONResponse({"orders": orders, "cursor": page.cursor})

    async def list_open(self, request: Request) -> Response:
        """Give the orders that go on, and the numbers of all that are meant: they tell whether anything is new."""
        album, catalogue = self._service.album, self._service.catalogue
        given = dict(request.query_params)
        survey = await album.survey(read_query(given))
        page = await album.page(read_query({**given, "state": AlbumState.OPEN}), limit=_MOST_OPEN, cursor=None)
        return JSONResponse(
            {
                "orders": [describe_order(task, catalogue) for task in page.tasks],
                "count": {"orders": survey.orders, "images": survey.images},
                "models": survey.models,
                "regions": survey.regions,
            }
        )

    async def sum_costs(self, _: Request) -> Response:
        """Give what all images cost."""
        report = await self._service.costs(days=_ALL_DAYS)
        return JSONResponse(describe_costs(report, self._service.catalogue))

    async def show_order(self, request: Request) -> Response:
        """Give one order."""
        return self._tell(await self._find(request))

    async def order_again(self, request: Request) -> Response:
        """Order anew with the same settings, once for each press of a person."""
        press = await _read_press(request)
        task = await self._find(request)
        if task.request is None:
            raise RequestRefusedError("What was ordered is not known: this task was found at the service.")
        if press in self._presses:
            return JSONResponse({"message": "This was ordered already."}, status_code=409)
        wanted = self._service.catalogue.request(**task.request.to_dict())
        self._presses[press] = None
        if len(self._presses) > _MOST_PRESSES:
            del self._presses[next(iter(self._presses))]
        ordered = await self._service.order(
            wanted, wait_seconds=_NAMING_SECONDS, until_named=True, fresh=True, report=None
        )
        return self._tell(ordered)

    async def cancel(self, request: Request) -> Response:
        """Cancel an order that the service has not begun."""
        task = await self._find(request)
        return self._tell(await self._service.cancel(task.task_id))

    async def fetch(self, request: Request) -> Response:
        """Fetch the files of an order that are gone again, free of charge, while the service has them."""
        task = await self._find(request)
        for image in task.images:
            # What is still there stays as it is.
            await self._service.place_image(
                task_id=task.task_id, index=image.index, url=None, output_dir=None, filename=None
            )
        return self._tell(await self._find(request))

    async def draw_thumbnail(self, request: Request) -> Response:
        """Give a tiny picture of an image."""
        task_id, index = request.path_params["id"], request.path_params["index"]
        small = await self._service.album.thumbnail(task_id=task_id, index=index, side=_THUMBNAIL_SIDE)
        return Response(small.data, media_type=small.mime_type, headers={"Cache-Control": _DRAWN})

    async def show_image(self, request: Request) -> Response:
        """Give an image as it is on the disk."""
        task_id, index = request.path_params["id"], request.path_params["index"]
        picture = await self._service.picture(task_id=task_id, index=index, most_bytes=_MOST_IMAGE_BYTES)
        return Response(picture.data, media_type=picture.mime_type)

    async def _find(self, request: Request) -> Task:
        """
        Find the order that a request is about.

        Raises:
            NotFoundError: the ledger has none of this id.
        """
        named = request.path_params["id"]
        task = await self._service.peek(named)
        if task is None:
            raise NotFoundError(f"No order {named[:80]} is in this ledger.", code=ErrorCode.TASK_NOT_FOUND)
        return task

    def _tell(self, task: Task) -> Response:
        return JSONResponse(describe_order(task, self._service.catalogue))


def _source(name: str, media_type: str, read: Callable[[str], str] = read_source) -> Answer:
    async def answer(_: Request) -> Response:
        return Response(await run_sync(read, name), media_type=media_type)

    return answer


async def _read_press(request: Request) -> str:
    """
    Read the name that the page gives to a press, so that a request which arrives twice is one order.

    Raises:
        RequestRefusedError: the body is not what the page sends.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BODY:
            break
    try:
        press = json.loads(body)["press"]
    except (ValueError, TypeError, KeyError):
        press = None
    if len(body) > _MOST_BODY or not isinstance(press, str) or not press:
        raise RequestRefusedError("The order cannot be read.", "Reload the page.")
    return press


async def _tell_failure(_: Request, error: Exception) -> Response:
    if not isinstance(error, AppError):
        raise error
    status = next((status for kind, status in _STATUSES if isinstance(error, kind)), 502)
    return JSONResponse({"message": error.message, "advice": error.advice, "code": error.code}, status_code=status)
