"""Following a task until the service says that it has ended."""

from urllib.parse import parse_qs, urlsplit

from wan_mcp.ledger import ImageRecord, OrderRecord, Origin, Stage
from wan_mcp.remote import TaskAnswer
from wan_mcp.studio.books import Books, problem_of
from wan_mcp.studio.clocks import ServiceClocks
from wan_mcp.studio.outcomes import DAY, closed, image_records
from wan_mcp.studio.pacing import Pace, backoff, running_time
from wan_mcp.studio.parts import Parts
from wan_mcp.studio.queries import Queries
from wan_mcp_tools.shared.errors import LedgerError, WanError
from wan_mcp_tools.shared.tasks import Problem, TaskStatus

EXPIRED = Problem(
    "Expired",
    "The service keeps a task and its images for 24 hours, and they are over. Nothing of it was saved.",
)
NO_IMAGES = Problem(
    "NoImages",
    "The service says that the task has succeeded, but names no image that can be read. It is asked again.",
)
FAILED = Problem("TaskFailed", "The service could not make the picture and gave no reason. It is not charged.")


class Poller:
    """Asks for one task at a learned pace until it ends; every trouble on the way is waited out."""

    def __init__(self, parts: Parts, books: Books, queries: Queries, clocks: ServiceClocks) -> None:
        self._parts = parts
        self._books = books
        self._queries = queries
        self._clocks = clocks

    async def follow(self, order: OrderRecord) -> OrderRecord:
        """Take a task from OPEN to a final status."""
        pace = await self._pace(order)
        clock = self._parts.clock
        accepted = order.accepted_at or order.created_at
        # A task that was found somewhere may have ended long ago.
        first = pace.first() if order.origin is Origin.ORDERED else 0.0
        pause = max(0.0, first - (clock.now() - accepted))
        troubles = unknowns = looks = 0
        while True:
            if pause:
                await self._parts.news.pause(order.local_id, pause)
            asked_after = max(0.0, clock.now() - accepted)
            try:
                answer = await self._queries.ask(order.region, order.task_id or "")
            except WanError as error:
                troubles += 1
                self._parts.news.trouble(order.local_id, problem_of(error))
                if not isinstance(error, LedgerError) and self._is_over(order):
                    return await self._books.advance(order, closed(EXPIRED, TaskStatus.EXPIRED))
                pause = backoff(troubles, self._parts.timings.trouble_step, self._parts.timings.trouble_most)
                continue
            troubles = 0
            if answer.status is not TaskStatus.SUCCEEDED:
                self._parts.news.trouble(order.local_id, None)
            self._clocks.learn(order.region, answer.served_at, clock.now())
            unknowns = unknowns + 1 if answer.status is TaskStatus.UNKNOWN else 0
            looks += 1
            order = await self._note(order, answer, unknowns, looks)
            if order.stage is Stage.CLOSED or order.status is TaskStatus.SUCCEEDED:
                return order
            pause = self._next_pause(pace, asked_after, pause, unknowns)

    async def _pace(self, order: OrderRecord) -> Pace:
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

    def _is_over(self, order: OrderRecord) -> bool:
        return order.expires_at is not None and self._parts.clock.now() > order.expires_at

    async def _note(self, order: OrderRecord, answer: TaskAnswer, unknowns: int, looks: int) -> OrderRecord:
        """Write down what an answer says; only changes are written."""
        match answer.status:
            case TaskStatus.UNKNOWN | TaskStatus.SUCCEEDED if self._is_over(order) and not answer.images:
                return await self._books.advance(order, closed(EXPIRED, TaskStatus.EXPIRED))
            case TaskStatus.SUCCEEDED:
                return await self._succeeded(order, answer, looks)
            case TaskStatus.FAILED:
                problem = answer.problem or FAILED
                return await self._books.advance(order, closed(problem) | self._ended(order, answer))
            case TaskStatus.CANCELED:
                canceled = Problem("Canceled", "The task was cancelled before it began. It is not charged.")
                return await self._books.advance(order, closed(canceled, TaskStatus.CANCELED))
            case TaskStatus.UNKNOWN if unknowns < self._parts.timings.unknown_answers:
                return order
            case status:
                if status is order.status:
                    return order
                return await self._books.advance(order, {"status": status})

    async def _succeeded(self, order: OrderRecord, answer: TaskAnswer, looks: int) -> OrderRecord:
        images = image_records(answer, order.images_ordered)
        if not images:
            # It may be paid for: it is asked again until its day is over, in the hope of an answer that can be read.
            self._parts.news.trouble(order.local_id, NO_IMAGES)
            return order
        observed = self._parts.clock.now() - (order.accepted_at or order.created_at)
        changes = self._ended(order, answer) | {
            "status": TaskStatus.SUCCEEDED,
            "duration": running_time(answer.duration, observed, is_first_look=looks == 1),
            "actual_prompt": answer.actual_prompt,
            "expires_at": self._end_of_links(images),
        }
        if len(images) == 1:
            # Its next step writes its row anyway.
            return self._books.defer(order, changes, images)
        return await self._books.advance(order, changes, images)

    def _ended(self, order: OrderRecord, answer: TaskAnswer) -> dict[str, object]:
        return {"finished_at": self._parts.clock.now(), "request_id": order.request_id or answer.request_id}

    def _end_of_links(self, images: tuple[ImageRecord, ...]) -> float:
        """Read the end of the links' life from the links; without it, it is 24 hours from now."""
        latest = self._parts.clock.now() + DAY
        queries = [parse_qs(urlsplit(image.url or "").query) for image in images]
        ends = [float(value) for query in queries for value in query.get("Expires", []) if value.isdigit()]
        return min(latest, max(ends)) if ends else latest
