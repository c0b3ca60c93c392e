"""From an order that is written down to one that the service has answered."""

import json
from collections import defaultdict

import anyio

from wan_mcp.dashscope import CreateOrder, TaskAnswer
from wan_mcp.ledger import Dispatch, Limit, NewOrder, Order, OrderImage, Slot, Stage
from wan_mcp.orders.books import Books, hindrance, problem_of
from wan_mcp.orders.clocks import ServiceClocks
from wan_mcp.orders.news import wait_first
from wan_mcp.orders.outcomes import DAY, closed, image_records
from wan_mcp.orders.pacing import backoff
from wan_mcp.orders.parts import Parts
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import AppError, NotConnectedError, ThrottledError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

_LOOK = 0.25
"""Seconds between looks at a slot that is taken."""

NEVER_SENT = Problem(
    "NotSent",
    "The server stopped before the order was sent. Nothing was ordered and nothing will be charged. Order again.",
)
LOST_FOR_GOOD = Problem(
    "AnswerLostForGood",
    "It was ordered by the synchronous protocol, which gives no task id: if its answer is lost, it cannot be found "
    "again. It may have been charged, and is not repeated by itself. The asynchronous protocol has no such gap.",
)


class Sender:
    """
    Sends orders, each at most once.

    Only a connection that never opened and a rate-limit refusal are followed by another attempt: both prove that
    nothing was created. One unanswered order at a time for each region, key and model, so that a lost answer can
    be matched to its task by time alone.
    """

    def __init__(self, parts: Parts, books: Books, clocks: ServiceClocks) -> None:
        self._parts = parts
        self._books = books
        self._clocks = clocks
        self._lines: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._answered: dict[str, anyio.Event] = {}

    def dispatch(self, order: NewOrder | Order) -> Dispatch:
        """Say what an order needs to be sent."""
        name = f"create/{order.region}/{order.account}/{order.wire_model}"
        model = self._parts.catalogue.find(order.model or "")
        limit = Limit(f"create/{order.region}/{order.wire_model}", model.submit_rate(order.region))
        slot = None if order.protocol == WireProtocol.SYNC else Slot(name, self._parts.timings.slot)
        return Dispatch(slot, limit, self._clocks.offset(order.region))

    async def send(self, order: Order) -> Order:
        """Take an order that was placed here from QUEUED, or just marked SENDING, to OPEN, LOST or CLOSED."""
        request = ImageRequest.from_dict(json.loads(order.request or "{}"))
        started = self._parts.clock.monotonic()
        attempt = 0
        while True:
            attempt += 1
            dispatch = self.dispatch(order)
            line = dispatch.slot.name if dispatch.slot else dispatch.limit.name
            if order.stage is Stage.QUEUED:
                async with self._lines[line]:
                    order = await self._take_turn(order, line)
            if order.stage is not Stage.SENDING:
                return order
            try:
                answer = await self._post(order, request, dispatch.slot)
            except AppError as error:
                waited = self._parts.clock.monotonic() - started
                order, pause = await self._refused(order, error, dispatch, attempt, waited)
                if order.stage is not Stage.QUEUED:
                    return order
                await self._parts.clock.sleep(pause)
            else:
                return await self._accepted(order, answer, dispatch.slot)
            finally:
                self._let_next(line)

    def _let_next(self, line: str) -> None:
        answered = self._answered.pop(line, None)
        if answered is not None:
            answered.set()

    async def _take_turn(self, order: Order, line: str) -> Order:
        while True:
            answered = self._answered.setdefault(line, anyio.Event())

            async def begin() -> Order | float | None:
                return await self._parts.ledger.begin_sending(order, self.dispatch(order))

            begun = await self._books.insist(order.local_id, begin)
            if begun is None:
                # Cancelled while it stood in line, or taken over: the ledger knows.
                return await self._books.advance(order, {})
            if isinstance(begun, Order):
                self._parts.news.publish(begun)
                return begun
            self._parts.news.trouble(order.local_id, Problem("Queued", "The order waits for its turn to be sent."))
            # The slot may be another process's, which rings no bell here.
            await wait_first(self._parts.clock, answered.wait, min(begun, _LOOK))

    async def _post(self, order: Order, request: ImageRequest, slot: Slot | None) -> TaskAnswer:
        self._parts.news.trouble(order.local_id, None)
        answers: list[TaskAnswer] = []
        errors: list[AppError] = []

        async def post(scope: anyio.CancelScope) -> None:
            try:
                answers.append(await self._parts.dashscope.create(_wire_order(order, request)))
            except AppError as error:
                errors.append(error)
            scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(post, group.cancel_scope)
            while slot is not None:
                await self._parts.clock.sleep(slot.seconds / 3)
                await self._books.insist(order.local_id, lambda: self._hold(slot, order))
        if errors:
            raise errors[0]
        return answers[0]

    async def _hold(self, slot: Slot, order: Order) -> None:
        await self._parts.ledger.hold_slot(slot, order.local_id)

    async def _accepted(self, order: Order, answer: TaskAnswer, slot: Slot | None) -> Order:
        now = self._parts.clock.now()
        self._clocks.learn(order.region, answer.served_at, now)
        status = answer.status if answer.task_id is None else TaskStatus.PENDING
        changes = {
            "stage": Stage.OPEN,
            "status": status,
            "accepted_at": now,
            "expires_at": now + DAY,
            "request_id": answer.request_id,
            "error_code": None,
            "error_message": None,
        }
        images: tuple[OrderImage, ...] = ()
        if answer.task_id is None:
            changes["finished_at"] = now
            images = image_records(answer, order.images_ordered)
        return await self._books.accept(order, answer.task_id, slot=slot, changes=changes, images=images)

    async def _refused(
        self, order: Order, error: AppError, dispatch: Dispatch, attempt: int, waited: float
    ) -> tuple[Order, float]:
        """Put an order that was certainly not created back in line or end it; mark any other as lost."""
        timings = self._parts.timings
        free = dispatch.slot.name if dispatch.slot else None
        if not error.nothing_created:
            return await self._lost(order, error), 0.0
        pause = 0.0
        if isinstance(error, ThrottledError) and waited < timings.throttle_patience:
            pause = error.retry_after or backoff(attempt, 2 * timings.throttle_step, 30.0)
            await self._books.insist(order.local_id, lambda: self._parts.ledger.hold_back(dispatch.limit, pause))
        elif isinstance(error, NotConnectedError) and attempt < timings.connect_attempts:
            pause = backoff(attempt, timings.trouble_step, 8.0)
        if pause:
            self._parts.news.trouble(order.local_id, hindrance(error))
            changes = {"stage": Stage.QUEUED, "sent_at": None}
            return await self._books.advance(order, changes, free_slot=free), pause
        return await self._books.advance(order, closed(problem_of(error)), free_slot=free), 0.0

    async def _lost(self, order: Order, error: AppError) -> Order:
        # The slot is not freed: it ends by itself, which keeps the next order's window apart from this one's.
        if order.protocol == WireProtocol.SYNC:
            return await self._books.advance(
                order,
                closed(
                    Problem(LOST_FOR_GOOD.code, f"{error.message} {LOST_FOR_GOOD.message}"), TaskStatus.SUBMIT_UNKNOWN
                )
                | {"lost_at": self._parts.clock.now()},
            )
        return await self._books.advance(
            order,
            {
                "stage": Stage.LOST,
                "status": TaskStatus.SUBMIT_UNKNOWN,
                "lost_at": self._parts.clock.now(),
                "error_code": error.code,
                "error_message": error.message,
            },
        )


def _wire_order(order: Order, request: ImageRequest) -> CreateOrder:
    return CreateOrder(
        region=order.region,
        protocol=WireProtocol(order.protocol or ""),
        model_id=order.wire_model or "",
        prompt=request.prompt,
        size=request.size,
        n=request.n,
        negative_prompt=request.negative_prompt,
        seed=request.seed,
        prompt_extend=request.prompt_extend,
        watermark=request.watermark,
    )
