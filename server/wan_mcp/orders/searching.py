"""
Finding an order again whose answer was lost.

The service has no idempotency key. Its list names the tasks of the last 24 hours with model and creation time, but
neither prompt nor result (https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks). So the tasks of the
order's own time window are looked at one by one until exactly one can be it.
"""

import json
from collections.abc import Sequence

from wan_mcp.dashscope import ListedTask, TaskAnswer
from wan_mcp.ledger import Order, Stage
from wan_mcp.orders.books import Books, hindrance
from wan_mcp.orders.census import Census, Window
from wan_mcp.orders.clocks import ServiceClocks
from wan_mcp.orders.ids import new_local_id
from wan_mcp.orders.likeness import agrees
from wan_mcp.orders.outcomes import DAY, closed
from wan_mcp.orders.pacing import backoff
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.queries import Queries
from wan_mcp.orders.sending import LOST_FOR_GOOD
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.domain.errors import AppError, KeyRefusedError, ServiceError, SettingsError
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

RECOVERED = (
    "The answer to this order was lost; the task was found again by its model, time, size and number of images. "
    "If another program orders with the same account at the same moment, look whether the picture is yours."
)
NOT_FOUND = Problem(
    "AnswerLost",
    "The order was sent and its answer was lost. The service lists no task that could be it, so it was most likely "
    "never created. It is not sent again by itself.",
)


