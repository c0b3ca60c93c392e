"""Following a task until the service says that it has ended."""

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from wan_mcp.clock import Clock
from wan_mcp.dashscope import TaskAnswer
from wan_mcp.ledger import Order, OrderImage, Origin, Stage
from wan_mcp.orders.books import Books, hindrance
from wan_mcp.orders.clocks import ServiceClocks
from wan_mcp.orders.outcomes import CANCELED, DAY, closed, image_records, is_over
from wan_mcp.orders.pacing import Pace, backoff, running_time
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.queries import Queries
from wan_mcp.orders.reach import OutOfReachError, Reach
from wan_mcp_tools.domain.errors import AppError, KeyRefusedError, LedgerError, SettingsError
from wan_mcp_tools.domain.tasks import Problem, TaskStatus

EXPIRED = Problem(
    "Expired",
    "The service keeps a task and its images for 24 hours, and they are over. Nothing of it was saved.",
)
NO_IMAGES = Problem(
    "NoImages",
    "The service says that the task has succeeded, but names no image that can be read. It is asked again.",
)
FAILED = Problem("TaskFailed", "The service could not make the picture and gave no reason. It is not charged.")


@dataclass(slots=True)
class _Watch:
    """
    What was seen of a task so far.

    `born` is its acceptance by a clock that nobody sets, so that a corrected wall clock makes it neither wait nor
    learn nonsense.
    """

    clock: Clock
    born: float
    looks: int = 0
    unknowns: int = 0

    @classmethod
    def begin(cls, clock: Clock, accepted_at: float) -> "_Watch":
        """Begin to watch a task that was accepted at a time of the wall clock."""
        return cls(clock, clock.monotonic() - max(0.0, clock.now() - accepted_at))

    @property
    def age(self) -> float:
        """Seconds since it was accepted."""
        return self.clock.monotonic() - self.born


class Poller:
    """Asks for one task at a learned pace until it ends; every trouble on the way is waited out."""

    def __init__(self, parts: Parts, books: Books, queries: Queries, clocks: ServiceClocks, reach: Reach) -> None:
        self._parts = parts
        self._books = books
        self._queries = queries
        self._clocks = clocks
        self._reach = reach

    async def follow(self, order: Order) -> Order:
        """
        Take a task from OPEN to its images or its end.

        Raises:
            OutOfReachError: the service knows it under another key only.
        """
        pace = await self._pace(order)
        watch = _Watch.begin(self._parts.clock, order.accepted_at or order.created_at)
        # A task that was found somewhere may have ended long ago.
        first = pace.first() if order.origin is Origin.ORDERED else 0.0
        pause, troubles = max(0.0, first - watch.age), 0
        while True:
            if pause:
                await self._parts.news.pause(order.local_id, pause)
            asked_after = watch.age
            try:
                answer = await self._queries.ask(order.region, order.task_id or "")
            except AppError as error:
                troubles += 1
                self._parts.news.trouble(order.local_id, hindrance(error))
                self._parts.news.looked(order.local_id)
                if isinstance(error, KeyRefusedError | SettingsError) and self._reach.is_foreign(order):
                    raise OutOfReachError from error
                # Nobody has said that the task is gone, and our clock alone may be wrong.
                if not isinstance(error, LedgerError) and is_over(order, self._parts.clock.now() - DAY):
                    return await self._books.advance(order, closed(EXPIRED, TaskStatus.EXPIRED))
                pause = backoff(troubles, self._parts.timings.trouble_step, self._parts.timings.trouble_most)
                continue
            troubles = 0
            if answer.status is not TaskStatus.SUCCEEDED:
                self._parts.news.trouble(order.local_id, None)
            self._clocks.learn(order.region, answer.served_at, self._parts.clock.now())
            watch.unknowns = watch.unknowns + 1 if answer.status is TaskStatus.UNKNOWN else 0
            watch.looks += 1
            order = await self._note(order, answer, watch)
            self._parts.news.looked(order.local_id)
            if order.stage is Stage.CLOSED or order.images:
                return order
            pause = self._next_pause(pace, asked_after, pause, watch.unknowns)

    async def _pace(self, order: Order) -> Pace:
        guess = self._parts.timings.first_look
        try:
            durations = await self._parts.ledger.durations(order.region, order.model or "", order.images_ordered)
        except LedgerError:
            # A guess does for now; the ledger's trouble is told when something must be written.
            return Pace(guess=guess)
        return Pace.learn(durations, guess)

    def _next_pause(self, pace: Pace, elapsed: float, previous: float, unknowns: int) -> float:
        if unknowns >= self._parts.timings.unknown_answers:
            return backoff(unknowns, 5.0, 600.0)
        return pace.next(elapsed, previous)

    async def _note(self, order: Order, answer: TaskAnswer, watch: _Watch) -> Order:
        """Write down what an answer says; only changes are written."""
        match answer.status:
            case TaskStatus.UNKNOWN if watch.unknowns < self._parts.timings.unknown_answers:
                return order
            case TaskStatus.UNKNOWN | TaskStatus.SUCCEEDED if self._is_past(order) and not answer.images:
                return await self._books.advance(order, closed(EXPIRED, TaskStatus.EXPIRED))
            case TaskStatus.UNKNOWN if self._reach.is_foreign(order):
                raise OutOfReachError
            case TaskStatus.SUCCEEDED:
                return await self._succeeded(order, answer, watch)
            case TaskStatus.FAILED:
                problem = answer.problem or FAILED
                return await self._books.advance(order, closed(problem) | self._ended(order, answer))
            case TaskStatus.CANCELED:
                changes = closed(CANCELED, TaskStatus.CANCELED) | self._ended(order, answer)
                return await self._books.advance(order, changes)
            case status:
                if status is order.status:
                    return order
                return await self._books.advance(order, {"status": status})

    def _is_past(self, order: Order) -> bool:
        return is_over(order, self._parts.clock.now())

    async def _succeeded(self, order: Order, answer: TaskAnswer, watch: _Watch) -> Order:
        images = image_records(answer, order.images_ordered)
        if not images:
            # It may be paid for: it is asked again until its day is over, in the hope of an answer that can be read.
            self._parts.news.trouble(order.local_id, NO_IMAGES)
            return order
        changes = self._ended(order, answer) | {
            "status": TaskStatus.SUCCEEDED,
            "duration": running_time(answer.duration, watch.age, is_first_look=watch.looks == 1),
            "actual_prompt": answer.actual_prompt,
            "expires_at": self._end_of_links(images),
        }
        if len(images) == 1:
            # Its next step writes its row anyway.
            return self._books.defer(order, changes, images)
        return await self._books.advance(order, changes, images)

    def _ended(self, order: Order, answer: TaskAnswer) -> dict[str, object]:
        return {"finished_at": self._parts.clock.now(), "request_id": order.request_id or answer.request_id}

    def _end_of_links(self, images: tuple[OrderImage, ...]) -> float:
        """Read the end of the links' life from the links; without it, it is 24 hours from now."""
        latest = self._parts.clock.now() + DAY
        queries = [parse_qs(urlsplit(image.url or "").query) for image in images]
        ends = [float(value) for query in queries for value in query.get("Expires", []) if value.isdigit()]
        return min(latest, max(ends)) if ends else latest
