"""The service's list of one model around one moment, read whole even on a busy account."""

from collections.abc import Callable
from dataclasses import dataclass, field

from wan_mcp.dashscope import ListedTask
from wan_mcp.orders.clocks import ServiceClocks
from wan_mcp.orders.parts import Parts
from wan_mcp.orders.queries import Queries

_FEW_PAGES = 5
_MOST_PAGES = 50


@dataclass(frozen=True, slots=True)
class Window:
    """When a task can have been created, by the service's clock."""

    start: float
    end: float

    def holds(self, task: ListedTask) -> bool:
        """Say whether a task was created in it."""
        return self.start <= (task.created_at or 0.0) <= self.end


class Census:
    """
    Reads the list.

    Pages are put together by id, because a task slips to the next page when another is made meanwhile. A list of
    many pages is asked for with the bounds of the window; but the zone of that filter is not documented
    (https://help.aliyun.com/zh/model-studio/manage-asynchronous-tasks), so if nothing in the window comes of it, the
    list is read without.
    """

    def __init__(self, parts: Parts, queries: Queries, clocks: ServiceClocks) -> None:
        self._parts = parts
        self._queries = queries
        self._clocks = clocks

    async def take(
        self, region: str, model_id: str | None, find_window: Callable[[], Window]
    ) -> tuple[list[ListedTask], float | None]:
        """
        Give the tasks created in a window, and the service's time of the answer if it told any.

        The window is asked for after the first page, which tells the service's time.
        """
        found = _Found()
        await self._read(found, region, model_id, None, most=1)
        window = find_window()
        if found.pages > _FEW_PAGES:
            bounded = _Found()
            await self._read(bounded, region, model_id, window, most=_MOST_PAGES)
            if any(map(window.holds, bounded.tasks.values())):
                found = bounded
        if found.read < found.pages:
            await self._read(found, region, model_id, None, most=_MOST_PAGES)
        return [task for task in found.tasks.values() if window.holds(task)], found.served_at

    async def _read(
        self, found: "_Found", region: str, model_id: str | None, bounds: Window | None, *, most: int
    ) -> None:
        """Read on from where `found` ends."""
        while found.read < min(found.pages, most):
            listing = await self._queries.list(
                region,
                start=bounds.start if bounds else None,
                end=bounds.end if bounds else None,
                model_id=model_id,
                page_no=found.read + 1,
            )
            self._clocks.learn(region, listing.served_at, self._parts.clock.now())
            found.pages = listing.total_pages
            found.served_at = listing.served_at or found.served_at
            found.tasks |= {task.task_id: task for task in listing.tasks}
            found.read += 1


@dataclass(slots=True)
class _Found:
    tasks: dict[str, ListedTask] = field(default_factory=dict[str, ListedTask])
    read: int = 0
    pages: int = 1
    served_at: float | None = None
