"""
The calls of the service: three ways to create, and query, list and cancel, with faults between question and answer.

Source: https://help.aliyun.com/zh/model-studio/text-to-image-v2-api-reference, manage-asynchronous-tasks and
error-code there.
"""

import asyncio  # noqa: TID251  the fake owns its loop and thread and must reach the bare transport
import json
import re
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fakes.dashscope_account import Account, Task
from fakes.dashscope_bodies import write_choices, write_created, write_error, write_page, write_task, write_unknown
from fakes.dashscope_faults import Fault, FaultBook
from fakes.dashscope_images import ImageHost
from fakes.dashscope_orders import PATHS, REGION_IDS, SINGAPORE, Protocol, find_refusal, read_order
from fakes.dashscope_wire import Answer, Connection, Request, Response, make_json

_PATH = re.compile(r"(?:/(?P<region>[a-z][a-z0-9-]*))?/api/v1(?P<rest>/.*)$")
_CANCEL = re.compile(r"/tasks/([^/]+)/cancel$")
_QUERY = re.compile(r"/tasks/([^/]+)$")
_TOO_LATE = "Failed to cancel the task, please confirm if the task is in PENDING status."
_TOO_MANY = "Requests rate limit exceeded, please try again later."


@dataclass
class CreateRecord:
    """One creating POST. `outcome` is "created", "refused: CODE", or the kind of the fault it met."""

    time: float
    path: str
    headers: dict[str, str]
    body: Any
    outcome: str = "broken off"
    task_id: str | None = None


@dataclass(frozen=True)
class Spot:
    """Where a request went: its region, the region whose catalogue is held (None: every model), the path below."""

    region: str
    held: str | None
    rest: str


