"""The calls of the service: order, query, list, cancel."""

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wan_mcp.clock import Clock
from wan_mcp.sandbox import answers, refusals
from wan_mcp.sandbox.links import signed_url
from wan_mcp.sandbox.listing import list_body, read_query
from wan_mcp.sandbox.models import MODELS, Model, Wire
from wan_mcp.sandbox.options import SandboxOptions
from wan_mcp.sandbox.orders import Order, plan, read_order
from wan_mcp.sandbox.records import State, TaskRecord, state_of
from wan_mcp.sandbox.refusals import RefusalError, Trouble
from wan_mcp.sandbox.schedule import CallLimit, is_too_soon
from wan_mcp.sandbox.store import Records, Store

_LARGEST_BODY = 8_000_000
_JSON_OBJECT = TypeAdapter(dict[str, Any])


class Service:
    """Answers for orders and tasks. What is true of a task stands in its record; nothing runs in the background."""

    def __init__(self, options: SandboxOptions, store: Store, clock: Clock) -> None:
        self._options = options
        self._store = store
        self._clock = clock
        self._query_limit = CallLimit(options.query_throttle)
        self._list_limit = CallLimit(options.query_throttle)
        self._cancel_limit = CallLimit(options.query_throttle)

    async def create_sync(self, request: Request) -> Response:
        """Take an order and answer with the images when they are done."""
        order = await self._take(request, Wire.SYNC)
        if order.trouble is not None:
            raise RefusalError(400, order.trouble)
        record = await self._submit(order)
        # A sleep may end a little before the wall clock says so, and the image is there only then.
        while (left := record.ended - self._clock.now()) > 0:
            await self._clock.sleep(left)
        if record.failure is not None:
            raise RefusalError(500, record.failure)
        return JSONResponse(answers.sync_body(record, self._url_of(request)))

    async def create_async(self, request: Request) -> Response:
        """Take an order of the newer asynchronous protocol and answer with its task id."""
        record = await self._submit(await self._take(request, Wire.ASYNC))
        return JSONResponse(answers.creation_body(record))

    async def create_legacy(self, request: Request) -> Response:
        """Take an order of the legacy protocol and answer with its task id."""
        record = await self._submit(await self._take(request, Wire.LEGACY))
        return JSONResponse(answers.creation_body(record))

    async def query(self, request: Request) -> Response:
        """Answer how a task stands."""
        self._admit(request, self._query_limit)
        task_id = request.path_params["task_id"]
        record = _visible(await self._store.read(), task_id)
        body = answers.task_body(_new_id(), task_id, record, self._clock.now(), self._url_of(request))
        return JSONResponse(body)

    async def list_tasks(self, request: Request) -> Response:
        """Answer with the tasks of the last 24 hours, or of another span."""
        self._admit(request, self._list_limit)
        now = self._clock.now()
        query = read_query(request.query_params, now)
        records = await self._store.read()
        return JSONResponse(list_body(_new_id(), records, query, self._options.region, now))

    async def cancel(self, request: Request) -> Response:
        """Cancel a task that is PENDING."""
        self._admit(request, self._cancel_limit)
        task_id = request.path_params["task_id"]

        def decide(records: Records) -> tuple[bool, TaskRecord | None]:
            record, now = _visible(records, task_id), self._clock.now()
            if record is None or state_of(record, now) is not State.PENDING:
                return False, None
            return True, replace(record, canceled=now)

        if not await self._store.change(decide):
            raise refusals.too_late_to_cancel()
        return JSONResponse({"request_id": _new_id()})

    async def refuse_path(self, request: Request) -> Response:
        """Refuse a creating call on a path that no protocol has."""
        self._check_key(request)
        raise refusals.wrong_path()

    async def _take(self, request: Request, wire: Wire) -> Order:
        """Check everything that is checked before an order is accepted, in the service's order."""
        self._check_key(request)
        wants_async = request.headers.get("x-dashscope-async", "").lower() == "enable"
        if wants_async and wire is Wire.SYNC:
            raise refusals.only_sync()
        if not wants_async and wire is not Wire.SYNC:
            raise refusals.only_async()
        body = await _read_body(request)
        model = self._find_model(body)
        if wire not in model.wires:
            raise refusals.wrong_path()
        if wire is Wire.SYNC:
            if not model.answers_at_once_in(self._options.region):
                raise refusals.only_async()
            if body.get("input") is None:
                raise refusals.no_input()
        return read_order(body, model, wire, _new_id())

    def _find_model(self, body: Mapping[str, Any]) -> Model:
        name = body.get("model")
        if name is None or name == "":
            raise refusals.no_model()
        model = MODELS.get(name) if isinstance(name, str) else None
        if model is None or not model.is_offered_in(self._options.region):
            raise refusals.unknown_model()
        return model

    async def _submit(self, order: Order) -> TaskRecord:
        rate = self._options.throttle or order.model.rate_in(self._options.region)

        def decide(records: Records) -> tuple[TaskRecord | None, TaskRecord | None]:
            now = self._clock.now()
            if is_too_soon(records.values(), order.model.name, now=now, rate=rate):
                return None, None
            record = plan(order, records, self._options, now)
            return record, record

        record = await self._store.change(decide)
        if record is None:
            raise refusals.too_fast()
        return record

    def _admit(self, request: Request, limit: CallLimit) -> None:
        self._check_key(request)
        if not limit.admits(self._clock.monotonic()):
            raise refusals.too_fast()

    def _check_key(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if not scheme or (scheme.lower() == "bearer" and not key):
            raise refusals.no_key()
        accepted = self._options.keys
        if scheme.lower() != "bearer" or (accepted is not None and key not in accepted):
            raise refusals.wrong_key()

    def _url_of(self, request: Request) -> answers.UrlOf:
        base = (self._options.public_url or str(request.base_url)).rstrip("/")
        return lambda record, place: signed_url(base, record, place, self._options.link_life)


def refusal_response(trouble: Trouble, status: int) -> Response:
    """Give a refusal as the service words it."""
    return JSONResponse(answers.refusal_body(_new_id(), trouble), status)


async def _read_body(request: Request) -> dict[str, Any]:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST_BODY:
            raise refusals.too_large_body()
    try:
        return _JSON_OBJECT.validate_json(bytes(raw))
    except ValidationError:
        raise refusals.unreadable_body() from None


def _visible(records: Records, task_id: str) -> TaskRecord | None:
    record = records.get(task_id)
    return None if record is None or record.wire is Wire.SYNC else record


def _new_id() -> str:
    return str(uuid.uuid4())
