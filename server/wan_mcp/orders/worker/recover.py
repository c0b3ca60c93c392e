"""
Finding an order again whose answer was lost.

The service has no idempotency key. Its list names the tasks of the last 24 hours with model and creation time, but
neither prompt nor result (https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks). So the list is read
whole around the order's own time window, even on a busy account, and its tasks are looked at one by one until exactly
one can be it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from wan_mcp.clock import Clock
from wan_mcp.dashscope import ListedTask, TaskAnswer
from wan_mcp.ledger import DAY, Ledger, Order, Stage, new_local_id
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import Timings, backoff
from wan_mcp.orders.live_orders import LiveOrders, LiveProblem
from wan_mcp.orders.worker.queries import Queries
from wan_mcp.orders.worker.writer import OrderWriter
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.sizes import GRADES, read_grade, read_pixels
from wan_mcp_tools.domain.errors import AppError, KeyRefusedError, ServiceError, SettingsError
from wan_mcp_tools.domain.record import Record
from wan_mcp_tools.domain.requests import ImageRequest
from wan_mcp_tools.domain.tasks import TaskStatus

_FEW_PAGES = 5
_MOST_PAGES = 50
_SIDES_MAY_DIFFER = 0.06
_GRADES_MAY_DIFFER = 1.8
"""In pixels: 1K is 1024*1024 to one model and 1280*1280 to another, and the next grade has four times as many."""


class TimeWindow(Record):
    """When a task can have been created, by the service's clock."""

    start: float
    end: float

    def holds(self, task: ListedTask) -> bool:
        """Say whether a task was created in it."""
        return self.start <= (task.created_at or 0.0) <= self.end


@dataclass(slots=True)
class TaskListScan:
    """What was read of the list: tasks by id, the pages read and those there are, the service's time."""

    tasks: dict[str, ListedTask] = field(default_factory=dict[str, ListedTask])
    pages_read: int = 0
    pages: int = 1
    served_at: float | None = None


async def scan_task_list(
    queries: Queries, region: str, model_id: str | None, find_window: Callable[[], TimeWindow]
) -> tuple[list[ListedTask], float | None]:
    """
    Give the tasks created in a window, and the service's time of the answer if it told any.

    The window is asked for after the first page, which tells the service's time. Pages are put together by id,
    because a task slips to the next page when another is made meanwhile. A list of many pages is asked for with the
    bounds of the window; but the zone of that filter is not documented
    (https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks), so if nothing in the window comes of it, the
    list is read without.
    """
    scan = TaskListScan()
    await _read_pages(queries, scan, region, model_id, None, most=1)
    window = find_window()
    if scan.pages > _FEW_PAGES:
        bounded = TaskListScan()
        await _read_pages(queries, bounded, region, model_id, window, most=_MOST_PAGES)
        if any(map(window.holds, bounded.tasks.values())):
            scan = bounded
    if scan.pages_read < scan.pages:
        await _read_pages(queries, scan, region, model_id, None, most=_MOST_PAGES)
    return [task for task in scan.tasks.values() if window.holds(task)], scan.served_at


async def _read_pages(
    queries: Queries, scan: TaskListScan, region: str, model_id: str | None, bounds: TimeWindow | None, *, most: int
) -> None:
    """Read on from where a scan ends."""
    while scan.pages_read < min(scan.pages, most):
        listing = await queries.list_tasks(
            region,
            start=bounds.start if bounds else None,
            end=bounds.end if bounds else None,
            model_id=model_id,
            page_no=scan.pages_read + 1,
        )
        scan.pages = listing.total_pages
        scan.served_at = listing.served_at or scan.served_at
        scan.tasks |= {task.task_id: task for task in listing.tasks}
        scan.pages_read += 1


def matches_order(answer: TaskAnswer, order: Order, *, with_all_images: bool = True) -> bool:
    """
    Say whether a finished task can be an order: by count, size, and the prompt where it is repeated.

    Of a set, and of text with pictures, the order names the most images, and the model decides how many.
    """
    request = order.request
    if request is None or answer.status is not TaskStatus.SUCCEEDED:
        return False
    count = answer.total or len(answer.images) + answer.surplus
    needs_all = with_all_images and not request.is_counted_by_model
    if count > request.n or (needs_all and count != request.n):
        return False
    if order.protocol == WireProtocol.LEGACY and answer.orig_prompt is not None:
        return answer.orig_prompt.strip() == request.prompt.strip()
    return answer.size is None or _is_about(answer.size, request)


def _is_about(got: str, request: ImageRequest) -> bool:
    """
    Compare sizes; the newest models return a few pixels more or less than they were asked for.

    A grade is a square, except with input pictures: then it has the shape of the last of them, and what a grade
    stands for differs from model to model.
    """
    grade = read_grade(request.size)
    wanted = (GRADES[grade], GRADES[grade]) if grade else read_pixels(request.size or "")
    sides = read_pixels(got)
    if sides is None or wanted is None:
        return True
    if grade and request.images:
        return 1 / _GRADES_MAY_DIFFER <= sides[0] * sides[1] / (wanted[0] * wanted[1]) <= _GRADES_MAY_DIFFER
    return all(abs(one - other) <= other * _SIDES_MAY_DIFFER for one, other in zip(sides, wanted, strict=True))


