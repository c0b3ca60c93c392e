"""Following a task until the service says that it has ended; every trouble on the way is waited out."""

from functools import partial

from wan_mcp.clock import Clock
from wan_mcp.dashscope import TaskAnswer, read_link_end
from wan_mcp.ledger import DAY, Ledger, Order, OrderImage, Stage
from wan_mcp.orders import lifecycle
from wan_mcp.orders.context import Timings, backoff
from wan_mcp.orders.live_orders import LiveOrder, LiveOrders, LiveProblem
from wan_mcp.orders.worker.eligibility import NotEligibleError, OrderEligibility
from wan_mcp.orders.worker.queries import Queries, Urgency
from wan_mcp.orders.worker.schedule import PolledTask, RunningTimes, Schedule
from wan_mcp.orders.worker.writer import OrderWriter
from wan_mcp_tools.domain.errors import AppError, KeyRefusedError, LedgerError, SettingsError
from wan_mcp_tools.domain.tasks import TaskStatus

_NO_IMAGES = LiveProblem(lifecycle.NO_IMAGES.code, lifecycle.NO_IMAGES.message, is_retried=False)
_READ_AGAIN = 5.0
"""Seconds after which the ledger is read once more for a kind of which too little was known."""


class Poller:
    """Asks for one task when its schedule says so, until it ends."""

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        *,
        live: LiveOrders,
        writer: OrderWriter,
        queries: Queries,
        schedule: Schedule,
        eligibility: OrderEligibility,
        timings: Timings,
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._live = live
        self._writer = writer
        self._queries = queries
        self._schedule = schedule
        self._eligibility = eligibility
        self._timings = timings
        self._read_at: dict[RunningTimes, float] = {}

    async def poll(self, order: Order) -> Order:
        """
        Take a task from OPEN to its images or its end.

        Raises:
            NotEligibleError: the service knows it under another key only.
        """
        live = self._live.get(order.local_id)
        await self._recall(order)
        task = self._schedule.add(order, live)
        is_found = False
        try:
            order, is_found = await self._ask_until_end(order, live, task)
        finally:
            self._schedule.remove(task, is_found=is_found)
        return order

    async def _ask_until_end(self, order: Order, live: LiveOrder, task: PolledTask) -> tuple[Order, bool]:
        """Ask until the task has ended; say whether a question has found that which nobody called for."""
        failures = unknowns = 0
        not_before = 0.0
        clock, timings = self._clock, self._timings
        while True:
            is_called = False
            while not is_called and (left := self._find_wait(task, not_before)) > 0:
                is_called = await live.pause(clock, left)
                order = self._tell_beginning(order, task)
            asked_at = clock.monotonic()
            try:
                answer = await self._queries.get_task(
                    order.region,
                    task.task_id,
                    images=order.images_ordered,
                    urgent=partial(self._find_urgency, task, is_called=is_called),
                )
            except AppError as error:
                failures += 1
                live.set_problem(LiveProblem.of(error))
                live.was_tried = True
                live.tell_asked()
                if isinstance(error, KeyRefusedError | SettingsError) and self._eligibility.is_foreign(order):
                    raise NotEligibleError from error
                # Nobody has said that the task is gone, and our clock alone may be wrong.
                if not isinstance(error, LedgerError) and lifecycle.is_over(order, clock.now() - DAY):
                    return await self._writer.save(order, lifecycle.expired(order)), False
                not_before = clock.monotonic() + backoff(failures, timings.retry_step, timings.retry_most)
                continue
            failures = 0
            if answer.status is not TaskStatus.SUCCEEDED:
                live.set_problem(None)
            unknowns = unknowns + 1 if answer.status is TaskStatus.UNKNOWN else 0
            order = await self._record(order, answer, task, unknowns=unknowns)
            live.was_tried = not order.images
            live.tell_asked()
            if order.stage is Stage.CLOSED or order.images:
                return order, not is_called
            self._schedule.note_answer(task, answer, asked_at)
            if unknowns >= timings.unknown_answers:
                not_before = clock.monotonic() + backoff(unknowns, 5.0, 600.0)

    def _find_wait(self, task: PolledTask, not_before: float) -> float:
        now = self._clock.monotonic()
        return max(task.due_at(now), not_before) - now

    def _find_urgency(self, task: PolledTask, *, is_called: bool) -> Urgency:
        return task.urgency(self._clock.monotonic(), is_called=is_called)

    def _tell_beginning(self, order: Order, task: PolledTask) -> Order:
        """Tell that the list says of a task that it has begun; it is written down with the next change."""
        if task.is_told_running and order.status is TaskStatus.PENDING:
            return self._writer.defer(order, lifecycle.running(order, TaskStatus.RUNNING))
        return order

    async def _recall(self, order: Order) -> None:
        """Read what earlier tasks of the kind took, unless enough is known."""
        times, now = self._schedule.running_times_of(order), self._clock.monotonic()
        if times.is_learned or now < self._read_at.get(times, -_READ_AGAIN) + _READ_AGAIN:
            return
        self._read_at[times] = now
        try:
            times.restore(
                await self._ledger.reports.list_durations(order.region, order.model or "", order.images_ordered)
            )
        except LedgerError:
            # A guess does for now; the ledger's trouble is told when something must be written.
            return

    async def _record(self, order: Order, answer: TaskAnswer, task: PolledTask, *, unknowns: int) -> Order:
        """Write down what an answer says; only changes are written."""
        now = self._clock.now()
        match answer.status:
            case TaskStatus.UNKNOWN if unknowns < self._timings.unknown_answers:
                return order
            case TaskStatus.UNKNOWN | TaskStatus.SUCCEEDED if lifecycle.is_over(order, now) and not answer.images:
                return await self._writer.save(order, lifecycle.expired(order))
            case TaskStatus.UNKNOWN if self._eligibility.is_foreign(order):
                raise NotEligibleError
            case TaskStatus.SUCCEEDED:
                return await self._record_images(order, answer, task)
            case TaskStatus.FAILED:
                return await self._writer.save(order, lifecycle.failed(order, answer, now=now))
            case TaskStatus.CANCELED:
                return await self._writer.save(order, lifecycle.canceled(order, answer, now=now))
            case status:
                if status is order.status:
                    return order
                return await self._writer.save(order, lifecycle.running(order, status))

    async def _record_images(self, order: Order, answer: TaskAnswer, task: PolledTask) -> Order:
        images = lifecycle.make_images(answer.images, ordered=lifecycle.count_expected(order))
        if not images:
            # It may be paid for: it is asked again until its day is over, in the hope of an answer that can be read.
            self._live.get(order.local_id).set_problem(_NO_IMAGES)
            return order
        self._live.get(order.local_id).set_problem(None)
        now = self._clock.now()
        duration = self._schedule.find_running_time(task, answer.duration)
        if duration is not None:
            task.running_times.learn(duration)
        after = lifecycle.succeeded(
            order,
            answer,
            images,
            duration=duration,
            expires_at=_find_link_end(images, latest=now + DAY),
            now=now,
        )
        if len(images) == 1:
            # Its next step writes its row anyway.
            return self._writer.defer(order, after)
        return await self._writer.save(order, after)


def _find_link_end(images: tuple[OrderImage, ...], *, latest: float) -> float:
    """Read the end of the links' life from the links; without it, it is `latest`."""
    ends = [end for image in images if image.url and (end := read_link_end(image.url)) is not None]
    return min(latest, max(ends)) if ends else latest
