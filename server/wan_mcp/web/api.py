"""
The gallery as a web application: one page, the JSON that it reads, and what its buttons do.

A button orders again, orders a change of an image, cancels what has not begun, or fetches a file again that is gone.
Who may see it is found out around it; here counts who the current principal is, and what that one may do. Nothing
here knows a file or the ledger: tasks and pictures come from the service.
"""

import html
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from wan_mcp.web.answers import JsonObject, describe_costs, describe_order, make_edit, read_query
from wan_mcp.web.assets import bundle_modules, read_source
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
    StorageError,
)
from wan_mcp_tools.domain.principals import Scope, current_principal, name_principal
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.service import ImageService, OrderState
from wan_mcp_tools.domain.tasks import Task

_ORDERS_PER_PAGE = 60
_MOST_OPEN = 100
_THUMBNAIL_SIDE = 448
_INPUT_SIDE = 224
_MOST_IMAGE_BYTES = 512 * 1024 * 1024
_MOST_BODY_BYTES = 40_000
"""A prompt in any script, and a little more."""
_ACCEPTANCE_SECONDS = 6.0
"""How long a request to order waits for the service to name the order; the page follows it in any case."""
_FORBIDDEN = 403
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
_OPERATORS_ERRORS = (FolderNotAllowedError, LedgerError, SettingsError, StorageError)

_PAGE = '<body data-rights="">'
"""What of the page says who sees it."""
_RIGHTS = {Scope.ORDER: "order", Scope.CANCEL: "cancel"}

Endpoint = Callable[[Request], Awaitable[Response]]
TakeKey = Callable[[str], Awaitable[bool]]
"""Takes the key of a press of a button; says whether it is new. Raises AppError where there are too many of them."""
Hide = Callable[[JsonObject], Awaitable[JsonObject]]
"""Gives facts without the places of the server in them."""

_log = logging.getLogger(__name__)


class IdempotencyKeys:
    """The keys of the buttons that were pressed, as far as one process knows them."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    async def take(self, key: str) -> bool:
        """Take a key; say whether it is new."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > _MOST_KEYS:
            del self._keys[next(iter(self._keys))]
        return True


def make_gallery(api: "GalleryApi", others: Sequence[BaseRoute] = ()) -> Starlette:
    """Make the application, with other routes beside its own."""
    routes = [
        Route("/", _show_page, methods=["GET"]),
        *make_asset_routes("gallery.js"),
        Route("/orders", api.list_orders, methods=["GET"]),
        Route("/open", api.list_open, methods=["GET"]),
        Route("/costs", api.sum_costs, methods=["GET"]),
        Route("/orders/{id}", api.show_order, methods=["GET"]),
        Route("/orders/{id}/again", _for(Scope.ORDER, api.order_again), methods=["POST"]),
        Route("/orders/{id}/edit/{index:int}", api.quote_edit, methods=["GET"]),
        Route("/orders/{id}/edit/{index:int}", _for(Scope.ORDER, api.order_edit), methods=["POST"]),
        Route("/orders/{id}/cancel", _for(Scope.CANCEL, api.cancel), methods=["POST"]),
        Route("/orders/{id}/fetch", api.fetch, methods=["POST"]),
        Route("/thumbnails/{id}/{index:int}", api.draw_thumbnail, methods=["GET"]),
        Route("/inputs/{id}/{number:int}", api.draw_input, methods=["GET"]),
        Route("/images/{id}/{index:int}", api.show_image, methods=["GET"]),
        *others,
    ]
    app = Starlette(routes=routes, exception_handlers={AppError: api.respond_with_error})
    app.router.redirect_slashes = False
    return app


def make_asset_routes(script: str) -> list[Route]:
    """Make the routes of what a page is made of: a script with all that it imports, and the styles."""
    return [
        Route(f"/{script}", serve_source(script, "text/javascript", bundle_modules), methods=["GET"]),
        *(Route(f"/{name}", serve_source(name, "text/css"), methods=["GET"]) for name in _STYLES),
    ]