class Searcher:
    """Looks for lost orders in the service's list. Never sends anything again."""

    def __init__(self, parts: Parts, books: Books, queries: Queries, clocks: ServiceClocks) -> None:
        self._parts = parts
        self._books = books
        self._queries = queries
        self._clocks = clocks
        self._census = Census(parts, queries, clocks)

    async def search(self, order: Order) -> Order:
        """Take an order from LOST to OPEN or CLOSED, or give up with SUBMIT_UNKNOWN."""
        if order.protocol == WireProtocol.SYNC:
            return await self._books.advance(order, closed(LOST_FOR_GOOD, TaskStatus.SUBMIT_UNKNOWN))
        attempt = 0
        while order.stage is Stage.LOST:
            attempt += 1
            timings = self._parts.timings
            await self._parts.news.pause(order.local_id, backoff(attempt, timings.search_step, timings.settle))
            try:
                order = await self._look(order)
            except (KeyRefusedError, SettingsError) as error:
                self._parts.news.trouble(order.local_id, hindrance(error))
            except ServiceError as error:
                is_over = self._parts.clock.now() > (order.lost_at or 0.0) + timings.grace
                if is_over and error.nothing_created and not error.retryable:
                    return await self._give_up(order)
                self._parts.news.trouble(order.local_id, hindrance(error))
            except AppError as error:
                self._parts.news.trouble(order.local_id, hindrance(error))
            if order.stage is Stage.LOST and self._parts.clock.now() > (order.lost_at or 0.0) + DAY:
                return await self._give_up(order)
        return order

    async def _look(self, order: Order) -> Order:
        # In this order: whoever made a task that is listed is among the unanswered, or its id is known by then.
        created, served_at = await self._census.take(order.region, order.wire_model, lambda: self._window(order))
        alike = await self._parts.ledger.unanswered(order.region, order.wire_model or "")
        window = self._window(order)
        rivals = [other for other in alike if other.local_id != order.local_id]
        if any(other.stage is Stage.SENDING and self._meets(other, window) for other in rivals):
            # An answer that is still on its way may name one of these tasks.
            return order
        unknown = await self._unknown(created)
        candidates = [task for task in unknown if self._is_nearest(task, order, rivals)]
        answers = [await self._queries.ask(order.region, task.task_id) for task in candidates]
        served_at = served_at or self._service_time(order, self._parts.clock.now())
        waited = served_at - self._service_time(order, order.lost_at or 0.0)
        return await self._decide(order, answers, waited, may_inherit=len(candidates) < len(unknown))

    def _service_time(self, order: Order, moment: float) -> float:
        offset = order.clock_offset
        if offset is None:
            offset = self._clocks.offset(order.region) or 0.0
        return moment + offset

    def _window(self, order: Order) -> Window:
        timings = self._parts.timings
        sent = self._service_time(order, order.sent_at or order.created_at)
        return Window(sent - timings.skew, sent + timings.create_window + timings.skew)

    def _meets(self, other: Order, window: Window) -> bool:
        sent = self._service_time(other, other.sent_at or 0.0)
        return sent <= window.end

    async def _unknown(self, tasks: Sequence[ListedTask]) -> list[ListedTask]:
        known = await self._parts.ledger.known([task.task_id for task in tasks])
        return [task for task in tasks if task.task_id not in known]

    def _is_nearest(self, task: ListedTask, order: Order, rivals: Sequence[Order]) -> bool:
        """Say whether no lost order was sent between this one and the task's creation."""
        if order.protocol == WireProtocol.LEGACY:
            # The result repeats the prompt, which says more than the time.
            return True
        sent = self._service_time(order, order.sent_at or 0.0)
        created = task.created_at or 0.0
        skew = self._parts.timings.skew
        later = (self._service_time(other, other.sent_at or 0.0) for other in rivals)
        return not any(sent < moment <= created + skew for moment in later)

    async def _decide(
        self, order: Order, answers: Sequence[TaskAnswer], waited: float, *, may_inherit: bool
    ) -> Order:
        """Adopt, offer, give up, or wait on; `may_inherit` while a rival may leave tasks to this order."""
        timings = self._parts.timings
        request = ImageRequest.from_dict(json.loads(order.request or "{}"))
        if any(not answer.status.is_final and answer.status is not TaskStatus.UNKNOWN for answer in answers):
            return order
        matches = [answer for answer in answers if agrees(answer, order, request)]
        if waited < timings.settle:
            # The list may lag behind: another candidate may show yet.
            return order
        repeating = [answer for answer in matches if answer.orig_prompt is not None]
        if repeating or len(matches) == 1:
            return await self._adopt(order, (repeating or matches)[0])
        if matches:
            return await self._offer_all(order, matches)
        if waited < timings.grace or may_inherit:
            return order
        lesser = [answer for answer in answers if agrees(answer, order, request, with_all_images=False)]
        if lesser:
            return await self._offer_all(order, lesser)
        failed = [answer for answer in answers if answer.status is TaskStatus.FAILED]
        if len(failed) == 1 and len(answers) == 1:
            return await self._adopt(order, failed[0])
        return await self._give_up(order)

    async def _adopt(self, order: Order, answer: TaskAnswer) -> Order:
        changes = {
            **self._found(order),
            "notes": (*order.notes, RECOVERED),
            "error_code": None,
            "error_message": None,
        }
        return await self._books.keep(
            order, lambda: self._parts.ledger.identify(order, answer.task_id or "", changes)
        )

    def _found(self, order: Order) -> dict[str, object]:
        return {
            "stage": Stage.OPEN,
            "status": TaskStatus.RUNNING,
            "accepted_at": order.sent_at,
            "expires_at": (order.sent_at or self._parts.clock.now()) + DAY,
        }

    async def _offer_all(self, order: Order, answers: Sequence[TaskAnswer]) -> Order:
        """Save every picture that may be the order's, and say that it is not known which is."""
        note = (
            f"This may be the picture of the order {order.local_id}, whose answer was lost. The service does not "
            "tell of tasks that fit it whose they are."
        )
        task = {
            **self._found(order),
            "model": order.model,
            "wire_model": order.wire_model,
            "protocol": order.protocol,
            "folder": order.folder,
            "notes": (note,),
        }
        ids = [answer.task_id or "" for answer in answers]
        tasks = {new_local_id(): task_id for task_id in ids}
        problem = Problem(
            "AnswerAmbiguous",
            "The order was sent and its answer was lost. Several tasks may be it, and their pictures are saved: "
            f"{', '.join(ids)}. It is not sent again by itself.",
        )
        changes = closed(problem, TaskStatus.SUBMIT_UNKNOWN)
        return await self._books.keep(order, lambda: self._parts.ledger.offer(order, changes, tasks=tasks, task=task))

    async def _give_up(self, order: Order) -> Order:
        return await self._books.advance(order, closed(NOT_FOUND, TaskStatus.SUBMIT_UNKNOWN))