class Api:
    """Answers the calls of one account; `keys` is one key, a key for each region, or None for any."""

    def __init__(self, account: Account, images: ImageHost, faults: FaultBook, now: Callable[[], float]) -> None:
        self._account, self._images, self._faults, self._now = account, images, faults, now
        self._recent: dict[tuple[str, ...], deque[float]] = {}
        self.creates: list[CreateRecord] = []
        self.queries: Counter[str] = Counter()
        self.keys: Mapping[str, str] | str | None = None
        self.region: str | None = None
        self.echo = True
        self.result_shape = "choices"
        self.list_lag = 0.0
        self.list_zone = 8.0
        self.creates_per_second: int | None = None
        self.queries_per_second: int | None = None

    @property
    def home(self) -> str:
        """The region of the address without a region in its path."""
        first = next(iter(self.keys)) if isinstance(self.keys, Mapping) else SINGAPORE
        return read_region(self.region or first)

    async def handle(self, connection: Connection, request: Request) -> bool:
        """Answer one request; True keeps the connection."""
        spot = self._locate(request.path)
        if spot is not None and request.method == "POST":
            if spot.rest in PATHS:
                return await self._create(connection, request, spot)
            if match := _CANCEL.match(spot.rest):
                return await self._cancel(connection, request, spot, match[1])
        if spot is not None and request.method == "GET":
            if spot.rest in {"/tasks", "/tasks/"}:
                return await self._list(connection, request, spot)
            if match := _QUERY.match(spot.rest):
                return await self._query(connection, request, spot, match[1])
        return await connection.send(make_json(404, write_error("NotFound", "The requested path does not exist.")))

    async def _create(self, connection: Connection, request: Request, spot: Spot) -> bool:
        protocol = PATHS[spot.rest]
        body = _read_json(request.body)
        record = CreateRecord(self._now(), request.target, request.headers, body)
        self.creates.append(record)
        fault = self._faults.take("create", _find_prompt(protocol, body))

        def effect() -> Response | Answer:
            refusal = self._refuse(request, spot) or find_refusal(protocol, body, request.headers, spot.held)
            if refusal is None and self._is_too_fast(self.creates_per_second, "create", spot.region, body["model"]):
                refusal = (429, "Throttling.RateQuota", _TOO_MANY)
            if refusal is not None:
                record.outcome = f"refused: {refusal[1]}"
                return make_json(refusal[0], write_error(*refusal[1:]))
            order = read_order(protocol, body)
            if protocol == "sync" and order.problem is not None:
                record.outcome = f"refused: {order.problem[0]}"
                return make_json(400, write_error(*order.problem))
            task = self._account.create(order, protocol, spot.region, "client")
            record.task_id, record.outcome = task.id, fault.kind if fault else "created"
            return lambda: self._answer_created(task)

        if fault is not None and fault.before:
            record.outcome = fault.kind
        return await self._perform(connection, fault, effect)

    async def _answer_created(self, task: Task) -> Response:
        if task.protocol != "sync":
            return make_json(200, write_created(task))
        while (left := task.ends - self._now()) > 0:
            await asyncio.sleep(min(left, 0.05))
        if not task.good_images:
            return make_json(400, write_error(task.ending.code, task.ending.message))
        chosen = write_choices(task, self._images.link, self.result_shape)
        return make_json(200, {**chosen, "request_id": task.request_id})

    async def _query(self, connection: Connection, request: Request, spot: Spot, task_id: str) -> bool:
        self.queries[task_id] += 1
        fault = self._faults.take("query", request.target)

        def answer() -> Response:
            task = self._account.find(task_id, spot.region)
            if task is None or (fault and fault.action == "unknown"):
                return make_json(200, write_unknown(task_id))
            if fault and fault.action == "status-word":
                odd = {"task_id": task_id, "task_status": fault.word}
                return make_json(200, {"request_id": task.request_id, "output": odd})
            shown = write_task(task, self._now(), self._images.link, shape=self.result_shape, echo=self.echo)
            return make_json(200, shown)

        special = fault is not None and fault.action in {"unknown", "status-word"}
        return await self._perform(connection, None if special else fault, self._guard(request, spot, answer))

    async def _list(self, connection: Connection, request: Request, spot: Spot) -> bool:
        fault = self._faults.take("list", request.target)

        def answer() -> Response:
            tasks = self._account.select(spot.region, self.list_lag)
            return make_json(*write_page(tasks, request.query, self._now(), self.list_zone))

        return await self._perform(connection, fault, self._guard(request, spot, answer))

    async def _cancel(self, connection: Connection, request: Request, spot: Spot, task_id: str) -> bool:
        fault = self._faults.take("cancel", request.target)

        def answer() -> Response:
            task = self._account.find(task_id, spot.region)
            if task is None or not self._account.cancel(task):
                return make_json(400, write_error("UnsupportedOperation", _TOO_LATE))
            return make_json(200, {"request_id": task.request_id})

        return await self._perform(connection, fault, self._guard(request, spot, answer))

    def _guard(self, request: Request, spot: Spot, answer: Callable[[], Response]) -> Callable[[], Response | Answer]:
        """Put the checks that every task call has before `answer`."""

        def effect() -> Response | Answer:
            refusal = self._refuse(request, spot)
            if refusal is None and self._is_too_fast(self.queries_per_second, "query", spot.region):
                refusal = (429, "Throttling.RateQuota", _TOO_MANY)
            if refusal is not None:
                return make_json(refusal[0], write_error(*refusal[1:]))
            response = answer()

            async def give() -> Response:
                return response

            return give

        return effect

    async def _perform(
        self, connection: Connection, fault: Fault | None, effect: Callable[[], Response | Answer]
    ) -> bool:
        """Do the work and answer; the fault decides whether it is done, and how the answer goes wrong."""
        if fault is not None and fault.before:
            if fault.action != "slow":
                return await connection.break_with(fault, _never)
            await asyncio.sleep(fault.seconds)
            fault = None
        done = effect()
        if isinstance(done, Response):
            return await connection.send(done)
        return await connection.send(await done()) if fault is None else await connection.break_with(fault, done)

    def _locate(self, path: str) -> Spot | None:
        match = _PATH.match(path)
        if match is None:
            return None
        named = match["region"]
        if named is None:
            held = read_region(self.region) if self.region else None
            return Spot(self.home, held, match["rest"])
        region = read_region(named)
        return Spot(region, region, match["rest"])

    def _refuse(self, request: Request, spot: Spot) -> tuple[int, str, str] | None:
        """Answer the refusal of a missing or wrong key; a key of another region is simply wrong here."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key.strip():
            return 401, "InvalidApiKey", "No API-key provided."
        if self.keys is None:
            return None
        if isinstance(self.keys, str):
            wanted = self.keys
        else:
            wanted = {read_region(name): value for name, value in self.keys.items()}.get(spot.region)
        return None if key.strip() == wanted else (401, "InvalidApiKey", "Invalid API-key provided.")

    def _is_too_fast(self, limit: int | None, *bucket: str) -> bool:
        """Count this call in a sliding second; refused calls do not count."""
        if limit is None:
            return False
        now, recent = self._now(), self._recent.setdefault(bucket, deque())
        while recent and recent[0] <= now - 1:
            recent.popleft()
        if len(recent) >= limit:
            return True
        recent.append(now)
        return False


def read_region(name: str) -> str:
    """Answer the region id of a friendly name or an id."""
    return REGION_IDS.get(name, name)


async def _never() -> Response:
    raise AssertionError("a fault before the work has no true answer to show")


def _read_json(data: bytes) -> Any:
    """Answer the decoded body; text that is no JSON comes back as text and is refused as a body later."""
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def _find_prompt(protocol: Protocol, body: Any) -> str:
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return ""
    try:
        return read_order(protocol, body).prompt
    except KeyError:  # a model nobody knows
        return ""