class Recovery:
    """Searches the service's list for lost orders. Never sends anything again."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        live: LiveOrders,
        writer: OrderWriter,
        queries: Queries,
        timings: Timings,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._live = live
        self._writer = writer
        self._queries = queries
        self._timings = timings

    async def recover(self, order: Order) -> Order:
        """Take an order from LOST to OPEN or CLOSED, or give up with SUBMIT_UNKNOWN."""
        if order.protocol == WireProtocol.SYNC:
            return await self._writer.save(order, lifecycle.lost_for_good(order, ""))
        live = self._live.get(order.local_id)
        attempt = 0
        while order.stage is Stage.LOST:
            attempt += 1
            timings = self._timings
            await live.pause(self._clock, backoff(attempt, timings.search_step, timings.list_lag))
            try:
                order = await self._search(order)
            except AppError as error:
                if self._is_hopeless(order, error):
                    return await self._give_up(order)
                live.set_problem(LiveProblem.of(error))
            if order.stage is Stage.LOST and self._clock.now() > (order.lost_at or 0.0) + DAY:
                return await self._give_up(order)
            live.was_tried = order.stage is Stage.LOST
        return order

    def _is_hopeless(self, order: Order, error: AppError) -> bool:
        """Say whether the service has refused to be searched for long enough."""
        if isinstance(error, KeyRefusedError | SettingsError) or not isinstance(error, ServiceError):
            return False
        is_over = self._clock.now() > (order.lost_at or 0.0) + self._timings.search_grace
        return is_over and error.nothing_created and not error.retryable

    async def _search(self, order: Order) -> Order:
        # In this order: whoever made a task that is listed is among the unanswered, or its id is known by then.
        created, served_at = await scan_task_list(
            self._queries, order.region, order.wire_model, lambda: self._make_window(order)
        )
        unanswered = await self._ledger.orders.list_unanswered(order.region, order.wire_model or "")
        window = self._make_window(order)
        others = [each for each in unanswered if each.local_id != order.local_id]
        if any(other.stage is Stage.SENDING and self._sent_at(other) <= window.end for other in others):
            # An answer that is still on its way may name one of these tasks.
            return order
        known = await self._ledger.orders.find_known([task.task_id for task in created])
        unknown = [task for task in created if task.task_id not in known]
        candidates = [task for task in unknown if self._is_nearest(task, order, others)]
        answers = [await self._queries.get_task(order.region, task.task_id) for task in candidates]
        served_at = served_at or self._service_time(order, self._clock.now())
        waited = served_at - self._service_time(order, order.lost_at or 0.0)
        has_rivals = any(
            abs(self._sent_at(other) - self._sent_at(order)) <= window.end - window.start for other in others
        )
        return await self._decide(
            order, answers, waited, may_inherit=len(candidates) < len(unknown), has_rivals=has_rivals
        )

    def _service_time(self, order: Order, moment: float) -> float:
        offset = order.clock_offset
        if offset is None:
            offset = self._queries.clock_offsets.get(order.region) or 0.0
        return moment + offset

    def _sent_at(self, order: Order) -> float:
        return self._service_time(order, order.sent_at or 0.0)

    def _make_window(self, order: Order) -> TimeWindow:
        timings = self._timings
        sent = self._service_time(order, order.sent_at or order.created_at)
        return TimeWindow(sent - timings.clock_skew, sent + timings.create_window + timings.clock_skew)

    def _is_nearest(self, task: ListedTask, order: Order, others: Sequence[Order]) -> bool:
        """Say whether no lost order was sent between this one and the task's creation."""
        if order.protocol == WireProtocol.LEGACY:
            # The result repeats the prompt, which says more than the time.
            return True
        sent, created = self._sent_at(order), task.created_at or 0.0
        return not any(sent < self._sent_at(other) <= created + self._timings.clock_skew for other in others)

    async def _decide(
        self, order: Order, answers: Sequence[TaskAnswer], waited: float, *, may_inherit: bool, has_rivals: bool
    ) -> Order:
        """
        Assign a task, save the candidates, give up, or wait.

        `may_inherit` is set while another order may leave tasks, `has_rivals` if another that is unanswered was sent
        about as early.
        """
        if any(not answer.status.is_final and answer.status is not TaskStatus.UNKNOWN for answer in answers):
            return order
        if waited < self._timings.list_lag:
            # The list may lag behind: another candidate may show yet.
            return order
        matches = [answer for answer in answers if matches_order(answer, order)]
        repeating = [answer for answer in matches if answer.orig_prompt is not None]
        # Orders by the legacy protocol are sent side by side, because the prompt tells their tasks apart; where an
        # answer lacks it, nothing does.
        is_told_apart = order.protocol != WireProtocol.LEGACY or not has_rivals
        if repeating or (len(matches) == 1 and is_told_apart):
            return await self._assign(order, (repeating or matches)[0])
        if matches:
            return await self._save_candidates(order, matches)
        if waited < self._timings.search_grace or may_inherit:
            return order
        lesser = [answer for answer in answers if matches_order(answer, order, with_all_images=False)]
        if lesser:
            return await self._save_candidates(order, lesser)
        failed = [answer for answer in answers if answer.status is TaskStatus.FAILED]
        if len(failed) == 1 and len(answers) == 1 and is_told_apart:
            return await self._assign(order, failed[0])
        return await self._give_up(order)

    async def _assign(self, order: Order, answer: TaskAnswer) -> Order:
        found = lifecycle.found(order, answer.task_id or "", now=self._clock.now())
        return await self._writer.assign_task(order, found)

    async def _save_candidates(self, order: Order, answers: Sequence[TaskAnswer]) -> Order:
        """Save every picture that may be the order's, and say that it is not known which is."""
        task_ids = [answer.task_id or "" for answer in answers]
        now = self._clock.now()
        candidates = [lifecycle.candidate(order, task_id, local_id=new_local_id(), now=now) for task_id in task_ids]
        return await self._writer.save_candidates(order, lifecycle.ambiguous(order, task_ids), candidates)

    async def _give_up(self, order: Order) -> Order:
        return await self._writer.save(order, lifecycle.not_found(order))
