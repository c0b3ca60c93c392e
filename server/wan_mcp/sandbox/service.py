"""The calls of the service: order, query, list, cancel, and the permit to upload."""

import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import partial
from typing import Any, Protocol

import anyio
import anyio.to_thread
from pydantic import TypeAdapter, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from wan_mcp.clock import Clock
from wan_mcp.sandbox import errors, responses
from wan_mcp.sandbox.catalogue.extra_models import Row, add_models
from wan_mcp.sandbox.catalogue.model import CHINA, DAY, Mode, Model, WireProtocol
from wan_mcp.sandbox.errors import ErrorReply, RefusalError
from wan_mcp.sandbox.image_host import signed_url
from wan_mcp.sandbox.inputs import InputPicture, read_data_uri, read_web_address
from wan_mcp.sandbox.requests import OrderBody, ParsedOrder, make_order, parse_list_query, read_body
from wan_mcp.sandbox.stores import SandboxStore
from wan_mcp.sandbox.tasks import Outcome, Submission, TaskRecord, plan_task, read_outcome
from wan_mcp.sandbox.uploads import UPLOAD_PATH, is_key_of, make_permit

_LARGEST_BODY = 32 * 1024 * 1024
"""Bytes: the pictures of an order, as text, and a little more."""
_MOST_MARKS = 200_000
"""Commas and brackets of a body: many small values take a hundred times the room of their text."""
_PERMITS_A_SECOND = 100.0
_PLAN_KEY = "sk-sp-"
_PER_SET_IMAGE = 0.25
"""How much longer each further image of a set takes, in orders of Wan 2.6."""
_JSON_OBJECT = TypeAdapter(dict[str, Any])


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """
    How the look-alike behaves. Times in seconds.

    `keys` are the accepted API keys; None accepts any that is not empty. `region` is the region id that the task
    list shows; the id of a real region also limits the models to those of that region. A task is done `duration`
    after its submission, `pending` of which it waits. `link_life` counts from the end of the task.
    `throttle` is the number of submissions a second for each model, `concurrency` the number of tasks of one model
    that run at once; None means the documented limit of the model. `query_throttle` is the number of queries
    a second, and likewise of list and of cancel calls. A task stands in the list `list_lag` after its submission, and
    the times of a list query are those of `list_zone`. `public_url` is the base of the image links; None takes it
    from each request, and `upload_url` is where files are put, by default a path of that base. `extra_models` are the
    operator's rows of WAN_MCP_EXTRA_MODELS. `duration` is that of Wan 2.6: other families take longer in proportion.
    With `strict` what the service passes over and a careful client never sends is refused too: unknown parameters and
    fields, a missing `n` or `size`, images behind the text, EXIF.
    """

    keys: frozenset[str] | None = None
    region: str = "sandbox"
    duration: float = 2.0
    pending: float = 0.3
    link_life: float = DAY
    throttle: float | None = None
    query_throttle: float = 20.0
    concurrency: int | None = None
    list_lag: float = 0.0
    list_zone: tzinfo = CHINA
    public_url: str | None = None
    upload_url: str | None = None
    strict: bool = False
    extra_models: tuple[Row, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.pending <= self.duration:
            raise ValueError("pending must lie between 0 and duration")
        if self.link_life <= 0 or self.query_throttle <= 0 or (self.throttle is not None and self.throttle <= 0):
            raise ValueError("link_life, throttle and query_throttle must be positive")
        if self.concurrency is not None and self.concurrency < 1:
            raise ValueError("concurrency must be at least 1")


class TaskPlan(Protocol):
    """Writes the whole life of an order down, as `plan_task` does."""

    def __call__(
        self, submission: Submission, now: float, free_from: float, *, pending: float, duration: float
    ) -> TaskRecord:
        """Give the record of a submission."""
        ...


class SandboxService:
    """Answers for orders and tasks. What is true of a task stands in its record; nothing runs in the background."""

    def __init__(
        self, options: SandboxOptions, store: SandboxStore, clock: Clock, *, plan: TaskPlan = plan_task
    ) -> None:
        self._options = options
        self._store = store
        self._clock = clock
        self._plan = plan
        self._models = add_models(options.extra_models)
        self._query_limit = _CallLimit(options.query_throttle)
        self._list_limit = _CallLimit(options.query_throttle)
        self._cancel_limit = _CallLimit(options.query_throttle)
        self._permit_limit = _CallLimit(_PERMITS_A_SECOND)

    async def create_sync(self, request: Request) -> Response:
        """Take an order and answer with the images when they are done."""
        submission = await self._read_submission(request, WireProtocol.SYNC)
        if submission.outcome.refusal is not None:
            raise RefusalError(submission.outcome.refusal)
        record = await self._create(submission)
        # A sleep may end a little before the wall clock says so, and the image is there only then.
        while (left := record.ended - self._clock.now()) > 0:
            await self._clock.sleep(left)
        if record.failure is not None:
            raise RefusalError(record.failure)
        return JSONResponse(responses.sync_body(record, self._url_of(request)))

    async def create_async(self, request: Request) -> Response:
        """Take an order of the newer asynchronous protocol and answer with its task id."""
        record = await self._create(await self._read_submission(request, WireProtocol.ASYNC))
        return JSONResponse(responses.creation_body(record))

    async def create_legacy(self, request: Request) -> Response:
        """Take an order of the legacy protocol and answer with its task id."""
        record = await self._create(await self._read_submission(request, WireProtocol.LEGACY))
        return JSONResponse(responses.creation_body(record))

    async def create_legacy_edit(self, request: Request) -> Response:
        """Take an order with pictures of the legacy protocol and answer with its task id."""
        record = await self._create(await self._read_submission(request, WireProtocol.LEGACY_EDIT))
        return JSONResponse(responses.creation_body(record))

    async def get_permit(self, request: Request) -> Response:
        """Answer with what allows to upload a picture for one model."""
        self._admit(request, self._permit_limit)
        if request.headers["authorization"].partition(" ")[2].strip().startswith(_PLAN_KEY):
            raise RefusalError(errors.NO_UPLOADS)
        if request.query_params.get("action") != "getPolicy":
            raise RefusalError(errors.invalid_parameter("The action should be getPolicy."))
        model = self._find_model(request.query_params)
        host = self._options.upload_url or f"{self._base_of(request)}{UPLOAD_PATH}"
        return JSONResponse({"request_id": _new_id(), "data": make_permit(model, host, self._clock.now())})

    async def get_task(self, request: Request) -> Response:
        """Answer how a task stands; a synchronous order is no task."""
        self._admit(request, self._query_limit)
        task_id = request.path_params["task_id"]
        record = await self._store.find(task_id)
        if record is not None and record.protocol is WireProtocol.SYNC:
            record = None
        body = responses.task_body(_new_id(), task_id, record, self._clock.now(), self._url_of(request))
        return JSONResponse(body)

    async def list_tasks(self, request: Request) -> Response:
        """Answer with the tasks of the last 24 hours, or of another span."""
        self._admit(request, self._list_limit)
        now, region = self._clock.now(), self._options.region
        query = parse_list_query(request.query_params, now, self._options.list_zone)
        query = replace(query, until=min(query.until, now - self._options.list_lag))
        is_here = query.region in (None, region) and query.api_key_id in (None, responses.API_KEY_ID)
        total, records = await self._store.list_page(query, now) if is_here else (0, ())
        return JSONResponse(responses.list_body(_new_id(), query, total, records, region=region, now=now))

    async def cancel_task(self, request: Request) -> Response:
        """Cancel a task that is PENDING."""
        self._admit(request, self._cancel_limit)
        if not await self._store.cancel(request.path_params["task_id"]):
            raise RefusalError(errors.NOT_PENDING)
        return JSONResponse({"request_id": _new_id()})

    async def refuse_path(self, request: Request) -> Response:
        """Refuse a creating call on a path that no protocol has."""
        self._check_key(request)
        raise RefusalError(errors.WRONG_PATH)

    async def _read_submission(self, request: Request, protocol: WireProtocol) -> Submission:
        """
        Check everything that is checked before an order is accepted, in the service's order.

        What is wrong with the order itself becomes its outcome.
        """
        self._check_key(request)
        wants_async = request.headers.get("x-dashscope-async", "").lower() == "enable"
        if wants_async and protocol is WireProtocol.SYNC:
            raise RefusalError(errors.ONLY_SYNC)
        if not wants_async and protocol is not WireProtocol.SYNC:
            raise RefusalError(errors.ONLY_ASYNC)
        body = await _read_body(request)
        model = self._find_model(body)
        if protocol not in model.protocols:
            raise RefusalError(errors.WRONG_PATH)
        if protocol is WireProtocol.SYNC:
            if not model.has_sync_in(self._options.region):
                raise RefusalError(errors.ONLY_ASYNC)
            if body.get("input") is None:
                raise RefusalError(errors.NO_INPUT)
        strict = self._options.strict
        try:
            parsed = read_body(body, model, protocol, strict=strict)
            pictures = await self._look_at_pictures(request, parsed, model)
            order = make_order(parsed, model, protocol, pictures, strict=strict)
        except RefusalError as refusal:
            return Submission(_new_id(), model, protocol, ParsedOrder(), Outcome(refusal=refusal.error))
        return Submission(_new_id(), model, protocol, order, read_outcome(order.prompt))

    async def _look_at_pictures(self, request: Request, order: OrderBody, model: Model) -> list[InputPicture]:
        """
        Look at the pictures of an order, one after the other.

        Raises:
            RefusalError: one of them is not there, or no picture.
        """
        pictures: list[InputPicture] = []
        for address in order.images:
            if model.inputs is not None and address[:5].lower() == "data:":
                pictures.append(await anyio.to_thread.run_sync(read_data_uri, address, model.inputs))
            elif address.startswith("oss://"):
                pictures.append(await self._find_uploaded(request, address, model))
            else:
                pictures.append(read_web_address(address))
        return pictures

    async def _find_uploaded(self, request: Request, address: str, model: Model) -> InputPicture:
        is_resolved = request.headers.get("x-dashscope-ossresourceresolve", "").lower() == "enable"
        key = address.removeprefix("oss://")
        upload = await self._store.find_upload(key) if is_resolved and is_key_of(key, model.name) else None
        if upload is None:
            raise RefusalError(errors.NOT_DOWNLOADED)
        return upload.picture

    def _find_model(self, body: Mapping[str, Any]) -> Model:
        name = body.get("model")
        if name is None or name == "":
            raise RefusalError(errors.NO_MODEL)
        model = self._models.get(name) if isinstance(name, str) else None
        if model is None or not model.is_offered_in(self._options.region):
            raise RefusalError(errors.UNKNOWN_MODEL)
        return model

    async def _create(self, submission: Submission) -> TaskRecord:
        options, model = self._options, submission.model
        record = await self._store.create(
            model.name,
            partial(self._plan, submission, pending=options.pending, duration=self._duration_of(submission)),
            rate=options.throttle or model.rate_in(options.region),
            concurrency=options.concurrency or model.concurrency,
        )
        if record is None:
            raise RefusalError(errors.RATE_LIMITED)
        return record

    def _duration_of(self, submission: Submission) -> float:
        order, pace = submission.order, submission.model.pace
        if order.mode in (Mode.SET, Mode.INTERLEAVE):
            pace += _PER_SET_IMAGE * (order.count - 1)
        return max(self._options.duration * pace, self._options.pending)

    def _admit(self, request: Request, limit: "_CallLimit") -> None:
        self._check_key(request)
        if not limit.admits(self._clock.monotonic()):
            raise RefusalError(errors.RATE_LIMITED)

    def _check_key(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        if not scheme or (scheme.lower() == "bearer" and not key):
            raise RefusalError(errors.NO_KEY)
        accepted = self._options.keys
        if scheme.lower() != "bearer" or (accepted is not None and key not in accepted):
            raise RefusalError(errors.WRONG_KEY)

    def _url_of(self, request: Request) -> responses.UrlOf:
        base = self._base_of(request)
        return lambda record, index: signed_url(base, record, index, self._options.link_life)

    def _base_of(self, request: Request) -> str:
        return (self._options.public_url or str(request.base_url)).rstrip("/")


class _CallLimit:
    """Counts one kind of call in this process: at most `rate` in any second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._times: deque[float] = deque()

    def admits(self, now: float) -> bool:
        """Count a call at a monotonic time; False says that it comes too soon and does not count."""
        while self._times and self._times[0] <= now - 1:
            self._times.popleft()
        if len(self._times) + 1 > max(self._rate, 1):
            return False
        self._times.append(now)
        return True


def error_response(error: ErrorReply) -> Response:
    """Give an error as the service words it."""
    return JSONResponse(responses.error_body(_new_id(), error), error.status)


async def _read_body(request: Request) -> dict[str, Any]:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _LARGEST_BODY:
            raise RefusalError(errors.TOO_LARGE_BODY)
    if sum(raw.count(mark) for mark in (b",", b"[", b"{")) > _MOST_MARKS:
        raise RefusalError(errors.UNREADABLE_BODY)
    try:
        return await anyio.to_thread.run_sync(_JSON_OBJECT.validate_json, raw)
    except ValidationError:
        raise RefusalError(errors.UNREADABLE_BODY) from None


def _new_id() -> str:
    return str(uuid.uuid4())