class GalleryApi:
    """The answers of the gallery, each from one request."""

    def __init__(self, service: ImageService, take_key: TakeKey, hide: Hide | None = None) -> None:
        self._service = service
        self._take_key = take_key
        self._hide = hide

    async def list_orders(self, request: Request) -> Response:
        """Give one page of orders; without a state, those that go on are left out, because `/open` has them."""
        query = read_query({"state": OrderState.ENDED, **{k: v for k, v in request.query_params.items() if v}})
        page = await self._service.find_orders(
            query, limit=_ORDERS_PER_PAGE, cursor=request.query_params.get("cursor")
        )
        catalogue = self._service.catalogue
        orders = [describe_order(task, catalogue) for task in page.tasks]
        return await self._answer({"orders": orders, "cursor": page.cursor})

    async def list_open(self, request: Request) -> Response:
        """Give the orders that go on, and the numbers of all that are meant: they tell whether anything is new."""
        service, catalogue = self._service, self._service.catalogue
        parameters = dict(request.query_params)
        totals = await service.count_orders(read_query(parameters))
        query = read_query({**parameters, "state": OrderState.OPEN})
        page = await service.find_orders(query, limit=_MOST_OPEN, cursor=None)
        return await self._answer(
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
        return await self._answer(describe_costs(report, self._service.catalogue))

    async def show_order(self, request: Request) -> Response:
        """Give one order."""
        return await self._respond(await self._find(request))

    async def order_again(self, request: Request) -> Response:
        """Order anew with the same settings, once for each press of a button."""
        body = await _read_press(request)
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
        body, index = await _read_press(request), request.path_params["index"]
        task, prompt = await self._find(request), body.get("prompt")
        if not isinstance(prompt, str) or not prompt.strip():
            raise RequestRefusedError("What is to be changed is not said.", "Say it in words.")
        return await self._order_once(body, lambda: make_edit(task, index, prompt, self._service.catalogue))

    async def cancel(self, request: Request) -> Response:
        """Cancel an order that the service has not begun."""
        task = await self._find(request)
        return await self._respond(await self._service.cancel(task.task_id))

    async def fetch(self, request: Request) -> Response:
        """Fetch the files of an order that are gone again, free of charge, while the service has them."""
        task = await self._find(request)
        for image in task.images:
            # What is still there stays as it is.
            await self._service.download_image(
                task_id=task.task_id, index=image.index, url=None, output_dir=None, filename=None
            )
        return await self._respond(await self._find(request))

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
        asked = make_request()
        if not await self._take_key(body["idempotency_key"]):
            return JSONResponse({"message": "This was ordered already."}, status_code=409)
        ordered = await self._service.order(
            asked, wait_seconds=_ACCEPTANCE_SECONDS, until_accepted=True, fresh=True, report=None
        )
        return await self._respond(ordered)

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

    async def respond_with_error(self, _: Request, error: Exception) -> Response:
        """Answer an error in words."""
        facts, status = describe_error(error)
        return await self._answer(facts, status)

    async def _respond(self, task: Task) -> Response:
        return await self._answer(describe_order(task, self._service.catalogue))

    async def _answer(self, facts: JsonObject, status: int = 200) -> Response:
        """Give facts as JSON, without places of the server where no disk is shared."""
        return JSONResponse(facts if self._hide is None else await self._hide(facts), status)


def serve_source(name: str, media_type: str, read: Callable[[str], str] = read_source) -> Endpoint:
    """Make the endpoint of a source of a page."""

    async def respond(_: Request) -> Response:
        return Response(await run_sync(read, name), media_type=media_type)

    return respond


async def _show_page(_: Request) -> Response:
    """Give the page as the principal may use it: a button that would be refused is not there."""
    principal, page = current_principal(), await run_sync(read_source, "gallery.html")
    rights = " ".join(name for scope, name in _RIGHTS.items() if principal.may(scope))
    person = "" if principal.is_local else f' data-person="{html.escape(name_principal(principal.id))}"'
    return Response(page.replace(_PAGE, f'<body data-rights="{rights}"{person}>'), media_type="text/html")


def _for(scope: Scope, respond: Endpoint) -> Endpoint:
    """Make an endpoint for those alone who may do something."""

    async def respond_to_allowed(request: Request) -> Response:
        if not current_principal().may(scope):
            facts = {"message": f"Your token does not allow this: it lacks the scope {scope}."}
            return JSONResponse(facts, status_code=_FORBIDDEN)
        return await respond(request)

    return respond_to_allowed


async def _read_press(request: Request) -> JsonObject:
    """
    Read what the page sends: an object with the key that it makes for each press of a button.

    By `idempotency_key`, a text, a request which arrives twice is one order.

    Raises:
        RequestRefusedError: the body is not what the page sends.
    """
    values = await read_json(request)
    key = values.get("idempotency_key")
    if not isinstance(key, str) or not 0 < len(key) <= _LONGEST_KEY:
        raise RequestRefusedError("The order cannot be read.", "Reload the page.")
    return values


async def read_json(request: Request) -> JsonObject:
    """Read the object that a page sends; an empty one if it is none, or longer than any."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BODY_BYTES:
            return {}
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return cast("JsonObject", sent) if isinstance(sent, dict) else {}


def describe_error(error: Exception) -> tuple[JsonObject, int]:
    """Give an error in words, and the status of its answer."""
    if not isinstance(error, AppError):
        raise error
    status = next((status for kind, status in _HTTP_STATUSES if isinstance(error, kind)), 502)
    if current_principal().is_local or not isinstance(error, _OPERATORS_ERRORS):
        return {"message": error.message, "advice": error.advice, "code": error.code}, status
    # It names places of the server, and what only its operator can do.
    _log.warning("the gallery could not do something: %s", error)
    return {"message": "That cannot be done now.", "advice": "Tell whoever runs this server."}, status
