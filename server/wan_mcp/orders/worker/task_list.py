"""The service's list of tasks of one model around one moment, read whole even on a busy account."""

from collections.abc import Callable
from dataclasses import dataclass, field

from wan_mcp.dashscope import ListedTask, TaskAnswer
from wan_mcp.ledger import Order
from wan_mcp.orders.worker.queries import Queries
from wan_mcp_tools.catalogue.model import WireProtocol
from wan_mcp_tools.catalogue.sizes import GRADES, read_grade, read_pixels
from wan_mcp_tools.domain.tasks import TaskStatus

_FEW_PAGES = 5
_MOST_PAGES = 50
_SIDES_MAY_DIFFER = 0.06


@dataclass(frozen=True, slots=True)
class TimeWindow:
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
    """Say whether a finished task can be an order: by count, size, and the prompt where it is repeated."""
    request = order.request
    if request is None or answer.status is not TaskStatus.SUCCEEDED:
        return False
    count = answer.total or len(answer.images) + answer.surplus
    if count != request.n and (with_all_images or count > request.n):
        return False
    if order.protocol == WireProtocol.LEGACY and answer.orig_prompt is not None:
        return answer.orig_prompt.strip() == request.prompt.strip()
    return answer.size is None or _is_about(answer.size, request.size)


def _is_about(got: str, asked: str) -> bool:
    """Compare sizes; the newest models return a few pixels more or less than they were asked for."""
    grade = read_grade(asked)
    wanted = (GRADES[grade], GRADES[grade]) if grade else read_pixels(asked)
    sides = read_pixels(got)
    if sides is None or wanted is None:
        return True
    return all(abs(one - other) <= other * _SIDES_MAY_DIFFER for one, other in zip(sides, wanted, strict=True))
