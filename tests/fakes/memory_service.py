"""A service without a service: one order becomes one task that ends after a while, and nothing is painted."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from io import BytesIO

import anyio

from wan_mcp_tools.catalogue.catalogue import Catalogue
from wan_mcp_tools.catalogue.prices import CostReport, ImageCount, make_report
from wan_mcp_tools.domain.errors import NotCancelableError, NotFoundError
from wan_mcp_tools.domain.service import Preview, ProgressReport, TaskPage
from wan_mcp_tools.domain.tasks import SavedImage, Task, TaskStatus


class JumpingClock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.time += seconds


@dataclass(frozen=True)
class Summary:
    """What a round of collecting came to."""

    finished: int = 0
    saved: int = 0
    open: int = 0
    problems: tuple[str, ...] = ()


class MemoryService:
    """
    Keeps its tasks in memory and lives by a clock.

    A task ends `duration` seconds after its order as `outcome` says, `naming` of which pass before it has a name.
    """

    default_wait_seconds = 45.0

    def __init__(self, clock=None, *, duration=10.0, naming=1.0, outcome=None, summary=None) -> None:
        self.clock = clock or JumpingClock()
        self.duration = duration
        self.naming = naming
        self.outcome = outcome or {}
        self.summary = summary or Summary()
        self.catalogue = Catalogue(default_region="sandbox", keyed_regions=frozenset({"sandbox"}))
        self.tasks: dict[str, Task] = {}
        self.born: dict[str, float] = {}
        self.orders = []
        self.waits: list[float] = []
        self.opened: list[tuple[object, bool]] = []
        self.closed = 0
        self.counts: list[ImageCount] = []
        self.periods: list[tuple[str | None, str | None]] = []

    @asynccontextmanager
    async def open(self, settings, follow) -> AsyncIterator["MemoryService"]:
        self.opened.append((settings, follow))
        # As in the real one, whatever goes wrong inside comes out in a group.
        async with anyio.create_task_group():
            try:
                yield self
            finally:
                self.closed += 1

    async def order(self, request, *, wait_seconds, until_accepted, fresh, report, placed=None) -> Task:
        self.orders.append((request, fresh))
        self.waits.append(wait_seconds)
        name = f"task-{len(self.tasks) + 1}"
        self.born[name] = self.clock.monotonic()
        self.tasks[name] = Task(
            task_id=name,
            local_id=f"local-{name}",
            status=TaskStatus.PENDING,
            region=request.region,
            settled=False,
            created_at=datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
            model=request.model,
            request=request,
            open=True,
        )
        if placed is not None:
            joined = not fresh and bool(self.outcome.get("deduplicated"))
            placed(replace(self.tasks[name], task_id=f"local-{name}", deduplicated=joined))
        await report(ProgressReport(0.0, None, "Sending the order"))
        await self.send(request)
        first = self._look(name)
        return replace(
            first,
            deduplicated=not fresh and bool(self.outcome.get("deduplicated")),
            notes=self.outcome.get("first_notes", ()),
        )

    async def send(self, request) -> None:
        """Take the time until the order has a name."""
        await self.clock.sleep(self.naming)

    async def peek(self, task_id) -> Task | None:
        return self.tasks.get(task_id)

    async def find_by_beginning(self, beginning, *, limit) -> list[Task]:
        return [self._look(name) for name in reversed(self.tasks) if name.startswith(beginning)][:limit]

    async def get(self, task_id, *, wait_seconds, report) -> Task:
        if task_id not in self.tasks:
            raise NotFoundError(f"There is no task {task_id}.", "See wan-mcp tasks.")
        self.waits.append(wait_seconds)
        started = self.clock.monotonic()
        while (gone := self.clock.monotonic() - started) < wait_seconds and not self._look(task_id).settled:
            timing = f"usually about {self.duration:.0f} s"
            await report(ProgressReport(gone, self.duration, self._look(task_id).status, timing))
            await self.clock.sleep(min(3.0, wait_seconds - gone))
        return self._look(task_id)

    async def cancel(self, task_id) -> Task:
        task = self._look(task_id)
        if task.status is not TaskStatus.PENDING:
            raise NotCancelableError(f"Task {task_id} is {task.status}.", "Let it end.")
        self.tasks[task_id] = replace(task, status=TaskStatus.CANCELED, settled=True, open=False)
        return self.tasks[task_id]

    async def list_tasks(self, *, status, limit, cursor, remote, since=None, until=None) -> TaskPage:
        self.periods.append((since, until))
        found = [self._look(name) for name in reversed(self.tasks)]
        start = int(cursor or 0)
        kept = [task for task in found if status in (None, task.status)]
        more = str(start + limit) if len(kept) > start + limit else None
        return TaskPage(kept[start : start + limit], more, ("Asked the service too.",) if remote else ())

    async def draw_preview(self, *, task_id, index, path) -> Preview:
        import PIL.Image

        encoded = BytesIO()
        PIL.Image.new("RGB", (640, 320), (200, 30, 30)).save(encoded, "JPEG")
        return Preview(encoded.getvalue(), "image/jpeg")

    async def report_costs(self, *, since, until) -> CostReport:
        """Give what all counts cost; of what may stand in `since` only a number of days is read."""
        today = date(2026, 1, 2)
        self.periods.append((since, until))
        first = today - timedelta(days=int(since.split()[0]) - 1) if since and since.endswith("days") else today
        return make_report(self.counts, self.catalogue, since=first, until=today)

    async def collect(self, report, *, wait=False, collector_token=None) -> Summary:
        await report(f"Looking after {len(self.tasks)} tasks{' to the end' if wait else ''}")
        return self.summary

    def _look(self, name: str) -> Task:
        task = self.tasks[name]
        if task.settled:
            return task
        age = self.clock.monotonic() - self.born[name]
        if age >= self.duration:
            ended = {
                "status": TaskStatus.SUCCEEDED,
                "images": (SavedImage(1, f"/pictures/{name}-1.png", 1280, 1280, 2345),),
                **{key: value for key, value in self.outcome.items() if key not in ("deduplicated", "first_notes")},
            }
            self.tasks[name] = replace(task, settled=True, open=False, **ended)
        elif age >= self.duration / 2:
            self.tasks[name] = replace(task, status=TaskStatus.RUNNING)
        return self.tasks[name]
